//! Everything a replica asks its driver to do.

use crate::error::{ChangeError, FatalError, ReplyError};
use crate::input::RequestId;
use crate::members::Roster;
use berth_store::{Applied, Event, Store, WatchId};
use raft::StateRole;
use raft::eraftpb::{Entry, HardState, Message};
use std::sync::Arc;

/// One thing to do. Effects are carried out in the order in which they are returned; a `Persist` may run in the
/// background as long as `Persist`s keep their order among each other.
#[derive(Debug)]
pub enum Effect {
    /// Write to the durable log; then send [`Persist::after`]; then give [`crate::Input::Persisted`].
    Persist(Persist),
    /// Send to `message.to`, as soon as possible; it waits for no disk. It may be lost, doubled or overtaken.
    Send(Message),
    /// Send this `MsgSnapshot` together with the image; then give [`crate::Input::SnapshotSent`].
    SendSnapshot {
        /// The message, without data.
        message: Message,
        /// The image it stands for; encoding it may take its time.
        store: Box<Store>,
    },
    /// The answer to an [`crate::Input::Propose`]; exactly one for each.
    Reply(Reply),
    /// The quorum read may now be served from [`crate::Replica::view`] (the view after this batch of effects).
    ReadReady {
        /// Of the [`crate::Input::QuorumRead`].
        id: RequestId,
    },
    /// The quorum read could not be confirmed in time.
    ReadFailed {
        /// Of the [`crate::Input::QuorumRead`].
        id: RequestId,
        /// Why.
        error: ReplyError,
    },
    /// The watch is open. Events it finds in the history follow as `Notify`, in this same batch.
    WatchOpened {
        /// Of the [`crate::Input::Watch`].
        watch: WatchId,
        /// The store's index at this moment (the `X-Etcd-Index` of the answer).
        index: u64,
        /// The Raft index applied so far and the term (`X-Raft-Index`, `X-Raft-Term`).
        applied: u64,
        /// The current term.
        term: u64,
    },
    /// An event for a watch.
    Notify {
        /// Whose.
        watch: WatchId,
        /// What happened.
        event: Arc<Event>,
        /// The watch is closed with this event (it was not a stream).
        last: bool,
    },
    /// The watch asked for events that are no longer in the history; it is closed (error 401).
    /// This can also befall an open watch, when this member jumped ahead by a snapshot.
    WatchCleared {
        /// Whose.
        watch: WatchId,
        /// The oldest index of the history.
        oldest: u64,
        /// The index that was asked for.
        asked: u64,
        /// The store's index at this moment.
        index: u64,
    },
    /// Write this image to disk in the background; then give [`crate::Input::SnapshotSaved`] or `SnapshotFailed`.
    /// Never more than one at a time.
    TakeSnapshot {
        /// Where in the log the image stands.
        mark: SnapshotMark,
        /// A cheap clone of the state.
        store: Box<Store>,
    },
    /// The log up to and including this index is no longer needed by the replica (the driver may keep it longer).
    Compact {
        /// The last index that may go.
        through: u64,
    },
    /// This member is now led by that one (0: nobody). Given on each change.
    LeaderChanged {
        /// The leader's id, 0 if unknown.
        leader: u64,
        /// The current term.
        term: u64,
    },
    /// The answer to an [`crate::Input::ChangeMembers`]; exactly one for each.
    ChangeReply(ChangeReply),
    /// The membership is another now: [`crate::Replica::roster`] tells it.
    RosterChanged,
    /// That member has left the cluster and does not know it: the driver tells it, so that it gets
    /// [`crate::Input::ToldRemoved`]. It may get lost; it is repeated. Only a leader says so, of a member that sent it a
    /// message: one that knows no present leader has to be helped by its driver, which knows other members' addresses.
    TellRemoved {
        /// The member.
        to: u64,
    },
    /// This member has left the cluster for ever and is no longer needed by the others. The replica takes no further input:
    /// the driver says why and ends the process.
    Removed,
    /// The replica cannot go on and takes no further input: the driver logs the reason and ends the process.
    Fatal(FatalError),
}

/// One write to the durable log: one fsync covers all of it.
#[derive(Debug)]
pub struct Persist {
    /// Rises by at least one with each `Persist`.
    pub number: u64,
    /// A received snapshot: made durable first (image and mark); all entries written before are then void, those behind its
    /// mark too, for they belonged to another log.
    pub snapshot: Option<(SnapshotMark, Box<Store>)>,
    /// Contiguous entries; they replace every entry with an index from the first of them on.
    pub entries: Vec<Entry>,
    /// The newest term, vote and commit, if they changed.
    pub hard_state: Option<HardState>,
    /// `false`: only the order has to be kept, the write need not reach the disk before `Persisted` is given.
    pub must_sync: bool,
    /// Messages that promise what this write makes true: sent only when it is on disk.
    pub after: Vec<Message>,
}

/// The one answer to a proposal.
#[derive(Debug)]
pub struct Reply {
    /// Of the [`crate::Input::Propose`].
    pub id: RequestId,
    /// What became of it. `Err(ReplyError::Store(_))` was applied and refused by the keyspace.
    pub outcome: Result<Applied, ReplyError>,
    /// The store's index when the answer was made.
    pub index: u64,
    /// The Raft index applied when the answer was made.
    pub applied: u64,
    /// The current term.
    pub term: u64,
}

/// The one answer to a membership change.
#[derive(Debug)]
pub struct ChangeReply {
    /// Of the [`crate::Input::ChangeMembers`].
    pub id: RequestId,
    /// Whether it was made. A replacement is made when both sets of voters count; the state with one follows by itself.
    pub outcome: Result<(), ChangeError>,
}

/// A position in the log that an image of the state stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotMark {
    /// The last entry the image contains.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// The voting members at that index.
    pub voters: Vec<u64>,
    /// The whole membership at that index. Empty in the marks of earlier versions: then the voters are all there is.
    pub roster: Roster,
}

impl SnapshotMark {
    /// The membership, of an earlier version's mark too.
    pub(crate) fn membership(&self) -> Roster {
        if self.roster.is_empty() {
            Roster::founding(&self.voters)
        } else {
            self.roster.clone()
        }
    }
}

/// A look at the replica from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// This member.
    pub id: u64,
    /// The leader it follows, 0 if unknown; its own id if it leads.
    pub leader: u64,
    /// What it is.
    pub role: StateRole,
    /// Its term.
    pub term: u64,
    /// The commit index it knows of.
    pub commit: u64,
    /// The last entry its state contains.
    pub applied: u64,
    /// The last entry of its log, durable or not.
    pub last: u64,
    /// Whether a leader is known and, if it is this member, its own first entry is applied: writes and reads may begin.
    pub ready: bool,
    /// Whether it is the only voter: its state then contains every write that was ever answered, and no other member can
    /// have taken one.
    pub alone: bool,
}

impl Status {
    /// Whether a read of the applied state is linearizable without a word to anybody.
    pub fn reads_alone(&self) -> bool {
        self.alone && self.ready && self.role == StateRole::Leader
    }
}
