//! The other members: what is sent to them, what comes from them, and what is known about them.
//!
//! The event loop hands messages to a [`Peers`], which never waits: what does not fit is dropped and counts as unreachable. What
//! comes from other members is put into the [`Inbox`], which the event loop looks into before it takes requests.

pub(crate) mod call;
mod figures;
mod frame;
mod inbox;
mod inquiry;
mod listener;
mod sender;
mod snapshot;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub(crate) use figures::Figures;
pub(crate) use inbox::Inbox;
pub(crate) use inquiry::{Acquaintance, Told, ask};
pub(crate) use listener::{PeerServing, serve};

use crate::clock::Clock;
use crate::disk::{Acquaintances, Founding, Identity};
use crate::handle::Request;
use crate::tls::Tls;
use arc_swap::ArcSwap;
use berth_replica::{Input, Member, Message, MessageType, Roster};
use frame::{About, Hello, Reason, Stream, VERSIONS};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};

/// Small messages that wait for one member; one more is dropped. A leader sends a few in each heartbeat.
const CONTROL_QUEUE: usize = 1_024;
/// Appends and forwarded writes that wait for one member; one more is dropped, and Raft sends again from where it knows the
/// member to be.
const BULK_QUEUE: usize = 512;
/// Bytes of entries among them. A member that is so far behind gets no more before it has caught up.
const BULK_BYTES: usize = 16 << 20;
/// Images on their way to other members; each takes memory for its state and all of the network it can get.
const MAX_IMAGES: usize = 2;
/// What members say about themselves is remembered for so many; a cluster has fewer.
const MAX_HEARD: usize = 64;

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a wish to be made.
    pub(crate) wish: Duration,
    /// For a member that does not lead to hear of one that does; milliseconds.
    pub(crate) election_ms: u64,
}

/// What event loop, connections and HTTP share about the cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) identity: Identity,
    birth: u64,
    /// Those named when the cluster was formed; empty for a member that was alone then. If it joined, those of that moment.
    founders: Vec<Member>,
    token: Option<String>,
    pub(crate) patience: Patience,
    /// For members whose URLs are https.
    tls: Option<Arc<Tls>>,
    /// This member as its flags describe it.
    own: Member,
    roster: ArcSwap<Roster>,
    /// Those that left and are needed no more; no more than have left.
    leavers: Mutex<BTreeSet<u64>>,
    /// Places of wishes that are on their way to the leader.
    calls: Semaphore,
    /// What the other members say about themselves.
    heard: Mutex<BTreeMap<u64, Member>>,
    acquaintances: Acquaintances,
    pub(crate) inbox: Inbox,
    links: ArcSwap<BTreeMap<u64, Arc<Link>>>,
    images: Semaphore,
    pub(crate) clock: Clock,
    /// When the leader of now became it, on the clock.
    led_since: AtomicU64,
    appends_sent: AtomicU64,
    appends_received: AtomicU64,
}

impl Cluster {
    pub(crate) fn new(
        founding: Founding,
        own: Member,
        acquaintances: Acquaintances,
        wake: SyncSender<Request>,
        clock: Clock,
        patience: Patience,
    ) -> Cluster {
        Cluster {
            own: Member {
                id: founding.identity.member,
                ..own
            },
            identity: founding.identity,
            birth: founding.birth,
            founders: founding.founders,
            token: founding.token,
            patience,
            tls: None,
            roster: ArcSwap::default(),
            leavers: Mutex::default(),
            calls: Semaphore::new(call::MAX_CALLS),
            heard: Mutex::default(),
            acquaintances,
            inbox: Inbox::new(wake),
            links: ArcSwap::default(),
            images: Semaphore::new(MAX_IMAGES),
            clock,
            led_since: AtomicU64::new(0),
            appends_sent: AtomicU64::new(0),
            appends_received: AtomicU64::new(0),
        }
    }

    /// The same, with what it takes to call members whose URLs are https.
    pub(crate) fn with_tls(self, tls: Option<Arc<Tls>>) -> Cluster {
        Cluster { tls, ..self }
    }

    /// The members, by id, as well as they are known here.
    pub(crate) fn members(&self) -> Vec<Member> {
        let roster = self.roster.load();
        let known = roster
            .members
            .values()
            .filter(|member| roster.contains(member.id));
        let mut members: Vec<Member> = known.map(|member| self.completed(member)).collect();
        if members.is_empty() && !self.founders.is_empty() {
            members = self
                .founders
                .iter()
                .map(|member| self.completed(member))
                .collect();
            members.sort_unstable_by_key(|member| member.id);
        } else if members.is_empty() {
            members.push(self.own.clone());
        }
        members
    }

