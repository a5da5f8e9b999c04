//! What a member's log must hold, worked out from what it was given to write: the measure of what recovery finds.

use crate::platter::DiskError;
use berth_replica::wal::{HEADER_BYTES, Position};
use berth_replica::{Entry, HardState, Persist, Recovered, SnapshotMark, encode_entry};
use berth_store::Store;
use std::collections::{BTreeMap, VecDeque};

/// A log with the image it stands on.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogState {
    pub(crate) snapshot: Option<(SnapshotMark, Store)>,
    /// Index and term of the image with which the log was begun anew, if it ever was.
    base: Option<Position>,
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) hard_state: HardState,
}

impl LogState {
    /// Carries out a write. A received image voids the whole log: what stood behind its mark belonged to another one.
    pub(crate) fn write(
        &mut self,
        snapshot: Option<&(SnapshotMark, Box<Store>)>,
        entries: &[Entry],
        hard_state: Option<&HardState>,
    ) {
        if let Some((mark, store)) = snapshot {
            self.snapshot = Some((mark.clone(), (**store).clone()));
            self.base = Some((mark.index, mark.term));
            self.entries.clear();
        }
        if let Some(first) = entries.first() {
            while self.entries.back().is_some_and(|last| last.index >= first.index) {
                self.entries.pop_back();
            }
            self.entries.extend(entries.iter().cloned());
        }
        if let Some(hard_state) = hard_state {
            self.hard_state = hard_state.clone();
        }
    }

    pub(crate) fn mark(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |(mark, _)| mark.index)
    }

    pub(crate) fn last(&self) -> u64 {
        self.entries.back().map_or(self.mark(), |entry| entry.index)
    }

    pub(crate) fn entry(&self, index: u64) -> Option<&Entry> {
        let first = self.entries.front()?.index;
        let at = usize::try_from(index.checked_sub(first)?).ok()?;
        self.entries.get(at)
    }

    /// Whether this log proves the entry, by itself or by an image that contains it.
    pub(crate) fn holds(&self, index: u64, term: u64) -> bool {
        index <= self.mark() || self.entry(index).is_some_and(|entry| entry.term == term)
    }

    pub(crate) fn compact(&mut self, through: u64) {
        while self.entries.front().is_some_and(|first| first.index <= through) {
            self.entries.pop_front();
        }
    }

    /// Whether this log goes on from an image: it reaches it, and was not overruled there.
    fn fits(&self, mark: &SnapshotMark) -> bool {
        let entry = self.entry(mark.index);
        self.base == Some((mark.index, mark.term)) || entry.is_some_and(|entry| entry.term == mark.term)
    }

    /// Whether these are the entries of this log that go on from an image, or from nothing.
    fn leads_to(&self, mark: Option<&SnapshotMark>, found: &[Entry]) -> bool {
        let index = mark.map_or(0, |mark| mark.index);
        let first = self.entries.front().map_or(self.mark() + 1, |entry| entry.index);
        // An image that is older than what this log was cut to came back, and with it the entries from then on: they are
        // compared with what was committed, as all are.
        let came_back = first > index + 1 && found.first().is_some_and(|entry| entry.index < first);
        let fits = came_back || mark.is_none_or(|mark| self.fits(mark));
        let expected = self.entries.iter().filter(|entry| fits && entry.index > index);
        let found = found.iter().skip_while(|entry| came_back && entry.index < first);
        expected.eq(found)
    }
}

/// A write that a crash may have left or taken.
#[derive(Debug)]
struct Write {
    snapshot: Option<(SnapshotMark, Box<Store>)>,
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
}

/// What must be there, and what may be.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// What survives a crash.
    pub(crate) synced: LogState,
    /// What a crash can take, oldest first.
    unsynced: VecDeque<Write>,
    /// Every image that was ever begun.
    images: BTreeMap<Position, (SnapshotMark, u64)>,
}

impl Model {
    /// A write begins.
    pub(crate) fn begin(&mut self, persist: &Persist) {
        if let Some((mark, store)) = &persist.snapshot {
            self.begin_image(mark, store);
        }
        self.unsynced.push_back(Write {
            snapshot: persist.snapshot.clone(),
            entries: persist.entries.clone(),
            hard_state: persist.hard_state.clone(),
        });
    }

    /// Everything begun so far is safe.
    pub(crate) fn sync(&mut self) {
        for write in self.unsynced.drain(..) {
            let Write {
                snapshot,
                entries,
                hard_state,
            } = &write;
            self.synced.write(snapshot.as_ref(), entries, hard_state.as_ref());
        }
    }

