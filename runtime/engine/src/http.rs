//! The whole URL surface of the Docker Engine API on one screen; the files below parse, call and render.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::sync::{RwLock, Semaphore};

use crate::actions::Actions;
use crate::error::Failure;
use crate::events::Events;
use crate::handle::Handle;
use crate::http::params::Params;

pub(crate) use containers::ImageNames;

mod archive;
mod attach;
mod body;
mod commit;
mod containers;
mod create;
mod disk;
mod error;
mod events;
mod exec;
mod images;
mod lifecycle;
mod logs;
mod metrics;
mod networks;
mod params;
mod prune;
mod quirks;
mod resize;
mod stats;
mod system;
mod top;
mod update;
mod volumes;
mod wait;

/// The newest version of the API that is answered.
pub(crate) const API_VERSION: &str = "1.44";

/// The oldest.
pub(crate) const MIN_API_VERSION: &str = "1.12";

const API_MINOR: u32 = 44;
const MIN_API_MINOR: u32 = 12;

/// What the handlers work with.
#[derive(Debug)]
pub(crate) struct Api {
    pub(crate) handle: Handle,
    pub(crate) actions: Actions,
    pub(crate) events: Arc<Events>,
    pub(crate) identity: Identity,
    /// Making a container reads an image, removing an image asks for its containers: never both at once.
    pub(crate) image_gate: RwLock<()>,
    /// Places for attached clients, whose connections are no longer counted by the listener.
    pub(crate) attach_places: Arc<Semaphore>,
}

/// Attached clients at once; further ones are refused.
pub(crate) const MAX_ATTACHED: usize = 1024;

/// What the daemon says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) version: String,
    pub(crate) git_commit: String,
    pub(crate) data_dir: String,
    pub(crate) cgroup_version: &'static str,
}

type Answer = Result<Response<Body>, Failure>;

/// Answers one request.
pub(crate) async fn serve(api: Arc<Api>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let version = api.identity.version.clone();
    let head = request.method() == Method::HEAD;
    let mut response = answer(api, request)
        .await
        .unwrap_or_else(|failure| error::response(&failure));
    if head {
        *response.body_mut() = Body::empty();
    }
    let headers = response.headers_mut();
    headers.insert("Api-Version", HeaderValue::from_static(API_VERSION));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    if let Ok(server) = HeaderValue::from_str(&format!("Berth/{version} (linux)")) {
        headers.insert(header::SERVER, server);
    }
    Ok(response)
}

async fn answer(api: Arc<Api>, request: Request<Incoming>) -> Answer {
    let path = percent_encoding::percent_decode_str(request.uri().path())
        .decode_utf8_lossy()
        .into_owned();
    let (minor, path) = split_version(&path)?;
    let params = Params::parse(request.uri().query().unwrap_or(""));
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    let method = request.method().clone();
    match (method.as_str(), segments.as_slice()) {
        ("GET" | "HEAD", ["_ping"]) => Ok(system::ping()),
        ("GET", ["version"]) => system::version(&api),
        ("GET", ["metrics"]) => metrics::metrics(&api).await,
        ("GET", ["system", "df"]) => disk::usage(&api).await,
        ("POST", ["build", "prune"]) => prune::build(&params),
        ("GET", ["info"]) => system::info(&api).await,
        ("GET", ["events"]) => events::events(&api, &params),

        ("GET", ["containers", "json"]) => containers::list(&api, &params).await,
        ("POST", ["containers", "create"]) => create::create(&api, &params, request).await,
        ("POST", ["containers", "prune"]) => prune::containers(&api, &params).await,
        ("GET", ["containers", id, "json"]) => containers::inspect(&api, id, &params).await,
        ("GET", ["containers", id, "logs"]) => logs::logs(&api, id, &params).await,
        ("GET", ["containers", id, "stats"]) => stats::stats(&api, id, &params).await,
        ("GET", ["containers", id, "top"]) => top::top(&api, id, &params).await,
        ("POST", ["containers", id, "update"]) => update::update(&api, id, request).await,
        ("POST", ["containers", id, "start"]) => lifecycle::start(&api, id, minor, request).await,
        ("POST", ["containers", id, "stop"]) => lifecycle::stop(&api, id, &params).await,
        ("POST", ["containers", id, "restart"]) => lifecycle::restart(&api, id, &params).await,
        ("POST", ["containers", id, "kill"]) => lifecycle::kill(&api, id, &params).await,
        ("POST", ["containers", id, "pause"]) => lifecycle::pause(&api, id).await,
        ("POST", ["containers", id, "unpause"]) => lifecycle::unpause(&api, id).await,
        ("POST", ["containers", id, "rename"]) => lifecycle::rename(&api, id, &params).await,
        ("POST", ["containers", id, "wait"]) => wait::wait(&api, id, &params).await,
        ("POST", ["containers", id, "attach"]) => attach::attach(&api, id, &params, request).await,
        ("POST", ["containers", id, "resize"]) => resize::resize(&api, id, &params).await,
        ("DELETE", ["containers", id]) => lifecycle::remove(&api, id, &params).await,

        ("HEAD", ["containers", id, "archive"]) => archive::stat(&api, id, &params).await,
        ("GET", ["containers", id, "archive"]) => archive::get(&api, id, &params).await,
        ("PUT", ["containers", id, "archive"]) => archive::put(&api, id, &params, request).await,
        ("GET", ["containers", id, "export"]) => archive::export(&api, id).await,
        ("GET", ["containers", id, "changes"]) => archive::changes(&api, id).await,
        ("POST", ["commit"]) => commit::commit(&api, &params, request).await,

        ("POST", ["containers", id, "exec"]) => exec::create(&api, id, request).await,
        ("POST", ["exec", id, "start"]) => exec::start(&api, id, request).await,
        ("POST", ["exec", id, "resize"]) => exec::resize(&api, id, &params).await,
        ("GET", ["exec", id, "json"]) => exec::inspect(&api, id).await,

        ("GET", ["images", "json"]) => images::list(&api, &params).await,
        ("POST", ["images", "prune"]) => prune::images(&api, &params).await,
        ("POST", ["images", "create"]) => images::create(&api, &params, request).await,
        ("GET", ["images", name @ .., "json"]) if !name.is_empty() => {
            images::inspect(&api, &name.join("/")).await
        }
        ("POST", ["images", name @ .., "tag"]) if !name.is_empty() => {
            images::tag(&api, &name.join("/"), &params).await
        }
        ("DELETE", ["images", name @ ..]) if !name.is_empty() => {
            images::remove(&api, &name.join("/"), &params).await
        }

        ("DELETE", ["containers", parent, alias]) => networks::unlink(&api, parent, alias, &params).await,

        (method, ["networks", rest @ ..]) => networks::answer(&api, method, rest, &params, request).await,
        // There are none, and clients ask.
        ("GET", ["plugins"]) => json(StatusCode::OK, &[(); 0]),
        ("GET", ["volumes"]) => volumes::list(&api, &params).await,
        ("POST", ["volumes", "create"]) => volumes::create(&api, request).await,
        ("POST", ["volumes", "prune"]) => volumes::prune(&api, &params, minor).await,
        ("GET", ["volumes", name]) => volumes::inspect(&api, name),
        ("DELETE", ["volumes", name]) => volumes::remove(&api, name, &params).await,
        (method, segments) => Err(unsupported(method, segments)),
    }
}

