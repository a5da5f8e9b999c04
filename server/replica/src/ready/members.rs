//! The membership as Raft has it: what changes of it are possible, what a committed one does, and who leads after it.

use crate::change::Step;
use crate::error::ChangeError;
use crate::members::{Change, Roster};
use crate::ready::Consensus;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};

impl Consensus {
    /// Whether those that left may be told so: this member leads, and every voter knows durably that they left. One that
    /// does not, and has the longest log, needs them to win an election.
    pub(crate) fn may_tell(&self) -> bool {
        let knows = |id: &u64| {
            let progress = self.node.raft.prs().get(*id);
            *id == self.node.raft.id
                || progress.is_some_and(|progress| progress.committed_index >= self.changed)
        };
        self.leads() && self.persisted >= self.announced && self.roster.voters.iter().all(knows)
    }

    /// Whether a membership change may be proposed now; Raft would put an empty entry in its place otherwise.
    pub(crate) fn may_change(&self, applied: u64) -> Result<(), ChangeError> {
        let status = self.status(applied);
        if !self.leads() {
            return Err(ChangeError::NotLeader {
                leader: status.leader,
            });
        }
        if !status.ready {
            return Err(ChangeError::NotReady);
        }
        if self.node.raft.has_pending_conf() || self.roster.is_joint() {
            return Err(ChangeError::InProgress);
        }
        Ok(())
    }

    /// How far a member's durable log is known to agree with this leader's.
    pub(crate) fn matched(&self, id: u64) -> u64 {
        let progress = self.node.raft.prs().get(id);
        progress.map_or(0, |progress| progress.matched)
    }

    /// Applies a committed membership change.
    pub(crate) fn change(&mut self, step: Step) -> Result<(), raft::Error> {
        let (change, raft, before) = match step {
            Step::Leave => (None, ConfChangeV2::default(), None),
            Step::Change {
                change, raft, before, ..
            } => (Some(*change), raft, before),
        };
        if self.roster.is_empty() {
            // This member joins. What was before it does not concern it.
            let own = self.node.raft.id;
            let before = before.filter(|before| !before.contains(own) && !before.removed.contains(&own));
            let Some(before) = before.filter(|_| adds(change.as_ref(), own)) else {
                return Ok(());
            };
            self.begin(&before)?;
            self.roster = *before;
        } else if change.is_none() && !self.roster.is_joint() {
            // A second leader has ended the joint state as well.
            return Ok(());
        }
        let conf = self.node.apply_conf_change(&raft)?;
        if let Some(Change::AddLearner(member) | Change::Update(member)) = change {
            self.roster.members.insert(member.id, member);
        }
        self.roster.adopt(&conf);
        self.step_down();
        self.pin_election_timeout();
        Ok(())
    }

    /// Gives Raft, which knows of nobody, the membership that this member is about to be added to: one change at a time, for
    /// that is how raft-rs starts from nothing.
    fn begin(&mut self, before: &Roster) -> Result<(), raft::Error> {
        let voters = before.voters.iter().map(|id| (ConfChangeType::AddNode, *id));
        let learners = before.learners.iter();
        for (kind, id) in voters.chain(learners.map(|id| (ConfChangeType::AddLearnerNode, *id))) {
            let change = ConfChangeV2 {
                changes: vec![ConfChangeSingle {
                    change_type: kind as i32,
                    node_id: id,
                }],
                ..ConfChangeV2::default()
            };
            self.node.apply_conf_change(&change)?;
        }
        Ok(())
    }

    /// A leader that has left hands on to the voter that has most of the log. raft-rs would let it lead on, and panic when
    /// its next write is durable.
    fn step_down(&mut self) {
        let (own, term) = (self.node.raft.id, self.node.raft.term);
        if !self.leads() || self.roster.votes(own) {
            return;
        }
        if let Some(next) = self.furthest() {
            self.node.raft.send_timeout_now(next);
        }
        self.node.raft.become_follower(term, 0);
    }

    /// Whether this leader is about to apply its own removal. What it appended behind that would be in no other log, and
    /// with it it could not vote for anybody.
    pub(super) fn is_leaving(&self) -> bool {
        let (raft, own) = (&self.node.raft, self.node.raft.id);
        let half_gone = self.roster.is_joint() && !self.roster.voters.contains(&own);
        self.leads()
            && (half_gone || raft.has_pending_conf() && self.log().removes(own, raft.raft_log.applied))
    }

    /// The other voter whose log agrees the furthest with this leader's.
    pub(crate) fn furthest(&self) -> Option<u64> {
        let others = self.roster.voters.iter().filter(|id| **id != self.node.raft.id);
        others
            .copied()
            .max_by_key(|id| (self.matched(*id), u64::MAX - *id))
    }

    /// Hands the leadership on, as far as Raft can.
    pub(crate) fn transfer(&mut self, to: Option<u64>) {
        let wished = to
            .filter(|id| self.roster.voters.contains(id))
            .or(self.furthest().filter(|_| to.is_none()));
        match wished {
            Some(next) if self.leads() => self.node.transfer_leader(next),
            Some(_) | None => tracing::debug!(?to, "the leadership is not handed on"),
        }
        self.pin_election_timeout();
    }
}

/// Whether the change adds this very member.
fn adds(change: Option<&Change>, own: u64) -> bool {
    matches!(change, Some(Change::AddLearner(member)) if member.id == own)
}
