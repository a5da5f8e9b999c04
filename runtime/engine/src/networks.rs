//! Networks: the engine's own bridge and those that users make. Pure: the host is changed elsewhere.

mod attachment;
mod wish;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_plan::ipam::{Pool, overlap};
use berth_plan::{Endpoint, Endpoint6};
use serde::{Deserialize, Serialize};

use crate::actions::mac_of;
use crate::config::Subnet;
use crate::container::Address;
use crate::documents::BRIDGE_NETWORK_ID;

pub(crate) use attachment::{Attachment, TargetAlias, attachments, own_bridge};
pub(crate) use wish::{NetworkWish, understand};

/// The name of the engine's own network.
pub(crate) const BRIDGE: &str = "bridge";

/// The network of a container without one, and that of the host, as lists show them.
pub(crate) const PSEUDO: [(&str, &str); 2] = [
    (
        "host",
        "686f737400000000000000000000000000000000000000000000000000000001",
    ),
    (
        "none",
        "6e6f6e6500000000000000000000000000000000000000000000000000000001",
    ),
];

/// Networks that users may have: each is an interface with rules of its own. More are refused.
const MAX_NETWORKS: usize = 512;

/// Where subnets are taken from when nobody chooses one; Docker's. Each is cut into pieces of the second length.
const POOLS: [((Ipv4Addr, u8), u8); 2] = [
    ((Ipv4Addr::new(172, 16, 0, 0), 12), 16),
    ((Ipv4Addr::new(192, 168, 0, 0), 16), 20),
];

/// Characters of an interface's name; the kernel's limit.
const INTERFACE_NAME: usize = 15;

/// What the name of an interface keeps of the engine's bridge, so that it is seen whose it is.
const INTERFACE_PREFIX: usize = 12;

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) attachable: bool,
    /// Nothing goes out of it or comes in.
    pub(crate) internal: bool,
    /// What goes out has an address of the host.
    pub(crate) masquerade: bool,
    /// Its containers reach each other.
    pub(crate) connected: bool,
    /// The interface.
    pub(crate) bridge: String,
    /// First address and length of the prefix.
    pub(crate) subnet: (Ipv4Addr, u8),
    pub(crate) gateway: Ipv4Addr,
    /// The part of the subnet that addresses are given from.
    pub(crate) range: Option<(Ipv4Addr, u8)>,
    /// Addresses that are somebody else's.
    pub(crate) kept: BTreeMap<String, Ipv4Addr>,
    /// Somebody chose the subnet.
    pub(crate) chosen: bool,
    pub(crate) ipv6: Option<Network6>,
}

/// The IPv6 part of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Network6 {
    /// First address and length of the prefix.
    pub(crate) subnet: (Ipv6Addr, u8),
    pub(crate) gateway: Ipv6Addr,
}

/// Why something about a network is refused. The HTTP status is chosen in `http/error.rs`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetworkFailure {
    #[error("network {0} not found")]
    NotFound(String),
    #[error("network {reference} is ambiguous ({count} matches found on name)")]
    Ambiguous { reference: String, count: usize },
    #[error("network with name {0} already exists")]
    NameTaken(String),
    #[error("plugin {0:?} not found")]
    NoDriver(String),
    #[error("Pool overlaps with other one on this address space")]
    Overlap,
    #[error(
        "could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network"
    )]
    NoSubnetLeft,
    #[error("too many networks, the limit is {MAX_NETWORKS}")]
    TooMany,
    #[error("error while removing network: network {name} id {id} has active endpoints")]
    InUse { name: String, id: String },
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    #[error("operation is not permitted on predefined {0} network")]
    PredefinedName(String),
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyThere { container: String, network: String },
    #[error("container {container} is not connected to network {network}")]
    NotConnected { container: String, network: String },
    #[error("container cannot be disconnected from host network or connected to host network")]
    HostNetwork,
    #[error(
        "container sharing network namespace with another container or host cannot be connected to any other network"
    )]
    Shared,
    #[error("container is not running or is just being changed: try again")]
    Busy,
    #[error("invalid {option}: {value:?}: {reason}")]
    Invalid {
        option: &'static str,
        value: String,
        reason: &'static str,
    },
    #[error("{0}")]
    Refused(&'static str),
    #[error("Address already in use")]
    AddressTaken,
    #[error("invalid address {0}: It does not belong to any of this network's subnets")]
    NotInSubnet(String),
    #[error("no available IPv4 addresses on this network's address pools: {name} ({id})")]
    Exhausted { name: String, id: String },
    #[error("could not get container for {word}: No such container: {word}")]
    NoLinked { word: String },
}

