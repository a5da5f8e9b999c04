//! What must hold whatever happens, checked after each event against everything that was ever committed.

use crate::census::Census;
use crate::model::LogState;
use crate::workload::value_of;
use berth_replica::{Change, Entry, Message, MessageType, Role, Roster, Status, membership_change};
use berth_store::{Action, Command, Event, Kind, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Clocks are read in whole milliseconds, once or twice for each change of leader.
const CLOCK_SLACK_US: u64 = 100_000;

/// What was found broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invariant {
    /// Two leaders in one term.
    OneLeader,
    /// One member voted for two candidates in one term.
    OneVote,
    /// Term, commit or applied index of a member went back, or what was durable is gone after a restart.
    Monotone,
    /// Not applied <= commit <= last.
    Bounds,
    /// Two members committed different entries at one index.
    CommittedPrefix,
    /// An entry counts as committed that is not on a majority of synced disks.
    Durable,
    /// A member's state differs from what the committed entries lead to.
    State,
    /// `modifiedIndex` did not rise by exactly one.
    Index,
    /// One request was applied twice, or one that was answered as certainly not applied.
    AppliedOnce,
    /// A request was answered twice.
    AnsweredOnce,
    /// A request was not answered although its member lives.
    Answered,
    /// An answer is not what the committed entries say, or an acknowledged write is not among them.
    Answer,
    /// A watch missed an event, or got one too many or out of order.
    Watch,
    /// A key expired before its time, or cluster time ran ahead of true time.
    EarlyExpiry,
    /// A key is still there long after its time.
    LateExpiry,
    /// The answers about one key come from no single register.
    Linearizable,
    /// A membership that the committed changes do not lead to, an id used again, or a member that goes on although it left.
    Membership,
    /// A member did not start from its disk.
    Recovery,
    /// A member gave up.
    Fatal,
    /// The log was cut although no durable image stands for it.
    Compaction,
    /// No leader in time after all was healed.
    Election,
    /// A write failed after all was healed.
    CalmWrite,
    /// Members did not come to the same state after all was healed.
    Convergence,
    /// The code panicked.
    Panic,
    /// None: the run ended where it was asked to end.
    Stopped,
}

/// A broken invariant.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) invariant: Invariant,
    pub(crate) detail: String,
}

pub(crate) type Checked<T = ()> = Result<T, Violation>;

/// An error unless it holds; the detail is only made when it is needed.
pub(crate) fn require(holds: bool, invariant: Invariant, detail: impl FnOnce() -> String) -> Checked {
    if holds {
        return Ok(());
    }
    Err(Violation {
        invariant,
        detail: detail(),
    })
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.invariant, self.detail)
    }
}

/// What one member shows after an event.
#[derive(Debug)]
pub(crate) struct Look<'a> {
    pub(crate) status: Status,
    pub(crate) digest: u64,
    /// Its log as far as it has been handed out to be written.
    pub(crate) log: &'a LogState,
    pub(crate) roster: &'a Roster,
}

/// After one committed entry.
#[derive(Clone, Copy, Debug)]
struct Point {
    term: u64,
    entry: u64,
    digest: u64,
    index: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    term: u64,
    commit: u64,
    applied: u64,
    /// Up to here its log was compared.
    compared: u64,
    durable_term: u64,
    durable_commit: u64,
}

/// A write with a time to live, by its value.
#[derive(Clone, Copy, Debug)]
struct Lease {
    since_us: u64,
    ttl_us: u64,
}

/// Everything that was ever committed, and what each member has shown so far.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    leaders: BTreeMap<u64, u64>,
    votes: BTreeMap<(u64, u64), u64>,
    seen: BTreeMap<u64, Seen>,
    points: Vec<Point>,
    reference: Store,
    events: Vec<Arc<Event>>,
    /// Where each value was committed.
    values: BTreeMap<u64, u64>,
    leases: BTreeMap<u64, Lease>,
    drift_ppm: u64,
    census: Census,
    /// Members that know that they left.
    ended: BTreeSet<u64>,
    nobody: Roster,
}

