//! Starting a container: the plan becomes a process.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime};

use berth_plan::{Namespace, Plan, Stdin};
use rustix::event::epoll::EventFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces,
};

use super::Keeper;
use super::container::{Container, Input, Output, Phase, Watched};
use super::log_file::LogFile;
use super::poller::{Poller, Source};
use crate::channel;
use crate::log::{self, Stream};
use crate::prepare::{Given, Prepared, Refusal, prepare};
use crate::protocol::{Answer, Doing, Failure, MAX_ID, MAX_SAID, Said, decode_said};
use crate::stage::{self, Launch};
use crate::sys::{self, Namespaces};

/// The longest plan that is read, in bytes: some thousand environment variables. A longer one is refused.
const MAX_PLAN: u64 = 8 * 1024 * 1024;

/// The most containers at a time; the next start is refused.
const MAX_CONTAINERS: usize = 4096;

/// How long a stage may take; then it is killed. It waits for nothing but disks.
const START_DEADLINE: Duration = Duration::from_secs(30);

impl Keeper {
    pub(super) fn start(&mut self, number: u64, descriptors: Vec<OwnedFd>) {
        let result = read_plan(descriptors).and_then(|start| self.launch(number, start));
        if let Err(failure) = result {
            self.answer(number, Answer::Failed(failure));
        }
    }

    fn launch(&mut self, number: u64, start: Start) -> Result<(), Failure> {
        let Start { plan, mut given } = start;
        if plan.id.is_empty() || plan.id.len() > MAX_ID {
            return Err(Failure::plan("the id is empty or too long"));
        }
        self.clear_away(&plan.id);
        if self.containers.contains_key(&plan.id) {
            return Err(Failure::plan("a container of this id is there already"));
        }
        if self.containers.len() >= MAX_CONTAINERS {
            return Err(Failure::plan(format!(
                "there are {MAX_CONTAINERS} containers already"
            )));
        }
        if let Some(inside) = plan.enters() {
            given.container = Some(self.process_of(inside)?);
        }
        let processes = self.joined(&plan, &mut given)?;
        let prepared = prepare(&plan, given).map_err(refused)?;
        let container = self.bear(number, &plan, prepared, processes)?;
        let id = plan.id;
        let waits = container.input.is_some();
        self.containers.insert(id.clone(), container);
        self.timed = true;
        if waits {
            self.listen_to_clients(&id);
        }
        Ok(())
    }

    /// One that nobody wants any more and that is dying makes room for the next of its id.
    fn clear_away(&mut self, id: &str) {
        if let Some(dying) = self.containers.get(id).filter(|container| container.forgotten) {
            dying.wait_for_end();
            self.process_ended(id);
        }
    }

    /// Adds a process of each container whose namespace the plan shares; gives the one whose processes are shared.
    fn joined(&self, plan: &Plan, given: &mut Given) -> Result<Option<OwnedFd>, Failure> {
        for kind in [Namespace::Ipc, Namespace::Names, Namespace::Network] {
            if let Some(Some(id)) = plan.shares(kind) {
                given.joined.push((kind, self.process_of(id)?));
            }
        }
        match plan.shares(Namespace::Processes) {
            Some(Some(id)) => self.process_of(id).map(Some),
            None | Some(None) => Ok(None),
        }
    }

