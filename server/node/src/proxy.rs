//! A gateway without data: it hands the requests of clients to the members of a cluster, and keeps track of these.

mod forward;
mod members;
mod upstream;

use crate::bootstrap::SrvDiscovery;
use crate::config::InitialMember;
use crate::error::NodeError;
use crate::http::{Bound, listen};
use crate::tls::{self, CallTls, Port, Tls, TlsSettings};
use forward::Gateway;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use members::Members;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};

/// Connections of clients; more wait in the kernel's queue. Each may need another one to a member.
const MAX_CONNECTIONS: usize = 10_000;
/// The head of a request has to come in this time, counted from the answer before it.
const HEAD_TIME: Duration = Duration::from_secs(60);
/// The longest head of a request.
const MAX_HEAD_BYTES: usize = 40 << 10;
/// What was sent to a client has to arrive in this time.
const UNHEARD_MS: u32 = 120_000;
/// A client of which nothing is heard for so long is asked whether it is still there.
const SILENCE: Duration = Duration::from_secs(60);
/// Pause after an accept that failed for want of descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);
/// Time for answering what is in flight at the end.
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// The settings of a gateway.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where clients are served; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where clients are served over TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// TLS at both sides.
    pub tls: ProxyTls,
    /// Client URLs of members; the others are learned from them.
    pub endpoints: Vec<String>,
    /// Members of which only the addresses for other members are known.
    pub initial_cluster: Vec<InitialMember>,
    /// A domain whose SRV records name members.
    pub discovery_srv: Option<SrvDiscovery>,
    /// Only GET is let through.
    pub read_only: bool,
    /// How long a member that failed is not tried again.
    pub failure_wait: Duration,
    /// Time between two looks at the list of members.
    pub refresh_interval: Duration,
    /// Time for a connection to a member.
    pub dial_timeout: Duration,
    /// What was sent to a member has to arrive in this time; `None`: no limit.
    pub write_timeout: Option<Duration>,
    /// An answer of a member has to begin in this time; `None`: no limit.
    pub read_timeout: Option<Duration>,
    /// The members' addresses are kept here, and count before the settings at the next start.
    pub state_file: Option<PathBuf>,
}

/// TLS of a gateway.
#[derive(Clone, Debug, Default)]
pub struct ProxyTls {
    /// What clients are shown, and what is demanded of them.
    pub clients: TlsSettings,
    /// How members are called whose URLs for clients are https. All clients of the gateway are one client to them.
    pub members: CallTls,
    /// How members are asked for the list at their URLs for each other, where these are https.
    pub peers: TlsSettings,
}

/// A running gateway. Dropping it ends it without waiting.
#[derive(Debug)]
pub struct Proxy {
    addrs: Vec<SocketAddr>,
    /// Rises once: connections end with the request they are at.
    draining: watch::Sender<bool>,
    /// Closed when the last task that serves is gone.
    alive: mpsc::Receiver<()>,
    tracking: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Starts a gateway; when it returns, clients are served. It must run in a Tokio runtime.
    ///
    /// # Errors
    /// When an address is in use, when certificates cannot be used, or when the records of a domain cannot be had.
    pub async fn start(config: ProxyConfig) -> Result<Proxy, NodeError> {
        let settings = &config.tls.clients;
        tls::check(Port::Clients, settings, !config.listen_tls.is_empty())?;
        let tls = match settings.cert {
            Some(_) => Some(Arc::new(Tls::open(Port::Clients, settings.clone())?)),
            None => None,
        };
        let members = Arc::new(Members::new(&config).await?);
        let listeners = listen(&config.listen, &config.listen_tls)?;
        let addrs = listeners.iter().filter_map(Bound::address).collect();
        let gateway = Arc::new(Gateway::new(Arc::clone(&members), &config));
        let (draining, watched) = watch::channel(false);
        // Nothing is ever sent: what counts is when all senders are gone.
        let (living, alive) = mpsc::channel(1);
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        for (listener, secure) in listeners.into_iter().map(Bound::parts) {
            tokio::spawn(accept_all(
                listener,
                tls.clone().filter(|_| secure),
                Arc::clone(&gateway),
                Arc::clone(&places),
                watched.clone(),
                living.clone(),
            ));
        }
        let tracking = tokio::spawn(members::track(members));
        Ok(Proxy {
            addrs,
            draining,
            alive,
            tracking,
        })
    }

