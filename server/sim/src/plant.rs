//! Planted bugs: each is a mistake that a real driver, disk or reader could make, to prove that the simulator sees it.

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
    /// Damaged messages are taken.
    FrameUnchecked,
    /// A learner may become a voter however little of the log it has.
    PromoteEarly,
    /// A member that was removed is started again, with the membership of before.
    RemovedRestarts,
    /// A member comes back under its old id with an empty disk.
    IdReused,
    /// Images are read without their membership.
    RosterLost,
    /// The log is written and reported as durable without a sync.
    SyncForgotten,
    /// A sync that failed is taken for one that worked.
    SyncErrorIgnored,
    /// A segment gets its name before its bytes are durable.
    SegmentNamedBeforeSync,
    /// Names in directories are not made durable.
    NamesNotSynced,
    /// An image gets its name before its bytes are durable.
    ImageNamedBeforeSync,
    /// The log says that an image took the place of everything before that image is there.
    MarkBeforeImage,
    /// Term, vote and commit are not written.
    HardStateNotWritten,
    /// A vote is not written.
    VoteNotWritten,
    /// Entries that replace others are not written.
    TruncationNotWritten,
    /// The log is cut up to the newest image, though the older one may be needed.
    LogCutTooFar,
    /// A batch that was not finished counts as far as it came.
    TornTailAccepted,
    /// Records count whether or not their data is what was written.
    ChecksumUnchecked,
}

impl Plant {
    /// Those of the driver and the network.
    pub const OF_DRIVER: [Plant; 12] = [
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
        Plant::FrameUnchecked,
    ];

    /// Those that matter when the membership changes.
    pub const OF_MEMBERS: [Plant; 4] = [
        Plant::PromoteEarly,
        Plant::RemovedRestarts,
        Plant::IdReused,
        Plant::RosterLost,
    ];

    /// Those of the durable half.
    pub const OF_DISK: [Plant; 12] = [
        Plant::SyncForgotten,
        Plant::SyncErrorIgnored,
        Plant::SegmentNamedBeforeSync,
        Plant::NamesNotSynced,
        Plant::ImageNamedBeforeSync,
        Plant::MarkBeforeImage,
        Plant::HardStateNotWritten,
        Plant::VoteNotWritten,
        Plant::TruncationNotWritten,
        Plant::LogCutTooFar,
        Plant::TornTailAccepted,
        Plant::ChecksumUnchecked,
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Plant> {
        Plant::OF_DRIVER
            .into_iter()
            .chain(Plant::OF_MEMBERS)
            .chain(Plant::OF_DISK)
    }

    /// The one of that name, as `Debug` writes it.
    pub fn named(name: &str) -> Option<Plant> {
        Plant::all().find(|plant| format!("{plant:?}") == name)
    }

    /// Whether it only matters when the membership changes.
    pub fn needs_churn(self) -> bool {
        Plant::OF_MEMBERS.contains(&self)
    }
}
