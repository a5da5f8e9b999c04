//! The Engine API: containers, images and the daemon itself.

mod exec;
mod figures;
mod files;
mod things;

pub use files::CommitOptions;
pub use things::{ConnectOptions, NetworkOptions};

use std::path::Path;
use std::time::Duration;

use berth_wire::docker::{
    ContainerInspect, ContainerSummary, CreateRequest, CreateResponse, ErrorBody, ImageDeleteItem,
    ImageInspect, ImageSummary, ProgressMessage, SystemInfo, VersionInfo, WaitResponse,
};
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::endpoints::Endpoint;
use crate::error::SdkError;
use crate::etcd::Query;
use crate::streams::{Attached, FrameStream, LineStream};
use crate::tls::ClientTls;
use crate::transport::{Answer, Call, Transport};

/// The version of the API that these documents are of.
const API: &str = "/v1.44";

/// Longest wait for a ping: an engine that is there answers at once.
const PING_LIMIT: Duration = Duration::from_secs(10);

/// Pieces of an upload, and how many of them may wait for the connection.
const UPLOAD_PIECE: usize = 64 * 1024;
const UPLOAD_QUEUE: usize = 4;

/// What stands in a path as it is: names of images keep slashes, colons and digests.
const NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b':')
    .remove(b'@')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Which containers to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// Also those that do not run.
    pub all: bool,
    /// Only the last so many, running or not.
    pub limit: Option<u32>,
    /// Filters as `(key, value)`.
    pub filters: Vec<(String, String)>,
}

/// What to read of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsOptions {
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
    /// Go on until the container ends.
    pub follow: bool,
    /// A time before each line.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// From this time on, `seconds[.nanoseconds]`.
    pub since: Option<String>,
    /// Up to this time.
    pub until: Option<String>,
    /// What was added to each line where it was logged.
    pub details: bool,
}

/// Which events to listen for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventsOptions {
    /// Filters as `(key, value)`.
    pub filters: Vec<(String, String)>,
    /// Also those that were since this time, `seconds[.nanoseconds]`.
    pub since: Option<String>,
    /// Only until this time; without it there is no end.
    pub until: Option<String>,
}

impl Default for LogsOptions {
    fn default() -> Self {
        Self {
            stdout: true,
            stderr: true,
            follow: false,
            timestamps: false,
            tail: None,
            since: None,
            until: None,
            details: false,
        }
    }
}

/// What to attach to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachStreams {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitCondition {
    /// That it does not run; at once when it never did.
    NotRunning,
    /// The next end of its process.
    NextExit,
    /// That it is gone.
    Removed,
}

/// How to import a root file system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The name of the image, with or without a tag.
    pub reference: Option<String>,
    /// Settings in the words of a Dockerfile.
    pub changes: Vec<String>,
    /// A remark.
    pub message: Option<String>,
}

/// A wait that the engine knows of already: whatever happens from now on is not missed.
#[derive(Debug)]
pub struct PendingExit {
    transport: Transport,
    response: Response<Incoming>,
}

impl PendingExit {
    /// The exit code.
    ///
    /// # Errors
    /// A broken connection, or an engine that could not wait.
    pub async fn code(self) -> Result<i64, SdkError> {
        let answer = self.transport.collect(self.response).await?;
        let waited: WaitResponse = document(&self.transport, &answer)?;
        match waited.error.filter(|error| !error.message.is_empty()) {
            Some(error) => Err(SdkError::Engine {
                status: answer.status.as_u16(),
                message: error.message,
            }),
            None => Ok(waited.status_code),
        }
    }
}

/// A client of an engine.
#[derive(Debug, Clone)]
pub struct EngineClient {
    transport: Transport,
}

