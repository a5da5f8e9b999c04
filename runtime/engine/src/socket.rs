//! The doors of the API: the unix socket and TCP ports with TLS. Takes them and serves their connections.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::config::TcpConfig;
use crate::error::EngineError;
use crate::http::{self, Api};
use crate::tls::{Refused, Tls};

/// Connections at once on the socket, and as many on all TCP ports together: whoever fills these does not shut out the
/// socket. Further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1024;

/// How long a TCP connection may be silent before the kernel asks whether the other side is still there. A client that
/// vanished would hold its place for ever otherwise.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// The group that may use the socket where none was named, if the system has it; docker's own default.
const USUAL_GROUP: &str = "docker";

/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long open requests may go on when the engine stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// A pause after a failed accept (too many open files), so that it is not tried in a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Takes the path: a socket that nobody answers on is replaced, a living one is not.
pub(crate) fn bind(path: &Path, group: Option<&str>) -> Result<UnixListener, EngineError> {
    let failed = |action| {
        move |source| EngineError::Path {
            path: path.to_owned(),
            action,
            source,
        }
    };
    let gid = match group {
        Some(name) => Some(find_group(name)?),
        None => find_group(USUAL_GROUP).ok(),
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed("making the directory of the socket"))?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => return Err(EngineError::SocketPath(path.to_owned())),
        Ok(_) => match StdStream::connect(path) {
            Ok(_) => return Err(EngineError::SocketInUse(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed("removing the stale socket"))?;
            }
            Err(error) => return Err(failed("asking who answers on the socket")(error)),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("looking at the socket")(error)),
    }
    // Bound in a private name first, so that nobody can connect before the mode is right.
    let hidden = path.with_extension("binding");
    drop(std::fs::remove_file(&hidden));
    let listener = UnixListener::bind(&hidden).map_err(failed("binding the socket"))?;
    std::os::unix::fs::chown(&hidden, None, gid).map_err(failed("giving the socket to its group"))?;
    let mode = std::fs::Permissions::from_mode(0o660);
    std::fs::set_permissions(&hidden, mode).map_err(failed("setting the mode of the socket"))?;
    std::fs::rename(&hidden, path).map_err(failed("publishing the socket"))?;
    Ok(listener)
}

fn find_group(name: &str) -> Result<u32, EngineError> {
    let missing = || EngineError::NoSuchGroup(name.to_owned());
    let group = nix::unistd::Group::from_name(name)
        .ok()
        .flatten()
        .ok_or_else(missing)?;
    Ok(group.gid.as_raw())
}

/// TCP ports that were bound, and their certificates.
#[derive(Debug)]
pub(crate) struct TcpPorts {
    listeners: Vec<TcpListener>,
    tls: Tls,
}

impl TcpPorts {
    /// Where they are; a port 0 has become a real one.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        let addresses = self.listeners.iter().map(TcpListener::local_addr);
        addresses.filter_map(Result::ok).collect()
    }
}

/// Reads the certificates and takes the ports.
pub(crate) async fn bind_tcp(config: Option<&TcpConfig>) -> Result<Option<TcpPorts>, EngineError> {
    let Some(config) = config else {
        return Ok(None);
    };
    let tls = Tls::open(&config.tls)?;
    let mut listeners = Vec::new();
    for address in &config.listen {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.map_err(|source| EngineError::Listen {
            address: *address,
            source,
        })?);
    }
    Ok(Some(TcpPorts { listeners, tls }))
}

/// What every door needs.
#[derive(Debug, Clone)]
struct Hall {
    api: Arc<Api>,
    places: Arc<Semaphore>,
    stop: watch::Receiver<bool>,
    /// Closed when the last connection has dropped its end.
    _alive: mpsc::Sender<()>,
}

