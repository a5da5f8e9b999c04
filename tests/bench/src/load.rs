//! A load of one kind of request by wrk, and the row of a table that it makes.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use berth_harness::request;

use crate::figures::cpu_seconds;

/// Seconds of each measurement.
pub(crate) const SECONDS: u32 = 5;

/// Bytes of a value unless it is said otherwise.
const VALUE: usize = 64;

/// The head of a table of rows.
pub(crate) const HEAD: [&str; 8] = [
    "what",
    "Berth req/s",
    "etcd req/s",
    "ratio",
    "p50 ms (B / e)",
    "p99 ms (B / e)",
    "CPU s per 10 000 (B / e)",
    "CPU ratio",
];

/// What a run of one load gave.
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) cpu_per_ten_thousand: f64,
}

/// A run of wrk against one address; the processor time is that of all the processes behind it.
pub(crate) fn load(
    address: SocketAddr,
    processes: &[u32],
    what: (&str, &str),
    connections: u32,
    folder: &Path,
) -> anyhow::Result<Measured> {
    load_of(address, processes, what, VALUE, connections, folder)
}

/// The same with values of a number of bytes.
pub(crate) fn load_of(
    address: SocketAddr,
    processes: &[u32],
    (method, query): (&str, &str),
    value: usize,
    connections: u32,
    folder: &Path,
) -> anyhow::Result<Measured> {
    let script = folder.join("request.lua");
    let body = if method == "PUT" {
        format!("wrk.body = \"value={}\"\n", "x".repeat(value))
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
    let used = || processes.iter().map(|process| cpu_seconds(*process)).sum::<f64>();
    let before = used();
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
    let cpu = used() - before;
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

/// Writes the key that the loads use.
pub(crate) fn put_one(address: SocketAddr) -> anyhow::Result<()> {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("value={}", "x".repeat(VALUE));
    let answer = request(address, "PUT", "/v2/keys/bench", &form, body.as_bytes())?;
    ensure!(answer.status == 201, "the first write: {}", answer.text());
    Ok(())
}

/// The same load on two sides in turns, twice, and the better run of each: the machine's speed drifts.
pub(crate) fn better(
    sides: [(SocketAddr, &[u32]); 2],
    what: (&str, &str),
    connections: u32,
    folder: &Path,
) -> anyhow::Result<[Measured; 2]> {
    let once = || -> anyhow::Result<[Measured; 2]> {
        let [ours, theirs] = sides;
        // The other side first: a cold machine is not our advantage.
        let theirs = load(theirs.0, theirs.1, what, connections, folder)?;
        let ours = load(ours.0, ours.1, what, connections, folder)?;
        Ok([ours, theirs])
    };
    let ([a, b], [c, d]) = (once()?, once()?);
    let faster = |one: Measured, two: Measured| if two.per_second > one.per_second { two } else { one };
    Ok([faster(a, c), faster(b, d)])
}

/// One row: this load beside the same load on etcd.
pub(crate) fn row(what: &str, ours: &Measured, theirs: &Measured) -> Vec<String> {
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
