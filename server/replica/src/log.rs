//! The Raft log as Raft reads it: the entries from the newest snapshot on, in memory, durable or on their way to the disk.

use crate::change::membership_change;
use crate::config::Recovered;
use crate::effect::SnapshotMark;
use crate::entry;
use crate::error::ReplicaError;
use crate::members::Roster;
use berth_store::Store;
use prost::Message as _;
use raft::eraftpb::{Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};
use std::cell::Cell;
use std::collections::VecDeque;

pub(crate) struct Log {
    /// Only read when Raft starts.
    initial: HardState,
    roster: Roster,
    /// Index and term of the entry before the first one held.
    base: (u64, u64),
    entries: VecDeque<Entry>,
    /// The image to send to members that are too far behind.
    image: Option<(SnapshotMark, Store)>,
    /// Raft asked for an image and there was none new enough.
    wanted: Cell<bool>,
}

impl Log {
    /// The log over what the disk held, and the state it starts from.
    pub(crate) fn recover(
        voters: &[u64],
        recovered: Recovered,
    ) -> Result<(Log, Option<(SnapshotMark, Store)>), ReplicaError> {
        let Recovered {
            mut hard_state,
            snapshot,
            entries,
        } = recovered;
        let mark = snapshot
            .as_ref()
            .map(|(mark, _)| mark.clone())
            .unwrap_or_default();
        let mut kept = VecDeque::with_capacity(entries.len());
        let mut last = mark.index;
        for entry in entries.into_iter().filter(|entry| entry.index > mark.index) {
            if entry.index != last + 1 {
                return Err(ReplicaError::Gap {
                    after: last,
                    found: entry.index,
                });
            }
            last = entry.index;
            kept.push_back(entry);
        }
        if hard_state.commit > last {
            return Err(ReplicaError::CommitBeyondLog {
                commit: hard_state.commit,
                last,
            });
        }
        hard_state.commit = hard_state.commit.max(mark.index).max(proven(&kept));
        hard_state.term = hard_state.term.max(mark.term);
        let roster = match &snapshot {
            Some((mark, _)) if !mark.membership().is_empty() => mark.membership(),
            Some(_) | None => Roster::founding(voters),
        };
        let log = Log {
            initial: hard_state,
            roster,
            base: (mark.index, mark.term),
            entries: kept,
            image: None,
            wanted: Cell::new(false),
        };
        Ok((log, snapshot))
    }

    /// The membership that Raft starts from.
    pub(crate) fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) fn last(&self) -> u64 {
        self.entries.back().map_or(self.base.0, |entry| entry.index)
    }

    /// Whether an entry behind this index removes the member.
    pub(crate) fn removes(&self, id: u64, after: u64) -> bool {
        let later = self.entries.iter().rev().take_while(|entry| entry.index > after);
        let changes = later.filter(|entry| !entry::is_normal(entry));
        changes
            .filter_map(membership_change)
            .flatten()
            .any(|change| change.removes() == Some(id))
    }

    /// Adds entries; they replace what stood from the first of them on.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        debug_assert!(
            first.index > self.base.0 && first.index <= self.last() + 1,
            "raft appends contiguously"
        );
        self.entries.truncate(offset(self.base.0 + 1, first.index));
        self.entries.extend(entries.iter().cloned());
    }

    /// Starts over behind a received snapshot.
    pub(crate) fn install(&mut self, mark: &SnapshotMark) {
        self.entries.clear();
        self.base = (mark.index, mark.term);
        self.image = None;
    }

    /// Forgets the entries up to and including `through`.
    pub(crate) fn compact(&mut self, through: u64) {
        let through = through.min(self.last());
        if through <= self.base.0 {
            return;
        }
        let Ok(term) = self.term(through) else { return };
        self.entries.drain(..offset(self.base.0, through));
        self.base = (through, term);
        if self.image.as_ref().is_some_and(|(mark, _)| mark.index < through) {
            self.image = None;
        }
    }

    /// Whether Raft waits for an image; asking resets it.
    pub(crate) fn image_wanted(&self) -> bool {
        self.wanted.take()
    }

    pub(crate) fn set_image(&mut self, mark: SnapshotMark, store: Store) {
        self.image = Some((mark, store));
    }

    pub(crate) fn image(&self) -> Option<&(SnapshotMark, Store)> {
        self.image.as_ref()
    }
}

/// The commit index that the entries themselves prove: a leader appends a membership change only when it has applied the
/// one before. Whoever has both must not stand for election by the members of before the first.
fn proven(entries: &VecDeque<Entry>) -> u64 {
    let changes = entries.iter().rev().filter(|entry| !entry::is_normal(entry));
    changes.map(|entry| entry.index).nth(1).unwrap_or(0)
}

/// The distance of two indices of entries held in memory.
fn offset(from: u64, to: u64) -> usize {
    usize::try_from(to.saturating_sub(from)).unwrap_or(usize::MAX)
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.initial.clone(), self.roster.conf_state()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let limit = max_size.into().unwrap_or(u64::MAX);
        let first = self.base.0 + 1;
        let mut size = 0;
        let mut found = Vec::new();
        for entry in self.entries.range(offset(first, low)..offset(first, high)) {
            size += entry.encoded_len() as u64;
            // One entry is always given, else a large one could never be sent.
            if size > limit && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base.0 {
            return Ok(self.base.1);
        }
        if index < self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        let entry = self.entries.get(offset(self.base.0 + 1, index));
        entry
            .map(|entry| entry.term)
            .ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let needed = request_index.max(self.base.0).max(1);
        match &self.image {
            // A receiver that the image does not know as a member would refuse it.
            Some((mark, _)) if mark.index >= needed && mark.membership().contains(to) => Ok(Snapshot {
                data: mark.membership().encode(),
                metadata: Some(SnapshotMetadata {
                    conf_state: Some(mark.membership().conf_state()),
                    index: mark.index,
                    term: mark.term,
                }),
            }),
            Some(_) | None => {
                self.wanted.set(true);
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}
