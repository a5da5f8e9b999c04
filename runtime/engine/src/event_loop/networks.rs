//! Networks come and go; containers have places in them, also while they run.

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_wire::docker::{CreateRequest, EndpointSettings};

use super::{EventLoop, random_bytes};
use crate::clock;
use crate::container::{Address, Container, Place};
use crate::error::Failure;
use crate::handle::{NetworkCommand, NetworkInput, NetworkRow, NetworkView, Reply};
use crate::lifecycle::Phase;
use crate::names::id_from;
use crate::networks::{
    Attachment, Network, NetworkFailure, NetworkWish, PSEUDO, Stage, TargetAlias, attachments, understand,
};

/// Interfaces of one container; more are refused.
const MAX_PLACES: usize = 64;

/// How often another subnet is taken when the chosen one turns out to be used.
const SUBNET_TRIES: u32 = 8;

impl EventLoop {
    pub(super) fn network_command(&mut self, command: NetworkCommand) {
        // A client that went away needs no answer.
        match command {
            NetworkCommand::Create { wish, reply } => self.create_network(*wish, SUBNET_TRIES, reply),
            NetworkCommand::List { reply } => {
                let all = self.networks.ready();
                let all = all.into_iter().map(|network| self.network_view(network));
                drop(reply.send(Ok(all.collect())));
            }
            NetworkCommand::Find { reference, reply } => {
                let found = self.networks.find(&reference);
                let found = found.map(|network| self.network_view(network));
                drop(reply.send(found.map_err(Failure::from)));
            }
            NetworkCommand::Remove { reference, reply } => self.remove_network(&reference, reply),
            NetworkCommand::Connect {
                reference,
                container,
                settings,
                reply,
            } => self.connect(&reference, &container, &settings, reply),
            NetworkCommand::Disconnect {
                reference,
                container,
                force,
                reply,
            } => self.disconnect(&reference, &container, force, reply),
            NetworkCommand::Unlink { parent, alias, reply } => {
                drop(reply.send(self.unlink(&parent, &alias)));
            }
        }
    }

    pub(super) fn network_input(&mut self, input: NetworkInput) {
        match input {
            NetworkInput::Made {
                id,
                result,
                wish,
                tries,
                reply,
            } => self.network_made(&id, result, *wish, tries, reply),
            NetworkInput::Gone { id, result, reply } => {
                let gone = result
                    .map_err(Failure::from)
                    .and_then(|()| self.network_gone(&id));
                if gone.is_err() {
                    self.networks.set_stage(&id, Stage::Ready);
                }
                drop(reply.send(gone));
            }
            NetworkInput::Joined {
                id,
                address,
                result,
                reply,
            } => {
                let joined = result.map_err(Failure::from);
                if joined.is_ok() {
                    self.told_of_place(&id, &address, "connect");
                } else {
                    self.forget_place(&id, &address);
                }
                drop(reply.send(joined));
            }
            NetworkInput::Left {
                id,
                address,
                result,
                reply,
            } => {
                self.networks.release(&address);
                self.told_of_place(&id, &address, "disconnect");
                drop(reply.send(result.map_err(Failure::from)));
            }
        }
    }

    fn create_network(&mut self, wish: NetworkWish, tries: u32, reply: Reply<String>) {
        if self.closed {
            return drop(reply.send(Err(Failure::Stopping)));
        }
        let id = id_from(&random_bytes());
        let own = self.actions.shared.bridge.clone();
        let network = match understand(&self.networks, &wish, &id, &own, clock::now()) {
            Ok(network) => network,
            Err(failure) => return drop(reply.send(Err(failure))),
        };
        // On record before it is made: what a crash leaves is made complete by the next engine.
        if let Err(error) = self.records.save_network(&network) {
            return drop(reply.send(Err(error.into())));
        }
        self.networks.insert(network.clone(), Stage::Making);
        self.actions.make_network(network, wish, tries, reply);
    }

    fn network_made(
        &mut self,
        id: &str,
        result: Result<(), berth_exec::ExecError>,
        mut wish: NetworkWish,
        tries: u32,
        reply: Reply<String>,
    ) {
        let Err(error) = result else {
            self.networks.set_stage(id, Stage::Ready);
            self.tell_of_network(id, "create");
            return drop(reply.send(Ok(id.to_owned())));
        };
        let network = self.networks.remove(id);
        if let Err(error) = self.records.remove_network(id) {
            tracing::error!(network = id, %error, "the record of a network that was not made could not be removed");
        }
        let taken = matches!(
            error,
            berth_exec::ExecError::Network(berth_exec::NetworkError::SubnetTaken { .. })
        );
        match network.filter(|network| taken && !network.chosen) {
            // Somebody else was quicker; the next one may be free.
            Some(network) if tries > 0 => {
                wish.used.push(network.subnet);
                self.create_network(wish, tries - 1, reply);
            }
            Some(_) | None if taken => drop(reply.send(Err(NetworkFailure::Overlap.into()))),
            Some(_) | None => drop(reply.send(Err(error.into()))),
        }
    }

