//! Writing archives: a tree of files, walked by file descriptors, as a tar stream with PAX records where they are needed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fgetxattr, flistxattr, fstat, getxattr, major,
    minor, openat2, readlinkat, statat,
};
use rustix::io::Errno;

/// The deepest directory that is gone into; the same as for unpacking.
const DEPTH_LIMIT: usize = 256;

/// Bytes of the names and of one value of extended attributes; what is longer is left out.
const ATTRIBUTE_LIMIT: usize = 64 * 1024;

/// Copied at once from a file.
const BUFFER: usize = 128 * 1024;

const BLOCK: usize = 512;

/// The highest number that eleven octal digits hold, plus one.
const OCTAL_LIMIT: u64 = 1 << 33;

const OPAQUE: &[u8] = b"trusted.overlay.opaque";

/// How a tree is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// With everything that is mounted in it.
    Everything,
    /// What is mounted in it appears as an empty file or directory.
    OneFileSystem,
    /// The upper layer of an overlay: what it hides becomes whiteouts.
    Layer,
}

/// Writes a directory and all that is in it below `prefix`, without the two blocks that end an archive. `skip` takes paths
/// below the directory that are left out.
///
/// # Errors
/// When the tree cannot be read or the writer does not take more.
pub fn pack_directory(
    directory: OwnedFd,
    prefix: &[u8],
    manner: Manner,
    skip: &[&[u8]],
    writer: &mut dyn Write,
) -> io::Result<()> {
    let found = fstat(&directory)?;
    let mut packer = Packer {
        writer,
        manner,
        skip,
        links: BTreeMap::new(),
        buffer: vec![0; BUFFER],
    };
    // A root has no entry of its own: its name would be the host's.
    if !prefix.is_empty() {
        packer.head(
            &[prefix, b"/"].concat(),
            b"",
            &found,
            FileType::Directory,
            &attributes(directory.as_fd()),
        )?;
    }
    packer.directory(&directory, prefix, b"", 0)
}

/// Writes one file, link or device of a directory under another name.
///
/// # Errors
/// As [`pack_directory`].
pub fn pack_file(parent: &OwnedFd, name: &[u8], shown: &[u8], writer: &mut dyn Write) -> io::Result<()> {
    let mut packer = Packer {
        writer,
        manner: Manner::Everything,
        skip: &[],
        links: BTreeMap::new(),
        buffer: vec![0; BUFFER],
    };
    packer.entry(parent, name, shown, b"", 0)
}

/// Ends an archive.
///
/// # Errors
/// When the writer does not take more.
pub fn end_archive(writer: &mut dyn Write) -> io::Result<()> {
    writer.write_all(&[0; 2 * BLOCK])?;
    writer.flush()
}

