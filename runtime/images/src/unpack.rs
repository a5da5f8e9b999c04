//! Unpacking an archive into an empty directory of its own: nothing outside of it is read, written or linked.

mod place;

use std::collections::BTreeMap;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;

use flate2::bufread::MultiGzDecoder;

use crate::archive::{Archive, Entry, Kind};
use crate::digest;
use crate::error::ArchiveError;
use crate::place_files::Extract;
use place::{Meta, Place};

/// The depth up to which directories are made. Real images stay below 30.
const DEPTH_LIMIT: usize = 256;

/// Read ahead from the client.
const READ_AHEAD: usize = 64 * 1024;

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const WHITEOUT_META: &[u8] = b".wh..wh.";
const WHITEOUT_OPAQUE: &[u8] = b".wh..wh..opq";

/// How much an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries, directories and skipped ones included.
    pub entries: u64,
    /// Bytes of the archive after decompression.
    pub bytes: u64,
}

impl Default for Limits {
    /// Far above any image that runs somewhere; the disk is the real limit, these end an archive that has no end.
    fn default() -> Self {
        Self {
            entries: 5_000_000,
            bytes: 256 << 30,
        }
    }
}

/// What became of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// The digest of the archive without compression.
    pub(crate) diff_id: String,
    /// Bytes of all files.
    pub(crate) size: u64,
}

/// What an archive goes into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Into {
    /// An empty directory of its own, which becomes a layer.
    Layer,
    /// A directory that is there and used by others; no name in it means anything.
    There(Extract),
}

/// Unpacks an archive, plain or gzipped, into `root`, an empty directory that nobody else touches.
pub(crate) fn unpack(reader: impl Read, root: OwnedFd, limits: Limits) -> Result<Unpacked, ArchiveError> {
    unpack_any(reader, root, limits, Into::Layer)
}

/// Unpacks files into a directory.
pub(crate) fn unpack_files(
    reader: impl Read,
    root: OwnedFd,
    limits: Limits,
    into: Into,
) -> Result<(), ArchiveError> {
    unpack_any(reader, root, limits, into).map(drop)
}

fn unpack_any(
    mut reader: impl Read,
    root: OwnedFd,
    limits: Limits,
    into: Into,
) -> Result<Unpacked, ArchiveError> {
    let magic = magic(&mut reader).map_err(ArchiveError::Read)?;
    let reader = BufReader::with_capacity(READ_AHEAD, magic.as_slice().chain(reader));
    match magic.as_slice() {
        [0x1f, 0x8b, ..] => layer(MultiGzDecoder::new(reader), root, limits, into),
        [b'B', b'Z', b'h', ..] => Err(ArchiveError::Compression("bzip2")),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Err(ArchiveError::Compression("xz")),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Err(ArchiveError::Compression("zstd")),
        _ => layer(reader, root, limits, into),
    }
}

