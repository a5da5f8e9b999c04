//! `/v2/keys`: parse, ask, render.

use crate::http::auth::{self, Asker, Permitted};
use crate::http::body::{self, Body};
use crate::http::error::{self, Failure};
use crate::http::keys_parse::{self, Wanted, bad};
use crate::http::pace::Pace;
use crate::http::{Answer, App, form, keys_render, watch};
use crate::hub::Wish;
use crate::metrics::Metrics;
use berth_store::{Key, Kind, code};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body as _;
use hyper::body::Incoming;
use std::sync::Arc;

pub(crate) const X_ETCD_CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
pub(crate) const X_ETCD_INDEX: HeaderName = HeaderName::from_static("x-etcd-index");
const X_RAFT_INDEX: HeaderName = HeaderName::from_static("x-raft-index");
const X_RAFT_TERM: HeaderName = HeaderName::from_static("x-raft-term");

const ALLOW: &str = "HEAD,GET,PUT,POST,DELETE";

/// Answers a request to a key, which is the decoded path after `/v2/keys`.
pub(crate) async fn answer(app: &App, pace: &Arc<Pace>, key: &[u8], request: Request<Incoming>) -> Answer {
    let (head, incoming) = request.into_parts();
    match head.method {
        Method::GET | Method::HEAD | Method::PUT | Method::POST | Method::DELETE => {}
        _ => return error::method_not_allowed(ALLOW),
    }
    match attempt(app, pace, key, head, incoming).await {
        Ok(success) => success.into_answer(app),
        Err(failure) => failure.answer(&app.cluster_id),
    }
}

/// An answer that is no refusal.
pub(crate) struct Success {
    pub(crate) status: StatusCode,
    /// The store's index.
    pub(crate) index: u64,
    /// The Raft index and term.
    pub(crate) raft: (u64, u64),
    /// [`Body::Full`] or [`Body::Watch`].
    pub(crate) body: Body,
}

async fn attempt(
    app: &App,
    pace: &Arc<Pace>,
    key: &[u8],
    head: Parts,
    incoming: Incoming,
) -> Result<Success, Failure> {
    let mut reserved = None;
    let mut form = None;
    let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    if has_form(&head.method, content_type)? {
        pace.body();
        reserved = Some(app.handle.reserve(body::expected_bytes(&incoming))?);
        let expects_continue = head.headers.contains_key(header::EXPECT);
        form = Some(
            body::read(incoming, expects_continue)
                .await
                .map_err(Failure::Form)?,
        );
        pace.work();
    } else if !incoming.is_end_stream() {
        pace.body();
        body::ignore(incoming, head.headers.contains_key(header::EXPECT)).await;
        pace.work();
    }
    let query = head.uri.query().unwrap_or_default().as_bytes();
    let wanted = keys_parse::parse(&head.method, key, query, form.as_deref())?;
    drop(form);
    let asker = Asker::new(&head.headers, &head.extensions);
    let permitted = auth::permit(app, asker, key, wanted).await?;
    let success = carry_out(app, pace, permitted).await;
    drop(reserved);
    success
}

/// Does what a request asks for.
pub(crate) async fn carry_out(app: &App, pace: &Arc<Pace>, permitted: Permitted) -> Result<Success, Failure> {
    let Permitted { wanted, guard } = permitted;
    match wanted {
        Wanted::Get {
            key,
            recursive,
            quorum,
        } => get(app, &key, recursive, quorum).await,
        Wanted::Write { kind, brief } => write(app, kind, brief).await,
        Wanted::Watch {
            key,
            recursive,
            stream,
            since,
        } => {
            let wish = Wish {
                key,
                recursive,
                stream,
                since,
            };
            watch::answer(app, pace, wish, guard).await
        }
    }
}

/// Whether the body counts: that of a PUT or POST, if it says that it is a form.
pub(crate) fn has_form(method: &Method, content_type: Option<&[u8]>) -> Result<bool, Failure> {
    if *method != Method::PUT && *method != Method::POST {
        return Ok(false);
    }
    form::is_form(content_type).map_err(|cause| bad(code::INVALID_FORM, cause).into())
}

async fn get(app: &App, key: &Key, recursive: bool, quorum: bool) -> Result<Success, Failure> {
    if quorum {
        app.handle.quorum_read().await??;
    }
    let published = app.handle.shared.published.load();
    let metrics = &app.handle.shared.metrics;
    match published.view.get(key, recursive) {
        Ok(node) => {
            Metrics::add(&metrics.gets, 1);
            let times = published.times;
            let now = times.cluster_now(&published.view, app.handle.clock.now());
            let body = keys_render::got(&node, times, now);
            Ok(Success {
                status: StatusCode::OK,
                index: published.view.index(),
                raft: (published.status.applied, published.status.term),
                body: full(body),
            })
        }
        Err(refused) => {
            Metrics::add(&metrics.failed_gets, 1);
            Err(refused.into())
        }
    }
}

async fn write(app: &App, kind: Kind, brief: bool) -> Result<Success, Failure> {
    let reply = app.handle.propose(kind).await?;
    let applied = reply.outcome?;
    let times = app.handle.shared.published.load().times;
    // A write of a client makes one event.
    let Some(event) = applied.event() else {
        return Err(bad(code::RAFT_INTERNAL, "no event").into());
    };
    let status = if event.is_new() {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let body = if brief {
        keys_render::brief(event.action)
    } else {
        keys_render::event(event, times)
    };
    Ok(Success {
        status,
        index: event.index,
        raft: (reply.applied, reply.term),
        body: full(body),
    })
}

fn full(document: Vec<u8>) -> Body {
    Body::Full(Bytes::from(document))
}

impl Success {
    /// The answer, with the headers of a success.
    pub(crate) fn into_answer(self, app: &App) -> Answer {
        let mut answer = Answer::new(self.body);
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(X_ETCD_CLUSTER_ID, app.cluster_id.clone());
        headers.insert(X_ETCD_INDEX, HeaderValue::from(self.index));
        headers.insert(X_RAFT_INDEX, HeaderValue::from(self.raft.0));
        headers.insert(X_RAFT_TERM, HeaderValue::from(self.raft.1));
        answer
    }
}
