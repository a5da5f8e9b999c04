//! `/health`: there is a leader, and a quorum read succeeds in time.

use crate::http::App;
use crate::http::error::{Refused, allow};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use berth_wire::etcd::Health;
use http::{HeaderValue, Method, header};
use std::sync::Arc;
use std::time::Duration;

/// How long a healthy member takes at most for a quorum read; beyond, the answer is 503.
const PATIENCE: Duration = Duration::from_secs(1);

pub(crate) async fn health(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    let led = app.handle.published().status.leader != 0;
    let read = tokio::time::timeout(PATIENCE, app.handle.quorum_read()).await;
    if !led || !matches!(read, Ok(Ok(Ok(())))) {
        return Err(Refused::Unhealthy);
    }
    let health = Health {
        health: "true".to_owned(),
    };
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let body = serde_json::to_string(&health).unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, text)], body).into_response())
}
