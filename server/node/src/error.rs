//! Why a node cannot start.

use crate::disk::DiskError;
use berth_replica::ReplicaError;
use std::io;
use std::net::SocketAddr;

/// A node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No client address was given.
    #[error("no client address to listen on")]
    NoAddress,
    /// An address cannot be listened on: in use, not of this machine, or not permitted.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The data directory is in use, damaged, or cannot be read or written.
    #[error("cannot open the data directory")]
    Disk(#[from] DiskError),
    /// What the disk held does not make a member.
    #[error("cannot go on from what the data directory holds")]
    Replica(#[from] ReplicaError),
    /// The member does not lead: its data belong to a cluster of several members.
    #[error("no leader: clusters of more than one member are not supported yet")]
    NoLeader,
    /// The event loop's thread did not start.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    /// The system has no random numbers.
    #[error("cannot read random numbers")]
    Random(#[source] io::Error),
    /// The event loop ended while it was starting.
    #[error("the event loop ended while it was starting")]
    Ended,
}
