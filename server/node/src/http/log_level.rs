//! `/config/local/log`: the level of the log, while it runs.

use crate::config::LogLevel;
use crate::http::App;
use crate::http::error::{Refused, allow};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use std::sync::Arc;
use std::time::Duration;

/// More than any document with a level; a longer one is refused.
const MAX_DOCUMENT_BYTES: usize = 1 << 10;

/// For the document to come.
const DOCUMENT_TIME: Duration = Duration::from_secs(5);

/// Takes `{"Level":"DEBUG"}`.
pub(crate) async fn log_level(
    State(app): State<Arc<App>>,
    method: Method,
    body: Body,
) -> Result<Response, Refused> {
    allow(&method, "PUT")?;
    let Some(control) = &app.set_log_level else {
        return Err(Refused::FixedLog);
    };
    let read = tokio::time::timeout(DOCUMENT_TIME, axum::body::to_bytes(body, MAX_DOCUMENT_BYTES)).await;
    let Ok(Ok(document)) = read else {
        return Err(Refused::LogDocument);
    };
    let word = word(&document).ok_or(Refused::LogDocument)?;
    let Some(level) = level(&word) else {
        return Err(Refused::LogLevel(word));
    };
    if !control.set(level) {
        return Err(Refused::FixedLog);
    }
    tracing::info!(?level, "the level of the log was changed");
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The level's name in the document. A document without one has the empty name, as for etcd.
fn word(document: &[u8]) -> Option<String> {
    let document: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(document).ok()?;
    let found = document
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("level"));
    match found {
        None => Some(String::new()),
        Some((_, value)) => value.as_str().map(str::to_owned),
    }
}

fn level(word: &str) -> Option<LogLevel> {
    match word.to_ascii_uppercase().as_str() {
        "CRITICAL" | "ERROR" => Some(LogLevel::Error),
        "WARNING" => Some(LogLevel::Warn),
        "NOTICE" | "INFO" => Some(LogLevel::Info),
        "DEBUG" => Some(LogLevel::Debug),
        "TRACE" => Some(LogLevel::Trace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{level, word};
    use crate::config::LogLevel;

    #[test]
    fn documents_are_read_in_any_case() {
        for (document, name) in [
            ("{\"Level\":\"debug\"}", Some("debug")),
            ("{\"LEVEL\":\"x\",\"a\":1}", Some("x")),
            ("{}", Some("")),
            ("{\"Level\":1}", None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(word(document.as_bytes()).as_deref(), name, "{document}");
        }
        assert_eq!(level("Warning"), Some(LogLevel::Warn));
        assert_eq!(level("warn"), None);
    }
}
