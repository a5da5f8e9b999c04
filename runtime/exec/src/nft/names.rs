//! In the network namespace of a container: what is sent to the resolver's address goes to the sockets of the engine.

use std::net::Ipv4Addr;

use super::OUTGOING;
use super::expression::Expression::{Ipv4, TranslateByAddress};
use super::published::{Published, SOMEWHERE};
use super::transaction::{Transaction, open};
use crate::netlink::{NetworkError, Protocol};

/// The table. A container that may change its own network may change this too.
const TABLE: &str = "berth_names";

/// The port of name servers.
const PORT: u16 = 53;

/// Leads port 53 of `address` to these ports of it, in the network namespace of the calling thread. What led there
/// before does so no more.
pub(crate) fn lead_names(address: Ipv4Addr, datagrams: u16, streams: u16) -> Result<(), NetworkError> {
    let failed = || NetworkError::kernel("leading the container to its resolver");
    let mut socket = open()?;
    let mut transaction = Transaction::new(TABLE);
    transaction.table();
    transaction.delete_table();
    transaction.table();
    transaction.map(&SOMEWHERE);
    transaction.chain(
        "outgoing",
        OUTGOING,
        &[vec![Ipv4, TranslateByAddress(SOMEWHERE.name)]],
    );
    let elements = [(Protocol::Udp, datagrams), (Protocol::Tcp, streams)].map(|(protocol, port)| {
        let published = Published {
            protocol,
            host_address: address,
            host_port: PORT,
            address,
            port,
        };
        published.element()
    });
    transaction.add(&SOMEWHERE, &elements);
    transaction.commit(&mut socket).map_err(failed())
}