    fn remove_network(&mut self, reference: &str, reply: Reply<()>) {
        if let Some((name, _)) = PSEUDO
            .iter()
            .find(|(name, id)| reference == *name || reference == *id)
        {
            return drop(reply.send(Err(NetworkFailure::Predefined((*name).to_owned()).into())));
        }
        let network = match self.networks.find(reference) {
            Ok(network) if network.is_own() => Err(NetworkFailure::Predefined(network.name.clone())),
            Ok(network) if !self.rows(&network.id).is_empty() => Err(NetworkFailure::InUse {
                name: network.name.clone(),
                id: network.id.clone(),
            }),
            result => result.cloned(),
        };
        match network {
            Ok(network) => {
                self.networks.set_stage(&network.id, Stage::Removing);
                self.actions.drop_network(&network, reply);
            }
            Err(failure) => drop(reply.send(Err(failure.into()))),
        }
    }

    fn network_gone(&mut self, id: &str) -> Result<(), Failure> {
        self.records.remove_network(id)?;
        self.tell_of_network(id, "destroy");
        self.networks.remove(id);
        Ok(())
    }

    fn tell_of_network(&self, id: &str, action: &str) {
        if let Some(network) = self.networks.get(id) {
            let attributes = [
                ("name".to_owned(), network.name.clone()),
                ("type".to_owned(), "bridge".to_owned()),
            ];
            self.events.publish("network", action, id, attributes.into());
        }
    }

    fn network_view(&self, network: &Network) -> NetworkView {
        NetworkView {
            network: network.clone(),
            rows: self.rows(&network.id),
        }
    }

    /// The containers that have a place in a network.
    fn rows(&self, id: &str) -> Vec<NetworkRow> {
        let containers = self.containers.values().map(|entry| &entry.container);
        let rows = containers.filter_map(|container| {
            let mut addresses = container.run.place.iter().flat_map(Place::addresses);
            let address = addresses.find(|address| address.network == id)?;
            Some(NetworkRow {
                container: container.id.clone(),
                name: container.name.clone(),
                address: address.clone(),
            })
        });
        rows.collect()
    }

    /// The networks and links of a create request.
    pub(super) fn connections(
        &self,
        request: &CreateRequest,
    ) -> Result<(Vec<Attachment>, Vec<TargetAlias>), Failure> {
        let id_of = |word: &str| self.id_of(word).ok();
        let mut wished = attachments(&self.networks, request, &id_of)?;
        let links = request.host_config.links.iter().flatten();
        let links: Result<Vec<TargetAlias>, _> =
            links.map(|word| TargetAlias::understand(word, &id_of)).collect();
        let mut links = links?;
        if let Some(first) = wished
            .first_mut()
            .filter(|first| first.network != crate::documents::BRIDGE_NETWORK_ID)
        {
            // In a network of users a link is a name.
            first.links.append(&mut links);
        }
        Ok((wished, links))
    }

