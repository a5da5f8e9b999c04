//! The replica's part in changes of the membership: asking, applying, answering, and what becomes of those that left.
//!
//! A member that has left stays and votes until a leader tells it that it is not needed any more, because all voters know
//! of its removal: one that does not know counts votes by the membership of before.

use crate::change::{self, Outlook, Step};
use crate::effect::{ChangeReply, Effect};
use crate::entry::Origin;
use crate::error::{ChangeError, FatalError, ReplyError};
use crate::input::{Millis, RequestId};
use crate::members::Change;
use crate::pending::Pending;
use crate::replica::Replica;
use crate::validate::Refusal;
use raft::eraftpb::{Entry, Message, MessageType};
use std::collections::BTreeMap;

/// The context of a question that wants no answer; no round of reads gets there.
const NO_ROUND: u64 = u64::MAX;

#[derive(Default)]
pub(crate) struct Reconfiguration {
    /// Changes that wait for their answer.
    pending: Pending,
    ticks: u64,
    /// When each other member was last heard.
    heard: BTreeMap<u64, u64>,
    /// When each member that left was last told so; no more than there are of them.
    told: BTreeMap<u64, u64>,
    /// When a leader was last heard, or asked for.
    led: u64,
}

impl Reconfiguration {
    pub(crate) fn waiting(&self) -> usize {
        self.pending.len()
    }
}

impl Replica {
    /// This member has left the cluster, and may still be needed.
    pub(crate) fn has_left(&self) -> bool {
        self.roster().removed.contains(&self.config.id)
    }

    fn election_ticks(&self) -> u64 {
        self.config.limits.election_ticks as u64
    }

    pub(crate) fn change_members(&mut self, id: RequestId, change: Change) {
        if let Err(error) = self.propose_change(id, &change) {
            self.answer_change(id, Err(error));
        }
    }

    fn propose_change(&mut self, id: RequestId, change: &Change) -> Result<(), ChangeError> {
        self.consensus.may_change(self.applied)?;
        let own = self.config.id;
        let patience = self.election_ticks();
        let changes = &self.changes;
        let recent = |id: &u64| {
            changes
                .heard
                .get(id)
                .is_some_and(|at| at + patience >= changes.ticks)
        };
        let outlook = Outlook {
            roster: self.consensus.roster(),
            matched: &|id| self.consensus.matched(id),
            alive: &|id| id == own || recent(&id),
            leader: own,
            promotion_percent: self.config.limits.promotion_percent,
        };
        change::check(change, &outlook)?;
        if change.removes() == Some(own)
            && let Some(next) = self.consensus.furthest()
        {
            // A leader does not remove itself: it hands on first, and the next one does it.
            self.consensus.transfer(Some(next));
            return Err(ChangeError::NotLeader { leader: next });
        }
        let deadline = self.now + self.config.limits.request_timeout_ms;
        let sequence = self.changes.pending.add(id, deadline);
        let origin = Origin {
            incarnation: self.config.incarnation,
            sequence,
        };
        let entry = change::encode(origin, change, self.consensus.roster());
        match self.consensus.propose(vec![entry]) {
            Ok(Some(index)) => self.changes.pending.place(sequence, index),
            Ok(None) => {}
            Err(refused) => {
                tracing::debug!(%refused, "membership change refused");
                self.changes.pending.refuse(sequence);
                return Err(ChangeError::Dropped);
            }
        }
        Ok(())
    }

    /// A membership change is committed.
    pub(crate) fn apply_change(&mut self, entry: &Entry) -> Result<(), FatalError> {
        let index = entry.index;
        let step = change::decode(entry).map_err(|source| FatalError::Entry { index, source })?;
        let own = match &step {
            Step::Change { origin, .. } if origin.incarnation == self.config.incarnation => {
                Some(origin.sequence)
            }
            Step::Change { .. } | Step::Leave => None,
        };
        let before = self.roster().clone();
        self.consensus
            .change(step)
            .map_err(|source| FatalError::Membership { index, source })?;
        if *self.roster() != before {
            tracing::info!(index, voters = ?self.roster().voters, learners = ?self.roster().learners, "membership changed");
            let roster = self.consensus.roster();
            self.changes.heard.retain(|id, _| roster.contains(*id));
            self.effects.push(Effect::RosterChanged);
        }
        self.settle(index, None, None);
        self.settle_change(index, own);
        Ok(())
    }