    /// The membership as applied last.
    pub(crate) fn roster(&self) -> Arc<Roster> {
        self.roster.load_full()
    }

    /// Those that this member knows to have founded the cluster, or to have been there when it joined.
    pub(crate) fn founders(&self) -> &[Member] {
        &self.founders
    }

    /// What one who is about to join is told.
    fn told(&self) -> Told {
        let members = if self.roster.load().is_empty() {
            Vec::new()
        } else {
            self.members()
        };
        let known = members.into_iter().map(|member| Acquaintance {
            id: member.id,
            name: member.name,
            peer_urls: member.peer_urls,
            client_urls: member.client_urls,
        });
        Told {
            cluster: self.identity.cluster,
            token: self.token.clone(),
            members: known.collect(),
        }
    }

    /// This member has left, or was never needed any more: it is told so at its next call.
    pub(crate) fn let_go(&self, id: u64) {
        locked(&self.leavers).insert(id);
    }

    /// Whether a member left, and all that may need it know so.
    fn may_go(&self, id: u64) -> bool {
        locked(&self.leavers).contains(&id)
    }

    /// Where a member is reached.
    fn peer_urls(&self, id: u64) -> Vec<String> {
        let roster = self.roster.load();
        let bare = Member::bare(id);
        let mut urls = self.completed(roster.members.get(&id).unwrap_or(&bare)).peer_urls;
        if urls.is_empty()
            && let Some(heard) = locked(&self.heard).get(&id)
        {
            urls.clone_from(&heard.peer_urls);
        }
        urls
    }

    /// What is not in the replicated state yet is known from the forming of the cluster.
    fn completed(&self, member: &Member) -> Member {
        let mut member = member.clone();
        let own = std::slice::from_ref(&self.own);
        let more = own.iter().chain(&self.founders).find(|more| more.id == member.id);
        if let Some(more) = more {
            if member.name.is_empty() {
                member.name.clone_from(&more.name);
            }
            if member.peer_urls.is_empty() {
                member.peer_urls.clone_from(&more.peer_urls);
            }
            if member.client_urls.is_empty() {
                member.client_urls.clone_from(&more.client_urls);
            }
        }
        member
    }

    /// A member of which the replicated state does not tell what it says about itself. Only a leader asks.
    pub(crate) fn unpublished(&self) -> Option<Member> {
        let roster = self.roster.load();
        let heard = locked(&self.heard);
        std::iter::once(&self.own).chain(heard.values()).find_map(|said| {
            let known = roster
                .members
                .get(&said.id)
                .filter(|_| roster.contains(said.id))?;
            let mut wanted = Member {
                name: said.name.clone(),
                client_urls: said.client_urls.clone(),
                ..known.clone()
            };
            if wanted.peer_urls.is_empty() {
                wanted.peer_urls = self.completed(known).peer_urls;
                if wanted.peer_urls.is_empty() {
                    wanted.peer_urls.clone_from(&said.peer_urls);
                }
            }
            (wanted != *known).then_some(wanted)
        })
    }

    /// Whether there are, or were, others.
    pub(crate) fn is_several(&self) -> bool {
        self.founders.len() > 1 || self.roster.load().members.len() > 1
    }

    /// The leader is another now.
    pub(crate) fn led(&self) {
        self.led_since.store(self.clock.now(), Ordering::Relaxed);
    }

    /// When the leader of now became it, on the clock.
    pub(crate) fn led_since(&self) -> u64 {
        self.led_since.load(Ordering::Relaxed)
    }

    /// The connections to the other members.
    pub(crate) fn links(&self) -> Arc<BTreeMap<u64, Arc<Link>>> {
        self.links.load_full()
    }

