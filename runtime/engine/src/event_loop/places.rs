//! Places of containers in networks: chosen for a start, added and taken away while they run.

use berth_plan::{Endpoint, HostStep};

use super::EventLoop;
use crate::container::{Address, Container, Place};
use crate::error::{LaunchFailure, LaunchFailureKind};
use crate::networks::{Attachment, NetworkFailure};

impl EventLoop {
    /// Places for a start, in the order of the interfaces: one that leads somewhere goes first.
    pub(super) fn choose_places(&mut self, container: &Container) -> Result<Place, LaunchFailure> {
        let linked = self.linked(container)?;
        let mut wished: Vec<Attachment> = Vec::new();
        if self.actions.wants_address(&container.spec) {
            for attachment in &container.attachments {
                let mut attachment = attachment.clone();
                if self.networks.get(&attachment.network).is_none() {
                    let network = self.networks.find(&attachment.name).map_err(launch_failure)?;
                    attachment.network.clone_from(&network.id);
                }
                wished.push(attachment);
            }
        }
        let leads = |attachment: &Attachment| {
            let network = self.networks.get(&attachment.network);
            network.is_some_and(|network| !network.internal)
        };
        wished.sort_by_key(|attachment| !leads(attachment));
        let routed = wished.first().is_some_and(leads);
        let mut places: Vec<Address> = Vec::new();
        for (number, attachment) in wished.iter().enumerate() {
            match self
                .networks
                .place(attachment, &container.id, format!("eth{number}"))
            {
                Ok(address) => places.push(address),
                Err(failure) => {
                    for address in &places {
                        self.networks.release(address);
                    }
                    return Err(launch_failure(failure));
                }
            }
        }
        if let Some(endpoint) = places.first_mut().and_then(|address| address.endpoint.as_mut()) {
            endpoint.routed = routed;
        }
        let mut places = places.into_iter();
        let (links, link_env) = linked;
        Ok(Place {
            endpoint: places.next(),
            more: places.collect(),
            ports: Vec::new(),
            links,
            link_env,
        })
    }
}

fn launch_failure(failure: NetworkFailure) -> LaunchFailure {
    LaunchFailure {
        message: failure.to_string(),
        kind: LaunchFailureKind::Host,
    }
}

impl Container {
    /// What it wishes of a network that it is in.
    pub(crate) fn attachment(&self, network: &str) -> Option<&Attachment> {
        self.attachments
            .iter()
            .find(|attachment| attachment.network == network)
    }

    pub(super) fn interfaces(&self) -> impl Iterator<Item = &str> {
        let addresses = self.run.place.iter().flat_map(Place::addresses);
        addresses.filter_map(|address| Some(address.endpoint.as_ref()?.interface.as_str()))
    }

    /// Another place than this leads everything that has no better route.
    pub(super) fn is_routed(&self, but: &Address) -> bool {
        let mut addresses = self.run.place.iter().flat_map(Place::addresses);
        addresses.any(|address| {
            address.endpoint_id != but.endpoint_id
                && address.endpoint.as_ref().is_some_and(|endpoint| endpoint.routed)
        })
    }

    /// A running container has one more place; its end takes it back.
    pub(super) fn add_place(&mut self, address: Address) {
        if let (Some(plan), Some(endpoint)) = (&mut self.run.plan, &address.endpoint) {
            plan.host.push(HostStep::Join {
                endpoint: endpoint.clone(),
            });
        }
        if let Some(place) = &mut self.run.place {
            if place.endpoint.is_none() {
                place.endpoint = Some(address);
            } else {
                place.more.push(address);
            }
        }
    }

    /// A running container has a place less, and the ports no more that led to it.
    pub(super) fn remove_place(&mut self, gone: &Address) {
        let same = |endpoint: &Endpoint| gone.endpoint.as_ref() == Some(endpoint);
        if let Some(plan) = &mut self.run.plan {
            plan.host.retain(|step| match step {
                HostStep::Network { endpoint } | HostStep::Join { endpoint } => !same(endpoint),
                HostStep::Publish { address, .. } => *address != gone.address,
                HostStep::WriteFile { .. }
                | HostStep::MakeCgroup { .. }
                | HostStep::InheritCpuset { .. }
                | HostStep::WriteCgroup { .. }
                | HostStep::DeviceRules { .. }
                | HostStep::ReservePort { .. }
                | HostStep::LonelyNetwork
                | HostStep::Names => true,
            });
        }
        let Some(place) = &mut self.run.place else { return };
        if place
            .endpoint
            .as_ref()
            .is_some_and(|first| first.endpoint_id == gone.endpoint_id)
        {
            place.endpoint = None;
            place.ports.clear();
            if !place.more.is_empty() {
                place.endpoint = Some(place.more.remove(0));
            }
        } else {
            place
                .more
                .retain(|address| address.endpoint_id != gone.endpoint_id);
        }
    }
}
