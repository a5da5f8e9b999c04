//! A container's root file system: layers on top of each other, mounted nowhere until the container has it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_set_flag, fsconfig_set_string};

use crate::error::ExecError;
use crate::in_root::{InRoot, Links};

/// The most that is read of `passwd` and `group`, in bytes each; a container with more is refused.
const MAX_ACCOUNTS: u64 = 1024 * 1024;

/// What overlay leaves behind in its work directory when it was mounted as volatile.
const VOLATILE_MARK: &str = "work/incompat/volatile";

/// What a root file system is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootLayers {
    /// Read-only layers, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Where the container's changes go.
    pub upper: PathBuf,
    /// Overlay's own, on the same file system as `upper`.
    pub work: PathBuf,
    /// Changes need not reach the disk: for containers that are removed when they end.
    pub volatile: bool,
}

/// A mounted root file system that is in no mount namespace. It is gone when it is dropped.
#[derive(Debug)]
pub struct Root {
    mount: OwnedFd,
}

/// The container's user database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFiles {
    /// `/etc/passwd`, empty when there is none.
    pub passwd: String,
    /// `/etc/group`, empty when there is none.
    pub group: String,
}

impl Root {
    /// Mounts the layers.
    ///
    /// # Errors
    /// When the kernel refuses, which it does for a layer that is not there.
    pub fn mount(layers: &RootLayers) -> Result<Self, ExecError> {
        if layers.volatile {
            forget_volatile(&layers.work).map_err(ExecError::path("preparing", &layers.work))?;
        }
        let mount = match mount(layers, by_layer) {
            // Kernels before 6.5 take all lower layers as one text only.
            Err(Errno::INVAL) => mount(layers, joined),
            result => result,
        };
        Ok(Self {
            mount: mount.map_err(ExecError::path("mounting the root file system on", &layers.upper))?,
        })
    }

    /// The root of a process with mounts of its own, to look at; a process that has ended has none.
    ///
    /// # Errors
    /// When the kernel does not give it, or it is the host's: the number may be another process's by now.
    pub fn of_process(pid: u32) -> Result<Self, ExecError> {
        let path = PathBuf::from(format!("/proc/{pid}"));
        let root = root_of(&path).map_err(ExecError::path("opening the root of", &path))?;
        Ok(Self { mount: root })
    }

    /// Opens a directory, by no symlink that leads out of the root; none when there is no such directory.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn directory(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let Some(inside) = InRoot::new(path) else {
            return Ok(None);
        };
        match inside.open(
            self.mount.as_fd(),
            OFlags::RDONLY | OFlags::DIRECTORY,
            Links::Inside,
        ) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Reads the user database. No symlink in it leads out of the root.
    ///
    /// # Errors
    /// When a file is no file, is longer than 1 MiB, or cannot be read.
    pub fn account_files(&self) -> Result<AccountFiles, ExecError> {
        Ok(AccountFiles {
            passwd: self.read("/etc/passwd")?,
            group: self.read("/etc/group")?,
        })
    }

    fn read(&self, path: &str) -> Result<String, ExecError> {
        let bytes = self.read_bytes(Path::new(path));
        let bytes = bytes.map_err(ExecError::io(format!("reading {path} of the container")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn read_bytes(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let Some(inside) = InRoot::new(path) else {
            return Ok(bytes);
        };
        // What waits for a writer, or becomes a terminal, must not hold the daemon up.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match inside.open(self.mount.as_fd(), flags, Links::Inside) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(bytes),
            file => file?,
        };
        let found = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        fs::File::from(file)
            .take(MAX_ACCOUNTS + 1)
            .read_to_end(&mut bytes)?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_ACCOUNTS) {
            return Err(Errno::FBIG.into());
        }
        Ok(bytes)
    }

    pub(crate) fn from_fd(mount: OwnedFd) -> Self {
        Self { mount }
    }

    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.mount.as_fd()
    }
}

/// The directory is of one process: what is opened below it is of that process, or nothing.
fn root_of(process: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let process = rustix::fs::open(process, flags, Mode::empty())?;
    let root = rustix::fs::openat(&process, c"root", flags, Mode::empty())?;
    let mounts = rustix::fs::statat(&process, c"ns/mnt", AtFlags::empty())?;
    let own = rustix::fs::stat(c"/proc/self/ns/mnt")?;
    if (mounts.st_dev, mounts.st_ino) == (own.st_dev, own.st_ino) {
        return Err(io::Error::other("it is the host's"));
    }
    Ok(root)
}

type SetLower = fn(&OwnedFd, &[PathBuf]) -> Result<(), Errno>;

fn mount(layers: &RootLayers, set_lower: SetLower) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", "overlay")?;
    set_lower(&context, &layers.lower)?;
    fsconfig_set_string(&context, "upperdir", &layers.upper)?;
    fsconfig_set_string(&context, "workdir", &layers.work)?;
    if layers.volatile {
        fsconfig_set_flag(&context, "volatile")?;
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn by_layer(context: &OwnedFd, lower: &[PathBuf]) -> Result<(), Errno> {
    lower
        .iter()
        .try_for_each(|layer| fsconfig_set_string(context, "lowerdir+", layer))
}

fn joined(context: &OwnedFd, lower: &[PathBuf]) -> Result<(), Errno> {
    let mut text = OsString::new();
    for layer in lower {
        // Would be taken for the end of a layer.
        if layer.as_os_str().as_encoded_bytes().contains(&b':') {
            return Err(Errno::INVAL);
        }
        if !text.is_empty() {
            text.push(":");
        }
        text.push(layer);
    }
    fsconfig_set_string(context, "lowerdir", &text)
}

/// Overlay refuses a directory that a volatile mount has used, because after a crash of the host it could be torn. Such
/// a container is gone after a crash.
fn forget_volatile(work: &Path) -> io::Result<()> {
    match fs::remove_dir_all(work.join(VOLATILE_MARK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_root_is_nobodys() {
        let error = Root::of_process(std::process::id()).unwrap_err();
        let source = std::error::Error::source(&error).expect("a reason").to_string();
        assert_eq!(source, "it is the host's");
        Root::of_process(u32::MAX).unwrap_err();
    }
}
