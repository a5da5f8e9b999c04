//! The messages about links, addresses and routes.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::message::{Message, attribute, text, word};
use super::socket::{Answer, Socket};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
pub(super) const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;

const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const VETH_INFO_PEER: u16 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const IFF_UP: u32 = 1;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// The loopback interface is the first of every network namespace.
pub(crate) const LOOPBACK: u32 = 1;

/// What is known about an interface.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `bridge`, `veth`; empty for a device.
    pub(crate) kind: String,
}

/// An IPv4 address of an interface.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    pub(crate) index: u32,
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_len: u8,
}

fn interface(family: u8, index: u32, flags: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = family;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

/// Makes a bridge without spanning tree: its ports forward at once. It is not up yet.
pub(crate) fn add_bridge(socket: &mut Socket, name: &str, mac: [u8; 6]) -> io::Result<()> {
    socket.request(
        Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
            .fixed(&interface(0, 0, 0))
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_ADDRESS, &mac)
            .nested(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_KIND, "bridge")
                    .nested(IFLA_INFO_DATA, |data| {
                        data.attribute(IFLA_BR_STP_STATE, &0_u32.to_ne_bytes())
                            .attribute(IFLA_BR_FORWARD_DELAY, &0_u32.to_ne_bytes())
                            .attribute(IFLA_BR_MCAST_SNOOPING, &[0])
                    })
            }),
    )
}

/// Makes a pair whose one end is a port of `bridge` and up, and whose other end is `peer` in another namespace.
pub(crate) fn add_pair(
    socket: &mut Socket,
    name: &str,
    bridge: u32,
    peer: &str,
    peer_mac: [u8; 6],
    namespace: BorrowedFd<'_>,
) -> io::Result<()> {
    socket.request(
        Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
            .fixed(&interface(0, 0, IFF_UP))
            .text(IFLA_IFNAME, name)
            .attribute(IFLA_MASTER, &bridge.to_ne_bytes())
            .nested(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_KIND, "veth").nested(IFLA_INFO_DATA, |data| {
                    // The peer may not be up in this message: the kernel says ENOTCONN.
                    data.nested(VETH_INFO_PEER, |end| {
                        end.fixed(&interface(0, 0, 0))
                            .text(IFLA_IFNAME, peer)
                            .attribute(IFLA_ADDRESS, &peer_mac)
                            .attribute(IFLA_NET_NS_FD, &namespace.as_raw_fd().to_ne_bytes())
                    })
                })
            }),
    )
}

/// Whether a port of a bridge sends a frame back where it came from, and whether it reaches no other port.
pub(crate) fn set_port(socket: &mut Socket, port: u32, hairpin: bool, isolated: bool) -> io::Result<()> {
    socket.request(
        Message::new(RTM_SETLINK, 0)
            .fixed(&interface(AF_BRIDGE, port, 0))
            .nested(IFLA_PROTINFO, |info| {
                info.attribute(IFLA_BRPORT_MODE, &[u8::from(hairpin)])
                    .attribute(IFLA_BRPORT_ISOLATED, &[u8::from(isolated)])
            }),
    )
}

pub(crate) fn set_up(socket: &mut Socket, index: u32) -> io::Result<()> {
    socket.request(Message::new(RTM_NEWLINK, 0).fixed(&interface(0, index, IFF_UP)))
}

pub(crate) fn delete(socket: &mut Socket, index: u32) -> io::Result<()> {
    socket.request(Message::new(RTM_DELLINK, 0).fixed(&interface(0, index, 0)))
}

/// Looks an interface up by name.
pub(crate) fn link(socket: &mut Socket, name: &str) -> io::Result<Option<Link>> {
    let request = Message::new(RTM_GETLINK, 0)
        .fixed(&interface(0, 0, 0))
        .text(IFLA_IFNAME, name);
    match socket.get(request) {
        Ok(answers) => Ok(answers.iter().find_map(read_link)),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All interfaces.
pub(crate) fn links(socket: &mut Socket) -> io::Result<Vec<Link>> {
    let answers = socket.dump(|| Message::new(RTM_GETLINK, 0).fixed(&interface(0, 0, 0)))?;
    Ok(answers.iter().filter_map(read_link).collect())
}

fn read_link(answer: &Answer) -> Option<Link> {
    if answer.kind != RTM_NEWLINK {
        return None;
    }
    let parts = answer.payload.get(16..)?;
    let kind = attribute(parts, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
    Some(Link {
        index: word(&answer.payload, 4)?,
        name: text(attribute(parts, IFLA_IFNAME)?),
        kind: kind.map(text).unwrap_or_default(),
    })
}

/// Gives an interface an address; having it already is no error.
pub(crate) fn add_address(
    socket: &mut Socket,
    index: u32,
    address: Ipv4Addr,
    prefix_len: u8,
) -> io::Result<()> {
    let host_bits = u32::MAX.checked_shr(u32::from(prefix_len)).unwrap_or(0);
    let broadcast = Ipv4Addr::from(u32::from(address) | host_bits);
    let mut fixed = [AF_INET, prefix_len, 0, 0, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let request = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL)
        .fixed(&fixed)
        .attribute(IFA_LOCAL, &address.octets())
        .attribute(IFA_ADDRESS, &address.octets())
        .attribute(IFA_BROADCAST, &broadcast.octets());
    match socket.request(request) {
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
        result => result,
    }
}

/// The IPv4 addresses of all interfaces.
pub(crate) fn addresses(socket: &mut Socket) -> io::Result<Vec<LinkAddress>> {
    let answers = socket.dump(|| Message::new(RTM_GETADDR, 0).fixed(&[AF_INET, 0, 0, 0, 0, 0, 0, 0]))?;
    Ok(answers.iter().filter_map(read_address).collect())
}

fn read_address(answer: &Answer) -> Option<LinkAddress> {
    if answer.kind != RTM_NEWADDR {
        return None;
    }
    let parts = answer.payload.get(8..)?;
    let octets: [u8; 4] = attribute(parts, IFA_LOCAL)
        .or_else(|| attribute(parts, IFA_ADDRESS))?
        .try_into()
        .ok()?;
    Some(LinkAddress {
        index: word(&answer.payload, 4)?,
        address: Ipv4Addr::from(octets),
        prefix_len: *answer.payload.get(1)?,
    })
}

/// Sends everything that has no better route to `gateway`, and not where it went before.
pub(crate) fn set_default_route(socket: &mut Socket, gateway: Ipv4Addr, index: u32) -> io::Result<()> {
    const NLM_F_REPLACE: u16 = 0x100;
    let fixed = [
        AF_INET,
        0,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        0,
        RTN_UNICAST,
        0,
        0,
        0,
        0,
    ];
    socket.request(
        Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE)
            .fixed(&fixed)
            .attribute(RTA_GATEWAY, &gateway.octets())
            .attribute(RTA_OIF, &index.to_ne_bytes()),
    )
}
