//! The thread that owns the replica: takes requests in batches, lets the replica decide, carries out its effects.
//!
//! The thread writes to the log itself. While it waits for the disk the next batch gathers in the channel, so one sync
//! covers all that came meanwhile, and a write costs two wake-ups (this thread and the waiting connection) instead
//! of the four that a separate disk thread would need. Nothing else waits for this thread: plain reads use the
//! published view. What came during a write is taken before the replica is told of its end, so that one flush makes
//! both the answers to the last batch and the write of the next; the answers go out before that write begins.

mod members;

use crate::bootstrap::{self, FIRST_INDEX};
use crate::clock::{Clock, Times};
use crate::config::ClientLimits;
use crate::disk::{Disk, Forming, Opened, Room};
use crate::effects::Effects;
use crate::error::NodeError;
use crate::handle::{Handle, Image, MAX_REQUESTS, Published, Request, Shared, stage};
use crate::parked::Parked;
use crate::peers::{Cluster, Patience, Peers};
use crate::redirect::Redirect;
use crate::tls::Tls;
use berth_replica::{Input, Limits, Member, MessageType, Millis, Replica, RequestId};
use berth_store::{Command, Kind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// Requests taken into one batch; the rest waits for the next.
const BATCH_REQUESTS: usize = 256;
/// Bytes of values taken into one batch, unless the last of them is larger.
const BATCH_BYTES: usize = 1 << 20;
/// Turns in which a single member must have become the leader of itself and made its first entries.
const BOOTSTRAP_TURNS: usize = 64;

/// What the thread needs to begin.
pub(crate) struct Setup {
    pub(crate) data_dir: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) clients: ClientLimits,
    pub(crate) clock: Clock,
    /// What a first start makes.
    pub(crate) forming: Forming,
    /// What this member tells the others about itself.
    pub(crate) own: Member,
    /// For other members whose URLs are https.
    pub(crate) tls: Option<Arc<Tls>>,
    /// Where connections to other members run.
    pub(crate) runtime: tokio::runtime::Handle,
}

/// A running event loop.
pub(crate) struct Started {
    pub(crate) handle: Handle,
    /// Resolves when the thread has let go of the data directory.
    pub(crate) ended: oneshot::Receiver<()>,
}

/// Starts the thread and waits until the member serves. The data directory is opened by the thread: that may take its time.
pub(crate) async fn start(setup: Setup) -> Result<Started, NodeError> {
    let (ready, started) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let run = move || {
        match EventLoop::open(setup) {
            Ok((mut event_loop, handle)) => {
                // Without a caller that waits nobody could end it.
                if ready.send(Ok(handle)).is_ok() {
                    event_loop.run();
                }
                event_loop.finish();
            }
            Err(error) => drop(ready.send(Err(error))),
        }
        // Nobody may be waiting any more.
        let _ = end.send(());
    };
    std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(run)
        .map_err(NodeError::Thread)?;
    let handle = started.await.map_err(|_| NodeError::Ended)??;
    Ok(Started { handle, ended })
}

struct EventLoop {
    replica: Replica,
    requests: Receiver<Request>,
    effects: Effects,
    clock: Clock,
    next_tick: Millis,
    tick_ms: Millis,
    /// The last write to the log that the replica has not been told of.
    written: Option<u64>,
    next_id: u64,
    parked: Parked,
    redirect: Redirect,
    /// The leadership is to be handed on, to a certain member or to any, when what came before is proposed.
    hands_over: Option<Option<u64>>,
    /// Writes can be given to the replica with a chance to be carried out.
    led: bool,
    /// The term in which this member, leading, saw to the first entries of the cluster.
    tended: u64,
    /// The member that was last asked to be given a vote.
    promoted: u64,
    /// Whether the log can grow.
    room: Room,
    /// When this member last asked another one to lead because its own log cannot grow.
    made_way: Millis,
}

/// What a batch holds so far.
#[derive(Default)]
struct Batch {
    requests: usize,
    bytes: usize,
}

