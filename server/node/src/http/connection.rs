//! One connection: plain requests to keys by a loop of our own, all else by hyper; the pace it has to keep, and where its
//! requests go.

use crate::clock::Clock;
use crate::handle::Shared;
use crate::http::auth::{self, Asker, Certified};
use crate::http::body::Body;
use crate::http::cors::Cors;
use crate::http::direct::{self, Fixed, Next};
use crate::http::error::Refused;
use crate::http::listener::Phase;
use crate::http::pace::{HEAD_MS, Pace, Paced};
use crate::http::path::{self, Path};
use crate::http::socket::Socket;
use crate::http::{Answer, App, MAX_TARGET_BYTES, error, keys, live};
use crate::metrics::Metrics;
use axum::Router;
use axum::response::IntoResponse as _;
use bytes::BytesMut;
use http::{HeaderMap, Method, Request, StatusCode, Version, header};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The head of a request: the target and 32 KiB of headers; a larger one is 431, as is one with more than 100 headers.
const MAX_HEAD_BYTES: usize = MAX_TARGET_BYTES + (32 << 10);

/// What a port answers.
#[derive(Debug)]
pub(crate) enum Surface {
    /// Clients.
    Clients {
        app: Arc<App>,
        routes: TowerToHyperService<Router>,
        fixed: Fixed,
    },
}

impl Surface {
    pub(crate) fn clients(app: Arc<App>, routes: Router) -> Surface {
        Surface::Clients {
            fixed: Fixed::new(&app),
            app,
            routes: TowerToHyperService::new(routes),
        }
    }

    async fn answer(&self, request: Request<Incoming>, pace: &Arc<Pace>) -> Answer {
        let Surface::Clients { app, routes, .. } = self;
        let origin = app.cors.origin(request.headers());
        let mut answer = Surface::reply(app, routes, request, pace).await;
        if let Some(origin) = origin {
            Cors::mark(answer.headers_mut(), origin);
        }
        answer
    }

