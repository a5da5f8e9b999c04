//! What the replica asks for, done: the log, the answers, the watches, the published view, the snapshots.

use crate::clock::Times;
use crate::disk::{Disk, DiskError};
use crate::error::Chain;
use crate::handle::{Opening, Published, Request, Shared};
use crate::hub::Hub;
use crate::membership::Verdict;
use crate::metrics::Metrics;
use crate::peers::Peers;
use berth_replica::{
    ChangeError, ChangeReply, Effect, Input, Millis, Persist, Replica, Reply, ReplyError, RequestId, Role,
    SnapshotMark, Status,
};
use berth_store::Store;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What readers can tell two states apart by. What is proposed but not applied does not count.
#[derive(PartialEq)]
struct Position {
    index: u64,
    applied: u64,
    term: u64,
    leader: u64,
    role: Role,
    ready: bool,
}

impl Position {
    fn new(index: u64, status: &Status) -> Position {
        Position {
            index,
            applied: status.applied,
            term: status.term,
            leader: status.leader,
            role: status.role,
            ready: status.ready,
        }
    }
}

pub(crate) struct Effects {
    disk: Disk,
    pub(crate) shared: Arc<Shared>,
    pub(crate) hub: Hub,
    /// Writes without an answer; the replica bounds them.
    pub(crate) proposals: HashMap<RequestId, oneshot::Sender<Reply>>,
    /// Quorum reads without an answer; the replica bounds them.
    pub(crate) reads: HashMap<RequestId, oneshot::Sender<Result<(), ReplyError>>>,
    times: Times,
    /// What was published last.
    published: Position,
    /// Where a snapshot's thread reports.
    requests: SyncSender<Request>,
    snapshot: Option<JoinHandle<()>>,
    inputs: Vec<Input>,
    pub(crate) peers: Peers,
    /// The membership is another than the one that `peers` follows.
    pub(crate) roster_changed: bool,
    /// A change of the membership that this member makes by itself, without an answer.
    pub(crate) chore: Option<RequestId>,
    /// Changes of the membership without an answer; one at a time is made, and the others are refused.
    pub(crate) changes: HashMap<RequestId, oneshot::Sender<Verdict>>,
}

impl Effects {
    pub(crate) fn new(
        disk: Disk,
        shared: Arc<Shared>,
        requests: SyncSender<Request>,
        peers: Peers,
    ) -> Effects {
        let published = shared.published.load();
        let times = published.times;
        let position = Position::new(published.view.index(), &published.status);
        drop(published);
        Effects {
            disk,
            hub: Hub::new(Arc::clone(&shared)),
            shared,
            proposals: HashMap::new(),
            reads: HashMap::new(),
            times,
            published: position,
            requests,
            snapshot: None,
            inputs: Vec::new(),
            peers,
            roster_changed: false,
            chore: None,
            changes: HashMap::new(),
        }
    }

    /// Lets readers see the state, before any answer tells of it.
    pub(crate) fn publish(&mut self, replica: &Replica, now: Millis) {
        let status = replica.status();
        let position = Position::new(replica.store().index(), &status);
        if position == self.published {
            return;
        }
        self.times.observe(replica.store().cluster_ms(), now);
        self.published = position;
        self.shared.published.store(Arc::new(Published {
            view: replica.view(),
            status,
            times: self.times,
        }));
    }

    /// Follows the wall clock.
    pub(crate) fn tick(&mut self, now: Millis) {
        let before = self.times;
        self.times.follow_wall(now);
        if self.times != before {
            let published = self.shared.published.load_full();
            self.shared.published.store(Arc::new(Published {
                view: published.view.clone(),
                status: published.status,
                times: self.times,
            }));
        }
    }

