//! Networks that come and go while containers run, and the places of running containers in them.

use std::os::fd::AsFd;

use berth_plan::Endpoint;

use super::{Launcher, lock};
use crate::error::ExecError;
use crate::names::{NameSockets, open_names};
use crate::netlink;
use crate::nft::{self, NetworkConfig};

impl Launcher {
    /// Makes the bridge of a network, if it is not there, and the rules for it.
    ///
    /// # Errors
    /// As [`netlink::ensure_bridge`]; a bridge that was made is removed again then.
    pub fn add_network(&self, network: &NetworkConfig) -> Result<(), ExecError> {
        let mut networks = lock(&self.networks);
        let name = &network.bridge.name;
        let mut all = networks.clone();
        all.retain(|other| other.bridge.name != *name);
        all.push(network.clone());
        let new = netlink::ensure_bridge(&network.bridge)?;
        let ipv6 = match network.ipv6 {
            Some((address, prefix_len)) => netlink::add_ipv6(name, address, prefix_len),
            None => Ok(()),
        };
        let made = ipv6.and_then(|()| nft::ensure_networks(&self.config.table, &all));
        if let Err(error) = made {
            // One that was there may have running containers on it.
            if new {
                drop(netlink::remove_bridge(name));
            }
            return Err(error.into());
        }
        *networks = all;
        Ok(())
    }

    /// Removes the rules for a network, then its bridge; one that is not there is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_network(&self, bridge: &str) -> Result<(), ExecError> {
        let mut networks = lock(&self.networks);
        let mut rest = networks.clone();
        rest.retain(|other| other.bridge.name != bridge);
        nft::ensure_networks(&self.config.table, &rest)?;
        *networks = rest;
        netlink::remove_bridge(bridge)?;
        Ok(())
    }

    pub(super) fn remove_bridges(&self) -> Result<(), ExecError> {
        let networks = lock(&self.networks);
        let removed = networks
            .iter()
            .map(|network| netlink::remove_bridge(&network.bridge.name).map_err(ExecError::from));
        removed.fold(Ok(()), Result::and)
    }

    /// Gives a running container, by its first process, one more place.
    ///
    /// # Errors
    /// When it does not run any more, or the kernel refuses.
    pub fn join(&self, pid: u32, endpoint: &Endpoint) -> Result<(), ExecError> {
        let namespace = netlink::namespace_of(pid)?;
        Ok(netlink::join(namespace.as_fd(), endpoint)?)
    }

    /// Takes a place from a running container, with the ports that lead to it; one that is not there is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn leave(&self, endpoint: &Endpoint) -> Result<(), ExecError> {
        // The address may be somebody else's soon.
        nft::unpublish_address(&self.config.table, endpoint.address)?;
        netlink::disconnect(&endpoint.host_interface)?;
        if let Err(error) = netlink::forget_flows(endpoint.address) {
            // A kernel that tracks nothing has nothing to forget.
            tracing::debug!(address = %endpoint.address, %error, "flows of a left network were not forgotten");
        }
        Ok(())
    }

    /// Leads everything of a running container that has no better route to the gateway of this place.
    ///
    /// # Errors
    /// When it does not run any more, or the kernel refuses.
    pub fn reroute(&self, pid: u32, endpoint: &Endpoint) -> Result<(), ExecError> {
        let namespace = netlink::namespace_of(pid)?;
        Ok(netlink::reroute(namespace.as_fd(), endpoint)?)
    }

    /// Opens the sockets of the resolver of a running container again, as after a restart of the daemon.
    ///
    /// # Errors
    /// When it does not run any more, or the kernel refuses.
    pub fn reopen_names(&self, pid: u32) -> Result<NameSockets, ExecError> {
        let namespace = netlink::namespace_of(pid)?;
        Ok(open_names(namespace.as_fd())?)
    }

    /// The sockets of the resolver of a container that has just started, if its plan asks for one. They are given once.
    pub fn take_names(&self, id: &str) -> Option<NameSockets> {
        lock(&self.names).remove(id)
    }
}
