//! `GET /berth/backup`: one consistent image of the state as a file in frames (`backup.rs`), made while it is read.
//!
//! It contains every write that was answered before the request. With `?stale=true` it needs no quorum, and may lack
//! the last of them.

use crate::backup::{BackupBody, BackupHead};
use crate::bootstrap;
use crate::http::App;
use crate::http::error::{Refused, allow};
use crate::http::keys::X_ETCD_CLUSTER_ID;
use crate::metrics::Metrics;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body::{Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::OwnedSemaphorePermit;

/// Backups that are read at the same time; one more is refused with 503. Each keeps alive what the state was at its
/// beginning, so that many of them, read slowly, could take much memory.
pub(crate) const MAX_BACKUPS: usize = 2;

/// A backup that holds its place among those that are read.
struct Held {
    body: BackupBody,
    _permit: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

pub(crate) async fn backup(
    State(app): State<Arc<App>>,
    method: Method,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    let stale = match query.as_deref() {
        None | Some("" | "stale=false") => false,
        Some("stale=true") => true,
        Some(_) => return Err(Refused::Parameters("there is nothing but stale=true")),
    };
    let permit = Arc::clone(&app.backups).try_acquire_owned();
    let permit = permit.map_err(|_| Refused::Unavailable("two other backups are being taken"))?;
    if !stale && !matches!(app.handle.quorum_read().await, Ok(Ok(()))) {
        return Err(Refused::Unavailable(
            "there is no quorum; stale=true takes what this member has",
        ));
    }
    let ended = |_| Refused::Unavailable("the member is busy or ends");
    let image = app.handle.image().await.map_err(ended)?;
    let head = BackupHead {
        id: format!("{:016x}", bootstrap::random().unwrap_or_default()),
        cluster: format!("{:x}", app.handle.identity.cluster),
        member: app.member_id.clone(),
        name: app.name.clone(),
        index: image.store.index(),
        raft_index: image.applied,
        term: image.term,
        nodes: image.store.view().len() as u64,
        taken: u64::try_from(crate::clock::wall_ms() / 1_000).unwrap_or(0),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    Metrics::add(&app.handle.shared.metrics.backups, 1);
    tracing::info!(
        index = head.index,
        raft_index = head.raft_index,
        "a backup is taken"
    );
    let body = Body::new(Held {
        body: BackupBody::new(head, &image.store),
        _permit: permit,
    });
    let kind = HeaderValue::from_static("application/octet-stream");
    let named = (X_ETCD_CLUSTER_ID, app.cluster_id.clone());
    Ok(([(header::CONTENT_TYPE, kind), named], body).into_response())
}
