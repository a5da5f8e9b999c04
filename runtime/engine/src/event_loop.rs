//! The one owner of all containers: takes inputs one at a time, writes records, starts actions.

mod exec;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use berth_plan::Plan;
use berth_plan::ipam::Pool;
use tokio::sync::{mpsc, watch};

use crate::actions::{Actions, mac_of};
use crate::clock;
use crate::config::Subnet;
use crate::container::{Address, Container, Place, PublishedAt, Run, RunState, Status};
use crate::error::{Failure, LaunchFailure, LaunchFailureKind, RecordError};
use crate::events::Events;
use crate::execs::Execs;
use crate::handle::{Change, Command, Created, Ended, Found, Input, Launched, Reply, Wish};
use crate::lifecycle::{self, Answer, Effect, Grace, Life, Phase, Ticket, Told};
use crate::names::{LookupError, Names, id_from, is_valid};
use crate::records::Records;
use crate::registration::Registration;
use crate::restart::{Policy, Restarts};

/// Seconds between the stop signal and SIGKILL when nobody says otherwise; Docker's.
const DEFAULT_GRACE: u64 = 10;

const SIGTERM: i32 = 15;

/// What the loop owns.
#[derive(Debug)]
pub(crate) struct EventLoop {
    pub(crate) containers: BTreeMap<String, Entry>,
    pub(crate) names: Names,
    pub(crate) execs: Execs,
    pub(crate) pool: Pool,
    pub(crate) subnet: Subnet,
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
}

impl Entry {
    /// A container as it comes from the records.
    pub(crate) fn new(container: Container) -> Self {
        let running = container.run.status == Status::Running;
        let auto_remove = container.host_config.auto_remove;
        let life = if running {
            Life::running(auto_remove)
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
        }
    }
}

