//! Networks come and go; containers have places in them, also while they run.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use berth_plan::{Endpoint, HostStep, LinkedHost};
use berth_wire::docker::{CreateRequest, EndpointSettings};

use super::{EventLoop, random_bytes};
use crate::clock;
use crate::container::{Address, Container, Place, Status};
use crate::dns::{NameTable, View};
use crate::error::{Failure, LaunchFailure, LaunchFailureKind};
use crate::handle::{NetworkCommand, NetworkInput, NetworkRow, NetworkView, Reply};
use crate::lifecycle::Phase;
use crate::links;
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
                let gone = result.map_err(Failure::from).and_then(|()| self.network_gone(&id));
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
        if let Some((name, _)) = PSEUDO.iter().find(|(name, id)| reference == *name || reference == *id) {
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
        let links: Result<Vec<TargetAlias>, _> = links.map(|word| TargetAlias::understand(word, &id_of)).collect();
        let mut links = links?;
        if let Some(first) = wished.first_mut().filter(|first| first.network != crate::documents::BRIDGE_NETWORK_ID) {
            // In a network of users a link is a name.
            first.links.append(&mut links);
        }
        Ok((wished, links))
    }

    /// Links as an inspect shows them.
    pub(super) fn link_documents(&self, name: &str, links: &[TargetAlias]) -> Option<Vec<String>> {
        let documents = links.iter().filter_map(|link| {
            let target = &self.containers.get(&link.target)?.container;
            Some(links::document(&target.name, name, link))
        });
        Some(documents.collect()).filter(|documents: &Vec<String>| !documents.is_empty())
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
            match self.networks.place(attachment, &container.id, format!("eth{number}")) {
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

    /// What a container gets to know by its links; those it is linked to must run.
    fn linked(&self, container: &Container) -> Result<(Vec<LinkedHost>, Vec<String>), LaunchFailure> {
        let (mut hosts, mut variables) = (Vec::new(), Vec::new());
        for link in &container.links {
            let conflict = |message: String| LaunchFailure {
                message,
                kind: LaunchFailureKind::Conflict,
            };
            let Some(entry) = self.containers.get(&link.target) else {
                continue;
            };
            let target = &entry.container;
            if target.run.status != Status::Running {
                return Err(conflict(format!(
                    "Cannot link to a non running container: /{} AS /{}/{}",
                    target.name, container.name, link.alias
                )));
            }
            let mut addresses = target.run.place.iter().flat_map(Place::addresses);
            let Some(address) = addresses.find(|address| address.is_own()) else {
                return Err(conflict(format!(
                    "Cannot link to /{}, as it does not belong to the default network",
                    target.name
                )));
            };
            hosts.push(links::host(link, target, address.address));
            variables.extend(links::environment(&container.name, link, target, address.address));
        }
        Ok((hosts, variables))
    }

    /// The containers that are linked to this one get its new address.
    pub(super) fn refresh_links(&mut self, id: &str) {
        let linked: Vec<String> = self
            .containers
            .values()
            .filter(|entry| entry.life.phase() == Phase::Running)
            .filter(|entry| entry.container.links.iter().any(|link| link.target == id))
            .map(|entry| entry.container.id.clone())
            .collect();
        for other in linked {
            let container = Arc::clone(&self.containers[&other].container);
            // One of several may be down just now: its line stays as it is then.
            let Ok((hosts, _)) = self.linked(&container) else { continue };
            self.note(&other, |container| {
                if let Some(place) = &mut container.run.place {
                    place.links = hosts;
                }
            });
            self.actions.write_hosts(&self.containers[&other].container);
        }
    }

    fn unlink(&mut self, parent: &str, alias: &str) -> Result<(), Failure> {
        let id = self.id_of(parent)?;
        let before = self.containers[&id].container.links.len();
        self.update(&id, |container| {
            container.links.retain(|link| link.alias != alias);
            let suffix = format!("/{}/{alias}", container.name);
            for list in container.host_config.links.iter_mut() {
                list.retain(|link| !link.ends_with(&suffix));
            }
        })?;
        if self.containers[&id].container.links.len() == before {
            return Err(Failure::NoSuchThing(format!("Cannot get parent /{parent} for name /{parent}/{alias}")));
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
        if PSEUDO.iter().any(|(name, id)| reference == *name || reference == *id) {
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
            return Err(NetworkFailure::Refused("too many networks of one container: the limit is 64").into());
        }
        let attachment = Attachment::understand(&network, settings, &|word| self.id_of(word).ok())?;
        let address = match self.containers[&id].life.phase() {
            Phase::Idle | Phase::Waiting => None,
            Phase::Running => {
                let used: BTreeSet<&str> = container.interfaces().collect();
                let mut names = (0..=MAX_PLACES).map(|number| format!("eth{number}"));
                let interface = names.find(|name| !used.contains(name.as_str())).unwrap_or_default();
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
        let there = |attachment: &Attachment| attachment.network == network.id || attachment.network == network.name;
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
                container.attachments.retain(|attachment| attachment.network != address.network);
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
        let name = self.networks.get(&address.network).map_or("", |network| network.name.as_str());
        let attributes = [
            ("container", container.id.as_str()),
            ("name", name),
            ("type", "bridge"),
        ];
        let attributes = attributes.map(|(key, value)| (key.to_owned(), value.to_owned()));
        self.events
            .publish("network", action, &address.network, attributes.into());
    }

    /// Has all resolvers answer by what is true now.
    pub(super) fn publish_names(&self) {
        let mut table = NameTable::default();
        for entry in self.containers.values() {
            let container = &entry.container;
            let present = matches!(entry.life.phase(), Phase::Starting | Phase::Running);
            let Some(place) = container.run.place.as_ref().filter(|_| present) else {
                continue;
            };
            let mut view = View::default();
            for address in place.addresses() {
                let Some(network) = self.networks.get(&address.network) else {
                    continue;
                };
                if !network.internal {
                    view.servers = Some(container.spec.dns.servers.clone());
                }
                if network.is_own() {
                    continue;
                }
                view.networks.push((network.id.clone(), network.name.clone()));
                self.add_names(&mut table, container, address);
                self.add_links(&mut view, container, &network.id);
            }
            if !view.networks.is_empty() {
                table.views.insert(container.id.clone(), view);
            }
        }
        self.actions.shared.resolvers.publish(table);
    }

    fn add_names(&self, table: &mut NameTable, container: &Container, address: &Address) {
        let short: String = container.id.chars().take(12).collect();
        let aliases = container.attachment(&address.network).into_iter();
        let aliases = aliases.flat_map(|attachment| attachment.aliases.iter().map(String::as_str));
        let names = [container.name.as_str(), short.as_str(), container.spec.hostname.as_str()];
        let names: Vec<&str> = names.into_iter().chain(aliases).collect();
        let called = table.addresses.entry(address.network.clone()).or_default();
        for found in address.all() {
            called.insert(found, container.name.clone());
        }
        for found in address.all() {
            for name in &names {
                table.add(&address.network, name, found);
            }
        }
    }

    fn add_links(&self, view: &mut View, container: &Container, network: &str) {
        let links = container.attachment(network).into_iter();
        for link in links.flat_map(|attachment| &attachment.links) {
            let target = self.containers.get(&link.target);
            let places = target.and_then(|entry| entry.container.run.place.as_ref());
            let addresses = places.into_iter().flat_map(Place::addresses);
            let there: BTreeSet<IpAddr> = addresses
                .filter(|address| address.network == network)
                .flat_map(Address::all)
                .collect();
            if !there.is_empty() {
                view.own.insert(link.alias.to_lowercase(), there);
            }
        }
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

    fn interfaces(&self) -> impl Iterator<Item = &str> {
        let addresses = self.run.place.iter().flat_map(Place::addresses);
        addresses.filter_map(|address| Some(address.endpoint.as_ref()?.interface.as_str()))
    }

    /// Another place than this leads everything that has no better route.
    fn is_routed(&self, but: &Address) -> bool {
        let mut addresses = self.run.place.iter().flat_map(Place::addresses);
        addresses.any(|address| {
            address.endpoint_id != but.endpoint_id
                && address.endpoint.as_ref().is_some_and(|endpoint| endpoint.routed)
        })
    }

    /// A running container has one more place; its end takes it back.
    fn add_place(&mut self, address: Address) {
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
    fn remove_place(&mut self, gone: &Address) {
        let same = |endpoint: &Endpoint| gone.endpoint.as_ref() == Some(endpoint);
        if let Some(plan) = &mut self.run.plan {
            plan.host.retain(|step| match step {
                HostStep::Network { endpoint } | HostStep::Join { endpoint } => !same(endpoint),
                HostStep::Publish { address, .. } => *address != gone.address,
                _ => true,
            });
        }
        let Some(place) = &mut self.run.place else { return };
        if place.endpoint.as_ref().is_some_and(|first| first.endpoint_id == gone.endpoint_id) {
            place.endpoint = None;
            place.ports.clear();
            if !place.more.is_empty() {
                place.endpoint = Some(place.more.remove(0));
            }
        } else {
            place.more.retain(|address| address.endpoint_id != gone.endpoint_id);
        }
    }
}
