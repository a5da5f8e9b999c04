//! Clients that write, read back before they write again, and delete; keys with a time to live; and a beat for the watches.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use berth_harness::{Response, request_within, until};

/// What they do, for people.
pub(super) const WHAT: &str =
    "8 clients with 500 keys each, 200 writes and as many reads a second, 20 keys a second that live for 5 s";

const CLIENTS: u64 = 8;
/// Keys of a client.
const KEYS: usize = 500;
/// The least time between two writes of a client.
const PACE: Duration = Duration::from_millis(40);
/// The same of keys with a time to live, and that time in seconds.
const LEASE_PACE: Duration = Duration::from_millis(50);
const TTL: u64 = 5;
/// The same of the key that is watched.
const BEAT_PACE: Duration = Duration::from_secs(1);
/// An answer that takes longer counts as none.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end may take to settle.
const SETTLED: Duration = Duration::from_secs(60);

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];
/// The key that is watched.
pub(super) const BEAT: &str = "/soak/beat";

/// A key of one client, who knows what it holds.
#[derive(Clone, Default)]
struct Slot {
    /// A key whose last write has no answer may change yet: it is given up, and a further one takes its place.
    generation: u64,
    /// What was acknowledged last; nothing before the first write and after a delete.
    value: Option<u64>,
    unsure: bool,
}

/// All clients.
pub(super) struct Clients {
    members: Vec<SocketAddr>,
    stop: AtomicBool,
    requests: AtomicU64,
    acknowledged: AtomicU64,
    lost: AtomicU64,
    unanswered: AtomicU64,
}

impl Clients {
    pub(super) fn new(members: Vec<SocketAddr>) -> Clients {
        Clients {
            members,
            stop: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
        }
    }

    pub(super) fn start(self: &Arc<Self>) -> Vec<JoinHandle<()>> {
        let writers = (0..CLIENTS).map(|client| {
            let own = Arc::clone(self);
            std::thread::spawn(move || own.write_on(client))
        });
        let lease = Arc::clone(self);
        let beat = Arc::clone(self);
        writers
            .chain([
                std::thread::spawn(move || lease.lease_on()),
                std::thread::spawn(move || beat.beat_on()),
            ])
            .collect()
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The counts, for people.
    pub(super) fn told(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{} requests, {} writes acknowledged, {} lost, {} without an answer",
            count(&self.requests),
            count(&self.acknowledged),
            count(&self.lost),
            count(&self.unanswered)
        )
    }

    /// One request to a member, and to the next one from then on when it does not answer.
    fn ask(&self, member: &mut usize, method: &str, target: &str, body: &str) -> Option<Response> {
        let address = self.members[*member % self.members.len()];
        self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = request_within(address, method, target, &FORM, body.as_bytes(), PATIENCE).ok();
        let answer = answer.filter(|answer| answer.status < 500);
        if answer.is_none() {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            *member += 1;
        }
        answer
    }

    fn acknowledge(&self) {
        self.acknowledged.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks whether a key holds what was acknowledged. False without an answer.
    fn check(&self, member: &mut usize, key: &str, wanted: Option<u64>) -> bool {
        let target = format!("/v2/keys{key}?quorum=true");
        let Some(answer) = self.ask(member, "GET", &target, "") else {
            return false;
        };
        let found: Option<u64> = match answer.status {
            200 => answer.json()["node"]["value"]
                .as_str()
                .and_then(|value| value.parse().ok()),
            _ => None,
        };
        if found != wanted {
            println!("{key} holds {found:?}, acknowledged was {wanted:?}");
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        true
    }

    fn write_on(&self, client: u64) {
        let mut slots = vec![Slot::default(); KEYS];
        let mut member = usize::try_from(client).unwrap_or(0);
        let mut next = Instant::now();
        let mut number = 0;
        while !self.stop.load(Ordering::Relaxed) {
            keep_pace(&mut next, PACE);
            number += 1;
            let at = usize::try_from(number).unwrap_or(0) % KEYS;
            let key = |slot: &Slot| format!("/soak/{client}/{at}-{}", slot.generation);
            let slot = &mut slots[at];
            if slot.unsure {
                // It makes no difference whether that is done.
                self.ask(&mut member, "DELETE", &format!("/v2/keys{}", key(slot)), "");
                *slot = Slot {
                    generation: slot.generation + 1,
                    ..Slot::default()
                };
            }
            let key = key(slot);
            if !self.check(&mut member, &key, slot.value) {
                continue;
            }
            let target = format!("/v2/keys{key}");
            // Every tenth write of a key that is there removes it.
            let removed = slot.value.is_some() && number % 10 == 0;
            let answer = if removed {
                self.ask(&mut member, "DELETE", &target, "")
            } else {
                self.ask(&mut member, "PUT", &target, &format!("value={number}"))
            };
            match answer {
                Some(answer) if answer.status < 300 => {
                    self.acknowledge();
                    slot.value = (!removed).then_some(number);
                }
                Some(answer) => {
                    println!("{key}: {} {}", answer.status, answer.text());
                    self.lost.fetch_add(1, Ordering::Relaxed);
                    slot.unsure = true;
                }
                None => slot.unsure = true,
            }
        }
        // What was acknowledged last is looked at, too, once everybody is there again.
        for (at, slot) in slots.iter().enumerate().filter(|(_, slot)| !slot.unsure) {
            let key = format!("/soak/{client}/{at}-{}", slot.generation);
            until("an answer about a key", SETTLED, || {
                self.check(&mut member, &key, slot.value).then_some(())
            });
        }
    }

    fn lease_on(&self) {
        let (mut member, mut next, mut number) = (0, Instant::now(), 0_u64);
        while !self.stop.load(Ordering::Relaxed) {
            keep_pace(&mut next, LEASE_PACE);
            number += 1;
            let target = format!("/v2/keys/soak/ttl/{number}");
            let answer = self.ask(&mut member, "PUT", &target, &format!("value=1&ttl={TTL}"));
            if answer.is_some_and(|answer| answer.status < 300) {
                self.acknowledge();
            }
        }
    }

    fn beat_on(&self) {
        let (mut member, mut next) = (0, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            keep_pace(&mut next, BEAT_PACE);
            let answer = self.ask(&mut member, "PUT", &format!("/v2/keys{BEAT}"), "value=1");
            if answer.is_some_and(|answer| answer.status < 300) {
                self.acknowledge();
            }
        }
    }

    /// All keys with a time to live are gone, at every member.
    pub(super) fn check_all(&self) -> anyhow::Result<()> {
        for member in 0..self.members.len() {
            until("the end of the leases", SETTLED, || {
                let mut member = member;
                let answer = self.ask(&mut member, "GET", "/v2/keys/soak/ttl?quorum=true", "")?;
                let none = answer.status == 404 || answer.json()["node"]["nodes"].is_null();
                none.then_some(())
            });
        }
        ensure!(
            self.acknowledged.load(Ordering::Relaxed) > 0,
            "nothing was written"
        );
        Ok(())
    }

    /// Writes the last event for the watches; its index.
    pub(super) fn last_beat(&self) -> anyhow::Result<u64> {
        let answer = self
            .ask(&mut 0, "PUT", &format!("/v2/keys{BEAT}"), "value=1")
            .context("the last write has no answer")?;
        answer.json()["node"]["modifiedIndex"]
            .as_u64()
            .context("no index")
    }
}

/// Waits for the next moment of a steady pace.
fn keep_pace(next: &mut Instant, pace: Duration) {
    let now = Instant::now();
    if *next > now {
        std::thread::park_timeout(*next - now);
    }
    *next = Instant::now().max(*next + pace);
}
