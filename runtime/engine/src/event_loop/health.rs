//! Probes of running containers: when they are due, and what comes of them.

use std::sync::Arc;

use berth_wire::docker::{ExecConfig, ExecStart, Words};

use super::EventLoop;
use crate::clock;
use crate::container::Container;
use crate::error::Failure;
use crate::handle::Begun;
use crate::health::{Check, Health, NO_CODE, Probed};
use crate::lifecycle::Phase;

/// The check of a container, if it has one.
fn check_of(container: &Container) -> Option<Check> {
    let config = &container.config;
    Check::of(config.healthcheck.as_ref(), config.shell.as_deref())
}

impl EventLoop {
    /// A run begins. Its record is written by the caller.
    pub(super) fn begin_health(&mut self, id: &str) {
        let check = self
            .containers
            .get(id)
            .and_then(|entry| check_of(&entry.container));
        self.note(id, |container| {
            container.run.health = check.is_some().then(Health::default);
        });
    }

    /// The next probe of a container that runs, if it has a check.
    pub(super) fn arm_probe(&mut self, id: &str) {
        let Some(entry) = self.containers.get_mut(id) else {
            return;
        };
        let container = &entry.container;
        let (Some(check), Some(health)) = (check_of(container), &container.run.health) else {
            return;
        };
        entry.probes += 1;
        let delay = check.delay(health, clock::now() - container.run.started_at);
        self.actions.arm_probe(id, entry.probes, delay);
    }

    /// Those that were running before this engine.
    pub(super) fn arm_probes(&mut self) {
        let runs = |id: &&String| self.containers[*id].life.phase() == Phase::Running;
        let running: Vec<String> = self.containers.keys().filter(runs).cloned().collect();
        for id in running {
            self.arm_probe(&id);
        }
    }

    /// A run has ended: late results are nobody's.
    pub(super) fn end_health(&mut self, id: &str) {
        if let Some(entry) = self.containers.get_mut(id) {
            entry.probes += 1;
        }
        self.note(id, |container| {
            if let Some(health) = &mut container.run.health {
                health.end();
            }
        });
    }

    fn awaits(&self, id: &str, number: u64) -> bool {
        let entry = self.containers.get(id);
        let current = |entry: &super::Entry| entry.probes == number && entry.life.phase() == Phase::Running;
        !self.closed && entry.is_some_and(current)
    }

    pub(super) fn probe_due(&mut self, id: &str, number: u64) {
        if !self.awaits(id, number) {
            return;
        }
        if self.containers[id].life.is_frozen() {
            return self.arm_probe(id);
        }
        let Some(check) = check_of(&self.containers[id].container) else {
            return;
        };
        let timeout = check.timeout;
        match self.begin_probe(id, check) {
            Ok(begun) => self.actions.probe(begun, number, timeout),
            Err(failure) => {
                let now = clock::now();
                let probed = Probed {
                    start: now,
                    end: now,
                    exit_code: NO_CODE,
                    output: failure.to_string(),
                };
                self.probed(id, number, "", probed);
            }
        }
    }

    fn begin_probe(&mut self, id: &str, check: Check) -> Result<Begun, Failure> {
        let config = ExecConfig {
            cmd: Some(Words(check.command)),
            attach_stdout: true,
            attach_stderr: true,
            ..ExecConfig::default()
        };
        let exec = self.create_exec(id, config)?;
        self.begin_exec(&exec, &ExecStart::default())
    }

    pub(super) fn probed(&mut self, id: &str, number: u64, exec: &str, probed: Probed) {
        self.execs.forget(exec);
        if !self.awaits(id, number) {
            return;
        }
        let Some(check) = check_of(&self.containers[id].container) else {
            return;
        };
        let mut changed = false;
        self.note(id, |container| {
            let started_at = container.run.started_at;
            if let Some(health) = &mut container.run.health {
                changed = health.take(&check, probed, started_at);
            }
        });
        if changed {
            let saved = self.update(id, |_| ());
            self.log_unsaved(id, saved);
            let container = Arc::clone(&self.containers[id].container);
            if let Some(health) = &container.run.health {
                self.tell(
                    &container,
                    &format!("health_status: {}", health.status.as_str()),
                    [],
                );
            }
        }
        self.arm_probe(id);
    }
}
