//! Forgetting the flows of an address that somebody else may get next.

use std::io;
use std::net::Ipv4Addr;

use super::error::NetworkError;
use super::message::Message;
use super::socket::{Family, Socket};

const IPCTNL_MSG_CT_DELETE: u16 = (1 << 8) | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;

/// Compare the source address of the tuple and nothing else.
const SOURCE_ONLY: u32 = 1;

const AF_INET: u8 = 2;

/// Forgets all flows from and to `address`, also those that were translated to it: a datagram that still comes for
/// its last owner must not reach the next one.
///
/// # Errors
/// When the kernel does not track connections or refuses.
pub fn forget_flows(address: Ipv4Addr) -> Result<(), NetworkError> {
    let doing = format!("forgetting the flows of {address}");
    let mut socket = Socket::open(Family::Netfilter).map_err(NetworkError::kernel(&doing))?;
    for (tuple, orig, reply) in [
        (CTA_TUPLE_ORIG, SOURCE_ONLY, 0),
        (CTA_TUPLE_REPLY, 0, SOURCE_ONLY),
    ] {
        let request = Message::new(IPCTNL_MSG_CT_DELETE, 0)
            .fixed(&[AF_INET, 0, 0, 0])
            .nested(tuple, |tuple| {
                tuple.nested(CTA_TUPLE_IP, |ip| ip.attribute(CTA_IP_V4_SRC, &address.octets()))
            })
            .nested(CTA_FILTER, |filter| {
                filter
                    .attribute(CTA_FILTER_ORIG_FLAGS, &orig.to_ne_bytes())
                    .attribute(CTA_FILTER_REPLY_FLAGS, &reply.to_ne_bytes())
            });
        match socket.request(request) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(NetworkError::kernel(&doing))?,
        }
    }
    Ok(())
}
