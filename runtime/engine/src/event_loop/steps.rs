//! Changes that clients ask for, and what the lives of containers make of them.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::EventLoop;
use crate::container::{Container, Status};
use crate::error::{Failure, LaunchFailure, LaunchFailureKind};
use crate::handle::{Change, Reply};
use crate::lifecycle::{self, Answer, Effect, Grace, Ticket, Told};
use crate::restart::Restarts;

/// Seconds between the stop signal and SIGKILL when nobody says otherwise; Docker's.
const DEFAULT_GRACE: u64 = 10;

const SIGTERM: i32 = 15;

impl EventLoop {
    pub(super) fn change(&mut self, reference: &str, change: Change, reply: Reply<Answer>) {
        let id = match self.id_of(reference) {
            Ok(id) => id,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        if self.closed && matches!(change, Change::Start | Change::Restart { .. }) {
            return drop(reply.send(Err(Failure::Stopping)));
        }
        if matches!(change, Change::Start | Change::Restart { .. })
            && let Err(failure) = self.check_networks(&id)
        {
            return self.refuse_start(&id, failure, reply);
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
            Change::Pause => lifecycle::Input::Pause(ticket),
            Change::Unpause => lifecycle::Input::Unpause(ticket),
            Change::Remove { force } => lifecycle::Input::Remove { ticket, force },
        };
        self.waiting.insert(ticket, reply);
        self.step(&id, input);
    }

    /// A container that is to go when it ends goes too when it cannot begin, and whoever hears of it finds it removed.
    fn refuse_start(&mut self, id: &str, failure: Failure, reply: Reply<Answer>) {
        let container = &self.containers[id].container;
        if !container.host_config.auto_remove || container.run.status.counts_as_running() {
            return drop(reply.send(Err(failure)));
        }
        let (remover, removed) = oneshot::channel();
        self.change(id, Change::Remove { force: false }, remover);
        self.actions.shared.runtime.spawn(async move {
            // Whether it could be removed or not, the reason is why it did not start.
            drop(removed.await);
            drop(reply.send(Err(failure)));
        });
    }

    /// Lets the life of a container take an input and carries out what follows.
    pub(super) fn step(&mut self, id: &str, input: lifecycle::Input) {
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
            Effect::Freeze(ticket) => self.actions.freeze(id, ticket),
            Effect::Thaw(ticket) => self.actions.thaw(id, ticket),
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
            Effect::Tell(Told::Paused) => self.paused(id, true),
            Effect::Tell(Told::Unpaused) => self.paused(id, false),
            Effect::Tell(Told::Restarted) => self.tell(&container, "restart", []),
        }
    }

    fn paused(&mut self, id: &str, paused: bool) {
        let saved = self.update(id, |container| container.run.paused = paused);
        self.log_unsaved(id, saved);
        let container = Arc::clone(&self.containers[id].container);
        self.tell(&container, if paused { "pause" } else { "unpause" }, []);
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

    pub(super) fn restarts<T: Default>(&mut self, id: &str, read: impl FnOnce(&mut Restarts) -> T) -> T {
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
                kind: self
                    .containers
                    .get(&id)
                    .and_then(|entry| entry.failed)
                    .unwrap_or(LaunchFailureKind::Host),
            })),
            Answer::NotRunning => Err(Failure::NotRunning { name, id }),
            Answer::MustRun => Err(Failure::ContainerNotRunning { id }),
            Answer::AlreadyPaused => Err(Failure::AlreadyPaused { id }),
            Answer::NotPaused => Err(Failure::NotPaused { id }),
            Answer::StillPaused => Err(Failure::StillPaused { id }),
            Answer::FreezeFailed => Err(Failure::FreezeFailed { id }),
            Answer::StillRunning => Err(Failure::StillRunning { id }),
            Answer::BeingRemoved => Err(Failure::BeingRemoved { id }),
            Answer::EraseFailed => Err(Failure::EraseFailed { id }),
        };
        drop(reply.send(result));
    }
}

fn grace_of(seconds: i64) -> Grace {
    u64::try_from(seconds).map_or(Grace::Endless, Grace::Seconds)
}