impl Oracle {
    pub(crate) fn new(drift_ppm: u64, founders: &[u64]) -> Oracle {
        Oracle {
            drift_ppm,
            census: Census::new(founders),
            ..Oracle::default()
        }
    }

    /// A member starts again; what it promised by synced writes still binds it.
    pub(crate) fn started(&mut self, status: &Status) -> Checked {
        let seen = self.seen.entry(status.id).or_default();
        let kept = status.term >= seen.durable_term && status.commit >= seen.durable_commit;
        require(kept, Invariant::Monotone, || {
            format!(
                "member {} starts with {status:?}, durable were {seen:?}",
                status.id
            )
        })?;
        *seen = Seen {
            durable_term: seen.durable_term,
            durable_commit: seen.durable_commit,
            ..Seen::default()
        };
        Ok(())
    }

    /// A member's disk has synced this much.
    pub(crate) fn durable(&mut self, member: u64, log: &LogState) {
        let seen = self.seen.entry(member).or_default();
        seen.durable_term = seen.durable_term.max(log.hard_state.term);
        seen.durable_commit = seen.durable_commit.max(log.hard_state.commit);
    }

    /// A member's message leaves it: what it votes for binds it for ever.
    pub(crate) fn sent(&mut self, message: &Message) -> Checked {
        require(!self.ended.contains(&message.from), Invariant::Membership, || {
            format!("member {} has left and sends {message:?}", message.from)
        })?;
        let kind = message.get_msg_type();
        let candidate = if kind == MessageType::MsgRequestVoteResponse && !message.reject {
            message.to
        } else if kind == MessageType::MsgRequestVote {
            message.from
        } else {
            return Ok(());
        };
        let vote = *self
            .votes
            .entry((message.from, message.term))
            .or_insert(candidate);
        require(vote == candidate, Invariant::OneVote, || {
            let (from, term) = (message.from, message.term);
            format!("member {from} voted for {vote} and for {candidate} in term {term}")
        })
    }

    /// Compares what a member shows with what it and all others have shown. `holds` tells of a
    /// member, an index and a term whether the entry is on that member's synced disk.
    pub(crate) fn observe(
        &mut self,
        look: &Look<'_>,
        now_us: u64,
        holds: impl Fn(u64, u64, u64) -> bool,
    ) -> Checked {
        self.progress(&look.status)?;
        self.commits(look, now_us, holds)?;
        self.membership(look)?;
        self.state(look)
    }

    fn membership(&self, look: &Look<'_>) -> Checked {
        let (member, applied) = (look.status.id, look.status.applied);
        let expected = self.census.at(applied);
        // Who joins knows nothing before it hears of itself.
        let joins = look.roster.is_empty() && expected.is_none_or(|roster| !roster.contains(member));
        require(
            joins || expected == Some(look.roster),
            Invariant::Membership,
            || {
                format!(
                    "member {member} at {applied} has {:?}, not {expected:?}",
                    look.roster
                )
            },
        )
    }

    /// The membership by all that is committed.
    pub(crate) fn roster(&self) -> &Roster {
        self.census.newest().unwrap_or(&self.nobody)
    }

    pub(crate) fn has_made(&self, change: &Change) -> bool {
        self.census.has_made(change)
    }

    pub(crate) fn has_known(&self, id: u64) -> bool {
        self.census.has_known(id)
    }

    pub(crate) fn has_ended(&self, id: u64) -> bool {
        self.ended.contains(&id)
    }

    /// A member has said that it left: it sends nothing any more.
    pub(crate) fn ended(&mut self, id: u64) {
        self.ended.insert(id);
    }