    async fn reply(
        app: &App,
        routes: &TowerToHyperService<Router>,
        mut request: Request<Incoming>,
        pace: &Arc<Pace>,
    ) -> Answer {
        if let Some(name) = pace.client_name() {
            request.extensions_mut().insert(Certified(Arc::clone(name)));
        }
        if let Some(answer) = error::malformed_host(&request) {
            return answer;
        }
        if *request.method() == Method::OPTIONS {
            return error::plain(StatusCode::OK, "");
        }
        let uri = request.uri().clone();
        if uri
            .path_and_query()
            .is_some_and(|target| target.as_str().len() > MAX_TARGET_BYTES)
        {
            return error::plain(StatusCode::URI_TOO_LONG, "414 URI Too Long\n");
        }
        match path::read(uri.path()) {
            Path::Malformed => error::malformed_path(),
            Path::Elsewhere(clean) => error::elsewhere(&clean, uri.query(), request.method()),
            Path::Clean(path) => match path.strip_prefix(b"/v2/keys") {
                Some(key) if key.is_empty() || key.starts_with(b"/") => {
                    keys::answer(app, pace, key, request).await
                }
                _ => {
                    if auth::is_for_root(request.method(), &path) {
                        let asker = Asker::new(request.headers(), request.extensions());
                        if let Err(failure) = auth::require_root(app, asker).await {
                            return Refused::Failed(failure).into_response().map(Body::Routed);
                        }
                    }
                    let Ok(answer) = routes.call(request).await.map_err(|error: Infallible| error);
                    answer.map(Body::Routed)
                }
            },
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve<S: Socket>(
    socket: S,
    client_name: Option<Arc<str>>,
    surface: &Arc<Surface>,
    shared: &Shared,
    clock: Clock,
    mut phase: watch::Receiver<Phase>,
) {
    let mut io = Paced {
        socket,
        pace: Arc::new(Pace::new(clock).of_client(client_name)),
        ahead: BytesMut::new(),
        ended: false,
    };
    loop {
        // Boxed so that its memory is free while a watch is open.
        let answer = match Box::pin(plain(&mut io, surface, shared, &mut phase)).await {
            Next::Ended => return io.socket.part(),
            Next::Open(answer) => answer,
            Next::Hyper => {
                let Some((back, answer)) = Box::pin(exchange(io, surface, shared, &mut phase)).await else {
                    return;
                };
                io = back;
                answer
            }
        };
        if let Err(error) = live::send(&mut io, shared, answer, &mut phase).await {
            tracing::debug!(%error, "connection ended");
            return;
        }
        if *phase.borrow() > Phase::Open {
            return io.socket.part();
        }
    }
}

/// Answers plain requests to keys, of which most connections have no others.
async fn plain<S: Socket>(
    io: &mut Paced<S>,
    surface: &Surface,
    shared: &Shared,
    phase: &mut watch::Receiver<Phase>,
) -> Next {
    match surface {
        // Where every answer names the pages that may read it, hyper's side does so.
        Surface::Clients { app, .. } if app.cors.origin(&HeaderMap::new()).is_some() => Next::Hyper,
        Surface::Clients { app, fixed, .. } => direct::serve(io, app, fixed, shared, phase).await,
    }
}

/// Lets hyper answer requests, to the end of the connection or to an answer that stays open, which is given back.
async fn exchange<S: Socket>(
    io: Paced<S>,
    surface: &Arc<Surface>,
    shared: &Shared,
    phase: &mut watch::Receiver<Phase>,
) -> Option<(Paced<S>, Answer)> {
    let pace = Arc::clone(&io.pace);
    let kept = Mutex::new(None);
    let service = service_fn(|request: Request<Incoming>| {
        pace.work();
        // At once: hyper looks for an end of the connection before it first polls what is below.
        if request.body().is_end_stream() && !may_wait(&request) {
            pace.owe();
        }
        let (surface, pace, kept) = (Arc::clone(surface), Arc::clone(&pace), &kept);
        async move {
            let plain = is_plain(&request);
            let answer = surface.answer(request, &pace).await;
            pace.holds(answer.body().size_hint().lower());
            if !matches!(answer.body(), Body::Watch(_)) {
                pace.idle();
            } else if plain {
                *lock(kept) = Some(answer);
                return std::future::pending().await;
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = http1::Builder::new()
        // Some old clients compare the names of headers as text.
        .title_case_headers(true)
        // Our own pace has different limits for the first head and for the time between requests.
        .header_read_timeout(None)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service);
    let mut look = pin!(tokio::time::sleep(Duration::from_millis(HEAD_MS)));
    let mut seen = Phase::Open;
    let mut waits = None;
    let answer = loop {
        tokio::select! {
            biased;
            next = poll_fn(|context| {
                let next = poll(&mut connection, &kept, &pace, context);
                if next.is_pending() && pace.is_evicted(&mut waits, &shared.waiting, context) {
                    Metrics::add(&shared.metrics.cut_connections, 1);
                    return Poll::Ready(None);
                }
                next
            }) => break next?,
            () = look.as_mut() => match pace.left() {
                Some(left) => look.as_mut().reset(Instant::now() + left),
                None => {
                    Metrics::add(&shared.metrics.cut_connections, 1);
                    return None;
                }
            },
            changed = phase.wait_for(|phase| *phase > seen) => {
                // Whoever served this port is gone: so is the connection.
                seen = changed.map_or(Phase::Cut, |phase| *phase);
                if seen == Phase::Cut {
                    return None;
                }
                Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    // The next requests may have come already. Bytes that the connection put back are before those not read yet.
    let mut ahead = BytesMut::from(&parts.read_buf[..]);
    ahead.unsplit(std::mem::take(&mut io.ahead));
    io.ahead = ahead;
    Some((io, answer))
}

/// The end of the connection as `None`; or an answer that stays open, once all before it is sent.
fn poll<C: Future<Output = hyper::Result<()>> + Unpin>(
    connection: &mut C,
    kept: &Mutex<Option<Answer>>,
    pace: &Pace,
    context: &mut Context<'_>,
) -> Poll<Option<Answer>> {
    if let Poll::Ready(end) = Pin::new(connection).poll(context) {
        if let Err(error) = end {
            tracing::debug!(%error, "connection ended");
        }
        return Poll::Ready(None);
    }
    if pace.is_stalled() {
        return Poll::Pending;
    }
    match lock(kept).take() {
        Some(answer) => Poll::Ready(Some(answer)),
        None => Poll::Pending,
    }
}

/// Whether nothing but the answer is left of a request, and the connection goes on after it.
fn is_plain(request: &Request<Incoming>) -> bool {
    request.version() == Version::HTTP_11
        && request.body().is_end_stream()
        && !request.headers().contains_key(header::CONNECTION)
}

/// Whether the answer may take for as long as nothing happens: that of a watch, and of the modules with their queues.
fn may_wait(request: &Request<Incoming>) -> bool {
    let uri = request.uri();
    uri.query().is_some_and(|query| query.contains("wait")) || uri.path().starts_with("/mod/")
}

/// Only the connection's own task comes here.
fn lock(kept: &Mutex<Option<Answer>>) -> MutexGuard<'_, Option<Answer>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}
