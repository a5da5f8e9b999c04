//! Paths inside of a container's root: resolved by the kernel so that no symlink of an image leads out of it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;

/// How often a resolution is tried again that a rename elsewhere has disturbed.
const TRIES: u32 = 16;

/// The mode of directories that are made on the way to a mount point.
pub(crate) const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);

/// How strictly a path is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Followed, with the container's root as the root.
    Inside,
    /// Refused with ELOOP.
    Refused,
}

impl Links {
    fn flags(self) -> ResolveFlags {
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        match self {
            Self::Inside => inside,
            Self::Refused => inside | ResolveFlags::NO_SYMLINKS,
        }
    }
}

/// An absolute path of the container, taken apart beforehand: using it allocates nothing.
#[derive(Debug)]
pub(crate) struct InRoot {
    /// `a`, `a/b`, `a/b/c`
    prefixes: Vec<CString>,
    /// `a`, `b`, `c`
    names: Vec<CString>,
}

impl InRoot {
    /// Takes an absolute path without `.` and `..`; `None` for others.
    pub(crate) fn new(path: &Path) -> Option<Self> {
        let mut components = path.components();
        if components.next() != Some(Component::RootDir) {
            return None;
        }
        let mut prefix = Vec::new();
        let (mut prefixes, mut names) = (Vec::new(), Vec::new());
        for component in components {
            let Component::Normal(name) = component else {
                return None;
            };
            let name = name.as_encoded_bytes();
            if !prefix.is_empty() {
                prefix.push(b'/');
            }
            prefix.extend_from_slice(name);
            prefixes.push(CString::new(prefix.clone()).ok()?);
            names.push(CString::new(name).ok()?);
        }
        Some(Self { prefixes, names })
    }

    /// The whole path, relative to the root.
    pub(crate) fn relative(&self) -> &CStr {
        self.prefixes.last().map_or(c".", |path| path.as_c_str())
    }

    /// The last name of the path; `.` for the root itself.
    fn name(&self) -> &CStr {
        self.names.last().map_or(c".", |name| name.as_c_str())
    }

    /// Opens the path.
    pub(crate) fn open(&self, root: BorrowedFd<'_>, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
        open(root, self.relative(), flags, links)
    }

    /// The directory that the last name is in, opened, and that name.
    pub(crate) fn parent(&self, root: BorrowedFd<'_>) -> Result<(OwnedFd, &CStr), Errno> {
        let count = self.prefixes.len();
        let parent = count.checked_sub(2).and_then(|index| self.prefixes.get(index));
        let parent = parent.map_or(c".", |path| path.as_c_str());
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Ok((open(root, parent, flags, Links::Inside)?, self.name()))
    }

    /// Opens the directory; what is missing of the path is made, part by part, never through a link.
    pub(crate) fn directory(&self, root: BorrowedFd<'_>, mode: Mode, links: Links) -> Result<OwnedFd, Errno> {
        self.directories(root, self.names.len(), mode, links)
    }

    /// Opens the file; what is missing is made, the file empty.
    pub(crate) fn file(&self, root: BorrowedFd<'_>, links: Links) -> Result<OwnedFd, Errno> {
        const MODE: Mode = Mode::from_raw_mode(0o644);
        match self.open(root, OFlags::PATH, links) {
            Err(Errno::NOENT) => {}
            found => return found,
        }
        let above = self.names.len().saturating_sub(1);
        let parent = self.directories(root, above, DIRECTORY_MODE, links)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
        drop(rustix::fs::openat(&parent, self.name(), flags, MODE)?);
        open(parent.as_fd(), self.name(), OFlags::PATH, Links::Refused)
    }

    fn directories(
        &self,
        root: BorrowedFd<'_>,
        count: usize,
        mode: Mode,
        links: Links,
    ) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let mut found = open(root, c".", flags, links)?;
        for (prefix, name) in self.prefixes.iter().zip(&self.names).take(count) {
            found = match open(root, prefix, flags, links) {
                Err(Errno::NOENT) => {
                    match mkdirat(&found, name.as_c_str(), mode) {
                        // Whatever the mask of the caller is.
                        Ok(()) => {
                            rustix::fs::chmodat(&found, name.as_c_str(), mode, rustix::fs::AtFlags::empty())?
                        }
                        Err(Errno::EXIST) => {}
                        Err(error) => return Err(error),
                    }
                    open(found.as_fd(), name, flags, Links::Refused)?
                }
                result => result?,
            };
        }
        Ok(found)
    }
}

fn open(root: BorrowedFd<'_>, path: &CStr, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
    let mut tries = 1;
    loop {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), links.flags()) {
            Err(Errno::AGAIN | Errno::INTR) if tries < TRIES => tries += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root() -> (tempfile::TempDir, OwnedFd) {
        let place = tempfile::tempdir().unwrap();
        let fd = fs::File::open(place.path()).unwrap().into();
        (place, fd)
    }

    fn path(text: &str) -> InRoot {
        InRoot::new(Path::new(text)).unwrap()
    }

    #[test]
    fn only_absolute_clean_paths_are_taken() {
        for bad in ["", "a", "./a", "/../a", "/a/../b"] {
            assert!(InRoot::new(Path::new(bad)).is_none(), "{bad}");
        }
        assert_eq!(path("/").relative(), c".");
        assert_eq!(path("/a/b").relative(), c"a/b");
    }

    #[test]
    fn missing_parts_are_made() {
        let (place, fd) = root();
        path("/a/b/c")
            .directory(fd.as_fd(), DIRECTORY_MODE, Links::Inside)
            .unwrap();
        assert!(place.path().join("a/b/c").is_dir());
        path("/a/x/file").file(fd.as_fd(), Links::Inside).unwrap();
        assert_eq!(fs::read(place.path().join("a/x/file")).unwrap(), b"");
    }

    #[test]
    fn links_stay_inside_or_are_refused() {
        let (place, fd) = root();
        let outside = tempfile::tempdir().unwrap();
        symlink(outside.path(), place.path().join("out")).unwrap();
        symlink("/../../../etc", place.path().join("up")).unwrap();
        fs::create_dir(place.path().join("etc")).unwrap();
        let made = path("/up/made").directory(fd.as_fd(), DIRECTORY_MODE, Links::Inside);
        made.unwrap();
        assert!(place.path().join("etc/made").is_dir());
        let error = path("/up/made")
            .directory(fd.as_fd(), DIRECTORY_MODE, Links::Refused)
            .unwrap_err();
        assert_eq!(error, Errno::LOOP);
        // The target of the link is not there inside of the root, and is not made outside.
        path("/out/made")
            .directory(fd.as_fd(), DIRECTORY_MODE, Links::Inside)
            .unwrap_err();
        assert!(fs::read_dir(outside.path()).unwrap().next().is_none());
    }
}
