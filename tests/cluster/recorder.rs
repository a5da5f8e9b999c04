//! Clients that go from member to member and write down what they asked and were told, and a watcher of each member.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_checker::prng::Prng;
use berth_checker::{Answer, Call, Cell, Compare};
use berth_harness::{Cluster, Response, Stream, request_within, until};
use serde_json::Value;

use crate::history::{Asked, Event, Followed, History, Lease};

/// Clients that write and read the same few keys.
const CLIENTS: u64 = 5;
/// The keys.
const KEYS: u64 = 5;
/// Time to live of the leases, in seconds: longer than an election, so that some expire during faults and some later.
const TTL: u64 = 2;
/// How long a client waits for an answer before it goes on with another member; some answers get lost on purpose.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// The least time between two requests of a client: the history of events is bounded, and watchers must keep up.
const PACE: Duration = Duration::from_millis(4);
/// The least time between two leases.
const LEASE_PACE: Duration = Duration::from_millis(150);
/// How long everything may take to settle after the faults.
const SETTLED: Duration = Duration::from_secs(60);

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];
const END: &str = "/h/end";

#[derive(Clone, Copy)]
struct Clock(Instant);

impl Clock {
    fn now(self) -> u64 {
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

fn cell(node: &Value) -> Option<Cell> {
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

/// One client, until told to stop.
fn ask_on(
    clients: &[SocketAddr],
    clock: Clock,
    mut prng: Prng,
    client: u64,
    stop: &AtomicBool,
) -> Vec<Asked> {
    let mut asked = Vec::new();
    let mut known: BTreeMap<String, Cell> = BTreeMap::new();
    let mut member = usize::try_from(client).unwrap();
    let mut next = Instant::now();
    for number in 1.. {
        if stop.load(Ordering::Relaxed) {
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
fn lease_on(clients: &[SocketAddr], clock: Clock, stop: &AtomicBool) -> Vec<Lease> {
    let mut leases = Vec::new();
    let mut next = Instant::now();
    for number in 1_usize.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        keep_pace(&mut next, LEASE_PACE);
        let key = format!("/h/l/{number}");
        let sent = clock.now();
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

fn event(told: &Value) -> Event {
    let node = &told["node"];
    Event {
        index: node["modifiedIndex"].as_u64().unwrap(),
        key: node["key"].as_str().unwrap().to_owned(),
        action: told["action"].as_str().unwrap().to_owned(),
        value: node["value"].as_str().map(|value| value.parse().unwrap()),
        prev: cell(&told["prevNode"]),
    }
}

/// Follows one member over its restarts until the end's event came, or until the test is given up.
fn follow(address: SocketAddr, clock: Clock, first: u64, given_up: &AtomicBool) -> Followed {
    let mut followed = Followed::default();
    let mut next = first;
    while !given_up.load(Ordering::Relaxed) {
        let target = format!("/v2/keys/h?recursive=true&wait=true&stream=true&waitIndex={next}");
        let Ok(mut stream) = Stream::try_open(address, &target, PATIENCE) else {
            std::thread::park_timeout(PACE);
            continue;
        };
        if stream.head.status != 200 {
            let target = format!("/v2/keys/h?recursive=true&wait=true&waitIndex={next}");
            let answer = request_within(address, "GET", &target, &[], b"", PATIENCE);
            if let Some(now) = answer
                .ok()
                .filter(|answer| answer.status == 400)
                .and_then(|answer| {
                    let cleared = answer.json();
                    (cleared["errorCode"] == 401).then(|| cleared["index"].as_u64())?
                })
            {
                followed.gaps.push((next, now + 1));
                next = now + 1;
            }
            continue;
        }
        let mut rest = String::new();
        while let Some(chunk) = stream.chunk() {
            rest.push_str(&chunk);
            while let Some((line, others)) = rest.split_once('\n') {
                let told = event(&serde_json::from_str(line).unwrap());
                rest = others.to_owned();
                next = told.index + 1;
                if told.key == END {
                    return followed;
                }
                followed.events.push((clock.now(), told));
            }
        }
    }
    followed
}

/// Keeps recording clients, a client with leases, and a watcher at every member busy while `faults` runs. `faults` must
/// leave all members running.
pub(crate) fn recorded(clients: &[SocketAddr], seed: u64, faults: impl FnOnce()) -> History {
    let (stop, given_up) = (AtomicBool::new(false), AtomicBool::new(false));
    let clock = Clock(Instant::now());
    let begun = until("a first write", SETTLED, || {
        let answer =
            request_within(clients[0], "PUT", "/v2/keys/h/begin", &FORM, b"value=1", PATIENCE).ok()?;
        answer.json()["node"]["modifiedIndex"].as_u64()
    });
    let history = Mutex::new(History::default());
    std::thread::scope(|scope| {
        let (stop, given_up) = (&stop, &given_up);
        let watchers: Vec<_> = clients
            .iter()
            .map(|address| scope.spawn(move || follow(*address, clock, begun + 1, given_up)))
            .collect();
        let askers: Vec<_> = (1..=CLIENTS)
            .map(|client| {
                let prng = Prng::new(seed, &format!("client {client}"));
                scope.spawn(move || ask_on(clients, clock, prng, client, stop))
            })
            .collect();
        let leaser = scope.spawn(move || lease_on(clients, clock, stop));
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(faults));
        stop.store(true, Ordering::Relaxed);
        let mut history = history.lock().unwrap();
        for asker in askers {
            history.asked.extend(asker.join().unwrap());
        }
        history.leases = leaser.join().unwrap();
        // The last event is written when nobody else writes any more.
        let done = done.and_then(|()| std::panic::catch_unwind(|| settle(clients)));
        given_up.store(done.is_err(), Ordering::Relaxed);
        history.followed = watchers
            .into_iter()
            .map(|watcher| watcher.join().unwrap())
            .collect();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    history.into_inner().unwrap()
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
    let states: Vec<Value> = (0..cluster.members().len())
        .map(|at| {
            until("a listing with a quorum", SETTLED, || {
                let target = "/v2/keys/h?recursive=true&sorted=true&quorum=true";
                let answer = request_within(cluster.client(at), "GET", target, &[], b"", PATIENCE).ok()?;
                (answer.status == 200).then(|| answer.json())
            })
        })
        .collect();
    for (at, state) in states.iter().enumerate() {
        assert_eq!(
            state, &states[0],
            "member {at} holds something else than member 0"
        );
    }
}
