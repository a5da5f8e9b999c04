//! Listening, accepting, and the end of it.

use crate::clock::Clock;
use crate::error::NodeError;
use crate::handle::Shared;
use crate::http::connection::{self, Surface};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

/// Open connections of one port; more wait in the kernel's queue. Each watch takes one.
const MAX_CONNECTIONS: usize = 20_000;
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
pub(crate) fn listen(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, NodeError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    let mut missing = None;
    for (at, &address) in addresses.iter().enumerate() {
        if addresses[..at].contains(&address) && address.port() != 0 {
            continue;
        }
        // The IPv6 wildcard takes IPv4 as well, unless that is listened on by itself.
        let alone = addresses
            .iter()
            .any(|other| other.is_ipv4() && other.ip().is_unspecified() && other.port() == address.port());
        match bind(address, alone) {
            Ok(listener) => listeners.push(listener),
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

/// The addresses that were bound.
pub(crate) fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect()
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
    phase: watch::Receiver<Phase>,
    alive: mpsc::Sender<()>,
}

/// How many connections a port may have. An accept that fails for want of descriptors is the smaller harm: a log that cannot
/// begin its next segment ends the member.
fn places() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    MAX_CONNECTIONS.min(files - OWN_FILES.min(files / 2))
}

/// Serves until it is told to end.
pub(crate) fn serve(
    listeners: Vec<TcpListener>,
    surface: Surface,
    shared: Arc<Shared>,
    clock: Clock,
) -> Serving {
    let (phase, watched) = watch::channel(Phase::Open);
    // Nothing is ever sent: what counts is when all senders are gone.
    let (living, alive) = mpsc::channel(1);
    let port = Arc::new(Port {
        places: Arc::new(Semaphore::new(places())),
        surface: Arc::new(surface),
        shared,
        clock,
        phase: watched,
        alive: living,
    });
    for listener in listeners {
        tokio::spawn(accept_all(listener, Arc::clone(&port)));
    }
    Serving { phase, alive }
}

async fn accept_all(listener: TcpListener, port: Arc<Port>) {
    let mut phase = port.phase.clone();
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase > Phase::Open) => {}
        () = accept_next(&listener, &port) => {}
    }
}

async fn accept_next(listener: &TcpListener, port: &Arc<Port>) {
    loop {
        // Taken before the accept: at the bound, connections wait in the kernel's queue. It is never closed.
        let Ok(place) = Arc::clone(&port.places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((socket, _)) => {
                let port = Arc::clone(port);
                tokio::spawn(async move {
                    serve_one(socket, &port).await;
                    drop(place);
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

async fn serve_one(socket: TcpStream, port: &Port) {
    let _alive = port.alive.clone();
    // Answers are written whole: waiting for more to send would only delay them.
    if let Err(error) = socket.set_nodelay(true).and_then(|()| ask_after(&socket)) {
        tracing::debug!(%error, "client left");
        return;
    }
    let connections = &port.shared.metrics.connections;
    connections.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    connection::serve(
        socket,
        &port.surface,
        &port.shared,
        port.clock,
        port.phase.clone(),
    )
    .await;
    connections.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
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