    /// Refuses a start for which a network is missing: clients are to see that it is not there.
    pub(super) fn check_networks(&self, id: &str) -> Result<(), Failure> {
        let container = &self.containers[id].container;
        if !self.actions.wants_address(&container.spec) {
            return Ok(());
        }
        for attachment in &container.attachments {
            if self.networks.get(&attachment.network).is_none() {
                self.networks.find(&attachment.name)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, reference: &str, word: &str, settings: &EndpointSettings, reply: Reply<()>) {
        match self.begin_connect(reference, word, settings) {
            Ok(Some((id, address))) => {
                let container = Arc::clone(&self.containers[&id].container);
                let network = self.networks.get(&address.network);
                let lead = network.is_some_and(|network| !network.internal) && !container.is_routed(&address);
                self.actions.join(&container, address, lead, reply);
            }
            Ok(None) => drop(reply.send(Ok(()))),
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }

    /// Has it on record; the place is one of a running container that is to be made now.
    fn begin_connect(
        &mut self,
        reference: &str,
        word: &str,
        settings: &EndpointSettings,
    ) -> Result<Option<(String, Address)>, Failure> {
        if PSEUDO
            .iter()
            .any(|(name, id)| reference == *name || reference == *id)
        {
            return Err(NetworkFailure::HostNetwork.into());
        }
        let network = self.networks.find(reference)?.clone();
        let id = self.id_of(word)?;
        let container = Arc::clone(&self.containers[&id].container);
        if !self.actions.wants_address(&container.spec) {
            return Err(NetworkFailure::Shared.into());
        }
        let same = |attachment: &Attachment| attachment.network == network.id;
        if container.attachments.iter().any(same) {
            return Err(NetworkFailure::AlreadyThere {
                container: container.name.clone(),
                network: network.name,
            }
            .into());
        }
        if container.attachments.len() >= MAX_PLACES {
            return Err(
                NetworkFailure::Refused("too many networks of one container: the limit is 64").into(),
            );
        }
        let attachment = Attachment::understand(&network, settings, &|word| self.id_of(word).ok())?;
        let address = match self.containers[&id].life.phase() {
            Phase::Idle | Phase::Waiting => None,
            Phase::Running => {
                let used: BTreeSet<&str> = container.interfaces().collect();
                let mut names = (0..=MAX_PLACES).map(|number| format!("eth{number}"));
                let interface = names
                    .find(|name| !used.contains(name.as_str()))
                    .unwrap_or_default();
                Some(self.networks.place(&attachment, &id, interface)?)
            }
            Phase::Starting | Phase::Cleaning | Phase::Erasing | Phase::Gone => {
                return Err(NetworkFailure::Busy.into());
            }
        };
        self.update(&id, |container| {
            container.attachments.push(attachment);
            if let Some(address) = &address {
                container.add_place(address.clone());
            }
        })?;
        self.publish_registrations();
        Ok(address.map(|address| (id, address)))
    }

    fn disconnect(&mut self, reference: &str, word: &str, force: bool, reply: Reply<()>) {
        match self.begin_disconnect(reference, word, force) {
            Ok(Some((id, address))) => {
                let container = Arc::clone(&self.containers[&id].container);
                self.actions.leave(&container, address, reply);
            }
            Ok(None) => drop(reply.send(Ok(()))),
            Err(failure) => drop(reply.send(Err(failure))),
        }
    }

    fn begin_disconnect(
        &mut self,
        reference: &str,
        word: &str,
        force: bool,
    ) -> Result<Option<(String, Address)>, Failure> {
        if reference == PSEUDO[0].0 || reference == PSEUDO[0].1 {
            return Err(NetworkFailure::HostNetwork.into());
        }
        let network = self.networks.find(reference)?.clone();
        let id = match self.id_of(word) {
            Err(_) if force => return Ok(None),
            id => id?,
        };
        let container = Arc::clone(&self.containers[&id].container);
        let there =
            |attachment: &Attachment| attachment.network == network.id || attachment.network == network.name;
        if !self.actions.wants_address(&container.spec) || !container.attachments.iter().any(there) {
            return Err(NetworkFailure::NotConnected {
                container: container.id.clone(),
                network: network.name,
            }
            .into());
        }
        match self.containers[&id].life.phase() {
            Phase::Idle | Phase::Waiting | Phase::Running => {}
            Phase::Starting | Phase::Cleaning | Phase::Erasing | Phase::Gone => {
                return Err(NetworkFailure::Busy.into());
            }
        }
        let mut addresses = container.run.place.iter().flat_map(Place::addresses);
        let address = addresses.find(|address| address.network == network.id).cloned();
        self.update(&id, |container| {
            container.attachments.retain(|attachment| !there(attachment));
            if let Some(address) = &address {
                container.remove_place(address);
            }
        })?;
        self.publish_registrations();
        Ok(address.map(|address| (id, address)))
    }

    /// A place that came to nothing.
    fn forget_place(&mut self, id: &str, address: &Address) {
        self.networks.release(address);
        if self.containers.contains_key(id) {
            let saved = self.update(id, |container| {
                container
                    .attachments
                    .retain(|attachment| attachment.network != address.network);
                container.remove_place(address);
            });
            self.log_unsaved(id, saved);
            self.publish_registrations();
        }
    }

    fn told_of_place(&self, id: &str, address: &Address, action: &str) {
        if let Some(entry) = self.containers.get(id) {
            self.tell_place(&entry.container, address, action);
        }
    }

    /// An event of a network: a container has a place in it, or has it no more.
    pub(super) fn tell_place(&self, container: &Container, address: &Address, action: &str) {
        let name = self
            .networks
            .get(&address.network)
            .map_or("", |network| network.name.as_str());
        let attributes = [
            ("container", container.id.as_str()),
            ("name", name),
            ("type", "bridge"),
        ];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.events
            .publish("network", action, &address.network, attributes.into());
    }
}
