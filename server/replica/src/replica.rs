//! The replica: takes inputs, drives consensus, applies what is committed, and answers.

use crate::codec::MAX_ENTRY_BYTES;
use crate::compaction::Snapshots;
use crate::config::{Recovered, ReplicaConfig};
use crate::effect::{Effect, Reply, SnapshotMark, Status};
use crate::entry::{self, Origin};
use crate::error::{FatalError, ReplicaError, ReplyError};
use crate::expiry::ClusterClock;
use crate::forward::Forwards;
use crate::input::{Input, Millis, RequestId};
use crate::log::Log;
use crate::members::Roster;
use crate::pending::Pending;
use crate::reads::Reads;
use crate::ready::{Consensus, Turn, snapshot_index};
use crate::reconfigure::Reconfiguration;
use crate::watches::{Position, WatchTable, Wish};
use berth_store::{Applied, Command, Store, StoreError, View};
use raft::Storage as _;
use raft::eraftpb::{Entry, Message, MessageType};

/// Entries proposed in one message: with [`BATCH_BYTES`] the unit that Raft takes or refuses as a whole.
const BATCH_ENTRIES: usize = 256;
/// Bytes proposed in one message, unless a single entry is larger. A forwarded message must pass the peer port's limit.
const BATCH_BYTES: usize = 1 << 20;
/// What an entry's own fields add to its command, generously.
const ENTRY_OVERHEAD: usize = 64;
/// The sequence of what the replica proposes by itself; no request gets there.
const INTERNAL: u64 = u64::MAX;

