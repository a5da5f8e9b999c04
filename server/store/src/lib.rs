//! The keyspace as a pure, deterministic state machine: a tree of files and directories with the semantics of etcd's v2
//! keys. `Store::apply` takes one replicated command at a time; no clock, no randomness, no IO.
//!
//! Equal command sequences give equal states and equal [`Store::digest`]s on every member. Time is *cluster time*: a
//! replicated, monotone count of milliseconds that comes in with each command.

#![forbid(unsafe_code)]

mod apply;
mod auth;
mod codec;
mod command;
mod digest;
mod error;
mod event;
mod history;
mod key;
mod read;
mod remove;
mod snapshot;
mod stats;
mod tree;
mod ttl;
mod watch;
mod write;

pub use apply::{Applied, EXPIRIES_PER_TICK, MAX_TTL_SECONDS, Store};
pub use auth::{
    Access, Auth, AuthChange, AuthOutcome, GUEST, MAX_AUTH_BYTES, MAX_AUTH_NAME_BYTES, MAX_PATTERN_BYTES,
    Permissions, ROOT, Role, User,
};
pub use codec::CodecError;
pub use command::{Command, Condition, Kind, MAX_COMMAND_BYTES, Put};
pub use error::{StoreError, code, message};
pub use event::{Action, Event, EventNode, remaining_seconds};
pub use history::HISTORY_EVENTS;
pub use key::{Key, KeyError, MAX_DEPTH, MAX_KEY_BYTES, Value};
pub use read::{NodeView, View};
pub use snapshot::{CHUNK_BYTES, Chunks, Restorer, SnapshotError, restore};
pub use stats::{Count, Stats};
pub use watch::{Notice, Registered, WatchId, Watches};
