//! Planted bugs of the driver: each is a mistake that a real one could make, to prove that the simulator sees it.

/// One planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Messages of a `Persist` are sent before its write is synced.
    SendBeforeSync,
    /// A `Persist` is reported as done before its write is synced.
    PersistedBeforeSync,
    /// A crash takes a synced term and vote.
    HardStateLost,
    /// A crash takes synced entries.
    EntriesLost,
    /// Some replies are delivered twice.
    ReplyTwice,
    /// Some replies are not delivered.
    ReplyLost,
    /// Replies are given to the request that has waited longest.
    ReplySwapped,
    /// Quorum reads are served at once from what the member knows.
    ReadWithoutQuorum,
    /// Some events do not reach their watch.
    NotifyLost,
    /// Nobody is told that an image could not be sent.
    SnapshotReportLost,
    /// A member's clock jumps ahead by an hour now and then.
    ClockJump,
    /// A learner may become a voter however little of the log it has.
    PromoteEarly,
    /// A member that was removed is started again, with the membership of before.
    RemovedRestarts,
    /// A member comes back under its old id with an empty disk.
    IdReused,
    /// Images are read without their membership.
    RosterLost,
}

impl Plant {
    /// All of them.
    pub const ALL: [Plant; 11] = [
        Plant::SendBeforeSync,
        Plant::PersistedBeforeSync,
        Plant::HardStateLost,
        Plant::EntriesLost,
        Plant::ReplyTwice,
        Plant::ReplyLost,
        Plant::ReplySwapped,
        Plant::ReadWithoutQuorum,
        Plant::NotifyLost,
        Plant::SnapshotReportLost,
        Plant::ClockJump,
    ];

    /// Those that matter when the membership changes.
    pub const OF_MEMBERS: [Plant; 4] = [
        Plant::PromoteEarly,
        Plant::RemovedRestarts,
        Plant::IdReused,
        Plant::RosterLost,
    ];
}
