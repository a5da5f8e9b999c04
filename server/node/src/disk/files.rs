//! Small steps on files and directories, each made durable before it returns.

use crate::disk::error::{DiskError, corrupt, failed};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Zeros are written in pieces of this size: large enough to be cheap, small beside a segment.
const ZERO_BYTES: usize = 256 << 10;

/// Makes a directory that only its owner may enter; its parents too when they are missing.
pub(super) fn make_dir(path: &Path) -> Result<(), DiskError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir(parent)?;
    }
    DirBuilder::new()
        .mode(0o700)
        .create(path)
        .map_err(failed(path, "make"))?;
    sync_dir(parent_of(path))
}

/// The directory in which something stands.
pub(super) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(path: &Path) -> Result<(), DiskError> {
    let dir = File::open(path).map_err(failed(path, "open"))?;
    dir.sync_all().map_err(failed(path, "sync"))
}

/// Makes every file and directory below a directory, and itself, durable.
pub(super) fn sync_tree(path: &Path) -> Result<(), DiskError> {
    for inner in list(path)? {
        if inner.is_dir() {
            sync_tree(&inner)?;
        } else {
            let file = File::open(&inner).map_err(failed(&inner, "open"))?;
            file.sync_all().map_err(failed(&inner, "sync"))?;
        }
    }
    sync_dir(path)
}

/// What stands in a directory, in the order of names.
pub(super) fn list(path: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(failed(path, "list"))? {
        paths.push(entry.map_err(failed(path, "list"))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// A new file for reading and writing; one of that name is emptied.
pub(super) fn create(path: &Path) -> Result<File, DiskError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed(path, "make"))
}

/// A file that is there, for reading and writing.
pub(super) fn open(path: &Path) -> Result<File, DiskError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed(path, "open"))
}

/// Writes a small file so that either the whole of it is there or none.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DiskError> {
    let draft = path.with_extension("tmp");
    let mut file = create(&draft)?;
    file.write_all(bytes).map_err(failed(&draft, "write"))?;
    file.sync_all().map_err(failed(&draft, "sync"))?;
    fs::rename(&draft, path).map_err(failed(path, "name"))?;
    sync_dir(parent_of(path))
}

/// The bytes of a file of at most `limit` bytes; a larger one is damage.
pub(super) fn read_whole(path: &Path, limit: u64) -> Result<Vec<u8>, DiskError> {
    let file = File::open(path).map_err(failed(path, "open"))?;
    let length = file.metadata().map_err(failed(path, "read"))?.len();
    if length > limit {
        return Err(corrupt(path, 0, "the file is larger than any that is written"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    let read = file.take(limit).read_to_end(&mut bytes);
    read.map_err(failed(path, "read"))?;
    Ok(bytes)
}

/// Length and CRC-32C of a file, read piece by piece.
pub(super) fn checksum(path: &Path) -> Result<(u64, u32), DiskError> {
    let mut file = File::open(path).map_err(failed(path, "open"))?;
    let mut piece = vec![0; ZERO_BYTES];
    let (mut length, mut crc) = (0, 0);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok((length, crc)),
            Ok(bytes) => {
                length += bytes as u64;
                crc = crc32c::crc32c_append(crc, &piece[..bytes]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(path, "read")(error)),
        }
    }
}

/// Overwrites a range of a file with zeros, or adds them at its end. Not yet durable.
pub(super) fn write_zeros(file: &File, path: &Path, from: u64, to: u64) -> Result<(), DiskError> {
    let zeros = vec![0; ZERO_BYTES];
    let mut at = from;
    while at < to {
        let bytes = (to - at).min(ZERO_BYTES as u64);
        let piece = &zeros[..usize::try_from(bytes).unwrap_or(ZERO_BYTES)];
        file.write_all_at(piece, at).map_err(failed(path, "write"))?;
        at += bytes;
    }
    Ok(())
}

/// Removes a file if it is there.
pub(super) fn remove_file(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, "remove")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a directory with all below.
pub(super) fn remove_tree(path: &Path) -> Result<(), DiskError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path, "remove")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Bytes that may still be written on the file system that holds `path`.
pub(super) fn free_bytes(path: &Path) -> Result<u64, DiskError> {
    let figures = rustix::fs::statvfs(path).map_err(|error| failed(path, "ask for room at")(error.into()))?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

/// A random number other than 0.
pub(super) fn random() -> Result<u64, DiskError> {
    let source = Path::new("getrandom");
    let mut bytes = [0; 8];
    loop {
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| failed(source, "read")(error.into()))?;
        let number = u64::from_le_bytes(bytes);
        if number != 0 {
            return Ok(number);
        }
    }
}