    /// Append messages sent and received.
    pub(crate) fn appends(&self) -> (u64, u64) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.appends_sent), read(&self.appends_received))
    }

    fn hello(&self, to: u64, stream: Stream) -> Hello {
        Hello {
            protocol: Hello::protocol(),
            versions: VERSIONS,
            cluster: self.identity.cluster,
            from: self.identity.member,
            to,
            birth: self.birth,
            stream,
            about: About::of(&self.own),
        }
    }

    /// Whether a member that shows itself with this data directory may be listened to. Blocks, the first time.
    fn meet(&self, id: u64, birth: u64, about: About) -> Result<(), Reason> {
        match self.acquaintances.meet(id, birth) {
            Ok(true) => {}
            Ok(false) => return Err(Reason::OtherData),
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a member was not noted");
                return Err(Reason::Busy);
            }
        }
        let mut heard = locked(&self.heard);
        if heard.len() < MAX_HEARD || heard.contains_key(&id) {
            heard.insert(id, about.member(id));
        }
        Ok(())
    }

    /// Whether a call is taken, and with which version of the protocol. Blocks, the first time.
    fn judge(&self, hello: Hello) -> Result<u16, Reason> {
        let version = hello.common_version().ok_or(Reason::Version)?;
        if hello.cluster != self.identity.cluster {
            return Err(Reason::Cluster);
        }
        if hello.to != self.identity.member || hello.from == hello.to || hello.from == 0 {
            return Err(Reason::Address);
        }
        // Who has left may be needed to find out that it has: until it is not, its calls are taken.
        if self.may_go(hello.from) {
            return Err(Reason::Removed);
        }
        self.meet(hello.from, hello.birth, hello.about)?;
        Ok(version)
    }
}

/// Something to send.
#[derive(Debug)]
enum Outgoing {
    Message(Box<Message>, usize),
    Removed,
}

/// The way to one other member, as all see it.
#[derive(Debug)]
pub(crate) struct Link {
    id: u64,
    control_up: AtomicBool,
    bulk_up: AtomicBool,
    /// Bytes of entries that wait.
    waiting: AtomicUsize,
    /// Something was dropped since the event loop last looked.
    lost: AtomicBool,
    /// An image is on its way to it.
    imaging: AtomicBool,
    /// What the last failure to connect was, so that each is logged once.
    trouble: Mutex<String>,
    figures: Mutex<Figures>,
}

/// Of the histogram of round trips, as etcd has them: up to 0.1 ms, 0.2 ms … 819.2 ms, and one for all that take longer.
pub(crate) const ROUND_TRIP_BUCKETS: usize = 15;

impl Link {
    fn new(id: u64) -> Link {
        Link {
            id,
            control_up: AtomicBool::new(false),
            bulk_up: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            lost: AtomicBool::new(false),
            imaging: AtomicBool::new(false),
            trouble: Mutex::default(),
            figures: Mutex::default(),
        }
    }

    fn up(&self, stream: Stream) -> &AtomicBool {
        match stream {
            Stream::Control => &self.control_up,
            Stream::Bulk | Stream::Image | Stream::Wish => &self.bulk_up,
        }
    }

    /// Whether messages reach it, as far as known.
    pub(crate) fn is_up(&self) -> bool {
        self.control_up.load(Ordering::Relaxed) && self.bulk_up.load(Ordering::Relaxed)
    }

    pub(crate) fn figures(&self) -> Figures {
        *locked(&self.figures)
    }

    /// Bytes went to it.
    fn sent(&self, bytes: usize) {
        locked(&self.figures).sent_bytes += bytes as u64;
    }

    /// Bytes came from it.
    fn received(&self, bytes: usize) {
        locked(&self.figures).received_bytes += bytes as u64;
    }

    fn drop_one(&self) {
        self.lost.store(true, Ordering::Relaxed);
        locked(&self.figures).failed += 1;
    }

    /// Tells the log of a trouble once.
    fn tell(&self, trouble: &str) {
        let mut told = locked(&self.trouble);
        if *told != trouble {
            trouble.clone_into(&mut told);
            drop(told);
            tracing::warn!(member = %format_args!("{:x}", self.id), trouble, "cannot reach a member; trying on");
        }
    }

    /// All is well again.
    fn untell(&self) {
        let told = std::mem::take(&mut *locked(&self.trouble));
        if !told.is_empty() {
            tracing::info!(member = %format_args!("{:x}", self.id), "a member is reached again");
        }
    }
}

/// The queues to one member; its senders end when they are dropped.
struct Queues {
    link: Arc<Link>,
    control: mpsc::Sender<Outgoing>,
    bulk: mpsc::Sender<Outgoing>,
}

