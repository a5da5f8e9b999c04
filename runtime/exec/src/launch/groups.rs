//! The control groups of running containers: freezing, changed limits, counters, processes.

use std::path::{Path, PathBuf};

use berth_plan::{CgroupLayout, HostStep};

use super::Launcher;
use crate::error::ExecError;
use crate::facts::cgroup_layout;
use crate::host::{self, Freezer, Usage};

impl Launcher {
    /// Stops every process of a container where it is. Returns when they have stopped.
    ///
    /// # Errors
    /// When there is no such group, or [`ExecError::NotFrozen`] when a process does not stop; all run on then.
    pub fn freeze(&self, id: &str) -> Result<(), ExecError> {
        self.freezer(id)?.freeze()
    }

    /// Lets the processes of a container go on.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn thaw(&self, id: &str) -> Result<(), ExecError> {
        self.freezer(id)?.thaw()
    }

    /// Whether a container is frozen; one that is not there is not.
    #[must_use]
    pub fn is_frozen(&self, id: &str) -> bool {
        self.freezer(id)
            .and_then(|freezer| freezer.is_frozen())
            .unwrap_or(false)
    }

    /// Writes changed limits, in their order.
    ///
    /// # Errors
    /// The file that the kernel refused; those before it have been written.
    pub fn set_limits(&self, steps: &[HostStep]) -> Result<(), ExecError> {
        host::carry_out(steps, &self.config.table)
            .map(drop)
            .map_err(|(_, error)| error)
    }

    /// What a container has used so far.
    ///
    /// # Errors
    /// When the host's control groups are not understood.
    pub fn usage(&self, id: &str) -> Result<Usage, ExecError> {
        Ok(host::usage(&cgroup_layout()?, &self.group(id)))
    }

    /// The processes in a container, by their numbers on the host, in no order.
    ///
    /// # Errors
    /// When the host's control groups are not understood.
    pub fn processes(&self, id: &str) -> Result<Vec<u32>, ExecError> {
        let layout = cgroup_layout()?;
        let mount = match &layout {
            CgroupLayout::V1 { hierarchies } => {
                let tree = layout.controller("pids").or_else(|| layout.controller("freezer"));
                tree.or_else(|| hierarchies.first().map(|tree| tree.mount.as_path()))
            }
            CgroupLayout::V2 { mount, .. } => Some(mount.as_path()),
        };
        Ok(mount.map_or_else(Vec::new, |mount| host::processes(&mount.join(self.group(id)))))
    }

    /// A frozen process cannot be killed: whoever ends all containers lets them go on first.
    pub(super) fn thaw_all(&self) {
        let Ok(layout) = cgroup_layout() else {
            return;
        };
        let Ok(Freezer::V1(parent) | Freezer::V2(parent)) =
            Freezer::of(&layout, Path::new(&self.config.cgroup_parent))
        else {
            return;
        };
        for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
            let id = entry.file_name();
            if let Some(id) = id.to_str().filter(|id| self.is_frozen(id))
                && let Err(error) = self.thaw(id)
            {
                tracing::warn!(container = id, %error, "a frozen container could not be thawed");
            }
        }
    }

    fn freezer(&self, id: &str) -> Result<Freezer, ExecError> {
        Freezer::of(&cgroup_layout()?, &self.group(id))
    }

    fn group(&self, id: &str) -> PathBuf {
        Path::new(&self.config.cgroup_parent).join(id)
    }
}
