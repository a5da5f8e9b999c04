//! attach: the connection becomes the input and output of a container or an exec.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use berth_exec::Attach;
use berth_wire::docker::DetachKeys;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::ext::ReasonPhrase;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::params::Params;
use super::{Answer, Api, MAX_ATTACHED};
use crate::error::Failure;
use crate::execs::ExecState;
use crate::handle::Found;
use crate::logs::{self, LogOptions};

/// How long the news of an end may take; after that the client is let go without it.
const RECORDED: Duration = Duration::from_secs(5);

/// What is moved at a time.
const COPY_SIZE: usize = 32 * 1024;

/// One attached client: what to replay, the live connection to the keeper, and what its end of input means.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) replay: Option<mpsc::Receiver<io::Result<bytes::Bytes>>>,
    pub(super) live: Option<UnixStream>,
    pub(super) stdin: bool,
    /// The client's end of input is the container's.
    pub(super) close_stdin: bool,
    /// A terminal is left with these.
    pub(super) detach: Option<DetachKeys>,
    /// The client is let go only when the end is on record: it asks for the exit code next.
    pub(super) ended: Option<watch::Receiver<ExecState>>,
}

pub(crate) async fn attach(
    api: &Arc<Api>,
    id: &str,
    params: &Params,
    mut request: Request<Incoming>,
) -> Answer {
    let found = api.handle.find(id).await?;
    let upgrade = request.headers().contains_key(header::UPGRADE);
    if !upgrade && params.flag("stdin") && found.container.config.open_stdin {
        return Err(Failure::NoUpgrade);
    }
    let place = take_place(api)?;
    let session = open(api, &found, params).await?;
    api.events.publish(
        "container",
        "attach",
        &found.container.id,
        found.container.attributes(),
    );
    let on_upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
    Ok(respond(session, on_upgrade, place))
}

/// A place for one client.
pub(super) fn take_place(api: &Arc<Api>) -> Result<OwnedSemaphorePermit, Failure> {
    let place = Arc::clone(&api.attach_places).try_acquire_owned();
    place.map_err(|_| Failure::TooManyAttached(MAX_ATTACHED))
}

/// The answer that becomes a session; without an upgrade it is a body of output only.
pub(super) fn respond(
    session: Session,
    on_upgrade: Option<OnUpgrade>,
    place: OwnedSemaphorePermit,
) -> Response<Body> {
    let Some(on_upgrade) = on_upgrade else {
        return raw(Response::new(session.into_body()));
    };
    tokio::spawn(async move {
        match on_upgrade.await {
            // A client that goes away in the middle is no failure of anybody's.
            Ok(connection) => drop(session.run(TokioIo::new(connection)).await),
            Err(error) => tracing::debug!(%error, "a client left before its connection was upgraded"),
        }
        drop(place);
    });
    switching()
}

