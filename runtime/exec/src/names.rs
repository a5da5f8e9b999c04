//! The sockets on which the engine answers questions about names: they are in the container's network, and nobody else
//! can reach them.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::BorrowedFd;

use crate::netlink::{NetworkError, in_namespace};
use crate::nft;

/// Where a container finds its resolver.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// The resolver's sockets in one container.
#[derive(Debug)]
pub struct NameSockets {
    /// For questions in datagrams.
    pub datagrams: UdpSocket,
    /// For questions in streams.
    pub streams: TcpListener,
}

/// Opens the sockets in a network namespace, on ports of their own: a container may use port 53 itself.
///
/// # Errors
/// When the kernel refuses.
pub fn open_names(namespace: BorrowedFd<'_>) -> Result<NameSockets, NetworkError> {
    in_namespace(namespace, || {
        let failed = || NetworkError::kernel("opening the sockets of the resolver");
        let any = SocketAddrV4::new(RESOLVER, 0);
        let datagrams = UdpSocket::bind(any).map_err(failed())?;
        let streams = TcpListener::bind(any).map_err(failed())?;
        datagrams.set_nonblocking(true).map_err(failed())?;
        streams.set_nonblocking(true).map_err(failed())?;
        let ports = (
            datagrams.local_addr().map_err(failed())?.port(),
            streams.local_addr().map_err(failed())?.port(),
        );
        nft::lead_names(RESOLVER, ports.0, ports.1)?;
        Ok(NameSockets { datagrams, streams })
    })
}
