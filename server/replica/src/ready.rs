//! The only file, with its parts, that drives raft-rs: one Ready at a time becomes one [`Turn`], in the order Raft's safety
//! needs.
//!
//! Writes are asynchronous: a Ready's entries are at once readable in [`Log`], go to the disk by a `Persist`, and count
//! as durable when its number comes back. A Ready without need of a sync is not written on its own: the commit index
//! it may carry travels with the next write, since it only ever lags behind what the log itself proves.

mod marks;
mod members;

pub(crate) use marks::{mark_of, snapshot_index};

use crate::change;
use crate::compaction;
use crate::config::{Limits, ReplicaConfig};
use crate::effect::{Persist, SnapshotMark, Status};
use crate::election;
use crate::entry;
use crate::error::{FatalError, ReplicaError};
use crate::log::Log;
use crate::members::Roster;
use crate::validate::{self, Receiver, Refusal};
use berth_store::Store;
use raft::eraftpb::{Entry, HardState, Message, MessageType};
use raft::{Config, RawNode, ReadOnlyOption, ReadState, SnapshotStatus, StateRole, Storage as _};

/// Entries of one append message: large enough to catch up fast, small enough to share a connection with heartbeats.
const MAX_APPEND_BYTES: u64 = 1 << 20;
/// Append messages on their way to one member.
const MAX_INFLIGHT_APPENDS: usize = 256;
/// Entries handed to the state machine at once, so that a long catch-up is not one giant step.
const MAX_COMMITTED_BYTES: u64 = 16 << 20;
/// Entries proposed but not committed; a leader without a quorum refuses more instead of filling the memory.
const MAX_UNCOMMITTED_BYTES: u64 = 64 << 20;

pub(crate) struct Consensus {
    node: RawNode<Log>,
    seed: u64,
    shortest_election: usize,
    /// The newest hard state that no `Persist` has carried yet.
    unsaved: Option<HardState>,
    /// Numbers of the last `Persist` given out and of the last one that came back.
    written: u64,
    persisted: u64,
    /// The image of the snapshot message being stepped.
    incoming: Option<(u64, Box<Store>)>,
    /// Images given out to be written, to become the state when their number comes back.
    installing: Option<(u64, SnapshotMark, Box<Store>)>,
    /// The membership as of what is applied.
    roster: Roster,
    /// The last membership change: its index, and the number of the write that makes its commit durable.
    changed: u64,
    announced: u64,
    /// The write that makes the present term durable, and that term.
    named: (u64, u64),
}

/// What one Ready asks for.
pub(crate) struct Turn {
    pub(crate) send: Vec<Message>,
    pub(crate) persist: Option<Persist>,
    pub(crate) committed: Vec<Entry>,
    pub(crate) reads: Vec<ReadState>,
}

impl Consensus {
    /// Starts Raft over a recovered log. The only voter of a cluster leads at once.
    pub(crate) fn start(config: &ReplicaConfig, log: Log) -> Result<Consensus, ReplicaError> {
        let roster = log.roster().clone();
        let foreign = !roster.is_empty() && !roster.contains(config.id);
        if foreign && !roster.removed.contains(&config.id) {
            return Err(ReplicaError::NotAVoter { id: config.id });
        }
        let applied = log.first_index().map_err(ReplicaError::Raft)? - 1;
        // What raft-rs has to say at its own level is covered by our own events.
        let silent = slog::Logger::root(slog::Discard, slog::o!());
        let node = RawNode::new(&raft_config(config.id, applied, &config.limits), log, &silent);
        let mut consensus = Consensus {
            node: node.map_err(ReplicaError::Raft)?,
            seed: config.seed,
            shortest_election: config.limits.election_ticks,
            unsaved: None,
            written: 0,
            persisted: 0,
            incoming: None,
            installing: None,
            roster,
            changed: applied,
            announced: 0,
            named: (0, 0),
        };
        consensus.pin_election_timeout();
        if consensus.is_alone() {
            consensus.node.campaign().map_err(ReplicaError::Raft)?;
            consensus.pin_election_timeout();
        }
        Ok(consensus)
    }

    pub(crate) fn status(&self, applied: u64) -> Status {
        let raft = &self.node.raft;
        let leads = raft.state == StateRole::Leader;
        Status {
            id: raft.id,
            leader: raft.leader_id,
            role: raft.state,
            term: raft.term,
            commit: raft.raft_log.committed,
            applied,
            last: raft.raft_log.last_index(),
            ready: raft.leader_id != 0 && (!leads || raft.raft_log.term(applied) == Ok(raft.term)),
            alone: self.is_alone(),
        }
    }

    pub(crate) fn log(&self) -> &Log {
        self.node.store()
    }

