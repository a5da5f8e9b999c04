//! Starting another process in a container.

use std::sync::Arc;

use berth_exec::Root;
use berth_plan::{ExecPlacement, ExecSpec};

use super::launch::{host_failure, launch_failure, plan_failure};
use super::{Actions, report};
use crate::container::Container;
use crate::error::{Failure, LaunchFailure, LaunchFailureKind};
use crate::handle::Input;

impl Actions {
    /// Starts another process in a container. How it went is told to the event loop too.
    pub(crate) async fn launch_exec(
        &self,
        container: &Arc<Container>,
        spec: ExecSpec,
    ) -> Result<(), Failure> {
        let (actions, container) = (self.clone(), Arc::clone(container));
        let id = spec.id.clone();
        let launched = self
            .blocking(move || actions.launch_exec_blocking(&container, &spec))
            .await?;
        let result = match &launched {
            Ok(pid) => Ok(*pid),
            Err(failure) => Err(exec_exit_code(failure.kind)),
        };
        report(&self.shared.inputs, Input::ExecLaunched { id, result }).await;
        launched.map(drop).map_err(Failure::Launch)
    }

    fn launch_exec_blocking(&self, container: &Container, spec: &ExecSpec) -> Result<i64, LaunchFailure> {
        let shared = &self.shared;
        // If the number is somebody else's by now, the keeper does not know the container any more either.
        let root = Root::of_process(u32::try_from(container.run.pid).unwrap_or_default());
        let accounts = root.and_then(|root| root.account_files()).map_err(host_failure)?;
        let placement = ExecPlacement {
            passwd: accounts.passwd,
            group: accounts.group,
            cgroup_parent: shared.cgroup_parent.clone(),
        };
        let plan = berth_plan::plan_exec(&container.spec, &shared.facts, spec, &placement);
        let plan = plan.map_err(plan_failure)?;
        let started = shared.launcher.add(&plan).map_err(launch_failure)?;
        Ok(i64::from(started.pid))
    }

    /// The user and group that a container's command runs as; none for root.
    pub(crate) fn account_of(&self, container: &Container) -> Result<Option<(u32, u32)>, Failure> {
        if container.spec.user.is_empty() {
            return Ok(None);
        }
        let accounts = self.root_of(container)?.account_files()?;
        let account = berth_plan::account(&accounts.passwd, &accounts.group, &container.spec.user)?;
        Ok(Some(account))
    }

    /// An exec that has begun cannot be launched.
    pub(crate) async fn exec_failed(&self, id: &str) {
        let result = Err(exec_exit_code(LaunchFailureKind::Host));
        let id = id.to_owned();
        report(&self.shared.inputs, Input::ExecLaunched { id, result }).await;
    }
}

/// What stands for an exec whose command did not start: Docker knows two kinds.
fn exec_exit_code(kind: LaunchFailureKind) -> i64 {
    match kind {
        LaunchFailureKind::CommandNotFound => 127,
        LaunchFailureKind::CommandNotExecutable
        | LaunchFailureKind::BadRequest
        | LaunchFailureKind::Conflict
        | LaunchFailureKind::Host => 126,
    }
}
