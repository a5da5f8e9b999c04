//! What networks need of the host: bridges, places of running containers, resolvers, and files that say where others are.

use std::net::IpAddr;
use std::sync::Arc;

use berth_exec::{BridgeConfig, ExecError, NetworkConfig};
use berth_plan::Endpoint;

use super::Actions;
use super::launch::RESOLV_CONF;
use crate::container::{Address, Container, Place};
use crate::handle::{Input, NetworkInput, Reply};
use crate::networks::{Network, NetworkWish};

/// Readable by everybody in the container.
const FILE_MODE: u32 = 0o644;

/// What the host is to have for a network.
pub(crate) fn config(network: &Network) -> NetworkConfig {
    NetworkConfig {
        bridge: BridgeConfig {
            name: network.bridge.clone(),
            address: network.gateway,
            prefix_len: network.subnet.1,
        },
        internal: network.internal,
        masquerade: network.masquerade,
        ipv6: network.ipv6.as_ref().map(|ipv6| (ipv6.gateway, ipv6.subnet.1)),
    }
}

/// The name servers of the host.
pub(crate) fn host_servers() -> Vec<IpAddr> {
    let text = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    };
    text.lines().filter_map(server).collect()
}

impl Actions {
    /// Makes a network on the host; `Made` comes back.
    pub(crate) fn make_network(&self, network: Network, wish: NetworkWish, tries: u32, reply: Reply<String>) {
        self.spawn(move |actions| {
            let result = actions.shared.launcher.add_network(&config(&network));
            Input::Network(NetworkInput::Made {
                id: network.id,
                result,
                wish: Box::new(wish),
                tries,
                reply,
            })
        });
    }

    /// Makes a network that is on record again.
    pub(crate) fn restore_network(&self, network: &Network) {
        if let Err(error) = self.shared.launcher.add_network(&config(network)) {
            tracing::error!(network = network.name, %error, "a network cannot be used");
        }
    }

    /// Removes a network from the host; `Gone` comes back.
    pub(crate) fn drop_network(&self, network: &Network, reply: Reply<()>) {
        let (id, bridge) = (network.id.clone(), network.bridge.clone());
        self.spawn(move |actions| {
            let result = actions.shared.launcher.remove_network(&bridge);
            Input::Network(NetworkInput::Gone { id, result, reply })
        });
    }

    /// Gives a running container a place that is on record; `Joined` comes back.
    pub(crate) fn join(&self, container: &Arc<Container>, address: Address, lead: bool, reply: Reply<()>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            let result = actions.join_blocking(&container, &address, lead);
            Input::Network(NetworkInput::Joined {
                id: container.id.clone(),
                address: Box::new(address),
                result,
                reply,
            })
        });
    }

    fn join_blocking(&self, container: &Container, address: &Address, lead: bool) -> Result<(), ExecError> {
        let launcher = &self.shared.launcher;
        let pid = process(container)?;
        if let Some(endpoint) = &address.endpoint {
            let mut endpoint = endpoint.clone();
            endpoint.routed = lead;
            launcher.join(pid, &endpoint)?;
        }
        if !address.is_own() && !self.shared.resolvers.serves(&container.id) {
            self.reopen_names(container);
            let path = self.directory(&container.id).join("resolv.conf");
            let host = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
            let text = berth_plan::resolv_conf(&container.spec, &host, true);
            berth_exec::write_file(&path, FILE_MODE, &text)?;
        }
        self.write_hosts_blocking(container)
    }

    /// Takes a place, which is off the record already, from a running container; `Left` comes back.
    pub(crate) fn leave(&self, container: &Arc<Container>, address: Address, reply: Reply<()>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            let result = actions.leave_blocking(&container, &address);
            Input::Network(NetworkInput::Left {
                id: container.id.clone(),
                address: Box::new(address),
                result,
                reply,
            })
        });
    }

    fn leave_blocking(&self, container: &Container, address: &Address) -> Result<(), ExecError> {
        let launcher = &self.shared.launcher;
        if let Some(gone) = &address.endpoint {
            launcher.leave(gone)?;
            // The first of the others leads on; in a network that leads nowhere its route does no harm.
            let mut rest = container.run.place.iter().flat_map(Place::endpoints);
            if let Some(next) = rest.next() {
                launcher.reroute(process(container)?, next)?;
            }
        }
        self.write_hosts_blocking(container)
    }

    /// Writes the hosts file of a running container again.
    pub(crate) fn write_hosts(&self, container: &Arc<Container>) {
        let (actions, container) = (self.clone(), Arc::clone(container));
        self.shared.runtime.spawn_blocking(move || {
            if let Err(error) = actions.write_hosts_blocking(&container) {
                tracing::error!(container = container.id, %error, "the hosts file of a container is not up to date");
            }
        });
    }

    fn write_hosts_blocking(&self, container: &Container) -> Result<(), ExecError> {
        let Some(place) = &container.run.place else {
            return Ok(());
        };
        let text = berth_plan::hosts(&container.spec, place.endpoints(), &place.links);
        let path = self.directory(&container.id).join("hosts");
        berth_exec::write_file(&path, FILE_MODE, &text)
    }

    /// Answers a container that has just started, if it has a resolver.
    pub(super) fn serve_names(&self, id: &str) {
        if let Some(sockets) = self.shared.launcher.take_names(id) {
            self.shared.resolvers.serve(id, sockets, host_servers());
        }
    }

    /// Answers a running container again.
    pub(crate) fn reopen_names(&self, container: &Container) {
        let sockets = process(container).and_then(|pid| self.shared.launcher.reopen_names(pid));
        match sockets {
            Ok(sockets) => self
                .shared
                .resolvers
                .serve(&container.id, sockets, host_servers()),
            Err(error) => {
                tracing::error!(container = container.id, %error, "the names of a container are not resolved");
            }
        }
    }
}

fn process(container: &Container) -> Result<u32, ExecError> {
    let pid = u32::try_from(container.run.pid).ok().filter(|pid| *pid > 0);
    pid.ok_or_else(|| ExecError::NotRunning {
        id: container.id.clone(),
    })
}

impl Place {
    /// What of it is on the host.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.addresses().filter_map(|address| address.endpoint.as_ref())
    }
}