/// The event loop's way to the other members.
pub(crate) struct Peers {
    cluster: Arc<Cluster>,
    runtime: tokio::runtime::Handle,
    queues: BTreeMap<u64, Queues>,
}

impl Peers {
    pub(crate) fn new(cluster: Arc<Cluster>, runtime: tokio::runtime::Handle) -> Peers {
        Peers {
            cluster,
            runtime,
            queues: BTreeMap::new(),
        }
    }

    /// What is known about the cluster.
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Connects to those that are members now, and to nobody else.
    pub(crate) fn follow(&mut self, roster: &Roster) {
        self.cluster.roster.store(Arc::new(roster.clone()));
        let own = self.cluster.identity.member;
        // A member that joins knows nothing but whom it was told of.
        let known = if roster.is_empty() {
            self.cluster.founders.iter().map(|member| member.id).collect()
        } else {
            roster.members.keys().copied().collect::<Vec<_>>()
        };
        self.queues.retain(|id, _| known.contains(id));
        for id in known {
            if id != own && !self.queues.contains_key(&id) {
                self.connect(id);
            }
        }
        let links = self
            .queues
            .values()
            .map(|queues| (queues.link.id, Arc::clone(&queues.link)));
        self.cluster.links.store(Arc::new(links.collect()));
    }

    fn connect(&mut self, id: u64) {
        let link = Arc::new(Link::new(id));
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
        let (bulk, bulk_queue) = mpsc::channel(BULK_QUEUE);
        for (stream, queue) in [(Stream::Control, control_queue), (Stream::Bulk, bulk_queue)] {
            let sender = sender::run(Arc::clone(&self.cluster), Arc::clone(&link), stream, queue);
            self.runtime.spawn(sender);
        }
        self.queues.insert(id, Queues { link, control, bulk });
    }

    /// Whether messages reach that member, as far as known.
    pub(crate) fn reaches(&self, id: u64) -> bool {
        self.queues.get(&id).is_some_and(|queues| queues.link.is_up())
    }

    /// Sends, or drops.
    pub(crate) fn send(&self, message: Message) {
        let Some(queues) = self.queues.get(&message.to) else {
            return tracing::debug!(to = message.to, "message to nobody dropped");
        };
        let link = &queues.link;
        let kind = message.get_msg_type();
        let large = matches!(kind, MessageType::MsgAppend | MessageType::MsgPropose);
        let (stream, queue) = if large {
            (Stream::Bulk, &queues.bulk)
        } else {
            (Stream::Control, &queues.control)
        };
        let bytes: usize = message.entries.iter().map(|entry| entry.data.len()).sum();
        let waiting = link.waiting.fetch_add(bytes, Ordering::Relaxed);
        let fits = waiting == 0 || waiting + bytes <= BULK_BYTES;
        let sent = fits
            && link.up(stream).load(Ordering::Relaxed)
            && queue
                .try_send(Outgoing::Message(Box::new(message), bytes))
                .is_ok();
        if !sent {
            link.waiting.fetch_sub(bytes, Ordering::Relaxed);
            link.drop_one();
        } else if kind == MessageType::MsgAppend {
            self.cluster.appends_sent.fetch_add(1, Ordering::Relaxed);
            locked(&link.figures).sent += 1;
        }
    }

    /// Sends an image in the background; its outcome comes as an input.
    pub(crate) fn send_image(&self, message: Message, store: Box<berth_store::Store>) {
        let to = message.to;
        let Some(queues) = self.queues.get(&to) else {
            let delivered = false;
            return self
                .cluster
                .inbox
                .push(Input::SnapshotSent { to, delivered }, None);
        };
        let (cluster, link) = (Arc::clone(&self.cluster), Arc::clone(&queues.link));
        self.runtime.spawn(snapshot::send(cluster, link, message, store));
    }

    /// Tells a member that it has left.
    pub(crate) fn tell_removed(&self, to: u64) {
        self.cluster.let_go(to);
        if let Some(queues) = self.queues.get(&to) {
            // It is said again.
            drop(queues.control.try_send(Outgoing::Removed));
        }
    }

    /// The members that something was not sent to since the last call. To be called once a tick.
    pub(crate) fn take_unreachable(&self) -> Vec<u64> {
        let lost = |queues: &&Queues| queues.link.lost.swap(false, Ordering::Relaxed);
        self.queues
            .values()
            .filter(lost)
            .map(|queues| queues.link.id)
            .collect()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