/// Requests of the API that this daemon knows of and does not serve, apart from those that nobody knows.
fn unsupported(method: &str, segments: &[&str]) -> Failure {
    Failure::Unsupported(match (method, segments) {
        ("GET", ["images", .., "history"]) => "the history of an image",
        ("GET", ["images", "get"] | ["images", .., "get"]) => "saving images",
        ("GET", ["images", "search"]) => "searching for images",
        ("POST", ["images", "load"]) => "loading images",
        ("POST", ["images", .., "push"]) => "pushing images",
        ("POST", ["build"] | ["session"]) => "building images",
        ("POST", ["auth"]) => "logging in to a registry",
        (_, ["plugins", ..]) => "managing plugins",
        _ => return Failure::NoSuchPage,
    })
}

/// Takes `/v1.NN` off a path. Without it the newest version is meant.
fn split_version(path: &str) -> Result<(u32, &str), Failure> {
    let Some((minor, rest)) = path.strip_prefix("/v1.").and_then(|rest| rest.split_once('/')) else {
        return Ok((API_MINOR, path));
    };
    let Ok(number) = minor.parse::<u32>() else {
        return Err(Failure::NoSuchPage);
    };
    let rest = &path[path.len() - rest.len() - 1..];
    match number {
        MIN_API_MINOR..=API_MINOR => Ok((number, rest)),
        ..MIN_API_MINOR => Err(Failure::TooOld(format!("1.{number}"))),
        _ => Err(Failure::TooNew(format!("1.{number}"))),
    }
}

/// A JSON answer.
fn json(status: StatusCode, document: &impl Serialize) -> Answer {
    let mut response = Response::new(Body::from(serde_json::to_vec(document)?));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// An answer without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let check = |path: &str| match split_version(path) {
            Ok((minor, rest)) => format!("{minor} {rest}"),
            Err(failure) => failure.to_string(),
        };
        assert_eq!(check("/info"), "44 /info");
        assert_eq!(check("/v1.41/containers/json"), "41 /containers/json");
        assert_eq!(check("/v1.12/_ping"), "12 /_ping");
        assert_eq!(
            check("/v1.99/info"),
            "client version 1.99 is too new. Maximum supported API version is 1.44"
        );
        assert_eq!(
            check("/v1.11/info"),
            "client version 1.11 is too old. Minimum supported API version is 1.12, please upgrade your client to a newer version"
        );
        assert_eq!(check("/v1.x/info"), "page not found");
    }

    #[test]
    fn what_is_not_served_is_named() {
        let check =
            |method: &str, path: &str| unsupported(method, &path.split('/').collect::<Vec<_>>()).to_string();
        assert_eq!(
            check("POST", "plugins/pull"),
            "managing plugins is not supported yet"
        );
        assert_eq!(
            check("POST", "images/127.0.0.1:5000/a/b/push"),
            "pushing images is not supported yet"
        );
        assert_eq!(check("GET", "nothing"), "page not found");
    }
}
