//! The keeper: parent of every container. One thread, one loop; it outlives the daemon, which finds it by its socket.

mod client;
mod container;
mod daemon;
mod input;
mod log_file;
mod output;
mod poller;
mod start;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};

use crate::protocol::{Ended, Known, Message};
use crate::stage::{FIRST_OTHER, REPORT};
use crate::sys;
use client::Client;
use container::{Container, Phase, Watched};
use daemon::Daemon;
use poller::{Poller, Source};

/// How often deadlines are looked at while there are any. Nothing that depends on it is exact.
const TICK: Duration = Duration::from_millis(50);

/// What is read of a stream at a time: one container's turn, then it is the next one's.
const CHUNK: usize = 64 * 1024;

/// The kernel kills it for memory after everything else. Without the right to ask for that it stays as it is.
const LAST_TO_DIE: &str = "-999";

/// The exit code of a process that was not started as a keeper.
const NO_KEEPER: i32 = 2;

/// All that the keeper has.
#[derive(Debug)]
struct Keeper {
    poller: Poller,
    listener: OwnedFd,
    daemon: Option<Daemon>,
    containers: BTreeMap<String, Container>,
    clients: BTreeMap<u64, Client>,
    next_client: u64,
    /// Processes that have handed over to another one and end now.
    helpers: BTreeMap<u64, Watched>,
    next_helper: u64,
    /// Something has a deadline.
    timed: bool,
    /// Ends when the last container has.
    ending: bool,
    /// What is being read, for all streams in turn.
    buffer: Vec<u8>,
    open_files: (u64, u64),
}

/// Runs as the keeper: standard input is the socket it listens on. Ends when the daemon says so, or when it is gone and
/// nothing is held for it.
pub fn run() -> ! {
    let keeper = set_up();
    let code = match keeper.map(Keeper::serve) {
        Ok(Ok(())) => 0,
        // Nobody listens to a keeper: its exit code is all that it can say.
        Ok(Err(errno)) | Err(errno) => errno.raw_os_error().max(NO_KEEPER),
    };
    std::process::exit(code)
}

fn set_up() -> Result<Keeper, Errno> {
    let listener = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), FIRST_OTHER)?;
    if !rustix::net::sockopt::socket_acceptconn(&listener)? {
        return Err(Errno::NOTSOCK);
    }
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // The number is a stage's: nothing of ours may get it. Kept open for good.
    sys::move_to(null.as_fd(), REPORT)?;
    if std::os::fd::AsRawFd::as_raw_fd(&null) == REPORT {
        let _ = std::os::fd::IntoRawFd::into_raw_fd(null);
    }
    rustix::process::setsid()?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::process::chdir(c"/")?;
    rustix::thread::set_name(c"berth-keeper")?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let _ = std::fs::write("/proc/self/oom_score_adj", LAST_TO_DIE);
    let open_files = many_files();
    rustix::fs::fcntl_setfl(&listener, OFlags::NONBLOCK)?;
    let mut poller = Poller::new()?;
    poller.watch_input(listener.as_fd(), Source::Listener)?;
    Ok(Keeper {
        poller,
        listener,
        daemon: None,
        containers: BTreeMap::new(),
        clients: BTreeMap::new(),
        next_client: 0,
        helpers: BTreeMap::new(),
        next_helper: 0,
        timed: false,
        ending: false,
        buffer: vec![0; CHUNK],
        open_files,
    })
}

/// Takes all that is allowed for itself; containers get what there was before.
fn many_files() -> (u64, u64) {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        maximum: before.maximum,
    };
    // With fewer files there are fewer containers; each start says so when it happens.
    let _ = setrlimit(Resource::Nofile, raised);
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    (number(before.current), number(before.maximum))
}

impl Keeper {
    fn serve(mut self) -> Result<(), Errno> {
        let mut greeted = false;
        loop {
            let timeout = self.timed.then_some(TICK);
            for (source, flags) in self.poller.wait(timeout)? {
                greeted |= matches!(source, Source::Daemon);
                self.handle(source, flags);
            }
            if self.timed {
                self.look_at_deadlines();
            }
            if self.is_done(greeted) {
                return Ok(());
            }
        }
    }