/// The bytes that tell compressions apart; fewer only when there are no more.
fn magic(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    /// That of xz is the longest.
    const LONGEST: u64 = 6;
    let mut bytes = Vec::new();
    reader.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn layer(reader: impl Read, root: OwnedFd, limits: Limits, into: Into) -> Result<Unpacked, ArchiveError> {
    let mut archive = Archive::new(digest::Reader::new(reader, limits.bytes));
    let mut layer = Layer {
        place: Place::new(root, into),
        into,
        directories: BTreeMap::new(),
        size: 0,
    };
    let mut entries = 0;
    while let Some(entry) = archive.next()? {
        entries += 1;
        if entries > limits.entries {
            return Err(ArchiveError::Limit(format!("{} entries", limits.entries)));
        }
        layer.put(&entry, &mut archive.content())?;
    }
    let mut reader = archive.into_inner();
    // The digest covers what writers append behind the end.
    io::copy(&mut reader, &mut io::sink()).map_err(ArchiveError::Read)?;
    let size = layer.finish()?;
    Ok(Unpacked {
        diff_id: reader.finish(),
        size,
    })
}

struct Layer {
    place: Place,
    into: Into,
    /// Mode, owner and time of directories, set at the end: what is put into a directory changes its time.
    directories: BTreeMap<Vec<Vec<u8>>, Meta>,
    size: u64,
}

impl Layer {
    fn put(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), ArchiveError> {
        let shown = || String::from_utf8_lossy(&entry.path).into_owned();
        let refused = |reason| ArchiveError::Refused {
            path: shown(),
            reason,
        };
        let parts = parts(&entry.path).map_err(refused)?;
        let Some((name, parents)) = parts.split_last() else {
            // The root of the layer itself.
            return match entry.kind {
                Kind::Directory => {
                    let meta = self.meta(entry);
                    self.directories.insert(Vec::new(), meta);
                    Ok(())
                }
                Kind::Unknown => Ok(()),
                Kind::File
                | Kind::HardLink
                | Kind::Symlink
                | Kind::CharacterDevice
                | Kind::BlockDevice
                | Kind::Fifo => Err(refused("has no name")),
            };
        };
        let meaningless = name.starts_with(WHITEOUT_META) && name != WHITEOUT_OPAQUE;
        if entry.kind == Kind::Unknown || (self.into == Into::Layer && meaningless) {
            return Ok(());
        }
        let result = self.put_at(entry, parents, name, content);
        result.map_err(|problem| match problem {
            Problem::Refused(reason) => refused(reason),
            Problem::Read(source) => ArchiveError::Read(source),
            Problem::Write(source) => ArchiveError::Write {
                path: shown(),
                source,
            },
        })
    }

    fn put_at(
        &mut self,
        entry: &Entry,
        parents: &[Vec<u8>],
        name: &[u8],
        content: &mut impl Read,
    ) -> Result<(), Problem> {
        self.place.enter(parents)?;
        let layer = self.into == Into::Layer;
        if layer && name == WHITEOUT_OPAQUE {
            return self.place.make_opaque();
        }
        if layer && let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) {
            return self.place.white_out(checked(hidden).map_err(Problem::Refused)?);
        }
        match entry.kind {
            Kind::Directory => {
                self.place.directory(name)?;
                let mut path = parents.to_vec();
                path.push(name.to_vec());
                let meta = self.meta(entry);
                self.directories.insert(path, meta);
            }
            Kind::File => {
                self.place.file(name, &self.meta(entry), content)?;
                self.size = self.size.saturating_add(entry.size);
            }
            Kind::Symlink => self.place.symlink(name, &entry.link, &self.meta(entry))?,
            Kind::HardLink => {
                let target = self::parts(&entry.link).map_err(Problem::Refused)?;
                self.place.hard_link(name, &target)?;
            }
            Kind::CharacterDevice | Kind::BlockDevice | Kind::Fifo => {
                self.place
                    .node(name, entry.kind, entry.device, &self.meta(entry))?;
            }
            Kind::Unknown => {}
        }
        Ok(())
    }

    fn meta(&self, entry: &Entry) -> Meta {
        match self.into {
            Into::Layer => Meta::of(entry),
            Into::There(how) => Meta::of(entry).owned_by(how.owner),
        }
    }

    /// Deepest first: a directory that may not be written any more is not needed any more.
    fn finish(mut self) -> Result<u64, ArchiveError> {
        for (path, meta) in self.directories.iter().rev() {
            self.place.finish_directory(path, meta).map_err(|problem| {
                let shown = || String::from_utf8_lossy(&path.join(&b'/')).into_owned();
                match problem {
                    Problem::Refused(reason) => ArchiveError::Refused {
                        path: shown(),
                        reason,
                    },
                    Problem::Read(source) | Problem::Write(source) => ArchiveError::Write {
                        path: shown(),
                        source,
                    },
                }
            })?;
        }
        Ok(self.size)
    }
}

/// Why an entry could not be put in its place.
#[derive(Debug)]
enum Problem {
    Refused(&'static str),
    Read(io::Error),
    Write(io::Error),
}

impl From<rustix::io::Errno> for Problem {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::Write(errno.into())
    }
}

/// The parts of a path, taken from the root of the layer.
fn parts(path: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    if path.is_empty() {
        return Err("has an empty name");
    }
    let mut found = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err("leads out of the layer"),
            part => found.push(checked(part)?.to_vec()),
        }
        if found.len() > DEPTH_LIMIT {
            return Err("is too deep");
        }
    }
    Ok(found)
}

/// A name that a directory can hold.
fn checked(part: &[u8]) -> Result<&[u8], &'static str> {
    /// The limit of file systems, in bytes.
    const PART_LIMIT: usize = 255;
    match part {
        b"" | b"." | b".." => Err("is a whiteout of nothing"),
        part if part.len() > PART_LIMIT => Err("has a name that is too long"),
        part => Ok(part),
    }
}

#[cfg(test)]
pub(crate) mod tests;
