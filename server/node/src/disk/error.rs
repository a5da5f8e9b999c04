//! Why something durable cannot be opened, read or written.

use berth_replica::wal::WalError;
use std::io;
use std::path::{Path, PathBuf};

/// Why something durable cannot be opened, read or written. After an error of a write the process has to end: what the
/// kernel could not write it may have dropped, so that trying again would report as durable what is not.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process has it open.
    #[error("data directory {} is in use by another process", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
    },
    /// Written by another version of this program.
    #[error("{} has format version {found}, this program knows {known}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version it names.
        found: u64,
        /// The only version that is read.
        known: u64,
    },
    /// A whole record of a kind (or with flags) that this version does not know.
    #[error("{} holds at byte {offset} a record of the unknown kind {kind}, written by a newer version", path.display())]
    Record {
        /// The log segment.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// Its kind.
        kind: u32,
    },
    /// The bytes are not those that were written.
    #[error("{} is damaged at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The file or directory.
        path: PathBuf,
        /// Where the damage was noticed.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The database of an image refused.
    #[error("database {} failed", path.display())]
    Engine {
        /// Its directory.
        path: PathBuf,
        /// Its answer.
        source: sled::Error,
    },
    /// The chunks of an image are not a state.
    #[error("image {} cannot be read", path.display())]
    Image {
        /// Its directory.
        path: PathBuf,
        /// Why.
        source: berth_store::SnapshotError,
    },
    /// The disk is full.
    #[error("no room on the disk for {}", path.display())]
    NoRoom {
        /// What should have been written.
        path: PathBuf,
    },
    /// An entry that could not be read back.
    #[error("log entry {index} has {bytes} bytes, more than {limit}")]
    TooLarge {
        /// Its index.
        index: u64,
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Entries that do not follow on what the log holds.
    #[error("log entry {found} does not follow on entry {after}")]
    Gap {
        /// The last entry of the log.
        after: u64,
        /// The first that was to be written.
        found: u64,
    },
    /// An earlier write failed; nothing more is written.
    #[error("the durable log stopped at an earlier error")]
    Stopped,
}

impl From<WalError> for DiskError {
    fn from(error: WalError) -> DiskError {
        match error {
            WalError::Version { path, found, known } => DiskError::Version { path, found, known },
            WalError::Record { path, offset, kind } => DiskError::Record { path, offset, kind },
            WalError::Corrupt { path, offset, reason } => DiskError::Corrupt { path, offset, reason },
            WalError::TooLarge { index, bytes, limit } => DiskError::TooLarge { index, bytes, limit },
            WalError::Gap { after, found } => DiskError::Gap { after, found },
        }
    }
}

/// The error of a system call; a full disk has a variant of its own because it can pass.
pub(super) fn failed(path: &Path, action: &'static str) -> impl Fn(io::Error) -> DiskError {
    move |source| {
        let path = path.to_path_buf();
        if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            DiskError::NoRoom { path }
        } else {
            DiskError::Io { path, action, source }
        }
    }
}

/// Damage found in a file.
pub(super) fn corrupt(path: &Path, offset: usize, reason: &'static str) -> DiskError {
    DiskError::Corrupt {
        path: path.to_path_buf(),
        offset: offset as u64,
        reason,
    }
}