    pub(crate) fn log_mut(&mut self) -> &mut Log {
        self.node.mut_store()
    }

    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Whether this member is the only one with a vote.
    pub(crate) fn is_alone(&self) -> bool {
        !self.roster.is_joint() && self.roster.voters.iter().eq([&self.node.raft.id])
    }

    pub(crate) fn term(&self) -> u64 {
        self.node.raft.term
    }

    pub(crate) fn leads(&self) -> bool {
        self.node.raft.state == StateRole::Leader
    }

    /// No time passes for Raft while a received image is being written: to campaign, raft-rs reads the log behind what is
    /// applied, which is not there any more, and panics. The vote of this member would wait for the image anyway. Nor does
    /// it for an only voter whose log is being written: it would lead at once, and raft-rs takes its log for durable then.
    pub(crate) fn tick(&mut self) {
        if self.may_campaign() {
            self.node.tick();
        }
        self.leave_joint();
        self.pin_election_timeout();
    }

    fn may_campaign(&self) -> bool {
        let log = &self.node.raft.raft_log;
        let wins_early = self.is_alone() && !self.leads() && log.last_index() != log.persisted;
        self.installing.is_none() && !wins_early
    }

    /// Raft leaves a joint state by itself, but for some changes of the leader in between.
    fn leave_joint(&mut self) {
        let stays = self.leads() && self.roster.is_joint() && self.roster.auto_leave;
        if stays
            && !self.node.raft.has_pending_conf()
            && let Err(refused) = self.propose(vec![change::leave()])
        {
            tracing::debug!(%refused, "the joint state is left later");
        }
    }

    /// Whether a message from outside may be used.
    pub(crate) fn check(&self, message: &Message) -> Result<(), Refusal> {
        let raft = &self.node.raft;
        let receiver = Receiver {
            id: raft.id,
            log: self.node.store(),
            term: raft.term,
            commit: raft.raft_log.committed,
            last: raft.raft_log.last_index(),
            leads: raft.state == StateRole::Leader,
            leader: raft.leader_id,
            may_campaign: self.may_campaign(),
            roster: &self.roster,
        };
        validate::check(message, &receiver)
    }

    /// Steps a checked message. What Raft refuses is dropped: the sender repeats what matters.
    pub(crate) fn step(&mut self, message: Message) {
        if let Err(error) = self.node.step(message) {
            tracing::debug!(%error, "message dropped by raft");
        }
        self.pin_election_timeout();
    }

    /// Steps a checked snapshot message; its image waits for Raft's decision. Where Raft does not take it, the one of an
    /// earlier message of the same batch still counts.
    pub(crate) fn step_snapshot(&mut self, message: Message, store: Box<Store>) {
        let index = snapshot_index(&message);
        let earlier = self.incoming.replace((index, store));
        self.step(message);
        let taken = self
            .node
            .snap()
            .is_some_and(|snapshot| snapshot.get_metadata().index == index);
        if !taken {
            self.incoming = earlier;
        }
    }

    /// Proposes entries; gives the index of the first one if this member leads and so placed them itself.
    pub(crate) fn propose(&mut self, entries: Vec<Entry>) -> Result<Option<u64>, raft::Error> {
        if self.is_leaving() && entries.iter().all(entry::is_normal) {
            return Err(raft::Error::ProposalDropped);
        }
        let first = self.node.raft.raft_log.last_index() + 1;
        let mut message = Message {
            from: self.node.raft.id,
            entries,
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgPropose);
        self.node.step(message)?;
        Ok(self.leads().then_some(first))
    }

    pub(crate) fn read_index(&mut self, context: Vec<u8>) {
        self.node.read_index(context);
    }

    pub(crate) fn report_unreachable(&mut self, peer: u64) {
        self.node.report_unreachable(peer);
    }

    pub(crate) fn report_snapshot(&mut self, peer: u64, delivered: bool) {
        let status = if delivered {
            SnapshotStatus::Finish
        } else {
            SnapshotStatus::Failure
        };
        self.node.report_snapshot(peer, status);
    }