/// What happens with a network just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its bridge is being made.
    Making,
    /// It can be used.
    Ready,
    /// Its bridge is being removed.
    Removing,
}

/// A network with its addresses.
#[derive(Debug)]
struct Entry {
    network: Network,
    pool: Pool,
    /// The container and the place of each address that is in use.
    owners: BTreeMap<IpAddr, Owner>,
    stage: Stage,
}

#[derive(Debug, Clone)]
struct Owner {
    container: String,
    endpoint_id: String,
}

/// All networks of an engine.
#[derive(Debug)]
pub(crate) struct Networks {
    by_id: BTreeMap<String, Entry>,
}

impl Entry {
    /// A place of this container has the address: its last run may have it still, which is going away.
    fn is_of(&self, address: IpAddr, container: &str) -> bool {
        let owner = self.owners.get(&address);
        owner.is_some_and(|owner| owner.container == container)
    }

    fn is_free(&self, address: IpAddr, container: &str) -> bool {
        !self.owners.contains_key(&address) || self.is_of(address, container)
    }
}

impl Network6 {
    /// Whether a container may have this address.
    fn gives(&self, address: Ipv6Addr) -> bool {
        masked6(address, self.subnet.1) == self.subnet.0
            && address != self.subnet.0
            && address != self.gateway
    }
}

impl Network {
    fn pool(&self) -> Pool {
        let kept = self.kept.values().copied().chain([self.gateway]);
        Pool::of_network(self.subnet, self.range, kept)
    }

    /// The engine's own network.
    pub(crate) fn own(subnet: Subnet, bridge: &str) -> Self {
        Self {
            id: BRIDGE_NETWORK_ID.to_owned(),
            name: BRIDGE.to_owned(),
            created: 0,
            labels: BTreeMap::new(),
            options: BTreeMap::from([
                (
                    "com.docker.network.bridge.default_bridge".to_owned(),
                    "true".to_owned(),
                ),
                ("com.docker.network.bridge.name".to_owned(), bridge.to_owned()),
            ]),
            attachable: false,
            internal: false,
            masquerade: true,
            connected: true,
            bridge: bridge.to_owned(),
            subnet: (subnet.network, subnet.prefix_len),
            gateway: subnet.gateway(),
            range: None,
            kept: BTreeMap::new(),
            chosen: false,
            ipv6: None,
        }
    }

    /// It is the engine's own.
    pub(crate) fn is_own(&self) -> bool {
        self.id == BRIDGE_NETWORK_ID
    }
}

impl Networks {
    /// The engine's own network and those that are on record.
    pub(crate) fn new(own: Network, recorded: Vec<Network>) -> Self {
        let mut networks = Self {
            by_id: BTreeMap::new(),
        };
        for network in std::iter::once(own).chain(recorded) {
            networks.insert(network, Stage::Ready);
        }
        networks
    }

    /// Adds a network.
    pub(crate) fn insert(&mut self, network: Network, stage: Stage) {
        let entry = Entry {
            pool: network.pool(),
            owners: BTreeMap::new(),
            stage,
            network,
        };
        self.by_id.insert(entry.network.id.clone(), entry);
    }

    /// Forgets a network.
    pub(crate) fn remove(&mut self, id: &str) -> Option<Network> {
        self.by_id.remove(id).map(|entry| entry.network)
    }

    /// Says what happens with a network.
    pub(crate) fn set_stage(&mut self, id: &str, stage: Stage) {
        if let Some(entry) = self.by_id.get_mut(id) {
            entry.stage = stage;
        }
    }

    /// There are more than the engine's own.
    pub(crate) fn has_users(&self) -> bool {
        self.by_id.len() > 1
    }

    /// By its id.
    pub(crate) fn get(&self, id: &str) -> Option<&Network> {
        self.by_id.get(id).map(|entry| &entry.network)
    }

