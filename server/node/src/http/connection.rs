//! One connection: HTTP/1.1 by hyper, the pace it has to keep, and where its requests go.

use crate::clock::Clock;
use crate::handle::Shared;
use crate::http::body::Body;
use crate::http::listener::Phase;
use crate::http::pace::{HEAD_MS, Pace, Paced};
use crate::http::path::{self, Path};
use crate::http::{Answer, App, MAX_TARGET_BYTES, error, keys, peers};
use crate::metrics::Metrics;
use axum::Router;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
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
    },
    /// Members that this version has no place for.
    Peers,
}

impl Surface {
    pub(crate) fn clients(app: Arc<App>, routes: Router) -> Surface {
        Surface::Clients {
            app,
            routes: TowerToHyperService::new(routes),
        }
    }

    async fn answer(&self, request: Request<Incoming>, pace: &Arc<Pace>) -> Answer {
        let Surface::Clients { app, routes } = self else {
            return peers::refuse();
        };
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
                    let Ok(answer) = routes.call(request).await.map_err(|error: Infallible| error);
                    answer.map(Body::Routed)
                }
            },
        }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve(
    socket: TcpStream,
    surface: &Arc<Surface>,
    shared: &Shared,
    clock: Clock,
    mut phase: watch::Receiver<Phase>,
) {
    let pace = Arc::new(Pace::new(clock));
    let io = TokioIo::new(Paced {
        socket,
        pace: Arc::clone(&pace),
    });
    let service = service_fn(|request| {
        let (surface, pace) = (Arc::clone(surface), Arc::clone(&pace));
        pace.work();
        async move {
            let answer = surface.answer(request, &pace).await;
            if !matches!(answer.body(), Body::Watch(_)) {
                pace.idle();
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            // Some old clients compare the names of headers as text.
            .title_case_headers(true)
            // Our own pace has different limits for the first head and for the time between requests.
            .header_read_timeout(None)
            .max_header_size(MAX_HEAD_BYTES)
            .serve_connection(io, service)
    );
    let mut look = pin!(tokio::time::sleep(Duration::from_millis(HEAD_MS)));
    let mut seen = Phase::Open;
    loop {
        tokio::select! {
            biased;
            end = connection.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            () = look.as_mut() => match pace.left() {
                Some(left) => look.as_mut().reset(Instant::now() + left),
                None => {
                    Metrics::add(&shared.metrics.cut_connections, 1);
                    return;
                }
            },
            changed = phase.wait_for(|phase| *phase > seen) => {
                // Whoever served this port is gone: so is the connection.
                seen = changed.map_or(Phase::Cut, |phase| *phase);
                if seen == Phase::Cut {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
