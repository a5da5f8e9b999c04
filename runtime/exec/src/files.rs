//! Looking at the files of a container from outside: every path is resolved by the kernel inside of the root.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;

use crate::in_root::{InRoot, Links};
use crate::root::Root;

/// What is under a path.
#[derive(Debug)]
pub struct Look {
    /// The kernel's description.
    pub stat: Stat,
    /// Where a link leads, as an absolute path of the container.
    pub link: Option<PathBuf>,
}

impl Look {
    /// The kind of file.
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

impl Root {
    /// A directory of the host as a root: no link in it leads out of it.
    ///
    /// # Errors
    /// When it is no directory or cannot be opened.
    pub fn at(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let found = rustix::fs::open(path, flags, rustix::fs::Mode::empty())?;
        Ok(Self::from_fd(found))
    }

    /// Looks at a path; with `follow` a link at its end is followed. None when there is nothing.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn look(&self, path: &Path, follow: bool) -> io::Result<Option<Look>> {
        let Some(inside) = InRoot::new(path) else {
            return Ok(None);
        };
        let mut flags = OFlags::PATH;
        flags.set(OFlags::NOFOLLOW, !follow);
        let found = match inside.open(self.as_fd(), flags, Links::Inside) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            found => found?,
        };
        let stat = rustix::fs::fstat(&found)?;
        let link = (FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
            .then(|| rustix::fs::readlinkat(&found, c"", Vec::new()))
            .transpose()?;
        let link = link.map(|text| {
            let text = PathBuf::from(std::ffi::OsString::from_vec(text.into_bytes()));
            clean(&path.parent().unwrap_or(path).join(text))
        });
        Ok(Some(Look { stat, link }))
    }

    /// The directory that a path's last name is in, and that name; none when there is no such directory or no name.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn parent(&self, path: &Path) -> io::Result<Option<(OwnedFd, Vec<u8>)>> {
        let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        let directory = self.directory(above)?;
        Ok(directory.map(|directory| (directory, name.as_encoded_bytes().to_vec())))
    }
}

/// Without `.` and `..`; above the root there is the root.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}
