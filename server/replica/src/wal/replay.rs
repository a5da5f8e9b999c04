//! What the records of a log amount to: entries, the mark they stand on, the newest hard state.

use crate::codec::decode_entry;
use crate::effect::SnapshotMark;
use crate::wal::error::{WalError, corrupt};
use crate::wal::record::{self, Kind};
use crate::wal::segment::Found;
use raft::eraftpb::{Entry, HardState};
use std::path::Path;

/// A log that was read.
#[derive(Debug, Default)]
pub struct Replay {
    /// Contiguous.
    pub entries: Vec<Entry>,
    /// Index and term of a received image after which the entries stand.
    pub base: Option<(u64, u64)>,
    /// The newest.
    pub hard_state: HardState,
}

/// The part of a log that counts beside an image.
#[derive(Debug)]
pub struct Kept {
    /// Those that follow the image.
    pub entries: Vec<Entry>,
    /// The log has to be told about the image before it takes further entries: they would not follow on what it holds.
    pub mark_missing: bool,
}

impl Replay {
    /// The index after which the log goes on.
    pub fn last(&self) -> u64 {
        let base = self.base.map_or(0, |(index, _)| index);
        self.entries.last().map_or(base, |entry| entry.index)
    }

    /// Whether nothing was ever written.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.base.is_none() && self.hard_state == HardState::default()
    }

    /// Takes the next record.
    pub fn take(&mut self, path: &Path, found: &Found<'_>) -> Result<(), WalError> {
        let damaged = |reason| corrupt(path, found.offset, reason);
        match found.kind {
            Kind::Entry => {
                let entry = decode_entry(found.data).map_err(|_| damaged("the entry cannot be decoded"))?;
                if (entry.index, entry.term) != (found.index, found.term) {
                    return Err(damaged("the entry is not the one its record names"));
                }
                self.push(entry)
                    .map_err(|()| damaged("the entry does not follow on those before"))
            }
            Kind::HardState => {
                let state = record::read_hard_state(found.data);
                self.hard_state = state.ok_or_else(|| damaged("the hard state cannot be read"))?;
                Ok(())
            }
            Kind::Mark => {
                self.entries.clear();
                self.base = Some((found.index, found.term));
                Ok(())
            }
            Kind::Seal => Ok(()),
        }
    }

    /// Adds an entry; it replaces those from its index on.
    fn push(&mut self, entry: Entry) -> Result<(), ()> {
        let first = match (self.entries.first(), self.base) {
            // Where the log was cut, an entry that was overruled may come first, followed by what overruled it and some
            // of those before.
            (Some(first), None) => first.index.min(entry.index.max(1)),
            (Some(first), Some(_)) => first.index,
            (None, Some((index, _))) => index.saturating_add(1),
            // The log may begin anywhere: what stood before was compacted.
            (None, None) => entry.index.max(1),
        };
        if entry.index < first || entry.index > first.saturating_add(self.entries.len() as u64) {
            return Err(());
        }
        self.entries
            .truncate(usize::try_from(entry.index - first).map_err(|_| ())?);
        self.entries.push(entry);
        Ok(())
    }

    /// The entries that go on from an image, or from nothing. The error says what does not fit.
    pub fn after(&mut self, mark: Option<&SnapshotMark>) -> Result<Kept, &'static str> {
        let first = self.entries.first().map(|entry| entry.index);
        let Some(mark) = mark else {
            return if self.base.is_none() && first.is_none_or(|first| first == 1) {
                Ok(self.kept(0))
            } else {
                Err("the log begins after an image that is not there")
            };
        };
        if self.base.is_some_and(|(index, _)| index > mark.index) {
            return Err("the log goes on from a newer image that cannot be read");
        }
        let none = Kept {
            entries: Vec::new(),
            mark_missing: true,
        };
        if self.base == Some((mark.index, mark.term)) {
            return Ok(self.kept(mark.index));
        }
        if self.last() < mark.index {
            return Ok(none);
        }
        let position = first.and_then(|first| mark.index.checked_sub(first));
        let at_mark = position
            .and_then(|position| usize::try_from(position).ok())
            .and_then(|position| self.entries.get(position));
        match at_mark {
            Some(entry) if entry.term == mark.term => Ok(self.kept(mark.index)),
            // The image was received because this part of the log had been overruled.
            Some(_) => Ok(none),
            None => Err("the log does not reach back to the image"),
        }
    }

    fn kept(&mut self, after: u64) -> Kept {
        let skipped = self.entries.partition_point(|entry| entry.index <= after);
        Kept {
            entries: self.entries.split_off(skipped),
            mark_missing: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Replay;
    use crate::effect::SnapshotMark;
    use raft::eraftpb::Entry;

    fn replay(base: Option<(u64, u64)>, entries: &[(u64, u64)]) -> Option<Vec<(u64, u64)>> {
        let mut replay = Replay {
            base,
            ..Replay::default()
        };
        for (index, term) in entries {
            let entry = Entry {
                index: *index,
                term: *term,
                ..Entry::default()
            };
            replay.push(entry).ok()?;
        }
        let kept = replay.entries.iter().map(|entry| (entry.index, entry.term));
        Some(kept.collect())
    }

    #[test]
    fn a_log_that_was_cut_may_begin_with_what_was_overruled() {
        // A segment began with entry 10; a new leader overruled 8 and all after; what stood before was compacted.
        let cut = [(10, 1), (11, 1), (8, 2), (9, 2), (10, 2)];
        assert_eq!(replay(None, &cut), Some(vec![(8, 2), (9, 2), (10, 2)]));
        let mut kept = Replay {
            entries: vec![],
            ..Replay::default()
        };
        for (index, term) in [(10, 1), (8, 2), (9, 2)] {
            let entry = Entry {
                index,
                term,
                ..Entry::default()
            };
            kept.push(entry).expect("it follows");
        }
        let mark = SnapshotMark {
            index: 8,
            term: 2,
            ..SnapshotMark::default()
        };
        assert_eq!(kept.after(Some(&mark)).expect("it fits").entries.len(), 1);
    }

    #[test]
    fn gaps_and_what_an_image_took_the_place_of_are_refused() {
        assert_eq!(replay(None, &[(10, 1), (12, 1)]), None);
        assert_eq!(replay(None, &[(0, 1)]), None);
        assert_eq!(replay(Some((9, 1)), &[(10, 1), (9, 2)]), None);
        assert_eq!(replay(Some((9, 1)), &[(11, 1)]), None);
    }
}
