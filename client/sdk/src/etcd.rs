//! The keys API: get, set, delete and watch against a list of members, with fail-over between them.

mod auth;
mod backup;
mod call;
mod members;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use berth_wire::etcd::{ErrorBody, Event, Version};
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::endpoints::{Endpoint, EndpointError, parse_endpoints};
use crate::error::SdkError;
use crate::tls::ClientTls;
use crate::transport::{Answer, Call, Transport};

pub use backup::BackupStream;
pub use call::{Failures, KeysCall};
pub use members::MembersError;

/// Longest wait for the head of an answer. A member answers or gives up within its own limit of about 5 s for a write
/// without a quorum; the head of a watch comes at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// The port of an endpoint that names none.
const DEFAULT_PORT: u16 = 2379;

/// What stands in a path as it is: keys keep their slashes.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What stands in a query or a form as it is.
const FORM: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

const FORM_TYPE: &str = "application/x-www-form-urlencoded";

/// How to read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GetOptions {
    /// All levels below a directory instead of one.
    pub recursive: bool,
    /// Through the log: the answer is not older than the request.
    pub quorum: bool,
}

/// How to write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetOptions {
    /// Seconds until the key goes.
    pub ttl: Option<u64>,
    /// A directory; there is no value then.
    pub dir: bool,
    /// Only when the key is there (true) or is not (false).
    pub prev_exist: Option<bool>,
    /// Only over this value.
    pub prev_value: Option<String>,
    /// Only over this `modifiedIndex`.
    pub prev_index: Option<u64>,
    /// A new TTL for the value that is there, which wakes no watcher.
    pub refresh: bool,
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Also an empty directory.
    pub dir: bool,
    /// A directory with everything in it.
    pub recursive: bool,
    /// Only this value.
    pub prev_value: Option<String>,
    /// Only this `modifiedIndex`.
    pub prev_index: Option<u64>,
}

/// What to watch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchOptions {
    /// Everything below the key too.
    pub recursive: bool,
    /// The first index of interest; `None` is from now on.
    pub wait_index: Option<u64>,
}

/// The answer of the keys API.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyAnswer {
    /// What happened, or what is there.
    pub event: Event,
    /// The store's index (`X-Etcd-Index`).
    pub index: u64,
    /// The document as the store wrote it.
    pub document: String,
}

/// Is shown every request before it leaves: its method, its URL and its form.
#[derive(Clone)]
struct Observer(Arc<Watchful>);

type Watchful = dyn Fn(&Method, &str, Option<&str>) + Send + Sync;

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

/// A client of a store.
#[derive(Debug, Clone)]
pub struct EtcdClient {
    members: Arc<Vec<Transport>>,
    /// The member that answered last is asked first.
    preferred: Arc<AtomicUsize>,
    limit: Duration,
    authorization: Option<HeaderValue>,
    tls: Option<ClientTls>,
    observer: Option<Observer>,
}

/// A request on its way.
struct Outgoing<'a> {
    method: &'a Method,
    path: &'a str,
    body: Option<(&'static str, &'a str)>,
}

impl EtcdClient {
    /// A client of the members in a list separated by commas.
    ///
    /// # Errors
    /// The first address that cannot be read.
    pub fn from_list(list: &str) -> Result<Self, EndpointError> {
        Self::new(parse_endpoints(list, Some(DEFAULT_PORT))?)
    }

    /// A client of these members.
    ///
    /// # Errors
    /// An empty list.
    pub fn new(endpoints: Vec<Endpoint>) -> Result<Self, EndpointError> {
        if endpoints.is_empty() {
            return Err(EndpointError {
                text: String::new(),
                reason: "the list is empty",
            });
        }
        Ok(Self {
            members: Arc::new(endpoints.into_iter().map(Transport::new).collect()),
            preferred: Arc::default(),
            limit: ANSWER_LIMIT,
            authorization: None,
            tls: None,
            observer: None,
        })
    }

    /// The same for other members.
    ///
    /// # Errors
    /// An empty list.
    pub fn with_members(&self, endpoints: Vec<Endpoint>) -> Result<Self, EndpointError> {
        let fresh = Self::new(endpoints)?.with_tls(self.tls.clone());
        Ok(Self {
            members: fresh.members,
            preferred: fresh.preferred,
            ..self.clone()
        })
    }

