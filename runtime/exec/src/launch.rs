//! The daemon's side: host steps, the plan to the keeper, and what the keeper tells.

mod connection;
mod groups;
mod keeper_process;
mod networks;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use berth_plan::{CgroupLayout, Plan, StageStep};
use rustix::fs::{MemfdFlags, SealFlags};

use crate::error::{ExecError, LaunchError, Unusable};
use crate::host::{self, Made};
use crate::log::from_nanos;
use crate::names::NameSockets;
use crate::netlink::{self, BridgeConfig};
use crate::nft;
use crate::ports::Reservation;
use crate::protocol::{Answer, Ask, Ended, Failure, Known, MAX_ID};
use crate::rollback::{disconnect_all, release, undo};
use crate::root::Root;
use connection::Connection;
use keeper_process::KeeperProcess;

/// Reports on their way to the engine; at the bound the keeper keeps the next ones.
const REPORTS: usize = 1024;

const SIGKILL: i32 = 9;

/// Where an engine works, and with which names.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// The directory of the keeper's socket: this user's, closed to everybody else.
    pub run_dir: PathBuf,
    /// What the keeper is made from: as `EXECUTABLE __keeper` it must call [`crate::keeper::run`].
    pub executable: PathBuf,
    /// The bridge of the containers.
    pub bridge: BridgeConfig,
    /// The nftables table.
    pub table: String,
    /// The engine's own directory in each cgroup hierarchy.
    pub cgroup_parent: String,
}

/// News of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It has ended. Its log is complete. The keeper remembers it until [`Launcher::forget`].
    Exited {
        /// Which.
        id: String,
        /// How.
        exit: Exit,
    },
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The status, or 128 and the signal; 255 when nobody saw it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The kernel killed a process of it for memory.
    pub oom_killed: bool,
    /// When.
    pub finished_at: SystemTime,
}

/// A container that was there before this launcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adopted {
    /// Which.
    pub id: String,
    /// Its first process.
    pub pid: u32,
    /// Since when it has run.
    pub started_at: SystemTime,
    /// How it ended, when it has.
    pub exit: Option<Exit>,
    /// The container that it was added to by [`Launcher::add`]; none for a container.
    pub inside: Option<String>,
}

/// A container that has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// Its first process.
    pub pid: u32,
    /// When.
    pub started_at: SystemTime,
}

/// What a client is connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attach {
    /// What it writes is the container's input.
    pub stdin: bool,
    /// It gets the output.
    pub stdout: bool,
    /// It gets the errors.
    pub stderr: bool,
    /// It gets them without frames: for what has a terminal.
    pub raw: bool,
}

/// Starts containers and looks after them. Dropping it leaves them running, as a crash does.
#[derive(Debug)]
pub struct Launcher {
    config: HostConfig,
    reports: SyncSender<Report>,
    keeper: Mutex<KeeperProcess>,
    connection: Mutex<Arc<Connection>>,
    /// The reserved ports of each container.
    ports: Mutex<BTreeMap<String, Vec<Reservation>>>,
    /// All networks, the engine's own first.
    networks: Mutex<Vec<nft::NetworkConfig>>,
    /// Sockets of resolvers that nobody has taken yet, by container.
    names: Mutex<BTreeMap<String, NameSockets>>,
}

