//! What the HTTP side holds of the event loop: a bounded way in, and the state as last published.

use crate::clock::{Clock, Times};
use crate::config::ClientLimits;
use crate::disk::{DiskFigures, Identity, Room};
use crate::hub::{Listener, Wish};
use crate::membership::{self, Verdict};
use crate::metrics::Metrics;
use crate::peers::Cluster;
use crate::waiting::{MAX_WAITING_BYTES, Waiting};
use arc_swap::ArcSwap;
use berth_replica::{Reply, ReplyError, Status};
use berth_store::{Command, Kind, Store, View, WatchId};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Requests that wait for the event loop; one more is refused with 503. As many as the replica takes.
pub(crate) const MAX_REQUESTS: usize = 4_096;

/// Bytes of request bodies held at a time, from the first byte read to the answer; beyond, requests are refused with 503.
const MAX_BODY_BYTES: usize = 64 << 20;

/// One thing the event loop is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// A write; answered once.
    Propose {
        command: Command,
        answer: oneshot::Sender<Reply>,
    },
    /// A linearizable read; the view published when the answer comes may serve it.
    QuorumRead {
        answer: oneshot::Sender<Result<(), ReplyError>>,
    },
    /// A watch.
    Watch {
        wish: Wish,
        answer: oneshot::Sender<Opening>,
    },
    /// The whole state.
    Image { answer: oneshot::Sender<Image> },
    /// A change of the membership, or of the leader; only a leader makes one.
    Change {
        wish: membership::Wish,
        answer: oneshot::Sender<Verdict>,
    },
    /// A snapshot was written, or could not be.
    SnapshotDone { index: u64, saved: bool },
    /// Look at [`Shared::stage`].
    Wake,
}

/// The state as of one log entry; cheap to take and to keep.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) store: Store,
    /// The last log entry in it.
    pub(crate) applied: u64,
    pub(crate) term: u64,
}

/// The answer to a watch.
#[derive(Debug)]
pub(crate) enum Opening {
    /// It is open. The numbers are those of the moment it began.
    Open {
        index: u64,
        applied: u64,
        term: u64,
        listener: Listener,
    },
    /// The history does not reach back so far.
    Cleared { oldest: u64, asked: u64, index: u64 },
    /// There are as many as there may be.
    TooMany,
    /// The node is ending.
    Ending,
}

/// The state after a batch, for readers.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) view: View,
    pub(crate) status: Status,
    pub(crate) times: Times,
}

/// How far the node's end has come. Values only rise.
pub(crate) mod stage {
    pub(crate) const SERVING: u8 = 0;
    /// Watches are to end.
    pub(crate) const ENDING_WATCHES: u8 = 1;
    /// The loop is to end, after what is queued.
    pub(crate) const STOPPING: u8 = 2;
}

/// What the event loop and its handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) published: ArcSwap<Published>,
    pub(crate) metrics: Metrics,
    pub(crate) stage: AtomicU8,
    pub(crate) limits: ClientLimits,
    /// What waits for slow readers.
    pub(crate) waiting: Arc<Waiting>,
    closed: Mutex<Vec<WatchId>>,
}

impl Shared {
    pub(crate) fn new(published: Published, limits: ClientLimits) -> Shared {
        Shared {
            published: ArcSwap::from_pointee(published),
            metrics: Metrics::default(),
            stage: AtomicU8::new(stage::SERVING),
            limits,
            waiting: Arc::new(Waiting::new(MAX_WAITING_BYTES)),
            closed: Mutex::new(Vec::new()),
        }
    }

    /// Watches that were let go of since the loop last looked.
    pub(crate) fn closed(&self) -> MutexGuard<'_, Vec<WatchId>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a request was turned away before the event loop saw it: certainly without effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The disk has no room for more entries.
    DiskFull,
    /// Too many requests, or too many bytes of them, wait already.
    Overloaded,
    /// The event loop has ended.
    Stopped,
}

