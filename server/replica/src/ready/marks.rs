//! Where in the log a snapshot message stands, and the membership it tells of.

use crate::effect::SnapshotMark;
use crate::members::Roster;
use raft::eraftpb::{Message, Snapshot};

/// The index that a snapshot message carries; 0 if it carries none.
pub(crate) fn snapshot_index(message: &Message) -> u64 {
    let snapshot = message.snapshot.as_ref();
    let meta = snapshot.and_then(|snapshot| snapshot.metadata.as_ref());
    meta.map_or(0, |meta| meta.index)
}

/// The mark a snapshot carries; none if its membership is not one. Earlier versions give only Raft's part of it.
pub(crate) fn mark_of(snapshot: &Snapshot) -> Option<SnapshotMark> {
    let meta = snapshot.metadata.as_ref()?;
    let told = Roster::bare(meta.conf_state.as_ref()?);
    let roster = if snapshot.data.is_empty() {
        told.clone()
    } else {
        Roster::decode(&snapshot.data).ok()?
    };
    let sound = roster.is_sound() && roster.conf_state() == told.conf_state();
    sound.then(|| SnapshotMark {
        index: meta.index,
        term: meta.term,
        voters: roster.voters.iter().copied().collect(),
        roster,
    })
}
