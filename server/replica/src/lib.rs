//! One Raft member of the store as a pure state machine.
//!
//! A [`Replica`] takes [`Input`]s and a monotonic time and answers with [`Effect`]s; it reads no clock, opens no file,
//! starts no thread and takes no lock. The node and the simulator are two drivers of this same machine.

#![forbid(unsafe_code)]

mod change;
mod codec;
mod compaction;
mod config;
mod effect;
mod election;
mod entry;
mod error;
mod expiry;
mod forward;
mod input;
mod log;
mod members;
mod pending;
mod reads;
mod ready;
mod reconfigure;
mod replica;
mod validate;
pub mod wal;
mod watches;

pub use change::membership_change;
pub use codec::{
    MAX_ENTRY_BYTES, MAX_MESSAGE_BYTES, decode_entry, decode_message, encode_entry, encode_message,
};
pub use config::{Limits, Recovered, ReplicaConfig};
pub use effect::{ChangeReply, Effect, Persist, Reply, SnapshotMark, Status};
pub use error::{ChangeError, CodecError, FatalError, ReplicaError, ReplyError};
pub use input::{Input, Millis, RequestId};
pub use members::{Change, Member, Roster};
pub use raft::StateRole as Role;
pub use raft::eraftpb::{Entry, HardState, Message, MessageType};
pub use replica::Replica;
