//! exec: another process in a running container, made, started and looked at.

use std::io;
use std::sync::Arc;

use berth_exec::Attach;
use berth_wire::docker::{DetachKeys, ExecConfig, ExecStart, IdResponse, Stream, encode_frame};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::attach::{Session, respond, take_place};
use super::params::Params;
use super::resize::size;
use super::{Answer, Api, body, empty, json};
use crate::error::Failure;
use crate::execs;
use crate::handle::Begun;

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
    // On its own: what has begun comes to its end, also without its client.
    let running = tokio::spawn(run(Arc::clone(api), begun, detach));
    let session = running.await.map_err(|_| Failure::Stopping)??;
    match (session, place) {
        (Some(session), Some(place)) => Ok(respond(session, on_upgrade, place)),
        _ => Ok(empty(StatusCode::OK)),
    }
}

/// Starts it. A client that waits for its output gets the reason of a failure as output, as Docker does.
async fn run(api: Arc<Api>, begun: Begun, detach: bool) -> Result<Option<Session>, Failure> {
    let Begun {
        container,
        found,
        spec,
    } = begun;
    let config = found.exec.config.clone();
    let attach = Attach {
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr && !config.tty,
        raw: config.tty,
    };
    let live = if detach {
        None
    } else {
        match api.actions.attach(&found.exec.id, attach).await {
            Ok(live) => Some(live),
            Err(failure) => {
                api.actions.exec_failed(&found.exec.id).await;
                return Err(failure);
            }
        }
    };
    let failed = api.actions.launch_exec(&container, spec).await;
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
    let found = api.handle.find_exec(id).await?;
    if !found.state.borrow().running {
        return Err(Failure::ExecNotRunning(id.to_owned()));
    }
    api.actions.resize(id, rows, columns).await?;
    Ok(empty(StatusCode::OK))
}
