//! Finding the keeper by its socket, or starting one from a sealed copy of the executable.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use rustix::fs::{MemfdFlags, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use super::connection::Connection;
use super::{HostConfig, Report};
use crate::error::ExecError;
use crate::protocol::Known;

const SOCKET: &str = "keeper.sock";

/// What makes an executable a keeper.
const MODE: &str = "__keeper";

/// What lists of processes show.
const NAME: &str = "berth-keeper";

/// Permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// A keeper may end just when it is found; then the next one is found or started.
const TRIES: u32 = 3;

/// Connections that wait while the keeper is busy: one daemon at a time has one.
const BACKLOG: i32 = 8;

/// The keeper, if it is a child of this process.
#[derive(Debug, Default)]
pub(super) struct KeeperProcess {
    child: Option<Child>,
}

/// The directory of the socket, checked and held open.
struct Place {
    directory: File,
    path: PathBuf,
}

impl KeeperProcess {
    /// Connects to the keeper of the directory; one is started when there is none.
    pub(super) fn connect(
        &mut self,
        config: &HostConfig,
        reports: &SyncSender<Report>,
    ) -> Result<(Arc<Connection>, Vec<Known>), ExecError> {
        let place = Place::open(&config.run_dir)?;
        let mut outcome = Err(ExecError::KeeperGone);
        for _ in 0..TRIES {
            let socket = match place.connect()? {
                Some(socket) => socket,
                None => self.start(&place, &config.executable)?,
            };
            outcome = Connection::greet(socket, reports.clone());
            if !matches!(outcome, Err(ExecError::KeeperGone)) {
                break;
            }
        }
        outcome
    }

    fn start(&mut self, place: &Place, executable: &Path) -> Result<OwnedFd, ExecError> {
        self.reap();
        let listener = place.listen()?;
        let program = sealed_copy(executable).map_err(ExecError::path("copying", executable))?;
        let path = format!("/proc/self/fd/{}", program.as_raw_fd());
        let child = Command::new(&path)
            .arg0(NAME)
            .arg(MODE)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(ExecError::path("starting the keeper from", executable))?;
        self.child = Some(child);
        // The socket listens already, so this cannot come too early.
        place.connect()?.ok_or(ExecError::KeeperGone)
    }

    /// A keeper that has ended must not stay as a zombie.
    fn reap(&mut self) {
        if let Some(mut child) = self.child.take()
            && let Ok(None) = child.try_wait()
        {
            self.child = Some(child);
        }
    }

    /// Waits for a keeper that has been told to end, and removes its socket.
    pub(super) fn wait(&mut self, config: &HostConfig) -> Result<(), ExecError> {
        if let Some(mut child) = self.child.take() {
            child.wait().map_err(ExecError::io("waiting for the keeper"))?;
        }
        let path = config.run_dir.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ExecError::path("removing", &path)(error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

impl Place {
    fn open(run_dir: &Path) -> Result<Self, ExecError> {
        let failed = || ExecError::path("opening", run_dir);
        let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
        let directory = File::options()
            .read(true)
            .custom_flags(flags)
            .open(run_dir)
            .map_err(failed())?;
        let found = directory.metadata().map_err(failed())?;
        if found.uid() != rustix::process::geteuid().as_raw() || found.mode() & OTHERS != 0 {
            return Err(ExecError::RunDirectory {
                path: run_dir.to_owned(),
            });
        }
        Ok(Self {
            directory,
            path: run_dir.join(SOCKET),
        })
    }

    /// By the open directory: paths of sockets have 107 bytes at most, those of directories many more.
    fn address(&self) -> Result<SocketAddrUnix, Errno> {
        SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", self.directory.as_raw_fd()))
    }

    /// None when nobody listens.
    fn connect(&self) -> Result<Option<OwnedFd>, ExecError> {
        let failed = || ExecError::path("connecting to", &self.path);
        let socket = socket().map_err(failed())?;
        let connected = self.address().and_then(|address| connect(&socket, &address));
        match connected {
            Err(Errno::NOENT | Errno::CONNREFUSED) => return Ok(None),
            result => result.map_err(failed())?,
        }
        let peer = rustix::net::sockopt::socket_peercred(&socket).map_err(failed())?;
        if peer.uid != rustix::process::geteuid() {
            return Err(ExecError::ForeignKeeper {
                path: self.path.clone(),
            });
        }
        Ok(Some(socket))
    }

    fn listen(&self) -> Result<OwnedFd, ExecError> {
        let failed = || ExecError::path("listening on", &self.path);
        match rustix::fs::unlinkat(self.directory.as_fd(), SOCKET, rustix::fs::AtFlags::empty()) {
            Err(Errno::NOENT) => {}
            result => result.map_err(failed())?,
        }
        let listener = socket().map_err(failed())?;
        self.address()
            .and_then(|address| bind(&listener, &address))
            .map_err(failed())?;
        listen(&listener, BACKLOG).map_err(failed())?;
        Ok(listener)
    }
}

fn socket() -> Result<OwnedFd, Errno> {
    socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// Nothing that runs in a container can write to the file that its parent was started from.
fn sealed_copy(executable: &Path) -> io::Result<OwnedFd> {
    let mut source = File::open(executable)?;
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match rustix::fs::memfd_create(NAME, flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 make every such file executable, and do not know the flag.
        Err(Errno::INVAL) => rustix::fs::memfd_create(NAME, flags)?,
        memory => memory?,
    };
    let mut copy = File::from(memory);
    io::copy(&mut source, &mut copy)?;
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals)?;
    Ok(copy.into())
}
