//! A member's durable log, at the level of `Persist`: what is written is lost with the member, in part or whole, unless a
//! sync has covered it.

use crate::prng::Prng;
use berth_replica::{Entry, HardState, Message, Persist, Recovered, Roster, SnapshotMark};
use berth_store::{SnapshotError, Store, restore};
use std::collections::VecDeque;

/// A log with the image it stands on.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogState {
    pub(crate) snapshot: Option<(SnapshotMark, Store)>,
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
}

/// A `Persist` on its way to the disk.
#[derive(Debug)]
struct Write {
    number: u64,
    snapshot: Option<(SnapshotMark, Box<Store>)>,
    entries: Vec<Entry>,
    hard_state: Option<HardState>,
    must_sync: bool,
    after: Vec<Message>,
    /// It has been written (and synced, if asked for).
    done: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    /// What survives a crash.
    synced: LogState,
    /// What a crash can take, oldest first.
    unsynced: VecDeque<Write>,
    /// The next write is not done before this time.
    busy_until: u64,
}

impl Disk {
    pub(crate) fn synced(&self) -> &LogState {
        &self.synced
    }

    /// Begins a write that takes so long; gives the time when it is done.
    pub(crate) fn write(&mut self, persist: Persist, now_us: u64, takes_us: u64) -> u64 {
        let Persist {
            number,
            snapshot,
            entries,
            hard_state,
            must_sync,
            after,
        } = persist;
        self.unsynced.push_back(Write {
            number,
            snapshot,
            entries,
            hard_state,
            must_sync,
            after,
            done: false,
        });
        self.busy_until = self.busy_until.max(now_us) + takes_us;
        self.busy_until
    }

    /// The oldest write under way is done: its number, and the messages that waited for it.
    pub(crate) fn complete(&mut self) -> Option<(u64, Vec<Message>)> {
        let at = self.unsynced.iter().position(|write| !write.done)?;
        let write = self.unsynced.get_mut(at)?;
        write.done = true;
        let after = std::mem::take(&mut write.after);
        let number = write.number;
        if write.must_sync {
            for write in self.unsynced.drain(..=at) {
                let snapshot = write.snapshot.as_ref();
                self.synced
                    .write(snapshot, &write.entries, write.hard_state.as_ref());
            }
        }
        Some((number, after))
    }

    /// When everything under way is done.
    pub(crate) fn busy_until(&self) -> u64 {
        self.busy_until
    }

    #[cfg(test)]
    fn writing(&self) -> bool {
        self.unsynced.iter().any(|write| !write.done)
    }

    /// An image has been written beside the log.
    pub(crate) fn save_image(&mut self, mark: SnapshotMark, store: Store) {
        if mark.index > self.synced.mark() {
            self.synced.snapshot = Some((mark, store));
        }
    }

    /// Drops the log up to an index. False if no image stands for what would be lost.
    pub(crate) fn compact(&mut self, through: u64) -> bool {
        if through > self.synced.mark() {
            return false;
        }
        self.synced.compact(through);
        true
    }

    /// The member stops. Of the writes not synced, the disk has kept a random beginning: some whole ones, and of the next
    /// one perhaps its first records.
    pub(crate) fn crash(&mut self, prng: &mut Prng) {
        let kept = prng.below(self.unsynced.len() as u64 + 1);
        let mut writes = std::mem::take(&mut self.unsynced).into_iter();
        for _ in 0..kept {
            let Some(write) = writes.next() else { break };
            let snapshot = write.snapshot.as_ref();
            self.synced
                .write(snapshot, &write.entries, write.hard_state.as_ref());
        }
        if let Some(torn) = writes.next().filter(|_| prng.coin()) {
            let records = usize::try_from(prng.below(torn.entries.len() as u64 + 1)).unwrap_or(0);
            self.synced
                .write(torn.snapshot.as_ref(), &torn.entries[..records], None);
        }
        self.busy_until = 0;
    }

    /// What a member finds when it starts again; the image has gone through its bytes.
    pub(crate) fn recover(&self) -> Result<Recovered, SnapshotError> {
        let snapshot = match &self.synced.snapshot {
            Some((mark, store)) => Some((mark.clone(), through_bytes(store)?)),
            None => None,
        };
        Ok(Recovered {
            hard_state: self.synced.hard_state.clone(),
            snapshot,
            entries: self.synced.entries.iter().cloned().collect(),
        })
    }

    /// Planted: the image tells no membership.
    pub(crate) fn lose_roster(&mut self) {
        if let Some((mark, _)) = &mut self.synced.snapshot {
            mark.voters.clear();
            mark.roster = Roster::default();
        }
    }

    /// Planted: everything is gone.
    pub(crate) fn wipe(&mut self) {
        self.synced = LogState::default();
    }

    /// Planted: the newest term and vote are forgotten.
    pub(crate) fn lose_hard_state(&mut self) {
        self.synced.hard_state.term = self.synced.hard_state.term.saturating_sub(1);
        self.synced.hard_state.vote = 0;
    }

    /// Planted: the last synced entries are gone, and the commit index with them.
    pub(crate) fn lose_entries(&mut self, count: u64) {
        for _ in 0..count {
            self.synced.entries.pop_back();
        }
        let last = self
            .synced
            .entries
            .back()
            .map_or(self.synced.mark(), |entry| entry.index);
        self.synced.hard_state.commit = self.synced.hard_state.commit.min(last);
    }
}

/// A state that was made into chunks and back.
pub(crate) fn through_bytes(store: &Store) -> Result<Store, SnapshotError> {
    restore(store.chunks())
}

#[cfg(test)]
mod tests {
    use super::Disk;
    use crate::prng::Prng;
    use berth_replica::{Entry, HardState, Persist};

    fn persist(number: u64, indexes: std::ops::RangeInclusive<u64>, must_sync: bool) -> Persist {
        let entries = indexes.map(|index| Entry {
            index,
            term: number,
            ..Entry::default()
        });
        Persist {
            number,
            snapshot: None,
            entries: entries.collect(),
            hard_state: Some(HardState {
                term: number,
                ..HardState::default()
            }),
            must_sync,
            after: Vec::new(),
        }
    }

    #[test]
    fn what_is_synced_survives_and_the_rest_survives_from_its_beginning() {
        for seed in 0..200 {
            let mut disk = Disk::default();
            disk.write(persist(1, 1..=3, true), 0, 10);
            disk.write(persist(2, 3..=5, true), 0, 10);
            disk.write(persist(3, 6..=6, true), 0, 10);
            assert_eq!(disk.complete().map(|(number, _)| number), Some(1));
            disk.crash(&mut Prng::new(seed, "disk"));
            let kept = disk.recover().expect("no image");
            let terms: Vec<u64> = kept.entries.iter().map(|entry| entry.term).collect();
            let whole = [1, 1, 2, 2, 2, 3];
            let sound = terms == [1, 1, 1] || terms.len() >= 3 && terms == whole[..terms.len()];
            assert!(sound, "{terms:?}");
        }
    }

    #[test]
    fn a_write_without_sync_is_done_but_not_safe() {
        let lost = (0..100).filter(|seed| {
            let mut disk = Disk::default();
            disk.write(persist(1, 1..=1, false), 0, 10);
            assert_eq!(disk.complete().map(|(number, _)| number), Some(1));
            assert!(!disk.writing());
            disk.crash(&mut Prng::new(*seed, "disk"));
            disk.recover().expect("no image").entries.is_empty()
        });
        assert!((1..100).contains(&lost.count()));
    }
}
