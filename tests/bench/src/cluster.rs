//! Three members of Berth beside three members of etcd on one machine: writes, quorum reads, and how long writes stop
//! when a leader is killed.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use berth_harness::{Berth, Cluster, EtcdCluster, Scratch, request, request_within};

use crate::figures::table;
use crate::load::{HEAD, SECONDS, better, put_one, row};

/// Members of each cluster.
const MEMBERS: usize = 3;
/// Connections of each measurement.
const CONNECTIONS: [u32; 2] = [64, 256];
/// How often each leader is killed.
const KILLS: usize = 50;
/// The election timeout of both sides; it is the default of both.
const ELECTION: Duration = Duration::from_secs(1);
/// How long one write may take before the next member is asked.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long writes must have gone well before the next kill.
const CALM: Duration = Duration::from_millis(500);
/// When a cluster counts as dead.
const LONGEST_GAP: Duration = Duration::from_secs(60);

/// The requests that are measured: method, query, what they are called, whether the leader is asked.
const REQUESTS: [(&str, &str, &str, bool); 3] = [
    ("PUT", "", "PUT to the leader", true),
    ("PUT", "", "PUT to a follower", false),
    ("GET", "?quorum=true", "GET with quorum from the leader", true),
];

pub(crate) fn run() -> anyhow::Result<()> {
    println!(
        "# cluster: {MEMBERS} members of Berth beside {MEMBERS} of etcd 3.4.23 --enable-v2=true on one machine, \
         64-byte values, {SECONDS} s each, load by wrk -t1, processor time of all members"
    );
    let berth = Berth::new(crate::berth_program()?);
    let mut rows = Vec::new();
    let mut batches = Vec::new();
    for (method, query, name, leader) in REQUESTS {
        for connections in CONNECTIONS {
            let scratch = Scratch::new();
            let etcd = EtcdCluster::start(&scratch, MEMBERS);
            let cluster = Cluster::start(&berth, &scratch, MEMBERS, &[]);
            cluster.wait_all();
            let pick = |at: usize| if leader { at } else { (at + 1) % MEMBERS };
            let ours = cluster.client(pick(cluster.leader()));
            let theirs = etcd.client(pick(etcd.leader()));
            put_one(ours)?;
            put_one(theirs)?;
            let before = log_figures(cluster.client(cluster.leader()))?;
            let [mine, other] = better(
                [(ours, &cluster.ids()), (theirs, &etcd.ids())],
                (method, query),
                connections,
                scratch.path(),
            )?;
            let name = format!("{name}, {connections} connections");
            rows.push(row(&name, &mine, &other));
            let after = log_figures(cluster.client(cluster.leader()))?;
            if method == "PUT" {
                let per_flush = (after.0 - before.0) / (after.1 - before.1).max(1.0);
                batches.push(vec![name, format!("{per_flush:.1}")]);
            }
        }
    }
    table(&HEAD, &rows);
    table(
        &["entries for each flush of the leader's log", "entries"],
        &batches,
    );
    Ok(())
}

/// Entries that were written to a member's log, and flushes of it.
fn log_figures(address: SocketAddr) -> anyhow::Result<(f64, f64)> {
    let page = request(address, "GET", "/metrics", &[], b"")?.text();
    let figure = |name: &str| {
        page.lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
            .with_context(|| format!("no {name}"))
    };
    Ok((
        figure("berth_log_entries_total")?,
        figure("berth_log_fsyncs_total")?,
    ))
}

/// Kills the leader of each again and again while one client writes.
pub(crate) fn kills() -> anyhow::Result<()> {
    println!(
        "# kills: the leader of {MEMBERS} members is killed {KILLS} times; the time without an acknowledged write, \
         election timeout {} ms",
        ELECTION.as_millis()
    );
    let berth = Berth::new(crate::berth_program()?);
    let scratch = Scratch::new();
    let mut ours = Cluster::start(&berth, &scratch, MEMBERS, &[]);
    ours.wait_all();
    let mut gaps = Vec::new();
    for _ in 0..KILLS {
        let leader = ours.leader();
        let clients = ours.clients();
        gaps.push(gap(&clients, leader, || ours.kill(leader))?);
        ours.restart(leader);
        ours.wait_healthy(leader);
    }
    drop(ours);
    let mut theirs = EtcdCluster::start(&scratch, MEMBERS);
    let clients: Vec<SocketAddr> = (0..MEMBERS).map(|at| theirs.client(at)).collect();
    let mut their_gaps = Vec::new();
    for _ in 0..KILLS {
        let leader = theirs.leader();
        their_gaps.push(gap(&clients, leader, || theirs.kill(leader))?);
        theirs.restart(leader);
        calm(&clients, leader)?;
    }
    let quantile = |gaps: &mut Vec<Duration>, share: usize| {
        gaps.sort_unstable();
        let at = (gaps.len() * share / 100).min(gaps.len() - 1);
        gaps[at].as_millis()
    };
    let mut rows = Vec::new();
    for (what, share) in [("median", 50), ("p99", 99)] {
        let (mine, other) = (quantile(&mut gaps, share), quantile(&mut their_gaps, share));
        rows.push(vec![what.to_owned(), mine.to_string(), other.to_string()]);
    }
    table(
        &["time without a write after a kill", "Berth ms", "etcd ms"],
        &rows,
    );
    Ok(())
}

fn write(address: SocketAddr) -> bool {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    request_within(address, "PUT", "/v2/keys/gap", &form, b"value=1", PATIENCE)
        .is_ok_and(|answer| answer.status < 300)
}

/// Writes at one member until that went well for a while.
fn calm(clients: &[SocketAddr], at: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut since = Instant::now();
    while since.elapsed() < CALM {
        if !write(clients[at]) {
            since = Instant::now();
        }
        ensure!(begun.elapsed() < LONGEST_GAP, "member {at} takes no writes");
    }
    Ok(())
}

/// The time from a kill to the first acknowledged write at one of the others.
fn gap(clients: &[SocketAddr], leader: usize, kill: impl FnOnce()) -> anyhow::Result<Duration> {
    calm(clients, leader)?;
    kill();
    let killed = Instant::now();
    for at in (0..clients.len()).cycle().filter(|at| *at != leader) {
        if write(clients[at]) {
            break;
        }
        ensure!(killed.elapsed() < LONGEST_GAP, "no write is taken");
    }
    Ok(killed.elapsed())
}