/// A handle on the event loop; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    requests: SyncSender<Request>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) identity: Identity,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) clock: Clock,
    room: Room,
    pub(crate) figures: Arc<DiskFigures>,
    bodies: Arc<AtomicUsize>,
}

/// Bytes of a request body that are accounted for; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reserved {
    bodies: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.bodies.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Handle {
    pub(crate) fn new(
        requests: SyncSender<Request>,
        shared: Arc<Shared>,
        cluster: Arc<Cluster>,
        clock: Clock,
        room: Room,
        figures: Arc<DiskFigures>,
    ) -> Handle {
        Handle {
            requests,
            shared,
            identity: cluster.identity,
            cluster,
            clock,
            room,
            figures,
            bodies: Arc::default(),
        }
    }

    /// The state as of the last batch. A write that was answered is in it.
    pub(crate) fn published(&self) -> Arc<Published> {
        self.shared.published.load_full()
    }

    /// Whether the log can grow.
    pub(crate) fn has_room(&self) -> bool {
        self.room.is_left()
    }

    /// Accounts for a body before it is read.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<Reserved, Refusal> {
        let reserved = Reserved {
            bodies: Arc::clone(&self.bodies),
            bytes,
        };
        if self.bodies.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_BODY_BYTES {
            return Err(Refusal::Overloaded);
        }
        Ok(reserved)
    }

    /// Whether a write can be taken: a member without room for more still passes them on to a leader that has some.
    fn takes_writes(&self) -> bool {
        if self.room.is_left() {
            return true;
        }
        let status = &self.shared.published.load().status;
        self.cluster.is_several() && status.leader != status.id
    }

    /// Carries out a write.
    pub(crate) async fn propose(&self, kind: Kind) -> Result<Reply, Refusal> {
        let sent = if self.takes_writes() {
            let (answer, reply) = oneshot::channel();
            let command = Command::from(kind);
            self.send(Request::Propose { command, answer }).map(|()| reply)
        } else {
            Err(Refusal::DiskFull)
        };
        match sent {
            Ok(reply) => {
                Metrics::add(&self.shared.metrics.writes, 1);
                reply.await.map_err(|_| Refusal::Stopped)
            }
            Err(refusal) => {
                Metrics::add(&self.shared.metrics.refused_writes, 1);
                Err(refusal)
            }
        }
    }

    /// Waits until the published state contains every write answered before this call, by any member.
    pub(crate) async fn quorum_read(&self) -> Result<Result<(), ReplyError>, Refusal> {
        // States are published before their writes are answered: with nobody else to ask, what is published will do.
        if self.shared.published.load().status.reads_alone() {
            return Ok(Ok(()));
        }
        let (answer, confirmed) = oneshot::channel();
        self.send(Request::QuorumRead { answer })?;
        confirmed.await.map_err(|_| Refusal::Stopped)
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self, wish: Wish) -> Result<Opening, Refusal> {
        let (answer, opening) = oneshot::channel();
        self.send(Request::Watch { wish, answer })?;
        opening.await.map_err(|_| Refusal::Stopped)
    }

    /// The whole state as it is now.
    pub(crate) async fn image(&self) -> Result<Image, Refusal> {
        let (answer, image) = oneshot::channel();
        self.send(Request::Image { answer })?;
        image.await.map_err(|_| Refusal::Stopped)
    }

    /// Tells the event loop how far the node's end has come.
    pub(crate) fn advance(&self, stage: u8) {
        self.shared.stage.fetch_max(stage, Ordering::Relaxed);
        // A loop with a full queue is awake anyway, and one that has ended needs no waking.
        drop(self.requests.try_send(Request::Wake));
    }

    fn send(&self, request: Request) -> Result<(), Refusal> {
        self.requests.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::Overloaded,
            TrySendError::Disconnected(_) => Refusal::Stopped,
        })
    }
}
