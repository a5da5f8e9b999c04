//! The layer on top of every image's: real directories and empty files where the container's own things are mounted.
//! It hides symlinks that an image may have there.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;

const DIRECTORIES: [&str; 6] = ["dev", "dev/pts", "dev/shm", "proc", "sys", "etc"];
const FILES: [&str; 5] = [
    "etc/hosts",
    "etc/hostname",
    "etc/resolv.conf",
    "dev/console",
    ".dockerenv",
];

const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Makes the layer in a directory that is not there yet.
pub(crate) fn make(root: &Path) -> io::Result<()> {
    let directory = |path: &Path| {
        DirBuilder::new().mode(DIRECTORY_MODE).create(path)?;
        // Whatever the daemon's umask is.
        fs::set_permissions(path, fs::Permissions::from_mode(DIRECTORY_MODE))
    };
    directory(root)?;
    for name in DIRECTORIES {
        directory(&root.join(name))?;
    }
    for name in FILES {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(root.join(name))?;
        file.set_permissions(fs::Permissions::from_mode(FILE_MODE))?;
    }
    symlink("/proc/mounts", root.join("etc/mtab"))?;
    rustix::fs::syncfs(File::open(root)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn everything_is_there_and_real() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("init");
        super::make(&root).unwrap();
        for name in super::DIRECTORIES {
            assert!(root.join(name).symlink_metadata().unwrap().is_dir(), "{name}");
        }
        for name in super::FILES {
            let found = root.join(name).symlink_metadata().unwrap();
            assert!(found.is_file() && found.len() == 0, "{name}");
        }
        assert!(root.join("etc/mtab").symlink_metadata().unwrap().is_symlink());
    }
}
