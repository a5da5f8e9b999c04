//! The whole URL surface on one screen, and who serves it.

mod body;
mod connection;
mod error;
mod form;
mod health;
mod json;
mod keys;
mod keys_parse;
mod keys_render;
mod listener;
mod live;
mod members;
mod metrics;
mod pace;
mod path;
mod peers;
mod stats;
mod version;
mod watch;

pub(crate) use listener::{Serving, addresses, listen, listen_on};

use crate::config::NodeConfig;
use crate::handle::Handle;
use axum::Router;
use axum::routing::any;
use body::Body;
use connection::Surface;
use http::HeaderValue;
use hyper::Response;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The longest request target, in bytes; a longer one is 414. The longest key fits.
pub(crate) const MAX_TARGET_BYTES: usize = 8 << 10;

/// Everything but `/v2/keys`, which `Surface` hands to [`keys::answer`] without going through a router: it is the path that
/// has to be fast. Methods are refused by the handlers, with etcd's words.
fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/v2/members", any(members::members))
        .route("/v2/members/", any(members::members))
        .route("/v2/members/{*rest}", any(members::member))
        .route("/v2/machines", any(members::machines))
        .route("/v2/stats/self", any(stats::own))
        .route("/v2/stats/leader", any(stats::leader))
        .route("/v2/stats/store", any(stats::store))
        .route("/version", any(version::version))
        .route("/health", any(health::health))
        .route("/metrics", any(metrics::metrics))
        .fallback(error::page_not_found)
        .with_state(app)
}

/// What the handlers know.
#[derive(Debug)]
pub(crate) struct App {
    handle: Handle,
    name: String,
    member_id: String,
    cluster_id: HeaderValue,
    client_urls: Vec<String>,
    peer_urls: Vec<String>,
    started: time::OffsetDateTime,
}

impl App {
    pub(crate) fn new(
        handle: Handle,
        config: &NodeConfig,
        client_addrs: &[SocketAddr],
        peer_addr: Option<SocketAddr>,
    ) -> App {
        let urls = |addresses: &[SocketAddr]| {
            addresses
                .iter()
                .map(|address| format!("http://{address}"))
                .collect::<Vec<_>>()
        };
        let client_urls = if config.advertise_client_urls.is_empty() {
            urls(client_addrs)
        } else {
            config.advertise_client_urls.clone()
        };
        let cluster_id = format!("{:x}", handle.identity.cluster);
        App {
            name: config.name.clone(),
            member_id: format!("{:x}", handle.identity.member),
            // Hexadecimal digits are always a valid value.
            cluster_id: HeaderValue::from_str(&cluster_id).unwrap_or(HeaderValue::from_static("0")),
            client_urls,
            peer_urls: peer_addr.map(|address| urls(&[address])).unwrap_or_default(),
            started: keys_render::moment(crate::clock::wall_ms()),
            handle,
        }
    }
}

/// Serves clients until it is told to end.
pub(crate) fn serve_clients(listeners: Vec<TcpListener>, app: App) -> Serving {
    let app = Arc::new(app);
    let shared = Arc::clone(&app.handle.shared);
    let clock = app.handle.clock;
    let routes = routes(Arc::clone(&app));
    listener::serve(listeners, Surface::clients(app, routes), shared, clock)
}

/// Answers other members that there is no place for them yet.
pub(crate) fn serve_peers(listener: TcpListener, handle: &Handle) -> Serving {
    let shared = Arc::clone(&handle.shared);
    listener::serve(vec![listener], Surface::Peers, shared, handle.clock)
}

/// An answer on its way.
pub(crate) type Answer = Response<Body>;
