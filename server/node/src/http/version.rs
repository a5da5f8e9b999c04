//! `/version`.

use crate::http::error::{Refused, allow};
use axum::response::{IntoResponse, Response};
use berth_wire::etcd::Version;
use http::{HeaderValue, Method, header};

/// The release of etcd whose v2 API this is: clients choose what they may ask for by it.
pub const COMPATIBLE: &str = "3.4.23";
pub(crate) const COMPATIBLE_CLUSTER: &str = "3.4.0";

pub(crate) async fn version(method: Method) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    let version = Version {
        etcdserver: COMPATIBLE.to_owned(),
        etcdcluster: COMPATIBLE_CLUSTER.to_owned(),
    };
    let json = HeaderValue::from_static("application/json");
    let body = serde_json::to_string(&version).unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, json)], body).into_response())
}
