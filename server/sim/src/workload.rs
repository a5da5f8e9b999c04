//! What the clients ask for, and what they were told.

use crate::checker::{Answer, Call, Cell, Compare, NEVER, Op};
use crate::prng::Prng;
use berth_replica::{Limits, ReplyError};
use berth_store::{Action, Command, Condition, Event, Key, Kind, NodeView, Put, Value, code};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The longest time to live that clients ask for, in seconds.
pub(crate) const MAX_TTL: u64 = 3;

/// One request of a client.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) member: u64,
    pub(crate) key: Key,
    pub(crate) wish: Wish,
    pub(crate) invoke: u64,
    pub(crate) outcome: Outcome,
}

/// What a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Something a register does; reads are quorum reads.
    Call(Call, Option<u64>),
    /// A child of the key, named by the index.
    InOrder(u64),
    /// The directory with all below.
    RemoveAll,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// On its way.
    Open,
    /// Certainly not applied.
    Refused,
    /// Nobody can tell.
    Unknown,
    /// Answered by the keyspace.
    Answered(u64, Answer),
}

/// Draws requests and remembers all of them; the number of a request is its place.
#[derive(Debug)]
pub(crate) struct Workload {
    prng: Prng,
    keys: u64,
    lease_keys: u64,
    next_value: u64,
    pub(crate) gap_us: u64,
    /// Several at once now and then, to fill what is bounded.
    burst: u64,
    requests: Vec<Request>,
    /// The last value and index seen by anybody, to make conditions that can hold.
    recent: BTreeMap<Key, Cell>,
}

impl Workload {
    pub(crate) fn new(seed: u64) -> Workload {
        let mut prng = Prng::new(seed, "workload");
        Workload {
            keys: prng.between(1, 6),
            lease_keys: prng.between(1, 3),
            next_value: 0,
            gap_us: prng.between(8_000, 80_000),
            burst: if prng.coin() { prng.between(2, 24) } else { 1 },
            requests: Vec::new(),
            recent: BTreeMap::new(),
            prng,
        }
    }

    pub(crate) fn prng(&mut self) -> &mut Prng {
        &mut self.prng
    }

    /// How many requests to make at this moment.
    pub(crate) fn burst(&mut self) -> u64 {
        if self.prng.below(20) == 0 { self.burst } else { 1 }
    }

    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }

    pub(crate) fn request(&self, id: u64) -> Option<&Request> {
        self.requests.get(usize::try_from(id).ok()?)
    }

    /// Draws a request for a member.
    pub(crate) fn draw(&mut self, member: u64, now_us: u64) -> u64 {
        let which = self.prng.below(16);
        let (key, wish) = match which {
            0 => (key("/q"), Wish::InOrder(self.value())),
            1 if self.prng.below(8) == 0 => (key("/q"), Wish::RemoveAll),
            1..4 => {
                let key = key(&format!("/t/{}", self.prng.below(self.lease_keys)));
                let ttl = (self.prng.below(4) > 0).then(|| self.prng.between(1, MAX_TTL));
                (key.clone(), Wish::Call(self.call(&key), ttl))
            }
            _ => {
                let key = key(&format!("/k/{}", self.prng.below(self.keys)));
                (key.clone(), Wish::Call(self.call(&key), None))
            }
        };
        self.add(member, key, wish, now_us)
    }

    /// A plain write, to see whether one works.
    pub(crate) fn probe(&mut self, member: u64, now_us: u64) -> u64 {
        let wish = Wish::Call(Call::Set(self.value()), None);
        self.add(member, key("/k/0"), wish, now_us)
    }

    /// A read of each key.
    pub(crate) fn read_all(&mut self, member: u64, now_us: u64) -> Vec<u64> {
        let plain = (0..self.keys).map(|at| format!("/k/{at}"));
        let leased = (0..self.lease_keys).map(|at| format!("/t/{at}"));
        let names: Vec<String> = plain.chain(leased).collect();
        let read = Wish::Call(Call::Read, None);
        names
            .iter()
            .map(|name| self.add(member, key(name), read, now_us))
            .collect()
    }

    fn add(&mut self, member: u64, key: Key, wish: Wish, now_us: u64) -> u64 {
        self.requests.push(Request {
            member,
            key,
            wish,
            invoke: now_us,
            outcome: Outcome::Open,
        });
        self.requests.len() as u64 - 1
    }

    fn value(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }

    fn call(&mut self, key: &Key) -> Call {
        let compare = match (self.recent.get(key).copied(), self.prng.coin()) {
            (Some(cell), true) => Compare::Value(cell.value),
            (Some(cell), false) => Compare::Index(cell.modified),
            (None, _) => Compare::Index(1),
        };
        match self.prng.below(16) {
            0..5 => Call::Read,
            5..9 => Call::Set(self.value()),
            9 => Call::Create(self.value()),
            10 => Call::Update(self.value()),
            11..13 => Call::Swap {
                value: self.value(),
                prev: compare,
            },
            13..15 => Call::Delete,
            _ => Call::CompareDelete(compare),
        }
    }

    /// A request leaves the state of being open. False if it had left it before.
    pub(crate) fn finish(&mut self, id: u64, outcome: Outcome) -> bool {
        let Some(request) = usize::try_from(id).ok().and_then(|at| self.requests.get_mut(at)) else {
            return false;
        };
        if request.outcome != Outcome::Open {
            return false;
        }
        request.outcome = outcome;
        match outcome {
            Outcome::Answered(_, Answer::Found(cell)) => {
                self.recent.insert(request.key.clone(), cell);
            }
            Outcome::Answered(_, Answer::Done { modified, .. }) => {
                if let Some(value) = request.wish.value() {
                    self.recent.insert(request.key.clone(), Cell { value, modified });
                }
            }
            Outcome::Answered(..) | Outcome::Refused | Outcome::Unknown | Outcome::Open => {}
        }
        true
    }

    /// A member stops: nobody hears any more of what it was asked. True for each request that was open.
    pub(crate) fn crash(&mut self, member: u64, taken: &BTreeSet<u64>) {
        for id in taken {
            if self.request(*id).is_some_and(|request| request.member == member) {
                self.finish(*id, Outcome::Unknown);
            }
        }
    }
}