/// The answer behind which the connection is a raw stream.
pub(super) fn switching() -> Response<Body> {
    let mut response = raw(Response::new(Body::empty()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response
        .headers_mut()
        .insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    response
        .extensions_mut()
        .insert(ReasonPhrase::from_static(b"UPGRADED"));
    response
}

fn raw(mut response: Response<Body>) -> Response<Body> {
    let kind = HeaderValue::from_static("application/vnd.docker.raw-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

async fn open(api: &Arc<Api>, found: &Found, params: &Params) -> Result<Session, Failure> {
    let container = &found.container;
    let (stdout, stderr) = (params.flag("stdout"), params.flag("stderr"));
    let stdin = params.flag("stdin") && container.config.open_stdin;
    let keys = params.text("detachKeys");
    let detach = container.config.tty.then(|| DetachKeys::parse(keys));
    let detach = detach.transpose()?;
    let live = if params.flag("stream") {
        Some(
            api.actions
                .attach(
                    &container.id,
                    Attach {
                        stdin,
                        stdout,
                        stderr,
                        raw: container.config.tty,
                    },
                )
                .await?,
        )
    } else {
        None
    };
    let replay = (params.flag("logs") && container.spec.log.kept).then(|| {
        let options = LogOptions {
            stdout,
            stderr,
            since: None,
            until: None,
            tail: None,
            timestamps: false,
            details: false,
            follow: false,
            raw: container.config.tty,
        };
        logs::read(
            api.actions.paths(&container.id).log.into(),
            options,
            found.run.clone(),
        )
    });
    Ok(Session {
        replay,
        live,
        stdin,
        close_stdin: container.config.stdin_once && !container.config.tty,
        detach,
        ended: None,
    })
}

impl Session {
    /// Both directions until the output ends. The client's end of input ends only the input.
    pub(super) async fn run<C>(self, connection: C) -> io::Result<()>
    where
        C: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (mut client_reader, mut client_writer) = tokio::io::split(connection);
        if let Some(mut replay) = self.replay {
            while let Some(batch) = replay.recv().await {
                client_writer.write_all(&batch?).await?;
            }
        }
        let mut left = false;
        if let Some(live) = self.live {
            let (mut output, input) = live.into_split();
            let (stdin, close_stdin, keys) = (self.stdin, self.close_stdin, self.detach);
            let (detach, detached) = oneshot::channel();
            let input = tokio::spawn(async move {
                // Kept open after the end of input: dropping it would end the input of the container.
                let mut input = input;
                let copied = copy_input(&mut client_reader, &mut input, stdin, keys).await;
                if matches!(copied, Ok(InputEnd::Detached)) {
                    let _ = detach.send(());
                } else if stdin && close_stdin {
                    drop(input.shutdown().await);
                }
                input
            });
            let copied = tokio::select! {
                copied = copy_output(&mut output, &mut client_writer) => copied.map(|()| false),
                Ok(()) = detached => Ok(true),
            };
            input.abort();
            left = copied?;
        }
        if !left {
            recorded(self.ended).await;
        }
        client_writer.shutdown().await
    }

    /// Output only, for clients that asked for no upgrade.
    fn into_body(self) -> Body {
        let output = self.live.map(UnixStream::into_split);
        Body::from_stream(stream::unfold(
            (self.replay, output),
            |(mut replay, mut output)| async move {
                if let Some(pieces) = &mut replay
                    && let Some(batch) = pieces.recv().await
                {
                    return Some((batch, (replay, output)));
                }
                let (reader, _) = output.as_mut()?;
                let mut piece = vec![0; COPY_SIZE];
                match reader.read(&mut piece).await {
                    Ok(0) => None,
                    Ok(count) => {
                        piece.truncate(count);
                        Some((Ok(piece.into()), (None, output)))
                    }
                    Err(error) => Some((Err(error), (None, None))),
                }
            },
        ))
    }
}

async fn copy_output<W: AsyncWriteExt + Unpin>(output: &mut OwnedReadHalf, client: &mut W) -> io::Result<()> {
    let mut buffer = vec![0; COPY_SIZE];
    loop {
        let count = output.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        client.write_all(&buffer[..count]).await?;
        client.flush().await?;
    }
}

/// Waits until the end of a process is on record. One that was left running is not waited for.
async fn recorded(ended: Option<watch::Receiver<ExecState>>) {
    if let Some(mut state) = ended {
        drop(tokio::time::timeout(RECORDED, state.wait_for(|state| !state.running)).await);
    }
}

/// How input ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InputEnd {
    Eof,
    Detached,
}

async fn copy_input<R: AsyncReadExt + Unpin>(
    client: &mut R,
    input: &mut OwnedWriteHalf,
    stdin: bool,
    mut keys: Option<DetachKeys>,
) -> io::Result<InputEnd> {
    let mut buffer = vec![0; COPY_SIZE];
    let mut typed = Vec::new();
    loop {
        let count = client.read(&mut buffer).await?;
        if count == 0 {
            return Ok(InputEnd::Eof);
        }
        if !stdin {
            continue;
        }
        let Some(keys) = &mut keys else {
            input.write_all(&buffer[..count]).await?;
            continue;
        };
        typed.clear();
        let detached = keys.take(&buffer[..count], &mut typed);
        input.write_all(&typed).await?;
        if detached {
            return Ok(InputEnd::Detached);
        }
    }
}
