//! What can go wrong when a plan is carried out.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::netlink::NetworkError;

/// A failure of the container host or of its keeper.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The kernel refused.
    #[error("{doing}")]
    Io {
        /// What was being done, naming the thing.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The network of the host.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The keeper's directory could be entered by others.
    #[error("directory {} must belong to this user and be closed to everybody else", .path.display())]
    RunDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// A device that a container is to get.
    #[error("error gathering device information while adding custom device {path:?}")]
    Device {
        /// The device.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// A mount cannot travel to or from the container.
    #[error("path {} is mounted on {} but it is not a {wanted} mount", .path.display(), .mount.display())]
    Propagation {
        /// What is to be mounted.
        path: PathBuf,
        /// The mount that it is on.
        mount: PathBuf,
        /// What it should be.
        wanted: &'static str,
    },
    /// Somebody else listens on the keeper's socket.
    #[error("the process behind socket {} is not this user's", .path.display())]
    ForeignKeeper {
        /// The socket.
        path: PathBuf,
    },
    /// A keeper of another release runs, and holds containers.
    #[error("the keeper that runs speaks protocol {found}, not {wanted}")]
    KeeperVersion {
        /// What it speaks.
        found: u32,
        /// What this executable speaks.
        wanted: u32,
    },
    /// The connection ended, or never came to be.
    #[error("the keeper is gone")]
    KeeperGone,
    /// Another daemon has taken the keeper over.
    #[error("another daemon has taken over the keeper")]
    Replaced,
    /// The keeper did not answer in time.
    #[error("the keeper did not answer within {seconds} seconds")]
    Timeout {
        /// How long it was waited for.
        seconds: u64,
    },
    /// What came from the keeper was not understood.
    #[error("the keeper's answer is not understood")]
    Malformed,
    /// No such container runs.
    #[error("container {id:?} does not run")]
    NotRunning {
        /// The container.
        id: String,
    },
    /// It was started without a terminal.
    #[error("container {id:?} has no terminal")]
    NoTerminal {
        /// The container.
        id: String,
    },
    /// The keeper holds as many attached clients as it takes.
    #[error("too many clients are attached")]
    TooManyClients,
    /// A text of the kernel could not be understood.
    #[error("{} is not understood", .path.display())]
    Text {
        /// The file.
        path: PathBuf,
    },
    /// The kernel lacks what containers cannot do without.
    #[error("the kernel lacks {what}")]
    Kernel {
        /// The system call or file system.
        what: &'static str,
    },
    /// The processes of a cgroup did not stop in time; they run on.
    #[error("cgroup {} cannot be frozen", .path.display())]
    NotFrozen {
        /// Its directory.
        path: PathBuf,
    },
    /// A cgroup is still in use.
    #[error("cgroup {} cannot be emptied", .path.display())]
    CgroupBusy {
        /// Its directory.
        path: PathBuf,
    },
}

impl ExecError {
    /// Names what was being done.
    pub(crate) fn io<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Self {
        let doing = doing.into();
        move |source| Self::Io {
            doing,
            source: source.into(),
        }
    }

    /// Names what was being done with a path.
    pub(crate) fn path<E: Into<io::Error>>(doing: &'static str, path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            doing: format!("{doing} {}", path.display()),
            source: source.into(),
        }
    }
}

/// Why a container did not start. Nothing of it is left on the host.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The command is not there.
    #[error("exec: {0:?}: {reason}", reason = missing(.0))]
    NotFound(String),
    /// The command is there and cannot be executed.
    #[error("exec: {0}")]
    PermissionDenied(Unusable),
    /// A change of the host failed.
    #[error("{step}")]
    Host {
        /// The step.
        step: String,
        /// Why.
        source: ExecError,
    },
    /// A step inside of the container failed.
    #[error("{step}")]
    Stage {
        /// The step.
        step: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The plan cannot be carried out.
    #[error("{step}: {reason}")]
    Malformed {
        /// The step, or the whole plan.
        step: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The first process was killed before it was the command's.
    #[error("the container was killed while it started")]
    Killed,
    /// The keeper failed.
    #[error(transparent)]
    Keeper(#[from] ExecError),
}

/// Names of commands are searched for, paths are not.
fn missing(name: &str) -> String {
    if name.contains('/') {
        format!("stat {name}: no such file or directory")
    } else {
        "executable file not found in $PATH".to_owned()
    }
}

/// A command that cannot be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// What the user called it.
    pub name: String,
    /// The kernel knows its format.
    pub known_format: bool,
}

impl fmt::Display for Unusable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = if self.known_format {
            "permission denied"
        } else {
            "exec format error"
        };
        write!(formatter, "{:?}: {reason}", self.name)
    }
}
