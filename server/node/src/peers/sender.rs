//! One connection to another member that messages are sent on: made, fed, watched, and made again when it breaks.

use crate::error::Chain;
use crate::peers::frame::{self, Accept, FrameError, Kind, Reason, Refuse, Stream, VERSIONS};
use crate::peers::wire::{self, Wire};
use crate::peers::{Cluster, Link, Outgoing, locked};
use crate::tls::Refused;
use berth_replica::{Input, encode_message};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::ReadHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// A member says whether it takes a call in this time. One that was stopped has the connection taken by its kernel.
const HELLO_TIME: Duration = Duration::from_secs(2);
/// Pauses between two tries to connect: the first, doubled each time, and the longest. Short, since an election may wait for
/// it; each is drawn anew from its upper half, so that members do not call in step.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How often the other side is asked whether it is there.
const PING: Duration = Duration::from_millis(500);
/// Without an answer for so long the connection is given up: one that broke without a word would keep its messages back in
/// the kernel's ever longer retries.
const SILENCE: Duration = Duration::from_secs(2);
/// What is written has to leave in this time.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// Messages that wait together are written together, up to this size.
const BATCH_BYTES: usize = 256 << 10;
/// Room that is kept from one batch to the next.
const KEPT_BYTES: usize = 512 << 10;

