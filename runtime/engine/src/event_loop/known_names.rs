//! Which names the containers of user networks may know.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::EventLoop;
use crate::container::{Address, Container, Place};
use crate::dns::{NameTable, View};
use crate::lifecycle::Phase;

impl EventLoop {
    /// Has all resolvers answer by what is true now.
    pub(super) fn publish_names(&self) {
        let mut table = NameTable::default();
        // Without a network of users there is nobody to ask, and starts are not to pay for it.
        let containers = self.containers.values().filter(|_| self.networks.has_users());
        for entry in containers {
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
        let names = [
            container.name.as_str(),
            short.as_str(),
            container.spec.hostname.as_str(),
        ];
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
