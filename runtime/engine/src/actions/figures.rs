//! What running containers use and what runs in them, and other limits for them.

use std::sync::Arc;

use berth_exec::Usage;
use berth_plan::HostStep;
use berth_wire::docker::HostConfig;

use super::Actions;
use crate::container::Container;
use crate::error::Failure;
use crate::handle::{Input, Reply};
use crate::processes::{self, Process};
use crate::stats::{self, Sample};
use crate::update::merged;

impl Actions {
    /// What has to be written for these options. Pure and quick: the event loop calls it itself.
    pub(crate) fn limit_changes(
        &self,
        container: &Container,
        wish: &HostConfig,
    ) -> Result<Vec<HostStep>, Failure> {
        let shared = &self.shared;
        let host = merged(&container.host_config, wish)?;
        let limits = berth_plan::resolve_update(&host, &shared.facts)?;
        let spec = &container.spec;
        Ok(berth_plan::update(
            spec,
            &limits,
            &shared.facts,
            &shared.cgroup_parent,
        )?)
    }

    /// Changes the limits of a container that runs; `LimitsChanged` comes back.
    pub(crate) fn change_limits(
        &self,
        id: &str,
        steps: Vec<HostStep>,
        wish: Box<HostConfig>,
        reply: Reply<()>,
    ) {
        let id = id.to_owned();
        self.spawn(move |actions| Input::LimitsChanged {
            result: actions.shared.launcher.set_limits(&steps),
            id,
            wish,
            reply,
        });
    }

    /// What a running container has used so far.
    pub(crate) async fn usage(&self, id: &str) -> Result<Usage, Failure> {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        Ok(self.blocking(move || shared.launcher.usage(&id)).await??)
    }

    /// One look at what a running container uses.
    pub(crate) async fn sample(&self, container: &Arc<Container>) -> Result<Sample, Failure> {
        let (shared, container) = (Arc::clone(&self.shared), Arc::clone(container));
        self.blocking(move || {
            let usage = shared.launcher.usage(&container.id)?;
            Ok(stats::sample(usage, &container))
        })
        .await?
    }

    /// What runs in a container, in the order of its numbers.
    pub(crate) async fn processes(&self, container: &Arc<Container>) -> Result<Vec<Process>, Failure> {
        let (shared, container) = (Arc::clone(&self.shared), Arc::clone(container));
        self.blocking(move || {
            let mut pids = shared.launcher.processes(&container.id)?;
            pids.sort_unstable();
            Ok(pids.into_iter().filter_map(processes::read).collect())
        })
        .await?
    }
}
