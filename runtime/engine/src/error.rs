//! Why an engine does not start, and why it refuses a request.

use std::io;
use std::path::PathBuf;

use berth_exec::ExecError;
use berth_images::ImageError;
use berth_plan::PlanError;

/// Why an engine does not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The subnet cannot be used.
    #[error("subnet {subnet:?}: {reason}")]
    Subnet {
        /// As configured.
        subnet: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A directory or file cannot be made or read.
    #[error("{path}: {action} failed", path = path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Another engine uses the data directory.
    #[error("data directory {path} is in use by another berth", path = .0.display())]
    DataDirInUse(PathBuf),
    /// Another daemon answers on the socket.
    #[error("socket {path} is in use by a running daemon", path = .0.display())]
    SocketInUse(PathBuf),
    /// Something that is not a socket is at the socket's path.
    #[error("socket {path}: a file that is not a socket is in the way", path = .0.display())]
    SocketPath(PathBuf),
    /// The group of the socket does not exist.
    #[error("group {0:?} does not exist")]
    NoSuchGroup(String),
    /// The certificates of the TCP ports cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// A TCP port cannot be had.
    #[error("cannot listen on tcp://{address}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The records cannot be used.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// The image store cannot be opened.
    #[error("image store")]
    Images(#[source] ImageError),
    /// The host lacks something, or the keeper cannot be reached.
    #[error("container host")]
    Host(#[source] ExecError),
    /// The thread of the event loop cannot be made.
    #[error("event loop thread")]
    Thread(#[source] io::Error),
    /// A piece of blocking work was lost.
    #[error("the engine is shutting down")]
    Stopped,
}

/// Why the records on disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The database fails.
    #[error("container records")]
    Database(#[from] sled::Error),
    /// The records were written by a newer berth.
    #[error("container records have version {found}, this berth knows version {known}")]
    Version {
        /// What the records say.
        found: String,
        /// What is known.
        known: u32,
    },
    /// The file with the version cannot be read or made.
    #[error("version file {path}", path = path.display())]
    VersionFile {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record of a network cannot be read.
    #[error("record of network {id} cannot be read")]
    UnreadableNetwork {
        /// Whose.
        id: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A record cannot be read.
    #[error("record of container {id} cannot be read")]
    Unreadable {
        /// Whose.
        id: String,
        /// Why.
        source: serde_json::Error,
    },
}

/// Why a request is refused. The HTTP status is chosen in `http/error.rs`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("No such container: {0}")]
    NoSuchContainer(String),
    #[error("Cannot kill container: {0}: No such container: {0}")]
    KillNobody(String),
    #[error("Multiple IDs found with provided prefix: {prefix}")]
    AmbiguousContainer { prefix: String, count: usize },
    #[error("Invalid container name ({0}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")]
    BadName(String),
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken { name: String, holder: String },
    #[error("refusing to create an ambiguous tag using digest algorithm as name")]
    DigestAsName,
    #[error("Error when allocating new name: {0}")]
    Rename(Box<Failure>),
    #[error("Renaming a container with the same name as its current name")]
    SameName,
    #[error("Cannot kill container: {name}: Container {id} is not running")]
    NotRunning { name: String, id: String },
    #[error(
        "You cannot remove a running container {id}. Stop the container before attempting removal or force remove"
    )]
    StillRunning { id: String },
    #[error(
        "You cannot remove a paused container {id}. Unpause and then stop the container before attempting removal or force remove"
    )]
    StillPaused { id: String },
    #[error("Container {id} is already paused")]
    AlreadyPaused { id: String },
    #[error("Container {id} is not paused")]
    NotPaused { id: String },
    #[error("Container {name} is paused, unpause the container before exec")]
    ContainerPaused { name: String },
    #[error("container {id} could not be paused or unpaused, see the log of the engine")]
    FreezeFailed { id: String },
    #[error("removal of container {id} is already in progress")]
    BeingRemoved { id: String },
    #[error("container {id}: its files could not be removed, see the log of the engine")]
    EraseFailed { id: String },
    #[error("No such container: {0}")]
    NoSuchOther(String),
    #[error(transparent)]
    Network(#[from] crate::networks::NetworkFailure),
    #[error("get {0}: no such volume")]
    NoSuchVolume(String),
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    VolumeInUse { name: String, users: Vec<String> },
    #[error("volume {name}: {doing}: {source}")]
    Volume {
        name: String,
        doing: &'static str,
        source: io::Error,
    },
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {0}")]
    NoBindSource(String),
    #[error("{0}")]
    ReadOnly(&'static str),
    #[error("extraction point is not a directory")]
    NotADirectory,
    #[error("Invalid signal: {0}")]
    BadSignal(String),
    #[error("Bad parameters: you must choose at least one stream")]
    NoStream,
    #[error("more than one until filter specified")]
    SeveralUntil,
    #[error("configured logging driver does not support reading")]
    LogNotKept,
    #[error("invalid value {value:?} of parameter {name}")]
    BadParameter { name: &'static str, value: String },
    #[error(transparent)]
    Filter(#[from] crate::filters::FilterError),
    #[error(transparent)]
    View(#[from] crate::processes::ViewError),
    #[error("Content-Type specified ({0}) must be 'application/json'")]
    ContentType(String),
    #[error("malformed JSON in the request: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the request's body is over the limit of {0} bytes")]
    BodyTooLong(usize),
    #[error("the request's body ended early: {0}")]
    Body(String),
    #[error("client version {0} is too new. Maximum supported API version is {max}", max = crate::http::API_VERSION)]
    TooNew(String),
    #[error("client version {0} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version", min = crate::http::MIN_API_VERSION)]
    TooOld(String),
    #[error("page not found")]
    NoSuchPage,
    #[error("{0}")]
    NoSuchThing(String),
    #[error("{0} is not supported yet")]
    Unsupported(&'static str),
    #[error("Config cannot be empty in order to create a container")]
    EmptyConfig,
    #[error("No such image: {0}")]
    NoSuchImage(String),
    #[error(
        "starting container with non-empty request body was deprecated since API v1.22 and removed in v1.24"
    )]
    StartWithBody,
    #[error("attach to stdin needs a connection upgrade")]
    NoUpgrade,
    #[error("Container {id} is not running")]
    ContainerNotRunning { id: String },
    #[error("No such exec instance: {0}")]
    NoSuchExec(String),
    #[error("Error: Exec command {id} {state}", state = if *running { "is already running" } else { "has already run" })]
    ExecBegun { id: String, running: bool },
    #[error("Exec command {0} is not running")]
    ExecNotRunning(String),
    #[error("too many processes have been added to containers, the limit is {0}")]
    TooManyExecs(usize),
    #[error(transparent)]
    BadDetachKeys(#[from] berth_wire::docker::DetachKeysError),
    #[error("too many attached clients, the limit is {0}")]
    TooManyAttached(usize),
    #[error("{0}")]
    Plan(#[from] PlanError),
    #[error("{0}")]
    Image(#[from] ImageError),
    #[error("{0}")]
    Exec(#[from] ExecError),
    #[error("{0}")]
    Launch(LaunchFailure),
    #[error("container record could not be written: {}", chain(.0))]
    Record(#[from] RecordError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the engine is shutting down")]
    Stopping,
}

/// Why a container did not start, with the exit code that stands for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(crate) struct LaunchFailure {
    pub(crate) message: String,
    pub(crate) kind: LaunchFailureKind,
}

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaunchFailureKind {
    /// The command does not exist.
    CommandNotFound,
    /// The command may not be executed.
    CommandNotExecutable,
    /// What was asked for cannot be.
    BadRequest,
    /// It does not go with what another container is doing.
    Conflict,
    /// The host failed.
    Host,
}

impl LaunchFailureKind {
    /// What `State.ExitCode` says after it.
    pub(crate) fn exit_code(self) -> i64 {
        match self {
            Self::CommandNotFound => 127,
            Self::CommandNotExecutable => 126,
            Self::BadRequest | Self::Conflict | Self::Host => 128,
        }
    }
}

/// An error with its causes in one line: records and answers keep text only.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
