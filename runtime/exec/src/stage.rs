//! From clone to exec: the container's first process carries out its steps. Nothing here allocates, locks or logs; a
//! failure is one fixed structure to the keeper.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use berth_plan::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType};

use crate::prepare::{Flat, Prepared};
use crate::protocol::{READY, encode_entered, encode_fault};
use crate::run_step::run_step;
use crate::sys::{self, Forked};

/// Where the stage reports; the keeper never uses this number for anything else.
pub(crate) const REPORT: RawFd = 3;

/// All other descriptors are this or higher.
pub(crate) const FIRST_OTHER: RawFd = REPORT + 1;

/// The root of a container that has been entered.
const ROOT: RawFd = FIRST_OTHER;

/// The type of the file system that memory is shared in.
const TMPFS: rustix::fs::FsWord = 0x0102_1994;

const RLIMIT_NOFILE: u32 = 7;

/// All that a container has of its own; a network that is the host's is entered to no effect.
const NAMESPACES: ThreadNameSpaceType = ThreadNameSpaceType::MOUNT
    .union(ThreadNameSpaceType::PROCESS_ID)
    .union(ThreadNameSpaceType::NETWORK)
    .union(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)
    .union(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME)
    .union(ThreadNameSpaceType::CONTROL_GROUP);

/// The step that stands for what the stage does by itself before the first one: no plan has so many.
pub(crate) const BEFORE_STEPS: u32 = u32::MAX;

/// Everything that a stage needs.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) prepared: Prepared,
    /// None: `/dev/null`, which the standard streams are already.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: Option<OwnedFd>,
    pub(crate) stderr: Option<OwnedFd>,
    pub(crate) report: OwnedFd,
    /// The limits of open files that the keeper was born with.
    pub(crate) open_files: (u64, u64),
}

/// What the steps share.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// The root file system. One that enters a container has none before.
    pub(crate) root: BorrowedFd<'a>,
    /// It is not in the container yet.
    pub(crate) outside: bool,
    /// A procfs of the container's pid namespace that is mounted nowhere: nobody else can have changed it.
    pub(crate) procfs: Option<OwnedFd>,
    /// An empty directory that nobody can write to.
    pub(crate) empty: Option<OwnedFd>,
    /// `/dev/shm` of the container whose IPC namespace has been joined.
    pub(crate) memory: Option<OwnedFd>,
    /// Nothing but the standard streams and the report is open.
    alone: bool,
}

/// Runs in the new process. Comes back only after a failure, which has been reported then.
pub(crate) fn run(launch: &Launch) {
    let (step, errno) = match begin(launch) {
        Err(errno) => (BEFORE_STEPS, errno),
        Ok(()) => run_steps(&launch.prepared),
    };
    let fault = encode_fault(step, errno.raw_os_error());
    // Without a reader there is nobody to be told.
    let _ = rustix::io::write(sys::standing(REPORT), &fault);
}

fn begin(launch: &Launch) -> Result<(), Errno> {
    sys::reset_signals();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if let Some(stdin) = &launch.stdin {
        rustix::stdio::dup2_stdin(stdin)?;
    }
    if let Some(stdout) = &launch.stdout {
        rustix::stdio::dup2_stdout(stdout)?;
    }
    if let Some(stderr) = &launch.stderr {
        rustix::stdio::dup2_stderr(stderr)?;
    }
    sys::move_to(launch.report.as_fd(), REPORT)?;
    sys::close_on_exec_from(REPORT.cast_unsigned())?;
    keeper_lives()?;
    rustix::process::setsid()?;
    let (soft, hard) = launch.open_files;
    sys::set_limit(RLIMIT_NOFILE, soft, hard)?;
    willing_to_die()
}

