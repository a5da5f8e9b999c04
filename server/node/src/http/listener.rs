//! Listening, accepting, and the end of it.

use crate::clock::Clock;
use crate::error::NodeError;
use crate::handle::Shared;
use crate::http::callers::Callers;
use crate::http::connection::{self, Surface};
use crate::http::socket::Socket;
use crate::metrics::Metrics;
use crate::tls::{self, Tls};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

/// Descriptors that connections leave to the log, to images and to whatever else runs in this process; of few, half.
const OWN_FILES: usize = 256;
/// A client of which nothing is heard for so long is asked whether it is still there, so often and at such intervals. A watch
/// may be silent for days; one whose machine is gone would hold its place for ever.
const SILENCE: Duration = Duration::from_secs(60);
const PROBES: u32 = 4;
const PROBE_INTERVAL: Duration = Duration::from_secs(15);
/// What was sent has to arrive within this time.
const UNHEARD_MS: u32 = 120_000;
/// Connections that wait to be accepted; the kernel may allow fewer and drops what is beyond.
const BACKLOG: u32 = 4_096;
/// Pause after an accept that failed for want of descriptors or memory: some come free meanwhile.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How far the end of serving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not at all.
    Open,
    /// Connections end with the request they are at.
    Draining,
    /// Connections end now.
    Cut,
}

/// A port that is served.
#[derive(Debug)]
pub(crate) struct Serving {
    phase: watch::Sender<Phase>,
    /// Closed when the last task that serves is gone.
    alive: mpsc::Receiver<()>,
}

impl Serving {
    /// No new connections; those there are end with the request they are at.
    pub(crate) fn drain(&self) {
        self.rise(Phase::Draining);
    }

    /// All connections end now.
    pub(crate) fn cut(&self) {
        self.rise(Phase::Cut);
    }

    /// Waits until nothing is served any more.
    pub(crate) async fn ended(&mut self) {
        while self.alive.recv().await.is_some() {}
    }

    fn rise(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let rises = phase > *current;
            *current = phase.max(*current);
            rises
        });
    }
}

/// Listens on all addresses. `localhost` may mean an IPv6 address that this machine does not have: another one suffices.
/// The first ones are served without TLS, the others over it.
pub(crate) fn listen(plain: &[SocketAddr], secure: &[SocketAddr]) -> Result<Vec<Bound>, NodeError> {
    let addresses = [plain, secure].concat();
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut missing = None;
    for (at, &address) in addresses.iter().enumerate() {
        // Never one that is served otherwise: that one is refused as being in use.
        let from = if at < plain.len() { 0 } else { plain.len() };
        if addresses[from..at].contains(&address) && address.port() != 0 {
            continue;
        }
        // The IPv6 wildcard takes IPv4 as well, unless that is listened on by itself.
        let alone = addresses
            .iter()
            .any(|other| other.is_ipv4() && other.ip().is_unspecified() && other.port() == address.port());
        match bind(address, alone) {
            Ok(listener) => listeners.push(Bound {
                listener,
                secure: at >= plain.len(),
            }),
            Err(source) if addresses.len() > 1 && is_absent(address, &source) => {
                tracing::warn!(%address, error = %source, "not listening: this machine has no such address");
                missing = Some(NodeError::Listen { address, source });
            }
            Err(source) => return Err(NodeError::Listen { address, source }),
        }
    }
    if listeners.is_empty() {
        return Err(missing.unwrap_or(NodeError::NoAddress));
    }
    Ok(listeners)
}

/// Listens on one address.
pub(crate) fn listen_on(address: SocketAddr) -> Result<TcpListener, NodeError> {
    bind(address, false).map_err(|source| NodeError::Listen { address, source })
}

/// An address that is listened on.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    secure: bool,
}

impl Bound {
    /// The socket, and whether TLS is spoken on it.
    pub(crate) fn parts(self) -> (TcpListener, bool) {
        (self.listener, self.secure)
    }

    /// The address that was bound; the system knows it of every socket that listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// The URL that leads there.
    pub(crate) fn url(&self) -> Option<String> {
        Some(url(self.address()?, self.secure))
    }
}

/// The URL of an address.
pub(crate) fn url(address: SocketAddr, secure: bool) -> String {
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{address}")
}

fn is_absent(address: SocketAddr, error: &io::Error) -> bool {
    let absent = [rustix::io::Errno::ADDRNOTAVAIL, rustix::io::Errno::AFNOSUPPORT];
    let number = error.raw_os_error();
    address.is_ipv6()
        && address.ip().is_loopback()
        && absent.iter().any(|errno| Some(errno.raw_os_error()) == number)
}

