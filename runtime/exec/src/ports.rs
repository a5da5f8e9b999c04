//! Ports of the host that belong to containers: a socket that is bound and never listens keeps everybody else away.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrAny, SocketFlags, SocketType, bind, getsockname, socket_with};

use crate::netlink::{NetworkError, Protocol};

/// A reserved port; it is free again when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    /// Never used, only held.
    _socket: OwnedFd,
    protocol: Protocol,
    address: SocketAddrV4,
}

impl Reservation {
    /// The port, also when any port was asked for.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address of the host, `0.0.0.0` for all.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        *self.address.ip()
    }

    /// The protocol.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}

/// Reserves a port of the host; 0 takes any free one of the local range.
///
/// # Errors
/// [`NetworkError::PortTaken`] when somebody has it; [`NetworkError::Port`] for an address that is not the host's.
pub fn reserve(protocol: Protocol, address: Ipv4Addr, port: u16) -> Result<Reservation, NetworkError> {
    let failed = |errno: Errno| match errno {
        Errno::ADDRINUSE => NetworkError::PortTaken { address, port },
        errno => NetworkError::Port {
            address,
            port,
            protocol,
            source: errno.into(),
        },
    };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    // Without SO_REUSEADDR on purpose: with it two sockets that do not listen could have the same port.
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None).map_err(failed)?;
    bind(&socket, &SocketAddrV4::new(address, port)).map_err(failed)?;
    let bound = getsockname(&socket).map_err(failed)?;
    let address = SocketAddrV4::try_from(bound as SocketAddrAny).map_err(|_| failed(Errno::AFNOSUPPORT))?;
    Ok(Reservation {
        _socket: socket,
        protocol,
        address,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener, UdpSocket};

    use super::reserve;
    use crate::netlink::{NetworkError, Protocol};

    #[test]
    fn a_reserved_port_is_nobody_elses() {
        let first = reserve(Protocol::Tcp, Ipv4Addr::LOCALHOST, 0).unwrap();
        assert_ne!(first.port(), 0);
        let second = reserve(Protocol::Tcp, Ipv4Addr::UNSPECIFIED, first.port()).unwrap_err();
        assert_eq!(
            second.to_string(),
            format!(
                "Bind for 0.0.0.0:{} failed: port is already allocated",
                first.port()
            )
        );
        assert!(matches!(second, NetworkError::PortTaken { .. }));
        TcpListener::bind((Ipv4Addr::LOCALHOST, first.port())).unwrap_err();
        let port = first.port();
        drop(first);
        reserve(Protocol::Tcp, Ipv4Addr::LOCALHOST, port).unwrap();
    }

    #[test]
    fn a_port_that_a_program_uses_is_taken() {
        let program = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = program.local_addr().unwrap().port();
        let error = reserve(Protocol::Tcp, Ipv4Addr::UNSPECIFIED, port).unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken { .. }));
        let program = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = program.local_addr().unwrap().port();
        let error = reserve(Protocol::Udp, Ipv4Addr::LOCALHOST, port).unwrap_err();
        assert!(matches!(error, NetworkError::PortTaken { .. }));
    }

    #[test]
    fn an_address_that_is_not_the_hosts_is_named() {
        let error = reserve(Protocol::Tcp, Ipv4Addr::new(203, 0, 113, 9), 0).unwrap_err();
        assert!(matches!(error, NetworkError::Port { .. }), "{error}");
    }
}
