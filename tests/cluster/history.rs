//! What recording clients asked and were told, what watchers at every member saw, and the check of all of it together.

use std::collections::{BTreeMap, BTreeSet};

use berth_checker::{Answer, Call, Cell, NEVER, Op, Verdict, check};

/// One request of a recording client. Times are microseconds since the recording began.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) invoke: u64,
    /// When the answer came, and what it was; nothing when none came or it told nothing.
    pub(crate) told: Option<(u64, Answer)>,
    pub(crate) call: Call,
}

/// A key that was written with a time to live, and not again.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) key: String,
    /// When the write was sent.
    pub(crate) sent: u64,
    /// Microseconds.
    pub(crate) ttl: u64,
    /// The write was acknowledged.
    pub(crate) held: bool,
}

/// An event as a watcher saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) index: u64,
    pub(crate) key: String,
    pub(crate) action: String,
    /// What was written; nothing for a removal.
    pub(crate) value: Option<u64>,
    pub(crate) prev: Option<Cell>,
}

/// What one watcher saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Followed {
    /// In the order of arrival, with the time of it.
    pub(crate) events: Vec<(u64, Event)>,
    /// Indices that the server said were no longer in its history: first, and the first after them.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// The member left the cluster before the end. It must have told of everything up to this index, and of nothing after a
    /// hole; what came later it need not have told.
    pub(crate) left: Option<u64>,
}

impl Followed {
    /// The last index that it must have told of, unless it was declared cleared.
    fn bound(&self) -> u64 {
        let last = self.events.last().map_or(0, |(_, event)| event.index);
        self.left.map_or(u64::MAX, |farewell| farewell.max(last))
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    pub(crate) asked: Vec<Asked>,
    pub(crate) leases: Vec<Lease>,
    pub(crate) followed: Vec<Followed>,
}

/// What was checked, for the test's output.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) acknowledged: usize,
    pub(crate) unknown: usize,
    pub(crate) reads: usize,
    pub(crate) events: usize,
    pub(crate) gaps: usize,
    /// Members that left.
    pub(crate) left: usize,
    pub(crate) expired: usize,
    pub(crate) undecided: usize,
}

type Checked<T = ()> = Result<T, String>;

impl History {
    /// Every rule; the first that does not hold is told.
    pub(crate) fn check(&self) -> Checked<Counts> {
        let union = self.union()?;
        self.watches_are_complete(&union)?;
        self.acknowledged_writes_happened(&union)?;
        let mut counts = self.leases_are_kept(&union)?;
        for key in self.asked.iter().map(|asked| &asked.key).collect::<BTreeSet<_>>() {
            match check(&self.operations(key, &union)?) {
                Verdict::Linearizable => (),
                Verdict::Violation => return Err(format!("the answers about {key} fit no register")),
                Verdict::Undecided => counts.undecided += 1,
            }
        }
        for asked in &self.asked {
            match (&asked.told, asked.call) {
                (None, Call::Read) => (),
                (None, _) => counts.unknown += 1,
                (Some(_), Call::Read) => counts.reads += 1,
                (Some(_), _) => counts.acknowledged += 1,
            }
        }
        counts.events = union.len();
        counts.gaps = self.followed.iter().map(|followed| followed.gaps.len()).sum();
        counts.left = self
            .followed
            .iter()
            .filter(|followed| followed.left.is_some())
            .count();
        Ok(counts)
    }

    /// All events by index; every watcher saw the same ones, each once and in order.
    fn union(&self) -> Checked<BTreeMap<u64, Event>> {
        let mut union: BTreeMap<u64, Event> = BTreeMap::new();
        for (member, followed) in self.followed.iter().enumerate() {
            let mut last = 0;
            for (_, event) in &followed.events {
                if event.index <= last {
                    return Err(format!("member {member} told of {} after {last}", event.index));
                }
                last = event.index;
                match union.get(&event.index) {
                    Some(known) if known != event => {
                        return Err(format!("member {member} told {event:?}, another one {known:?}"));
                    }
                    Some(_) => (),
                    None => {
                        union.insert(event.index, event.clone());
                    }
                }
            }
        }
        Ok(union)
    }

