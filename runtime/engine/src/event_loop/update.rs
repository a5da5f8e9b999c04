//! Changed limits and restart policies.

use std::sync::Arc;

use berth_wire::docker::HostConfig;

use super::EventLoop;
use crate::error::Failure;
use crate::handle::Reply;
use crate::lifecycle::Phase;
use crate::restart::Policy;
use crate::update::merged;

impl EventLoop {
    /// Checks the wish; limits of a container that runs are changed first, and put on record when they are.
    pub(super) fn update_options(&mut self, reference: &str, wish: Box<HostConfig>, reply: Reply<()>) {
        let checked = self.id_of(reference).and_then(|id| {
            let entry = &self.containers[&id];
            match entry.life.phase() {
                Phase::Erasing | Phase::Gone => Err(Failure::BeingRemoved { id }),
                Phase::Idle | Phase::Starting | Phase::Running | Phase::Cleaning | Phase::Waiting => {
                    let steps = self.actions.limit_changes(&entry.container, &wish)?;
                    Ok((id, steps))
                }
            }
        });
        match checked {
            Err(failure) => drop(reply.send(Err(failure))),
            Ok((id, steps)) if self.containers[&id].life.phase() == Phase::Running => {
                self.actions.change_limits(&id, steps, wish, reply);
            }
            // A launch under way may have its limits already; they are those of its next run then.
            Ok((id, _)) => drop(reply.send(self.options_changed(&id, &wish))),
        }
    }

    /// The kernel has taken them, or there was nothing for it to take.
    pub(super) fn options_changed(&mut self, id: &str, wish: &HostConfig) -> Result<(), Failure> {
        let Some(entry) = self.containers.get(id) else {
            return Err(Failure::NoSuchContainer(id.to_owned()));
        };
        let host = merged(&entry.container.host_config, wish)?;
        let limits = berth_plan::resolve_update(&host, &self.actions.shared.facts)?;
        let policy = Policy::of(&host.restart_policy);
        self.update(id, |container| {
            container.host_config = host;
            container.spec.limits = limits;
        })?;
        if let Some(entry) = self.containers.get_mut(id) {
            entry.life.restarts().change_policy(policy);
        }
        let container = Arc::clone(&self.containers[id].container);
        self.tell(&container, "update", []);
        Ok(())
    }
}