    /// Everything Raft wants done now, until there is nothing more without another input.
    pub(crate) fn turn(&mut self) -> Result<Option<Turn>, FatalError> {
        if !self.node.has_ready() {
            return Ok(None);
        }
        let mut ready = self.node.ready();
        let number = ready.number();
        let must_sync = ready.must_sync();
        let mut send = ready.take_messages();
        let mut after = ready.take_persisted_messages();
        let committed = ready.take_committed_entries();
        let reads = ready.take_read_states();
        if let Some(hard_state) = ready.hs() {
            if hard_state.term != self.named.1 {
                self.named = (number, hard_state.term);
            }
            self.unsaved = Some(hard_state.clone());
        }
        let snapshot = if ready.snapshot().is_empty() {
            None
        } else {
            Some(self.install(number, &mark_of(ready.snapshot()).unwrap_or_default())?)
        };
        let entries = ready.take_entries();
        self.node.mut_store().append(&entries);
        self.node.advance_append_async(ready);
        self.pin_election_timeout();
        self.name_term(&mut after);

        let idle = self.written == self.persisted;
        if self.persisted < self.named.0 {
            self.hold_back(&mut send, &mut after);
        }
        // Who leaves with a change may be needed to find out that it is committed; so it is told only when the others cannot
        // forget it any more, and when this member counts votes by the new membership, that is for good.
        let changes = committed.iter().any(|entry| !entry::is_normal(entry));
        if changes {
            self.changed = committed.last().map_or(self.changed, |entry| entry.index);
            self.announced = number;
            self.unsaved = Some(self.node.raft.hard_state());
        }
        let must_sync = must_sync || changes;
        let persist = if must_sync || (!after.is_empty() && !idle) {
            self.written = number;
            let hard_state = self.unsaved.take();
            Some(Persist {
                number,
                snapshot,
                entries,
                hard_state,
                must_sync,
                after,
            })
        } else {
            send.append(&mut after);
            if idle {
                // Nothing of this Ready needs the disk; raft-rs would keep its record for ever.
                self.node.on_persist_ready(number);
            }
            None
        };
        Ok(Some(Turn {
            send,
            persist,
            committed,
            reads,
        }))
    }

    /// An only voter leads before its term is durable. Were others, who only receive, to hear of that term, it could lead in it
    /// once more after a crash, with another log.
    fn hold_back(&mut self, send: &mut Vec<Message>, after: &mut Vec<Message>) {
        for message in send.drain(..) {
            if message.get_msg_type() == MessageType::MsgSnapshot {
                // Its image cannot wait beside a write; Raft tries again.
                self.report_snapshot(message.to, false);
            } else {
                after.push(message);
            }
        }
    }

    fn install(
        &mut self,
        number: u64,
        mark: &SnapshotMark,
    ) -> Result<(SnapshotMark, Box<Store>), FatalError> {
        let image = self.incoming.take().filter(|(index, _)| *index == mark.index);
        let (_, store) = image.ok_or(FatalError::MissingImage { index: mark.index })?;
        self.node.mut_store().install(mark);
        self.installing = Some((number, mark.clone(), store.clone()));
        Ok((mark.clone(), store))
    }

    /// A forwarded write names the term it was meant for, which raft-rs leaves out.
    fn name_term(&self, messages: &mut [Message]) {
        let term = self.node.raft.term;
        let forwards = messages
            .iter_mut()
            .filter(|message| message.get_msg_type() == MessageType::MsgPropose);
        forwards.for_each(|message| message.term = term);
    }

    /// The write of this number is durable. Gives the image to go on from, if it was part of it.
    pub(crate) fn persisted(&mut self, number: u64) -> Option<(SnapshotMark, Box<Store>)> {
        if number > self.written || number <= self.persisted {
            return None;
        }
        self.persisted = number;
        self.node.on_persist_ready(number);
        let due = self.installing.take_if(|(written, _, _)| *written <= number);
        let (_, mark, store) = due?;
        self.roster = mark.membership();
        self.changed = mark.index;
        Some((mark, store))
    }

    /// The state machine contains everything up to this index.
    pub(crate) fn applied(&mut self, index: u64) {
        self.node.advance_apply_to(index);
        self.pin_election_timeout();
    }

    /// How far the log may be cut behind a durable snapshot.
    pub(crate) fn compactable(&self, snapshot: u64, limits: &Limits) -> u64 {
        let raft = &self.node.raft;
        let others = raft.prs().iter().filter(|(id, _)| **id != raft.id);
        let active = others.filter(|(_, progress)| progress.recent_active);
        let slowest = active.map(|(_, progress)| progress.matched).min();
        let alone = self.roster.members.len() == 1 && self.is_alone();
        compaction::through(
            snapshot,
            slowest.filter(|_| self.leads()),
            alone,
            limits.catch_up_entries,
        )
    }

    fn pin_election_timeout(&mut self) {
        let raft = &mut self.node.raft;
        let ticks = election::timeout_ticks(self.seed, raft.id, raft.term, self.shortest_election);
        raft.set_randomized_election_timeout(ticks);
    }
}

fn raft_config(id: u64, applied: u64, limits: &Limits) -> Config {
    Config {
        id,
        applied,
        election_tick: limits.election_ticks,
        heartbeat_tick: limits.heartbeat_ticks,
        max_size_per_msg: MAX_APPEND_BYTES,
        max_inflight_msgs: MAX_INFLIGHT_APPENDS,
        check_quorum: true,
        pre_vote: true,
        read_only_option: ReadOnlyOption::Safe,
        // A follower that answers the writes forwarded through it wants to hear of the commit soon.
        skip_bcast_commit: false,
        batch_append: true,
        max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
        max_committed_size_per_ready: MAX_COMMITTED_BYTES,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests;
