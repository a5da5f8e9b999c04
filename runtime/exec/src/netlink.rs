//! The host's bridge, and the network namespaces of containers: made by netlink messages, without any other program.

mod conntrack;
mod error;
mod inside;
mod message;
mod route;
mod route6;
mod setting;
mod socket;
mod subnets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, unshare};

pub use berth_plan::{Endpoint, Endpoint6};
pub use conntrack::forget_flows;
pub use error::NetworkError;
pub(crate) use inside::in_namespace;
pub use inside::{join, namespace_of, reroute};
pub(crate) use message::{Message, attribute, attributes, text};
use route::Link;
pub(crate) use setting::{get as get_setting, set as set_setting};
pub(crate) use socket::{Family, Socket};
pub use subnets::{Taken, taken_subnets};

/// The kernel's limit for the name of an interface, in bytes.
const INTERFACE_NAME_LIMIT: usize = 15;

/// The longest prefix that leaves room for a gateway and one container.
const LONGEST_PREFIX: u8 = 30;

/// The shortest prefix that is taken for a private network and not a mistake.
const SHORTEST_PREFIX: u8 = 8;

/// What a published port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// The bridge of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// The interface, at most 15 bytes.
    pub name: String,
    /// The bridge's own address: the gateway of its containers.
    pub address: Ipv4Addr,
    /// The length of the subnet's prefix, in bits.
    pub prefix_len: u8,
}

impl BridgeConfig {
    /// The first address of the subnet.
    #[must_use]
    pub fn network(&self) -> Ipv4Addr {
        masked(self.address, self.prefix_len)
    }

    fn check(&self) -> Result<(), NetworkError> {
        check_interface(&self.name)?;
        let network = self.network();
        let last = Ipv4Addr::from(u32::from(network) | !mask(self.prefix_len));
        if !(SHORTEST_PREFIX..=LONGEST_PREFIX).contains(&self.prefix_len)
            || self.address == network
            || self.address == last
            || self.address.is_loopback()
            || self.address.is_multicast()
        {
            return Err(NetworkError::Address {
                address: self.address,
                prefix_len: self.prefix_len,
            });
        }
        Ok(())
    }
}

pub(crate) fn mask(prefix_len: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix_len.min(32)))
        .unwrap_or(0)
}

pub(crate) fn masked(address: Ipv4Addr, prefix_len: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(address) & mask(prefix_len))
}

/// Names become parts of paths below `/proc/sys`.
pub(crate) fn check_interface(name: &str) -> Result<(), NetworkError> {
    check_name("interface", name, INTERFACE_NAME_LIMIT)
}

pub(crate) fn check_name(kind: &'static str, name: &str, limit: usize) -> Result<(), NetworkError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    if (1..=limit).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(known) {
        Ok(())
    } else {
        Err(NetworkError::Name {
            kind,
            name: name.to_owned(),
            limit,
        })
    }
}

/// Makes sure that the bridge is there, has its address and is up. Says whether it was made.
///
/// # Errors
/// When the name belongs to something else, the bridge has another address, or another interface has addresses of the
/// subnet.
pub fn ensure_bridge(bridge: &BridgeConfig) -> Result<bool, NetworkError> {
    bridge.check()?;
    let name = &bridge.name;
    let failed = || NetworkError::kernel(format!("making the bridge {name:?}"));
    let mut socket = Socket::open(Family::Route).map_err(failed())?;
    let found = route::link(&mut socket, name).map_err(failed())?;
    if found.as_ref().is_some_and(|link| link.kind != "bridge") {
        return Err(NetworkError::WrongKind {
            name: name.clone(),
            wanted: "bridge",
        });
    }
    check_addresses(&mut socket, bridge, found.as_ref())?;
    if found.is_none() {
        route::add_bridge(&mut socket, name, bridge_mac(bridge.address)).map_err(failed())?;
    }
    let index = index(&mut socket, name)?;
    // Before it is up: else it takes an IPv6 address of its own and listens to router advertisements.
    setting::set_if_there(&format!("net/ipv6/conf/{name}/disable_ipv6"), "1")?;
    // Connections from 127.0.0.1 to a published port are routed to the bridge; the table drops what would abuse it.
    setting::set(&format!("net/ipv4/conf/{name}/route_localnet"), "1")?;
    route::add_address(&mut socket, index, bridge.address, bridge.prefix_len).map_err(failed())?;
    route::set_up(&mut socket, index).map_err(failed())?;
    Ok(found.is_none())
}

