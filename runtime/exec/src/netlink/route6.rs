//! The IPv6 messages about addresses and routes.

use std::io;
use std::net::Ipv6Addr;

use super::message::Message;
use super::route::{NLM_F_CREATE, RTM_NEWADDR, RTM_NEWROUTE};
use super::socket::Socket;

const NLM_F_REPLACE: u16 = 0x100;

const IFA_ADDRESS: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;

const AF_INET6: u8 = 10;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;

/// Used at once, without asking whether somebody has it: the engine gives every address away once.
const IFA_F_NODAD: u8 = 2;

/// Gives an interface an address; having it already is no error.
pub(crate) fn add_address(
    socket: &mut Socket,
    index: u32,
    address: Ipv6Addr,
    prefix_len: u8,
) -> io::Result<()> {
    let mut fixed = [AF_INET6, prefix_len, IFA_F_NODAD, 0, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let request = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE)
        .fixed(&fixed)
        .attribute(IFA_ADDRESS, &address.octets());
    socket.request(request)
}

/// Sends everything that has no better route to `gateway`, and not where it went before.
pub(crate) fn set_default_route(socket: &mut Socket, gateway: Ipv6Addr, index: u32) -> io::Result<()> {
    let fixed = [
        AF_INET6,
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
