//! Starting a container: root, ports, addresses, the plan, and the keeper.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use berth_exec::{AccountFiles, ExecError, LaunchError, Root};
use berth_images::ImageError;
use berth_plan::{Placement, Plan, PlanError, PublishedPort, Spec};

use super::Actions;
use super::ports::Choice;
use crate::clock;
use crate::container::{Container, Place, PublishedAt};
use crate::error::{Failure, LaunchFailure, LaunchFailureKind, chain};
use crate::handle::{Input, Launched};

/// The name servers that containers inherit.
pub(super) const RESOLV_CONF: &str = "/etc/resolv.conf";

impl Actions {
    /// Starts the container; `Launched` comes back.
    pub(crate) fn launch(&self, container: &Arc<Container>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            let result = actions.launch_blocking(&container);
            Input::Launched {
                id: container.id.clone(),
                result,
            }
        });
    }

    fn launch_blocking(&self, container: &Container) -> Result<Launched, LaunchFailure> {
        let shared = &self.shared;
        let directory = self.directory(&container.id);
        let layers = shared
            .images
            .container_layers(&container.image_id, &directory)
            .map_err(image_failure)?;
        let layers = berth_exec::RootLayers {
            lower: layers.lower,
            upper: layers.upper,
            work: layers.work,
            volatile: container.host_config.auto_remove,
        };
        let root = Root::mount(&layers).map_err(host_failure)?;
        let accounts = root.account_files().map_err(host_failure)?;
        let mut choice = shared.ports.begin();
        let ports = choose_ports(container, &mut choice)?;
        self.prepare_mounts(container, &root)?;
        let placement = self.placement(container, directory, accounts, &ports)?;
        let plan = berth_plan::plan(&container.spec, &shared.facts, &placement).map_err(plan_failure)?;
        self.record(&container.id, &plan, ports)?;
        let started = shared.launcher.start(&plan, root).map_err(launch_failure)?;
        // Its ports are reserved by now.
        drop(choice);
        if placement.resolver {
            self.serve_names(&container.id);
        }
        Ok(Launched {
            pid: i64::from(started.pid),
            started_at: clock::nanos(started.started_at),
        })
    }

    /// Has the plan recorded, and waits for it.
    fn record(&self, id: &str, plan: &Plan, ports: Vec<PublishedAt>) -> Result<(), LaunchFailure> {
        let stopping = || LaunchFailure {
            message: "the engine is shutting down".to_owned(),
            kind: LaunchFailureKind::Host,
        };
        let (recorded, done) = std::sync::mpsc::sync_channel(1);
        let input = Input::Planned {
            id: id.to_owned(),
            plan: Box::new(plan.clone()),
            ports,
            recorded,
        };
        let inputs = self.shared.inputs.upgrade().ok_or_else(stopping)?;
        inputs.blocking_send(input).map_err(|_| stopping())?;
        drop(inputs);
        let recorded = done.recv().map_err(|_| stopping())?;
        recorded.map_err(|error| LaunchFailure {
            message: Failure::from(error).to_string(),
            kind: LaunchFailureKind::Host,
        })
    }

    fn placement(
        &self,
        container: &Container,
        container_dir: PathBuf,
        accounts: AccountFiles,
        ports: &[PublishedAt],
    ) -> Result<Placement, LaunchFailure> {
        let shared = &self.shared;
        let devices = if container.spec.privileged {
            berth_exec::all_devices()
        } else {
            berth_exec::find_devices(&container.spec.devices)
        };
        let devices = devices.map_err(host_failure)?;
        let place = container.run.place.as_ref();
        let mut endpoints = place.into_iter().flat_map(Place::endpoints).cloned();
        let named = place.is_some_and(|place| place.addresses().any(|address| !address.is_own()));
        Ok(Placement {
            container_dir,
            passwd: accounts.passwd,
            group: accounts.group,
            network: endpoints.next(),
            more_networks: endpoints.collect(),
            resolver: named,
            links: place.map(|place| place.links.clone()).unwrap_or_default(),
            link_env: place.map(|place| place.link_env.clone()).unwrap_or_default(),
            resolv_conf: std::fs::read_to_string(RESOLV_CONF).unwrap_or_default(),
            cgroup_parent: self.shared.cgroup_parent.clone(),
            ports: published(&container.spec, ports),
            devices,
            joined_dir: container.spec.network_of.as_ref().map(|id| self.directory(id)),
            volumes_dir: shared.volumes.root().to_owned(),
            init_dir: shared.init.directory().to_owned(),
        })
    }
}

/// The hardware address that goes with an IP address: locally administered, the same for the same address.
pub(crate) fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Gives a host port to every published port that has none. The port is free now; the launch reserves it and fails
/// if somebody was quicker.
///
/// Nothing is published for a container that nothing leads to.
fn choose_ports(container: &Container, choice: &mut Choice) -> Result<Vec<PublishedAt>, LaunchFailure> {
    let first = container
        .run
        .place
        .as_ref()
        .and_then(|place| place.endpoint.as_ref());
    let leads = first
        .and_then(|address| address.endpoint.as_ref())
        .is_some_and(|endpoint| endpoint.routed);
    if !leads {
        return Ok(Vec::new());
    }
    let spec = &container.spec;
    let mut chosen = |wish: &PublishedPort| {
        let protocol = wish.protocol.to_string();
        let host_port = match wish.host_port {
            0 => choice
                .free_port(&protocol, wish.host_ip)
                .map_err(|error| LaunchFailure {
                    message: format!("no free port for {}/{protocol}: {error}", wish.container_port),
                    kind: LaunchFailureKind::Host,
                })?,
            port => port,
        };
        Ok(PublishedAt {
            container_port: wish.container_port,
            protocol,
            host_ip: wish.host_ip,
            host_port,
        })
    };
    spec.published.iter().map(&mut chosen).collect()
}

/// The wishes of the specification with the ports that they got.
fn published(spec: &Spec, ports: &[PublishedAt]) -> Vec<PublishedPort> {
    let fill = |(wish, got): (&PublishedPort, &PublishedAt)| PublishedPort {
        host_port: got.host_port,
        ..wish.clone()
    };
    spec.published.iter().zip(ports).map(fill).collect()
}

pub(super) fn host_failure(error: ExecError) -> LaunchFailure {
    LaunchFailure {
        message: chain(&error),
        kind: LaunchFailureKind::Host,
    }
}

fn image_failure(error: ImageError) -> LaunchFailure {
    LaunchFailure {
        message: chain(&error),
        kind: LaunchFailureKind::Host,
    }
}

pub(super) fn plan_failure(error: PlanError) -> LaunchFailure {
    LaunchFailure {
        message: chain(&error),
        kind: LaunchFailureKind::BadRequest,
    }
}

pub(super) fn launch_failure(error: LaunchError) -> LaunchFailure {
    let kind = match &error {
        LaunchError::NotFound(_) => LaunchFailureKind::CommandNotFound,
        LaunchError::PermissionDenied(_) => LaunchFailureKind::CommandNotExecutable,
        LaunchError::Malformed { .. } => LaunchFailureKind::BadRequest,
        LaunchError::Host { .. }
        | LaunchError::Stage { .. }
        | LaunchError::Killed
        | LaunchError::Keeper(_) => LaunchFailureKind::Host,
    };
    LaunchFailure {
        message: chain(&error),
        kind,
    }
}
