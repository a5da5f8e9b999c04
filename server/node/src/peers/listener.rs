//! The port for other members: calls are judged, and what comes on those that are taken goes to the event loop.

use crate::peers::frame::{self, About, Accept, FrameError, Hello, Kind, Reason, Refuse, Stream};
use crate::peers::wire::{self, Wire};
use crate::peers::{Cluster, call, inquiry, locked, snapshot};
use crate::tls::{Refused, Tls};
use berth_replica::{CodecError, Input, Message, MessageType, decode_message};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

/// Connections at a time: three for each member of the largest cluster. One more is closed.
const MAX_CONNECTIONS: usize = 128;
/// Who connects says who he is in this time.
const HELLO_TIME: Duration = Duration::from_secs(5);
/// A connection on which nothing comes for so long is given up; a sender that is there pings far more often.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// An answer has to leave in this time.
const WRITE_TIME: Duration = Duration::from_secs(5);
/// What a member may have waiting for the event loop, in units of [`UNIT_BYTES`]; its connection is not read on beyond.
const SHARE_UNITS: usize = 16 << 10;
/// The unit.
const UNIT_BYTES: usize = 1 << 10;
/// Pause after an accept that failed for want of descriptors or memory: some come free meanwhile.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Members whose share is kept from one connection to the next; beyond, all begin with a new one.
const MAX_SHARES: usize = 64;
/// Callers whose last refusal is remembered, so that each is logged once; beyond, all are forgotten.
const MAX_TOLD: usize = 256;

/// What HTTP clients hear that take this for a port of theirs.
const HTTP_ANSWER: &[u8] = b"HTTP/1.1 501 Not Implemented\r\nContent-Type: application/json\r\nContent-Length: 84\r\n\
    Connection: close\r\n\r\n{\"message\":\"this port speaks the protocol of the members; clients use another one\"}\n";

/// The port being served.
#[derive(Debug)]
pub(crate) struct PeerServing {
    stop: watch::Sender<bool>,
    /// Closed when the last task is gone.
    alive: mpsc::Receiver<()>,
}

impl PeerServing {
    /// All connections end now.
    pub(crate) fn cut(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until nothing is served any more.
    pub(crate) async fn ended(&mut self) {
        while self.alive.recv().await.is_some() {}
    }
}

struct Port {
    cluster: Arc<Cluster>,
    tls: Option<Arc<Tls>>,
    connections: Arc<Semaphore>,
    /// One image at a time: there is one leader.
    images: Semaphore,
    /// What each member may have waiting, on each of its streams.
    shares: Mutex<BTreeMap<(u64, bool), Arc<Semaphore>>>,
    /// The last refusal of each caller.
    told: Mutex<BTreeMap<u64, Reason>>,
}

/// Serves other members until it is told to end.
pub(crate) fn serve(listener: TcpListener, tls: Option<Arc<Tls>>, cluster: Arc<Cluster>) -> PeerServing {
    let (stop, stopped) = watch::channel(false);
    let (life, alive) = mpsc::channel(1);
    let port = Arc::new(Port {
        cluster,
        tls,
        connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        images: Semaphore::new(1),
        shares: Mutex::default(),
        told: Mutex::default(),
    });
    tokio::spawn(accept(listener, port, stopped, life));
    PeerServing { stop, alive }
}

async fn accept(
    listener: TcpListener,
    port: Arc<Port>,
    mut stopped: watch::Receiver<bool>,
    life: mpsc::Sender<()>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a member's connection was not taken");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&port.connections).try_acquire_owned() else {
            continue;
        };
        let (port, mut stopped, life) = (Arc::clone(&port), stopped.clone(), life.clone());
        tokio::spawn(async move {
            let _kept = (permit, life);
            tokio::select! {
                served = connection(socket, &port) => {
                    if let Err(error) = served {
                        tracing::debug!(error = &error as &dyn std::error::Error, "a member's connection ended");
                    }
                }
                _ = stopped.wait_for(|stop| *stop) => {}
            }
        });
    }
}

