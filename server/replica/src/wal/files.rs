//! What the log needs of a file system, step by step, so that a simulated disk can fail between any two steps.

use crate::wal::error::WalError;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

/// The steps on files that the log is made of. Nothing is durable before the sync that covers it: contents by
/// [`Files::sync_data`] or [`Files::sync_all`], names by [`Files::sync_dir`]. After an error the state of what was being
/// written is unknown, and the log must not be used any more.
pub trait Files {
    /// An open file.
    type File: Debug;
    /// Why a step failed.
    type Error: From<WalError> + std::error::Error + 'static;

    /// What stands in a directory, in the order of names.
    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, Self::Error>;
    /// The bytes of a file of at most `limit` bytes; a larger one is an error.
    fn read(&self, path: &Path, limit: u64) -> Result<Vec<u8>, Self::Error>;
    /// A file that is there.
    fn open(&self, path: &Path) -> Result<Self::File, Self::Error>;
    /// A new file; one of that name is emptied.
    fn create(&self, path: &Path) -> Result<Self::File, Self::Error>;
    /// Writes at a place.
    fn write(&self, file: &Self::File, path: &Path, bytes: &[u8], offset: u64) -> Result<(), Self::Error>;
    /// Writes a batch of records: the same as [`Files::write`], but for what is counted.
    fn append(&self, file: &Self::File, path: &Path, bytes: &[u8], offset: u64) -> Result<(), Self::Error>;
    /// Overwrites a range with zeros, or adds them at the end.
    fn write_zeros(&self, file: &Self::File, path: &Path, from: u64, to: u64) -> Result<(), Self::Error>;
    /// Makes the contents durable, as for every batch.
    fn sync_data(&self, file: &Self::File, path: &Path) -> Result<(), Self::Error>;
    /// Makes the contents and the size durable.
    fn sync_all(&self, file: &Self::File, path: &Path) -> Result<(), Self::Error>;
    /// Gives a file another name; one of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> Result<(), Self::Error>;
    /// Removes a file if it is there.
    fn remove(&self, path: &Path) -> Result<(), Self::Error>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> Result<(), Self::Error>;
    /// A number that no earlier segment was made with, and that nobody can guess; not 0.
    fn salt(&self) -> Result<u64, Self::Error>;
}