    /// Carries out a batch. Answers go out before the writes, none of which they depend on; gives the number of the last
    /// write, all of which are on disk then.
    pub(crate) fn carry_out(&mut self, effects: Vec<Effect>) -> Option<u64> {
        let mut writes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist(persist) => writes.push(persist),
                Effect::Reply(reply) => self.answer_write(reply),
                Effect::ReadReady { id } => self.answer_read(id, Ok(())),
                Effect::ReadFailed { id, error } => self.answer_read(id, Err(error)),
                Effect::WatchOpened {
                    watch,
                    index,
                    applied,
                    term,
                } => self.hub.opened(watch, |listener| Opening::Open {
                    index,
                    applied,
                    term,
                    listener,
                }),
                Effect::Notify { watch, event, last } => self.hub.notify(watch, event, last),
                Effect::WatchCleared {
                    watch,
                    oldest,
                    asked,
                    index,
                } => self.hub.cleared(watch, Opening::Cleared { oldest, asked, index }),
                Effect::TakeSnapshot { mark, store } => self.take_snapshot(mark, store),
                Effect::Compact { through } => {
                    if let Err(error) = self.disk.compact(through) {
                        end_process("the log could not be cut", &error);
                    }
                }
                Effect::Send(message) => self.peers.send(message),
                Effect::SendSnapshot { message, store } => self.peers.send_image(message, store),
                Effect::LeaderChanged { .. } => {
                    Metrics::add(&self.shared.metrics.leader_changes, 1);
                    self.peers.cluster().led();
                }
                Effect::ChangeReply(reply) => self.answer_change(reply),
                Effect::RosterChanged => self.roster_changed = true,
                Effect::TellRemoved { to } => self.peers.tell_removed(to),
                Effect::Removed => self.end_removed(),
                Effect::Fatal(error) => end_process("the replica cannot go on", &error),
            }
        }
        let pending = self.proposals.len() as u64;
        self.shared.metrics.pending.store(pending, Ordering::Relaxed);
        writes.into_iter().map(|persist| self.write(persist)).last()
    }

    /// Inputs that carrying out the last batch led to.
    pub(crate) fn take_inputs(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.inputs)
    }

    /// The last snapshot is waited for: its thread uses the data directory.
    pub(crate) fn finish(mut self) {
        self.hub.end();
        self.join_snapshot();
    }

    fn answer_write(&mut self, reply: Reply) {
        if matches!(&reply.outcome, Err(error) if !matches!(error, ReplyError::Store(_))) {
            Metrics::add(&self.shared.metrics.failed_writes, 1);
        }
        if let Some(answer) = self.proposals.remove(&reply.id) {
            // Its client may have left.
            drop(answer.send(reply));
        }
    }

    fn answer_change(&mut self, reply: ChangeReply) {
        tracing::debug!(outcome = ?reply.outcome, "a change of the membership is answered");
        self.chore.take_if(|id| *id == reply.id);
        if let Some(answer) = self.changes.remove(&reply.id) {
            // Its client may have left.
            drop(answer.send(self.verdict(reply.outcome)));
        }
    }

    /// Whether the leader leads for less than an election's time: it may not have heard of all that are up.
    pub(crate) fn is_new_leader(&self) -> bool {
        let cluster = self.peers.cluster();
        let led = cluster.clock.now().saturating_sub(cluster.led_since());
        led < cluster.patience.election_ms
    }

    fn verdict(&self, outcome: Result<(), ChangeError>) -> Verdict {
        if matches!(outcome, Err(ChangeError::QuorumAtRisk { .. })) && self.is_new_leader() {
            Verdict::Again
        } else {
            Verdict::from(outcome)
        }
    }

    /// This member has no place in the cluster any more, and its directory is of no use to it.
    fn end_removed(&self) -> ! {
        if let Err(error) = self.disk.note_removal() {
            tracing::error!(error = %Chain(&error), "the removal was not noted in the data directory");
        }
        tracing::error!(
            "this member was removed from the cluster for ever; ending. To take part again it is added anew, and starts \
             with an empty data directory"
        );
        std::process::exit(1)
    }

    fn write(&mut self, persist: Persist) -> u64 {
        Metrics::add(&self.shared.metrics.batches, 1);
        Metrics::add(&self.shared.metrics.entries, persist.entries.len() as u64);
        // After a failed write or sync nobody knows what is on disk: the only safe thing is to start over from it.
        self.shared
            .metrics
            .writing(Some(self.peers.cluster().clock.now()));
        if let Err(error) = self.disk.persist(&persist) {
            end_process("the log could not be written", &error);
        }
        self.shared.metrics.writing(None);
        for message in persist.after {
            self.peers.send(message);
        }
        persist.number
    }

    fn answer_read(&mut self, id: RequestId, outcome: Result<(), ReplyError>) {
        if let Some(answer) = self.reads.remove(&id) {
            drop(answer.send(outcome));
        }
    }

    fn take_snapshot(&mut self, mark: SnapshotMark, store: Box<Store>) {
        // The replica asks for one at a time, so the last one is done.
        self.join_snapshot();
        let snapshots = self.disk.snapshots();
        let requests = self.requests.clone();
        let index = mark.index;
        let shared = Arc::clone(&self.shared);
        let clock = self.peers.cluster().clock;
        let save = move || {
            let began = clock.now();
            let result: Result<(), DiskError> = snapshots.save(&mark, &store);
            let took = Duration::from_millis(clock.now().saturating_sub(began));
            shared.metrics.image(result.is_ok(), took);
            if let Err(error) = &result {
                tracing::error!(index, error = %Chain(error), "snapshot not saved; the log is kept until one is");
            }
            let saved = result.is_ok();
            // A loop that has ended needs no report.
            drop(requests.send(Request::SnapshotDone { index, saved }));
        };
        match std::thread::Builder::new()
            .name("snapshot".to_owned())
            .spawn(save)
        {
            Ok(thread) => self.snapshot = Some(thread),
            Err(error) => {
                tracing::error!(index, %error, "snapshot not saved: no thread");
                self.inputs.push(Input::SnapshotFailed { index });
            }
        }
    }

    fn join_snapshot(&mut self) {
        if let Some(thread) = self.snapshot.take()
            && thread.join().is_err()
        {
            tracing::error!("the snapshot's thread panicked");
        }
    }
}

/// Says why, and ends. What was acknowledged is on disk; what was not must not be.
fn end_process(what: &str, error: &dyn std::error::Error) -> ! {
    tracing::error!(error = %Chain(error), "{what}; ending");
    std::process::exit(1)
}
