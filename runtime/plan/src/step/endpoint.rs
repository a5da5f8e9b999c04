//! A place in a network.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// The network of one container on a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The bridge that it is a port of.
    pub bridge: String,
    /// The host's end of the pair, at most 15 bytes.
    pub host_interface: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// The length of the subnet's prefix, in bits.
    pub prefix_len: u8,
    /// The bridge's own address.
    pub gateway: Ipv4Addr,
    /// The container's hardware address.
    pub mac: [u8; 6],
    /// The name of the container's end.
    #[serde(default = "first_interface", skip_serializing_if = "is_first")]
    pub interface: String,
    /// Everything outside of the subnet goes to the gateway.
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub routed: bool,
    /// Reaches no other port of the bridge.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// Its place in the network's IPv6 subnet; IPv6 is off without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Endpoint6>,
}

/// The IPv6 part of a container's place in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint6 {
    /// The container's address.
    pub address: Ipv6Addr,
    /// The length of the subnet's prefix, in bits.
    pub prefix_len: u8,
    /// The bridge's own address.
    pub gateway: Ipv6Addr,
}

fn first_interface() -> String {
    "eth0".to_owned()
}

fn is_first(name: &str) -> bool {
    name == first_interface()
}

fn yes() -> bool {
    true
}
