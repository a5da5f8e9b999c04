//! The engine's nftables table: address translation and the rules that keep it safe. Containers only add elements.

mod expression;
mod forwarding;
mod names;
mod published;
mod transaction;

use std::io;
use std::net::Ipv4Addr;

use expression::Expression::{
    Accept, CameFrom, Drop, Established, From, GoesTo, Ipv4, Masquerade, To, ToHost, TranslateByAddress,
    TranslateByPort, Translated,
};
use expression::{Expression, Test};
pub(crate) use names::lead_names;
pub use published::Published;
use published::{ANYWHERE, SOMEWHERE};
use transaction::{Hook, Owner, Transaction, elements, open, owner};

use crate::netlink::{BridgeConfig, NetworkError, Socket, check_interface, check_name, mask};

/// Names of tables may be longer; this is enough to tell engines apart.
const TABLE_NAME_LIMIT: usize = 64;

const LOOPBACK: &str = "lo";
const LOOPBACK_NETWORK: [u8; 4] = [127, 0, 0, 0];
const LOOPBACK_PREFIX: u8 = 8;

const RAW: Hook = hook("filter", 0, -300);
const INCOMING: Hook = hook("nat", 0, -100);
const OUTGOING: Hook = hook("nat", 3, -100);
const LEAVING: Hook = hook("nat", 4, 100);
const FORWARD: Hook = hook("filter", 2, 0);

const fn hook(kind: &'static str, number: u32, priority: i32) -> Hook {
    Hook {
        kind,
        number,
        priority,
    }
}

/// Makes sure that the table `inet TABLE` serves this bridge, and that the host forwards. Ports that are published
/// stay so.
///
/// # Errors
/// When a table of that name is not one of berth's, or the kernel refuses.
pub fn ensure_table(table: &str, bridge: &BridgeConfig) -> Result<(), NetworkError> {
    ensure_networks(table, &[NetworkConfig::new(bridge.clone())])
}

/// A bridge, and what its containers may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkConfig {
    /// The bridge.
    pub bridge: BridgeConfig,
    /// Nothing goes out of the network or comes in.
    pub internal: bool,
    /// What goes out has an address of the host.
    pub masquerade: bool,
    /// The bridge's IPv6 address and the length of its prefix, in bits.
    pub ipv6: Option<(std::net::Ipv6Addr, u8)>,
}

impl NetworkConfig {
    /// An ordinary network.
    #[must_use]
    pub fn new(bridge: BridgeConfig) -> Self {
        Self {
            bridge,
            internal: false,
            masquerade: true,
            ipv6: None,
        }
    }

    fn subnet(&self) -> ([u8; 4], u32) {
        (self.bridge.network().octets(), mask(self.bridge.prefix_len))
    }
}

/// The same for several networks: those that are not among them are served no more.
///
/// # Errors
/// When a table of that name is not one of berth's, or the kernel refuses.
pub fn ensure_networks(table: &str, networks: &[NetworkConfig]) -> Result<(), NetworkError> {
    check_name("nftables table", table, TABLE_NAME_LIMIT)?;
    for network in networks {
        check_interface(&network.bridge.name)?;
    }
    let mut socket = open()?;
    refuse_foreign(&mut socket, table)?;
    let mut transaction = Transaction::new(table);
    transaction.table();
    transaction.map(&ANYWHERE);
    transaction.map(&SOMEWHERE);
    transaction.chain("raw", RAW, &raw(networks));
    transaction.chain("incoming", INCOMING, &translation());
    transaction.chain("outgoing", OUTGOING, &translation());
    transaction.chain("leaving", LEAVING, &leaving(networks));
    transaction.chain("forward", FORWARD, &forward(networks));
    transaction
        .commit(&mut socket)
        .map_err(NetworkError::kernel(format!(
            "making the nftables table {table:?}"
        )))?;
    forwarding::switch_on(&mut socket)
}