    pub(crate) fn begin_image(&mut self, mark: &SnapshotMark, store: &Store) {
        let position = (mark.index, mark.term);
        self.images.insert(position, (mark.clone(), store.digest()));
    }

    /// An image is safe.
    pub(crate) fn save_image(&mut self, mark: &SnapshotMark, store: &Store) {
        if mark.index > self.synced.mark() {
            self.synced.snapshot = Some((mark.clone(), store.clone()));
        }
    }

    /// Compares what was recovered with everything that may be: what is safe, followed by any number of the writes that
    /// were begun after. Goes on from what was found. `older_image` where the newest may have been damaged.
    pub(crate) fn judge(
        &mut self,
        found: &Recovered,
        segment_bytes: u64,
        older_image: bool,
    ) -> Result<(), DiskError> {
        let broken = |reason| Err(DiskError::Differs(reason));
        if let Some((mark, store)) = &found.snapshot {
            let known = self.images.get(&(mark.index, mark.term));
            if known != Some(&(mark.clone(), store.digest())) {
                return broken("an image that was never written");
            }
        }
        let index = found.snapshot.as_ref().map_or(0, |(mark, _)| mark.index);
        if index < self.synced.mark() && !older_image {
            return broken("the newest image is lost");
        }
        let mut state = self.synced.clone();
        let mut possible = matches(&state, found);
        let mut next = 0;
        while !possible && next < self.unsynced.len() {
            let write = &self.unsynced[next];
            next += 1;
            possible = in_pieces(&mut state, write, found, segment_bytes);
            if possible {
                break;
            }
            state.write(write.snapshot.as_ref(), &write.entries, write.hard_state.as_ref());
            possible = matches(&state, found);
        }
        if !possible {
            return broken("entries or promises are lost, or are not what was written");
        }
        self.adopt(state, found);
        Ok(())
    }

    fn adopt(&mut self, mut state: LogState, found: &Recovered) {
        self.unsynced.clear();
        // Where the log does not reach the image it was begun anew, or more of it came back.
        if let Some((mark, _)) = found.snapshot.as_ref().filter(|(mark, _)| !state.fits(mark)) {
            if found.entries.is_empty() {
                state.base = Some((mark.index, mark.term));
            }
            state.entries = found.entries.iter().cloned().collect();
            state.hard_state.clone_from(&found.hard_state);
        }
        state.snapshot.clone_from(&found.snapshot);
        self.synced = state;
    }

    /// Planted: the membership of all images is forgotten.
    pub(crate) fn lose_roster(&mut self) {
        for (mark, _) in self.images.values_mut() {
            *mark = without_roster(mark);
        }
    }

    /// Gives up the log up to an index.
    pub(crate) fn compact(&mut self, through: u64) {
        self.synced.compact(through);
    }
}

/// A mark without its membership.
pub(crate) fn without_roster(mark: &SnapshotMark) -> SnapshotMark {
    SnapshotMark {
        index: mark.index,
        term: mark.term,
        ..SnapshotMark::default()
    }
}

/// Whether this is what was found.
fn matches(state: &LogState, found: &Recovered) -> bool {
    let mark = found.snapshot.as_ref().map(|(mark, _)| mark);
    let (index, term) = mark.map_or((0, 0), |mark| (mark.index, mark.term));
    let mut hard_state = state.hard_state.clone();
    hard_state.commit = hard_state.commit.max(index);
    if hard_state.term < term {
        hard_state.term = term;
        hard_state.vote = 0;
    }
    found.hard_state == hard_state && state.leads_to(mark, &found.entries)
}

/// Whether the beginning of a write was found that does not fit into a segment and so becomes several batches: the term
/// and vote first, the commit last.
fn in_pieces(state: &mut LogState, write: &Write, found: &Recovered, segment_bytes: u64) -> bool {
    let sizes = write
        .entries
        .iter()
        .map(|entry| (HEADER_BYTES + 8 + encode_entry(entry).len()) as u64);
    if sizes.sum::<u64>() + 512 < segment_bytes {
        return false;
    }
    let early = write.hard_state.as_ref().map(|hard_state| HardState {
        commit: state.hard_state.commit,
        ..hard_state.clone()
    });
    let mut begun = state.clone();
    begun.write(None, &[], early.as_ref());
    if matches(&begun, found) {
        *state = begun;
        return true;
    }
    for end in 1..=write.entries.len() {
        let mut begun = state.clone();
        begun.write(write.snapshot.as_ref(), &write.entries[..end], early.as_ref());
        if matches(&begun, found) {
            *state = begun;
            return true;
        }
    }
    false
}
