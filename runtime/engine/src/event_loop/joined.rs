//! What a container has of other containers, and of volumes.

use berth_plan::{Given, Ipc, MountSource, Sharing, Spec, UserMount};
use berth_wire::docker::{CreateRequest, HostConfig};

use super::{EventLoop, random_bytes};
use crate::container::Container;
use crate::error::{Failure, LaunchFailure, LaunchFailureKind};
use crate::names::id_from;

impl EventLoop {
    /// What a request names of other containers.
    pub(super) fn given(&self, request: &CreateRequest) -> Result<Given, Failure> {
        let mut given = Given::default();
        for word in berth_plan::named(request) {
            let id = self.other(word)?.id.clone();
            given.ids.insert(word.to_owned(), id);
        }
        if let Some(word) = request.host_config.network_mode.strip_prefix("container:") {
            given.hostname = Some(self.other(word)?.spec.hostname.clone());
        }
        for text in request.host_config.volumes_from.iter().flatten() {
            let (word, read_only) = match text.split_once(':') {
                None | Some((_, "rw" | "z" | "Z")) => (text.split(':').next().unwrap_or_default(), false),
                Some((word, "ro")) => (word, true),
                Some((_, mode)) => {
                    return Err(berth_plan::PlanError::VolumeMode(mode.to_owned()).into());
                }
            };
            let mounts = self.other(word)?.spec.mounts.iter();
            given
                .inherited
                .extend(mounts.filter_map(|mount| inherited(mount, read_only)));
        }
        Ok(given)
    }

    /// A container that another one names: its absence is no reason to look for an image.
    fn other(&self, word: &str) -> Result<&Container, Failure> {
        let id = self
            .id_of(word)
            .map_err(|_| Failure::NoSuchOther(word.to_owned()))?;
        Ok(&self.containers[&id].container)
    }

    /// Modes name containers by their ids from here on: names may change.
    pub(super) fn adopt_modes(&self, given: &Given, host: &mut HostConfig) {
        for mode in [&mut host.network_mode, &mut host.pid_mode, &mut host.ipc_mode] {
            let id = mode
                .strip_prefix("container:")
                .and_then(|word| given.ids.get(word));
            if let Some(id) = id {
                *mode = format!("container:{id}");
            }
        }
    }

    /// Names the volumes that have no name, and makes those that are not there.
    pub(super) fn name_volumes(&self, spec: &mut Spec) -> Result<(), Failure> {
        for mount in &mut spec.mounts {
            if let MountSource::Volume(volume) = &mut mount.source {
                if !volume.options.is_empty() {
                    return Err(Failure::Unsupported("an option of a volume's driver"));
                }
                if volume.name.is_empty() {
                    volume.name = id_from(&random_bytes());
                }
                let volumes = &self.actions.shared.volumes;
                let (made, new) = volumes.ensure(&volume.name, &volume.labels, volume.anonymous)?;
                if new {
                    let attributes = [("driver".to_owned(), "local".to_owned())].into();
                    self.events.publish("volume", "create", &made.name, attributes);
                }
            }
        }
        Ok(())
    }

    /// Removes the volumes of a container that nobody has named, if no other container has them.
    pub(super) fn drop_anonymous(&self, container: &Container) {
        for name in container.anonymous_volumes() {
            let has =
                |other: &Container| other.id != container.id && other.volumes().any(|(own, _)| own == name);
            if self.containers.values().any(|entry| has(&entry.container)) {
                continue;
            }
            match self.actions.shared.volumes.take(&name) {
                Ok(taken) => {
                    self.actions.erase_volume(taken);
                    let attributes = [("driver".to_owned(), "local".to_owned())].into();
                    self.events.publish("volume", "destroy", &name, attributes);
                }
                Err(Failure::NoSuchVolume(_)) => {}
                Err(error) => tracing::error!(volume = name, %error, "a volume of a removed container stays"),
            }
        }
    }

    /// Makes sure that the containers whose namespaces are to be shared run.
    pub(super) fn check_joined(&self, container: &Container) -> Result<(), LaunchFailure> {
        let spec = &container.spec;
        let conflict = |message: String| LaunchFailure {
            message,
            kind: LaunchFailureKind::Conflict,
        };
        let runs = |id: &String| {
            self.containers
                .get(id)
                .is_some_and(|entry| entry.container.run.status == crate::container::Status::Running)
        };
        if let Some(id) = spec.network_of.as_ref().filter(|id| !runs(id)) {
            return Err(conflict(format!(
                "cannot join network of a non running container: {id}"
            )));
        }
        if let Sharing::Container(id) = &spec.processes
            && !runs(id)
        {
            return Err(conflict(format!(
                "failed to join PID namespace: container {id} is not running"
            )));
        }
        if let Ipc::Container(id) = &spec.ipc {
            if !runs(id) {
                return Err(conflict(format!(
                    "failed to join IPC namespace: container {id} is not running"
                )));
            }
            let shareable = self
                .containers
                .get(id)
                .is_some_and(|entry| entry.container.spec.ipc == Ipc::Shareable);
            if !shareable {
                return Err(conflict(format!(
                    "can't join IPC of container {id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
        }
        Ok(())
    }
}

/// A mount as another container has it; file systems in memory are nobody else's.
fn inherited(mount: &UserMount, read_only: bool) -> Option<UserMount> {
    let mut mount = mount.clone();
    mount.flags.read_only |= read_only;
    match &mut mount.source {
        MountSource::Tmpfs { .. } => return None,
        MountSource::Volume(volume) => volume.copy = false,
        MountSource::Host { .. } => {}
    }
    Some(mount)
}