    fn progress(&mut self, status: &Status) -> Checked {
        if status.role == Role::Leader {
            let leader = *self.leaders.entry(status.term).or_insert(status.id);
            require(leader == status.id, Invariant::OneLeader, || {
                format!("{leader} and {} lead in term {}", status.id, status.term)
            })?;
        }
        let seen = self.seen.entry(status.id).or_default();
        let forward =
            status.term >= seen.term && status.commit >= seen.commit && status.applied >= seen.applied;
        require(forward, Invariant::Monotone, || {
            format!("{status:?} after {seen:?}")
        })?;
        seen.term = status.term;
        seen.commit = status.commit;
        seen.applied = status.applied;
        let ordered = status.applied <= status.commit && status.commit <= status.last;
        require(ordered, Invariant::Bounds, || format!("{status:?}"))
    }

    fn commits(&mut self, look: &Look<'_>, now_us: u64, holds: impl Fn(u64, u64, u64) -> bool) -> Checked {
        let member = look.status.id;
        let compared = self.seen.get(&member).map_or(0, |seen| seen.compared);
        if look.status.commit <= compared {
            return Ok(());
        }
        let mark = look.log.mark();
        require(mark <= self.committed(), Invariant::CommittedPrefix, || {
            format!("the image of member {member} at {mark} is beyond what was ever committed")
        })?;
        let first = look.log.entries.front().map_or(mark + 1, |entry| entry.index);
        for index in first.max(compared + 1)..=look.status.commit {
            let Some(entry) = look.log.entry(index) else {
                require(index <= mark, Invariant::CommittedPrefix, || {
                    format!("member {member} committed {index}, which is not in its log")
                })?;
                continue;
            };
            if index <= self.committed() {
                self.compare(member, entry)?;
                continue;
            }
            let quorum = self.census.is_quorum(index, |id| holds(id, index, entry.term));
            require(quorum, Invariant::Durable, || {
                format!(
                    "entry {index} of term {} is committed at member {member}, but not on the disks of a majority",
                    entry.term
                )
            })?;
            self.commit(entry, now_us)?;
        }
        self.seen.entry(member).or_default().compared = look.status.commit;
        Ok(())
    }

    fn compare(&self, member: u64, entry: &Entry) -> Checked {
        let known = self.point(entry.index);
        let same = known.is_some_and(|point| point.term == entry.term && point.entry == fingerprint(entry));
        require(same, Invariant::CommittedPrefix, || {
            format!("member {member} committed another entry {}", entry.index)
        })
    }

    /// The next entry is committed for the first time.
    fn commit(&mut self, entry: &Entry, now_us: u64) -> Checked {
        require(
            entry.index == self.committed() + 1,
            Invariant::CommittedPrefix,
            || format!("entry {} is committed after {}", entry.index, self.committed()),
        )?;
        if let Some(change) = membership_change(entry) {
            self.census.commit(entry.index, change)?;
        } else if !entry.data.is_empty() {
            let command = Command::decode(&entry.data);
            require(command.is_ok(), Invariant::CommittedPrefix, || {
                format!("entry {} does not decode", entry.index)
            })?;
            if let Ok(command) = command {
                self.apply(entry.index, &command, now_us)?;
            }
        }
        self.points.push(Point {
            term: entry.term,
            entry: fingerprint(entry),
            digest: self.reference.digest(),
            index: self.reference.index(),
        });
        Ok(())
    }