/// A panic elsewhere has left nothing half-done here: every change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Launcher {
    /// Makes the host ready, and finds the keeper or starts one. `on_report` is called by a thread of its own; while it
    /// does not return nothing more is reported.
    ///
    /// # Errors
    /// What the host lacks or refuses.
    pub fn open(
        config: HostConfig,
        on_report: impl FnMut(Report) + Send + 'static,
    ) -> Result<(Self, Vec<Adopted>), ExecError> {
        netlink::ensure_bridge(&config.bridge)?;
        nft::ensure_table(&config.table, &config.bridge)?;
        let own = config.bridge.clone();
        let (reports, queue) = sync_channel(REPORTS);
        thread::Builder::new()
            .name("reports".to_owned())
            .spawn(move || pass_on(&queue, on_report))
            .map_err(ExecError::io("starting a thread"))?;
        let mut keeper = KeeperProcess::default();
        let (connection, known) = keeper.connect(&config, &reports)?;
        let launcher = Self {
            config,
            reports,
            keeper: Mutex::new(keeper),
            connection: Mutex::new(connection),
            ports: Mutex::new(BTreeMap::new()),
            networks: Mutex::new(vec![nft::NetworkConfig::new(own)]),
            names: Mutex::new(BTreeMap::new()),
        };
        Ok((launcher, known.into_iter().map(adopted).collect()))
    }

    /// The connection; a new keeper when the last one has ended.
    fn connection(&self) -> Result<Arc<Connection>, ExecError> {
        let mut connection = lock(&self.connection);
        if connection.is_lost() {
            if connection.was_replaced() {
                return Err(ExecError::Replaced);
            }
            let (new, _) = lock(&self.keeper).connect(&self.config, &self.reports)?;
            *connection = new;
        }
        Ok(Arc::clone(&connection))
    }

    fn ask(&self, ask: Ask, descriptors: &[BorrowedFd<'_>]) -> Result<(Answer, Option<OwnedFd>), ExecError> {
        self.connection()?.ask(ask, descriptors)
    }

    /// Carries out a plan. Returns when the command runs.
    ///
    /// # Errors
    /// The step that failed, by name, and why. What had been done is undone then.
    pub fn start(&self, plan: &Plan, root: Root) -> Result<Started, LaunchError> {
        if plan.id.len() > MAX_ID {
            return Err(LaunchError::Malformed {
                step: "the plan".to_owned(),
                reason: "the id is too long".to_owned(),
            });
        }
        let made = host::carry_out(&plan.host, &self.config.table);
        let Made {
            network,
            ports,
            names,
        } = match made {
            Ok(made) => made,
            Err((place, source)) => {
                // Its own step may be half done.
                self.undo(plan, place + 1);
                return Err(LaunchError::Host {
                    step: plan.host.get(place).map(ToString::to_string).unwrap_or_default(),
                    source,
                });
            }
        };
        let started = self.hand_over(plan, Some(&root), network.as_ref());
        drop(network);
        drop(root);
        if started.is_ok() {
            lock(&self.ports).insert(plan.id.clone(), ports);
            if let Some(names) = names {
                lock(&self.names).insert(plan.id.clone(), names);
            }
        } else {
            drop(ports);
            self.undo(plan, plan.host.len());
        }
        started
    }

    /// Runs another process in a container that runs, by a plan of [`berth_plan::plan_exec`]. It is known by the id of its
    /// plan, and ends with the container. Returns when the command runs.
    ///
    /// # Errors
    /// The step that failed, by name, and why; [`ExecError::NotRunning`] without a running container.
    pub fn add(&self, plan: &Plan) -> Result<Started, LaunchError> {
        checked(&plan.id)?;
        self.hand_over(plan, None, None)
    }

    fn undo(&self, plan: &Plan, count: usize) {
        if let Err(error) = undo(&plan.host[..count], &self.config.table) {
            tracing::error!(container = plan.id, %error, "the host still holds parts of a container that did not start");
        }
    }

    /// The network namespace belongs to the container alone after this.
    fn hand_over(
        &self,
        plan: &Plan,
        root: Option<&Root>,
        network: Option<&OwnedFd>,
    ) -> Result<Started, LaunchError> {
        let written = written(plan)?;
        let mut descriptors = vec![written.as_fd()];
        descriptors.extend(root.map(Root::as_fd));
        descriptors.extend(network.map(AsFd::as_fd));
        let connection = self.connection()?;
        connection.expect(&plan.id);
        let answer = connection.ask(Ask::Start, &descriptors);
        let failed = match answer {
            Ok((Answer::Started { pid, at }, _)) => {
                return Ok(Started {
                    pid: pid.cast_unsigned(),
                    started_at: from_nanos(at),
                });
            }
            Ok((Answer::Failed(failure), _)) => launch_error(plan, failure),
            Ok(_) => ExecError::Malformed.into(),
            Err(error) => {
                // It may run by now, or soon; nobody wants it any more.
                let id = || plan.id.clone();
                let killed = connection.tell(Ask::Signal {
                    id: id(),
                    signal: SIGKILL,
                });
                if let Err(error) = killed.and_then(|()| connection.tell(Ask::Forget { id: id() })) {
                    tracing::debug!(container = plan.id, %error, "a start was not taken back");
                }
                error.into()
            }
        };
        connection.unexpect(&plan.id);
        Err(failed)
    }

    /// Sends a signal to the container's first process.
    ///
    /// # Errors
    /// [`ExecError::NotRunning`] when there is none.
    pub fn signal(&self, id: &str, signal: i32) -> Result<(), ExecError> {
        let ask = Ask::Signal {
            id: checked(id)?,
            signal,
        };
        let (answer, _) = self.ask(ask, &[])?;
        if answer == Answer::NotRunning {
            return Err(ExecError::NotRunning { id: id.to_owned() });
        }
        done(&answer)
    }

    /// Drops the record of an exit. For a container that the keeper does not know, ends the wait of attached clients.
    ///
    /// # Errors
    /// When the keeper cannot be reached.
    pub fn forget(&self, id: &str) -> Result<(), ExecError> {
        let (answer, _) = self.ask(Ask::Forget { id: checked(id)? }, &[])?;
        done(&answer)
    }

    /// Sets the size of a terminal, in characters.
    ///
    /// # Errors
    /// [`ExecError::NotRunning`], and [`ExecError::NoTerminal`] for what has none.
    pub fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), ExecError> {
        let ask = Ask::Resize {
            id: checked(id)?,
            rows,
            columns,
        };
        let (answer, _) = self.ask(ask, &[])?;
        match answer {
            Answer::NotRunning => Err(ExecError::NotRunning { id: id.to_owned() }),
            Answer::NoTerminal => Err(ExecError::NoTerminal { id: id.to_owned() }),
            Answer::Done => Ok(()),
            Answer::Version(_) | Answer::Started { .. } | Answer::Failed(_) | Answer::TooManyClients => {
                Err(ExecError::Malformed)
            }
        }
    }

    /// A stream socket: output comes in frames of Docker's format unless it is to be raw, what is written is input. A container that does not
    /// run yet is waited for. A client that takes nothing for 10 seconds while output waits for it is cut off.
    ///
    /// # Errors
    /// [`ExecError::TooManyClients`] at the keeper's bound.
    pub fn attach(&self, id: &str, attach: Attach) -> Result<OwnedFd, ExecError> {
        let Attach {
            stdin,
            stdout,
            stderr,
            raw,
        } = attach;
        let ask = Ask::Attach {
            id: checked(id)?,
            stdin,
            stdout,
            stderr,
            raw,
        };
        match self.ask(ask, &[])? {
            (Answer::Done, Some(socket)) => Ok(socket),
            (Answer::TooManyClients, _) => Err(ExecError::TooManyClients),
            _ => Err(ExecError::Malformed),
        }
    }

    /// Undoes what the host holds of a container, also when only parts of it were done; whatever still runs is killed.
    ///
    /// # Errors
    /// The first part that could not be undone; the others have been.
    pub fn cleanup(&self, plan: &Plan) -> Result<(), ExecError> {
        drop(lock(&self.ports).remove(&plan.id));
        undo(&plan.host, &self.config.table)
    }

    /// The quick part of [`Launcher::cleanup`]: everything but the network, which the kernel takes away a little after
    /// the last process. [`Launcher::disconnect`] has to follow.
    ///
    /// # Errors
    /// The first part that could not be undone; the others have been.
    pub fn release(&self, plan: &Plan) -> Result<(), ExecError> {
        drop(lock(&self.ports).remove(&plan.id));
        release(&plan.host, &self.config.table)
    }

    /// Waits until the network of an ended container is gone: its address may be given away then.
    ///
    /// # Errors
    /// When the kernel refuses to take it away.
    pub fn disconnect(&self, plan: &Plan) -> Result<(), ExecError> {
        disconnect_all(&plan.host)
    }

    /// Takes the ports of a running container again after a restart of the daemon.
    ///
    /// # Errors
    /// When a port has been taken by somebody else meanwhile; the others are taken.
    pub fn readopt(&self, plan: &Plan) -> Result<(), ExecError> {
        let mut taken = Vec::new();
        let mut outcome = Ok(());
        for step in &plan.host {
            match host::reserve(step) {
                Ok(port) => taken.extend(port),
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        lock(&self.ports).insert(plan.id.clone(), taken);
        let published: Vec<_> = plan.host.iter().filter_map(host::published).collect();
        if published.is_empty() {
            return outcome;
        }
        outcome.and(nft::publish(&self.config.table, &published).map_err(ExecError::from))
    }

    /// Lets go of the keeper. With `keep` containers run on, and the next launcher of the same directory adopts them;
    /// without it whatever still runs is killed, and the keeper ends.
    ///
    /// # Errors
    /// When the keeper does not end.
    pub fn shutdown(&self, keep: bool) -> Result<(), ExecError> {
        let connection = Arc::clone(&lock(&self.connection));
        if keep {
            connection.close();
            return Ok(());
        }
        self.thaw_all();
        if !connection.is_lost() {
            connection.end()?;
        }
        lock(&self.keeper).wait(&self.config)
    }

    /// Removes what [`Launcher::open`] made of the host: bridge, table, cgroups, keeper.
    ///
    /// # Errors
    /// The first part that could not be removed; the others have been.
    pub fn teardown(&self) -> Result<(), ExecError> {
        let ended = self.shutdown(false);
        lock(&self.ports).clear();
        let table = nft::remove_table(&self.config.table).map_err(ExecError::from);
        ended
            .and(table)
            .and(self.remove_bridges())
            .and(self.remove_cgroups())
    }

    fn remove_cgroups(&self) -> Result<(), ExecError> {
        let mounts = match crate::facts::cgroup_layout()? {
            CgroupLayout::V1 { hierarchies } => hierarchies.into_iter().map(|tree| tree.mount).collect(),
            CgroupLayout::V2 { mount, .. } => vec![mount],
        };
        let removed = mounts
            .iter()
            .map(|mount| host::remove_shared(&mount.join(&self.config.cgroup_parent)));
        removed.fold(Ok(()), Result::and)
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        lock(&self.connection).close();
    }
}

fn pass_on(queue: &Receiver<Report>, mut on_report: impl FnMut(Report)) {
    while let Ok(report) = queue.recv() {
        on_report(report);
    }
}

fn done(answer: &Answer) -> Result<(), ExecError> {
    if *answer == Answer::Done {
        Ok(())
    } else {
        Err(ExecError::Malformed)
    }
}

/// The keeper's messages have room for ids of this length only.
fn checked(id: &str) -> Result<String, ExecError> {
    if id.len() > MAX_ID {
        return Err(ExecError::NotRunning { id: id.to_owned() });
    }
    Ok(id.to_owned())
}

fn adopted(known: Known) -> Adopted {
    Adopted {
        id: known.id,
        pid: known.pid.cast_unsigned(),
        started_at: from_nanos(known.started_at),
        exit: known.exit.map(exit),
        inside: known.inside,
    }
}

fn exit(ended: Ended) -> Exit {
    Exit {
        code: ended.code,
        signal: ended.signal,
        oom_killed: ended.oom_killed,
        finished_at: from_nanos(ended.at),
    }
}

/// The plan as a file in memory: messages have no room for it.
fn written(plan: &Plan) -> Result<OwnedFd, ExecError> {
    let write = || -> std::io::Result<OwnedFd> {
        let bytes = serde_json::to_vec(plan)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut file = fs::File::from(rustix::fs::memfd_create("plan", flags)?);
        file.write_all(&bytes)?;
        file.rewind()?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(file.into())
    };
    write().map_err(ExecError::io("writing the plan"))
}

fn launch_error(plan: &Plan, failure: Failure) -> LaunchError {
    let name = |step: usize| plan.stage.get(step).map(ToString::to_string).unwrap_or_default();
    match failure {
        Failure::Plan { reason } => LaunchError::Malformed {
            step: "the plan".to_owned(),
            reason,
        },
        Failure::Malformed { step, reason } => LaunchError::Malformed {
            step: name(step),
            reason,
        },
        Failure::Step { step, errno } => match plan.stage.get(step) {
            Some(StageStep::Exec(command)) => exec_error(command.name(), errno),
            _ => LaunchError::Stage {
                step: name(step),
                source: std::io::Error::from_raw_os_error(errno),
            },
        },
        Failure::Keeper { doing, errno } => LaunchError::Stage {
            step: doing.text().to_owned(),
            source: std::io::Error::from_raw_os_error(errno),
        },
        Failure::NotRunning { id } => ExecError::NotRunning { id }.into(),
        Failure::Killed => LaunchError::Killed,
    }
}

fn exec_error(name: &str, errno: i32) -> LaunchError {
    let unusable = |known_format| {
        LaunchError::PermissionDenied(Unusable {
            name: name.to_owned(),
            known_format,
        })
    };
    match errno {
        libc::ENOENT | libc::ENOTDIR => LaunchError::NotFound(name.to_owned()),
        libc::EACCES | libc::EISDIR => unusable(true),
        libc::ENOEXEC => unusable(false),
        errno => LaunchError::Stage {
            step: format!("exec {name:?}"),
            source: std::io::Error::from_raw_os_error(errno),
        },
    }
}

#[cfg(test)]
mod tests {
    use berth_plan::{Command, PLAN_VERSION, Stdin};

    use super::*;

    #[test]
    fn a_launcher_is_shared_by_threads() {
        fn check<T: Send + Sync + std::fmt::Debug>() {}
        check::<Launcher>();
    }

    #[test]
    fn failures_become_words() {
        let plan = Plan {
            version: PLAN_VERSION,
            id: "a".to_owned(),
            log_path: None,
            log_limit: None,
            stdin: Stdin::Null,
            born_in: None,
            oom_counter: None,
            host: vec![],
            stage: vec![
                StageStep::PivotRoot,
                StageStep::Exec(Command {
                    candidates: vec![],
                    argv: vec!["run".to_owned()],
                    env: vec![],
                }),
            ],
        };
        let step = |step, errno| launch_error(&plan, Failure::Step { step, errno });
        for (error, words) in [
            (step(0, libc::EPERM), "pivot to the root file system"),
            (step(1, libc::ENOEXEC), "exec: \"run\": exec format error"),
            (step(1, libc::EACCES), "exec: \"run\": permission denied"),
            (
                step(1, libc::ENOENT),
                "exec: \"run\": executable file not found in $PATH",
            ),
            (step(1, libc::E2BIG), "exec \"run\""),
            (launch_error(&plan, Failure::plan("no")), "the plan: no"),
        ] {
            assert_eq!(error.to_string(), words);
        }
        // A step that is not there is no reason to panic.
        assert!(matches!(step(7, libc::EPERM), LaunchError::Stage { .. }));
    }
}
