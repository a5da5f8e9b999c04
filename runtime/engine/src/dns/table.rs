//! Which names a container may know, and what they stand for. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The names of all networks, and who sees which of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NameTable {
    /// By id of the container that asks.
    pub(crate) views: BTreeMap<String, View>,
    /// By id of the network, then by name in lower case.
    pub(crate) names: BTreeMap<String, BTreeMap<String, BTreeSet<IpAddr>>>,
    /// By id of the network: what an address is called.
    pub(crate) addresses: BTreeMap<String, BTreeMap<IpAddr, String>>,
}

/// What one container sees.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// The networks that it is in, by id and name.
    pub(crate) networks: Vec<(String, String)>,
    /// Names that only it has: what they stand for.
    pub(crate) own: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Where other names are asked for, where the host asks if there are none of its own; nowhere in a network that
    /// leads nowhere.
    pub(crate) servers: Option<Vec<IpAddr>>,
}

impl NameTable {
    /// The addresses of a name; none when nobody has it. Names are compared without regard to case.
    pub(crate) fn find(&self, container: &str, name: &str) -> Option<BTreeSet<IpAddr>> {
        let view = self.views.get(container)?;
        let name = name.trim_end_matches('.').to_lowercase();
        if let Some(own) = view.own.get(&name) {
            return Some(own.clone());
        }
        let mut found = BTreeSet::new();
        for (id, network) in &view.networks {
            let Some(names) = self.names.get(id) else { continue };
            let suffix = format!(".{}", network.to_lowercase());
            let short = name.strip_suffix(&suffix);
            for spelling in std::iter::once(name.as_str()).chain(short) {
                found.extend(names.get(spelling).into_iter().flatten());
            }
        }
        Some(found).filter(|found| !found.is_empty())
    }

    /// The name of an address, with that of its network.
    pub(crate) fn name_of(&self, container: &str, address: IpAddr) -> Option<String> {
        let view = self.views.get(container)?;
        view.networks.iter().find_map(|(id, network)| {
            let name = self.addresses.get(id)?.get(&address)?;
            Some(format!("{name}.{network}"))
        })
    }

    /// Where a container asks for names that are nobody's here.
    pub(crate) fn servers(&self, container: &str) -> Option<&[IpAddr]> {
        self.views.get(container)?.servers.as_deref()
    }

    /// Adds a name of a container in a network.
    pub(crate) fn add(&mut self, network: &str, name: &str, address: IpAddr) {
        let names = self.names.entry(network.to_owned()).or_default();
        names.entry(name.to_lowercase()).or_default().insert(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_sees_its_own_networks_only() {
        let address = |last| IpAddr::from([10, 0, 0, last]);
        let mut table = NameTable::default();
        table.add("n1", "Web", address(2));
        table.add("n1", "all", address(2));
        table.add("n1", "all", address(3));
        table.add("n2", "db", address(9));
        let view = View {
            networks: vec![("n1".to_owned(), "Front".to_owned())],
            own: BTreeMap::from([("data".to_owned(), BTreeSet::from([address(3)]))]),
            servers: None,
        };
        table.views.insert("c".to_owned(), view);
        let find = |name| table.find("c", name).map(|found| found.len());
        assert_eq!(
            ["web", "WEB.", "web.front", "all", "data", "db", "web.back", ""].map(find),
            [Some(1), Some(1), Some(1), Some(2), Some(1), None, None, None]
        );
        assert_eq!(table.find("other", "web"), None);
    }
}
