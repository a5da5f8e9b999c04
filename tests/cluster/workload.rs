//! Writers and a reader that go from member to member, and the check of what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_harness::{Cluster, Response, request_within, until};
use serde_json::Value;

/// How long a client waits for an answer before it goes on with the next member.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

/// A write that was acknowledged.
pub(crate) struct Acknowledged {
    pub(crate) key: String,
    pub(crate) index: u64,
    pub(crate) at: Instant,
}

/// What happened under a load.
pub(crate) struct Report {
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Quorum reads that were answered.
    pub(crate) reads: usize,
}

fn send(address: SocketAddr, method: &str, target: &str, body: &str) -> Option<Response> {
    request_within(address, method, target, &FORM, body.as_bytes(), PATIENCE).ok()
}

pub(crate) fn put(address: SocketAddr, target: &str, value: &str) -> Option<u64> {
    let answer = send(
        address,
        "PUT",
        &format!("/v2/keys{target}"),
        &format!("value={value}"),
    )?;
    let done = answer.status == 200 || answer.status == 201;
    done.then(|| answer.json()["node"]["modifiedIndex"].as_u64().unwrap())
}

/// Writes new keys, and a counter, until told to stop.
fn write_on(clients: &[SocketAddr], writer: usize, stop: &AtomicBool) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    let mut member = writer;
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        for key in [format!("/w/{writer}/{number}"), format!("/c/{writer}")] {
            match put(clients[member % clients.len()], &key, &number.to_string()) {
                Some(index) => acknowledged.push(Acknowledged {
                    key,
                    index,
                    at: Instant::now(),
                }),
                None => member += 1,
            }
        }
    }
    acknowledged
}

/// Reads a counter with a quorum at one member after the other: it never goes back. Gives the answered reads.
fn read_on(clients: &[SocketAddr], stop: &AtomicBool) -> usize {
    let (mut reads, mut newest, mut member) = (0, (0, 0), 0);
    while !stop.load(Ordering::Relaxed) {
        member += 1;
        let address = clients[member % clients.len()];
        let Some(answer) = send(address, "GET", "/v2/keys/c/0?quorum=true", "") else {
            continue;
        };
        if answer.status != 200 {
            continue;
        }
        let node = &answer.json()["node"];
        let value: u64 = node["value"].as_str().unwrap().parse().unwrap();
        let found = (node["modifiedIndex"].as_u64().unwrap(), value);
        assert!(
            found >= newest,
            "a quorum read went back from {newest:?} to {found:?}"
        );
        newest = found;
        reads += 1;
    }
    reads
}

/// Keeps four writers and a reader busy while `faults` runs.
pub(crate) fn under_load(clients: &[SocketAddr], faults: impl FnOnce()) -> Report {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        let writers: Vec<_> = (0..4)
            .map(|writer| scope.spawn(move || write_on(clients, writer, stop)))
            .collect();
        let reader = scope.spawn(move || read_on(clients, stop));
        // The others end also when the faults panic.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(faults));
        stop.store(true, Ordering::Relaxed);
        let mut acknowledged: Vec<Acknowledged> = Vec::new();
        for writer in writers {
            acknowledged.extend(writer.join().unwrap());
        }
        let reads = reader.join().unwrap();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        acknowledged.sort_by_key(|write| write.at);
        Report { acknowledged, reads }
    })
}

impl Report {
    /// Every acknowledged key is there at every member, as of the index that was told, and no index was given twice.
    pub(crate) fn check(&self, cluster: &Cluster) {
        assert!(
            self.acknowledged.len() > 50,
            "hardly anything was written: {}",
            self.acknowledged.len()
        );
        let mut indices: Vec<u64> = self.acknowledged.iter().map(|write| write.index).collect();
        indices.sort_unstable();
        assert!(
            indices.windows(2).all(|pair| pair[0] < pair[1]),
            "an index was given twice"
        );
        for at in cluster.present() {
            let stored = until("a listing with a quorum", Duration::from_secs(20), || {
                let target = "/v2/keys/w?recursive=true&quorum=true";
                let answer = send(cluster.client(at), "GET", target, "")?;
                (answer.status == 200).then(|| answer.json())
            });
            let mut found = BTreeMap::new();
            collect(&stored["node"], &mut found);
            for write in self
                .acknowledged
                .iter()
                .filter(|write| write.key.starts_with("/w/"))
            {
                let index = found.get(&write.key).copied();
                assert_eq!(index, Some(write.index), "member {at} lost {}", write.key);
            }
        }
    }

    /// The longest time without an acknowledged write between each of these moments and the next.
    pub(crate) fn gaps(&self, moments: &[Instant]) -> Vec<Duration> {
        let end = self.acknowledged.last().map(|write| write.at);
        let ends = moments.iter().skip(1).copied().chain(end);
        let gap = |(from, to): (&Instant, Instant)| {
            let mut last = *from;
            let mut longest = Duration::ZERO;
            for write in self
                .acknowledged
                .iter()
                .filter(|write| (*from..=to).contains(&write.at))
            {
                longest = longest.max(write.at.duration_since(last));
                last = write.at;
            }
            longest.max(to.saturating_duration_since(last))
        };
        moments.iter().zip(ends).map(gap).collect()
    }
}

fn collect(node: &Value, found: &mut BTreeMap<String, u64>) {
    match node["nodes"].as_array() {
        Some(nodes) => nodes.iter().for_each(|node| collect(node, found)),
        None => {
            let key = node["key"].as_str().unwrap().to_owned();
            found.insert(key, node["modifiedIndex"].as_u64().unwrap());
        }
    }
}