/// One member: the keyspace, the Raft log and everybody who waits for either.
pub struct Replica {
    pub(crate) config: ReplicaConfig,
    pub(crate) consensus: Consensus,
    store: Store,
    pub(crate) applied: u64,
    pub(crate) now: Millis,
    /// Proposals of this batch.
    batch: Vec<Entry>,
    pub(crate) pending: Pending,
    pub(crate) changes: Reconfiguration,
    pub(crate) reads: Reads,
    watches: WatchTable,
    clock: ClusterClock,
    forwards: Forwards,
    snapshots: Snapshots,
    /// The leader and term last reported.
    reported: (u64, u64),
    /// The term that `clock` and `forwards` belong to.
    office: Option<u64>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) stopped: bool,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// A member that goes on from what its disk held. A single voter is a leader already; its first effects
    /// come with the first [`Replica::flush`].
    pub fn new(config: ReplicaConfig, recovered: Recovered) -> Result<Replica, ReplicaError> {
        let (log, snapshot) = Log::recover(&config.voters, recovered)?;
        let consensus = Consensus::start(&config, log)?;
        let (applied, store) = match snapshot {
            Some((mark, store)) => (mark.index, store),
            None => (0, Store::new()),
        };
        Ok(Replica {
            consensus,
            store,
            applied,
            now: 0,
            batch: Vec::new(),
            pending: Pending::default(),
            changes: Reconfiguration::default(),
            reads: Reads::new(config.incarnation),
            watches: WatchTable::default(),
            clock: ClusterClock::default(),
            forwards: Forwards::default(),
            snapshots: Snapshots::new(config.limits.snapshot_count, applied),
            reported: (0, 0),
            office: None,
            effects: Vec::new(),
            stopped: false,
            config,
        })
    }

    /// Handles one input and gives everything there is to do.
    pub fn step(&mut self, input: Input, now: Millis) -> Vec<Effect> {
        self.queue(input, now);
        self.flush(now)
    }

    /// Takes one input of a batch. Proposals queued before one [`Replica::flush`] share one write to the log.
    pub fn queue(&mut self, input: Input, now: Millis) {
        self.now = self.now.max(now);
        if self.stopped {
            return;
        }
        match input {
            Input::Tick => self.tick(),
            Input::Message(message) => self.message(message),
            Input::Snapshot { message, store } => self.snapshot(message, store),
            Input::Propose { id, command } => self.propose(id, command),
            Input::ChangeMembers { id, change } => self.change_members(id, change),
            Input::TransferLeader { to } => self.consensus.transfer(to),
            Input::ToldRemoved { by } => self.told_removed(by),
            Input::QuorumRead { id } => self.quorum_read(id),
            Input::Watch {
                id,
                key,
                recursive,
                stream,
                since,
            } => {
                let (applied, term) = self.position();
                let wish = Wish {
                    id,
                    key,
                    recursive,
                    stream,
                    since,
                };
                self.watches
                    .open(wish, &self.store, Position { applied, term }, &mut self.effects);
            }
            Input::Unwatch { id } => self.watches.close(id),
            Input::Persisted { number } => {
                if let Some((mark, store)) = self.consensus.persisted(number) {
                    self.install(&mark, *store);
                }
            }
            Input::SnapshotSaved { index } => self.snapshot_saved(index),
            Input::SnapshotFailed { index } => {
                self.snapshots.finish(index);
            }
            Input::SnapshotSent { to, delivered } => self.consensus.report_snapshot(to, delivered),
            Input::Unreachable { peer } => self.consensus.report_unreachable(peer),
        }
    }

    /// Carries out what the queued inputs lead to and gives everything there is to do.
    pub fn flush(&mut self, now: Millis) -> Vec<Effect> {
        self.now = self.now.max(now);
        if !self.stopped
            && let Err(error) = self.run()
        {
            self.stopped = true;
            self.effects.push(Effect::Fatal(error));
        }
        std::mem::take(&mut self.effects)
    }

    /// A consistent look at the keyspace as applied so far; cheap to take and to keep.
    pub fn view(&self) -> View {
        self.store.view()
    }

    /// The keyspace as applied so far.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Who leads, and how far the log has come.
    pub fn status(&self) -> Status {
        self.consensus.status(self.applied)
    }

    /// The membership as applied so far; empty in a member that joins and has not heard of itself.
    pub fn roster(&self) -> &Roster {
        self.consensus.roster()
    }

    /// Requests that wait for an answer.
    pub fn waiting(&self) -> usize {
        self.pending.len() + self.reads.len() + self.changes.waiting()
    }

    fn tick(&mut self) {
        self.consensus.tick();
        self.tick_changes();
        for id in self.pending.expire(self.now) {
            self.reply(id, Err(ReplyError::TimedOut));
        }
        for id in self.reads.tick(self.now) {
            self.effects.push(Effect::ReadFailed {
                id,
                error: ReplyError::TimedOut,
            });
        }
    }

    fn message(&mut self, message: Message) {
        let kind = MessageType::from_i32(message.msg_type);
        let refusal = self.consensus.check(&message).err();
        if refusal.is_some() || kind == Some(MessageType::MsgSnapshot) {
            tracing::debug!(from = message.from, ?kind, ?refusal, "message dropped");
            self.refused(message.from, refusal);
        } else if kind == Some(MessageType::MsgPropose) {
            self.forwarded(message.entries);
        } else {
            self.heard(&message);
            self.consensus.step(message);
        }
    }

    /// Takes the writes another member forwards; the time they count from is the leader's.
    fn forwarded(&mut self, entries: Vec<Entry>) {
        self.observe_office();
        for entry in entries {
            let Ok((origin, command)) = entry::decode(&entry) else {
                continue;
            };
            if origin.incarnation != self.config.incarnation && self.forwards.take(origin) {
                let command = self.stamped(command);
                self.batch.push(entry::encode(origin, &command));
            }
        }
    }

    fn snapshot(&mut self, message: Message, store: Box<Store>) {
        let refusal = self.consensus.check(&message).err();
        if refusal.is_some() || message.get_msg_type() != MessageType::MsgSnapshot {
            tracing::debug!(from = message.from, ?refusal, "snapshot dropped");
            self.refused(message.from, refusal);
        } else {
            self.heard(&message);
            self.consensus.step_snapshot(message, store);
        }
    }

    fn propose(&mut self, id: RequestId, command: Command) {
        if self.has_left() {
            return self.reply(id, Err(ReplyError::NoLeader));
        }
        if self.pending.len() >= self.config.limits.max_pending {
            return self.reply(id, Err(ReplyError::Overloaded));
        }
        let command = self.stamped(command);
        let deadline = self.now + self.config.limits.request_timeout_ms;
        let sequence = self.pending.add(id, deadline);
        let entry = entry::encode(
            Origin {
                incarnation: self.config.incarnation,
                sequence,
            },
            &command,
        );
        if entry.data.len() > MAX_ENTRY_BYTES - ENTRY_OVERHEAD {
            self.pending.refuse(sequence);
            return self.reply(id, Err(ReplyError::TooLarge));
        }
        self.batch.push(entry);
    }

    fn quorum_read(&mut self, id: RequestId) {
        if self.has_left() {
            let error = ReplyError::NoLeader;
            return self.effects.push(Effect::ReadFailed { id, error });
        }
        if self.reads.len() >= self.config.limits.max_reads {
            let error = ReplyError::Overloaded;
            return self.effects.push(Effect::ReadFailed { id, error });
        }
        self.reads
            .add(id, self.now + self.config.limits.request_timeout_ms);
    }

    /// The command with the cluster time it counts from: the leader's now, or 0 until a leader takes it.
    fn stamped(&mut self, mut command: Command) -> Command {
        self.observe_office();
        command.cluster_ms = match self.office {
            Some(_) => self.clock.now(self.store.cluster_ms(), self.now),
            None => 0,
        };
        command
    }

    /// What belongs to one term of leadership ends with it.
    fn observe_office(&mut self) {
        let office = self.consensus.leads().then(|| self.consensus.term());
        if office != self.office {
            self.office = office;
            self.clock.stop();
            self.forwards.forget();
        }
    }

    fn run(&mut self) -> Result<(), FatalError> {
        self.propose_batch();
        if let Some(context) = self.reads.ask() {
            self.consensus.read_index(context);
        }
        loop {
            while let Some(turn) = self.consensus.turn()? {
                self.carry_out(turn)?;
            }
            self.observe_office();
            if !self.propose_expiry() {
                break;
            }
        }
        self.take_images();
        self.report_leader();
        Ok(())
    }

    fn propose_batch(&mut self) {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        for entry in std::mem::take(&mut self.batch) {
            let full = chunk.len() >= BATCH_ENTRIES || bytes + entry.data.len() > BATCH_BYTES;
            if full && !chunk.is_empty() {
                self.propose_chunk(std::mem::take(&mut chunk));
                bytes = 0;
            }
            bytes += entry.data.len();
            chunk.push(entry);
        }
        if !chunk.is_empty() {
            self.propose_chunk(chunk);
        }
    }

    fn propose_chunk(&mut self, chunk: Vec<Entry>) {
        let own: Vec<Option<u64>> = chunk.iter().map(|entry| self.own_sequence(entry)).collect();
        match self.consensus.propose(chunk) {
            Ok(Some(first)) => {
                for (sequence, index) in own.into_iter().zip(first..) {
                    if let Some(sequence) = sequence {
                        self.pending.place(sequence, index);
                    }
                }
            }
            Ok(None) => {}
            Err(refused) => {
                let leader = self.status().leader;
                tracing::debug!(%refused, leader, "proposals refused");
                let error = if leader == 0 {
                    ReplyError::NoLeader
                } else {
                    ReplyError::Dropped
                };
                for id in own
                    .into_iter()
                    .flatten()
                    .filter_map(|sequence| self.pending.refuse(sequence))
                    .collect::<Vec<_>>()
                {
                    self.reply(id, Err(error.clone()));
                }
            }
        }
    }

    /// The sequence of a request that this life of this member took.
    fn own_sequence(&self, entry: &Entry) -> Option<u64> {
        let origin = Origin::decode(&entry.context).ok()?;
        let own = origin.incarnation == self.config.incarnation && origin.sequence != INTERNAL;
        own.then_some(origin.sequence)
    }

    /// Proposes an expiry if a key is due; true if there is something new to do.
    fn propose_expiry(&mut self) -> bool {
        if self.office.is_none() {
            return false;
        }
        let due = self
            .clock
            .begin(self.store.next_deadline(), self.store.cluster_ms(), self.now);
        let Some(cluster_ms) = due else { return false };
        let origin = Origin {
            incarnation: self.config.incarnation,
            sequence: INTERNAL,
        };
        let proposed = self
            .consensus
            .propose(vec![entry::encode(origin, &Command::tick(cluster_ms))]);
        if proposed.is_err() {
            self.clock.finish();
        }
        proposed.is_ok()
    }

    fn carry_out(&mut self, turn: Turn) -> Result<(), FatalError> {
        for message in turn.send {
            self.send(message);
        }
        self.effects.extend(turn.persist.map(Effect::Persist));
        for state in turn.reads {
            self.reads.confirm(&state.request_ctx, state.index);
        }
        let before = self.applied;
        for entry in &turn.committed {
            self.apply(entry)?;
        }
        if self.applied > before {
            self.consensus.applied(self.applied);
        }
        self.serve_reads();
        Ok(())
    }

    fn send(&mut self, message: Message) {
        if message.get_msg_type() != MessageType::MsgSnapshot {
            return self.effects.push(Effect::Send(message));
        }
        let index = snapshot_index(&message);
        match self
            .consensus
            .log()
            .image()
            .filter(|(mark, _)| mark.index == index)
        {
            Some((_, store)) => {
                let store = Box::new(store.clone());
                self.effects.push(Effect::SendSnapshot { message, store });
            }
            None => self.consensus.report_snapshot(message.to, false),
        }
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), FatalError> {
        let index = entry.index;
        self.applied = index;
        if !entry::is_normal(entry) {
            return self.apply_change(entry);
        }
        self.settle_change(index, None);
        if entry::is_term_start(entry) {
            self.settle(index, None, None);
            return Ok(());
        }
        let (origin, command) = entry::decode(entry).map_err(|source| FatalError::Entry { index, source })?;
        let outcome = self.store.apply(&command);
        if let Ok(applied) = &outcome {
            self.watches.notify(applied, &mut self.effects);
        }
        if origin.incarnation == self.config.incarnation && origin.sequence == INTERNAL {
            self.clock.finish();
        }
        let own = self.own_sequence(entry);
        self.settle(index, own, Some(outcome));
        Ok(())
    }

    pub(crate) fn settle(
        &mut self,
        index: u64,
        own: Option<u64>,
        outcome: Option<Result<Applied, StoreError>>,
    ) {
        let settled = self.pending.settle(index, own);
        if let (Some(id), Some(outcome)) = (settled.answered, outcome) {
            self.reply(id, outcome.map_err(ReplyError::Store));
        }
        if let Some(id) = settled.superseded {
            self.reply(id, Err(ReplyError::Superseded));
        }
    }

    /// The state jumps to a received snapshot, which is durable by now.
    fn install(&mut self, mark: &SnapshotMark, store: Store) {
        if mark.index <= self.applied {
            return;
        }
        let seen = self.store.index();
        self.store = store;
        self.applied = mark.index;
        self.consensus.applied(mark.index);
        self.snapshots.jump(mark.index);
        self.effects.push(Effect::Compact { through: mark.index });
        self.watches.jump(seen, &self.store, &mut self.effects);
        for id in self.pending.jump(mark.index) {
            self.reply(id, Err(ReplyError::Unknown));
        }
        self.jump_changes(mark.index);
        self.serve_reads();
    }

    fn serve_reads(&mut self) {
        let ready = self.reads.take_ready(self.applied);
        self.effects
            .extend(ready.into_iter().map(|id| Effect::ReadReady { id }));
    }

    fn snapshot_saved(&mut self, index: u64) {
        if !self.snapshots.finish(index) {
            return;
        }
        let through = self.consensus.compactable(index, &self.config.limits);
        if through > 0 {
            self.consensus.log_mut().compact(through);
            self.effects.push(Effect::Compact { through });
        }
    }

    /// Hands out an image to write when one is due, and another to send when a member lags too far behind.
    fn take_images(&mut self) {
        if self.roster().is_empty() {
            // A member that joins has nothing yet that an image could start from.
            return;
        }
        let due = self.snapshots.begin(self.applied);
        let wanted = self.consensus.log().image_wanted() && self.applied > 0;
        if !due && !wanted {
            return;
        }
        let log = self.consensus.log();
        let Ok(term) = log.term(self.applied) else { return };
        let mark = SnapshotMark {
            index: self.applied,
            term,
            voters: self.roster().voters.iter().copied().collect(),
            roster: self.roster().clone(),
        };
        if due {
            let store = Box::new(self.store.clone());
            self.effects.push(Effect::TakeSnapshot {
                mark: mark.clone(),
                store,
            });
        }
        if wanted {
            self.consensus.log_mut().set_image(mark, self.store.clone());
        }
    }

    fn report_leader(&mut self) {
        let status = self.status();
        if self.reported != (status.leader, status.term) {
            self.reported = (status.leader, status.term);
            tracing::info!(leader = status.leader, term = status.term, "leader changed");
            self.effects.push(Effect::LeaderChanged {
                leader: status.leader,
                term: status.term,
            });
        }
    }

    pub(crate) fn reply(&mut self, id: RequestId, outcome: Result<Applied, ReplyError>) {
        let (applied, term) = self.position();
        self.effects.push(Effect::Reply(Reply {
            id,
            outcome,
            index: self.store.index(),
            applied,
            term,
        }));
    }

    /// The Raft index and term for answers.
    fn position(&self) -> (u64, u64) {
        (self.applied, self.consensus.term())
    }
}