/// Why a connection is closed from here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{0}")]
    Refused(Reason),
    #[error("no TLS")]
    Tls(#[from] Refused),
    #[error("broken connection")]
    Frame(#[from] FrameError),
    #[error("broken connection")]
    Io(#[from] std::io::Error),
    #[error("nothing came, or nothing could be sent, in time")]
    Slow,
    #[error("a message cannot be read")]
    Message(#[from] CodecError),
    #[error("a message names other members than those of its connection")]
    Foreign,
}

/// A frame, in time.
pub(crate) async fn next(
    socket: &mut (impl AsyncRead + Unpin),
    payload: &mut Vec<u8>,
    time: Duration,
) -> Result<Kind, CallError> {
    match timeout(time, frame::read(socket, payload)).await {
        Ok(read) => Ok(read?),
        Err(_) => Err(CallError::Slow),
    }
}

/// Sends, in time.
pub(crate) async fn answer(socket: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<(), CallError> {
    match timeout(WRITE_TIME, wire::send(socket, bytes)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(CallError::Slow),
    }
}

async fn connection(socket: TcpStream, port: &Port) -> Result<(), CallError> {
    let mut socket = Wire::accept(socket, port.tls.as_ref()).await?;
    let mut payload = Vec::new();
    match next(&mut socket, &mut payload, HELLO_TIME).await {
        Ok(Kind::Hello) => {}
        Ok(Kind::Question) => return inquiry::tell(&mut socket, &port.cluster, &payload).await,
        Ok(other) => return Err(FrameError::Unexpected(other).into()),
        Err(CallError::Frame(FrameError::Http)) => return answer(&mut socket, HTTP_ANSWER).await,
        Err(error) => return Err(error),
    }
    let hello: Hello = serde_json::from_slice(&payload).map_err(FrameError::Document)?;
    let (from, stream) = (hello.from, hello.stream);
    let cluster = Arc::clone(&port.cluster);
    // The first meeting is written to the disk; a task that is gone is a process that ends.
    let judged = tokio::task::spawn_blocking(move || cluster.judge(hello)).await;
    payload.clear();
    match judged.unwrap_or(Err(Reason::Busy)) {
        Ok(version) => {
            locked(&port.told).remove(&from);
            let accept = Accept {
                version,
                birth: port.cluster.birth,
                about: About::of(&port.cluster.own),
            };
            frame::put_document(&mut payload, Kind::Accept, &accept);
            answer(&mut socket, &payload).await?;
        }
        Err(reason) => {
            port.tell(from, reason);
            frame::put_document(&mut payload, Kind::Refuse, &Refuse { reason });
            answer(&mut socket, &payload).await?;
            return Err(CallError::Refused(reason));
        }
    }
    match stream {
        Stream::Control | Stream::Bulk => {
            let share = port.share(from, stream == Stream::Bulk);
            receive(socket, port, from, &share).await
        }
        Stream::Image => snapshot::receive(socket, &port.cluster, &port.images, from).await,
        Stream::Wish => call::take(&mut socket, &port.cluster).await,
    }
}

impl Port {
    fn share(&self, from: u64, bulk: bool) -> Arc<Semaphore> {
        let mut shares = locked(&self.shares);
        if shares.len() >= MAX_SHARES && !shares.contains_key(&(from, bulk)) {
            shares.clear();
        }
        let share = shares.entry((from, bulk));
        Arc::clone(share.or_insert_with(|| Arc::new(Semaphore::new(SHARE_UNITS))))
    }

    /// Tells the log of a refusal once.
    fn tell(&self, from: u64, reason: Reason) {
        let mut told = locked(&self.told);
        if told.len() >= MAX_TOLD {
            told.clear();
        }
        if told.insert(from, reason) != Some(reason) {
            drop(told);
            tracing::warn!(member = %format_args!("{from:x}"), %reason, "the call of a member was refused");
        }
    }
}

/// A message that a connection from this member may carry to this one.
pub(crate) fn message(cluster: &Cluster, from: u64, payload: &[u8]) -> Result<Message, CallError> {
    let message = decode_message(payload)?;
    if message.from == from && message.to == cluster.identity.member {
        Ok(message)
    } else {
        Err(CallError::Foreign)
    }
}

/// Takes messages, for as long as they come.
async fn receive(mut socket: Wire, port: &Port, from: u64, share: &Arc<Semaphore>) -> Result<(), CallError> {
    let cluster = &port.cluster;
    let mut payload = Vec::new();
    let mut pong = Vec::new();
    loop {
        let kind = next(&mut socket, &mut payload, IDLE_TIME).await?;
        // A member that is being added may have no link yet.
        if let Some(link) = cluster.links().get(&from) {
            link.received(payload.len() + frame::HEADER_BYTES);
        }
        if kind == Kind::Ping {
            if cluster.may_go(from) {
                // It calls again, and is told why nobody answers.
                return Err(CallError::Refused(Reason::Removed));
            }
            pong.clear();
            frame::put(&mut pong, Kind::Pong, &payload);
            answer(&mut socket, &pong).await?;
        } else if kind == Kind::Message {
            let message = message(cluster, from, &payload)?;
            if message.get_msg_type() == MessageType::MsgAppend {
                cluster.appends_received.fetch_add(1, Ordering::Relaxed);
            }
            let units = (payload.len() / UNIT_BYTES + 1).min(SHARE_UNITS);
            let units = u32::try_from(units).unwrap_or(u32::MAX);
            // A semaphore that is not closed gives its permits.
            let permit = Arc::clone(share).acquire_many_owned(units).await.ok();
            cluster.inbox.push(Input::Message(message), permit);
        } else if kind == Kind::Removed {
            cluster.inbox.push(Input::ToldRemoved { by: from }, None);
        } else {
            return Err(FrameError::Unexpected(kind).into());
        }
    }
}
