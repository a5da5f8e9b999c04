//! The one owner of all containers: takes inputs one at a time, writes records, starts actions.

mod configure;
mod create;
mod exec;
mod health;
mod joined;
mod known_names;
mod linked;
mod networks;
mod places;
mod runs;
mod steps;
mod update;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::actions::Actions;
use crate::container::{Container, Place, RunState, Status};
use crate::error::{Failure, LaunchFailureKind, RecordError};
use crate::events::Events;
use crate::execs::Execs;
use crate::handle::{Command, Ended, Input, Reply};
use crate::lifecycle::{self, Answer, Life, Phase, Ticket};
use crate::names::Names;
use crate::networks::Networks;
use crate::records::Records;
use crate::registration::Registration;
use crate::restart::Policy;

/// What the loop owns.
#[derive(Debug)]
pub(crate) struct EventLoop {
    pub(crate) containers: BTreeMap<String, Entry>,
    pub(crate) names: Names,
    pub(crate) execs: Execs,
    pub(crate) networks: Networks,
    pub(crate) records: Records,
    pub(crate) actions: Actions,
    pub(crate) events: Arc<Events>,
    pub(crate) registrations: watch::Sender<Arc<Vec<Registration>>>,
    pub(crate) waiting: HashMap<Ticket, Reply<Answer>>,
    pub(crate) last_ticket: Ticket,
    pub(crate) closed: bool,
}

/// One container in memory.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) container: Arc<Container>,
    pub(crate) life: Life,
    pub(crate) run: watch::Sender<RunState>,
    /// An exit that overtook the news of its launch.
    pub(crate) early_exit: Option<Ended>,
    /// What its last launch failed of; whoever waits for that launch is told.
    pub(crate) failed: Option<LaunchFailureKind>,
    /// Numbers the probes of its health, so that late news of an earlier one does no harm.
    pub(crate) probes: u64,
}

impl Entry {
    /// A container as it comes from the records.
    pub(crate) fn new(container: Container) -> Self {
        let running = container.run.status == Status::Running;
        let auto_remove = container.host_config.auto_remove;
        let life = if running {
            let life = Life::running(auto_remove);
            if container.run.paused { life.frozen() } else { life }
        } else {
            Life::idle(auto_remove)
        };
        let life = life.with_policy(Policy::of(&container.host_config.restart_policy));
        let state = RunState {
            running,
            exit_code: container.run.exit_code,
            ..RunState::default()
        };
        Self {
            container: Arc::new(container),
            life,
            run: watch::Sender::new(state),
            early_exit: None,
            failed: None,
            probes: 0,
        }
    }
}