impl Wish {
    /// The unique value that it writes.
    pub(crate) fn value(&self) -> Option<u64> {
        match self {
            Wish::InOrder(value)
            | Wish::Call(
                Call::Set(value) | Call::Create(value) | Call::Update(value) | Call::Swap { value, .. },
                _,
            ) => Some(*value),
            Wish::Call(Call::Read | Call::Delete | Call::CompareDelete(_) | Call::Expire, _)
            | Wish::RemoveAll => None,
        }
    }

    /// What to propose; none for reads.
    pub(crate) fn command(&self, key: &Key) -> Option<Command> {
        let put = |value: u64, ttl| Put {
            ttl,
            ..Put::file(key.clone(), text(value))
        };
        let kind = match *self {
            Wish::InOrder(value) => Kind::CreateInOrder(put(value, None)),
            Wish::RemoveAll => Kind::Delete {
                key: key.clone(),
                dir: true,
                recursive: true,
            },
            Wish::Call(call, ttl) => match call {
                Call::Read | Call::Expire => return None,
                Call::Set(value) => Kind::Set(put(value, ttl)),
                Call::Create(value) => Kind::Create(put(value, ttl)),
                Call::Update(value) => Kind::Update(put(value, ttl)),
                Call::Swap { value, prev } => Kind::CompareAndSwap(put(value, ttl), condition(prev)),
                Call::Delete => Kind::Delete {
                    key: key.clone(),
                    dir: false,
                    recursive: false,
                },
                Call::CompareDelete(prev) => Kind::CompareAndDelete {
                    key: key.clone(),
                    condition: condition(prev),
                },
            },
        };
        Some(kind.into())
    }
}

fn condition(compare: Compare) -> Condition {
    match compare {
        Compare::Value(value) => Condition {
            prev_value: Some(text(value)),
            prev_index: 0,
        },
        Compare::Index(index) => Condition {
            prev_value: None,
            prev_index: index,
        },
    }
}

/// What the failure of a request tells its client.
pub(crate) fn failure(error: &ReplyError, now_us: u64) -> Outcome {
    match error {
        ReplyError::Store(error) => match error.code {
            code::KEY_NOT_FOUND => Outcome::Answered(now_us, Answer::Missing),
            code::COMPARE_FAILED => Outcome::Answered(now_us, Answer::CompareFailed),
            code::KEY_EXISTS => Outcome::Answered(now_us, Answer::Exists),
            _ => Outcome::Unknown,
        },
        ReplyError::NoLeader
        | ReplyError::Overloaded
        | ReplyError::Dropped
        | ReplyError::Superseded
        | ReplyError::TooLarge => Outcome::Refused,
        ReplyError::TimedOut | ReplyError::Unknown => Outcome::Unknown,
    }
}

/// What an event tells the client that caused it.
pub(crate) fn success(event: &Event, now_us: u64) -> Outcome {
    let prev = event
        .prev
        .as_ref()
        .and_then(|node| cell(node.value.as_ref(), node.modified));
    let modified = event.index;
    Outcome::Answered(now_us, Answer::Done { modified, prev })
}