impl EventLoop {
    /// Runs until it is halted or every sender is gone.
    pub(crate) fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        self.publish_registrations();
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
                self.planned(&id, *plan, ports);
                // A launch that has given up needs no go-ahead.
                let _ = recorded.send(());
            }
            Input::Launched {
                id,
                result: Ok(launched),
            } => self.launched(&id, launched),
            Input::Launched {
                id,
                result: Err(failure),
            } => self.launch_failed(&id, &failure),
            Input::Cleaned { id } => self.cleaned(&id),
            Input::Disconnected { address } => self.pool.release(address),
            Input::Erased { id, done } => self.erased(&id, done),
            // The next engine starts it.
            Input::RestartDue { .. } if self.closed => {}
            Input::RestartDue { id, number } => self.step(&id, lifecycle::Input::RestartDue(number)),
            Input::GraceOver { id, number } => self.step(&id, lifecycle::Input::GraceOver(number)),
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

    fn create(&mut self, wish: Wish) -> Result<Created, Failure> {
        if self.closed {
            return Err(Failure::Stopping);
        }
        let random = random_bytes();
        let id = id_from(&random);
        let name = match wish.name {
            Some(name) => self.free_name(&name)?,
            None => self
                .names
                .choose(u64::from_le_bytes(random[..8].try_into().unwrap_or_default())),
        };
        let resolved = self.actions.resolve(&wish.request, &wish.image, &id, &name)?;
        let container = Container {
            id: id.clone(),
            name: name.clone(),
            created: clock::now(),
            image: wish.request.config.image.clone(),
            image_id: wish.image_id,
            config: resolved.config,
            host_config: resolved.host_config,
            spec: resolved.spec,
            run: Run::default(),
        };
        self.records.save(&container)?;
        self.names.take(&name, &id);
        self.tell(&container, "create", []);
        self.containers.insert(id.clone(), Entry::new(container));
        Ok(Created {
            id,
            warnings: resolved.warnings,
        })
    }

    /// Checks a wished name and takes off its slash.
    fn free_name(&self, name: &str) -> Result<String, Failure> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if !is_valid(name) {
            return Err(Failure::BadName(name.to_owned()));
        }
        match self.names.holder(name) {
            Some(holder) => Err(Failure::NameTaken {
                name: name.to_owned(),
                holder: holder.to_owned(),
            }),
            None => Ok(name.to_owned()),
        }
    }

    fn rename(&mut self, reference: &str, name: &str) -> Result<(), Failure> {
        let id = self.id_of(reference)?;
        let old = self.containers[&id].container.name.clone();
        if name.strip_prefix('/').unwrap_or(name) == old {
            return Err(Failure::SameName);
        }
        let name = self.free_name(name)?;
        self.update(&id, |container| container.name.clone_from(&name))?;
        self.names.release(&old);
        self.names.take(&name, &id);
        let container = Arc::clone(&self.containers[&id].container);
        self.tell(&container, "rename", [("oldName", format!("/{old}"))]);
        self.publish_registrations();
        Ok(())
    }

    fn find(&self, reference: &str) -> Result<Found, Failure> {
        let entry = &self.containers[&self.id_of(reference)?];
        Ok(Found {
            container: Arc::clone(&entry.container),
            run: entry.run.subscribe(),
            execs: self.execs.running_in(&entry.container.id),
        })
    }

    fn id_of(&self, reference: &str) -> Result<String, Failure> {
        self.names
            .find(reference, self.containers.keys())
            .map(ToOwned::to_owned)
            .map_err(|error| match error {
                LookupError::NotFound => Failure::NoSuchContainer(reference.to_owned()),
                LookupError::Ambiguous(count) => Failure::AmbiguousContainer {
                    prefix: reference.to_owned(),
                    count,
                },
            })
    }

    fn change(&mut self, reference: &str, change: Change, reply: Reply<Answer>) {
        let id = match self.id_of(reference) {
            Ok(id) => id,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        if self.closed && matches!(change, Change::Start | Change::Restart { .. }) {
            return drop(reply.send(Err(Failure::Stopping)));
        }
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let spec = &self.containers[&id].container.spec;
        let own_signal = i32::from(spec.stop_signal);
        let own_grace = spec.stop_timeout.map_or(Grace::Seconds(DEFAULT_GRACE), grace_of);
        let signal_or =
            |signal: Option<i32>| signal.unwrap_or(if own_signal == 0 { SIGTERM } else { own_signal });
        let input = match change {
            Change::Start => lifecycle::Input::Start(ticket),
            Change::Stop { signal, grace } => lifecycle::Input::Stop {
                ticket,
                signal: signal_or(signal),
                grace: grace.unwrap_or(own_grace),
            },
            Change::Restart { signal, grace } => lifecycle::Input::Restart {
                ticket,
                signal: signal_or(signal),
                grace: grace.unwrap_or(own_grace),
            },
            Change::Kill { signal } => lifecycle::Input::Kill { ticket, signal },
            Change::Remove { force } => lifecycle::Input::Remove { ticket, force },
        };
        self.waiting.insert(ticket, reply);
        self.step(&id, input);
    }

    /// Lets the life of a container take an input and carries out what follows.
    fn step(&mut self, id: &str, input: lifecycle::Input) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        for effect in entry.life.step(input) {
            self.carry_out(id, effect);
        }
    }

    fn carry_out(&mut self, id: &str, effect: Effect) {
        let Some(container) = self.containers.get(id).map(|entry| Arc::clone(&entry.container)) else {
            return;
        };
        match effect {
            Effect::Launch => self.launch(&container),
            Effect::Signal(signal) => {
                self.tell(&container, "kill", [("signal", signal.to_string())]);
                self.actions.signal(id, signal, None);
            }
            Effect::Deliver { ticket, signal } => {
                self.tell(&container, "kill", [("signal", signal.to_string())]);
                self.actions.signal(id, signal, self.waiting.remove(&ticket));
            }
            Effect::ArmGrace { number, seconds } => self.actions.arm_grace(id, number, seconds),
            Effect::ArmRestart { number, milliseconds } => self.arm_restart(id, number, milliseconds),
            Effect::Settle => self.settle(id),
            Effect::Clean => self.actions.clean(&container),
            Effect::Erase => {
                let saved = self.update(id, |container| container.run.status = Status::Removing);
                self.log_unsaved(id, saved);
                self.actions.erase(&container);
            }
            Effect::Answer(ticket, answer) => self.answer(&container, ticket, answer),
            Effect::Tell(Told::Started) => {
                self.tell_network(&container, "connect");
                self.tell(&container, "start", []);
            }
            Effect::Tell(Told::Stopped) => self.tell(&container, "stop", []),
            Effect::Tell(Told::Restarted) => self.tell(&container, "restart", []),
        }
    }

    fn arm_restart(&mut self, id: &str, number: u64, milliseconds: u64) {
        let count = self.restarts(id, |restarts| restarts.count());
        let saved = self.update(id, |container| {
            container.run.status = Status::Restarting;
            container.run.restart_count = count;
        });
        self.log_unsaved(id, saved);
        self.actions.arm_restart(id, number, milliseconds);
    }

    /// It waits no more for its next start.
    fn settle(&mut self, id: &str) {
        let held = !self.closed && self.restarts(id, |restarts| restarts.is_held());
        let saved = self.update(id, |container| {
            if container.run.status == Status::Restarting {
                container.run.status = Status::Exited;
            }
            container.run.held = held;
        });
        self.log_unsaved(id, saved);
    }

    fn restarts<T: Default>(&mut self, id: &str, read: impl FnOnce(&mut Restarts) -> T) -> T {
        let entry = self.containers.get_mut(id);
        entry.map(|entry| read(entry.life.restarts())).unwrap_or_default()
    }

    fn answer(&mut self, container: &Container, ticket: Ticket, answer: Answer) {
        let Some(reply) = self.waiting.remove(&ticket) else {
            return;
        };
        let id = container.id.clone();
        let name = container.name.clone();
        let result = match answer {
            Answer::Done | Answer::AlreadyThere => Ok(answer),
            Answer::LaunchFailed => Err(Failure::Launch(LaunchFailure {
                message: container.run.error.clone(),
                kind: launch_failure_kind(container.run.exit_code),
            })),
            Answer::NotRunning => Err(Failure::NotRunning { name, id }),
            Answer::StillRunning => Err(Failure::StillRunning { id }),
            Answer::BeingRemoved => Err(Failure::BeingRemoved { id }),
            Answer::EraseFailed => Err(Failure::EraseFailed { id }),
        };
        drop(reply.send(result));
    }

    fn launch(&mut self, container: &Arc<Container>) {
        let place = match self.choose_place(container) {
            Ok(place) => place,
            Err(failure) => return self.launch_failed(&container.id, &failure),
        };
        self.note(&container.id, |container| container.run.place = Some(place));
        if let Some(entry) = self.containers.get_mut(&container.id) {
            entry.early_exit = None;
        }
        let container = Arc::clone(&self.containers[&container.id].container);
        self.actions.launch(&container);
    }

    fn choose_place(&mut self, container: &Container) -> Result<Place, LaunchFailure> {
        if !self.actions.wants_address(&container.spec) {
            return Ok(Place {
                endpoint: None,
                ports: Vec::new(),
            });
        }
        let address = self.pool.allocate().ok_or_else(|| LaunchFailure {
            message: format!(
                "network bridge: no free address for container \"{}\"",
                container.name
            ),
            kind: LaunchFailureKind::Host,
        })?;
        let endpoint = Address {
            address,
            prefix_len: self.subnet.prefix_len,
            gateway: self.subnet.gateway(),
            mac: mac_of(address).map(|byte| format!("{byte:02x}")).join(":"),
        };
        Ok(Place {
            endpoint: Some(endpoint),
            ports: Vec::new(),
        })
    }

    /// What a launch will do to the host is on record before it does it, so that it can be undone after a crash.
    fn planned(&mut self, id: &str, plan: Plan, ports: Vec<PublishedAt>) {
        if !self.containers.contains_key(id) {
            return;
        }
        let saved = self.update(id, |container| {
            container.run.plan = Some(plan);
            if let Some(place) = &mut container.run.place {
                place.ports = ports;
            }
        });
        self.log_unsaved(id, saved);
    }

    fn launched(&mut self, id: &str, launched: Launched) {
        if !self.containers.contains_key(id) {
            return;
        }
        let restart_count = self.restarts(id, |restarts| restarts.count());
        let saved = self.update(id, |container| {
            let run = &mut container.run;
            run.restart_count = restart_count;
            run.held = false;
            run.status = Status::Running;
            run.pid = launched.pid;
            run.exit_code = 0;
            run.error.clear();
            run.oom_killed = false;
            run.started_at = launched.started_at;
        });
        self.log_unsaved(id, saved);
        self.containers[id].run.send_modify(|run| run.running = true);
        self.publish_registrations();
        self.step(id, lifecycle::Input::Launched);
        if let Some(exit) = self
            .containers
            .get_mut(id)
            .and_then(|entry| entry.early_exit.take())
        {
            self.exited(id, exit);
        }
    }

    fn launch_failed(&mut self, id: &str, failure: &LaunchFailure) {
        if !self.containers.contains_key(id) {
            return;
        }
        self.release_place(id);
        let saved = self.update(id, |container| {
            container.run.plan = None;
            container.run.exit_code = failure.kind.exit_code();
            container.run.error.clone_from(&failure.message);
        });
        self.log_unsaved(id, saved);
        // Whoever waits for the next exit of a container that never starts would wait for ever.
        self.containers[id].run.send_modify(|run| {
            run.exits += 1;
            run.exit_code = failure.kind.exit_code();
        });
        self.step(id, lifecycle::Input::LaunchFailed);
    }

    fn exited(&mut self, id: &str, exit: Ended) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        if entry.life.phase() == Phase::Starting {
            entry.early_exit = Some(exit);
            return;
        }
        if entry.life.phase() != Phase::Running {
            return;
        }
        let duration = exit.finished_at - entry.container.run.started_at;
        entry.life.restarts().ended(exit.code, duration);
        // The end of the engine is no wish of the user's.
        let held = entry.life.restarts().is_held() && !self.closed;
        let saved = self.update(id, |container| {
            container.run.held = held;
            container.run.status = Status::Exited;
            container.run.pid = 0;
            container.run.exit_code = exit.code;
            container.run.oom_killed = exit.oom_killed;
            container.run.finished_at = exit.finished_at;
        });
        self.log_unsaved(id, saved);
        self.publish_registrations();
        let entry = &self.containers[id];
        let container = Arc::clone(&entry.container);
        if exit.oom_killed {
            self.tell(&container, "oom", []);
        }
        self.tell(&container, "die", [("exitCode", exit.code.to_string())]);
        self.containers[id].run.send_modify(|run| {
            run.running = false;
            run.exits += 1;
            run.exit_code = exit.code;
        });
        self.step(id, lifecycle::Input::Exited);
    }

    fn cleaned(&mut self, id: &str) {
        let Some(entry) = self.containers.get(id) else {
            return;
        };
        let container = Arc::clone(&entry.container);
        self.tell_network(&container, "disconnect");
        // The address is given away when its network is gone.
        let saved = self.update(id, |container| {
            container.run.place = None;
            container.run.plan = None;
        });
        self.log_unsaved(id, saved);
        self.step(id, lifecycle::Input::Cleaned);
    }

    fn erased(&mut self, id: &str, done: bool) {
        if !self.containers.contains_key(id) {
            return;
        }
        if !done {
            self.note(id, |container| container.run.status = Status::Dead);
            return self.step(id, lifecycle::Input::EraseFailed);
        }
        if let Err(error) = self.records.remove(id) {
            tracing::error!(container = id, %error, "the record of a removed container could not be removed");
        }
        let entry = &self.containers[id];
        let container = Arc::clone(&entry.container);
        self.names.release(&container.name);
        self.execs.forget_container(id);
        self.tell(&container, "destroy", []);
        self.step(id, lifecycle::Input::Erased);
        if let Some(entry) = self.containers.remove(id) {
            entry.run.send_modify(|run| run.removed = true);
        }
    }

    fn release_place(&mut self, id: &str) {
        let place = self
            .containers
            .get(id)
            .and_then(|entry| entry.container.run.place.clone());
        if let Some(endpoint) = place.and_then(|place| place.endpoint) {
            self.pool.release(endpoint.address);
        }
        self.note(id, |container| container.run.place = None);
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
        if container
            .run
            .place
            .as_ref()
            .is_some_and(|place| place.endpoint.is_some())
        {
            let attributes = [
                ("container", container.id.as_str()),
                ("name", "bridge"),
                ("type", "bridge"),
            ];
            let attributes = attributes
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into();
            self.events
                .publish("network", action, crate::documents::BRIDGE_NETWORK_ID, attributes);
        }
    }

    fn publish_registrations(&self) {
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

fn grace_of(seconds: i64) -> Grace {
    u64::try_from(seconds).map_or(Grace::Endless, Grace::Seconds)
}

fn launch_failure_kind(exit_code: i64) -> LaunchFailureKind {
    match exit_code {
        127 => LaunchFailureKind::CommandNotFound,
        126 => LaunchFailureKind::CommandNotExecutable,
        _ => LaunchFailureKind::Host,
    }
}

fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel's generator is ready by the time a daemon runs; an interrupted call is repeated.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()).unwrap_or(0);
    }
    bytes
}
