//! Why the bytes of a log cannot be taken, or must not be written.

use std::path::{Path, PathBuf};

/// Why the bytes of a log cannot be taken, or must not be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
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
}

/// Damage found in a file.
pub(super) fn corrupt(path: &Path, offset: usize, reason: &'static str) -> WalError {
    WalError::Corrupt {
        path: path.to_path_buf(),
        offset: offset as u64,
        reason,
    }
}
