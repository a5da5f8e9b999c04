//! Removing a directory whose content is anybody's: however deep it is, one directory is open at a time.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

/// A directory of the same name may stand in the way of one that is moved; the count goes on for ever, this many times
/// in a row would be somebody playing.
const NAME_TRIES: u32 = 1000;

/// Removes a directory with all that is in it, however it looks inside; one that is not there is no error. A symlink is
/// removed, not followed.
///
/// # Errors
/// When the disk refuses.
pub fn erase(path: &Path) -> io::Result<()> {
    let base = match open(CWD, path) {
        Ok(base) => base,
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        Err(errno) => return Err(errno.into()),
    };
    let mut moved = 0_u32;
    // Every round takes one level away: the children of its directories come up into the base.
    while empty(&base, &mut moved)? {}
    drop(base);
    std::fs::remove_dir(path)
}

fn open(parent: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

/// Removes what is in `base`; true when something may be left.
fn empty(base: &OwnedFd, moved: &mut u32) -> io::Result<bool> {
    let mut found = false;
    for (name, kind) in entries(base)? {
        found = true;
        if kind == FileType::Directory {
            let directory = open(base, &name)?;
            for (inner, kind) in entries(&directory)? {
                if kind == FileType::Directory {
                    move_up(&directory, &inner, base, moved)?;
                } else {
                    unlinkat(&directory, &inner, AtFlags::empty())?;
                }
            }
            unlinkat(base, &name, AtFlags::REMOVEDIR)?;
        } else {
            unlinkat(base, &name, AtFlags::empty())?;
        }
    }
    Ok(found)
}

fn entries(directory: &OwnedFd) -> io::Result<Vec<(CString, FileType)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if [c".", c".."].contains(&entry.file_name()) {
            continue;
        }
        let mut kind = entry.file_type();
        if kind == FileType::Unknown {
            let stat = rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
            kind = FileType::from_raw_mode(stat.st_mode);
        }
        found.push((entry.file_name().to_owned(), kind));
    }
    Ok(found)
}

fn move_up(from: &OwnedFd, name: &CStr, base: &OwnedFd, moved: &mut u32) -> io::Result<()> {
    for _ in 0..NAME_TRIES {
        *moved = moved.wrapping_add(1);
        match renameat(from, name, base, format!(".erase-{moved}")) {
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            result => return Ok(result?),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use rustix::fs::{Mode, mkdirat};

    use super::{erase, open};

    #[test]
    fn a_tree_of_any_depth_goes_away() {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut directory = open(rustix::fs::CWD, &tree).unwrap();
        // Deeper than the longest path and than the usual limit of open files.
        for _ in 0..3000 {
            mkdirat(&directory, "d", Mode::RWXU).unwrap();
            directory = open(&directory, "d").unwrap();
        }
        erase(&tree).unwrap();
        assert!(!tree.exists());
        erase(&tree).unwrap();
    }

    #[test]
    fn symlinks_are_not_followed() {
        let place = tempfile::tempdir().unwrap();
        let (tree, kept) = (place.path().join("tree"), place.path().join("kept"));
        fs::create_dir_all(tree.join("a/.erase-1/b")).unwrap();
        fs::create_dir_all(tree.join(".erase-2")).unwrap();
        fs::write(tree.join(".erase-3"), "").unwrap();
        fs::create_dir(&kept).unwrap();
        fs::write(kept.join("file"), "").unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        symlink(&kept, tree.join("link")).unwrap();
        erase(&tree).unwrap();
        assert!(!tree.exists());
        symlink(&kept, &tree).unwrap();
        erase(&tree).unwrap();
        assert!(kept.join("file").exists());
    }
}
