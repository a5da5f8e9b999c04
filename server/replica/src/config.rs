//! What a replica starts from: who it is, its limits, and what the disk held.

use crate::effect::SnapshotMark;
use crate::input::Millis;
use berth_store::Store;
use raft::eraftpb::{Entry, HardState};

/// Who a replica is.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// This member; not 0, and one of the voters if there are any. An id is used once in the life of a cluster, and never with
    /// a data directory that has lost what it held.
    pub id: u64,
    /// The members of a cluster that starts from nothing; empty for a member that is added later, at each of its starts: it
    /// learns the membership from the leader. Until it has, its driver asks the others whether it was removed meanwhile. Once a snapshot exists its mark counts instead.
    pub voters: Vec<u64>,
    /// A number that no earlier life of this member had (random in the node, drawn from the seed in the simulator):
    /// it keeps answers to an earlier life from being taken for answers to this one.
    pub incarnation: u64,
    /// Spreads the election time-outs; the same seed gives the same time-outs.
    pub seed: u64,
    /// Bounds.
    pub limits: Limits,
}

/// The bounds of a replica. The defaults suit production; the simulator makes some of them smaller.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Time between two `Tick` inputs.
    pub tick_ms: Millis,
    /// Ticks between two heartbeats of a leader.
    pub heartbeat_ticks: usize,
    /// The shortest election time-out in ticks; the longest is twice that.
    pub election_ticks: usize,
    /// Entries applied between two snapshots.
    pub snapshot_count: u64,
    /// Entries kept in memory behind a snapshot so that a slow member need not be sent an image.
    pub catch_up_entries: u64,
    /// Proposals without an answer; more are refused with [`crate::ReplyError::Overloaded`].
    pub max_pending: usize,
    /// Quorum reads without an answer; more are refused with [`crate::ReplyError::Overloaded`].
    pub max_reads: usize,
    /// After this time without an answer a request gets [`crate::ReplyError::TimedOut`]
    /// (etcd v2: 5 s plus two election time-outs).
    pub request_timeout_ms: Millis,
    /// How much of the leader's log a learner must have to become a voter, in percent.
    pub promotion_percent: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            tick_ms: 100,
            heartbeat_ticks: 1,
            election_ticks: 10,
            snapshot_count: 10_000,
            catch_up_entries: 5_000,
            max_pending: 4_096,
            max_reads: 16_384,
            request_timeout_ms: 7_000,
            promotion_percent: 90,
        }
    }
}

/// What the disk held. All default for a member that starts from nothing.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The last durable term, vote and commit. A commit below the snapshot's index is raised to it.
    pub hard_state: HardState,
    /// The newest durable image.
    pub snapshot: Option<(SnapshotMark, Store)>,
    /// The durable entries, contiguous. Those the snapshot contains are dropped.
    pub entries: Vec<Entry>,
}
