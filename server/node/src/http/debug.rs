//! `/debug/vars`: what etcd's variables tell and this program has as well. It has no memory statistics of Go's.

use crate::http::App;
use crate::http::error::{Refused, allow};
use crate::http::{process, stats};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, header};
use std::sync::Arc;

pub(crate) async fn vars(State(app): State<Arc<App>>, method: Method) -> Result<Response, Refused> {
    allow(&method, "GET")?;
    let status = app.handle.published().status;
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let variables = serde_json::json!({
        "cmdline": words,
        "file_descriptor_limit": process::most_descriptors(),
        "raft.status": {
            "id": app.member_id,
            "term": status.term,
            "commit": status.commit,
            "applied": status.applied,
            "lead": format!("{:x}", status.leader),
            "raftState": stats::role_name(status.role),
        },
    });
    let json = HeaderValue::from_static("application/json; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, json)], format!("{variables:#}\n")).into_response())
}
