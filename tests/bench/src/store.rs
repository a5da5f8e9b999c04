//! Writes, reads, watches and memory of one store beside etcd 3.4 with the v2 API, each on fresh data on the same disk.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};
use berth_harness::{Berth, Etcd, Scratch, Store, request};

use crate::fanout::{self, Delivered, WATCHERS};
use crate::figures::{cpu_seconds, resident_mebibytes, table};

/// Connections of each measurement.
const CONNECTIONS: [u32; 3] = [1, 64, 256];
/// Seconds of each measurement.
const SECONDS: u32 = 5;
/// Keys in the memory measurement.
const KEYS: u32 = 100_000;

/// The requests that are measured: method, query, what they are called.
const REQUESTS: [(&str, &str, &str); 3] = [
    ("PUT", "", "PUT"),
    ("GET", "", "GET"),
    ("GET", "?quorum=true", "GET with quorum"),
];

struct Measured {
    per_second: f64,
    p50: f64,
    p99: f64,
    cpu_per_ten_thousand: f64,
}

/// A run of wrk against one server.
fn load(
    address: SocketAddr,
    process: u32,
    (method, query): (&str, &str),
    connections: u32,
    folder: &Path,
) -> anyhow::Result<Measured> {
    let script = folder.join("request.lua");
    let body = if method == "PUT" {
        format!("wrk.body = \"value={}\"\n", "x".repeat(64))
    } else {
        String::new()
    };
    let text = format!(
        "wrk.method = \"{method}\"\n{body}wrk.headers[\"Content-Type\"] = \"application/x-www-form-urlencoded\"\n\
         function done(summary, latency, requests)\n\
         io.write(string.format(\"RESULT %d %d %f %f %d\\n\", summary.requests, summary.duration,\n\
         latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.read + summary.errors.timeout))\nend\n"
    );
    std::fs::write(&script, text)?;
    let before = cpu_seconds(process);
    let output = Command::new("wrk")
        .args([
            "-t1",
            &format!("-c{connections}"),
            &format!("-d{SECONDS}s"),
            "--timeout",
            "5s",
            "-s",
        ])
        .arg(&script)
        .arg(format!("http://{address}/v2/keys/bench{query}"))
        .output()
        .context("the benchmark needs Debian's wrk")?;
    let cpu = cpu_seconds(process) - before;
    let printed = String::from_utf8_lossy(&output.stdout);
    let line = printed
        .lines()
        .find_map(|line| line.strip_prefix("RESULT "))
        .context("wrk printed no result")?;
    let fields: Vec<f64> = line.split(' ').filter_map(|field| field.parse().ok()).collect();
    let [requests, micros, p50, p99, errors] = fields[..] else {
        bail!("wrk printed {line}")
    };
    if errors > 0.0 {
        bail!("{errors} of {requests} requests failed: {printed}");
    }
    Ok(Measured {
        per_second: requests / (micros / 1e6),
        p50: p50 / 1e3,
        p99: p99 / 1e3,
        cpu_per_ten_thousand: cpu / requests * 1e4,
    })
}

/// Writes the keys over a few connections at once.
fn fill(address: SocketAddr) -> anyhow::Result<()> {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..16)
            .map(|writer| {
                scope.spawn(move || -> anyhow::Result<()> {
                    for number in (writer..KEYS).step_by(16) {
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
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        request(
            address,
            "PUT",
            "/v2/keys/bench",
            &form,
            format!("value={}", "x".repeat(64)).as_bytes(),
        )?;
    }
    // Alternate twice and keep each side's better run: the machine's speed drifts.
    let mut theirs = load(etcd.address(), etcd.id(), what, connections, scratch.path())?;
    let mut ours = load(store.address(), store.id(), what, connections, scratch.path())?;
    let again = load(etcd.address(), etcd.id(), what, connections, scratch.path())?;
    if again.per_second > theirs.per_second {
        theirs = again;
    }
    let again = load(store.address(), store.id(), what, connections, scratch.path())?;
    if again.per_second > ours.per_second {
        ours = again;
    }
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
    table(
        &[
            "what",
            "Berth req/s",
            "etcd req/s",
            "ratio",
            "p50 ms (B / e)",
            "p99 ms (B / e)",
            "CPU s per 10 000 (B / e)",
            "CPU ratio",
        ],
        &rows,
    );
    fan_out(&berth)?;
    memory(&berth, idle)
}

/// Events to many watchers, each side's better run of two.
/// Only the events to many watchers.
pub(crate) fn watches() -> anyhow::Result<()> {
    fan_out(&Berth::new(crate::berth_program()?))
}

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

fn row(what: &str, ours: &Measured, theirs: &Measured) -> Vec<String> {
    vec![
        what.to_owned(),
        format!("{:.0}", ours.per_second),
        format!("{:.0}", theirs.per_second),
        format!("{:.2}x", ours.per_second / theirs.per_second),
        format!("{:.2} / {:.2}", ours.p50, theirs.p50),
        format!("{:.2} / {:.2}", ours.p99, theirs.p99),
        format!(
            "{:.2} / {:.2}",
            ours.cpu_per_ten_thousand, theirs.cpu_per_ten_thousand
        ),
        format!("{:.2}", ours.cpu_per_ten_thousand / theirs.cpu_per_ten_thousand),
    ]
}

fn memory(berth: &Berth, idle: (f64, f64)) -> anyhow::Result<()> {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let store = Store::start(berth, &scratch);
    fill(etcd.address())?;
    fill(store.address())?;
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
