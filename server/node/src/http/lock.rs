//! `/mod/v2/lock/NAME`: etcd's lock module, which keeps a queue of in-order keys.

pub(crate) mod queue;

use crate::http::auth::{self, Asker};
use crate::http::error::{Denied, Failure, allow};
use crate::http::{App, form, path};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use berth_store::{StoreError, Value, code};
use http::{HeaderValue, Method, Uri, header};
use queue::{Acquire, Place, Queue, Which};
use std::sync::Arc;
use std::time::Duration;

const PREFIX: &[u8] = b"/mod/v2/lock/";

/// The largest form; a larger one is refused with 413. The value of a lock is a name.
const MAX_FORM_BYTES: usize = 64 << 10;

/// For the body of a request; a slower one is refused.
const FORM_TIME: Duration = Duration::from_secs(30);

/// The longest time-out that is told from waiting for ever, in seconds.
const MAX_TIMEOUT: u64 = 365 * 24 * 3_600;

/// `timeout` is not a number.
const TIMEOUT_NOT_A_NUMBER: u16 = 205;
/// Neither `index` nor `value` is given.
const INDEX_OR_VALUE: u16 = 207;
/// Both are given.
const INDEX_AND_VALUE: u16 = 208;

/// POST waits for the lock, PUT keeps it, DELETE lets it go, GET tells who has it.
pub(crate) async fn lock(State(app): State<Arc<App>>, request: Request) -> Result<Response, Denied> {
    allow(request.method(), "GET,POST,PUT,DELETE")?;
    let queue = Queue::new(&app.handle, &name_of(request.uri(), PREFIX)?)?;
    let asker = Asker::new(request.headers(), request.extensions());
    permit(&app, &queue, asker, request.method()).await?;
    let method = request.method().clone();
    let words = Words::read(&app, request).await?;
    match method {
        Method::POST => acquire(&queue, &words, words.get("value").unwrap_or_default().into()).await,
        Method::PUT => {
            let which = which(&words, "Renew")?;
            let ttl = ttl(&words, "Renew")?;
            queue.renew(&queue.find(which).await?, ttl).await?;
            Ok(text(String::new()))
        }
        Method::DELETE => {
            let which = which(&words, "Release")?;
            queue.release(queue.find(which).await?).await?;
            Ok(text(String::new()))
        }
        _ => {
            let shown: fn(Place) -> String = match words.get("field") {
                None | Some(b"" | b"value") => |place| place.value(),
                Some(b"index") => |place| place.index().to_string(),
                Some(_) => return Err(parameter(code::INVALID_FIELD, "Get")),
            };
            Ok(text(queue.holder().await?.map_or(String::new(), shown)))
        }
    }
}

/// Lets those pass whose rights on the key of the queue suffice.
pub(crate) async fn permit(
    app: &App,
    queue: &Queue<'_>,
    asker: Asker<'_>,
    method: &Method,
) -> Result<(), Denied> {
    let permitted = auth::permit_lock(app, asker, queue.path(), method).await;
    permitted.map_err(Denied::NotPermitted)
}

/// Waits for the lock under a value, which may be empty.
pub(crate) async fn acquire(queue: &Queue<'_>, words: &Words, value: Value) -> Result<Response, Denied> {
    let timeout = match words.get("timeout") {
        None | Some(b"") => None,
        Some(word) => {
            let seconds = number(word).ok_or_else(|| parameter(TIMEOUT_NOT_A_NUMBER, "Acquire"))?;
            Some(Duration::from_secs(seconds.min(MAX_TIMEOUT)))
        }
    };
    let ttl = ttl(words, "Acquire")?;
    let index = queue.acquire(Acquire { value, ttl, timeout }).await?;
    Ok(text(index.to_string()))
}

/// A lock without a life would be gone before its holder knew of it.
fn ttl(words: &Words, cause: &str) -> Result<u64, Denied> {
    words
        .get("ttl")
        .and_then(number)
        .filter(|ttl| *ttl > 0)
        .ok_or_else(|| parameter(code::TTL_NOT_A_NUMBER, cause))
}

fn which(words: &Words, cause: &str) -> Result<Which, Denied> {
    let given = |name| words.get(name).filter(|word| !word.is_empty());
    match (given("index"), given("value")) {
        (Some(index), None) => Ok(Which::Index(index.to_vec())),
        (None, Some(value)) => Ok(Which::Value(value.into())),
        (None, None) => Err(parameter(INDEX_OR_VALUE, cause)),
        (Some(_), Some(_)) => Err(parameter(INDEX_AND_VALUE, cause)),
    }
}

fn number(word: &[u8]) -> Option<u64> {
    let digits = Some(word).filter(|word| !word.is_empty() && word.iter().all(u8::is_ascii_digit));
    str::from_utf8(digits?).ok()?.parse().ok()
}

/// A refusal of a parameter.
pub(crate) fn parameter(code: u16, cause: &str) -> Denied {
    Denied::Parameter(StoreError::new(code, cause, 0))
}

/// An answer in plain text.
pub(crate) fn text(text: String) -> Response {
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    ([(header::CONTENT_TYPE, plain)], text).into_response()
}

/// The decoded rest of the path, which may have slashes in it.
pub(crate) fn name_of(uri: &Uri, prefix: &[u8]) -> Result<Vec<u8>, Denied> {
    let path::Path::Clean(path) = path::read(uri.path()) else {
        return Err(Denied::NoRoute);
    };
    match path.strip_prefix(prefix) {
        Some(name) if !name.is_empty() => Ok(name.to_vec()),
        Some(_) | None => Err(Denied::NoRoute),
    }
}

/// The parameters of a request: name and value, the body's before the query's.
pub(crate) struct Words(Vec<(Vec<u8>, Vec<u8>)>);

impl Words {
    /// Reads them. The body counts if it is a form.
    pub(crate) async fn read(app: &App, request: Request) -> Result<Words, Denied> {
        let (head, body) = request.into_parts();
        let unreadable = |cause: &str| parameter(code::INVALID_FORM, cause);
        let has_form = (head.method == Method::PUT || head.method == Method::POST)
            && form::is_form(head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes))
                .map_err(unreadable)?;
        let mut form = None;
        if has_form {
            let reserved = app.handle.reserve(MAX_FORM_BYTES).map_err(Failure::from)?;
            let read = tokio::time::timeout(FORM_TIME, axum::body::to_bytes(body, MAX_FORM_BYTES)).await;
            let read = read.map_err(|_| unreadable("unexpected EOF"))?;
            form = Some(read.map_err(|_| Denied::Unreadable)?);
            drop(reserved);
        }
        let mut words = Vec::new();
        let query = head.uri.query().unwrap_or_default().as_bytes();
        form::pairs(form.as_deref(), query, |name, value| {
            words.push((name.to_vec(), value.into_owned()));
        })
        .map_err(|cause| unreadable(&cause))?;
        Ok(Words(words))
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(found, _)| found == name.as_bytes());
        found.map(|(_, value)| value.as_slice())
    }
}
