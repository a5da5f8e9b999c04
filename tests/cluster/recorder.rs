//! Clients that go from member to member and write down what they asked and were told, and a watcher of each member; members
//! may join and leave meanwhile.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use berth_checker::prng::Prng;
use berth_checker::{Answer, Call, Cell, Compare};
use berth_harness::{Cluster, Response, request_within, until};
use serde_json::Value;

use crate::follower::follow;
use crate::history::{Asked, Followed, History, Lease};

/// Clients that write and read the same few keys.
const CLIENTS: u64 = 5;
/// The keys.
const KEYS: u64 = 5;
/// Time to live of the leases, in seconds: longer than an election, so that some expire during faults and some later.
const TTL: u64 = 2;
/// How long a client waits for an answer before it goes on with another member; some answers get lost on purpose.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1_500);
/// The least time between two requests of a client: the history of events is bounded, and watchers must keep up.
pub(crate) const PACE: Duration = Duration::from_millis(4);
/// The least time between two leases.
const LEASE_PACE: Duration = Duration::from_millis(150);
/// How long everything may take to settle after the faults.
const SETTLED: Duration = Duration::from_secs(60);

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];
pub(crate) const END: &str = "/h/end";
/// Written before a member leaves: its watcher has to see it.
const FAREWELL: &str = "/h/farewell";

#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// Waits for the next moment of a steady pace.
fn keep_pace(next: &mut Instant, pace: Duration) {
    let now = Instant::now();
    if *next > now {
        std::thread::park_timeout(*next - now);
    }
    *next = Instant::now() + pace;
}

pub(crate) fn cell(node: &Value) -> Option<Cell> {
    Some(Cell {
        value: node["value"].as_str()?.parse().ok()?,
        modified: node["modifiedIndex"].as_u64()?,
    })
}

/// What an answer tells; nothing when the outcome is unknown.
fn told(call: Call, answer: &Response) -> Option<Answer> {
    match answer.status {
        200 | 201 => {
            let told = answer.json();
            if call == Call::Read {
                return Some(Answer::Found(cell(&told["node"]).unwrap()));
            }
            Some(Answer::Done {
                modified: told["node"]["modifiedIndex"].as_u64().unwrap(),
                prev: cell(&told["prevNode"]),
            })
        }
        404 if answer.json()["errorCode"] == 100 => Some(Answer::Missing),
        412 if answer.json()["errorCode"] == 101 => Some(Answer::CompareFailed),
        412 if answer.json()["errorCode"] == 105 => Some(Answer::Exists),
        500..=599 => None,
        _ => panic!("{call:?}: {} {}", answer.status, answer.text()),
    }
}

/// The request of a call: method, target, body.
fn request_of(key: &str, call: Call) -> (&'static str, String, String) {
    let target = format!("/v2/keys{key}");
    let condition = |compare| match compare {
        Compare::Value(value) => format!("prevValue={value}"),
        Compare::Index(index) => format!("prevIndex={index}"),
    };
    match call {
        Call::Read => ("GET", format!("{target}?quorum=true"), String::new()),
        Call::Set(value) => ("PUT", target, format!("value={value}")),
        Call::Create(value) => ("PUT", target, format!("value={value}&prevExist=false")),
        Call::Update(value) => ("PUT", target, format!("value={value}&prevExist=true")),
        Call::Swap { value, prev } => ("PUT", target, format!("value={value}&{}", condition(prev))),
        Call::Delete => ("DELETE", target, String::new()),
        Call::CompareDelete(prev) => ("DELETE", format!("{target}?{}", condition(prev)), String::new()),
        Call::Expire => unreachable!("nobody asks for it"),
    }
}

fn choose(prng: &mut Prng, value: u64, known: Option<Cell>) -> Call {
    let known = known.unwrap_or(Cell {
        value: 1,
        modified: 1,
    });
    let compare = match prng.coin() {
        true => Compare::Value(known.value),
        false => Compare::Index(known.modified),
    };
    match prng.below(12) {
        0..4 => Call::Read,
        4 | 5 => Call::Set(value),
        6 => Call::Create(value),
        7 => Call::Update(value),
        8 | 9 => Call::Swap { value, prev: compare },
        10 => Call::Delete,
        _ => Call::CompareDelete(compare),
    }
}

