//! Everything that can happen to a replica.

use crate::members::Change;
use berth_store::{Command, Key, Store, WatchId};
use raft::eraftpb::Message;

/// Monotonic milliseconds of the driver's clock. Only differences matter; it must never go back.
pub type Millis = u64;

/// The driver's name for one request. It must not be reused while the request is unanswered; proposals and quorum
/// reads share one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One thing that happened. Inputs are handled in the order in which they are given.
#[derive(Debug)]
pub enum Input {
    /// One tick of the driver's timer, each [`crate::Limits::tick_ms`]. Drives elections, heartbeats, time-outs, expiry.
    Tick,
    /// A message from another member. It may be any bytes that decoded: it is checked before Raft sees it.
    /// A `MsgSnapshot` given here instead of [`Input::Snapshot`] is dropped, because its image is missing.
    Message(Message),
    /// A snapshot message from the leader, with the image the driver received beside it and checked.
    Snapshot {
        /// The `MsgSnapshot` message.
        message: Message,
        /// The restored image.
        store: Box<Store>,
    },
    /// A write. Exactly one [`crate::Effect::Reply`] answers it.
    Propose {
        /// Named again in the reply.
        id: RequestId,
        /// What to apply. Its cluster time is stamped by the leader; what the driver put there is replaced.
        command: Command,
    },
    /// A change of the membership; only the leader makes one. Exactly one [`crate::Effect::ChangeReply`] answers it.
    ChangeMembers {
        /// Named again in the answer; of the same space as those of writes.
        id: RequestId,
        /// What to change.
        change: Change,
    },
    /// This member, if it leads, hands the leadership on, before it ends for example. [`crate::Effect::LeaderChanged`] tells
    /// of the success; without one in an election time-out this member leads on. Writes are refused in between.
    TransferLeader {
        /// The new leader, a voter. None: the voter that has most of the log.
        to: Option<u64>,
    },
    /// Another member refused this member's message since it has left the cluster for ever. The driver must be sure that
    /// it comes from a member.
    ToldRemoved {
        /// Who says so.
        by: u64,
    },
    /// A linearizable read. Exactly one [`crate::Effect::ReadReady`] or [`crate::Effect::ReadFailed`] answers it.
    QuorumRead {
        /// Named again in the answer.
        id: RequestId,
    },
    /// Opens a watch: the history is scanned and the watch registered in one step, so that no event falls between.
    /// Answered by [`crate::Effect::WatchOpened`] or [`crate::Effect::WatchCleared`], at once.
    Watch {
        /// The driver's name for the watch; must be free.
        id: WatchId,
        /// What is watched.
        key: Key,
        /// Whether events below the key count.
        recursive: bool,
        /// Whether the watch stays after its first event.
        stream: bool,
        /// The first index of interest; `None` means from now on.
        since: Option<u64>,
    },
    /// Closes a watch; an unknown one is ignored.
    Unwatch {
        /// The watch to forget.
        id: WatchId,
    },
    /// The `Persist` of this number, and so all before it, is on disk (synced, if it asked for that).
    Persisted {
        /// [`crate::Persist::number`].
        number: u64,
    },
    /// The image handed out by [`crate::Effect::TakeSnapshot`] is durable.
    SnapshotSaved {
        /// The index of its mark.
        index: u64,
    },
    /// The image could not be written; the next one is tried after another `snapshot_count` entries.
    SnapshotFailed {
        /// The index of its mark.
        index: u64,
    },
    /// The outcome of an [`crate::Effect::SendSnapshot`]. It must be given for each of them, also when the connection is lost:
    /// nothing more is sent to that member before.
    SnapshotSent {
        /// The receiver.
        to: u64,
        /// Whether it arrived.
        delivered: bool,
    },
    /// A message to this member could not be sent. At most once a tick for each member.
    Unreachable {
        /// The member.
        peer: u64,
    },
}