/// The keeper may have ended before its end would have been this process's too.
fn keeper_lives() -> Result<(), Errno> {
    let report = sys::standing(REPORT);
    let mut waiting = [PollFd::new(&report, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    rustix::event::poll(&mut waiting, Some(&now))?;
    if waiting[0].revents().is_empty() {
        Ok(())
    } else {
        Err(Errno::PIPE)
    }
}

/// The keeper is the last to be killed for memory; a container is not.
fn willing_to_die() -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    rustix::io::write(&file, b"0").map(drop)
}

fn run_steps(prepared: &Prepared) -> (u32, Errno) {
    let mut stage = Stage {
        root: prepared.root.as_ref().map_or(CWD, AsFd::as_fd),
        outside: prepared.root.is_none(),
        procfs: None,
        empty: None,
        memory: None,
        alone: false,
    };
    let mut number = 0;
    for step in &prepared.steps {
        if !stage.alone
            && gives_up_rights(step)
            && let Err(errno) = stage.let_go()
        {
            return (number, errno);
        }
        if let Err(errno) = run_step(step, &mut stage) {
            return (number, errno);
        }
        number += 1;
    }
    // The last step does not come back.
    (number, Errno::NOEXEC)
}

/// A copy of the mount at `/dev/shm` of a process. Only who is in a mount namespace can copy of it: this process goes
/// there and comes back, and looks at nothing else meanwhile.
fn take_memory(process: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open(c"/proc/self/ns/mnt", flags, Mode::empty())?;
    rustix::thread::move_into_thread_name_spaces(process, ThreadNameSpaceType::MOUNT)?;
    let copy = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let memory = rustix::mount::open_tree(CWD, c"/dev/shm", copy);
    rustix::thread::move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Mount))?;
    let memory = memory?;
    // Whatever the container has put in its place is not given on.
    if rustix::fs::fstatfs(&memory)?.f_type == TMPFS {
        Ok(memory)
    } else {
        Err(Errno::NODEV)
    }
}

fn gives_up_rights(step: &Flat) -> bool {
    matches!(
        step,
        Flat::NoNewPrivileges
            | Flat::Seccomp(_)
            | Flat::DropBounding(_)
            | Flat::Credentials { .. }
            | Flat::Capabilities { .. }
            | Flat::Exec { .. }
    )
}

impl Stage<'_> {
    /// Enters the namespaces of a process. What comes back is another process; this one ends.
    pub(crate) fn enter(&mut self, process: BorrowedFd<'_>) -> Result<(), Errno> {
        rustix::thread::move_into_thread_name_spaces(process, NAMESPACES)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(c"/", flags, Mode::empty())?;
        if root.as_raw_fd() == ROOT {
            let _ = root.into_raw_fd();
        } else {
            sys::move_to(root.as_fd(), ROOT)?;
            drop(root);
        }
        // Nobody in the container sees this process before the fork, and nothing of the host is open after it.
        sys::close_from((ROOT + 1).cast_unsigned())?;
        let (told, tell) = pipe_with(PipeFlags::CLOEXEC)?;
        match sys::fork_sibling()? {
            Forked::Old(pid) => {
                let entered = encode_entered(pid.as_raw_nonzero().get());
                // Without the word the other one does not go on: a process that the keeper does not know of.
                if rustix::io::write(sys::standing(REPORT), &entered).is_ok() {
                    let _ = rustix::io::write(&tell, &READY);
                }
                sys::exit_now(0)
            }
            Forked::New => drop(tell),
        }
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::io::read(&told, &mut [0; 1])? == 0 {
            return Err(Errno::CHILD);
        }
        keeper_lives()?;
        rustix::process::setsid()?;
        self.root = sys::standing(ROOT);
        self.outside = false;
        Ok(())
    }

    /// Joins one namespace of a process, before the root is attached.
    pub(crate) fn share(&mut self, kind: Namespace, process: BorrowedFd<'_>) -> Result<(), Errno> {
        let join = |kind| rustix::thread::move_into_thread_name_spaces(process, kind);
        match kind {
            // It holds for children: whoever made this process has been there.
            Namespace::Processes => Ok(()),
            Namespace::Names => join(ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
            Namespace::Network => join(ThreadNameSpaceType::NETWORK),
            Namespace::Ipc => {
                join(ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION)?;
                self.memory = Some(take_memory(process)?);
                Ok(())
            }
        }
    }

    /// Closes everything of the host. From here on the process lives on without its keeper.
    fn let_go(&mut self) -> Result<(), Errno> {
        self.alone = true;
        self.procfs = None;
        self.empty = None;
        self.memory = None;
        sys::close_from(FIRST_OTHER.cast_unsigned())?;
        rustix::process::set_parent_process_death_signal(None)?;
        rustix::io::write(sys::standing(REPORT), &READY).map(drop)
    }
}