/// A watcher of a member.
struct Watcher {
    address: SocketAddr,
    /// The index that it waits for.
    next: Arc<AtomicU64>,
    /// The last index that its member must tell of, once the member has left.
    left: Arc<Mutex<Option<u64>>>,
    thread: JoinHandle<Followed>,
}

/// What goes on while faults are made, and who takes part in it.
pub(crate) struct Recording {
    pub(crate) clock: Clock,
    /// The index that watchers begin behind, those of members that join later too.
    begun: u64,
    clients: Mutex<Vec<SocketAddr>>,
    watchers: Mutex<Vec<Watcher>>,
    stop: AtomicBool,
    pub(crate) given_up: AtomicBool,
}

impl Recording {
    fn clients(&self) -> Vec<SocketAddr> {
        self.clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A member takes part: clients ask it, and a watcher follows it from the beginning of the recording.
    pub(crate) fn joined(self: &Arc<Self>, address: SocketAddr) {
        let (next, left) = (Arc::new(AtomicU64::new(self.begun + 1)), Arc::default());
        let thread = {
            let (recording, next, left) = (Arc::clone(self), Arc::clone(&next), Arc::clone(&left));
            std::thread::spawn(move || follow(address, &recording, &next, &left))
        };
        self.watchers.lock().unwrap().push(Watcher {
            address,
            next,
            left,
            thread,
        });
        self.clients.lock().unwrap().push(address);
    }

    /// Writes a farewell and waits until the member's watcher has it: the index that the member owes all events up to.
    pub(crate) fn farewell(&self, address: SocketAddr) -> u64 {
        let told = until("a farewell", SETTLED, || {
            let client = *self.clients().iter().find(|client| **client != address)?;
            put_marker(client, FAREWELL)
        });
        let next = {
            let watchers = self.watchers.lock().unwrap();
            let own = watchers.iter().rfind(|watcher| watcher.address == address);
            Arc::clone(&own.expect("a watcher of the member").next)
        };
        until("the farewell at a member that leaves", SETTLED, || {
            (next.load(Ordering::Relaxed) > told).then_some(())
        });
        told
    }

    /// A member has ended, and left after a farewell: nobody asks it any more, and its watcher ends.
    pub(crate) fn left(&self, address: SocketAddr, farewell: u64) {
        self.clients.lock().unwrap().retain(|client| *client != address);
        let watchers = self.watchers.lock().unwrap();
        let own = watchers.iter().rfind(|watcher| watcher.address == address);
        let own = own.expect("a watcher of the member");
        *own.left.lock().unwrap() = Some(farewell);
        until("the end of a watcher", SETTLED, || {
            own.thread.is_finished().then_some(())
        });
    }

    /// All watchers' records, when they have ended.
    fn followed(&self) -> Vec<Followed> {
        let watchers = std::mem::take(&mut *self.watchers.lock().unwrap_or_else(PoisonError::into_inner));
        watchers
            .into_iter()
            .map(|watcher| watcher.thread.join().unwrap())
            .collect()
    }
}

/// Writes a key that no client asks for; its index.
fn put_marker(address: SocketAddr, key: &str) -> Option<u64> {
    let target = format!("/v2/keys{key}");
    let answer = request_within(address, "PUT", &target, &FORM, b"value=1", PATIENCE).ok()?;
    answer.json()["node"]["modifiedIndex"].as_u64()
}

/// One client, until told to stop.
fn ask_on(recording: &Recording, mut prng: Prng, client: u64) -> Vec<Asked> {
    let clock = recording.clock;
    let mut asked = Vec::new();
    let mut known: BTreeMap<String, Cell> = BTreeMap::new();
    let mut member = usize::try_from(client).unwrap();
    let mut next = Instant::now();
    for number in 1.. {
        if recording.stopped() {
            break;
        }
        keep_pace(&mut next, PACE);
        let key = format!("/h/{}", prng.below(KEYS));
        let call = choose(
            &mut prng,
            client * 1_000_000_000 + number,
            known.get(&key).copied(),
        );
        let (method, target, body) = request_of(&key, call);
        let clients = recording.clients();
        let invoke = clock.now();
        let address = clients[member % clients.len()];
        let answer = request_within(address, method, &target, &FORM, body.as_bytes(), PATIENCE).ok();
        let told = answer.and_then(|answer| Some((clock.now(), told(call, &answer)?)));
        match told {
            None => member += 1,
            Some((_, Answer::Found(cell))) => {
                known.insert(key.clone(), cell);
            }
            Some(_) => (),
        }
        asked.push(Asked {
            key,
            invoke,
            told,
            call,
        });
    }
    asked
}

/// Writes keys with a time to live, until told to stop.
fn lease_on(recording: &Recording) -> Vec<Lease> {
    let mut leases = Vec::new();
    let mut next = Instant::now();
    for number in 1_usize.. {
        if recording.stopped() {
            break;
        }
        keep_pace(&mut next, LEASE_PACE);
        let key = format!("/h/l/{number}");
        let clients = recording.clients();
        let sent = recording.clock.now();
        let body = format!("value={number}&ttl={TTL}");
        let address = clients[number % clients.len()];
        let target = format!("/v2/keys{key}");
        let answer = request_within(address, "PUT", &target, &FORM, body.as_bytes(), PATIENCE);
        leases.push(Lease {
            key,
            sent,
            ttl: TTL * 1_000_000,
            held: answer.is_ok_and(|answer| answer.status == 201),
        });
    }
    leases
}

/// Keeps recording clients, a client with leases, and a watcher at every member busy while `faults` runs. `faults` must
/// leave all members running that have not left.
pub(crate) fn recorded(clients: &[SocketAddr], seed: u64, faults: impl FnOnce(&Arc<Recording>)) -> History {
    let recording = Arc::new(Recording {
        clock: Clock(Instant::now()),
        begun: until("a first write", SETTLED, || put_marker(clients[0], "/h/begin")),
        clients: Mutex::default(),
        watchers: Mutex::default(),
        stop: AtomicBool::new(false),
        given_up: AtomicBool::new(false),
    });
    clients.iter().for_each(|address| recording.joined(*address));
    let mut history = History::default();
    let done = std::thread::scope(|scope| {
        let known = &recording;
        let askers: Vec<_> = (1..=CLIENTS)
            .map(|client| {
                let prng = Prng::new(seed, &format!("client {client}"));
                scope.spawn(move || ask_on(known, prng, client))
            })
            .collect();
        let leaser = scope.spawn(move || lease_on(known));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| faults(known)));
        recording.stop.store(true, Ordering::Relaxed);
        for asker in askers {
            history.asked.extend(asker.join().unwrap());
        }
        history.leases = leaser.join().unwrap();
        done
    });
    // The last event is written when nobody else writes any more.
    let done = done.and_then(|()| {
        let clients = recording.clients();
        std::panic::catch_unwind(|| settle(&clients))
    });
    recording.given_up.store(done.is_err(), Ordering::Relaxed);
    history.followed = recording.followed();
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    history
}

