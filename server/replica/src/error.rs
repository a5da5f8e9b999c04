//! What can go wrong at the replica's boundary.

use berth_store::StoreError;

/// A replica could not be made from what the disk held.
#[derive(Debug, thiserror::Error)]
pub enum ReplicaError {
    /// The configuration does not name this member.
    #[error("member {id:x} is not one of the voters")]
    NotAVoter {
        /// The member.
        id: u64,
    },
    /// There is a hole between the snapshot and the log, or within the log.
    #[error("log entry {found} follows {after}: entries are missing in between")]
    Gap {
        /// The last index before the hole.
        after: u64,
        /// The index found instead of the next one.
        found: u64,
    },
    /// The durable commit index is beyond the durable log: entries that were acknowledged are gone.
    #[error("commit index {commit} is beyond the last log entry {last}")]
    CommitBeyondLog {
        /// The durable commit index.
        commit: u64,
        /// The last entry found.
        last: u64,
    },
    /// A limit makes no sense to Raft.
    #[error("raft refused the configuration")]
    Raft(#[source] raft::Error),
}

/// Why a request got no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReplyError {
    /// Applied, and refused by the keyspace: certainly without effect.
    #[error("{0}")]
    Store(StoreError),
    /// No leader is known: certainly not applied.
    #[error("no leader")]
    NoLeader,
    /// Too many requests wait for an answer already: certainly not applied.
    #[error("too many requests")]
    Overloaded,
    /// Raft refused to take it (leadership is being handed over, or too much is uncommitted): certainly not applied.
    #[error("proposal dropped")]
    Dropped,
    /// Another leader's entry took its place in the log: certainly not applied.
    #[error("leader changed before the write was committed")]
    Superseded,
    /// No answer in time: it may have been applied, or may yet be.
    #[error("request timed out")]
    TimedOut,
    /// This member jumped over the entry by a snapshot: it may have been applied.
    #[error("outcome unknown, this member caught up by a snapshot")]
    Unknown,
    /// The encoded command exceeds the size of an entry: certainly not applied.
    #[error("request is too large")]
    TooLarge,
}

/// Why a replica cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// A committed entry does not decode: written by a newer version, or damaged.
    #[error("committed entry {index} does not decode")]
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong with it.
        #[source]
        source: CodecError,
    },
    /// A committed membership change; this version has a fixed membership.
    #[error("committed entry {index} changes the membership, which is not supported yet")]
    Membership {
        /// Its index.
        index: u64,
    },
    /// Raft reported an error that no input may cause.
    #[error("raft failed")]
    Raft(#[source] raft::Error),
    /// Raft installed a snapshot whose image was never handed in.
    #[error("snapshot at {index} has no image")]
    MissingImage {
        /// Its index.
        index: u64,
    },
}

/// Bytes that are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Larger than the limit.
    #[error("{bytes} bytes exceed the limit of {limit}")]
    TooLarge {
        /// Size found.
        bytes: usize,
        /// Size allowed.
        limit: usize,
    },
    /// Not a protocol buffer of the expected type.
    #[error("malformed")]
    Malformed(#[source] prost::DecodeError),
    /// The request's origin is not 16 bytes.
    #[error("origin has {bytes} bytes")]
    Origin {
        /// Size found.
        bytes: usize,
    },
    /// The command within does not decode.
    #[error("command does not decode")]
    Command(#[source] berth_store::CodecError),
}
