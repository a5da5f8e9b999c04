//! The only place that chooses status codes of refusals.

use crate::handle::Refusal;
use crate::http::body::{Body, Unread};
use crate::http::keys::{X_ETCD_CLUSTER_ID, X_ETCD_INDEX};
use crate::http::{Answer, json, keys_render};
use axum::response::{IntoResponse, Response};
use berth_replica::ReplyError;
use berth_store::{StoreError, code};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Version, header};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a request to `/v2/keys` has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The keyspace or a parameter check refused: no effect.
    Store(StoreError),
    /// The replica has no result.
    Reply(ReplyError),
    /// Turned away before the replica saw it: no effect.
    Refused(Refusal),
    /// The form could not be read: no effect.
    Form(Unread),
    /// There are as many watches as there may be.
    TooManyWatches,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl From<ReplyError> for Failure {
    fn from(error: ReplyError) -> Failure {
        Failure::Reply(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl Failure {
    /// The status and the document.
    fn parts(self) -> (StatusCode, StoreError) {
        let internal = |cause: &str| StoreError::new(code::RAFT_INTERNAL, cause, 0);
        let form = |cause: &str| StoreError::new(code::INVALID_FORM, cause, 0);
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        match self {
            Failure::Store(error) => (status_of(error.code), error),
            Failure::Reply(ReplyError::Store(error)) => (status_of(error.code), error),
            Failure::Reply(error) => (
                status_without_result(&error),
                internal(&format!("etcdserver: {error}")),
            ),
            Failure::Refused(Refusal::DiskFull) => (
                unavailable,
                internal("the disk is full: writes are refused until there is room"),
            ),
            Failure::Refused(Refusal::Overloaded) => (unavailable, internal("etcdserver: too many requests")),
            Failure::Refused(Refusal::Stopped) => (
                StatusCode::INTERNAL_SERVER_ERROR,
                internal("etcdserver: server stopped"),
            ),
            Failure::Form(Unread::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, form("http: POST too large")),
            Failure::Form(Unread::Cut) => (StatusCode::BAD_REQUEST, form("unexpected EOF")),
            Failure::TooManyWatches => (unavailable, internal("too many watches")),
        }
    }

    /// The answer. Errors carry the index of their document and no Raft headers.
    pub(crate) fn answer(self, cluster_id: &HeaderValue) -> Answer {
        let (status, error) = self.parts();
        let mut answer = Answer::new(Body::Full(keys_render::error(&error).into()));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(X_ETCD_CLUSTER_ID, cluster_id.clone());
        headers.insert(X_ETCD_INDEX, HeaderValue::from(error.index));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

/// The status of an error of the keys API; any code without one of its own is 400.
fn status_of(number: u16) -> StatusCode {
    match number {
        code::KEY_NOT_FOUND => StatusCode::NOT_FOUND,
        code::COMPARE_FAILED | code::KEY_EXISTS => StatusCode::PRECONDITION_FAILED,
        code::NOT_A_FILE | code::DIRECTORY_NOT_EMPTY => StatusCode::FORBIDDEN,
        code::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
        code::AUTH_FORBIDDEN => StatusCode::FORBIDDEN,
        code::AUTH_NOT_FOUND => StatusCode::NOT_FOUND,
        code::AUTH_CONFLICT => StatusCode::CONFLICT,
        code::RAFT_INTERNAL | code::LEADER_ELECTION => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// 500 if nobody can know whether it was done, another status if it certainly was not.
fn status_without_result(error: &ReplyError) -> StatusCode {
    match error {
        ReplyError::Store(refused) => status_of(refused.code),
        ReplyError::TimedOut | ReplyError::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
        ReplyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ReplyError::NoLeader | ReplyError::Overloaded | ReplyError::Dropped | ReplyError::Superseded => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// A short answer in plain text.
pub(crate) fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Answer::new(Body::Full(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    if !text.is_empty() {
        answer.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    }
    answer
}

/// A method that the route does not have.
pub(crate) fn method_not_allowed(allow: &'static str) -> Answer {
    let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    let headers = answer.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if !allow.is_empty() {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    answer
}

/// A path with a percent sign that means nothing.
pub(crate) fn malformed_path() -> Answer {
    malformed("400 Bad Request")
}

/// What is wrong with the hosts that a request names: HTTP/1.1 wants exactly one.
pub(crate) fn malformed_host<B>(request: &Request<B>) -> Option<Answer> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), Some(_)) => Some(malformed("400 Bad Request")),
        (None, _) if request.version() == Version::HTTP_11 => {
            Some(malformed("400 Bad Request: missing required Host header"))
        }
        (Some(_), None) | (None, _) => None,
    }
}

/// Who sends this may send anything next: the connection ends.
fn malformed(text: &'static str) -> Answer {
    let mut answer = plain(StatusCode::BAD_REQUEST, text);
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(header::CONNECTION, close);
    answer
}

/// A path that is not in its clean form: the client is sent to that, and nothing is done.
pub(crate) fn elsewhere(path: &str, query: Option<&str>, method: &Method) -> Answer {
    let location = match query {
        Some(query) if !query.is_empty() => format!("{path}?{query}"),
        Some(_) | None => path.to_owned(),
    };
    let mut answer = plain(StatusCode::MOVED_PERMANENTLY, "");
    if method == Method::GET || method == Method::HEAD {
        let link = location
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;");
        let text = format!("<a href=\"{link}\">Moved Permanently</a>.\n\n");
        *answer.body_mut() = Body::Full(text.into());
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, html);
    }
    // What came in as a target is a valid value, and so is its encoded form.
    if let Ok(location) = HeaderValue::try_from(location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

/// A route that does not exist.
pub(crate) async fn page_not_found() -> Response {
    not_found()
}

fn not_found() -> Response {
    let nosniff = [
        (header::CONTENT_TYPE, TEXT),
        (
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        ),
    ];
    (StatusCode::NOT_FOUND, nosniff, "404 page not found\n").into_response()
}

/// Why a route other than `/v2/keys` refuses.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The route does not have the method; these it has.
    Method(&'static str),
    /// There is no such thing.
    NotFound,
    /// Nobody leads at the moment.
    DuringElection,
    /// This member does not lead.
    NotLeader,
    /// The document has another type than JSON.
    ContentType(String),
    /// The document cannot be read, or means nothing.
    Document(String),
    /// There is no such member.
    NoMember(String),
    /// The member has left for ever.
    GoneMember(String),
    /// Another member has the URL.
    PeerUrlExists,
    /// Another member has the id.
    MemberExists,
    /// The member cannot lead, for this reason.
    CannotLead(String),
    /// It cannot be done, or nobody knows whether it was.
    Internal,
    /// The member is not healthy.
    Unhealthy,
    /// What was asked for cannot be had now, for this reason.
    Unavailable(&'static str),
    /// The parameters of the request mean nothing.
    Parameters(&'static str),
    /// The document of a user or a role, or its path, makes no sense; this is why.
    AuthDocument(&'static str),
    /// The document is larger than any that makes sense.
    DocumentSize,
    /// The credentials do not suffice, a change of users and roles is refused, or there is no result.
    Failed(Failure),
    /// There is no such level of the log.
    LogLevel(String),
    /// The request is no JSON document with a level.
    LogDocument,
    /// The log cannot be changed from here.
    FixedLog,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Refused::Method(allow) => {
                return method_not_allowed(allow)
                    .map(axum::body::Body::new)
                    .into_response();
            }
            Refused::Unhealthy => {
                let body = "{\"health\":\"false\"}\n";
                return (
                    StatusCode::SERVICE_UNAVAILABLE,
                    [(header::CONTENT_TYPE, TEXT)],
                    body,
                )
                    .into_response();
            }
            Refused::LogLevel(level) => {
                let message = format!("Invalid log level {level}");
                return message_document(StatusCode::BAD_REQUEST, &message);
            }
            Refused::Failed(failure) => {
                let (status, error) = failure.parts();
                let text = match status {
                    StatusCode::INTERNAL_SERVER_ERROR => "Internal Server Error",
                    _ => &error.cause,
                };
                return message_document(status, text);
            }
            Refused::AuthDocument(why) => (StatusCode::BAD_REQUEST, why),
            Refused::DocumentSize => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "the document is too large, or was cut",
            ),
            Refused::LogDocument => (StatusCode::BAD_REQUEST, "Invalid json body"),
            Refused::Unavailable(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
            Refused::Parameters(why) => (StatusCode::BAD_REQUEST, why),
            Refused::FixedLog => (
                StatusCode::NOT_IMPLEMENTED,
                "the level of the log cannot be changed while it runs",
            ),
            Refused::NotFound => (StatusCode::NOT_FOUND, "Not found"),
            Refused::DuringElection => (StatusCode::SERVICE_UNAVAILABLE, "During election"),
            Refused::NotLeader => (StatusCode::FORBIDDEN, "not current leader"),
            Refused::ContentType(kind) => {
                let message = format!("Bad Content-Type {kind}, accept application/json");
                return message_document(StatusCode::UNSUPPORTED_MEDIA_TYPE, &message);
            }
            Refused::Document(why) => return message_document(StatusCode::BAD_REQUEST, &why),
            Refused::NoMember(id) => {
                return message_document(StatusCode::NOT_FOUND, &format!("No such member: {id}"));
            }
            Refused::GoneMember(id) => {
                let message = format!("Member permanently removed: {id}");
                return message_document(StatusCode::GONE, &message);
            }
            Refused::CannotLead(why) => return message_document(StatusCode::CONFLICT, &why),
            Refused::PeerUrlExists => (StatusCode::CONFLICT, "membership: peerURL exists"),
            Refused::MemberExists => (StatusCode::CONFLICT, "membership: ID exists"),
            Refused::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        };
        message_document(status, message)
    }
}

fn message_document(status: StatusCode, message: &str) -> Response {
    let mut body = b"{\"message\":".to_vec();
    json::text(&mut body, message.as_bytes());
    body.push(b'}');
    (status, [(header::CONTENT_TYPE, JSON)], body).into_response()
}

/// Why the lock or the leader module refuses.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The method is not one of the route's.
    Refused(Refused),
    /// The route needs a name.
    NoRoute,
    /// A parameter is missing or wrong: no effect.
    Parameter(StoreError),
    /// The credentials do not suffice, or could not be checked: no effect.
    NotPermitted(Failure),
    /// The form is too large, or was cut: no effect.
    Unreadable,
    /// The lock was not free in time; the place in its queue is gone.
    TimedOut,
    /// As for keys.
    Failed(Failure),
}

impl From<Refused> for Denied {
    fn from(refused: Refused) -> Denied {
        Denied::Refused(refused)
    }
}

impl<E: Into<Failure>> From<E> for Denied {
    fn from(failure: E) -> Denied {
        Denied::Failed(failure.into())
    }
}

impl IntoResponse for Denied {
    /// Parameters are refused with a document, all else with a line of text; both are called text.
    fn into_response(self) -> Response {
        let text = [(header::CONTENT_TYPE, TEXT)];
        match self {
            Denied::Refused(refused) => refused.into_response(),
            Denied::NoRoute => not_found(),
            Denied::Parameter(error) => {
                let index = [(X_ETCD_INDEX, HeaderValue::from(0))];
                (StatusCode::BAD_REQUEST, text, index, keys_render::error(&error)).into_response()
            }
            Denied::NotPermitted(failure) => {
                let (status, error) = failure.parts();
                (status, text, keys_render::error(&error)).into_response()
            }
            Denied::Unreadable => {
                let close = [(header::CONNECTION, HeaderValue::from_static("close"))];
                let status = StatusCode::PAYLOAD_TOO_LARGE;
                (status, text, close, "the form is too large, or was cut\n").into_response()
            }
            Denied::TimedOut => {
                let status = StatusCode::INTERNAL_SERVER_ERROR;
                (status, text, "the lock was not free in time\n").into_response()
            }
            Denied::Failed(failure) => {
                let (status, error) = failure.parts();
                // What the keyspace refuses is an error of the module, which has only 500 for those.
                let status = if status.is_client_error() {
                    StatusCode::INTERNAL_SERVER_ERROR
                } else {
                    status
                };
                (status, text, format!("{error}\n")).into_response()
            }
        }
    }
}

/// Lets only these methods pass.
pub(crate) fn allow(method: &Method, allow: &'static str) -> Result<(), Refused> {
    if allow.split(',').any(|allowed| allowed == method.as_str()) {
        Ok(())
    } else {
        Err(Refused::Method(allow))
    }
}