/// A bridge without an address of its own takes the lowest one of its ports, which come and go.
fn bridge_mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

fn check_addresses(
    socket: &mut Socket,
    bridge: &BridgeConfig,
    found: Option<&Link>,
) -> Result<(), NetworkError> {
    let failed = || NetworkError::kernel("listing the addresses of the host");
    let links = route::links(socket).map_err(failed())?;
    for other in route::addresses(socket).map_err(failed())? {
        let taken = format!("{}/{}", other.address, other.prefix_len);
        let shorter = bridge.prefix_len.min(other.prefix_len);
        if found.is_some_and(|link| link.index == other.index) {
            if (other.address, other.prefix_len) != (bridge.address, bridge.prefix_len) {
                return Err(NetworkError::BridgeAddress {
                    name: bridge.name.clone(),
                    found: taken,
                    wanted: format!("{}/{}", bridge.address, bridge.prefix_len),
                });
            }
        } else if masked(other.address, shorter) == masked(bridge.address, shorter) {
            let link = links.iter().find(|link| link.index == other.index);
            return Err(NetworkError::SubnetTaken {
                subnet: format!("{}/{}", bridge.network(), bridge.prefix_len),
                taken,
                interface: link.map(|link| link.name.clone()).unwrap_or_default(),
            });
        }
    }
    Ok(())
}

/// Removes the bridge; one that is not there is no error.
///
/// # Errors
/// When the name belongs to something else, or the kernel refuses.
pub fn remove_bridge(name: &str) -> Result<(), NetworkError> {
    remove(name, "bridge")
}

/// Removes the host's end of a container's pair, and so both; one that is not there is no error. The end of the
/// namespace does the same: this is for a pair that must be gone now.
///
/// # Errors
/// When the name belongs to something else, or the kernel refuses.
pub fn disconnect(host_interface: &str) -> Result<(), NetworkError> {
    remove(host_interface, "veth")
}

fn remove(name: &str, kind: &'static str) -> Result<(), NetworkError> {
    check_interface(name)?;
    let failed = || NetworkError::kernel(format!("removing the interface {name:?}"));
    let mut socket = Socket::open(Family::Route).map_err(failed())?;
    let Some(link) = route::link(&mut socket, name).map_err(failed())? else {
        return Ok(());
    };
    if link.kind != kind {
        return Err(NetworkError::WrongKind {
            name: name.to_owned(),
            wanted: kind,
        });
    }
    match route::delete(&mut socket, link.index) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result.map_err(failed()),
    }
}

fn index(socket: &mut Socket, name: &str) -> Result<u32, NetworkError> {
    let found =
        route::link(socket, name).map_err(NetworkError::kernel(format!("looking up interface {name:?}")))?;
    found
        .map(|link| link.index)
        .ok_or_else(|| NetworkError::NoInterface {
            name: name.to_owned(),
        })
}

/// Gives a bridge an IPv6 address too: the gateway of its containers. What passes through the host is not changed.
///
/// # Errors
/// When the kernel has no IPv6, or refuses.
pub fn add_ipv6(bridge: &str, address: std::net::Ipv6Addr, prefix_len: u8) -> Result<(), NetworkError> {
    check_interface(bridge)?;
    let failed = || NetworkError::kernel(format!("giving the bridge {bridge:?} the address {address}"));
    let mut socket = Socket::open(Family::Route).map_err(failed())?;
    let index = index(&mut socket, bridge)?;
    setting::set(&format!("net/ipv6/conf/{bridge}/accept_ra"), "0")?;
    setting::set(&format!("net/ipv6/conf/{bridge}/disable_ipv6"), "0")?;
    route6::add_address(&mut socket, index, address, prefix_len).map_err(failed())
}

