//! What can go wrong with the network of the host.

use std::io;
use std::net::Ipv4Addr;

use super::Protocol;

/// A failure of the network part.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refused.
    #[error("{doing}: {source}")]
    Kernel {
        /// What was being done, naming the thing.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The kernel's answer could not be understood.
    #[error("{doing}: the kernel's answer is not understood")]
    Malformed {
        /// What was being done.
        doing: String,
    },
    /// A name that cannot be used for an interface or a table.
    #[error("{kind} name {name:?} is not valid: 1 to {limit} letters, digits, `_`, `-` or `.` are allowed")]
    Name {
        /// Interface or table.
        kind: &'static str,
        /// The name.
        name: String,
        /// The most bytes it may have.
        limit: usize,
    },
    /// An address that cannot be the bridge's.
    #[error("{address}/{prefix_len} cannot be the address of a bridge")]
    Address {
        /// The address.
        address: Ipv4Addr,
        /// The length of its prefix in bits.
        prefix_len: u8,
    },
    /// Something else has the name.
    #[error("interface {name:?} exists and is not a {wanted}")]
    WrongKind {
        /// The interface.
        name: String,
        /// What it would have to be.
        wanted: &'static str,
    },
    /// The bridge is there with another address.
    #[error("bridge {name:?} exists with the address {found}, not {wanted}")]
    BridgeAddress {
        /// The bridge.
        name: String,
        /// What it has.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// Another interface uses addresses of the subnet.
    #[error("subnet {subnet} overlaps with {taken} of interface {interface:?}")]
    SubnetTaken {
        /// The subnet asked for.
        subnet: String,
        /// What is there.
        taken: String,
        /// Where it is.
        interface: String,
    },
    /// No such interface.
    #[error("no interface {name:?}")]
    NoInterface {
        /// Its name.
        name: String,
    },
    /// A table of that name is somebody else's.
    #[error("nftables table {name:?} exists and is not one of berth's")]
    TableTaken {
        /// The table.
        name: String,
    },
    /// The port is reserved by another container or used by a program.
    #[error("Bind for {address}:{port} failed: port is already allocated")]
    PortTaken {
        /// The address asked for.
        address: Ipv4Addr,
        /// The port asked for.
        port: u16,
    },
    /// The port cannot be reserved for another reason.
    #[error("cannot reserve port {address}:{port}/{protocol}: {source}")]
    Port {
        /// The address asked for.
        address: Ipv4Addr,
        /// The port asked for.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A kernel setting could not be read or written.
    #[error("kernel setting {path}: {source}")]
    Setting {
        /// The file below `/proc/sys`.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl NetworkError {
    /// Names what was being done when the kernel refused.
    pub(crate) fn kernel(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Kernel { doing, source }
    }
}
