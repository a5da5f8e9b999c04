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

/// Why a change of the membership was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Only the leader changes the membership: certainly not made here, to be asked of that member (0: nobody is known).
    #[error("not the leader, which is {leader:x}")]
    NotLeader {
        /// The leader's id.
        leader: u64,
    },
    /// This leader has not yet committed an entry of its own: certainly not made.
    #[error("the leader is not ready")]
    NotReady,
    /// Another change is under way: certainly not made.
    #[error("another membership change is in progress")]
    InProgress,
    /// Certainly not made.
    #[error("no such member: {id:x}")]
    Unknown {
        /// The id.
        id: u64,
    },
    /// Ids are never used again: certainly not made.
    #[error("member permanently removed: {id:x}")]
    Removed {
        /// The id.
        id: u64,
    },
    /// Certainly not made.
    #[error("member already there: {id:x}")]
    Exists {
        /// The id.
        id: u64,
    },
    /// Certainly not made.
    #[error("peer URL {url} exists")]
    PeerUrlExists {
        /// The URL, of another member.
        url: String,
    },
    /// Certainly not made.
    #[error("member {id:x} is not a learner")]
    NotALearner {
        /// The id.
        id: u64,
    },
    /// Certainly not made.
    #[error("member {id:x} is not a voter")]
    NotAVoter {
        /// The id.
        id: u64,
    },
    /// A learner lacks too much of the log, or is not heard of: certainly not made.
    #[error("member {id:x} has not caught up: it has {has} of at least {needed} entries, or is silent")]
    NotCaughtUp {
        /// The learner.
        id: u64,
        /// The last entry it is known to have.
        has: u64,
        /// The last entry it must have.
        needed: u64,
    },
    /// Too few members are up for a majority before or after the change: certainly not made.
    #[error("only {up} of {needed} members of a quorum are up")]
    QuorumAtRisk {
        /// Members that were heard of.
        up: usize,
        /// Members of a majority.
        needed: usize,
    },
    /// Certainly not made.
    #[error("member {id:x} is the last voter")]
    LastVoter {
        /// The id.
        id: u64,
    },
    /// Certainly not made.
    #[error("the cluster has {limit} members already")]
    TooMany {
        /// The most there can be.
        limit: usize,
    },
    /// A name or URL is too long, or there are too many URLs: certainly not made.
    #[error("the name or the URLs of member {id:x} are too long")]
    TooLarge {
        /// The id.
        id: u64,
    },
    /// Raft refused to take it: certainly not made.
    #[error("membership change dropped")]
    Dropped,
    /// Another leader's entry took its place in the log: certainly not made.
    #[error("leader changed before the membership change was committed")]
    Superseded,
    /// No answer in time: it may have been made, or may yet be.
    #[error("membership change timed out")]
    TimedOut,
    /// This member jumped over the entry by a snapshot: it may have been made.
    #[error("outcome unknown, this member caught up by a snapshot")]
    OutcomeUnknown,
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
    /// A committed membership change that Raft does not take.
    #[error("committed entry {index} is an impossible change of the membership")]
    Membership {
        /// Its index.
        index: u64,
        /// Raft's reason.
        #[source]
        source: raft::Error,
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
    /// Not the bytes of a membership, or of a change of it.
    #[error("membership does not decode")]
    Membership,
    /// The command within does not decode.
    #[error("command does not decode")]
    Command(#[source] berth_store::CodecError),
}