    /// Without a daemon and without anything to hold for one there is no use for a keeper.
    fn is_done(&self, greeted: bool) -> bool {
        if self.ending {
            return !self.containers.values().any(Container::lives);
        }
        greeted && self.daemon.is_none() && self.containers.is_empty()
    }

    fn handle(&mut self, source: Source, flags: rustix::event::epoll::EventFlags) {
        match source {
            Source::Listener => self.accept(),
            Source::Daemon => self.serve_daemon(flags),
            Source::Report(id) => self.read_report(&id),
            Source::Helper(number) => self.helper_ended(number),
            Source::Process(id) => self.process_ended(&id),
            Source::Output(id, stream) => self.read_output(&id, stream),
            Source::Input(id) => self.write_input(&id),
            Source::Client(number) => self.serve_client(number, flags),
        }
    }

    fn look_at_deadlines(&mut self) {
        let now = Instant::now();
        let mut timed = false;
        for container in self.containers.values() {
            if let Phase::Starting { deadline, .. } = &container.phase {
                timed = true;
                if now >= *deadline {
                    container.kill();
                }
            }
        }
        let late: Vec<u64> = self
            .clients
            .iter()
            .filter(|(_, client)| client.is_late(now))
            .map(|(n, _)| *n)
            .collect();
        for number in late {
            self.remove_client(number, client::Gone::Cut);
        }
        timed |= self.end_half_closed(now);
        timed |= self.clients.values().any(Client::is_timed);
        self.timed = timed;
    }

    /// The process has ended: its streams are read to their ends, then its end is told.
    fn process_ended(&mut self, id: &str) {
        // Whether it has been the command's is known before its end is.
        self.read_report(id);
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let Some(status) = container.reap() else {
            return;
        };
        if let Phase::Starting { .. } = container.phase {
            // It has said all that it will ever say, although the process that it took over from may not have ended
            // yet and keep the report open.
            self.stage_is_done(id);
        }
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let at = crate::log::nanos(std::time::SystemTime::now());
        container.drop_process(&mut self.poller);
        if let Some((number, failure)) = container.failed.take() {
            let phase = std::mem::replace(&mut container.phase, Phase::Failed);
            drop(phase);
            self.drop_container(id);
            self.answer_to(number, crate::protocol::Answer::Failed(failure));
            return;
        }
        self.finish_output(id);
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let exit = Ended {
            code: status.code,
            signal: status.signal,
            oom_killed: container.was_killed_for_memory(),
            at,
        };
        container.phase = Phase::Ended(exit);
        let forgotten = container.forgotten;
        self.end_clients(id);
        if forgotten {
            self.containers.remove(id);
            return;
        }
        self.tell(&Message::Exited {
            id: id.to_owned(),
            exit,
        });
    }

    fn helper_ended(&mut self, number: u64) {
        let ended = |helper: &Watched| crate::reap::reap(&helper.fd).is_some();
        if self.helpers.get(&number).is_some_and(ended)
            && let Some(mut helper) = self.helpers.remove(&number)
        {
            helper.forget(&mut self.poller);
        }
    }

    /// A start that came to nothing: its clients wait on, for the next one or for being forgotten.
    fn drop_container(&mut self, id: &str) {
        if let Some(mut container) = self.containers.remove(id) {
            container.drop_streams(&mut self.poller);
        }
    }

    fn known(&self) -> Vec<Known> {
        let known = |(id, container): (&String, &Container)| {
            if container.forgotten {
                // Its end will not be told, so nobody may count on it.
                return None;
            }
            let exit = match &container.phase {
                Phase::Starting { .. } | Phase::Running => None,
                Phase::Failed => return None,
                Phase::Ended(exit) => Some(*exit),
            };
            Some(Known {
                id: id.clone(),
                pid: container.pid,
                started_at: container.started_at,
                exit,
                inside: container.inside.clone(),
            })
        };
        self.containers.iter().filter_map(known).collect()
    }
}
