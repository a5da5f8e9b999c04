//! What travels between daemon and keeper, and from a stage to its keeper. Pure: bytes in, values out.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Both sides must speak the same; a daemon of another release says so instead of guessing.
pub(crate) const VERSION: u32 = 2;

/// The longest message, in bytes; longer ones are cut by the kernel and refused. Plans travel as files.
pub(crate) const MAX_MESSAGE: usize = 16 * 1024;

/// The longest id of a container, in bytes: keeps every message within [`MAX_MESSAGE`].
pub(crate) const MAX_ID: usize = 128;

/// The longest reason in a failure, for the same purpose.
const MAX_REASON: usize = 1024;

/// The daemon wants something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    /// Comes back with the answer.
    pub(crate) number: u64,
    pub(crate) ask: Ask,
}

/// What the daemon wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// The first message: [`Message::Known`] for each container comes before the answer.
    Hello {
        version: u32,
    },
    /// With descriptors: the plan, the root unless the plan enters a container, and the network namespace if there is
    /// one.
    Start,
    Signal {
        id: String,
        signal: i32,
    },
    /// Drops the record of an exit; without one, ends the wait of attached clients.
    Forget {
        id: String,
    },
    /// A descriptor comes with the answer.
    Attach {
        id: String,
        stdin: bool,
        stdout: bool,
        stderr: bool,
        /// No frames: it has a terminal.
        raw: bool,
    },
    /// Sets the size of a terminal.
    Resize {
        id: String,
        rows: u16,
        columns: u16,
    },
    /// Kill every container and end. The end of the connection is the answer.
    End,
}

/// The keeper tells something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Message {
    Answer {
        number: u64,
        answer: Answer,
    },
    Known(Known),
    Exited {
        id: String,
        exit: Ended,
    },
    /// Another daemon has come; the connection ends.
    Replaced,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// The keeper speaks this version.
    Version(u32),
    Started {
        pid: i32,
        at: u64,
    },
    Failed(Failure),
    NotRunning,
    NoTerminal,
    TooManyClients,
}

/// A container that the keeper holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) id: String,
    pub(crate) pid: i32,
    /// Nanoseconds since 1970.
    pub(crate) started_at: u64,
    pub(crate) exit: Option<Ended>,
    /// The container that it was added to.
    pub(crate) inside: Option<String>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// The status, or 128 and the signal.
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
    pub(crate) oom_killed: bool,
    /// Nanoseconds since 1970.
    pub(crate) at: u64,
}

/// Why a container did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Failure {
    /// The plan as a whole.
    Plan { reason: String },
    /// A step that makes no sense.
    Malformed { step: usize, reason: String },
    /// A step that the kernel refused.
    Step { step: usize, errno: i32 },
    /// The container to be entered does not run.
    NotRunning { id: String },
    /// What the keeper does itself.
    Keeper { doing: Doing, errno: i32 },
    /// The process ended before it was the command's.
    Killed,
}

/// What the keeper does itself for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Doing {
    Plan,
    Log,
    Streams,
    BirthCgroup,
    Clone,
}

impl Doing {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Plan => "reading the plan",
            Self::Log => "opening the log",
            Self::Streams => "making the standard streams",
            Self::BirthCgroup => "opening the cgroup",
            Self::Clone => "making the first process",
        }
    }
}

impl Failure {
    /// A reason of any length, cut.
    pub(crate) fn plan(reason: impl Into<String>) -> Self {
        let mut reason = reason.into();
        let mut end = MAX_REASON.min(reason.len());
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        reason.truncate(end);
        Self::Plan { reason }
    }
}

/// Bytes of a message. Only numbers, short texts and plain structures travel, so this cannot fail.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// A message; `None` for everything else.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

/// What a stage says when nothing but rights and the command are left.
pub(crate) const READY: [u8; 1] = [1];

/// What a stage says with the keeper's end of its terminal.
pub(crate) const TERMINAL: [u8; 1] = [2];

/// What a stage says when a step fails.
pub(crate) fn encode_fault(step: u32, errno: i32) -> [u8; FAULT] {
    let [a, b, c, d] = step.to_le_bytes();
    let [e, f, g, h] = errno.to_le_bytes();
    [a, b, c, d, e, f, g, h]
}

/// What a stage says when it has entered a container: the process that goes on, by its number here.
pub(crate) fn encode_entered(pid: i32) -> [u8; ENTERED] {
    pid.to_le_bytes()
}

/// The length of a fault, in bytes.
const FAULT: usize = 8;

/// The length of a process number, in bytes.
const ENTERED: usize = 4;

/// More than a stage ever says at once.
pub(crate) const MAX_SAID: usize = 16;

/// One message of a stage. The end of the connection without a fault says that it is the command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Ready,
    Terminal,
    Entered(i32),
    Failed { step: u32, errno: i32 },
}

/// A message of a stage; `None` for what no stage of ours says.
pub(crate) fn decode_said(bytes: &[u8]) -> Option<Said> {
    match bytes {
        [byte] if [*byte] == READY => Some(Said::Ready),
        [byte] if [*byte] == TERMINAL => Some(Said::Terminal),
        [a, b, c, d] => Some(Said::Entered(i32::from_le_bytes([*a, *b, *c, *d]))),
        [a, b, c, d, e, f, g, h] => Some(Said::Failed {
            step: u32::from_le_bytes([*a, *b, *c, *d]),
            errno: i32::from_le_bytes([*e, *f, *g, *h]),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