fn bind(address: SocketAddr, alone: bool) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        let socket = TcpSocket::new_v6()?;
        if alone {
            rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
        }
        socket
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What every connection of a port shares.
struct Port {
    surface: Arc<Surface>,
    shared: Arc<Shared>,
    clock: Clock,
    places: Arc<Semaphore>,
    callers: Arc<Callers>,
    phase: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
}

/// How many connections a port may have. An accept that fails for want of descriptors is the smaller harm: a log that cannot
/// begin its next segment ends the member.
fn places(most: usize) -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    most.min(files - OWN_FILES.min(files / 2))
}

/// Serves until it is told to end.
pub(crate) fn serve(
    listeners: Vec<Bound>,
    tls: Option<&Arc<Tls>>,
    surface: Surface,
    shared: Arc<Shared>,
    clock: Clock,
) -> Serving {
    let (phase, watched) = watch::channel(Phase::Open);
    // Nothing is ever sent: what counts is when all senders are gone.
    let (living, alive) = mpsc::channel(1);
    let port = Arc::new(Port {
        places: Arc::new(Semaphore::new(places(shared.limits.connections))),
        callers: Arc::new(Callers::new(shared.limits.connections_per_address)),
        surface: Arc::new(surface),
        shared,
        clock,
        phase: watched,
        alive: living,
    });
    for Bound { listener, secure } in listeners {
        let tls = tls.filter(|_| secure).map(Arc::clone);
        tokio::spawn(accept_all(listener, tls, Arc::clone(&port)));
    }
    Serving { phase, alive }
}

async fn accept_all(listener: TcpListener, tls: Option<Arc<Tls>>, port: Arc<Port>) {
    let mut phase = port.phase.clone();
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase > Phase::Open) => {}
        () = accept_next(&listener, tls.as_ref(), &port) => {}
    }
}

async fn accept_next(listener: &TcpListener, tls: Option<&Arc<Tls>>, port: &Arc<Port>) {
    loop {
        // Taken before the accept: at the bound, connections wait in the kernel's queue. It is never closed.
        let Ok(place) = Arc::clone(&port.places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, address)) => {
                let Some(caller) = port.callers.enter(address.ip()) else {
                    tracing::debug!(%address, "refused: too many connections of this address");
                    Metrics::add(&port.shared.metrics.refused_connections, 1);
                    continue;
                };
                let (port, tls) = (Arc::clone(port), tls.map(Arc::clone));
                tokio::spawn(async move {
                    serve_one(socket, tls.as_ref(), &port).await;
                    drop((place, caller));
                });
            }
            Err(error) => {
                // A peer that left the queue costs nothing, all else needs time.
                if error.kind() != io::ErrorKind::ConnectionAborted {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }
}

async fn serve_one(socket: TcpStream, tls: Option<&Arc<Tls>>, port: &Port) {
    let _alive = port.alive.clone();
    // Answers are written whole: waiting for more to send would only delay them.
    if let Err(error) = socket.set_nodelay(true).and_then(|()| ask_after(&socket)) {
        tracing::debug!(%error, "client left");
        return;
    }
    let connections = &port.shared.metrics.connections;
    connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    match tls {
        None => serve_on(socket, None, port).await,
        // Boxed: plain connections need no room for it.
        Some(tls) => Box::pin(serve_over(socket, tls, port)).await,
    }
    connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
}

/// A handshake, and then requests; the handshake has a time of its own.
async fn serve_over(socket: TcpStream, tls: &Arc<Tls>, port: &Port) {
    let mut phase = port.phase.clone();
    let accepted = tokio::select! {
        biased;
        accepted = tls.accept(socket) => accepted,
        _ = phase.wait_for(|phase| *phase > Phase::Open) => return,
    };
    // Who was refused was told, as was the log.
    if let Ok(stream) = accepted {
        let client_name = tls::client_name(&stream);
        serve_on(stream, client_name, port).await;
    }
}

async fn serve_on<S: Socket>(socket: S, client_name: Option<Arc<str>>, port: &Port) {
    connection::serve(
        socket,
        client_name,
        &port.surface,
        &port.shared,
        port.clock,
        port.phase.clone(),
    )
    .await;
}

/// Lets the kernel find out that a client is gone without a word.
fn ask_after(socket: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, SILENCE)?;
    sockopt::set_tcp_keepintvl(socket, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, PROBES)?;
    sockopt::set_tcp_user_timeout(socket, UNHEARD_MS)?;
    Ok(())
}
