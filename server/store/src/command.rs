//! The commands that are replicated, and their bytes.

use crate::auth::{AuthChange, read_change, write_change};
use crate::codec::{CodecError, Reader, Writer};
use crate::key::{Key, Value};

/// The largest encoded command that is decoded. The HTTP side allows bodies far below this.
pub const MAX_COMMAND_BYTES: usize = 16 << 20;

/// Says how the rest is laid out. Another number is refused.
const COMMAND_VERSION: u8 = 1;

/// One replicated step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The leader's cluster time in milliseconds when it proposed this. The state's own time never goes back.
    pub cluster_ms: u64,
    /// What to do.
    pub kind: Kind,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Creates or replaces.
    Set(Put),
    /// Creates; fails if the key is there. `refresh` means nothing here.
    Create(Put),
    /// Changes what is there; `dir` means nothing here.
    Update(Put),
    /// Changes a file if the condition holds; `dir` means nothing here.
    CompareAndSwap(Put, Condition),
    /// Creates a child of the key, named by the index of this write; `refresh` means nothing here.
    CreateInOrder(Put),
    /// Removes.
    Delete {
        /// What.
        key: Key,
        /// Whether it may be an empty directory.
        dir: bool,
        /// Whether it may be a directory with all below.
        recursive: bool,
    },
    /// Removes a file if the condition holds.
    CompareAndDelete {
        /// What.
        key: Key,
        /// On what condition.
        condition: Condition,
    },
    /// Lets cluster time move to `cluster_ms` and removes what is due, at most [`crate::EXPIRIES_PER_TICK`] nodes.
    Tick,
    /// Moves the index by one without a visible event: the cluster's own writes of other implementations.
    Bump,
    /// Changes users and roles.
    Auth(AuthChange),
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    /// Where.
    pub key: Key,
    /// The value of a file; empty is the same as absent.
    pub value: Value,
    /// A directory instead of a file.
    pub dir: bool,
    /// Seconds to live, counted from the command's cluster time; `None` is for ever.
    pub ttl: Option<u64>,
    /// Keeps the value and wakes no watcher.
    pub refresh: bool,
}

/// What has to hold for a compare-and-swap or -delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The value that the file must have; `None` or empty is no condition.
    pub prev_value: Option<Value>,
    /// The `modifiedIndex` that the file must have; 0 is no condition.
    pub prev_index: u64,
}

impl Put {
    /// A permanent file.
    pub fn file(key: Key, value: impl Into<Value>) -> Put {
        Put {
            key,
            value: value.into(),
            dir: false,
            ttl: None,
            refresh: false,
        }
    }

    /// A permanent directory.
    pub fn directory(key: Key) -> Put {
        Put {
            key,
            value: Value::default(),
            dir: true,
            ttl: None,
            refresh: false,
        }
    }

    /// The same with seconds to live.
    pub fn with_ttl(self, seconds: u64) -> Put {
        Put {
            ttl: Some(seconds),
            ..self
        }
    }
}

impl Kind {
    /// The key that a client named; none for `Tick`, `Bump` and `Auth`.
    pub fn key(&self) -> Option<&Key> {
        match self {
            Kind::Set(put)
            | Kind::Create(put)
            | Kind::Update(put)
            | Kind::CompareAndSwap(put, _)
            | Kind::CreateInOrder(put) => Some(&put.key),
            Kind::Delete { key, .. } | Kind::CompareAndDelete { key, .. } => Some(key),
            Kind::Tick | Kind::Bump | Kind::Auth(_) => None,
        }
    }
}

impl From<Kind> for Command {
    fn from(kind: Kind) -> Command {
        Command { cluster_ms: 0, kind }
    }
}

impl Command {
    /// Moves cluster time and expires what is due.
    pub fn tick(cluster_ms: u64) -> Command {
        Command {
            cluster_ms,
            kind: Kind::Tick,
        }
    }

    /// Moves the index by one.
    pub fn bump() -> Command {
        Kind::Bump.into()
    }

    /// The bytes for the log.
    pub fn encode(&self) -> Vec<u8> {
        let mut out =
            Writer::with_capacity(ENCODE_GUESS + self.kind.key().map_or(0, |key| key.as_bytes().len()));
        out.byte(COMMAND_VERSION);
        out.number(self.cluster_ms);
        match &self.kind {
            Kind::Set(put) => write_put(&mut out, TAG_SET, put),
            Kind::Create(put) => write_put(&mut out, TAG_CREATE, put),
            Kind::Update(put) => write_put(&mut out, TAG_UPDATE, put),
            Kind::CompareAndSwap(put, condition) => {
                write_put(&mut out, TAG_SWAP, put);
                write_condition(&mut out, condition);
            }
            Kind::CreateInOrder(put) => write_put(&mut out, TAG_IN_ORDER, put),
            Kind::Delete { key, dir, recursive } => {
                out.byte(TAG_DELETE);
                out.bytes(key.as_bytes());
                out.byte(u8::from(*dir) * FLAG_DIR + u8::from(*recursive) * FLAG_RECURSIVE);
            }
            Kind::CompareAndDelete { key, condition } => {
                out.byte(TAG_COMPARE_DELETE);
                out.bytes(key.as_bytes());
                write_condition(&mut out, condition);
            }
            Kind::Tick => out.byte(TAG_TICK),
            Kind::Bump => out.byte(TAG_BUMP),
            Kind::Auth(change) => {
                out.byte(TAG_AUTH);
                write_change(&mut out, change);
            }
        }
        out.finish()
    }