impl EventLoop {
    fn open(setup: Setup) -> Result<(EventLoop, Handle), NodeError> {
        let Opened {
            disk,
            founding,
            acquaintances,
            recovered,
        } = Disk::open(&setup.data_dir, &setup.forming)?;
        let tick_ms = setup.limits.tick_ms;
        let patience = setup.limits.request_timeout_ms;
        let election_ms = tick_ms.saturating_mul(setup.limits.election_ticks as u64);
        let config = bootstrap::replica_config(&founding, setup.limits)?;
        let replica = Replica::new(config, recovered)?;
        let clock = setup.clock;
        let published = Published {
            view: replica.view(),
            status: replica.status(),
            times: Times::new(replica.store().cluster_ms(), clock.now()),
        };
        let shared = Arc::new(Shared::new(published, setup.clients));
        let room = disk.room();
        let figures = disk.figures();
        let (sender, requests): (SyncSender<Request>, Receiver<Request>) = sync_channel(MAX_REQUESTS);
        let time = Patience {
            wish: Duration::from_millis(patience),
            election_ms,
        };
        let cluster = Cluster::new(founding, setup.own, acquaintances, sender.clone(), clock, time);
        let cluster = Arc::new(cluster.with_tls(setup.tls));
        let mut peers = Peers::new(Arc::clone(&cluster), setup.runtime);
        peers.follow(replica.roster());
        let effects = Effects::new(disk, Arc::clone(&shared), sender.clone(), peers);
        let handle = Handle::new(sender, shared, cluster, clock, room.clone(), figures);
        let mut event_loop = EventLoop {
            replica,
            requests,
            effects,
            clock,
            next_tick: 0,
            tick_ms,
            written: None,
            next_id: 0,
            parked: Parked::new(patience),
            redirect: Redirect::default(),
            hands_over: None,
            led: false,
            tended: 0,
            promoted: 0,
            room,
            made_way: 0,
        };
        if event_loop.replica.status().alone {
            event_loop.bootstrap()?;
        }
        Ok((event_loop, handle))
    }

    /// Becomes the leader, and in an empty keyspace makes the entries before the first client's.
    fn bootstrap(&mut self) -> Result<(), NodeError> {
        for _ in 0..BOOTSTRAP_TURNS {
            self.turn();
            let status = self.replica.status();
            if !status.alone {
                // Others were added, as the log tells.
                return Ok(());
            }
            let index = self.replica.store().index();
            if self.written.is_some() || !status.ready {
                continue;
            }
            if index >= FIRST_INDEX {
                return Ok(());
            }
            self.bump(index, FIRST_INDEX);
        }
        Err(NodeError::NoLeader)
    }

    /// Raises the store's index by entries that change no key.
    fn bump(&mut self, from: u64, to: u64) {
        for _ in from..to {
            let id = self.new_id();
            let command = Command::bump();
            self.replica
                .queue(Input::Propose { id, command }, self.clock.now());
        }
    }

    fn run(&mut self) {
        loop {
            let mut batch = Batch::default();
            if self.written.is_none() {
                if self.stage() == stage::STOPPING && self.waiting_none(&mut batch) {
                    break;
                }
                self.wait(&mut batch);
            }
            self.gather(&mut batch);
            if self.stage() >= stage::ENDING_WATCHES {
                self.effects.hub.end();
                // Their clients are told that the member ends.
                drop(self.parked.take());
            }
            self.turn();
        }
    }

    /// Lets go of the disk. The requests' channel goes first: a snapshot's thread may be waiting to report.
    fn finish(self) {
        let EventLoop {
            replica,
            requests,
            effects,
            ..
        } = self;
        drop(requests);
        effects.finish();
        tracing::debug!(status = ?replica.status(), "event loop ended");
    }

    fn stage(&self) -> u8 {
        self.effects.shared.stage.load(Ordering::Relaxed)
    }

    /// Whether nothing is queued any more; what is found is taken.
    fn waiting_none(&mut self, batch: &mut Batch) -> bool {
        self.gather(batch);
        batch.requests == 0
    }

