//! The planted bugs of the durable half: what is forgotten at writing, what a trusting reader takes, what a crash takes.

use crate::disk::Disk;
use crate::model::Model;
use crate::plant::Plant;
use berth_replica::wal::{self, Files as _};
use berth_replica::{Persist, Recovered};
use std::path::PathBuf;

impl Disk {
    /// Planted: something of a write is forgotten.
    pub(super) fn spoil(&self, persist: &Persist) -> Option<Persist> {
        let (mut entries, mut hard_state) = (persist.entries.clone(), persist.hard_state.clone());
        match self.plant {
            Some(Plant::HardStateNotWritten) => hard_state = None,
            Some(Plant::VoteNotWritten) => {
                if let Some(state) = &mut hard_state {
                    state.vote = 0;
                }
            }
            Some(Plant::TruncationNotWritten) if persist.snapshot.is_none() => {
                entries.retain(|entry| entry.index > self.written);
            }
            Some(_) | None => return None,
        }
        Some(Persist {
            number: persist.number,
            snapshot: persist.snapshot.clone(),
            entries,
            hard_state,
            must_sync: persist.must_sync,
            after: Vec::new(),
        })
    }

    pub(super) fn forge(&mut self, plant: Plant) {
        if plant == Plant::ChecksumUnchecked || plant == Plant::TornTailAccepted {
            self.reseal(plant == Plant::ChecksumUnchecked);
        }
    }

    /// Makes the last unfinished batch of the log whole: its records up to the first that cannot be read, or also those
    /// whose data is not what was written.
    fn reseal(&mut self, damaged: bool) {
        let mut platter = self.files.0.borrow_mut();
        let segments: Vec<(PathBuf, Vec<u8>)> = platter
            .named()
            .filter(|(path, _)| wal::number(path).is_some())
            .map(|(path, bytes)| (path.to_path_buf(), bytes.to_vec()))
            .collect();
        for (path, mut bytes) in segments {
            let number = wal::number(&path).unwrap_or(0);
            let Ok(seed) = wal::check_header(&path, number, &bytes) else {
                continue;
            };
            let Ok(end) = wal::scan(&path, seed, &bytes).map(|scan| scan.end) else {
                continue;
            };
            if crate::forgery::make_whole(&mut bytes, seed, end, damaged) {
                platter.forge(&path, bytes);
            }
        }
    }

    /// The image tells no membership.
    pub(crate) fn lose_roster(&mut self) {
        self.gallery.lose_roster();
        self.model.lose_roster();
    }

    /// Everything is gone, and with it the knowledge that it was there.
    pub(crate) fn wipe(&mut self) {
        self.files.0.borrow_mut().wipe();
        self.model = Model::default();
        self.founded = false;
    }

    /// The newest term and vote are forgotten.
    pub(crate) fn lose_hard_state(&mut self) {
        self.doctor(|found| {
            found.hard_state.term = found.hard_state.term.saturating_sub(1);
            found.hard_state.vote = 0;
        });
    }

    /// The last synced entries are gone, and the commit index with them.
    pub(crate) fn lose_entries(&mut self, count: usize) {
        self.doctor(|found| {
            found.entries.truncate(found.entries.len().saturating_sub(count));
            let mark = found.snapshot.as_ref().map_or(0, |(mark, _)| mark.index);
            let last = found.entries.last().map_or(mark, |entry| entry.index);
            found.hard_state.commit = found.hard_state.commit.min(last);
        });
    }

    /// Writes the log anew with something changed.
    fn doctor(&mut self, change: impl FnOnce(&mut Recovered)) {
        let Ok(mut found) = self.read() else { return };
        change(&mut found);
        self.running = None;
        let old: Vec<PathBuf> = {
            let platter = self.files.0.borrow();
            let named = platter.named();
            named
                .filter(|(path, _)| wal::number(path).is_some())
                .map(|(path, _)| path.to_path_buf())
                .collect()
        };
        let written = old.iter().try_for_each(|path| self.files.remove(path));
        self.founded = false;
        if written.is_err() || self.read().is_err() {
            return;
        }
        let snapshot = found.snapshot.map(|(mark, store)| (mark, Box::new(store)));
        let persist = Persist {
            number: 0,
            snapshot,
            entries: found.entries,
            hard_state: Some(found.hard_state),
            must_sync: true,
            after: Vec::new(),
        };
        self.model = Model::default();
        if self.carry_out(&persist).is_ok() {
            self.running = None;
        }
    }
}
