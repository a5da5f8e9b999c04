//! The end of the faults, and what must hold at rest and over the whole history.

use crate::checker::{Answer, Verdict, check};
use crate::invariants::{Checked, Invariant, require};
use crate::workload::{Outcome, Request, Wish, histories};
use crate::world::World;
use berth_replica::{Role, Status};

impl Request {
    /// The keyspace answered it.
    pub(crate) fn is_answered(&self) -> bool {
        matches!(self.outcome, Outcome::Answered(..))
    }
}

impl World {
    /// No more faults, no more load; everything that is down starts.
    pub(crate) fn calm(&mut self) -> Checked {
        self.is_calm = true;
        self.network.calm();
        for member in &mut self.members {
            member.fuse = None;
            member.ends_in_write = false;
            member.slowness = 1;
            member.disk.set_full(false);
            member.disk.fail_after(None);
        }
        self.trace.note(self.now, "calm", &[]);
        // Where nobody could tell whether a member was added, the log can.
        for member in &mut self.members {
            member.awaited &= !self.oracle.roster().contains(member.id);
        }
        self.start_all()
    }

    /// When the last of what was begun under faults is over: writes of slow disks, and late copies of messages, for one
    /// of a dead leader keeps its followers from an election.
    pub(crate) fn quiet_at(&self) -> u64 {
        let busy = self.members.iter().map(|member| member.disk.busy_until());
        busy.max().unwrap_or(0).max(self.last_arrival()).max(self.now)
    }

    /// A write and reads of everything through each member.
    pub(crate) fn probe(&mut self) -> Checked<Vec<u64>> {
        let mut probes = Vec::new();
        for at in 0..self.members.len() {
            let id = self.members[at].id;
            if !self.oracle.roster().contains(id) {
                continue;
            }
            let mut own = vec![self.workload.probe(id, self.now)];
            own.extend(self.workload.read_all(id, self.now));
            // Fewer than the smallest bound of waiting requests at a time.
            for request in own.iter().take(self.limits.max_reads.min(6)) {
                self.send_request(at, *request);
                probes.push(*request);
            }
        }
        Ok(probes)
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        let roster = self.oracle.roster();
        let belong = self.members.iter().filter(|member| roster.contains(member.id));
        let replicas = belong.filter_map(|member| member.replica.as_ref());
        replicas.map(|replica| replica.status()).collect()
    }

    pub(crate) fn check_elected(&self) -> Checked {
        let statuses = self.statuses();
        let leader = statuses
            .iter()
            .find(|status| status.role == Role::Leader && status.ready);
        let agreed = leader.is_some_and(|leader| {
            statuses
                .iter()
                .all(|status| (status.leader, status.term) == (leader.id, leader.term))
        });
        require(agreed, Invariant::Election, || format!("{statuses:?}"))
    }

    /// All requests are answered, all members are in one state, all watches have heard everything.
    pub(crate) fn check_rest(&self) -> Checked {
        let committed = self.oracle.committed();
        let statuses = self.statuses();
        let together = statuses
            .iter()
            .all(|status| status.applied == committed && status.commit == committed);
        require(together, Invariant::Convergence, || {
            format!("{committed} entries are committed: {statuses:?}")
        })?;
        for member in &self.members {
            let (id, taken) = (member.id, &member.taken);
            require(taken.is_empty(), Invariant::Answered, || {
                let first = taken.first().and_then(|id| self.workload.request(*id));
                format!("member {id} owes {taken:?}, first {first:?}")
            })?;
            let Some(replica) = &member.replica else { continue };
            if !self.oracle.roster().contains(id) {
                continue;
            }
            let digest = replica.store().digest();
            let expected = self.oracle.reference().digest();
            require(digest == expected, Invariant::Convergence, || {
                format!("member {id} has digest {digest:x}, expected {expected:x}")
            })?;
            require(replica.waiting() == 0, Invariant::Answered, || {
                format!("member {id} still has requests that nobody made")
            })?;
            self.watches.check(id, replica.store().index(), &self.oracle)?;
        }
        self.check_members()
    }

    /// Long after the load no key is left that had a time to live.
    pub(crate) fn check_leases(&self) -> Checked {
        let left = self.oracle.reference().next_deadline();
        require(left.is_none(), Invariant::LateExpiry, || {
            format!("a key was due at {left:?} of cluster time")
        })
    }

    /// Every answer ever given, against the committed events and against one register for each key.
    pub(crate) fn check_histories(&mut self) -> Checked {
        for request in self.workload.requests() {
            self.check_answer(request)?;
        }
        let histories = histories(self.workload.requests(), self.oracle.events());
        for (key, ops) in histories {
            match check(&ops) {
                Verdict::Linearizable => self.count("keys checked"),
                Verdict::Undecided => self.count("keys undecided"),
                Verdict::Violation => {
                    return require(false, Invariant::Linearizable, || format!("{key}: {ops:?}"));
                }
            }
        }
        Ok(())
    }

    fn check_answer(&self, request: &Request) -> Checked {
        let Some(value) = request.wish.value() else {
            return Ok(());
        };
        let entry = self.oracle.committed_value(value);
        match request.outcome {
            Outcome::Refused => require(entry.is_none(), Invariant::AppliedOnce, || {
                format!("{request:?} was refused, but is committed as {entry:?}")
            }),
            Outcome::Answered(_, Answer::Done { modified, .. }) => {
                let event = self.oracle.event(modified);
                let same = event.is_some_and(|event| {
                    let in_order = matches!(request.wish, Wish::InOrder(_));
                    let place = if in_order {
                        request.key.is_above(&event.node.key)
                    } else {
                        request.key == event.node.key
                    };
                    let written = event.node.value.as_deref();
                    place && written.and_then(crate::workload::value_of) == Some(value)
                });
                require(same && entry.is_some(), Invariant::Answer, || {
                    format!("{request:?} is not what was committed: {event:?}")
                })
            }
            Outcome::Answered(..) => require(entry.is_some(), Invariant::Answer, || {
                format!("{request:?} was answered, but is not committed")
            }),
            Outcome::Open | Outcome::Unknown => Ok(()),
        }
    }
}