impl EventLoop {
    /// Runs until it is halted or every sender is gone.
    pub(crate) fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        self.publish_registrations();
        self.arm_probes();
        while let Some(input) = inputs.blocking_recv() {
            if matches!(input, Input::Halt) {
                return;
            }
            self.take(input);
        }
    }

    /// Takes one input.
    pub(crate) fn take(&mut self, input: Input) {
        match input {
            Input::Command(command) => self.command(command),
            Input::Exited { id, exit } if !self.containers.contains_key(&id) => {
                self.exec_exited(&id, exit.code)
            }
            Input::Exited { id, exit } => self.exited(&id, exit),
            Input::ExecLaunched { id, result } => self.exec_launched(&id, result),
            Input::Planned {
                id,
                plan,
                ports,
                recorded,
            } => {
                let planned = self.planned(&id, *plan, ports);
                // A launch that has given up needs no go-ahead.
                let _ = recorded.send(planned);
            }
            Input::Launched {
                id,
                result: Ok(launched),
            } => self.launched(&id, launched),
            Input::Launched {
                id,
                result: Err(failure),
            } => self.launch_failed(&id, &failure),
            Input::LimitsChanged {
                id,
                result,
                wish,
                reply,
            } => {
                let changed = result.map_err(Failure::from);
                let changed = changed.and_then(|()| self.options_changed(&id, &wish));
                drop(reply.send(changed));
            }
            Input::Froze { id, ticket, done } => self.step(&id, lifecycle::Input::Froze { ticket, done }),
            Input::Thawed { id, ticket, done } => self.step(&id, lifecycle::Input::Thawed { ticket, done }),
            Input::Cleaned { id } => self.cleaned(&id),
            Input::Disconnected { addresses } => addresses
                .iter()
                .for_each(|address| self.networks.release(address)),
            Input::Network(input) => self.network_input(input),
            Input::Erased { id, done } => self.erased(&id, done),
            // The next engine starts it.
            Input::RestartDue { .. } if self.closed => {}
            Input::RestartDue { id, number } => self.step(&id, lifecycle::Input::RestartDue(number)),
            Input::GraceOver { id, number } => self.step(&id, lifecycle::Input::GraceOver(number)),
            Input::ProbeDue { id, number } => self.probe_due(&id, number),
            Input::Probed {
                id,
                number,
                exec,
                probed,
            } => self.probed(&id, number, &exec, probed),
            Input::Halt => {}
        }
    }

    fn command(&mut self, command: Command) {
        // A client that went away needs no answer.
        match command {
            Command::Create { wish, reply } => drop(reply.send(self.create(*wish))),
            Command::Change {
                reference,
                change,
                reply,
            } => self.change(&reference, change, reply),
            Command::Rename {
                reference,
                name,
                reply,
            } => drop(reply.send(self.rename(&reference, &name))),
            Command::Update {
                reference,
                wish,
                reply,
            } => self.update_options(&reference, wish, reply),
            Command::Configure {
                reference,
                request,
                moves,
                reply,
            } => drop(reply.send(self.configure(&reference, &request, moves))),
            Command::Find { reference, reply } => drop(reply.send(self.find(&reference))),
            Command::List { reply } => {
                let mut all: Vec<_> = self
                    .containers
                    .values()
                    .map(|entry| Arc::clone(&entry.container))
                    .collect();
                all.sort_by(|one, other| {
                    other
                        .created
                        .cmp(&one.created)
                        .then_with(|| one.id.cmp(&other.id))
                });
                drop(reply.send(Ok(all)));
            }
            Command::Exec(command) => self.exec_command(command),
            Command::Network(command) => self.network_command(command),
            Command::Close { reply } => {
                self.closed = true;
                let busy = self.containers.values().filter(|entry| match entry.life.phase() {
                    Phase::Starting | Phase::Running | Phase::Cleaning | Phase::Waiting => true,
                    Phase::Idle | Phase::Erasing | Phase::Gone => false,
                });
                drop(reply.send(Ok(busy.map(|entry| entry.container.id.clone()).collect())));
            }
        }
    }

    /// Changes a container in memory only.
    fn note(&mut self, id: &str, change: impl FnOnce(&mut Container)) {
        if let Some(entry) = self.containers.get_mut(id) {
            change(Arc::make_mut(&mut entry.container));
        }
    }

    /// Changes a container and its record.
    fn update(&mut self, id: &str, change: impl FnOnce(&mut Container)) -> Result<(), RecordError> {
        self.note(id, change);
        self.records.save(&self.containers[id].container)
    }

    /// What has happened to a process cannot be refused: a record that cannot be written is reported and run past.
    fn log_unsaved(&self, id: &str, saved: Result<(), RecordError>) {
        if let Err(error) = saved {
            tracing::error!(container = id, %error, "container record could not be written");
        }
    }

    fn tell<const N: usize>(&self, container: &Container, action: &str, more: [(&str, String); N]) {
        let mut attributes = container.attributes();
        attributes.extend(more.map(|(key, value)| (key.to_owned(), value)));
        self.events
            .publish("container", action, &container.id, attributes);
    }

    fn tell_network(&self, container: &Container, action: &str) {
        for address in container.run.place.iter().flat_map(Place::addresses) {
            self.tell_place(container, address, action);
        }
    }

    fn publish_registrations(&self) {
        self.publish_names();
        let running = self
            .containers
            .values()
            .filter_map(|entry| entry.container.registration());
        let all: Vec<_> = running.collect();
        self.registrations.send_if_modified(|published| {
            let changed = **published != all;
            if changed {
                *published = Arc::new(all);
            }
            changed
        });
    }
}

pub(crate) fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel's generator is ready by the time a daemon runs; an interrupted call is repeated.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}