    /// The first process of a container that runs.
    fn process_of(&self, id: &str) -> Result<OwnedFd, Failure> {
        let container = self.containers.get(id);
        let runs =
            |container: &&Container| matches!(container.phase, Phase::Running) && container.inside.is_none();
        let process = container
            .filter(runs)
            .and_then(|container| container.process.as_ref());
        let not_running = || Failure::NotRunning { id: id.to_owned() };
        let copy = process.ok_or_else(not_running)?.fd.try_clone();
        copy.map_err(|error| keeper_failed(Doing::Clone, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }

    /// Makes the process and everything that the keeper has of it.
    fn bear(
        &mut self,
        number: u64,
        plan: &Plan,
        prepared: Prepared,
        processes: Option<OwnedFd>,
    ) -> Result<Container, Failure> {
        let failed = |doing: Doing| move |errno: Errno| keeper_failed(doing, errno);
        let log = plan
            .log_path
            .as_deref()
            .map(|path| LogFile::open(path, plan.log_limit));
        let log = log
            .transpose()
            .map_err(|errno| keeper_failed(Doing::Log, errno))?;
        let has_terminal = plan.has_terminal();
        let Streams { ours, theirs } = streams(plan.stdin, has_terminal).map_err(failed(Doing::Streams))?;
        let (report, said) = report_socket().map_err(failed(Doing::Streams))?;
        let born_in = birth_cgroup(plan).map_err(failed(Doing::BirthCgroup))?;
        let [stdin, stdout, stderr] = theirs;
        let namespaces = namespaces(plan);
        let launch = Launch {
            prepared,
            stdin,
            stdout,
            stderr,
            report: said,
            open_files: self.open_files,
        };
        let cgroup = born_in.as_ref().map(AsFd::as_fd);
        let child = || stage::run(&launch);
        let clone = || sys::clone_process(namespaces, cgroup, &child);
        let born = match &processes {
            Some(process) => among(process.as_fd(), clone),
            None => clone(),
        };
        let (pid, pidfd) = born.map_err(failed(Doing::Clone))?;
        // The other ends are the stage's alone from here on.
        drop(launch);
        let born = Born {
            pidfd,
            report,
            streams: ours,
        };
        let watched = born.watch(&mut self.poller, &plan.id).map_err(|errno| {
            // Not a process that nobody waits for.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            keeper_failed(Doing::Clone, errno)
        })?;
        let [stdout, stderr] = watched.outputs;
        Ok(Container {
            pid: pid.as_raw_nonzero().get(),
            started_at: log::nanos(SystemTime::now()),
            phase: Phase::Starting {
                number: Some(number),
                report: watched.report,
                ready: false,
                fault: None,
                deadline: Instant::now() + START_DEADLINE,
            },
            process: Some(watched.process),
            outputs: [
                Output::new(Stream::Stdout, stdout),
                Output::new(Stream::Stderr, stderr),
            ],
            input: watched.input.map(|pipe| new_input(pipe, plan.stdin)),
            stdin: plan.stdin,
            has_terminal,
            terminal: None,
            inside: plan.enters().map(ToOwned::to_owned),
            log,
            failed: None,
            forgotten: false,
            oom_before: crate::reap::oom_kills(plan.oom_counter.as_deref()),
            oom_counter: plan.oom_counter.clone(),
        })
    }

    /// A stage says how far it is, or what went wrong, and closes its end when it is the command.
    pub(super) fn read_report(&mut self, id: &str) {
        let mut buffer = [0; MAX_SAID];
        loop {
            let Some(Phase::Starting { report, .. }) = self.phase_of(id) else {
                return;
            };
            match channel::receive(report.fd.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => break,
                Ok((count, descriptors)) => {
                    if self
                        .stage_said(id, decode_said(&buffer[..count]), descriptors)
                        .is_none()
                    {
                        break;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(_) => break,
            }
        }
        self.stage_is_done(id);
    }

    fn phase_of(&mut self, id: &str) -> Option<&mut Phase> {
        Some(&mut self.containers.get_mut(id)?.phase)
    }

    /// None when it makes no sense, or cannot be dealt with: then it counts as killed.
    fn stage_said(&mut self, id: &str, said: Option<Said>, descriptors: Vec<OwnedFd>) -> Option<()> {
        let Some(Phase::Starting { ready, fault, .. }) = self.phase_of(id) else {
            return None;
        };
        match said? {
            Said::Ready => *ready = true,
            Said::Failed { step, errno } => *fault = Some((step, errno)),
            Said::Entered(pid) => self.take_over(id, pid)?,
            Said::Terminal => self.take_terminal(id, descriptors.into_iter().next()?).ok()?,
        }
        Some(())
    }

    /// Another process goes on for the one that was born here; both are children of the keeper.
    fn take_over(&mut self, id: &str, pid: i32) -> Option<()> {
        let pid = Pid::from_raw(pid)?;
        // A child stays what its number means until it is reaped, and only this loop reaps.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
        let source = || Source::Process(id.to_owned());
        let process = pidfd.and_then(|pidfd| watch(&mut self.poller, pidfd, source()).ok());
        let Some(process) = process else {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            return None;
        };
        let container = self.containers.get_mut(id)?;
        container.pid = pid.as_raw_nonzero().get();
        let mut helper = container.process.replace(process)?;
        helper.forget(&mut self.poller);
        let number = self.next_helper;
        self.next_helper += 1;
        helper.token = self
            .poller
            .watch(helper.fd.as_fd(), Source::Helper(number), EventFlags::IN)
            .ok();
        self.helpers.insert(number, helper);
        Some(())
    }

    /// The keeper's end of a terminal: output, input and size.
    fn take_terminal(&mut self, id: &str, master: OwnedFd) -> Result<(), Errno> {
        let copy = || master.try_clone().map_err(|_| Errno::MFILE);
        let Some(container) = self
            .containers
            .get_mut(id)
            .filter(|container| container.has_terminal)
        else {
            return Err(Errno::INVAL);
        };
        rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
        let source = Source::Output(id.to_owned(), Stream::Stdout);
        container.outputs[0].pipe = Some(watch(&mut self.poller, copy()?, source)?);
        if container.stdin != Stdin::Null {
            container.input = Some(new_input(copy()?, container.stdin));
        }
        container.terminal = Some(master);
        self.listen_to_clients(id);
        Ok(())
    }

    /// Nothing more will be said.
    pub(super) fn stage_is_done(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let Phase::Starting {
            number,
            report,
            ready,
            fault,
            ..
        } = &mut container.phase
        else {
            return;
        };
        report.forget(&mut self.poller);
        let number = *number;
        let failure = match (*fault, *ready) {
            (Some((stage::BEFORE_STEPS, errno)), _) => Failure::Keeper {
                doing: Doing::Clone,
                errno,
            },
            (Some((step, errno)), _) => Failure::Step {
                step: usize::try_from(step).unwrap_or(usize::MAX),
                errno,
            },
            (None, true) => {
                container.phase = Phase::Running;
                let answer = Answer::Started {
                    pid: container.pid,
                    at: container.started_at,
                };
                return self.answer_to(number, answer);
            }
            (None, false) => Failure::Killed,
        };
        // Answered when the process is gone, so that nothing of it is in the way of those who undo the rest.
        container.kill();
        container.failed = Some((number, failure));
        container.phase = Phase::Failed;
    }
}

/// What a process is born with.
fn namespaces(plan: &Plan) -> Namespaces {
    if plan.enters().is_some() {
        return Namespaces::NONE;
    }
    let all = [Namespace::Processes, Namespace::Ipc, Namespace::Names];
    let shared = all.into_iter().filter(|kind| plan.shares(*kind).is_some());
    shared.fold(Namespaces::CONTAINER, Namespaces::without)
}

/// Does something while children are born into the pid namespace of a process. This process's own does not change.
fn among<T>(process: BorrowedFd<'_>, act: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open(c"/proc/self/ns/pid", flags, Mode::empty())?;
    move_into_thread_name_spaces(process, ThreadNameSpaceType::PROCESS_ID)?;
    let result = act();
    // Without the way back every later container would be born in there: it is this process's own, so it is open.
    move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    result
}

/// The keeper's ends of the streams, and the stage's.
#[derive(Debug, Default)]
struct Streams {
    ours: OurStreams,
    theirs: [Option<OwnedFd>; 3],
}

#[derive(Debug, Default)]
struct OurStreams {
    input: Option<OwnedFd>,
    outputs: Option<(OwnedFd, OwnedFd)>,
}

/// A process as it was born, with the keeper's ends of everything.
struct Born {
    pidfd: OwnedFd,
    report: OwnedFd,
    streams: OurStreams,
}

/// The same, in the poller.
struct WatchedBorn {
    process: Watched,
    report: Watched,
    input: Option<OwnedFd>,
    outputs: [Option<Watched>; 2],
}

impl Born {
    fn watch(self, poller: &mut Poller, id: &str) -> Result<WatchedBorn, Errno> {
        let id = || id.to_owned();
        let outputs = match self.streams.outputs {
            Some((stdout, stderr)) => [
                Some(watch(poller, stdout, Source::Output(id(), Stream::Stdout))?),
                Some(watch(poller, stderr, Source::Output(id(), Stream::Stderr))?),
            ],
            None => [None, None],
        };
        Ok(WatchedBorn {
            process: watch(poller, self.pidfd, Source::Process(id()))?,
            report: watch(poller, self.report, Source::Report(id()))?,
            input: self.streams.input,
            outputs,
        })
    }
}

fn new_input(pipe: OwnedFd, kind: Stdin) -> Input {
    Input {
        pipe: Watched {
            fd: pipe,
            token: None,
        },
        kind,
        waiting: Vec::new(),
        ending: false,
    }
}

/// Pipes; a terminal is made by the stage.
fn streams(stdin: Stdin, has_terminal: bool) -> Result<Streams, Errno> {
    if has_terminal {
        return Ok(Streams::default());
    }
    let (stdin, input) = input_pipe(stdin)?;
    let (out, stdout) = output_pipe()?;
    let (err, stderr) = output_pipe()?;
    Ok(Streams {
        ours: OurStreams {
            input,
            outputs: Some((out, err)),
        },
        theirs: [stdin, Some(stdout), Some(stderr)],
    })
}

fn report_socket() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
}

/// What comes with a start.
struct Start {
    plan: Plan,
    given: Given,
}

fn read_plan(descriptors: Vec<OwnedFd>) -> Result<Start, Failure> {
    let mut descriptors = descriptors.into_iter();
    let Some(plan) = descriptors.next() else {
        return Err(Failure::plan("the plan is missing"));
    };
    let mut bytes = Vec::new();
    let read = File::from(plan).take(MAX_PLAN + 1).read_to_end(&mut bytes);
    read.map_err(|error| keeper_failed(Doing::Plan, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_PLAN) {
        return Err(Failure::plan("the plan is too long"));
    }
    let plan = serde_json::from_slice(&bytes).map_err(|error| Failure::plan(error.to_string()))?;
    Ok(Start {
        plan,
        given: Given {
            root: descriptors.next(),
            network: descriptors.next(),
            container: None,
            joined: Vec::new(),
        },
    })
}

fn keeper_failed(doing: Doing, errno: Errno) -> Failure {
    Failure::Keeper {
        doing,
        errno: errno.raw_os_error(),
    }
}

fn refused(refusal: Refusal) -> Failure {
    match refusal {
        Refusal::Plan(reason) => Failure::plan(reason),
        Refusal::Step(step, reason) => Failure::Malformed {
            step,
            reason: reason.to_owned(),
        },
        Refusal::Open(step, errno) => Failure::Step {
            step,
            errno: errno.raw_os_error(),
        },
    }
}

/// The keeper's end does not block; the container's does.
fn output_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
    Ok((ours, theirs))
}

fn input_pipe(kind: Stdin) -> Result<(Option<OwnedFd>, Option<OwnedFd>), Errno> {
    match kind {
        Stdin::Null => Ok((None, None)),
        Stdin::Once | Stdin::Open => {
            let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::fs::fcntl_setfl(&ours, OFlags::NONBLOCK)?;
            Ok((Some(theirs), Some(ours)))
        }
    }
}

fn watch(poller: &mut Poller, fd: OwnedFd, source: Source) -> Result<Watched, Errno> {
    let token = poller.watch(fd.as_fd(), source, EventFlags::IN)?;
    Ok(Watched {
        fd,
        token: Some(token),
    })
}

/// The cgroup that the process is to be born in, if the plan names one.
fn birth_cgroup(plan: &Plan) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path| rustix::fs::open(path, flags, Mode::empty());
    plan.born_in.as_ref().map(open).transpose()
}