struct Packer<'a> {
    writer: &'a mut dyn Write,
    manner: Manner,
    skip: &'a [&'a [u8]],
    /// The first name of each file that has several.
    links: BTreeMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl Packer<'_> {
    fn directory(
        &mut self,
        directory: &OwnedFd,
        prefix: &[u8],
        below: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        if depth > DEPTH_LIMIT {
            return Err(io::Error::other("a directory is too deep"));
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(directory)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        names.sort();
        for name in names {
            let below = join(below, &name);
            if self.skip.contains(&below.as_slice()) {
                continue;
            }
            self.entry(directory, &name, &join(prefix, &name), &below, depth)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        shown: &[u8],
        below: &[u8],
        depth: usize,
    ) -> io::Result<()> {
        let found = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            // It has gone meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            found => found?,
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => {
                let mut path = shown.to_vec();
                path.push(b'/');
                let opened = match self.open(parent, name, OFlags::DIRECTORY) {
                    Err(Errno::XDEV) => return self.head(&path, b"", &found, FileType::Directory, &[]),
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
                    opened => opened?,
                };
                let known = attributes(opened.as_fd());
                self.head(&path, b"", &fstat(&opened)?, FileType::Directory, &known)?;
                if self.manner == Manner::Layer && is_opaque(&opened) {
                    self.empty(&join(shown, b".wh..wh..opq"), &found)?;
                }
                self.directory(&opened, shown, below, depth + 1)
            }
            FileType::RegularFile => self.file(parent, name, shown, &found),
            FileType::Symlink => {
                let text = readlinkat(parent, name, Vec::new())?;
                self.head(shown, text.as_bytes(), &found, FileType::Symlink, &[])
            }
            FileType::CharacterDevice if self.manner == Manner::Layer && found.st_rdev == 0 => {
                let (place, last) = match shown.iter().rposition(|byte| *byte == b'/') {
                    Some(slash) => (&shown[..slash], &shown[slash + 1..]),
                    None => (&b""[..], shown),
                };
                self.empty(&join(place, &[b".wh.", last].concat()), &found)
            }
            kind @ (FileType::CharacterDevice | FileType::BlockDevice | FileType::Fifo) => {
                self.head(shown, b"", &found, kind, &[])
            }
            // No archive has them.
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }

    /// Never through a link, and by no mount that is not to be seen.
    fn open(&self, parent: &OwnedFd, name: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let mut resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        resolve.set(ResolveFlags::NO_XDEV, self.manner == Manner::OneFileSystem);
        // What waits for a writer must not hold anybody up.
        let flags =
            flags | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        openat2(parent, name, flags, Mode::empty(), resolve)
    }

    fn file(&mut self, parent: &OwnedFd, name: &[u8], shown: &[u8], found: &Stat) -> io::Result<()> {
        let opened = match self.open(parent, name, OFlags::empty()) {
            Err(Errno::XDEV) => return self.empty(shown, found),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
            opened => opened?,
        };
        let found = fstat(&opened)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Ok(());
        }
        if found.st_nlink > 1 {
            let key = (found.st_dev, found.st_ino);
            if let Some(first) = self.links.get(&key) {
                let first = first.clone();
                return self.hard_link(shown, &first, &found);
            }
            self.links.insert(key, shown.to_vec());
        }
        self.head(
            shown,
            b"",
            &found,
            FileType::RegularFile,
            &attributes(opened.as_fd()),
        )?;
        self.content(opened, size(&found))
    }

    /// Exactly as many bytes as the head has promised, whatever becomes of the file meanwhile.
    fn content(&mut self, file: OwnedFd, size: u64) -> io::Result<()> {
        let mut file = File::from(file).take(size);
        let mut left = size;
        loop {
            let count = file.read(&mut self.buffer)?;
            if count == 0 {
                break;
            }
            self.writer.write_all(&self.buffer[..count])?;
            left -= count as u64;
        }
        if left > 0 {
            self.buffer.fill(0);
        }
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            self.writer.write_all(&self.buffer[..count])?;
            left -= count as u64;
        }
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
        if over > 0 {
            self.writer.write_all(&[0; BLOCK][over..])?;
        }
        Ok(())
    }

    fn hard_link(&mut self, shown: &[u8], first: &[u8], found: &Stat) -> io::Result<()> {
        self.records(shown, first, found, 0, &[])?;
        let head = header(shown, first, found, b'1', 0);
        self.writer.write_all(&head)
    }

    /// A file without content, with the owner and time of something else.
    fn empty(&mut self, shown: &[u8], found: &Stat) -> io::Result<()> {
        self.records(shown, b"", found, 0, &[])?;
        let mut plain = *found;
        plain.st_rdev = 0;
        let head = header(shown, b"", &plain, b'0', 0);
        self.writer.write_all(&head)
    }

    fn head(
        &mut self,
        shown: &[u8],
        link: &[u8],
        found: &Stat,
        kind: FileType,
        attributes: &[(Vec<u8>, Vec<u8>)],
    ) -> io::Result<()> {
        let (letter, size) = match kind {
            FileType::RegularFile => (b'0', size(found)),
            FileType::Symlink => (b'2', 0),
            FileType::CharacterDevice => (b'3', 0),
            FileType::BlockDevice => (b'4', 0),
            FileType::Directory => (b'5', 0),
            FileType::Fifo | FileType::Socket | FileType::Unknown => (b'6', 0),
        };
        self.records(shown, link, found, size, attributes)?;
        let head = header(shown, link, found, letter, size);
        self.writer.write_all(&head)
    }

    /// A PAX header for what the plain one cannot hold.
    fn records(
        &mut self,
        shown: &[u8],
        link: &[u8],
        found: &Stat,
        size: u64,
        attributes: &[(Vec<u8>, Vec<u8>)],
    ) -> io::Result<()> {
        let mut records = Vec::new();
        if shown.len() > NAME || !shown.is_ascii() {
            record(&mut records, b"path", shown);
        }
        if link.len() > NAME || !link.is_ascii() {
            record(&mut records, b"linkpath", link);
        }
        if size >= OCTAL_LIMIT {
            record(&mut records, b"size", size.to_string().as_bytes());
        }
        for (key, id) in [(&b"uid"[..], found.st_uid), (b"gid", found.st_gid)] {
            if id > ID_LIMIT {
                record(&mut records, key, id.to_string().as_bytes());
            }
        }
        if found.st_mtime_nsec != 0 || found.st_mtime < 0 {
            let time = format!("{}.{:09}", found.st_mtime, found.st_mtime_nsec);
            record(&mut records, b"mtime", time.as_bytes());
        }
        for (name, value) in attributes {
            record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
        }
        if records.is_empty() {
            return Ok(());
        }
        let length = records.len() as u64;
        let head = header(b"PaxHeaders/entry", b"", found, b'x', length);
        self.writer.write_all(&head)?;
        self.writer.write_all(&records)?;
        self.pad(length)
    }
}