/// Packets that must not come in at all, before anything is translated.
fn raw(networks: &[NetworkConfig]) -> Vec<Vec<Expression>> {
    let loopback = mask(LOOPBACK_PREFIX);
    // The bridges route to 127.0.0.0/8; without this, neighbours would reach what listens there.
    let mut rules = vec![vec![
        Ipv4,
        CameFrom(LOOPBACK.to_owned(), Test::IsNot),
        To(LOOPBACK_NETWORK, loopback),
        Drop,
    ]];
    // Containers are reached by their published ports only.
    rules.extend(networks.iter().map(|network| {
        let (address, mask) = network.subnet();
        vec![
            Ipv4,
            CameFrom(network.bridge.name.clone(), Test::IsNot),
            CameFrom(LOOPBACK.to_owned(), Test::IsNot),
            To(address, mask),
            Drop,
        ]
    }));
    rules
}

/// The port of one address goes before that of all addresses.
fn translation() -> Vec<Vec<Expression>> {
    vec![
        vec![Ipv4, ToHost, TranslateByAddress(SOMEWHERE.name)],
        vec![Ipv4, ToHost, TranslateByPort(ANYWHERE.name)],
    ]
}

/// Sources that the other side could not answer get an address of the host.
fn leaving(networks: &[NetworkConfig]) -> Vec<Vec<Expression>> {
    let loopback = mask(LOOPBACK_PREFIX);
    let mut rules = Vec::new();
    for network in networks {
        let bridge = || network.bridge.name.clone();
        let (address, mask) = network.subnet();
        if network.masquerade && !network.internal {
            rules.push(vec![
                Ipv4,
                From(address, mask),
                GoesTo(bridge(), Test::IsNot),
                Masquerade,
            ]);
        }
        rules.push(vec![
            Ipv4,
            From(LOOPBACK_NETWORK, loopback),
            GoesTo(bridge(), Test::Is),
            Masquerade,
        ]);
        // By address, not by interface: a bridged packet has the bridge on both sides only sometimes.
        rules.push(vec![
            Ipv4,
            From(address, mask),
            To(address, mask),
            Translated,
            Masquerade,
        ]);
    }
    rules
}

/// New connections go out of a bridge, or come in by a translation. What is internal comes first: no other network's
/// rule lets it pass then.
fn forward(networks: &[NetworkConfig]) -> Vec<Vec<Expression>> {
    let mut rules = Vec::new();
    for network in networks.iter().filter(|network| network.internal) {
        let bridge = || network.bridge.name.clone();
        rules.push(vec![
            CameFrom(bridge(), Test::Is),
            GoesTo(bridge(), Test::IsNot),
            Drop,
        ]);
        rules.push(vec![
            GoesTo(bridge(), Test::Is),
            CameFrom(bridge(), Test::IsNot),
            Drop,
        ]);
    }
    for network in networks.iter().filter(|network| !network.internal) {
        let bridge = || network.bridge.name.clone();
        let to_bridge = || GoesTo(bridge(), Test::Is);
        rules.push(vec![to_bridge(), Established, Accept]);
        rules.push(vec![to_bridge(), Translated, Accept]);
        rules.push(vec![to_bridge(), CameFrom(bridge(), Test::IsNot), Drop]);
    }
    rules
}

fn refuse_foreign(socket: &mut Socket, table: &str) -> Result<Owner, NetworkError> {
    let found = owner(socket, table).map_err(NetworkError::kernel(format!(
        "looking up nftables table {table:?}"
    )))?;
    match found {
        Owner::Foreign => Err(NetworkError::TableTaken {
            name: table.to_owned(),
        }),
        Owner::Nobody | Owner::Ours => Ok(found),
    }
}

