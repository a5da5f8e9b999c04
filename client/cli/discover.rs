//! The members of a store by the SRV records of a domain, for commands that talk to it.

use std::net::SocketAddr;

use berth_node::SrvDiscovery;
use tokio::runtime::Runtime;

use crate::exit::{Failure, NO_STORE};

/// The client URLs that `_etcd-client._tcp.DOMAIN` and its like with TLS name, separated by commas.
pub(crate) fn endpoints(
    runtime: &Runtime,
    domain: String,
    dns_server: Option<SocketAddr>,
) -> Result<String, Failure> {
    let discovery = SrvDiscovery {
        domain,
        service_name: None,
        dns_server,
    };
    let urls = runtime.block_on(discovery.clients());
    Ok(urls.map_err(|error| Failure::new(NO_STORE, error))?.join(","))
}