/// Makes a network namespace with `lo` and an interface that is a port of the bridge with its address and the
/// default route.
///
/// # Errors
/// When the bridge is not there or the kernel refuses; nothing is left behind then.
pub fn connect(endpoint: &Endpoint) -> Result<OwnedFd, NetworkError> {
    check_interface(&endpoint.bridge)?;
    check_interface(&endpoint.host_interface)?;
    let failed = || NetworkError::kernel("connecting the container to its bridge");
    // A socket stays in the namespace that it was opened in.
    let mut host = Socket::open(Family::Route).map_err(failed())?;
    let bridge = index(&mut host, &endpoint.bridge)?;
    let hairpin = bridged_packets_are_translated()?;
    in_new_namespace(move |namespace| {
        let mut inside = Socket::open(Family::Route).map_err(failed())?;
        route::set_up(&mut inside, route::LOOPBACK).map_err(failed())?;
        inside::plug(
            &mut host,
            &mut inside,
            endpoint,
            (bridge, hairpin),
            (namespace, true),
        )
    })
}

/// Bridged packets pass the translation too: one that returns to its sender leaves by the port it came from.
fn bridged_packets_are_translated() -> Result<bool, NetworkError> {
    Ok(setting::get("net/bridge/bridge-nf-call-iptables")?.as_deref() == Some("1"))
}

/// The pair of the container's last run may still be there: the kernel takes namespaces down in the background.
fn add_port(
    host: &mut Socket,
    endpoint: &Endpoint,
    bridge: u32,
    namespace: BorrowedFd<'_>,
) -> Result<(), NetworkError> {
    let name = &endpoint.host_interface;
    let peer = &endpoint.interface;
    let mut add = || route::add_pair(host, name, bridge, peer, endpoint.mac, namespace);
    let failed = || NetworkError::kernel(format!("making the interface {name:?}"));
    match add() {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {
            // The host's socket asks, the calling thread is in the new namespace already.
            let stale = route::link(host, name).map_err(failed())?;
            match stale {
                Some(link) if link.kind == "veth" => {
                    let gone = route::delete(host, link.index);
                    if gone
                        .as_ref()
                        .is_err_and(|error| error.raw_os_error() != Some(libc::ENODEV))
                    {
                        return gone.map_err(failed());
                    }
                }
                Some(_) => return Err(failed()(io::Error::from_raw_os_error(libc::EEXIST))),
                None => {}
            }
            route::add_pair(host, name, bridge, peer, endpoint.mac, namespace).map_err(failed())
        }
        result => result.map_err(failed()),
    }
}

/// Makes a network namespace with nothing but `lo`.
///
/// # Errors
/// When the kernel refuses.
pub fn lonely() -> Result<OwnedFd, NetworkError> {
    in_new_namespace(|_| {
        let failed = || NetworkError::kernel("making a network namespace");
        let mut inside = Socket::open(Family::Route).map_err(failed())?;
        route::set_up(&mut inside, route::LOOPBACK).map_err(failed())
    })
}

/// A thread of its own enters the new namespace and ends: no other thread of the process ever leaves the host's.
fn in_new_namespace(
    fill: impl FnOnce(BorrowedFd<'_>) -> Result<(), NetworkError> + Send,
) -> Result<OwnedFd, NetworkError> {
    let failed = || NetworkError::kernel("making a network namespace");
    let work = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| failed()(errno.into()))?;
        let namespace: OwnedFd = File::open("/proc/thread-self/ns/net").map_err(failed())?.into();
        for scope in ["default", "all"] {
            setting::set_if_there(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1")?;
        }
        fill(namespace.as_fd())?;
        Ok(namespace)
    };
    inside::in_own_thread(work, failed)
}
