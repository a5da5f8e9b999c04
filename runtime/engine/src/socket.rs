//! The unix socket of the API: taking its path, serving its connections.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, watch};

use crate::error::EngineError;
use crate::http::{self, Api};

/// Connections at once; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1024;

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
    let gid = group.map(find_group).transpose()?;
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

/// Serves connections until told to stop, then lets open requests end for a moment.
pub(crate) async fn serve(listener: UnixListener, api: Arc<Api>, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Closed when the last connection has dropped its end.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    loop {
        let connection = tokio::select! {
            connection = accept(&listener, &places) => connection,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let Some((stream, place)) = connection else {
            continue;
        };
        let (api, stop, alive) = (Arc::clone(&api), stop.clone(), alive.clone());
        tokio::spawn(async move {
            if let Err(error) = serve_connection(stream, api, stop).await {
                tracing::debug!(%error, "connection ended");
            }
            drop((place, alive));
        });
    }
    drop((listener, alive));
    if tokio::time::timeout(DRAIN_TIMEOUT, all_gone.recv())
        .await
        .is_err()
    {
        tracing::debug!("requests were still open when the engine stopped");
    }
}

async fn serve_connection(
    stream: UnixStream,
    api: Arc<Api>,
    mut stop: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let service = service_fn(move |request| http::serve(Arc::clone(&api), request));
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
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

async fn accept(
    listener: &UnixListener,
    places: &Arc<Semaphore>,
) -> Option<(UnixStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
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