/// All leases are over, and the last event of the history is written.
fn settle(clients: &[SocketAddr]) {
    until("the end of the leases", SETTLED, || {
        let target = "/v2/keys/h/l?quorum=true";
        let answer = request_within(clients[0], "GET", target, &[], b"", PATIENCE).ok()?;
        let none = answer.status == 404 || answer.status == 200 && answer.json()["node"]["nodes"].is_null();
        none.then_some(())
    });
    until("the last write", SETTLED, || {
        let target = format!("/v2/keys{END}");
        let answer = request_within(clients[0], "PUT", &target, &FORM, b"value=1", PATIENCE).ok()?;
        (answer.status < 300).then_some(())
    });
}

/// Checks what was recorded, and that all members hold the same in the end.
pub(crate) fn check(history: &History, cluster: &Cluster) {
    let counts = history.check().unwrap_or_else(|error| panic!("{error}"));
    println!("history: {counts:?}");
    assert!(
        counts.acknowledged > 100 && counts.reads > 50,
        "hardly anything was done: {counts:?}"
    );
    assert_eq!(counts.undecided, 0, "too many orders were possible");
    let present = cluster.present();
    let states: Vec<Value> = present
        .iter()
        .map(|at| {
            until("a listing with a quorum", SETTLED, || {
                let target = "/v2/keys/h?recursive=true&sorted=true&quorum=true";
                let answer = request_within(cluster.client(*at), "GET", target, &[], b"", PATIENCE).ok()?;
                (answer.status == 200).then(|| answer.json())
            })
        })
        .collect();
    for (at, state) in present.iter().zip(&states) {
        assert_eq!(
            state, &states[0],
            "member {at} holds something else than member {}",
            present[0]
        );
    }
}
