//! Everything durable of one member: who it is, its log, its images of the state, and the lock on all of it.
//!
//! ```text
//! lock                      held with flock while the member runs
//! member                    version of this layout, identity, founders of the cluster
//! acquaintances             the other members and their data directories
//! removed                   there when the member has left its cluster for ever
//! log/<number>.wal          the write-ahead log (disk/log.rs)
//! snapshots/<index>-<term>/ images, the newest two (disk/snapshots.rs)
//! ```

mod acquaintances;
mod error;
mod figures;
mod files;
mod identity;
mod log;
mod prepare;
mod sheet;
mod snapshots;
#[cfg(test)]
mod tests;

pub(crate) use acquaintances::Acquaintances;
pub use error::DiskError;
pub(crate) use figures::{DiskFigures, FSYNC_BUCKETS};
pub(crate) use identity::{Forming, Founding, Identity};
pub(crate) use prepare::Room;
pub(crate) use snapshots::Snapshots;

use berth_replica::wal::Images as _;
use berth_replica::{Persist, Recovered, SnapshotMark};
use berth_store::Store;
use error::{corrupt, failed};
use log::Log;
use rustix::fs::FlockOperation;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The file that keeps a removed member from starting.
const REMOVED: &str = "removed";

/// The size of a log segment: few enough that changing over costs nothing, and two make a disk of 100 MB suffice.
const SEGMENT_BYTES: u64 = 16 << 20;

/// Free space that is left to others and to the images, which let the log shrink. Below it no new proposals are taken.
const RESERVE_BYTES: u64 = 32 << 20;

/// How long a write waits for space when even the spare segment is used up; after that it fails.
const ROOM_WAIT: Duration = Duration::from_secs(10);

/// How often an image that was received is tried again while there is no space for it.
const IMAGE_RETRY: Duration = Duration::from_millis(500);

/// Sizes; tests use small ones.
#[derive(Clone, Debug)]
struct Options {
    segment_bytes: u64,
    reserve_bytes: u64,
    room_wait: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: SEGMENT_BYTES,
            reserve_bytes: RESERVE_BYTES,
            room_wait: ROOM_WAIT,
        }
    }
}

/// Everything durable of one member.
#[derive(Debug)]
pub(crate) struct Disk {
    log: Log,
    snapshots: Snapshots,
    figures: Arc<DiskFigures>,
    options: Options,
    data_dir: PathBuf,
    /// An error came up: what is on disk is no longer known, and nothing more is written.
    stopped: bool,
    /// Dropped last, so that nobody else opens the directory before the log's thread has ended.
    _lock: File,
}

/// A data directory that was opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) disk: Disk,
    pub(crate) founding: Founding,
    pub(crate) acquaintances: Acquaintances,
    /// What it held.
    pub(crate) recovered: Recovered,
}

impl Disk {
    /// Makes the directory when it is missing, takes its lock, and recovers. Blocks.
    pub(crate) fn open(data_dir: &Path, forming: &Forming) -> Result<Opened, DiskError> {
        Disk::open_with(data_dir, forming, Options::default())
    }

    /// Whether a member was made in the directory, so that it goes on as that one.
    pub(crate) fn holds_member(data_dir: &Path) -> bool {
        data_dir.join("member").exists()
    }

    /// Whether the member in the directory has left its cluster for ever.
    pub(crate) fn holds_removed(data_dir: &Path) -> bool {
        data_dir.join(REMOVED).exists()
    }

    /// The member has left its cluster for ever: it does not start from here again. Blocks.
    pub(crate) fn note_removal(&self) -> Result<(), DiskError> {
        files::write_whole(&self.data_dir.join(REMOVED), b"")
    }

    fn open_with(data_dir: &Path, forming: &Forming, options: Options) -> Result<Opened, DiskError> {
        files::make_dir(data_dir)?;
        let lock = lock(data_dir)?;
        let identity_path = data_dir.join("member");
        let (log_dir, snapshots_dir) = (data_dir.join("log"), data_dir.join("snapshots"));
        let founding = Founding::read(&identity_path)?;
        let acquaintances = Acquaintances::open(&data_dir.join("acquaintances"))?;
        files::make_dir(&log_dir)?;
        files::make_dir(&snapshots_dir)?;
        let figures = Arc::new(DiskFigures::default());
        let snapshots = Snapshots::open(&snapshots_dir)?;
        let (mut log, replay) = Log::open(&log_dir, &options, founding.is_none(), Arc::clone(&figures))?;
        let founding = match founding {
            Some(founding) => founding,
            // A first start that was cut off may leave an empty log. With anything in it this member has a past, and
            // under a new identity it would break the promises it made.
            None if replay.is_empty() && snapshots.newest_first().is_empty() => {
                Founding::create(&identity_path, forming)?
            }
            None => return Err(corrupt(&identity_path, 0, "the identity of this member is gone")),
        };
        let recovered = log.recover(replay, &snapshots)?;
        let disk = Disk {
            log,
            snapshots,
            figures,
            options,
            data_dir: data_dir.to_path_buf(),
            stopped: false,
            _lock: lock,
        };
        Ok(Opened {
            disk,
            founding,
            acquaintances,
            recovered,
        })
    }

    /// One durable write. Blocks. After an error nothing more is written, and the process has to end.
    pub(crate) fn persist(&mut self, persist: &Persist) -> Result<(), DiskError> {
        self.guarded(|disk| {
            let mark = match &persist.snapshot {
                Some((mark, store)) => {
                    disk.save_received(mark, store)?;
                    Some(mark)
                }
                None => None,
            };
            let must_sync = persist.must_sync || mark.is_some();
            disk.log
                .append(mark, &persist.entries, persist.hard_state.as_ref(), must_sync)
        })
    }

    /// The replica no longer needs entries up to this index: segments that only serve them are removed, but for what the
    /// older of the two images needs.
    pub(crate) fn compact(&mut self, through: u64) -> Result<(), DiskError> {
        self.guarded(|disk| disk.log.compact(through, disk.snapshots.keep_from()))
    }

    /// A handle for the thread that writes images.
    pub(crate) fn snapshots(&self) -> Snapshots {
        self.snapshots.clone()
    }

    /// Whether new proposals may be taken.
    pub(crate) fn room(&self) -> Room {
        self.log.room()
    }

    /// Counters for the metrics page.
    pub(crate) fn figures(&self) -> Arc<DiskFigures> {
        Arc::clone(&self.figures)
    }

    fn guarded(&mut self, step: impl FnOnce(&mut Disk) -> Result<(), DiskError>) -> Result<(), DiskError> {
        if self.stopped {
            return Err(DiskError::Stopped);
        }
        let done = step(self);
        self.stopped = done.is_err();
        done
    }

    /// A full disk may pass; the image is built anew then.
    fn save_received(&self, mark: &SnapshotMark, store: &Store) -> Result<(), DiskError> {
        let mut waited = Duration::ZERO;
        loop {
            match self.snapshots.save(mark, store) {
                Err(DiskError::NoRoom { .. }) if waited < self.options.room_wait => {
                    std::thread::sleep(IMAGE_RETRY);
                    waited += IMAGE_RETRY;
                }
                done => return done,
            }
        }
    }
}

fn lock(data_dir: &Path) -> Result<File, DiskError> {
    let path = data_dir.join("lock");
    let file = files::create(&path)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DiskError::InUse {
            path: data_dir.to_path_buf(),
        }),
        Err(error) => Err(failed(&path, "lock")(error.into())),
    }
}
