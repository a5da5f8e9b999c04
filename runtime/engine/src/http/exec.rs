//! exec: another process in a running container, made, started and looked at.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use berth_exec::Attach;
use berth_wire::docker::{DetachKeys, ExecConfig, ExecStart, IdResponse, Stream, encode_frame};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use super::attach::{Session, respond, switching, take_place};
use super::params::Params;
use super::resize::size;
use super::{Answer, Api, body, empty, json};
use crate::error::Failure;
use crate::execs::{self, Exec};
use crate::handle::Begun;

/// How long a new size waits for a process that is being started.
const LAUNCH: Duration = Duration::from_secs(5);

pub(crate) async fn create(api: &Arc<Api>, id: &str, request: Request<Incoming>) -> Answer {
    let config: ExecConfig = body::json(request).await?;
    DetachKeys::parse(&config.detach_keys)?;
    let id = api.handle.create_exec(id, config).await?;
    json(StatusCode::CREATED, &IdResponse { id })
}

pub(crate) async fn start(api: &Arc<Api>, id: &str, mut request: Request<Incoming>) -> Answer {
    let upgrade = request.headers().contains_key(header::UPGRADE);
    let on_upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
    let start: ExecStart = body::json(request).await?;
    let place = if start.detach {
        None
    } else {
        Some(take_place(api)?)
    };
    let detach = start.detach;
    let begun = api.handle.begin_exec(id, start).await?;
    let live = connect(api, &begun.found.exec, detach).await?;
    if let (Some(on_upgrade), false) = (on_upgrade, detach) {
        let api = Arc::clone(api);
        tokio::spawn(async move {
            // The answer goes out first: output that comes with it is lost on clients that read too much (docker-py).
            let connection = on_upgrade.await;
            let session = launch(&api, begun, live, detach).await;
            match (session, connection) {
                // A client that goes away in the middle is no failure of anybody's.
                (Ok(Some(session)), Ok(connection)) => drop(session.run(TokioIo::new(connection)).await),
                (Ok(_), Err(error)) => tracing::debug!(%error, "a client left before its exec began"),
                (Err(error), _) => tracing::debug!(%error, "an exec did not begin"),
                (Ok(None), Ok(_)) => {}
            }
            drop(place);
        });
        return Ok(switching());
    }
    // On its own: what has begun comes to its end, also without its client.
    let running = {
        let api = Arc::clone(api);
        tokio::spawn(async move { launch(&api, begun, live, detach).await })
    };
    let session = running.await.map_err(|_| Failure::Stopping)??;
    match (session, place) {
        (Some(session), Some(place)) => Ok(respond(session, None, place)),
        _ => Ok(empty(StatusCode::OK)),
    }
}

/// The keeper's end of input and output; none where nobody stays.
async fn connect(api: &Arc<Api>, exec: &Exec, detach: bool) -> Result<Option<UnixStream>, Failure> {
    if detach {
        return Ok(None);
    }
    let config = &exec.config;
    let attach = Attach {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr && !config.tty,
        raw: config.tty,
    };
    match api.actions.attach(&exec.id, attach).await {
        Ok(live) => Ok(Some(live)),
        Err(failure) => {
            api.actions.exec_failed(&exec.id).await;
            Err(failure)
        }
    }
}

/// Starts it. A client that waits for its output gets the reason of a failure as output, as Docker does.
async fn launch(
    api: &Arc<Api>,
    begun: Begun,
    live: Option<UnixStream>,
    detach: bool,
) -> Result<Option<Session>, Failure> {
    let Begun {
        container,
        found,
        spec,
    } = begun;
    let failed = api.actions.launch_exec(&container, spec).await;
    let config = &found.exec.config;
    let mut session = Session {
        replay: None,
        live,
        stdin: config.attach_stdin,
        close_stdin: !config.tty,
        detach: config
            .tty
            .then(|| DetachKeys::parse(&config.detach_keys))
            .transpose()?,
        ended: Some(found.state),
    };
    match failed {
        Ok(()) if detach => Ok(None),
        Ok(()) => Ok(Some(session)),
        Err(failure) if detach => Err(failure),
        Err(failure) => {
            let text = format!("{failure}\r\n");
            session.live = None;
            session.replay = Some(message(&text, config.tty));
            Ok(Some(session))
        }
    }
}

/// One piece of output.
fn message(text: &str, raw: bool) -> mpsc::Receiver<io::Result<Bytes>> {
    let mut bytes = Vec::new();
    if raw {
        bytes.extend_from_slice(text.as_bytes());
    } else {
        encode_frame(Stream::Stdout, text.as_bytes(), &mut bytes);
    }
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(Ok(bytes.into()));
    receiver
}

pub(crate) async fn inspect(api: &Arc<Api>, id: &str) -> Answer {
    let found = api.handle.find_exec(id).await?;
    json(StatusCode::OK, &execs::inspect(&found))
}

pub(crate) async fn resize(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let (rows, columns) = size(params)?;
    let mut found = api.handle.find_exec(id).await?;
    // The client tells the size as soon as it has its answer, which may be before the process is there.
    let settled = found
        .state
        .wait_for(|state| !state.begun || state.pid != 0 || !state.running);
    drop(tokio::time::timeout(LAUNCH, settled).await);
    if !found.state.borrow().running {
        return Err(Failure::ExecNotRunning(id.to_owned()));
    }
    api.actions.resize(id, rows, columns).await?;
    Ok(empty(StatusCode::OK))
}