/// Serves connections until told to stop, then lets open requests end for a moment.
pub(crate) async fn serve(
    listener: UnixListener,
    tcp: Option<TcpPorts>,
    api: Arc<Api>,
    stop: watch::Receiver<bool>,
) {
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let hall = Hall {
        api,
        places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        stop,
        _alive: alive,
    };
    let mut doors = JoinSet::new();
    if let Some(ports) = tcp {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        for listener in ports.listeners {
            let hall = Hall {
                places: Arc::clone(&places),
                ..hall.clone()
            };
            doors.spawn(serve_tcp(listener, ports.tls.clone(), hall));
        }
    }
    serve_unix(listener, hall).await;
    drop(doors.join_all().await);
    if tokio::time::timeout(DRAIN_TIMEOUT, all_gone.recv())
        .await
        .is_err()
    {
        tracing::debug!("requests were still open when the engine stopped");
    }
}

async fn serve_unix(listener: UnixListener, hall: Hall) {
    while let Some(((stream, _), place)) = next(&hall, |context| listener.poll_accept(context)).await {
        let hall = hall.clone();
        tokio::spawn(async move {
            serve_connection(stream, &hall).await;
            drop((place, hall));
        });
    }
}

async fn serve_tcp(listener: TcpListener, tls: Tls, hall: Hall) {
    while let Some(((stream, client), place)) = next(&hall, |context| listener.poll_accept(context)).await {
        let (tls, hall) = (tls.clone(), hall.clone());
        tokio::spawn(async move {
            prepare(&stream);
            match tls.accept(stream).await {
                Ok(stream) => serve_connection(stream, &hall).await,
                // Who only looks whether the port is open is no news.
                Err(refused @ Refused::Io(_)) => tracing::debug!(%client, %refused, "no TLS"),
                Err(refused) => tracing::warn!(%client, %refused, "a client was turned away"),
            }
            drop((place, hall));
        });
    }
}

/// Small writes go out at once; a client that vanished is noticed.
fn prepare(stream: &TcpStream) {
    let set = stream.set_nodelay(true).and_then(|()| {
        rustix::net::sockopt::set_socket_keepalive(stream, true)?;
        rustix::net::sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
        Ok(())
    });
    if let Err(error) = set {
        tracing::debug!(%error, "options of a connection");
    }
}

async fn serve_connection<S>(stream: S, hall: &Hall)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(|request| http::serve(Arc::clone(&hall.api), request));
    let mut connection = pin!(
        http1::Builder::new()
            // A client that has sent everything may close its side and still wait for the answer.
            .half_close(true)
            // Scripts of old look for `Api-Version`, not for `api-version`.
            .title_case_headers(true)
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let mut stop = hall.stop.clone();
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        _ = stop.wait_for(|stop| *stop) => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// The next connection and its place; `None` when the engine stops.
async fn next<T>(
    hall: &Hall,
    mut accept: impl FnMut(&mut Context<'_>) -> Poll<io::Result<T>>,
) -> Option<(T, OwnedSemaphorePermit)> {
    let mut stop = hall.stop.clone();
    let accepted = async {
        let place = Arc::clone(&hall.places).acquire_owned().await.ok()?;
        loop {
            match poll_fn(&mut accept).await {
                Ok(connection) => return Some((connection, place)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        accepted = accepted => accepted,
        _ = stop.wait_for(|stop| *stop) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sub/berth.sock");
        let listener = bind(&path, None).expect("bound");
        assert_eq!(
            std::fs::metadata(&path).expect("there").permissions().mode() & 0o777,
            0o660
        );
        assert!(matches!(bind(&path, None), Err(EngineError::SocketInUse(_))));
        drop(listener);
        drop(bind(&path, None).expect("bound again"));
    }

    #[tokio::test]
    async fn other_files_and_unknown_groups_are_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        std::fs::write(&path, "x").expect("written");
        assert!(matches!(bind(&path, None), Err(EngineError::SocketPath(_))));
        assert_eq!(std::fs::read(&path).expect("still there"), b"x");
        let other = directory.path().join("other");
        let error = bind(&other, Some("no-such-group-here")).expect_err("refused");
        assert_eq!(error.to_string(), "group \"no-such-group-here\" does not exist");
    }
}