    /// Nobody missed an event that was not declared cleared.
    fn watches_are_complete(&self, union: &BTreeMap<u64, Event>) -> Checked {
        for (member, followed) in self.followed.iter().enumerate() {
            let seen: BTreeSet<u64> = followed.events.iter().map(|(_, event)| event.index).collect();
            let bound = followed.bound();
            for index in union
                .keys()
                .filter(|index| **index <= bound && !seen.contains(index))
            {
                let cleared = followed
                    .gaps
                    .iter()
                    .any(|(from, to)| (*from..*to).contains(index));
                if !cleared {
                    return Err(format!("member {member} never told of event {index}"));
                }
            }
        }
        Ok(())
    }

    fn acknowledged_writes_happened(&self, union: &BTreeMap<u64, Event>) -> Checked {
        let mut given = BTreeSet::new();
        for asked in &self.asked {
            let Some((_, Answer::Done { modified, prev })) = asked.told else {
                continue;
            };
            if !given.insert(modified) {
                return Err(format!("index {modified} was given twice"));
            }
            let Some(event) = union.get(&modified) else {
                return Err(format!("an acknowledged write is lost: {asked:?}"));
            };
            if (&event.key, event.value, event.prev) != (&asked.key, written(asked.call), prev) {
                return Err(format!("acknowledged was {asked:?}, told was {event:?}"));
            }
        }
        Ok(())
    }

    /// No key with a time to live went early, and each went.
    fn leases_are_kept(&self, union: &BTreeMap<u64, Event>) -> Checked<Counts> {
        let mut counts = Counts::default();
        for lease in &self.leases {
            let end = union
                .values()
                .find(|event| event.key == lease.key && event.action == "expire");
            let Some(end) = end else {
                if lease.held {
                    return Err(format!("{lease:?} never expired"));
                }
                continue;
            };
            let seen = self.followed.iter().flat_map(|followed| &followed.events);
            let first = seen
                .filter(|(_, event)| event.index == end.index)
                .map(|(at, _)| *at)
                .min();
            if first.is_some_and(|at| at < lease.sent + lease.ttl) {
                return Err(format!("{lease:?} expired early: at {first:?}"));
            }
            counts.expired += 1;
        }
        Ok(counts)
    }

    /// The operations on a key. What became of an unanswered write is known from the events: its value is unique.
    fn operations(&self, key: &str, union: &BTreeMap<u64, Event>) -> Checked<Vec<Op>> {
        let mut ops = Vec::new();
        let mut open_removals = 0_usize;
        let mut explained = BTreeSet::new();
        let of_key = || self.asked.iter().filter(|asked| asked.key == key);
        for asked in of_key() {
            let (back, answer) = match asked.told {
                Some(told) => told,
                None if asked.call == Call::Read => continue,
                None if written(asked.call).is_none() => {
                    open_removals += 1;
                    continue;
                }
                None => {
                    let own = union
                        .values()
                        .find(|event| event.key == key && event.value == written(asked.call));
                    let Some(own) = own else { continue };
                    (
                        NEVER,
                        Answer::Done {
                            modified: own.index,
                            prev: own.prev,
                        },
                    )
                }
            };
            if let Answer::Done { modified, .. } = answer {
                explained.insert(modified);
            }
            ops.push(Op {
                invoke: asked.invoke,
                back,
                call: asked.call,
                answer,
            });
        }
        let earliest = of_key()
            .filter(|asked| asked.told.is_none() && written(asked.call).is_none())
            .map(|asked| asked.invoke)
            .min();
        for event in union.values().filter(|event| event.key == key) {
            if explained.contains(&event.index) {
                continue;
            }
            // Removals that nobody was told of are alike, so any of them may have been this one.
            if event.value.is_some() || open_removals == 0 {
                return Err(format!("nobody asked for {event:?}"));
            }
            open_removals -= 1;
            ops.push(Op {
                invoke: earliest.unwrap_or(0),
                back: NEVER,
                call: Call::Delete,
                answer: Answer::Done {
                    modified: event.index,
                    prev: event.prev,
                },
            });
        }
        Ok(ops)
    }
}

/// The value that a call writes.
pub(crate) fn written(call: Call) -> Option<u64> {
    match call {
        Call::Set(value) | Call::Create(value) | Call::Update(value) | Call::Swap { value, .. } => {
            Some(value)
        }
        Call::Read | Call::Delete | Call::CompareDelete(_) | Call::Expire => None,
    }
}