/// Why a connection is not there, or no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("it has no usable URL")]
    NoUrl,
    #[error("cannot connect to {url}")]
    Connect { url: String, source: io::Error },
    #[error("no answer")]
    Silent,
    #[error("refused by it: {0}")]
    Refused(Reason),
    #[error("refused here: {0}")]
    Unfit(Reason),
    #[error("broken connection")]
    Frame(#[from] FrameError),
    #[error("broken connection")]
    Io(#[from] io::Error),
    #[error("its URL is https, but this member has no --peer-cert-file")]
    NoTls,
    #[error("no TLS")]
    Tls(#[from] Refused),
    #[error("it could not use the image: {0}")]
    Image(String),
    #[error("another image is on its way to it")]
    Busy,
}

/// Sends what comes through the queue, until that is closed. What comes while there is no connection is dropped.
pub(crate) async fn run(
    cluster: Arc<Cluster>,
    link: Arc<Link>,
    stream: Stream,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    let mut pause = FIRST_PAUSE;
    loop {
        match connect(&cluster, &link, stream).await {
            Ok(socket) => {
                pause = FIRST_PAUSE;
                link.untell();
                link.up(stream).store(true, Ordering::Relaxed);
                let fed = feed(socket, &cluster, &link, stream, &mut queue).await;
                link.up(stream).store(false, Ordering::Relaxed);
                link.lost.store(true, Ordering::Relaxed);
                match fed {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(member = link.id, ?stream, %error, "connection ended"),
                }
            }
            Err(error) => {
                if matches!(error, LinkError::Refused(Reason::Removed)) {
                    cluster.inbox.push(Input::ToldRemoved { by: link.id }, None);
                }
                link.lost.store(true, Ordering::Relaxed);
                link.tell(&Chain(&error).to_string());
            }
        }
        if discard(&link, &mut queue, jittered(pause)).await.is_err() {
            return;
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The queue is closed: nobody sends there any more.
struct Closed;

/// Drops what comes, for a while.
async fn discard(link: &Link, queue: &mut mpsc::Receiver<Outgoing>, time: Duration) -> Result<(), Closed> {
    let end = Instant::now() + time;
    loop {
        tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(Outgoing::Message(_, bytes)) => {
                    link.waiting.fetch_sub(bytes, Ordering::Relaxed);
                    link.drop_one();
                }
                Some(Outgoing::Removed) => {}
                None => return Err(Closed),
            },
            () = sleep_until(end) => return Ok(()),
        }
    }
}

fn jittered(pause: Duration) -> Duration {
    // Without random numbers all pauses are the longest.
    let random = crate::bootstrap::random().unwrap_or(0) % 512;
    pause - pause.mul_f64(f64::from(u32::try_from(random).unwrap_or(0)) / 1_024.0)
}

/// Connects to the first of a member's URLs that answers, and is let in.
pub(crate) async fn connect(cluster: &Arc<Cluster>, link: &Link, stream: Stream) -> Result<Wire, LinkError> {
    let mut failure = LinkError::NoUrl;
    for url in cluster.peer_urls(link.id) {
        match Wire::connect(&url, cluster.tls.as_ref()).await {
            Err(error) => failure = error,
            Ok(socket) => match timeout(HELLO_TIME, introduce(socket, cluster, link.id, stream)).await {
                Err(_) => failure = LinkError::Silent,
                Ok(Err(error)) => failure = error,
                Ok(Ok(socket)) => return Ok(socket),
            },
        }
    }
    Err(failure)
}

async fn introduce(
    mut socket: Wire,
    cluster: &Arc<Cluster>,
    id: u64,
    stream: Stream,
) -> Result<Wire, LinkError> {
    let mut bytes = Vec::new();
    frame::put_document(&mut bytes, Kind::Hello, &cluster.hello(id, stream));
    wire::send(&mut socket, &bytes).await?;
    let kind = frame::read(&mut socket, &mut bytes).await?;
    if kind == Kind::Refuse {
        let refuse: Refuse = serde_json::from_slice(&bytes).map_err(FrameError::Document)?;
        return Err(LinkError::Refused(refuse.reason));
    }
    if kind != Kind::Accept {
        return Err(FrameError::Unexpected(kind).into());
    }
    let accept: Accept = serde_json::from_slice(&bytes).map_err(FrameError::Document)?;
    if accept.version < VERSIONS.0 || accept.version > VERSIONS.1 {
        return Err(LinkError::Unfit(Reason::Version));
    }
    let cluster = Arc::clone(cluster);
    let met = tokio::task::spawn_blocking(move || cluster.meet(id, accept.birth, accept.about));
    // The first meeting is written to the disk; a task that is gone is a process that ends.
    met.await.unwrap_or(Err(Reason::Busy)).map_err(LinkError::Unfit)?;
    Ok(socket)
}

/// Ends with what it stands for.
struct Answers(JoinHandle<FrameError>);

impl Drop for Answers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Writes what comes until the queue is closed.
async fn feed(
    socket: Wire,
    cluster: &Arc<Cluster>,
    link: &Arc<Link>,
    stream: Stream,
    queue: &mut mpsc::Receiver<Outgoing>,
) -> Result<(), LinkError> {
    let (reader, mut writer) = tokio::io::split(socket);
    let origin = Instant::now();
    let heard = Arc::new(AtomicU64::new(0));
    let pongs = read_pongs(reader, Arc::clone(link), stream, origin, Arc::clone(&heard));
    let mut answers = Answers(tokio::spawn(pongs));
    let mut pings = interval(PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        bytes.shrink_to(KEPT_BYTES);
        tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(outgoing) => put(&mut bytes, link, &outgoing),
                None => return Ok(()),
            },
            _ = pings.tick() => {
                let now = micros(origin.elapsed());
                if now.saturating_sub(heard.load(Ordering::Relaxed)) > micros(SILENCE) {
                    return Err(LinkError::Silent);
                }
                frame::put(&mut bytes, Kind::Ping, &now.to_be_bytes());
            }
            ended = &mut answers.0 => {
                return Err(ended.map_or(LinkError::Silent, LinkError::Frame));
            }
        }
        while bytes.len() < BATCH_BYTES
            && let Ok(outgoing) = queue.try_recv()
        {
            put(&mut bytes, link, &outgoing);
        }
        match timeout(WRITE_TIME, wire::send(&mut writer, &bytes)).await {
            Ok(written) => written?,
            Err(_) => return Err(LinkError::Silent),
        }
        link.sent(bytes.len());
        tracing::trace!(
            member = link.id,
            cluster = cluster.identity.cluster,
            bytes = bytes.len(),
            "sent"
        );
    }
}

fn put(bytes: &mut Vec<u8>, link: &Link, outgoing: &Outgoing) {
    match outgoing {
        Outgoing::Message(message, size) => {
            frame::put(bytes, Kind::Message, &encode_message(message));
            link.waiting.fetch_sub(*size, Ordering::Relaxed);
        }
        Outgoing::Removed => frame::put(bytes, Kind::Removed, &[]),
    }
}

/// Notes the answers to pings; gives why there are no more.
async fn read_pongs(
    mut reader: ReadHalf<Wire>,
    link: Arc<Link>,
    stream: Stream,
    origin: Instant,
    heard: Arc<AtomicU64>,
) -> FrameError {
    let mut payload = Vec::new();
    loop {
        match frame::read(&mut reader, &mut payload).await {
            Ok(Kind::Pong) => {
                let now = micros(origin.elapsed());
                heard.store(now, Ordering::Relaxed);
                if let (Stream::Control, Ok(sent)) = (stream, payload.as_slice().try_into()) {
                    let took = now.saturating_sub(u64::from_be_bytes(sent));
                    locked(&link.figures).took(Duration::from_micros(took));
                }
            }
            Ok(other) => return FrameError::Unexpected(other),
            Err(error) => return error,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
