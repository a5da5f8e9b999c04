//! A member whose machine's clock is another one after each restart: leases go on where they stood. Nothing expires early,
//! and nothing later than by the time in which no member was there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use berth_harness::{Scratch, Store, request, until};

use crate::raw::{FORM, wrapped};

/// What the monotonic clock shows beside that of this machine, in seconds, from one start to the next: far ahead, back by
/// as much, further ahead, and back to almost the same.
const OFFSETS: [u64; 4] = [5_000_000, 0, 90_000_000, 1_000];
/// How long each of them runs.
const STAY: Duration = Duration::from_secs(3);
/// Seconds to live, each of a key of its own; the last outlives the test.
const TTLS: [u64; 6] = [2, 4, 7, 10, 14, 600];
/// Longest wait for the end of a key beyond its time and the outages. The store needs half a second; the rest is for a busy
/// machine.
const SLACK: Duration = Duration::from_secs(4);

struct Leases {
    store: Store,
    /// Of each time to live: before which moment the key may not go.
    due: BTreeMap<u64, Instant>,
    /// All the time between the last sign of life of a member and the first of its successor.
    outage: Duration,
    /// An entry in the log moves cluster time on, so that no more than the outage itself is lost.
    beaten: Instant,
}

impl Leases {
    fn beat(&mut self) {
        let asked = Instant::now();
        let answer = request(self.store.address(), "PUT", "/v2/keys/beat", &[FORM], b"value=1");
        assert!(answer.unwrap().status < 300);
        self.beaten = asked;
    }

    /// Looks at all keys that are left.
    fn look(&mut self) {
        let (address, outage) = (self.store.address(), self.outage);
        self.due.retain(|ttl, due| {
            let asked = Instant::now();
            let answer = request(address, "GET", &format!("/v2/keys/k{ttl}"), &[], b"").unwrap();
            let there = answer.status == 200;
            assert!(
                there || Instant::now() >= *due,
                "the key with a TTL of {ttl} s is gone {:?} early",
                due.saturating_duration_since(Instant::now())
            );
            let late = asked.saturating_duration_since(*due);
            assert!(
                !there || late < outage + SLACK,
                "the key with a TTL of {ttl} s is there {late:?} late, with outages of {outage:?}"
            );
            if !there {
                println!("TTL {ttl} s: gone at most {late:?} late, with outages of {outage:?}");
            }
            there
        });
    }
}

#[test]
fn a_restart_with_another_clock_neither_cuts_a_lease_nor_lets_it_go_on_for_ever() {
    let scratch = Scratch::new();
    let offset = scratch.join("offset");
    let set = |seconds: u64| std::fs::write(&offset, seconds.to_string()).unwrap();
    let line = format!(
        "N=$(cat {}); exec unshare -T --monotonic $N --boottime $N \"$B\" \"$@\"",
        offset.display()
    );
    set(OFFSETS[0]);
    let store = Store::start_in(&wrapped(&scratch, &line), &scratch.join("store"), &[]);
    let clock = std::fs::read_to_string(format!("/proc/{}/timens_offsets", store.id())).unwrap();
    assert!(
        clock.contains("5000000"),
        "the store has no clock of its own: {clock}"
    );
    let mut due = BTreeMap::new();
    for ttl in TTLS {
        let sent = Instant::now();
        let form = format!("value=1&ttl={ttl}");
        let target = format!("/v2/keys/k{ttl}");
        let answer = request(store.address(), "PUT", &target, &[FORM], form.as_bytes()).unwrap();
        assert_eq!(answer.status, 201);
        due.insert(ttl, sent + Duration::from_secs(ttl));
    }
    let mut leases = Leases {
        store,
        due,
        outage: Duration::ZERO,
        beaten: Instant::now(),
    };
    for (number, next) in OFFSETS.into_iter().enumerate().skip(1) {
        let begun = Instant::now();
        until("the end of a stay", 10 * STAY + SLACK, || {
            leases.beat();
            leases.look();
            (begun.elapsed() > STAY).then_some(())
        });
        leases.beat();
        let last = leases.beaten;
        set(next);
        if number % 2 == 0 {
            leases.store.stop();
        } else {
            leases.store.kill();
        }
        leases.store.restart();
        leases.beat();
        leases.outage += last.elapsed();
        leases.look();
    }
    until("the end of all leases but one", Duration::from_secs(120), || {
        leases.look();
        (leases.due.len() == 1).then_some(())
    });
    let left = request(leases.store.address(), "GET", "/v2/keys/k600", &[], b"").unwrap();
    let ttl = left.json()["node"]["ttl"].as_u64().unwrap();
    assert!((500..=600).contains(&ttl), "{ttl}");
    leases.store.stop();
}