    /// All that can be used, by name.
    pub(crate) fn ready(&self) -> Vec<&Network> {
        let ready = self.by_id.values().filter(|entry| entry.stage == Stage::Ready);
        let mut all: Vec<&Network> = ready.map(|entry| &entry.network).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// By full id, then by name, then by the beginning of its id.
    pub(crate) fn find(&self, reference: &str) -> Result<&Network, NetworkFailure> {
        let ready = self.ready();
        let exact = ready.iter().find(|network| network.id == reference);
        let named = || ready.iter().find(|network| network.name == reference);
        if let Some(network) = exact.or_else(named) {
            return Ok(network);
        }
        let mut beginning = ready
            .iter()
            .filter(|network| !reference.is_empty() && network.id.starts_with(reference));
        match (beginning.next(), beginning.count()) {
            (Some(network), 0) => Ok(network),
            (Some(_), more) => Err(NetworkFailure::Ambiguous {
                reference: reference.to_owned(),
                count: more + 1,
            }),
            (None, _) => Err(NetworkFailure::NotFound(reference.to_owned())),
        }
    }

    /// Refuses a network that there is no room for.
    pub(crate) fn check_new(&self, name: &str) -> Result<(), NetworkFailure> {
        if PSEUDO.iter().any(|(pseudo, _)| *pseudo == name) || ["default", BRIDGE].contains(&name) {
            return Err(NetworkFailure::PredefinedName(name.to_owned()));
        }
        if self.by_id.values().any(|entry| entry.network.name == name) {
            return Err(NetworkFailure::NameTaken(name.to_owned()));
        }
        if self.by_id.len() > MAX_NETWORKS {
            return Err(NetworkFailure::TooMany);
        }
        Ok(())
    }

    /// Whether a subnet overlaps with that of a network.
    pub(crate) fn overlaps(&self, subnet: (Ipv4Addr, u8)) -> bool {
        let mut all = self.by_id.values();
        all.any(|entry| overlap(entry.network.subnet, subnet))
    }

    /// Whether an IPv6 subnet overlaps with that of a network.
    pub(crate) fn overlaps6(&self, subnet: (Ipv6Addr, u8)) -> bool {
        let mut all = self
            .by_id
            .values()
            .filter_map(|entry| entry.network.ipv6.as_ref());
        all.any(|network| {
            let shorter = network.subnet.1.min(subnet.1);
            masked6(network.subnet.0, shorter) == masked6(subnet.0, shorter)
        })
    }

    /// A subnet that neither a network nor the host uses.
    pub(crate) fn free_subnet(&self, used: &[(Ipv4Addr, u8)]) -> Option<(Ipv4Addr, u8)> {
        let pieces = POOLS.into_iter().flat_map(|((first, length), piece)| {
            let count = 1_u32 << (piece - length);
            let step = 1_u32 << (32 - u32::from(piece));
            (0..count).map(move |number| (Ipv4Addr::from(u32::from(first) + number * step), piece))
        });
        // The beginning of the first pool is left to whoever runs beside.
        let mut pieces = pieces.filter(|(address, _)| *address >= Ipv4Addr::new(172, 18, 0, 0));
        pieces.find(|piece| !self.overlaps(*piece) && !used.iter().any(|other| overlap(*other, *piece)))
    }

    /// A name for the interface of a new network.
    pub(crate) fn interface(&self, own: &str, id: &str) -> String {
        let prefix: String = own.chars().take(INTERFACE_PREFIX).collect();
        let digits = INTERFACE_NAME - prefix.len();
        let used = |name: &String| self.by_id.values().any(|entry| entry.network.bridge == *name);
        let mut names =
            (0..id.len().saturating_sub(digits)).map(|at| format!("{prefix}{}", &id[at..at + digits]));
        names.find(|name| !used(name)).unwrap_or_default()
    }

    /// Takes an address for a container.
    pub(crate) fn place(
        &mut self,
        wish: &Attachment,
        container: &str,
        interface: String,
    ) -> Result<Address, NetworkFailure> {
        let entry = self
            .by_id
            .get_mut(&wish.network)
            .filter(|entry| entry.stage == Stage::Ready)
            .ok_or_else(|| NetworkFailure::NotFound(wish.name.clone()))?;
        let network = &entry.network;
        let address = match wish.ipv4 {
            Some(address) if !entry.pool.contains(address) => {
                return Err(NetworkFailure::NotInSubnet(address.to_string()));
            }
            Some(address) if entry.pool.reserve(address) => address,
            // Its last run has it still: that is going away.
            Some(address) if entry.is_of(address.into(), container) => address,
            Some(_) => return Err(NetworkFailure::AddressTaken),
            None => entry.pool.allocate().ok_or_else(|| NetworkFailure::Exhausted {
                name: network.name.clone(),
                id: network.id.clone(),
            })?,
        };
        let ipv6 = match network.ipv6.as_ref().map(|ipv6| {
            let found = wish.ipv6.unwrap_or_else(|| beside(ipv6, network.subnet, address));
            (ipv6, found)
        }) {
            None => None,
            Some((ipv6, found)) if ipv6.gives(found) && entry.is_free(found.into(), container) => {
                Some(Endpoint6 {
                    address: found,
                    prefix_len: ipv6.subnet.1,
                    gateway: ipv6.gateway,
                })
            }
            Some(_) => {
                entry.pool.release(address);
                return Err(NetworkFailure::AddressTaken);
            }
        };
        let mac = wish.mac.unwrap_or_else(|| mac_of(address));
        let endpoint_id = crate::names::id_from(&crate::event_loop::random_bytes());
        let owner = Owner {
            container: container.to_owned(),
            endpoint_id: endpoint_id.clone(),
        };
        let ipv6_address = ipv6.as_ref().map(|ipv6: &Endpoint6| IpAddr::V6(ipv6.address));
        for taken in ipv6_address.into_iter().chain([address.into()]) {
            entry.owners.insert(taken, owner.clone());
        }
        Ok(Address {
            address,
            prefix_len: network.subnet.1,
            gateway: network.gateway,
            mac: mac.map(|byte| format!("{byte:02x}")).join(":"),
            network: network.id.clone(),
            endpoint: Some(Endpoint {
                bridge: network.bridge.clone(),
                host_interface: interface_of(container, &endpoint_id),
                address,
                prefix_len: network.subnet.1,
                gateway: network.gateway,
                mac,
                interface,
                routed: false,
                isolated: !network.connected,
                ipv6,
            }),
            endpoint_id,
        })
    }

    /// Takes an address again that a running container has.
    pub(crate) fn reserve(&mut self, address: &Address, container: &str) {
        if let Some(entry) = self.by_id.get_mut(&address.network) {
            let owner = Owner {
                container: container.to_owned(),
                endpoint_id: address.endpoint_id.clone(),
            };
            for taken in address.all() {
                entry.owners.insert(taken, owner.clone());
            }
            entry.pool.reserve(address.address);
        }
    }

    /// Gives an address back, unless another place of the same container has it by now.
    pub(crate) fn release(&mut self, address: &Address) {
        if let Some(entry) = self.by_id.get_mut(&address.network) {
            for given in address.all() {
                let owner = entry.owners.get(&given);
                if owner.is_some_and(|owner| owner.endpoint_id != address.endpoint_id) {
                    continue;
                }
                entry.owners.remove(&given);
                if let IpAddr::V4(given) = given {
                    entry.pool.release(given);
                }
            }
        }
    }
}

/// The IPv6 address that goes with an IPv4 address: the same place in its subnet.
fn beside(ipv6: &Network6, (network, _): (Ipv4Addr, u8), address: Ipv4Addr) -> Ipv6Addr {
    let place = u32::from(address) - u32::from(network);
    // At the end of all addresses it goes round, out of the subnet, and is refused.
    let at = |place: u128| Ipv6Addr::from(u128::from(ipv6.subnet.0).wrapping_add(place));
    let found = at(u128::from(place));
    if found == ipv6.gateway {
        // The IPv4 gateway's place is free: it is no container's.
        at(1)
    } else {
        found
    }
}

/// An address without the bits of the host.
pub(crate) fn masked6(address: Ipv6Addr, prefix_len: u8) -> Ipv6Addr {
    let mask = u128::MAX
        .checked_shl(128 - u32::from(prefix_len.min(128)))
        .unwrap_or(0);
    Ipv6Addr::from(u128::from(address) & mask)
}

/// The host's end of a pair: names have 15 characters at most. Every place has another, also in another run: the pair of
/// the last one may still be going away.
fn interface_of(container: &str, endpoint_id: &str) -> String {
    let digits = |text: &str, count: usize| text.chars().take(count).collect::<String>();
    format!("veth{}{}", digits(container, 5), digits(endpoint_id, 6))
}

#[cfg(test)]
mod tests;
