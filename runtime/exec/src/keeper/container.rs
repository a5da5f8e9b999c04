//! One container, as the keeper holds it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;

use berth_plan::Stdin;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::log_file::LogFile;
use super::poller::{Poller, Token};
use crate::log::{Lines, Stream};
use crate::protocol::{Ended, Failure};
use crate::reap::{self, Status};
use crate::sys;

const SIGKILL: i32 = 9;

/// How long a killed process that is in the way of a start may take to end; all else waits meanwhile. Then the start is
/// refused.
const LONGEST_END: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

/// Where a container is in its life.
#[derive(Debug)]
pub(super) enum Phase {
    /// The stage has not said yet how it went.
    Starting {
        /// The request to be answered; none when whoever asked is gone.
        number: Option<u64>,
        report: Watched,
        /// It has got as far as the command.
        ready: bool,
        /// The step that failed, and why.
        fault: Option<(u32, i32)>,
        deadline: Instant,
    },
    Running,
    /// It never ran; only its process is left.
    Failed,
    Ended(Ended),
}

/// A descriptor in the poller.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) fd: OwnedFd,
    /// None while nothing is expected of it.
    pub(super) token: Option<Token>,
}

impl Watched {
    pub(super) fn forget(&mut self, poller: &mut Poller) {
        if let Some(token) = self.token.take() {
            poller.forget(self.fd.as_fd(), token);
        }
    }
}

/// One of the outputs.
#[derive(Debug)]
pub(super) struct Output {
    /// None after its end.
    pub(super) pipe: Option<Watched>,
    pub(super) lines: Lines,
}

impl Output {
    pub(super) fn new(stream: Stream, pipe: Option<Watched>) -> Self {
        Self {
            pipe,
            lines: Lines::new(stream),
        }
    }
}

/// The container's input.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) pipe: Watched,
    pub(super) kind: Stdin,
    /// What the pipe had no room for; no more is taken from clients meanwhile, so this is at most one piece.
    pub(super) waiting: Vec<u8>,
    /// Close it as soon as nothing waits.
    pub(super) ending: bool,
}

#[derive(Debug)]
pub(super) struct Container {
    pub(super) pid: i32,
    pub(super) started_at: u64,
    pub(super) phase: Phase,
    /// None after it has been reaped.
    pub(super) process: Option<Watched>,
    /// The first is standard output.
    pub(super) outputs: [Output; 2],
    pub(super) input: Option<Input>,
    /// What its input is, once there is one.
    pub(super) stdin: Stdin,
    /// It has a terminal: `terminal` is its other end as long as it lives.
    pub(super) has_terminal: bool,
    pub(super) terminal: Option<OwnedFd>,
    /// The container that it was added to.
    pub(super) inside: Option<String>,
    pub(super) log: Option<LogFile>,
    /// The answer to its start, when its process has ended.
    pub(super) failed: Option<(Option<u64>, Failure)>,
    /// Nobody wants to know about its end.
    pub(super) forgotten: bool,
    pub(super) oom_counter: Option<PathBuf>,
    /// What the counter said at first.
    pub(super) oom_before: u64,
}

impl Container {
    pub(super) fn lives(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn output(&mut self, stream: Stream) -> &mut Output {
        let [stdout, stderr] = &mut self.outputs;
        match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        }
    }

    /// A signal to the first process; false when there is none any more.
    pub(super) fn signal(&self, signal: i32) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| sys::signal_process(process.fd.as_fd(), signal).is_ok())
    }

    pub(super) fn kill(&self) {
        self.signal(SIGKILL);
    }

    /// Nobody hears the answer to its start any more. A container is taken back then, as whoever comes next will: what
    /// was never told to be there is not there. What was added to one runs to its own end.
    pub(super) fn orphan(&mut self) {
        if let Phase::Starting { number, .. } = &mut self.phase {
            *number = None;
            if self.inside.is_none() {
                self.forgotten = true;
                self.kill();
            }
        }
        if let Some((number, _)) = &mut self.failed {
            *number = None;
        }
    }

    /// Waits a moment for the end of a process that has been killed.
    pub(super) fn wait_for_end(&self) {
        let Some(process) = &self.process else {
            return;
        };
        let mut ends = [PollFd::new(&process.fd, PollFlags::IN)];
        // One that does not end in time is in the way of the next of its name, which says so.
        let _ = poll(&mut ends, Some(&LONGEST_END));
    }

    pub(super) fn reap(&self) -> Option<Status> {
        reap::reap(&self.process.as_ref()?.fd)
    }

    pub(super) fn drop_process(&mut self, poller: &mut Poller) {
        if let Some(mut process) = self.process.take() {
            process.forget(poller);
        }
    }

    /// Without the streams of a container nothing more is read of it.
    pub(super) fn drop_streams(&mut self, poller: &mut Poller) {
        for output in &mut self.outputs {
            if let Some(mut pipe) = output.pipe.take() {
                pipe.forget(poller);
            }
        }
        self.drop_input(poller);
        self.terminal = None;
        if let Phase::Starting { report, .. } = &mut self.phase {
            report.forget(poller);
        }
    }

    pub(super) fn drop_input(&mut self, poller: &mut Poller) {
        if let Some(mut input) = self.input.take() {
            input.pipe.forget(poller);
        }
    }

    /// Keeps whole records, if anything is kept.
    pub(super) fn append(&mut self, records: &[u8]) {
        if let Some(log) = &mut self.log {
            log.append(records);
        }
    }

    pub(super) fn was_killed_for_memory(&self) -> bool {
        reap::oom_kills(self.oom_counter.as_deref()) > self.oom_before
    }
}
