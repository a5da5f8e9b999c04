//! Starting a container: the plan becomes a process.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant, SystemTime};

use berth_plan::{Plan, Stdin};
use rustix::event::epoll::EventFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::Keeper;
use super::container::{Container, Input, LogFile, Output, Phase, Watched};
use super::poller::{Poller, Source};
use crate::log::{self, Stream};
use crate::prepare::{Prepared, Refusal, prepare};
use crate::protocol::{Answer, Doing, Failure, MAX_ID, MAX_REPORT, Report, decode_report};
use crate::stage::{self, Launch};
use crate::sys::{self, Namespaces};

/// The longest plan that is read, in bytes: some thousand environment variables. A longer one is refused.
const MAX_PLAN: u64 = 8 * 1024 * 1024;

/// The most containers at a time; the next start is refused.
const MAX_CONTAINERS: usize = 4096;

/// How long a stage may take; then it is killed. It waits for nothing but disks.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// The permission bits of a new log.
const LOG_MODE: u32 = 0o640;

impl Keeper {
    pub(super) fn start(&mut self, number: u64, descriptors: Vec<OwnedFd>) {
        let result = read_plan(descriptors).and_then(|start| self.launch(number, start));
        if let Err(failure) = result {
            self.answer(number, Answer::Failed(failure));
        }
    }

    fn launch(&mut self, number: u64, start: Start) -> Result<(), Failure> {
        let Start { plan, root, network } = start;
        if plan.id.is_empty() || plan.id.len() > MAX_ID {
            return Err(Failure::plan("the id is empty or too long"));
        }
        if self.containers.contains_key(&plan.id) {
            return Err(Failure::plan("a container of this id is there already"));
        }
        if self.containers.len() >= MAX_CONTAINERS {
            return Err(Failure::plan(format!(
                "there are {MAX_CONTAINERS} containers already"
            )));
        }
        let prepared = prepare(&plan, root, network).map_err(refused)?;
        let container = self.bear(number, &plan, prepared)?;
        let id = plan.id;
        let waits = container.input.is_some();
        self.containers.insert(id.clone(), container);
        self.timed = true;
        if waits {
            self.listen_to_clients(&id);
        }
        Ok(())
    }

    /// Makes the process and everything that the keeper has of it.
    fn bear(&mut self, number: u64, plan: &Plan, prepared: Prepared) -> Result<Container, Failure> {
        let failed = |doing: Doing| move |errno: Errno| keeper_failed(doing, errno);
        let log = open_log(plan)?;
        let (stdin, input) = input_pipe(plan.stdin).map_err(failed(Doing::Streams))?;
        let (out, stdout) = output_pipe().map_err(failed(Doing::Streams))?;
        let (err, stderr) = output_pipe().map_err(failed(Doing::Streams))?;
        let (report, said) = output_pipe().map_err(failed(Doing::Streams))?;
        let born_in = plan.born_in.as_ref().map(|path| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
        });
        let born_in = born_in.transpose().map_err(failed(Doing::BirthCgroup))?;
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
        let (pid, pidfd) =
            sys::clone_process(Namespaces::CONTAINER, cgroup, &child).map_err(failed(Doing::Clone))?;
        // The other ends are the stage's alone from here on.
        drop(launch);
        let id = || plan.id.clone();
        let poller = &mut self.poller;
        let watched = (|| {
            let process = watch(poller, pidfd, Source::Process(id()))?;
            let report = watch(poller, report, Source::Report(id()))?;
            let stdout = watch(poller, out, Source::Output(id(), Stream::Stdout))?;
            let stderr = watch(poller, err, Source::Output(id(), Stream::Stderr))?;
            Ok::<_, Errno>((process, report, stdout, stderr))
        })();
        let (process, report, stdout, stderr) = watched.map_err(|errno| {
            // Not a process that nobody waits for.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED);
            keeper_failed(Doing::Clone, errno)
        })?;
        Ok(Container {
            pid: pid.as_raw_nonzero().get(),
            started_at: log::nanos(SystemTime::now()),
            phase: Phase::Starting {
                number,
                report,
                said: Vec::new(),
                deadline: Instant::now() + START_DEADLINE,
            },
            process: Some(process),
            outputs: [
                Output::new(Stream::Stdout, stdout),
                Output::new(Stream::Stderr, stderr),
            ],
            input: input.map(|pipe| Input {
                pipe: Watched {
                    fd: pipe,
                    token: None,
                },
                kind: plan.stdin,
                waiting: Vec::new(),
                ending: false,
            }),
            log: LogFile::new(log),
            failed: None,
            forgotten: false,
            oom_before: crate::reap::oom_kills(plan.oom_counter.as_deref()),
            oom_counter: plan.oom_counter.clone(),
        })
    }

    /// A stage says that it is ready, or what went wrong, and closes its end when it is the command.
    pub(super) fn read_report(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let Phase::Starting {
            number, report, said, ..
        } = &mut container.phase
        else {
            return;
        };
        let mut buffer = [0; MAX_REPORT];
        loop {
            match rustix::io::read(&report.fd, &mut buffer) {
                Ok(0) => break,
                Ok(count) if said.len() <= MAX_REPORT => said.extend_from_slice(&buffer[..count]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // More than a stage ever says: it is no stage of ours.
                Ok(_) | Err(_) => break,
            }
        }
        report.forget(&mut self.poller);
        let (number, outcome) = (*number, decode_report(said));
        let failure = match outcome {
            Report::Executed => {
                container.phase = Phase::Running;
                let answer = Answer::Started {
                    pid: container.pid,
                    at: container.started_at,
                };
                return self.answer(number, answer);
            }
            Report::Failed { step, errno } if step == stage::BEFORE_STEPS => Failure::Keeper {
                doing: Doing::Clone,
                errno,
            },
            Report::Failed { step, errno } => Failure::Step {
                step: usize::try_from(step).unwrap_or(usize::MAX),
                errno,
            },
            Report::Killed => Failure::Killed,
        };
        // Answered when the process is gone, so that nothing of it is in the way of those who undo the rest.
        container.kill();
        container.failed = Some((number, failure));
        container.phase = Phase::Failed;
    }
}

/// What comes with a start.
struct Start {
    plan: Plan,
    root: OwnedFd,
    network: Option<OwnedFd>,
}

fn read_plan(descriptors: Vec<OwnedFd>) -> Result<Start, Failure> {
    let mut descriptors = descriptors.into_iter();
    let (Some(root), Some(plan)) = (descriptors.next(), descriptors.next()) else {
        return Err(Failure::plan("the root or the plan is missing"));
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
        root,
        network: descriptors.next(),
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

fn open_log(plan: &Plan) -> Result<File, Failure> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(LOG_MODE);
    // What is no file must not hold all others up.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options
        .custom_flags(flags.bits().cast_signed())
        .open(&plan.log_path);
    file.map_err(|error| keeper_failed(Doing::Log, Errno::from_io_error(&error).unwrap_or(Errno::IO)))
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
