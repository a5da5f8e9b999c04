//! From clone to exec: the container's first process carries out its steps. Nothing here allocates, locks or logs; a
//! failure is one fixed structure to the keeper.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use crate::prepare::{Flat, Prepared};
use crate::protocol::{READY, encode_fault};
use crate::run_step::run_step;
use crate::sys;

/// Where the stage reports; the keeper never uses this number for anything else.
pub(crate) const REPORT: RawFd = 3;

/// All other descriptors are this or higher.
pub(crate) const FIRST_OTHER: RawFd = REPORT + 1;

const RLIMIT_NOFILE: u32 = 7;

/// The step that stands for what the stage does by itself before the first one: no plan has so many.
pub(crate) const BEFORE_STEPS: u32 = u32::MAX;

/// Everything that a stage needs.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) prepared: Prepared,
    /// None: `/dev/null`, which is standard input already.
    pub(crate) stdin: Option<OwnedFd>,
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
    pub(crate) report: OwnedFd,
    /// The limits of open files that the keeper was born with.
    pub(crate) open_files: (u64, u64),
}

/// What the steps share.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// The root file system.
    pub(crate) root: BorrowedFd<'a>,
    /// A procfs of the container's pid namespace that is mounted nowhere: nobody else can have changed it.
    pub(crate) procfs: Option<OwnedFd>,
    /// An empty directory that nobody can write to.
    pub(crate) empty: Option<OwnedFd>,
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
    rustix::stdio::dup2_stdout(&launch.stdout)?;
    rustix::stdio::dup2_stderr(&launch.stderr)?;
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
        root: prepared.root.as_fd(),
        procfs: None,
        empty: None,
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
    /// Closes everything of the host. From here on the process lives on without its keeper.
    fn let_go(&mut self) -> Result<(), Errno> {
        self.alone = true;
        self.procfs = None;
        self.empty = None;
        sys::close_from(FIRST_OTHER.cast_unsigned())?;
        rustix::process::set_parent_process_death_signal(None)?;
        rustix::io::write(sys::standing(REPORT), &READY).map(drop)
    }
}