/// Bytes of a name in a plain header.
const NAME: usize = 100;

/// The highest number that seven octal digits hold.
const ID_LIMIT: u32 = 0o7_777_777;

fn size(found: &Stat) -> u64 {
    u64::try_from(found.st_size).unwrap_or_default()
}

fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return name.to_vec();
    }
    [path, b"/", name].concat()
}

/// `length key=value`, the length of all of it.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn header(shown: &[u8], link: &[u8], found: &Stat, letter: u8, size: u64) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    let text = |head: &mut [u8; BLOCK], at: usize, text: &[u8]| {
        let length = text.len().min(NAME);
        head[at..at + length].copy_from_slice(&text[..length]);
    };
    let number = |head: &mut [u8; BLOCK], at: usize, digits: usize, number: u64| {
        let written = format!("{number:0digits$o}");
        head[at..at + digits].copy_from_slice(&written.as_bytes()[written.len() - digits..]);
    };
    text(&mut head, 0, shown);
    number(&mut head, 100, 7, u64::from(found.st_mode & 0o7777));
    number(&mut head, 108, 7, u64::from(found.st_uid.min(ID_LIMIT)));
    number(&mut head, 116, 7, u64::from(found.st_gid.min(ID_LIMIT)));
    number(&mut head, 124, 11, size.min(OCTAL_LIMIT - 1));
    number(
        &mut head,
        136,
        11,
        u64::try_from(found.st_mtime).unwrap_or(0).min(OCTAL_LIMIT - 1),
    );
    head[156] = letter;
    text(&mut head, 157, link);
    head[257..265].copy_from_slice(b"ustar\x0000");
    number(&mut head, 329, 7, u64::from(major(found.st_rdev)));
    number(&mut head, 337, 7, u64::from(minor(found.st_rdev)));
    head[148..156].fill(b' ');
    let sum: u64 = head.iter().map(|byte| u64::from(*byte)).sum();
    number(&mut head, 148, 6, sum);
    head[154] = 0;
    head
}

/// Capabilities of programs, and what users have set.
fn attributes(file: BorrowedFd<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut names = vec![0; ATTRIBUTE_LIMIT];
    let Ok(length) = flistxattr(file, names.as_mut_slice()) else {
        return Vec::new();
    };
    let kept = |name: &&[u8]| {
        *name == b"security.capability" || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
    };
    let value = |name: &[u8]| {
        let mut value = vec![0; ATTRIBUTE_LIMIT];
        let length = fgetxattr(file, name, value.as_mut_slice()).ok()?;
        value.truncate(length);
        Some((name.to_vec(), value))
    };
    names[..length]
        .split(|byte| *byte == 0)
        .filter(kept)
        .filter_map(value)
        .collect()
}

fn is_opaque(directory: &OwnedFd) -> bool {
    let mut value = [0; 1];
    matches!(fgetxattr(directory, OPAQUE, value.as_mut_slice()), Ok(1)) && value == *b"y"
}

/// Whether a directory at a path hides what lower layers have in it.
pub(crate) fn is_opaque_at(path: &std::path::Path) -> bool {
    let mut value = [0; 1];
    matches!(getxattr(path, OPAQUE, value.as_mut_slice()), Ok(1)) && value == *b"y"
}

#[cfg(test)]
mod tests;