impl EngineClient {
    /// A client of the engine at `endpoint`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            transport: Transport::new(endpoint),
        }
    }

    /// The same with these certificates, where the endpoint is over TLS.
    #[must_use]
    pub fn with_tls(self, tls: Option<ClientTls>) -> Self {
        Self {
            transport: self.transport.with_tls(tls),
        }
    }

    /// A client of the engine on a unix socket.
    #[must_use]
    pub fn unix(path: &Path) -> Self {
        Self::new(Endpoint::Unix(path.to_owned()))
    }

    /// Where the engine is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }

    /// Whether the engine answers.
    ///
    /// # Errors
    /// Why not.
    pub async fn ping(&self) -> Result<(), SdkError> {
        let answer = self
            .transport
            .send(Call::new(Method::GET, "/_ping").within(PING_LIMIT))
            .await?;
        refuse(&self.transport, &answer)
    }

    /// The versions of the engine.
    ///
    /// # Errors
    /// As every request: no connection, or the engine's refusal.
    pub async fn version(&self) -> Result<VersionInfo, SdkError> {
        self.get("/version", &Query::new()).await
    }

    /// The state of the engine.
    ///
    /// # Errors
    /// As every request.
    pub async fn info(&self) -> Result<SystemInfo, SdkError> {
        self.get("/info", &Query::new()).await
    }

    /// Makes a container.
    ///
    /// # Errors
    /// As every request; 404 is an unknown image, 409 a name that is taken.
    pub async fn create(
        &self,
        name: Option<&str>,
        request: &CreateRequest,
    ) -> Result<CreateResponse, SdkError> {
        let mut query = Query::new();
        query.optional("name", name);
        let body = to_json(request)?;
        let call = Call::new(Method::POST, query.onto(&format!("{API}/containers/create")));
        self.ask(call.body("application/json", body)).await
    }

    /// Starts a container.
    ///
    /// # Errors
    /// As every request.
    pub async fn start(&self, container: &str) -> Result<(), SdkError> {
        self.order(container, "/start", &Query::new()).await
    }

    /// Stops a container; `grace` seconds after the stop signal it is killed.
    ///
    /// # Errors
    /// As every request.
    pub async fn stop(&self, container: &str, grace: Option<i64>) -> Result<(), SdkError> {
        let mut query = Query::new();
        query.optional("t", grace);
        self.order(container, "/stop", &query).await
    }

    /// Stops a container if it runs, and starts it.
    ///
    /// # Errors
    /// As every request.
    pub async fn restart(&self, container: &str, grace: Option<i64>) -> Result<(), SdkError> {
        let mut query = Query::new();
        query.optional("t", grace);
        self.order(container, "/restart", &query).await
    }

    /// Sends a signal, by number or name; SIGKILL unless one is given.
    ///
    /// # Errors
    /// As every request.
    pub async fn kill(&self, container: &str, signal: Option<&str>) -> Result<(), SdkError> {
        let mut query = Query::new();
        query.optional("signal", signal);
        self.order(container, "/kill", &query).await
    }

    /// Removes a container; with `force` a running one too.
    ///
    /// # Errors
    /// As every request.
    pub async fn remove(&self, container: &str, force: bool, volumes: bool) -> Result<(), SdkError> {
        let mut query = Query::new();
        query.flag("force", force);
        query.flag("v", volumes);
        let path = query.onto(&format!("{API}/containers/{}", escape(container)));
        let answer = self.transport.send(Call::new(Method::DELETE, path)).await?;
        refuse(&self.transport, &answer)
    }

    /// Lists containers.
    ///
    /// # Errors
    /// As every request.
    pub async fn list(&self, options: &ListOptions) -> Result<Vec<ContainerSummary>, SdkError> {
        let mut query = Query::new();
        query.flag("all", options.all);
        query.optional("limit", options.limit);
        query.optional("filters", filters(&options.filters)?);
        self.get("/containers/json", &query).await
    }

    /// Everything about a container.
    ///
    /// # Errors
    /// As every request; 404 when there is none.
    pub async fn inspect(&self, container: &str) -> Result<ContainerInspect, SdkError> {
        self.get(&format!("/containers/{}/json", escape(container)), &Query::new())
            .await
    }

    /// Reads the log of a container.
    ///
    /// # Errors
    /// As every request.
    pub async fn logs(&self, container: &str, options: &LogsOptions) -> Result<FrameStream, SdkError> {
        let mut query = Query::new();
        query.flag("stdout", options.stdout);
        query.flag("stderr", options.stderr);
        query.flag("follow", options.follow);
        query.flag("timestamps", options.timestamps);
        query.flag("details", options.details);
        query.optional("tail", options.tail);
        query.optional("since", options.since.as_deref());
        query.optional("until", options.until.as_deref());
        let path = query.onto(&format!("{API}/containers/{}/logs", escape(container)));
        let response = self.stream(Call::new(Method::GET, path)).await?;
        Ok(FrameStream::new(response))
    }

    /// Attaches to a container, which need not run yet. `keys` leave its terminal, such as `ctrl-p,ctrl-q`.
    ///
    /// # Errors
    /// As every request.
    pub async fn attach(
        &self,
        container: &str,
        streams: AttachStreams,
        keys: Option<&str>,
    ) -> Result<Attached, SdkError> {
        let mut query = Query::new();
        query.flag("stream", true);
        query.flag("stdin", streams.stdin);
        query.flag("stdout", streams.stdout);
        query.flag("stderr", streams.stderr);
        query.optional("detachKeys", keys);
        let path = query.onto(&format!("{API}/containers/{}/attach", escape(container)));
        self.upgrade(Call::new(Method::POST, path)).await
    }

    /// Sends a request whose connection becomes a raw stream.
    async fn upgrade(&self, call: Call) -> Result<Attached, SdkError> {
        let call = call
            .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(header::UPGRADE, HeaderValue::from_static("tcp"));
        let response = self.transport.open(call).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let answer = self.transport.collect(response).await?;
            refuse(&self.transport, &answer)?;
            return Err(self.transport.unexpected(&answer));
        }
        let upgraded = hyper::upgrade::on(response).await;
        upgraded
            .map(Attached::new)
            .map_err(|error| self.transport.broken(error))
    }

    /// Begins to wait; returns when the engine has taken notice of it.
    ///
    /// # Errors
    /// As every request.
    pub async fn wait(&self, container: &str, condition: WaitCondition) -> Result<PendingExit, SdkError> {
        let mut query = Query::new();
        query.pair(
            "condition",
            match condition {
                WaitCondition::NotRunning => "not-running",
                WaitCondition::NextExit => "next-exit",
                WaitCondition::Removed => "removed",
            },
        );
        let path = query.onto(&format!("{API}/containers/{}/wait", escape(container)));
        let response = self.stream(Call::new(Method::POST, path)).await?;
        Ok(PendingExit {
            transport: self.transport.clone(),
            response,
        })
    }

    /// The events of the engine from now on.
    ///
    /// # Errors
    /// As every request.
    pub async fn events(&self, wanted: &[(String, String)]) -> Result<LineStream, SdkError> {
        let options = EventsOptions {
            filters: wanted.to_vec(),
            ..EventsOptions::default()
        };
        self.events_of(&options).await
    }

    /// The events of a time.
    ///
    /// # Errors
    /// As every request.
    pub async fn events_of(&self, options: &EventsOptions) -> Result<LineStream, SdkError> {
        let mut query = Query::new();
        query.optional("filters", filters(&options.filters)?);
        query.optional("since", options.since.as_deref());
        query.optional("until", options.until.as_deref());
        let path = query.onto(&format!("{API}/events"));
        self.stream(Call::new(Method::GET, path))
            .await
            .map(LineStream::new)
    }

    /// Lists images.
    ///
    /// # Errors
    /// As every request.
    pub async fn images(&self, wanted: &[(String, String)]) -> Result<Vec<ImageSummary>, SdkError> {
        let mut query = Query::new();
        query.optional("filters", filters(wanted)?);
        self.get("/images/json", &query).await
    }

    /// Everything about an image.
    ///
    /// # Errors
    /// As every request; 404 when there is none.
    pub async fn inspect_image(&self, image: &str) -> Result<ImageInspect, SdkError> {
        self.get(&format!("/images/{}/json", escape(image)), &Query::new())
            .await
    }

    /// Gives an image one more name.
    ///
    /// # Errors
    /// As every request.
    pub async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), SdkError> {
        let mut query = Query::new();
        query.pair("repo", repository);
        query.pair("tag", tag);
        let path = query.onto(&format!("{API}/images/{}/tag", escape(image)));
        let answer = self.transport.send(Call::new(Method::POST, path)).await?;
        refuse(&self.transport, &answer)
    }

    /// Takes a name from an image, and removes the image with its last name.
    ///
    /// # Errors
    /// As every request; 409 when a container uses it.
    pub async fn remove_image(&self, image: &str, force: bool) -> Result<Vec<ImageDeleteItem>, SdkError> {
        let mut query = Query::new();
        query.flag("force", force);
        let path = query.onto(&format!("{API}/images/{}", escape(image)));
        self.ask(Call::new(Method::DELETE, path)).await
    }

    /// Makes an image of a root file system in a tar archive, and gives its id.
    ///
    /// # Errors
    /// As every request; [`SdkError::Input`] when the archive cannot be read.
    pub async fn import<R>(&self, archive: R, options: &ImportOptions) -> Result<String, SdkError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let mut query = Query::new();
        query.pair("fromSrc", "-");
        query.optional("repo", options.reference.as_deref());
        query.optional("message", options.message.as_deref());
        for change in &options.changes {
            query.pair("changes", change);
        }
        let call = Call::new(Method::POST, query.onto(&format!("{API}/images/create")));
        let answer = self.send_archive(call, archive).await?;
        refuse(&self.transport, &answer)?;
        imported(&self.transport, &answer)
    }

    /// Sends a request whose body is an archive.
    async fn send_archive<R>(&self, call: Call, archive: R) -> Result<Answer, SdkError>
    where
        R: AsyncRead + Send + Unpin + 'static,
    {
        let (sender, body) = Channel::<Bytes, std::io::Error>::new(UPLOAD_QUEUE);
        let upload = tokio::spawn(upload(archive, sender));
        let response = self
            .transport
            .open(call.stream("application/x-tar", body.boxed_unsync()))
            .await;
        let answer = match response {
            Ok(response) => self.transport.collect(response).await,
            Err(error) => Err(error),
        };
        // An engine that has answered reads no further; an archive that could not be read is the reason for the rest.
        if answer.is_err()
            && let Ok(Err(error)) = upload.await
        {
            return Err(SdkError::Input(error));
        }
        answer
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, SdkError> {
        self.ask(Call::new(Method::GET, query.onto(&format!("{API}{path}"))))
            .await
    }

    async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T, SdkError> {
        let answer = self.transport.send(call).await?;
        refuse(&self.transport, &answer)?;
        document(&self.transport, &answer)
    }

    async fn order(&self, container: &str, verb: &str, query: &Query) -> Result<(), SdkError> {
        let path = query.onto(&format!("{API}/containers/{}{verb}", escape(container)));
        let answer = self.transport.send(Call::new(Method::POST, path)).await?;
        refuse(&self.transport, &answer)
    }

    async fn stream(&self, call: Call) -> Result<Response<Incoming>, SdkError> {
        let response = self.transport.open(call).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = self.transport.collect(response).await?;
        refuse(&self.transport, &answer)?;
        Err(self.transport.unexpected(&answer))
    }
}