    fn apply(&mut self, at: u64, command: &Command, now_us: u64) -> Checked {
        if let Some(value) = written_value(&command.kind) {
            let before = self.values.insert(value, at);
            require(before.is_none(), Invariant::AppliedOnce, || {
                format!("value {value} was committed at {before:?} and at {at}")
            })?;
        }
        let mut next = self.reference.index() + 1;
        if let Ok(applied) = self.reference.apply(command) {
            for event in &applied.events {
                require(event.index == next, Invariant::Index, || {
                    format!("the event after {} has index {}", next - 1, event.index)
                })?;
                next += 1;
                self.check_expiry(event, now_us)?;
                self.events.push(Arc::clone(event));
            }
        }
        require(self.reference.index() + 1 == next, Invariant::Index, || {
            format!("index {} without an event", self.reference.index())
        })?;
        let cluster_us = self.reference.cluster_ms() * 1000;
        let fastest = now_us + now_us * self.drift_ppm / 1_000_000 + CLOCK_SLACK_US;
        require(cluster_us <= fastest, Invariant::EarlyExpiry, || {
            format!("cluster time is {cluster_us} us after {now_us} us")
        })
    }

    fn check_expiry(&self, event: &Event, now_us: u64) -> Checked {
        let Some(prev) = event.prev.as_ref().filter(|_| event.action == Action::Expire) else {
            return Ok(());
        };
        let due = prev.deadline.is_some_and(|deadline| deadline <= event.cluster_ms);
        require(due, Invariant::EarlyExpiry, || format!("{event:?}"))?;
        let value = prev.value.as_deref().and_then(value_of);
        let Some(lease) = value.and_then(|value| self.leases.get(&value)) else {
            return Ok(());
        };
        let shortest = lease.ttl_us * 1_000_000 / (1_000_000 + self.drift_ppm);
        let in_time = now_us + CLOCK_SLACK_US >= lease.since_us + shortest;
        require(in_time, Invariant::EarlyExpiry, || {
            format!("{} expired at {now_us} us: {lease:?}", prev.key)
        })
    }

    fn state(&self, look: &Look<'_>) -> Checked {
        let applied = look.status.applied;
        let expected = match applied {
            0 => Store::new().digest(),
            _ => self.point(applied).map_or(0, |point| point.digest),
        };
        require(look.digest == expected, Invariant::State, || {
            let member = look.status.id;
            format!(
                "member {member} has digest {:x} at {applied}, expected {expected:x}",
                look.digest
            )
        })
    }

    /// A client asks for a key that is to live so long.
    pub(crate) fn lease(&mut self, value: u64, since_us: u64, ttl_seconds: u64) {
        let ttl_us = ttl_seconds * 1_000_000;
        self.leases.insert(value, Lease { since_us, ttl_us });
    }

    pub(crate) fn committed(&self) -> u64 {
        self.points.len() as u64
    }

    fn point(&self, index: u64) -> Option<&Point> {
        self.points.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    /// The store's index after a committed entry.
    pub(crate) fn index_at(&self, entry: u64) -> Option<u64> {
        if entry == 0 {
            Some(0)
        } else {
            self.point(entry).map(|point| point.index)
        }
    }

    /// The event with this index; indexes and events have no gaps, which is checked as they come.
    pub(crate) fn event(&self, index: u64) -> Option<&Arc<Event>> {
        self.events.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    pub(crate) fn events(&self) -> &[Arc<Event>] {
        &self.events
    }

    pub(crate) fn reference(&self) -> &Store {
        &self.reference
    }

    /// Where a value was committed, if it was.
    pub(crate) fn committed_value(&self, value: u64) -> Option<u64> {
        self.values.get(&value).copied()
    }
}

fn written_value(kind: &Kind) -> Option<u64> {
    match kind {
        Kind::Set(put)
        | Kind::Create(put)
        | Kind::Update(put)
        | Kind::CompareAndSwap(put, _)
        | Kind::CreateInOrder(put) => value_of(&put.value),
        Kind::Delete { .. } | Kind::CompareAndDelete { .. } | Kind::Tick | Kind::Bump | Kind::Auth(_) => None,
    }
}

/// Over all that makes an entry what it is.
fn fingerprint(entry: &Entry) -> u64 {
    let bytes = entry.data.iter().chain(&entry.context);
    bytes.fold(entry.term, |hash, byte| {
        (hash ^ u64::from(*byte))
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(5)
    })
}