    /// The entry at this index is applied; `own` is its sequence if it is a change that this life proposed.
    pub(crate) fn settle_change(&mut self, index: u64, own: Option<u64>) {
        if self.changes.pending.len() == 0 {
            return;
        }
        let settled = self.changes.pending.settle(index, own);
        if let Some(id) = settled.answered {
            self.answer_change(id, Ok(()));
        }
        if let Some(id) = settled.superseded {
            self.answer_change(id, Err(ChangeError::Superseded));
        }
    }

    /// The state jumped to an image, and perhaps to another membership.
    pub(crate) fn jump_changes(&mut self, index: u64) {
        self.effects.push(Effect::RosterChanged);
        for id in self.changes.pending.jump(index) {
            self.answer_change(id, Err(ChangeError::OutcomeUnknown));
        }
    }

    fn answer_change(&mut self, id: RequestId, outcome: Result<(), ChangeError>) {
        self.effects
            .push(Effect::ChangeReply(ChangeReply { id, outcome }));
    }

    pub(crate) fn tick_changes(&mut self) {
        self.changes.ticks += 1;
        for id in self.changes.pending.expire(self.now) {
            self.answer_change(id, Err(ChangeError::TimedOut));
        }
        if self.consensus.leads() {
            self.changes.led = self.changes.ticks;
        } else if self.changes.ticks >= self.changes.led + 2 * self.election_ticks() {
            self.changes.led = self.changes.ticks;
            self.ask_around();
        }
    }

    /// Who is not led may have left without knowing it, or be needed no more: its message tells the others that it is
    /// there, and they tell it. The message asks a leader for a read that nobody waits for, since that one changes no term.
    fn ask_around(&mut self) {
        let own = self.config.id;
        let context = Origin {
            incarnation: self.config.incarnation,
            sequence: NO_ROUND,
        };
        let others: Vec<u64> = self
            .roster()
            .members
            .keys()
            .copied()
            .filter(|id| *id != own)
            .collect();
        for to in others {
            let mut message = Message {
                from: own,
                to,
                entries: vec![Entry {
                    data: context.encode(),
                    ..Entry::default()
                }],
                ..Message::default()
            };
            message.set_msg_type(MessageType::MsgReadIndex);
            self.effects.push(Effect::Send(message));
        }
    }

    /// A message was found good.
    pub(crate) fn heard(&mut self, message: &Message) {
        if self.roster().contains(message.from) {
            self.changes.heard.insert(message.from, self.changes.ticks);
        }
        let kind = MessageType::from_i32(message.msg_type);
        let leads = matches!(
            kind,
            Some(MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot)
        );
        if leads && !self.has_left() {
            self.changes.led = self.changes.ticks;
        }
    }

    /// A message was dropped. Its sender is told if it has left for ever, but once in an election time-out.
    pub(crate) fn refused(&mut self, from: u64, refusal: Option<Refusal>) {
        if refusal != Some(Refusal::Removed) || !self.consensus.may_tell() {
            return;
        }
        let (now, patience) = (self.changes.ticks, self.election_ticks());
        let told = self.changes.told.get(&from);
        if told.is_none_or(|told| told + patience <= now) {
            self.changes.told.insert(from, now);
            self.effects.push(Effect::TellRemoved { to: from });
        }
    }

    /// This member is needed no more: everybody who waits is answered, and that is the end.
    pub(crate) fn told_removed(&mut self, by: u64) {
        tracing::warn!(by, "this member was removed from the cluster");
        for id in self.pending.expire(Millis::MAX) {
            self.reply(id, Err(ReplyError::TimedOut));
        }
        for id in self.reads.tick(Millis::MAX) {
            self.effects.push(Effect::ReadFailed {
                id,
                error: ReplyError::TimedOut,
            });
        }
        for id in self.changes.pending.expire(Millis::MAX) {
            self.answer_change(id, Err(ChangeError::TimedOut));
        }
        self.effects.push(Effect::Removed);
        self.stopped = true;
    }
}
