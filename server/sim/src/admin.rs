//! Who changes the membership: members that join, are promoted, removed and replaced, and leaders that hand on.

use crate::invariants::{Checked, Invariant, require};
use crate::member::Member;
use crate::plant::Plant;
use crate::prng::Prng;
use crate::world::{Happening, World};
use berth_replica::{
    Change, ChangeError, ChangeReply, Input, Member as Meta, RequestId, Role, Roster, Status,
};
use std::collections::BTreeMap;

/// Requests of clients have lower numbers.
const FIRST_ID: u64 = 1 << 40;
/// Members of one run, with those that left.
const MAX_EVER: usize = 12;
/// Members at a time.
const MAX_MEMBERS: usize = 6;
/// A member starts so long after it was added, at most.
const START_US: u64 = 500_000;

/// The administrator and what was asked for.
#[derive(Debug)]
pub(crate) struct Admin {
    prng: Prng,
    gap_us: u64,
    next: u64,
    /// Requests without an answer.
    open: BTreeMap<u64, Asked>,
    /// Members that certainly were not added.
    pub(crate) refused: Vec<u64>,
}

#[derive(Debug)]
struct Asked {
    /// Whom.
    member: u64,
    change: Change,
    /// How far the learner and the leader had come.
    learner: u64,
    leader: u64,
}