    /// The same with these certificates, for members whose URLs are `https`.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<ClientTls>) -> Self {
        let members = self.members.iter().cloned();
        self.members = Arc::new(members.map(|member| member.with_tls(tls.clone())).collect());
        self.tls = tls;
        self
    }

    /// The same with a user's name and password on every request (HTTP Basic).
    #[must_use]
    pub fn with_user(mut self, name: &str, password: &str) -> Self {
        let words = format!("Basic {}", call::base64(format!("{name}:{password}").as_bytes()));
        // Letters, digits and `+/=` only: always a header.
        self.authorization = HeaderValue::from_str(&words).ok();
        self
    }

    /// The same, showing every request to `observer` before it leaves: its method, its URL and its form.
    #[must_use]
    pub fn with_observer(
        mut self,
        observer: impl Fn(&Method, &str, Option<&str>) + Send + Sync + 'static,
    ) -> Self {
        self.observer = Some(Observer(Arc::new(observer)));
        self
    }

    /// The same with another limit on the wait for an answer.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The addresses of the members.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.members.iter().map(Transport::endpoint)
    }

    /// Reads a key or lists a directory, sorted.
    ///
    /// # Errors
    /// What the store refuses, or no member that answers.
    pub async fn get(&self, key: &str, options: GetOptions) -> Result<KeyAnswer, SdkError> {
        let mut query = Query::new();
        query.flag("quorum", options.quorum);
        query.flag("recursive", options.recursive);
        query.flag("sorted", true);
        self.keys(Method::GET, key, &query, None).await
    }

    /// Writes a key.
    ///
    /// # Errors
    /// What the store refuses, or no member that answers. Unless it is [`SdkError::Store`] with a status below 500 or
    /// [`SdkError::NoEndpoint`] of refused connections, whether the key was written is unknown.
    pub async fn set(&self, key: &str, value: &str, options: &SetOptions) -> Result<KeyAnswer, SdkError> {
        let mut query = Query::new();
        query.flag("dir", options.dir);
        query.optional("prevExist", options.prev_exist);
        query.optional("prevIndex", options.prev_index);
        query.optional("prevValue", options.prev_value.as_deref());
        let mut form = Query::new();
        form.flag("refresh", options.refresh);
        form.optional("ttl", options.ttl);
        if !options.refresh && !options.dir {
            form.pair("value", value);
        }
        self.keys(Method::PUT, key, &query, Some(form)).await
    }

    /// Deletes a key or a directory.
    ///
    /// # Errors
    /// As [`EtcdClient::set`].
    pub async fn delete(&self, key: &str, options: &DeleteOptions) -> Result<KeyAnswer, SdkError> {
        let mut query = Query::new();
        query.flag("dir", options.dir);
        query.optional("prevIndex", options.prev_index);
        query.optional("prevValue", options.prev_value.as_deref());
        query.flag("recursive", options.recursive);
        self.keys(Method::DELETE, key, &query, None).await
    }

    /// Waits for the next event of a key. The next index to wait for is that of the event's node plus one.
    ///
    /// # Errors
    /// As [`EtcdClient::get`]; a history that was cleared is error 401.
    pub async fn watch(&self, key: &str, options: WatchOptions) -> Result<KeyAnswer, SdkError> {
        let mut query = Query::new();
        query.flag("recursive", options.recursive);
        query.flag("wait", true);
        query.optional("waitIndex", options.wait_index);
        loop {
            let answer = self
                .exchange(&Method::GET, &path("/v2/keys", key, &query), None)
                .await?;
            // A server that ends a wait without an event wants to be asked again.
            if !(answer.status.is_success() && answer.body.is_empty()) {
                return self.understand(&answer);
            }
        }
    }

    /// The versions of the first member that answers.
    ///
    /// # Errors
    /// No member that answers.
    pub async fn version(&self) -> Result<Version, SdkError> {
        let answer = self.exchange(&Method::GET, "/version", None).await?;
        let member = self.member(self.preferred.load(Ordering::Relaxed));
        serde_json::from_slice(&answer.body).map_err(|_| member.unexpected(&answer))
    }

    /// A request in one's own words: `path` with its query, `form` as the body. The answer comes whatever its status.
    ///
    /// # Errors
    /// No member that answers.
    pub async fn raw(&self, method: Method, path: &str, form: Option<String>) -> Result<Answer, SdkError> {
        self.exchange(&method, path, form).await
    }

    async fn keys(
        &self,
        method: Method,
        key: &str,
        query: &Query,
        form: Option<Query>,
    ) -> Result<KeyAnswer, SdkError> {
        let path = path("/v2/keys", key, query);
        let answer = self.exchange(&method, &path, form.map(|form| form.text)).await?;
        self.understand(&answer)
    }

    fn understand(&self, answer: &Answer) -> Result<KeyAnswer, SdkError> {
        let odd = || {
            self.member(self.preferred.load(Ordering::Relaxed))
                .unexpected(answer)
        };
        if answer.status.is_success() {
            let event: Event = serde_json::from_slice(&answer.body).map_err(|_| odd())?;
            let index = answer.headers.get("x-etcd-index");
            let index = index.and_then(|value| value.to_str().ok()?.parse().ok());
            return Ok(KeyAnswer {
                event,
                index: index.unwrap_or(0),
                document: answer.text().trim_end().to_owned(),
            });
        }
        let error: ErrorBody = serde_json::from_slice(&answer.body).map_err(|_| odd())?;
        Err(SdkError::Store {
            status: answer.status.as_u16(),
            code: error.error_code,
            message: error.message,
            cause: error.cause,
            index: error.index,
        })
    }

    fn member(&self, at: usize) -> &Transport {
        &self.members[at % self.members.len()]
    }

    async fn exchange(&self, method: &Method, path: &str, form: Option<String>) -> Result<Answer, SdkError> {
        let outgoing = Outgoing {
            method,
            path,
            body: form.as_deref().map(|form| (FORM_TYPE, form)),
        };
        self.attempt(&outgoing).await.map_err(Failures::into_error)
    }

    /// Asks one member after the other, beginning with the one that answered last.
    ///
    /// A read goes on to the next member after every failure. A write goes on only where no connection was made:
    /// anything later may have been carried out, and a second try could do it twice.
    async fn attempt(&self, outgoing: &Outgoing<'_>) -> Result<Answer, Failures> {
        let first = self.preferred.load(Ordering::Relaxed);
        let read = outgoing.method.is_safe();
        let mut failures = Failures::default();
        for at in first..first + self.members.len() {
            let member = self.member(at);
            let more = at + 1 < first + self.members.len();
            let error = match member.send(self.prepared(member, outgoing)).await {
                Ok(answer) if read && no_leader(answer.status) && more => member.unexpected(&answer),
                Ok(answer) => {
                    self.preferred.store(at % self.members.len(), Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            // Of a read that was answered, the only error is a member without a leader.
            let goes_on = matches!(error, SdkError::Connect { .. } | SdkError::Tls { .. })
                || read && (error.is_connection() || matches!(error, SdkError::Unexpected { .. }));
            failures.push(error);
            if !goes_on {
                return Err(failures.stopped());
            }
        }
        Err(failures)
    }

    fn prepared(&self, member: &Transport, outgoing: &Outgoing<'_>) -> Call {
        if let Some(Observer(observer)) = &self.observer {
            let url = format!("{}{}", member.endpoint(), outgoing.path);
            observer(outgoing.method, &url, outgoing.body.map(|(_, text)| text));
        }
        let mut call = Call::new(outgoing.method.clone(), outgoing.path).within(self.limit);
        if let Some((kind, text)) = outgoing.body {
            call = call.body(kind, text.to_owned());
        }
        if let Some(words) = &self.authorization {
            call = call.header(AUTHORIZATION, words.clone());
        }
        call
    }
}

/// The statuses of a member that is there but cannot serve now; another one may.
fn no_leader(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// The path of a key or of another name below `prefix`, escaped.
#[must_use]
pub fn key_path(prefix: &str, key: &str) -> String {
    path(prefix, key, &Query::new())
}

/// Names and values as the query of a path, or as a form.
#[must_use]
pub fn query_of(pairs: &[(&str, &str)]) -> String {
    let mut query = Query::new();
    for (name, value) in pairs {
        query.pair(name, value);
    }
    query.text
}

fn path(prefix: &str, key: &str, query: &Query) -> String {
    let key = key.trim_matches('/');
    let mut path = prefix.to_owned();
    if !key.is_empty() {
        path.push('/');
        path.extend(utf8_percent_encode(key, PATH));
    } else {
        path.push('/');
    }
    if !query.text.is_empty() {
        path.push('?');
        path.push_str(&query.text);
    }
    path
}

/// Parameters of a query or a form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query {
    text: String,
}

impl Query {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn pair(&mut self, name: &str, value: &str) {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.text.push_str(name);
        self.text.push('=');
        self.text.extend(utf8_percent_encode(value, FORM));
    }

    /// Only when it is set: the defaults of the APIs are false.
    pub(crate) fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.pair(name, "true");
        }
    }

    pub(crate) fn optional(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.pair(name, &value.to_string());
        }
    }

    /// A path with this query.
    pub(crate) fn onto(&self, path: &str) -> String {
        if self.text.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", self.text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_queries_are_escaped() {
        let mut query = Query::new();
        query.pair("prevValue", "a b&c=d/é");
        query.flag("dir", false);
        query.flag("wait", true);
        query.optional("ttl", Some(5));
        query.optional("prevIndex", None::<u64>);
        assert_eq!(
            path("/v2/keys", "/a b/c?d/%/é", &query),
            "/v2/keys/a%20b/c%3Fd/%25/%C3%A9?prevValue=a%20b%26c%3Dd%2F%C3%A9&wait=true&ttl=5"
        );
        assert_eq!(path("/v2/keys", "/", &Query::new()), "/v2/keys/");
        assert_eq!(path("/v2/keys", "a/", &Query::new()), "/v2/keys/a");
    }
}
