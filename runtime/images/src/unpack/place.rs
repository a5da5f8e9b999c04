//! Making entries below one directory: everything goes by file descriptors, and no symlink is ever followed.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat, openat2, statat,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use super::{Into, Problem};
use crate::archive::{Entry, Kind};

const CAPABILITY: &[u8] = b"security.capability";
const USER: &[u8] = b"user.";

/// The file system's own; whoever could set them could hide files or show others.
const OVERLAY: &[u8] = b"user.overlay.";

const OPAQUE: &str = "trusted.overlay.opaque";

/// Directories that the archive does not describe.
const PARENT_MODE: u32 = 0o755;

/// Until its own mode is set, at the end.
const UNFINISHED_MODE: u32 = 0o700;

/// Copied at once from the archive into a file.
const COPY_BUFFER: usize = 128 * 1024;

/// What an entry has besides its content.
#[derive(Debug)]
pub(super) struct Meta {
    mode: u32,
    uid: u32,
    gid: u32,
    modified: (i64, u32),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Meta {
    pub(super) fn of(entry: &Entry) -> Self {
        let kept = |name: &[u8]| name == CAPABILITY || (name.starts_with(USER) && !name.starts_with(OVERLAY));
        Self {
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            modified: entry.modified,
            attributes: entry
                .attributes
                .iter()
                .filter(|(name, _)| kept(name))
                .cloned()
                .collect(),
        }
    }

    /// With another owner, if there is one.
    pub(super) fn owned_by(mut self, owner: Option<(u32, u32)>) -> Self {
        if let Some((uid, gid)) = owner {
            (self.uid, self.gid) = (uid, gid);
        }
        self
    }

    fn times(&self) -> Timestamps {
        let time = Timespec {
            tv_sec: self.modified.0,
            tv_nsec: self.modified.1.into(),
        };
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    /// In this order: a change of the owner takes set-user-id bits and capabilities away.
    fn apply(&self, fd: BorrowedFd<'_>) -> Result<(), Problem> {
        let (uid, gid) = self.owner();
        fchown(fd, uid, gid)?;
        fchmod(fd, Mode::from_raw_mode(self.mode))?;
        for (name, value) in &self.attributes {
            fsetxattr(fd, name.as_slice(), value, XattrFlags::empty())?;
        }
        futimens(fd, &self.times())?;
        Ok(())
    }
}

/// A place in the layer: the directory that the last entry went into.
#[derive(Debug)]
pub(super) struct Place {
    root: OwnedFd,
    path: Vec<Vec<u8>>,
    directory: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// How directories are opened.
    resolve: ResolveFlags,
    /// A directory does not take the place of a file.
    keep_files: bool,
}

impl Place {
    pub(super) fn new(root: OwnedFd, into: Into) -> Self {
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let (resolve, keep_files) = match into {
            Into::Layer => (inside | ResolveFlags::NO_XDEV, false),
            // What is mounted there is there for a container.
            Into::There(how) => (inside, how.keep_files),
        };
        Self {
            resolve,
            keep_files,
            root,
            path: Vec::new(),
            directory: None,
            buffer: vec![0; COPY_BUFFER],
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.directory.as_ref().unwrap_or(&self.root).as_fd()
    }

    /// Goes to a directory, which is made if need be.
    pub(super) fn enter(&mut self, path: &[Vec<u8>]) -> Result<(), Problem> {
        if path == self.path {
            return Ok(());
        }
        self.path.clear();
        self.directory = match open_directory(self.root.as_fd(), path, self.resolve) {
            Err(Errno::NOENT) => Some(make_directories(self.root.as_fd(), path, self.resolve)?),
            result => result.map_err(not_a_directory)?,
        };
        self.path = path.to_vec();
        Ok(())
    }

    /// Hides what lower layers have in this directory.
    pub(super) fn make_opaque(&self) -> Result<(), Problem> {
        Ok(fsetxattr(self.here(), OPAQUE, b"y", XattrFlags::empty())?)
    }

    /// Hides what lower layers have under this name.
    pub(super) fn white_out(&self, name: &[u8]) -> Result<(), Problem> {
        self.clear(name)?;
        Ok(mknodat(
            self.here(),
            name,
            FileType::CharacterDevice,
            Mode::empty(),
            0,
        )?)
    }

    /// Makes a directory, or keeps the one that is there.
    pub(super) fn directory(&mut self, name: &[u8]) -> Result<(), Problem> {
        let mode = Mode::from_raw_mode(UNFINISHED_MODE);
        match mkdirat(self.here(), name, mode) {
            Err(Errno::EXIST) => {}
            result => return Ok(result?),
        }
        let there = statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(there.st_mode) == FileType::Directory {
            return Ok(());
        }
        if self.keep_files {
            return Err(Problem::Refused(
                "is a directory that would take the place of a file",
            ));
        }
        unlinkat(self.here(), name, AtFlags::empty())?;
        mkdirat(self.here(), name, mode)?;
        if is_whiteout(&there) {
            // What the whiteout hid stays hidden.
            let made = open_directory(self.here(), &[name.to_vec()], self.resolve)?;
            if let Some(made) = made {
                fsetxattr(&made, OPAQUE, b"y", XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    pub(super) fn file(&mut self, name: &[u8], meta: &Meta, content: &mut impl Read) -> Result<(), Problem> {
        self.clear(name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(self.here(), name, flags, Mode::RUSR | Mode::WUSR)?);
        loop {
            let length = match content.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Problem::Read(error)),
            };
            io::Write::write_all(&mut &file, &self.buffer[..length]).map_err(Problem::Write)?;
        }
        meta.apply(file.as_fd())
    }

    pub(super) fn symlink(&self, name: &[u8], target: &[u8], meta: &Meta) -> Result<(), Problem> {
        if target.is_empty() {
            return Err(Problem::Refused("is a symlink to nothing"));
        }
        self.clear(name)?;
        symlinkat(target, self.here(), name)?;
        self.own(name, meta)
    }

    /// Links to a file of this layer; where that is, nothing but this layer can be reached.
    pub(super) fn hard_link(&self, name: &[u8], target: &[Vec<u8>]) -> Result<(), Problem> {
        let missing = Problem::Refused("links to what is not a file of the layer");
        let Some((target_name, target_parents)) = target.split_last() else {
            return Err(missing);
        };
        let parent = match open_directory(self.root.as_fd(), target_parents, self.resolve) {
            Err(Errno::NOENT) => return Err(missing),
            result => result.map_err(not_a_directory)?,
        };
        let parent = parent.as_ref().unwrap_or(&self.root).as_fd();
        let found = match statat(parent, target_name.as_slice(), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Err(missing),
            result => result?,
        };
        if !matches!(
            FileType::from_raw_mode(found.st_mode),
            FileType::RegularFile | FileType::Symlink
        ) {
            return Err(missing);
        }
        if let Ok(there) = statat(self.here(), name, AtFlags::SYMLINK_NOFOLLOW)
            && (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino)
        {
            // To clear the place would remove the target's last name.
            return Ok(());
        }
        self.clear(name)?;
        // Without AT_SYMLINK_FOLLOW: a link to a symlink is a link to the symlink.
        Ok(linkat(
            parent,
            target_name.as_slice(),
            self.here(),
            name,
            AtFlags::empty(),
        )?)
    }

    pub(super) fn node(
        &self,
        name: &[u8],
        kind: Kind,
        device: (u32, u32),
        meta: &Meta,
    ) -> Result<(), Problem> {
        let (kind, device) = match kind {
            Kind::CharacterDevice if device == (0, 0) => {
                return Err(Problem::Refused("is the device by which overlay hides files"));
            }
            Kind::CharacterDevice => (FileType::CharacterDevice, makedev(device.0, device.1)),
            Kind::BlockDevice => (FileType::BlockDevice, makedev(device.0, device.1)),
            Kind::Fifo => (FileType::Fifo, 0),
            Kind::File | Kind::HardLink | Kind::Symlink | Kind::Directory | Kind::Unknown => {
                return Err(Problem::Refused("is not a device"));
            }
        };
        self.clear(name)?;
        mknodat(self.here(), name, kind, Mode::empty(), device)?;
        self.own(name, meta)?;
        // Nobody else touches the layer: what has just been made is what the name means.
        let mode = Mode::from_raw_mode(meta.mode);
        Ok(rustix::fs::chmodat(self.here(), name, mode, AtFlags::empty())?)
    }

    /// Sets what a directory has, when everything is in it.
    pub(super) fn finish_directory(&mut self, path: &[Vec<u8>], meta: &Meta) -> Result<(), Problem> {
        match open_directory(self.root.as_fd(), path, self.resolve) {
            Ok(directory) => meta.apply(directory.as_ref().unwrap_or(&self.root).as_fd()),
            // A later entry of the archive took its place.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Owner and time of what cannot be opened.
    fn own(&self, name: &[u8], meta: &Meta) -> Result<(), Problem> {
        let (uid, gid) = meta.owner();
        chownat(self.here(), name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(utimensat(
            self.here(),
            name,
            &meta.times(),
            AtFlags::SYMLINK_NOFOLLOW,
        )?)
    }

    /// Makes room: the last entry of a name counts.
    fn clear(&self, name: &[u8]) -> Result<(), Problem> {
        match unlinkat(self.here(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ISDIR) => Err(Problem::Refused("takes the place of a directory")),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

fn not_a_directory(errno: Errno) -> Problem {
    match errno {
        Errno::LOOP | Errno::NOTDIR => Problem::Refused("lies below what is not a directory of the layer"),
        errno => errno.into(),
    }
}

/// Opens a directory of the layer; `None` is the place itself.
fn open_directory(
    from: BorrowedFd<'_>,
    path: &[Vec<u8>],
    resolve: ResolveFlags,
) -> rustix::io::Result<Option<OwnedFd>> {
    if path.is_empty() {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(from, path.join(&b'/').as_slice(), flags, Mode::empty(), resolve).map(Some)
}

fn make_directories(
    root: BorrowedFd<'_>,
    path: &[Vec<u8>],
    resolve: ResolveFlags,
) -> Result<OwnedFd, Problem> {
    let mut directory: Option<OwnedFd> = None;
    for part in path {
        let here = directory.as_ref().map_or(root, AsFd::as_fd);
        let mode = Mode::from_raw_mode(PARENT_MODE);
        let is_new = match mkdirat(here, part.as_slice(), mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        let next = open_directory(here, std::slice::from_ref(part), resolve).map_err(not_a_directory)?;
        if let (true, Some(next)) = (is_new, &next) {
            // Whatever the daemon's umask is.
            fchmod(next, mode)?;
        }
        directory = next;
    }
    directory.ok_or(Problem::Refused("has no name"))
}