impl Admin {
    pub(crate) fn new(seed: u64) -> Admin {
        let mut prng = Prng::new(seed, "admin");
        Admin {
            gap_us: prng.between(200_000, 2_000_000),
            prng,
            next: FIRST_ID,
            open: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    /// Whether a member owes an answer.
    pub(crate) fn waits_for(&self, member: u64) -> bool {
        self.open.values().any(|asked| asked.member == member)
    }
}

impl World {
    /// The administrator's turn.
    pub(crate) fn administer(&mut self) -> Checked {
        if self.is_calm {
            return Ok(());
        }
        let rest = self.admin.prng.below(2 * self.admin.gap_us);
        self.schedule(rest, 0, Happening::Admin);
        let Some(at) = self.contact() else { return Ok(()) };
        let roster = self.oracle.roster().clone();
        if self.admin.prng.below(8) == 0 {
            let voters: Vec<u64> = roster.voters.iter().copied().collect();
            let to = self.admin.prng.pick(&voters).filter(|_| self.admin.prng.coin());
            self.count("leadership handed on");
            return self.give(at, Input::TransferLeader { to });
        }
        let Some(change) = self.wish(&roster) else {
            return Ok(());
        };
        self.ask(at, change)
    }

    /// A member to ask, as a rule the leader.
    fn contact(&mut self) -> Option<usize> {
        let up: Vec<usize> = (0..self.members.len())
            .filter(|at| self.members[*at].is_up() && self.members[*at].paused_until <= self.now)
            .collect();
        let leads = |at: &usize| {
            let replica = self.members[*at].replica.as_ref();
            replica.is_some_and(|replica| replica.status().role == Role::Leader)
        };
        let leader = up.iter().copied().find(leads);
        let any = self.admin.prng.pick(&up);
        leader.filter(|_| self.admin.prng.below(8) > 0).or(any)
    }

    fn wish(&mut self, roster: &Roster) -> Option<Change> {
        let known: Vec<u64> = roster.members.keys().copied().collect();
        let voters: Vec<u64> = roster.voters.iter().copied().collect();
        let learners: Vec<u64> = roster.learners.iter().copied().collect();
        let prng = &mut self.admin.prng;
        let draw = prng.below(16);
        match draw {
            0..5 if known.len() < MAX_MEMBERS && self.members.len() < MAX_EVER => Some(self.newcomer()),
            0..8 => Some(Change::Promote {
                id: prng.pick(&learners)?,
            }),
            8..10 => Some(Change::Replace {
                old: prng.pick(&voters)?,
                new: prng.pick(&learners)?,
            }),
            10..13 => Some(Change::Remove {
                id: prng.pick(&known)?,
            }),
            13 => Some(Change::Update(Meta {
                name: format!("named {}", prng.below(1_000)),
                ..Meta::bare(prng.pick(&known)?)
            })),
            14 => {
                let gone: Vec<u64> = roster.removed.iter().copied().collect();
                let id = prng.pick(&gone).or(prng.pick(&known))?;
                Some(Change::AddLearner(Meta::bare(id)))
            }
            _ => Some(Change::Promote {
                id: prng.below(100) + 100,
            }),
        }
    }

    fn newcomer(&mut self) -> Change {
        let id = self.members.iter().map(|member| member.id).max().unwrap_or(0) + 1;
        let disk = self.new_disk(id);
        self.members.push(Member::joining(id, disk));
        Change::AddLearner(Meta {
            peer_urls: vec![format!("http://member-{id}:2380")],
            ..Meta::bare(id)
        })
    }

    fn ask(&mut self, at: usize, change: Change) -> Checked {
        let id = self.admin.next;
        self.admin.next += 1;
        let learner = match &change {
            Change::Promote { id } | Change::Replace { new: id, .. } => *id,
            Change::AddLearner(_) | Change::Remove { .. } | Change::Update(_) => 0,
        };
        let learner = self.members.iter().find(|member| member.id == learner);
        let replica = self.members[at].replica.as_ref();
        let asked = Asked {
            member: self.members[at].id,
            learner: learner.map_or(0, |member| member.disk.synced().last()),
            leader: replica.map_or(0, |replica| replica.status().applied),
            change: change.clone(),
        };
        self.trace.note(self.now, "change asked", &[asked.member, id]);
        self.trace.remark(|| format!("{change:?}"));
        self.admin.open.insert(id, asked);
        self.count("changes asked");
        let id = RequestId(id);
        self.give(at, Input::ChangeMembers { id, change })
    }

    pub(crate) fn change_answered(&mut self, at: usize, reply: &ChangeReply) -> Checked {
        let member = self.members[at].id;
        self.trace
            .note(self.now, "change answered", &[member, reply.id.0]);
        self.trace.remark(|| format!("{:?}", reply.outcome));
        let asked = self.admin.open.remove(&reply.id.0);
        let Some(asked) = asked.filter(|asked| asked.member == member) else {
            return require(false, Invariant::AnsweredOnce, || {
                format!("{reply:?} of member {member}")
            });
        };
        let made = match &reply.outcome {
            Ok(()) => Some(true),
            Err(ChangeError::TimedOut | ChangeError::OutcomeUnknown) => None,
            Err(_) => Some(false),
        };
        self.count(name(&asked.change, &reply.outcome));
        if made == Some(true) {
            require(self.oracle.has_made(&asked.change), Invariant::Answer, || {
                format!("{asked:?} is answered as made")
            })?;
            let promotes = matches!(asked.change, Change::Promote { .. } | Change::Replace { .. });
            let enough = asked.learner * 100 + 100 >= asked.leader * 90;
            require(!promotes || enough, Invariant::Membership, || {
                format!("a learner far behind has a vote: {asked:?}")
            })?;
        }
        self.settle_newcomer(&asked.change, made);
        Ok(())
    }

    /// A new member is started unless it certainly was not added.
    fn settle_newcomer(&mut self, change: &Change, made: Option<bool>) {
        let Change::AddLearner(meta) = change else { return };
        // Without an address it is not a newcomer, but asked for to be refused.
        if meta.peer_urls.is_empty() {
            return;
        }
        let newcomer = self.members.iter().position(|member| member.id == meta.id);
        let Some(at) = newcomer.filter(|at| self.members[*at].awaited) else {
            return;
        };
        if made == Some(false) {
            self.admin.refused.push(meta.id);
            return;
        }
        self.members[at].awaited = false;
        let rest = self.admin.prng.below(START_US);
        let life = self.members[at].life;
        self.schedule(rest, at, Happening::Start { life });
    }

    /// A member stops: nobody hears of what it was asked.
    pub(crate) fn forget_changes(&mut self, member: u64) {
        let (gone, open) = std::mem::take(&mut self.admin.open)
            .into_iter()
            .partition(|(_, asked)| asked.member == member);
        self.admin.open = open;
        let gone: BTreeMap<u64, Asked> = gone;
        for asked in gone.values() {
            self.settle_newcomer(&asked.change, None);
        }
    }

    pub(crate) fn tell_removed(&mut self, at: usize, to: u64) -> Checked {
        let by = self.members[at].id;
        self.count("members told of their removal");
        require(
            self.oracle.roster().removed.contains(&to),
            Invariant::Membership,
            || format!("member {by} takes member {to} for removed"),
        )?;
        let receiver = self.members.iter().position(|member| member.id == to);
        for after in self.network.send(by, to) {
            if let Some(receiver) = receiver {
                self.schedule(after, receiver, Happening::Told { by });
            }
        }
        Ok(())
    }

    /// A member knows that it was removed, and ends.
    pub(crate) fn removed(&mut self, at: usize) -> Checked {
        let id = self.members[at].id;
        self.count("members ended");
        require(
            self.oracle.roster().removed.contains(&id),
            Invariant::Membership,
            || format!("member {id} takes itself for removed"),
        )?;
        self.oracle.ended(id);
        self.members[at].retired = !self.planted(Plant::RemovedRestarts);
        self.crash(at);
        Ok(())
    }

    /// Refused members are not there, and those that left have been told.
    pub(crate) fn check_members(&self) -> Checked {
        let roster = self.oracle.roster();
        require(!roster.is_joint(), Invariant::Membership, || {
            format!("two sets of voters at rest: {roster:?}")
        })?;
        for id in &self.admin.refused {
            require(!self.oracle.has_known(*id), Invariant::Membership, || {
                format!("member {id} was refused and added")
            })?;
        }
        for member in &self.members {
            let id = member.id;
            let Some(replica) = &member.replica else { continue };
            // The leader tells it. Who was removed before it heard of itself, or before the leader was added, does not know
            // whom to ask.
            let leads = |status: &Status| replica.roster().members.contains_key(&status.leader);
            let asks = self.statuses().iter().any(leads);
            require(
                !asks || !roster.removed.contains(&id),
                Invariant::Membership,
                || format!("member {id} was removed and goes on"),
            )?;
            require(!self.admin.waits_for(id), Invariant::Answered, || {
                format!("member {id} owes an answer about a change")
            })?;
        }
        Ok(())
    }
}

/// What an answer counts as.
fn name(change: &Change, outcome: &Result<(), ChangeError>) -> &'static str {
    let Err(error) = outcome else {
        return match change {
            Change::AddLearner(_) => "learners added",
            Change::Promote { .. } => "learners promoted",
            Change::Remove { .. } => "members removed",
            Change::Replace { .. } => "members replaced",
            Change::Update(_) => "members updated",
        };
    };
    match error {
        ChangeError::NotLeader { .. } => "change: not leader",
        ChangeError::NotReady => "change: not ready",
        ChangeError::InProgress => "change: in progress",
        ChangeError::Unknown { .. } => "change: unknown member",
        ChangeError::Removed { .. } => "change: removed member",
        ChangeError::Exists { .. } => "change: member exists",
        ChangeError::PeerUrlExists { .. } => "change: peer URL exists",
        ChangeError::NotALearner { .. } => "change: not a learner",
        ChangeError::NotAVoter { .. } => "change: not a voter",
        ChangeError::NotCaughtUp { .. } => "change: not caught up",
        ChangeError::QuorumAtRisk { .. } => "change: quorum at risk",
        ChangeError::LastVoter { .. } => "change: last voter",
        ChangeError::TooMany { .. } => "change: too many",
        ChangeError::TooLarge { .. } => "change: too large",
        ChangeError::Dropped => "change: dropped",
        ChangeError::Superseded => "change: superseded",
        ChangeError::TimedOut => "change: timed out",
        ChangeError::OutcomeUnknown => "change: unknown outcome",
    }
}
