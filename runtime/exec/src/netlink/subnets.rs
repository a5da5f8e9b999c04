//! The subnets that the host itself uses: a network of containers must not hide them.

use std::net::Ipv4Addr;

use super::error::NetworkError;
use super::message::{Message, attribute, word};
use super::route::{self, RTM_NEWROUTE};
use super::socket::{Answer, Family, Socket};

const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_TABLE: u16 = 15;
const AF_INET: u8 = 2;
const RT_TABLE_MAIN: u32 = 254;

/// A subnet that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// An address of it.
    pub address: Ipv4Addr,
    /// The length of its prefix, in bits; not 0.
    pub prefix_len: u8,
}

/// The subnets of the host's interfaces and routes, but for the default route.
///
/// # Errors
/// When the kernel refuses.
pub fn taken_subnets() -> Result<Vec<Taken>, NetworkError> {
    let failed = || NetworkError::kernel("listing the routes of the host");
    let mut socket = Socket::open(Family::Route).map_err(failed())?;
    let addresses = route::addresses(&mut socket).map_err(failed())?;
    let mut taken: Vec<Taken> = addresses
        .iter()
        .map(|found| Taken {
            address: found.address,
            prefix_len: found.prefix_len,
        })
        .collect();
    let mut fixed = [0; 12];
    fixed[0] = AF_INET;
    let routes = socket
        .dump(|| Message::new(RTM_GETROUTE, 0).fixed(&fixed))
        .map_err(failed())?;
    taken.extend(routes.iter().filter_map(read_route));
    taken.retain(|subnet| subnet.prefix_len > 0);
    Ok(taken)
}

fn read_route(answer: &Answer) -> Option<Taken> {
    if answer.kind != RTM_NEWROUTE {
        return None;
    }
    let parts = answer.payload.get(12..)?;
    let table = attribute(parts, RTA_TABLE).and_then(|table| word(table, 0));
    if table != Some(RT_TABLE_MAIN) {
        return None;
    }
    let octets: [u8; 4] = attribute(parts, RTA_DST)?.try_into().ok()?;
    Some(Taken {
        address: Ipv4Addr::from(octets),
        prefix_len: *answer.payload.get(1)?,
    })
}
