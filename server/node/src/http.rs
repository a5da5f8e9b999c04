//! The whole URL surface on one screen, and who serves it.

mod auth;
mod backup;
mod body;
mod callers;
mod connection;
mod cors;
mod date;
mod debug;
mod direct;
mod error;
mod form;
#[cfg(test)]
mod fuzz;
mod health;
mod json;
mod keys;
mod keys_parse;
pub(crate) mod keys_render;
mod leader;
mod listener;
mod live;
mod lock;
mod log_level;
mod members;
mod metrics;
mod pace;
mod path;
mod process;
mod socket;
mod stats;
mod version;
mod watch;

pub use version::COMPATIBLE as ETCD_VERSION;

pub(crate) use listener::{Bound, Serving, listen, listen_on, url};

use crate::config::{NodeConfig, SetLogLevel};
use crate::handle::Handle;
use crate::tls::Tls;
use axum::Router;
use axum::routing::any;
use body::Body;
use connection::Surface;
use cors::Cors;
use http::HeaderValue;
use hyper::Response;
use std::sync::Arc;
use tokio::sync::Semaphore;

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
        .route("/v2/auth/users", any(auth::api::users))
        .route("/v2/auth/users/", any(auth::api::users))
        .route("/v2/auth/users/{*rest}", any(auth::api::users))
        .route("/v2/auth/roles", any(auth::api::roles))
        .route("/v2/auth/roles/", any(auth::api::roles))
        .route("/v2/auth/roles/{*rest}", any(auth::api::roles))
        .route("/v2/auth/enable", any(auth::api::enable))
        .route("/v2/stats/self", any(stats::own))
        .route("/v2/stats/leader", any(stats::leader))
        .route("/v2/stats/store", any(stats::store))
        .route("/version", any(version::version))
        .route("/health", any(health::health))
        .route("/metrics", any(metrics::metrics))
        .route("/debug/vars", any(debug::vars))
        .route("/berth/backup", any(backup::backup))
        .route("/berth/members", any(members::standings))
        .route("/config/local/log", any(log_level::log_level))
        .route("/mod/v2/lock/{*name}", any(lock::lock))
        .route("/mod/v2/leader/{*name}", any(leader::leader))
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
    started: time::OffsetDateTime,
    cors: Cors,
    set_log_level: Option<SetLogLevel>,
    passwords: auth::Passwords,
    /// Places of backups that are being read.
    backups: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(handle: Handle, config: &NodeConfig) -> App {
        let cluster_id = format!("{:x}", handle.identity.cluster);
        App {
            name: config.name.clone(),
            member_id: format!("{:x}", handle.identity.member),
            // Hexadecimal digits are always a valid value.
            cluster_id: HeaderValue::from_str(&cluster_id).unwrap_or(HeaderValue::from_static("0")),
            cors: Cors::new(&config.cors),
            set_log_level: config.set_log_level.clone(),
            started: keys_render::moment(crate::clock::wall_ms()),
            passwords: auth::Passwords::new(),
            backups: Arc::new(Semaphore::new(backup::MAX_BACKUPS)),
            handle,
        }
    }
}

/// Serves clients until it is told to end.
pub(crate) fn serve_clients(listeners: Vec<Bound>, tls: Option<&Arc<Tls>>, app: App) -> Serving {
    let app = Arc::new(app);
    let shared = Arc::clone(&app.handle.shared);
    let clock = app.handle.clock;
    let routes = routes(Arc::clone(&app));
    listener::serve(listeners, tls, Surface::clients(app, routes), shared, clock)
}

/// An answer on its way.
pub(crate) type Answer = Response<Body>;