/// What a read shows.
pub(crate) fn shown(node: Option<&NodeView>) -> Answer {
    node.and_then(|node| cell(node.value.as_ref(), node.modified))
        .map_or(Answer::Missing, Answer::Found)
}

fn cell(value: Option<&Value>, modified: u64) -> Option<Cell> {
    Some(Cell {
        value: value_of(value?)?,
        modified,
    })
}

/// The histories of all registers, with what nobody could tell decided by the events.
pub(crate) fn histories(requests: &[Request], events: &[Arc<Event>]) -> BTreeMap<Key, Vec<Op>> {
    let mut histories: BTreeMap<Key, Vec<Op>> = BTreeMap::new();
    let mut by_value: BTreeMap<u64, &Event> = BTreeMap::new();
    for event in events {
        if let Some(value) = event.node.value.as_deref().and_then(value_of) {
            by_value.insert(value, event);
        }
    }
    let mut told = BTreeSet::new();
    let mut unsure: BTreeMap<Key, u64> = BTreeMap::new();
    for request in requests {
        let Wish::Call(call, _) = request.wish else {
            continue;
        };
        let (back, answer) = match request.outcome {
            Outcome::Refused => continue,
            Outcome::Answered(back, answer) => (back, answer),
            Outcome::Open | Outcome::Unknown => match request.wish.value() {
                // Its event, if it has one, says what it did; else it did nothing.
                Some(value) => match by_value.get(&value).map(|event| success(event, NEVER)) {
                    Some(Outcome::Answered(back, answer)) => (back, answer),
                    Some(_) | None => continue,
                },
                None => {
                    if call != Call::Read {
                        let first = unsure.entry(request.key.clone()).or_insert(request.invoke);
                        *first = request.invoke.min(*first);
                    }
                    continue;
                }
            },
        };
        if let Answer::Done { modified, .. } = answer {
            told.insert(modified);
        }
        histories.entry(request.key.clone()).or_default().push(Op {
            invoke: request.invoke,
            back,
            call,
            answer,
        });
    }
    add_removals(&mut histories, events, &told, &unsure);
    histories
}

/// Removals that no client was told of: expiries, and deletions whose answer was lost.
fn add_removals(
    histories: &mut BTreeMap<Key, Vec<Op>>,
    events: &[Arc<Event>],
    told: &BTreeSet<u64>,
    unsure: &BTreeMap<Key, u64>,
) {
    let untold = events
        .iter()
        .filter(|event| event.action.removes() && !told.contains(&event.index));
    for event in untold {
        let Some(ops) = histories.get_mut(&event.node.key) else {
            continue;
        };
        let (invoke, call) = if event.action == Action::Expire {
            (0, Call::Expire)
        } else {
            // A deletion that nobody asked for cannot be placed before the end of time, and is found so.
            (
                unsure.get(&event.node.key).copied().unwrap_or(NEVER),
                Call::Delete,
            )
        };
        if let Outcome::Answered(back, answer) = success(event, NEVER) {
            ops.push(Op {
                invoke,
                back,
                call,
                answer,
            });
        }
    }
}

/// Bounds that are reached within a short run.
pub(crate) fn limits(prng: &mut Prng) -> Limits {
    Limits {
        snapshot_count: prng.between(8, 300),
        catch_up_entries: prng.between(2, 80),
        max_pending: if prng.coin() { 8 } else { 4_096 },
        max_reads: if prng.coin() { 6 } else { 16_384 },
        request_timeout_ms: prng.between(1_500, 7_000),
        ..Limits::default()
    }
}

pub(crate) fn key(path: &str) -> Key {
    // Every path here is a short constant with a number, so it is a key.
    Key::parse(path).unwrap_or_else(|_| Key::root())
}

fn text(value: u64) -> Value {
    value.to_string().into_bytes().into()
}

/// The unique number that a value is.
pub(crate) fn value_of(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Workload, failure};
    use crate::checker::{Answer, Cell};
    use berth_replica::ReplyError;

    #[test]
    fn a_request_is_finished_once() {
        let mut workload = Workload::new(1);
        let id = workload.probe(1, 0);
        let cell = Cell {
            value: 1,
            modified: 1,
        };
        assert!(workload.finish(id, Outcome::Answered(5, Answer::Found(cell))));
        assert!(!workload.finish(id, Outcome::Unknown));
        assert!(!workload.finish(id + 1, Outcome::Unknown));
    }

    #[test]
    fn only_what_is_certain_counts_as_refused() {
        assert_eq!(failure(&ReplyError::NoLeader, 1), Outcome::Refused);
        assert_eq!(failure(&ReplyError::TimedOut, 1), Outcome::Unknown);
        assert_eq!(failure(&ReplyError::Unknown, 1), Outcome::Unknown);
    }
}
