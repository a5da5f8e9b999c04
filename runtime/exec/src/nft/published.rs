//! Published ports as elements of two maps: for one address of the host, and for all of them.

use std::net::Ipv4Addr;

use super::transaction::{Element, Map};
use crate::netlink::Protocol;

const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// Type numbers of nft, for listings.
const TYPE_ADDRESS: u32 = 7;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_BITS: u32 = 6;

/// Every part of a key or value takes whole words.
const WORD: usize = 4;

/// Protocol and port of the host, to address and port of a container.
pub(super) const ANYWHERE: Map = Map {
    name: "published",
    id: 1,
    key_type: (TYPE_PROTOCOL << TYPE_BITS) | TYPE_PORT,
    key_bytes: 8,
    data_type: (TYPE_ADDRESS << TYPE_BITS) | TYPE_PORT,
    data_bytes: 8,
};

/// Address, protocol and port of the host, to address and port of a container.
pub(super) const SOMEWHERE: Map = Map {
    name: "published_at",
    id: 2,
    key_type: (((TYPE_ADDRESS << TYPE_BITS) | TYPE_PROTOCOL) << TYPE_BITS) | TYPE_PORT,
    key_bytes: 12,
    data_type: ANYWHERE.data_type,
    data_bytes: 8,
};

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Published {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address of the host, `0.0.0.0` for all.
    pub host_address: Ipv4Addr,
    /// The port of the host.
    pub host_port: u16,
    /// The address of the container.
    pub address: Ipv4Addr,
    /// The port of the container.
    pub port: u16,
}

impl Published {
    /// The map that it belongs to.
    pub(super) fn map(&self) -> &'static Map {
        if self.host_address.is_unspecified() {
            &ANYWHERE
        } else {
            &SOMEWHERE
        }
    }

    pub(super) fn element(&self) -> Element {
        let mut key = Vec::with_capacity(3 * WORD);
        if !self.host_address.is_unspecified() {
            key.extend_from_slice(&self.host_address.octets());
        }
        key.extend_from_slice(&[protocol_number(self.protocol), 0, 0, 0]);
        key.extend_from_slice(&port_word(self.host_port));
        let mut data = self.address.octets().to_vec();
        data.extend_from_slice(&port_word(self.port));
        Element { key, data }
    }

    /// Reads an element of either map; `None` for what is not one of ours.
    pub(super) fn read(element: &Element) -> Option<Self> {
        let words = |bytes: &[u8]| -> Vec<[u8; WORD]> { bytes.as_chunks::<WORD>().0.to_vec() };
        let (host_address, protocol, host_port) = match words(&element.key).as_slice() {
            [protocol, port] => (Ipv4Addr::UNSPECIFIED, *protocol, *port),
            [address, protocol, port] => (Ipv4Addr::from(*address), *protocol, *port),
            _ => return None,
        };
        let protocol = match protocol[0] {
            IPPROTO_TCP => Protocol::Tcp,
            IPPROTO_UDP => Protocol::Udp,
            _ => return None,
        };
        let [address, port] = *words(&element.data).as_slice() else {
            return None;
        };
        Some(Self {
            protocol,
            host_address,
            host_port: u16::from_be_bytes([host_port[0], host_port[1]]),
            address: Ipv4Addr::from(address),
            port: u16::from_be_bytes([port[0], port[1]]),
        })
    }
}

fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
    }
}

fn port_word(port: u16) -> [u8; WORD] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::{ANYWHERE, Protocol, Published, SOMEWHERE};

    #[test]
    fn an_element_is_read_as_it_was_written() {
        for (host_address, map) in [
            (Ipv4Addr::UNSPECIFIED, &ANYWHERE),
            (Ipv4Addr::LOCALHOST, &SOMEWHERE),
        ] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let published = Published {
                    protocol,
                    host_address,
                    host_port: 8000,
                    address: Ipv4Addr::new(172, 29, 0, 2),
                    port: 80,
                };
                let element = published.element();
                assert_eq!(published.map().name, map.name);
                assert_eq!(element.key.len(), usize::try_from(map.key_bytes).unwrap());
                assert_eq!(element.data.len(), usize::try_from(map.data_bytes).unwrap());
                assert_eq!(Published::read(&element), Some(published));
            }
        }
    }
}