    /// The addresses that clients are served on.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Ends in order: no new connections, what is in flight is answered; watches are cut after some seconds.
    pub async fn shutdown(mut self) {
        self.draining.send_replace(true);
        let ended = async { while self.alive.recv().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIME, ended).await.is_err() {
            tracing::debug!("cutting connections that did not end");
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tracking.abort();
    }
}

async fn accept_all(
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    gateway: Arc<Gateway>,
    places: Arc<Semaphore>,
    draining: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let mut ended = draining.clone();
    let mut ended = pin!(ended.wait_for(|draining| *draining));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = ended.as_mut() => return,
            accepted = accept(&listener, &places) => accepted,
        };
        let Some((socket, address, place)) = accepted else {
            tokio::time::sleep(BACK_OFF).await;
            continue;
        };
        let (gateway, draining, alive) = (Arc::clone(&gateway), draining.clone(), alive.clone());
        let tls = tls.clone();
        tokio::spawn(async move {
            serve(socket, tls.as_ref(), address, &gateway, draining).await;
            drop((place, alive));
        });
    }
}

type Accepted = (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit);

/// The next connection, taken when there is a place for it; none if that failed.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> Option<Accepted> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((socket, address)) => Some((socket, address, place)),
        Err(error) => {
            tracing::warn!(%error, "accept failed");
            None
        }
    }
}

/// Serves a connection to its end.
async fn serve(
    socket: TcpStream,
    tls: Option<&Arc<Tls>>,
    client: SocketAddr,
    gateway: &Arc<Gateway>,
    mut draining: watch::Receiver<bool>,
) {
    if let Err(error) = watch_over(&socket, SILENCE, Some(UNHEARD_MS)) {
        tracing::debug!(%error, "client left");
        return;
    }
    let Some(tls) = tls else {
        return serve_on(socket, client, gateway, draining).await;
    };
    let accepted = tokio::select! {
        biased;
        accepted = tls.accept(socket) => accepted,
        _ = draining.wait_for(|draining| *draining) => return,
    };
    // Who was refused was told, as was the log.
    if let Ok(stream) = accepted {
        Box::pin(serve_on(stream, client, gateway, draining)).await;
    }
}

async fn serve_on<S: AsyncRead + AsyncWrite + Send + Unpin>(
    socket: S,
    client: SocketAddr,
    gateway: &Arc<Gateway>,
    mut draining: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let gateway = Arc::clone(gateway);
        async move { Ok::<_, Infallible>(gateway.answer(request, client).await) }
    });
    let connection = http1::Builder::new()
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(socket), service);
    let mut connection = pin!(connection);
    let ending = async { drop(draining.wait_for(|draining| *draining).await) };
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = ending => {
            connection.as_mut().graceful_shutdown();
            // A watch may never end.
            match tokio::time::timeout(DRAIN_TIME, connection).await {
                Ok(served) => served,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended");
    }
}

/// Lets the kernel find out that the other side is gone without a word.
fn watch_over(socket: &TcpStream, silence: Duration, unheard_ms: Option<u32>) -> std::io::Result<()> {
    use rustix::net::sockopt;
    // Small answers are written whole: waiting for more to send would only delay them.
    socket.set_nodelay(true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, silence)?;
    sockopt::set_tcp_keepintvl(socket, Duration::from_secs(15))?;
    sockopt::set_tcp_keepcnt(socket, 4)?;
    if let Some(time) = unheard_ms {
        sockopt::set_tcp_user_timeout(socket, time)?;
    }
    Ok(())
}