async fn upload<R: AsyncRead + Unpin>(
    mut archive: R,
    mut sender: http_body_util::channel::Sender<Bytes, std::io::Error>,
) -> Result<(), std::io::Error> {
    loop {
        let mut piece = vec![0; UPLOAD_PIECE];
        match archive.read(&mut piece).await {
            Ok(0) => return Ok(()),
            Ok(count) => {
                piece.truncate(count);
                if sender.send_data(Bytes::from(piece)).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                sender.abort(std::io::Error::from(error.kind()));
                return Err(error);
            }
        }
    }
}

/// The id in the lines of an import, or its failure: those come with status 200.
fn imported(transport: &Transport, answer: &Answer) -> Result<String, SdkError> {
    let text = answer.text();
    let mut id = None;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let message: ProgressMessage =
            serde_json::from_str(line).map_err(|_| transport.unexpected(answer))?;
        if let Some(message) = message.error {
            return Err(SdkError::Engine {
                status: answer.status.as_u16(),
                message,
            });
        }
        id = message.status.or(id);
    }
    id.ok_or_else(|| transport.unexpected(answer))
}

/// Turns an answer that is no success into an error; 304 is "it was so already".
fn refuse(transport: &Transport, answer: &Answer) -> Result<(), SdkError> {
    if answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED {
        return Ok(());
    }
    let message = serde_json::from_slice::<ErrorBody>(&answer.body)
        .map(|body| body.message)
        .unwrap_or_else(|_| answer.text().trim().to_owned());
    if message.is_empty() {
        return Err(transport.unexpected(answer));
    }
    Err(SdkError::Engine {
        status: answer.status.as_u16(),
        message,
    })
}

fn document<T: DeserializeOwned>(transport: &Transport, answer: &Answer) -> Result<T, SdkError> {
    serde_json::from_slice(&answer.body).map_err(|_| transport.unexpected(answer))
}

fn to_json(document: &impl Serialize) -> Result<String, SdkError> {
    serde_json::to_string(document).map_err(|error| SdkError::Unsendable {
        what: "a document",
        text: error.to_string(),
    })
}

/// Filters in the shape that every daemon takes: values of one key in a list.
fn filters(wanted: &[(String, String)]) -> Result<Option<String>, SdkError> {
    let mut map = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for (key, value) in wanted {
        map.entry(key).or_default().push(value);
    }
    if map.is_empty() {
        return Ok(None);
    }
    to_json(&map).map(Some)
}

fn escape(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}
