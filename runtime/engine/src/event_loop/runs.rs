//! What has become of a run: launched, failed, ended, cleaned up, removed.

use std::sync::Arc;

use berth_plan::Plan;

use super::EventLoop;
use crate::container::{Container, Place, PublishedAt, Status};
use crate::error::{LaunchFailure, RecordError};
use crate::handle::{Ended, Launched};
use crate::lifecycle::{self, Phase};

impl EventLoop {
    pub(super) fn launch(&mut self, container: &Arc<Container>) {
        let place = self.check_joined(container);
        let place = match place.and_then(|()| self.choose_places(container)) {
            Ok(place) => place,
            Err(failure) => return self.launch_failed(&container.id, &failure),
        };
        self.note(&container.id, |container| container.run.place = Some(place));
        self.publish_names();
        if let Some(entry) = self.containers.get_mut(&container.id) {
            entry.early_exit = None;
        }
        let container = Arc::clone(&self.containers[&container.id].container);
        self.actions.launch(&container);
    }

    /// What a launch will do to the host is on record before it does it, so that it can be undone after a crash. What
    /// cannot be put on record is not done.
    pub(super) fn planned(
        &mut self,
        id: &str,
        plan: Plan,
        ports: Vec<PublishedAt>,
    ) -> Result<(), RecordError> {
        self.note(id, |container| {
            container.run.plan = Some(plan);
            if let Some(place) = &mut container.run.place {
                place.ports = ports;
            }
        });
        let entry = self.containers.get(id);
        entry.map_or(Ok(()), |entry| self.records.offer(&entry.container))
    }

    pub(super) fn launched(&mut self, id: &str, launched: Launched) {
        if !self.containers.contains_key(id) {
            return;
        }
        let restart_count = self.restarts(id, |restarts| restarts.count());
        self.begin_health(id);
        let saved = self.update(id, |container| {
            let run = &mut container.run;
            run.restart_count = restart_count;
            run.held = false;
            run.status = Status::Running;
            run.pid = launched.pid;
            run.exit_code = 0;
            run.error.clear();
            run.oom_killed = false;
            run.paused = false;
            run.started_at = launched.started_at;
        });
        self.log_unsaved(id, saved);
        self.containers[id].run.send_modify(|run| run.running = true);
        self.publish_registrations();
        self.refresh_links(id);
        self.step(id, lifecycle::Input::Launched);
        self.arm_probe(id);
        if let Some(exit) = self
            .containers
            .get_mut(id)
            .and_then(|entry| entry.early_exit.take())
        {
            self.exited(id, exit);
        }
    }

    pub(super) fn launch_failed(&mut self, id: &str, failure: &LaunchFailure) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        entry.failed = Some(failure.kind);
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

    pub(super) fn exited(&mut self, id: &str, exit: Ended) {
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
        self.end_health(id);
        let saved = self.update(id, |container| {
            container.run.held = held;
            container.run.status = Status::Exited;
            container.run.pid = 0;
            container.run.paused = false;
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

    pub(super) fn cleaned(&mut self, id: &str) {
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

    pub(super) fn erased(&mut self, id: &str, done: bool) {
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
        // Whoever waits for the removal finds the volumes gone too.
        if container.host_config.auto_remove {
            self.drop_anonymous(&container);
        }
        if let Some(entry) = self.containers.remove(id) {
            entry.run.send_modify(|run| run.removed = true);
        }
    }

    fn release_place(&mut self, id: &str) {
        let place = self
            .containers
            .get(id)
            .and_then(|entry| entry.container.run.place.clone());
        for address in place.iter().flat_map(Place::addresses) {
            self.networks.release(address);
        }
        self.note(id, |container| container.run.place = None);
    }
}