    /// Waits for a request, at most until the next tick is due.
    fn wait(&mut self, batch: &mut Batch) {
        if batch.requests > 0 {
            return;
        }
        let left = self.next_tick.saturating_sub(self.clock.now());
        match self.requests.recv_timeout(Duration::from_millis(left)) {
            Ok(request) => self.take(request, batch),
            // A sender is kept here, for snapshots: there is always one.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    /// Takes what is there already; first what other members sent, which nobody else's requests may hold up.
    fn gather(&mut self, batch: &mut Batch) {
        self.take_arrivals();
        while batch.requests < BATCH_REQUESTS && batch.bytes < BATCH_BYTES {
            match self.requests.try_recv() {
                Ok(request) => self.take(request, batch),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn take_arrivals(&mut self) {
        for arrival in self.effects.peers.cluster().inbox.take() {
            self.take_arrival(arrival.input);
        }
    }

    fn take_arrival(&mut self, input: Input) {
        let now = self.clock.now();
        if let Input::Message(message) = input {
            if message.get_msg_type() == MessageType::MsgPropose {
                self.redirect.add(message, now);
            } else {
                self.replica.queue(Input::Message(message), now);
            }
        } else if let Input::TransferLeader { to } = input {
            self.hands_over = Some(to);
        } else {
            self.replica.queue(input, now);
        }
    }

    fn take(&mut self, request: Request, batch: &mut Batch) {
        batch.requests += 1;
        let now = self.clock.now();
        let parks = !self.led && self.stage() == stage::SERVING && matches!(request, Request::Propose { .. });
        let request = if parks {
            self.parked.add(request, now)
        } else {
            Some(request)
        };
        let Some(request) = request else { return };
        let input = match request {
            Request::Propose { command, answer } => {
                batch.bytes += value_bytes(&command.kind);
                let id = self.new_id();
                self.effects.proposals.insert(id, answer);
                Some(Input::Propose { id, command })
            }
            Request::QuorumRead { answer } => {
                let id = self.new_id();
                self.effects.reads.insert(id, answer);
                Some(Input::QuorumRead { id })
            }
            Request::Watch { wish, answer } => self.effects.hub.open(wish, answer),
            Request::Image { answer } => {
                let status = self.replica.status();
                // Whoever asked may have gone.
                let _ = answer.send(Image {
                    store: self.replica.store().clone(),
                    applied: status.applied,
                    term: status.term,
                });
                None
            }
            Request::Change { wish, answer } => {
                self.wish(wish, answer, now);
                None
            }
            Request::SnapshotDone { index, saved: true } => Some(Input::SnapshotSaved { index }),
            Request::SnapshotDone { index, saved: false } => Some(Input::SnapshotFailed { index }),
            Request::Wake => {
                // Whoever woke the loop put something in before, maybe after the last look: nobody wakes it for that again.
                self.take_arrivals();
                None
            }
        };
        if let Some(input) = input {
            self.replica.queue(input, now);
        }
    }

    fn new_id(&mut self) -> RequestId {
        self.next_id += 1;
        RequestId(self.next_id)
    }

    /// Lets the replica decide on what is queued, and does what it says.
    fn turn(&mut self) {
        let now = self.clock.now();
        if now >= self.next_tick {
            // Ticks that were missed during a long write stay missed: they would only hurry elections.
            self.next_tick = now + self.tick_ms;
            self.replica.queue(Input::Tick, now);
            self.effects.tick(now);
            self.tend(now);
        }
        if self.led {
            for request in self.parked.take() {
                self.take(request, &mut Batch::default());
            }
        }
        for id in self.effects.hub.take_closed() {
            self.replica.queue(Input::Unwatch { id }, now);
        }
        if let Some(number) = self.written.take() {
            self.replica.queue(Input::Persisted { number }, now);
        }
        let status = self.replica.status();
        for forward in self.redirect.route(&status, &self.effects.peers, now) {
            self.replica.queue(Input::Message(forward), now);
        }
        let effects = self.replica.flush(now);
        self.effects.publish(&self.replica, now);
        self.written = self.effects.carry_out(effects);
        for input in self.effects.take_inputs() {
            self.replica.queue(input, now);
        }
        if std::mem::take(&mut self.effects.roster_changed) {
            self.effects.peers.follow(self.replica.roster());
        }
        if let Some(to) = self.hands_over.take() {
            self.redirect.hand_over(now);
            self.replica.queue(Input::TransferLeader { to }, now);
        }
        let status = self.replica.status();
        let leads = status.leader == status.id;
        let reached = leads || self.effects.peers.reaches(status.leader);
        self.led = status.leader != 0 && reached && !self.redirect.is_handing_over(&status, now);
    }
}

/// The part of a write that can be large.
fn value_bytes(kind: &Kind) -> usize {
    match kind {
        Kind::Set(put)
        | Kind::Create(put)
        | Kind::Update(put)
        | Kind::CompareAndSwap(put, _)
        | Kind::CreateInOrder(put) => put.value.len(),
        Kind::Delete { .. } | Kind::CompareAndDelete { .. } | Kind::Tick | Kind::Bump | Kind::Auth(_) => 0,
    }
}
