//! Writes, reads, watches and memory of one store beside etcd 3.4 with the v2 API, each on fresh data on the same disk.

use std::net::SocketAddr;

use anyhow::bail;
use berth_harness::{Berth, Etcd, Scratch, Store, request};

use crate::fanout::{self, Delivered, WATCHERS};
use crate::figures::{resident_mebibytes, table};
use crate::load::{HEAD, Measured, SECONDS, better, put_one, row};

/// Connections of each measurement.
const CONNECTIONS: [u32; 3] = [1, 64, 256];
/// Keys in the memory measurement.
const KEYS: u32 = 100_000;

/// The requests that are measured: method, query, what they are called.
const REQUESTS: [(&str, &str, &str); 3] = [
    ("PUT", "", "PUT"),
    ("GET", "", "GET"),
    ("GET", "?quorum=true", "GET with quorum"),
];

/// Writes the keys over a few connections at once.
pub(crate) fn fill(address: SocketAddr, keys: u32) -> anyhow::Result<()> {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                scope.spawn(move || -> anyhow::Result<()> {
                    for number in (writer..keys).step_by(16) {
                        let target = format!("/v2/keys/fill/{}/{number}", number % 100);
                        let answer = request(
                            address,
                            "PUT",
                            &target,
                            &form,
                            format!("value={number:064}").as_bytes(),
                        )?;
                        anyhow::ensure!(answer.status == 201, "{target}: {}", answer.text());
                    }
                    Ok(())
                })
            })
            .collect();
        writers
            .into_iter()
            .try_for_each(|writer| writer.join().map_err(|_| anyhow::anyhow!("a writer failed"))?)
    })
}

/// One kind of request to both, on fresh data; and the memory of each before.
fn beside(
    berth: &Berth,
    what: (&str, &str),
    connections: u32,
) -> anyhow::Result<(Measured, Measured, (f64, f64))> {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let store = Store::start(berth, &scratch);
    let idle = (resident_mebibytes(store.id()), resident_mebibytes(etcd.id()));
    for address in [etcd.address(), store.address()] {
        put_one(address)?;
    }
    let [ours, theirs] = better(
        [(store.address(), &[store.id()]), (etcd.address(), &[etcd.id()])],
        what,
        connections,
        scratch.path(),
    )?;
    Ok((ours, theirs, idle))
}

pub(crate) fn run() -> anyhow::Result<()> {
    println!(
        "# store: Berth beside etcd 3.4.23 --enable-v2=true, 64-byte values, {SECONDS} s each, load by wrk -t1"
    );
    let berth = Berth::new(crate::berth_program()?);
    let mut rows = Vec::new();
    let mut idle = (0.0, 0.0);
    for (method, query, name) in REQUESTS {
        for connections in CONNECTIONS {
            let (ours, theirs, fresh) = beside(&berth, (method, query), connections)?;
            idle = fresh;
            rows.push(row(&format!("{name}, {connections} connections"), &ours, &theirs));
        }
    }
    table(&HEAD, &rows);
    fan_out(&berth)?;
    memory(&berth, idle)
}

/// Only the events to many watchers.
pub(crate) fn watches() -> anyhow::Result<()> {
    fan_out(&Berth::new(crate::berth_program()?))
}

/// Events to many watchers, each side's better run of two.
fn fan_out(berth: &Berth) -> anyhow::Result<()> {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let store = Store::start(berth, &scratch);
    let mut best: [Option<Delivered>; 2] = [None, None];
    for _ in 0..2 {
        for (best, (address, process)) in best
            .iter_mut()
            .zip([(store.address(), store.id()), (etcd.address(), etcd.id())])
        {
            let run = fanout::measure(address, process)?;
            if best.as_ref().is_none_or(|best| run.per_second > best.per_second) {
                *best = Some(run);
            }
        }
    }
    let [Some(ours), Some(theirs)] = best else {
        bail!("nothing was measured")
    };
    table(
        &[
            "what",
            "Berth events/s",
            "etcd events/s",
            "ratio",
            "CPU s per 10 000 (B / e)",
            "CPU ratio",
        ],
        &[vec![
            format!("events delivered to {WATCHERS} watchers"),
            format!("{:.0}", ours.per_second),
            format!("{:.0}", theirs.per_second),
            format!("{:.2}x", ours.per_second / theirs.per_second),
            format!(
                "{:.3} / {:.3}",
                ours.cpu_per_ten_thousand, theirs.cpu_per_ten_thousand
            ),
            format!("{:.2}", ours.cpu_per_ten_thousand / theirs.cpu_per_ten_thousand),
        ]],
    );
    Ok(())
}

fn memory(berth: &Berth, idle: (f64, f64)) -> anyhow::Result<()> {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let store = Store::start(berth, &scratch);
    fill(etcd.address(), KEYS)?;
    fill(store.address(), KEYS)?;
    let full = (resident_mebibytes(store.id()), resident_mebibytes(etcd.id()));
    let row = |what: &str, (ours, theirs): (f64, f64)| {
        vec![
            what.to_owned(),
            format!("{ours:.1}"),
            format!("{theirs:.1}"),
            format!("{:.2}", ours / theirs),
        ]
    };
    table(
        &["resident memory", "Berth MiB", "etcd MiB", "ratio"],
        &[
            row("fresh member", idle),
            row(&format!("{KEYS} keys of 64 bytes"), full),
        ],
    );
    Ok(())
}
