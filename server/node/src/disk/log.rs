//! The durable log: the one of [`berth_replica::wal`] on the file system, with a thread that keeps its next segment ready.

use crate::clock::Clock;
use crate::disk::Options;
use crate::disk::error::{DiskError, failed};
use crate::disk::figures::DiskFigures;
use crate::disk::files;
use crate::disk::prepare::{Preparer, Room};
use crate::disk::snapshots::Snapshots;
use berth_replica::wal::{self, Files, Journal, OpenedJournal, Replay};
use berth_replica::{Entry, HardState, Recovered, SnapshotMark};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Log {
    journal: Journal<System>,
    preparer: Preparer,
}

impl Log {
    /// Opens the log in its directory. Only a `fresh` member may have none.
    pub(super) fn open(
        dir: &Path,
        options: &Options,
        fresh: bool,
        figures: Arc<DiskFigures>,
    ) -> Result<(Log, Replay), DiskError> {
        let OpenedJournal {
            journal,
            replay,
            spares,
            next,
        } = wal::open(System { figures }, dir, options.segment_bytes, fresh)?;
        let preparer = Preparer::start(dir, options, spares, next)?;
        Ok((Log { journal, preparer }, replay))
    }

    pub(super) fn room(&self) -> Room {
        self.preparer.room()
    }

    /// Writes one batch: a mark that voids what stood before, entries, the hard state.
    pub(super) fn append(
        &mut self,
        mark: Option<&SnapshotMark>,
        entries: &[Entry],
        hard_state: Option<&HardState>,
        must_sync: bool,
    ) -> Result<(), DiskError> {
        let Log { journal, preparer } = self;
        preparer.check()?;
        journal.append(&mut || preparer.take(), mark, entries, hard_state, must_sync)
    }

    /// Removes the segments that only serve entries below `keep_from` and up to `through`.
    pub(super) fn compact(&mut self, through: u64, keep_from: u64) -> Result<(), DiskError> {
        if self.journal.compact(through, keep_from)? {
            self.preparer.look_again();
        }
        Ok(())
    }

    /// Puts image and log together.
    pub(super) fn recover(&mut self, replay: Replay, snapshots: &Snapshots) -> Result<Recovered, DiskError> {
        let Log { journal, preparer } = self;
        wal::recover(journal, &mut || preparer.take(), replay, snapshots)
    }
}

/// The file system, and what is counted of its use.
#[derive(Debug, Default)]
pub(super) struct System {
    figures: Arc<DiskFigures>,
}

impl Files for System {
    type File = File;
    type Error = DiskError;

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, DiskError> {
        files::list(dir)
    }

    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
        files::read_whole(path, limit)
    }

    fn open(&self, path: &Path) -> Result<File, DiskError> {
        files::open(path)
    }

    fn create(&self, path: &Path) -> Result<File, DiskError> {
        files::create(path)
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        file.write_all_at(bytes, offset).map_err(failed(path, "write"))
    }

    fn append(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        self.write(file, path, bytes, offset)?;
        self.figures.wrote(bytes.len());
        Ok(())
    }

    fn write_zeros(&self, file: &File, path: &Path, from: u64, to: u64) -> Result<(), DiskError> {
        files::write_zeros(file, path, from, to)
    }

    fn sync_data(&self, file: &File, path: &Path) -> Result<(), DiskError> {
        let started = Clock::new();
        file.sync_data().map_err(failed(path, "sync"))?;
        self.figures.synced(started.uptime());
        Ok(())
    }

    fn sync_all(&self, file: &File, path: &Path) -> Result<(), DiskError> {
        file.sync_all().map_err(failed(path, "sync"))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        fs::rename(from, to).map_err(failed(to, "name"))
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        files::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        files::sync_dir(dir)
    }

    fn salt(&self) -> Result<u64, DiskError> {
        files::random()
    }
}
