//! `/health`: there is a leader, a quorum read succeeds in time, and the disk takes what is written.

use crate::http::App;
use crate::http::error::{Refused, allow};
use crate::metrics::{Metrics, REASONS};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use berth_wire::etcd::Health;
use http::{HeaderValue, Method, header};
use std::sync::Arc;
use std::time::Duration;

/// How long a healthy member takes at most for a quorum read; beyond, the answer is 503.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a write to the log may take on a healthy disk. Slow ones take tenths of seconds; one that hangs holds up
/// everything but reads.
const WRITE_PATIENCE_MS: u64 = 5_000;

pub(crate) async fn health(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    let own = &app.handle.shared.metrics;
    if let Some(reason) = trouble(&app).await {
        Metrics::add(&own.unhealthy[reason], 1);
        tracing::debug!(reason = REASONS[reason], "not healthy");
        return Err(Refused::Unhealthy);
    }
    Metrics::add(&own.healthy, 1);
    let health = Health {
        health: "true".to_owned(),
    };
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let body = serde_json::to_string(&health).unwrap_or_default();
    Ok(([(header::CONTENT_TYPE, text)], body).into_response())
}

/// What is wrong, as a place in [`REASONS`].
async fn trouble(app: &App) -> Option<usize> {
    let own = &app.handle.shared.metrics;
    if app.handle.published().status.leader == 0 {
        return Some(0);
    }
    if !app.handle.has_room() {
        return Some(2);
    }
    if own.write_ms(app.handle.clock.now()) > WRITE_PATIENCE_MS {
        return Some(3);
    }
    if Metrics::get(&own.image_failing) > 0 {
        return Some(4);
    }
    let read = tokio::time::timeout(PATIENCE, app.handle.quorum_read()).await;
    (!matches!(read, Ok(Ok(Ok(()))))).then_some(1)
}
