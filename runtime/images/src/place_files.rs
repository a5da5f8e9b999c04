//! Files that go into a directory which is there already: what is copied into a container or a volume.

use std::io::{self, PipeReader, Read};
use std::os::fd::OwnedFd;

use crate::error::ArchiveError;
use crate::pack::{Manner, end_archive, pack_directory};
use crate::unpack::{Into, Limits, unpack_files};

/// How files are put into a directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extract {
    /// A directory does not take the place of a file.
    pub keep_files: bool,
    /// Everything belongs to this user and group, whatever the archive says.
    pub owner: Option<(u32, u32)>,
}

/// Unpacks an archive, plain or gzipped, into a directory. Nothing outside of it is reached: no link is followed.
///
/// # Errors
/// When the archive is refused or the disk does not take it; what was unpacked before stays.
pub fn extract(reader: impl Read, directory: OwnedFd, how: Extract) -> Result<(), ArchiveError> {
    unpack_files(reader, directory, Limits::default(), Into::There(how))
}

/// Copies all that is in a directory, and its own owner, mode and time, to another one that is empty.
///
/// # Errors
/// When one cannot be read or the other not be written.
pub fn copy_tree(from: OwnedFd, to: OwnedFd) -> Result<(), ArchiveError> {
    piped(
        (from, Manner::Everything, &[]),
        |reader| extract(reader, to, Extract::default()),
        ArchiveError::Read,
    )
}

/// Packs a directory in a thread of its own while `unpack` reads the archive; `failed` tells of what cannot be packed.
pub(crate) fn piped<T, E>(
    (directory, manner, skip): (OwnedFd, Manner, &[&[u8]]),
    unpack: impl FnOnce(PipeReader) -> Result<T, E>,
    failed: impl Fn(io::Error) -> E,
) -> Result<T, E> {
    let (reader, mut writer) = io::pipe().map_err(&failed)?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut buffered = io::BufWriter::with_capacity(PIPE, &mut writer);
            pack_directory(directory, b".", manner, skip, &mut buffered)?;
            end_archive(&mut buffered)
        });
        let unpacked = unpack(reader);
        let packed = packing
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("packing has failed")));
        match packed {
            // Whoever reads has stopped first, and knows why.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(error)),
            Ok(()) | Err(_) => unpacked,
        }
    })
}

/// What a pipe of the kernel holds.
const PIPE: usize = 64 * 1024;