    /// A command from its bytes. Every input gives a command or an error; nothing is read past the end.
    pub fn decode(bytes: &[u8]) -> Result<Command, CodecError> {
        if bytes.len() > MAX_COMMAND_BYTES {
            return Err(CodecError::TooLarge {
                bytes: bytes.len(),
                limit: MAX_COMMAND_BYTES,
            });
        }
        let mut from = Reader::new(bytes);
        let version = from.byte()?;
        if version != COMMAND_VERSION {
            return Err(CodecError::Version {
                version: u64::from(version),
            });
        }
        let cluster_ms = from.number()?;
        let kind = match from.byte()? {
            TAG_SET => Kind::Set(read_put(&mut from)?),
            TAG_CREATE => Kind::Create(read_put(&mut from)?),
            TAG_UPDATE => Kind::Update(read_put(&mut from)?),
            TAG_SWAP => Kind::CompareAndSwap(read_put(&mut from)?, read_condition(&mut from)?),
            TAG_IN_ORDER => Kind::CreateInOrder(read_put(&mut from)?),
            TAG_DELETE => {
                let key = from.key()?;
                let flags = from.flags(FLAG_DIR | FLAG_RECURSIVE)?;
                Kind::Delete {
                    key,
                    dir: flags & FLAG_DIR != 0,
                    recursive: flags & FLAG_RECURSIVE != 0,
                }
            }
            TAG_COMPARE_DELETE => Kind::CompareAndDelete {
                key: from.key()?,
                condition: read_condition(&mut from)?,
            },
            TAG_TICK => Kind::Tick,
            TAG_BUMP => Kind::Bump,
            TAG_AUTH => Kind::Auth(read_change(&mut from)?),
            tag => return Err(CodecError::Tag { tag }),
        };
        from.end()?;
        Ok(Command { cluster_ms, kind })
    }
}

const TAG_SET: u8 = 1;
const TAG_CREATE: u8 = 2;
const TAG_UPDATE: u8 = 3;
const TAG_SWAP: u8 = 4;
const TAG_IN_ORDER: u8 = 5;
const TAG_DELETE: u8 = 6;
const TAG_COMPARE_DELETE: u8 = 7;
const TAG_TICK: u8 = 8;
const TAG_BUMP: u8 = 9;
const TAG_AUTH: u8 = 10;

const FLAG_DIR: u8 = 1;
const FLAG_REFRESH: u8 = 2;
const FLAG_TTL: u8 = 4;
const FLAG_RECURSIVE: u8 = 8;
const FLAG_PREV_VALUE: u8 = 1;

/// Room for everything but the key in a command with a small value, so that most encode in one allocation.
const ENCODE_GUESS: usize = 96;

fn write_put(out: &mut Writer, tag: u8, put: &Put) {
    out.byte(tag);
    out.bytes(put.key.as_bytes());
    out.byte(
        u8::from(put.dir) * FLAG_DIR
            + u8::from(put.refresh) * FLAG_REFRESH
            + u8::from(put.ttl.is_some()) * FLAG_TTL,
    );
    if let Some(ttl) = put.ttl {
        out.number(ttl);
    }
    out.bytes(&put.value);
}

fn read_put(from: &mut Reader<'_>) -> Result<Put, CodecError> {
    let key = from.key()?;
    let flags = from.flags(FLAG_DIR | FLAG_REFRESH | FLAG_TTL)?;
    let ttl = if flags & FLAG_TTL != 0 {
        Some(from.number()?)
    } else {
        None
    };
    let value = from.bytes()?.into();
    Ok(Put {
        key,
        value,
        dir: flags & FLAG_DIR != 0,
        ttl,
        refresh: flags & FLAG_REFRESH != 0,
    })
}

fn write_condition(out: &mut Writer, condition: &Condition) {
    out.number(condition.prev_index);
    out.byte(u8::from(condition.prev_value.is_some()) * FLAG_PREV_VALUE);
    if let Some(value) = &condition.prev_value {
        out.bytes(value);
    }
}

fn read_condition(from: &mut Reader<'_>) -> Result<Condition, CodecError> {
    let prev_index = from.number()?;
    let flags = from.flags(FLAG_PREV_VALUE)?;
    let prev_value = if flags & FLAG_PREV_VALUE != 0 {
        Some(from.bytes()?.into())
    } else {
        None
    };
    Ok(Condition {
        prev_value,
        prev_index,
    })
}