/// Removes the table with all published ports. The last table of the host takes along what was changed about
/// forwarding. A table that is not there is no error.
///
/// # Errors
/// When the table is not one of berth's, or the kernel refuses.
pub fn remove_table(table: &str) -> Result<(), NetworkError> {
    check_name("nftables table", table, TABLE_NAME_LIMIT)?;
    let mut socket = open()?;
    match refuse_foreign(&mut socket, table)? {
        Owner::Ours | Owner::Foreign => {
            let mut transaction = Transaction::new(table);
            transaction.delete_table();
            transaction
                .commit(&mut socket)
                .map_err(NetworkError::kernel(format!(
                    "removing the nftables table {table:?}"
                )))?;
        }
        Owner::Nobody => {}
    }
    forwarding::put_back(&mut socket)
}

/// Publishes ports, all or none. One that is published as asked for already is left alone.
///
/// # Errors
/// [`NetworkError::PortTaken`] when the port of the host leads to another container.
pub fn publish(table: &str, ports: &[Published]) -> Result<(), NetworkError> {
    let mut socket = open()?;
    let mut transaction = Transaction::new(table);
    for map in [&ANYWHERE, &SOMEWHERE] {
        transaction.add(map, &of_map(ports.iter(), map.name));
    }
    let Err(error) = transaction.commit(&mut socket) else {
        return Ok(());
    };
    if matches!(error.raw_os_error(), Some(libc::EEXIST | libc::EBUSY)) {
        let there = list(&mut socket, table)?;
        let taken = ports
            .iter()
            .find(|port| there.iter().any(|other| is_conflict(port, other)));
        if let Some(port) = taken {
            return Err(NetworkError::PortTaken {
                address: port.host_address,
                port: port.host_port,
            });
        }
    }
    Err(NetworkError::kernel(format!(
        "publishing ports in the nftables table {table:?}"
    ))(error))
}

fn is_conflict(port: &Published, other: &Published) -> bool {
    let place = |port: &Published| (port.protocol, port.host_address, port.host_port);
    place(port) == place(other) && port != other
}

fn of_map<'a>(ports: impl Iterator<Item = &'a Published>, map: &str) -> Vec<transaction::Element> {
    ports
        .filter(|port| port.map().name == map)
        .map(Published::element)
        .collect()
}

/// Takes ports back; what is not published, or leads to another container now, is left alone.
///
/// # Errors
/// When the kernel refuses.
pub fn unpublish(table: &str, ports: &[Published]) -> Result<(), NetworkError> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut socket = open()?;
    let there = list(&mut socket, table)?;
    let mut transaction = Transaction::new(table);
    for map in [&ANYWHERE, &SOMEWHERE] {
        let ours = there.iter().filter(|port| ports.contains(port));
        transaction.remove(map, &of_map(ours, map.name));
    }
    transaction
        .commit(&mut socket)
        .map_err(NetworkError::kernel(format!(
            "taking back ports in the nftables table {table:?}"
        )))
}

/// All published ports of the table, in order; none when there is no table.
///
/// # Errors
/// When the kernel refuses.
pub fn list_published(table: &str) -> Result<Vec<Published>, NetworkError> {
    list(&mut open()?, table)
}

fn list(socket: &mut Socket, table: &str) -> Result<Vec<Published>, NetworkError> {
    let mut found = Vec::new();
    for map in [&ANYWHERE, &SOMEWHERE] {
        match elements(socket, table, map) {
            Ok(elements) => found.extend(elements.iter().filter_map(Published::read)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(NetworkError::kernel(format!(
                    "listing the nftables table {table:?}"
                ))(error));
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Takes back every port of this container, also those that nobody remembers.
///
/// # Errors
/// When the kernel refuses.
pub fn unpublish_address(table: &str, address: Ipv4Addr) -> Result<(), NetworkError> {
    let mut ports = list_published(table)?;
    ports.retain(|port| port.address == address);
    unpublish(table, &ports)
}

/// Makes a table as somebody else would.
#[cfg(test)]
pub(crate) fn make_foreign_table(table: &str) -> io::Result<()> {
    let mut transaction = Transaction::new(table);
    transaction.foreign_table();
    transaction.commit(&mut open().map_err(io::Error::other)?)
}
