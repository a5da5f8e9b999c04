//! How a member comes to be: alone, under the identity that its data directory holds.

use crate::disk::Identity;
use crate::error::NodeError;
use berth_replica::{Limits, ReplicaConfig};
use rustix::rand::{GetRandomFlags, getrandom};
use std::io;

/// The store's index before the first write of a client. A fresh single member of etcd stands there, because its own
/// records (peer URLs, name and client URLs, cluster version) took these indexes, and clients' tests count on it.
pub(crate) const FIRST_INDEX: u64 = 3;

/// The settings of the one member of a cluster of one.
pub(crate) fn replica_config(identity: &Identity, snapshot_count: u64) -> Result<ReplicaConfig, NodeError> {
    Ok(ReplicaConfig {
        id: identity.member,
        voters: vec![identity.member],
        incarnation: random()?,
        seed: random()?,
        limits: Limits {
            snapshot_count,
            ..Limits::default()
        },
    })
}

/// A number that no other start of any member has.
fn random() -> Result<u64, NodeError> {
    let mut bytes = [0; 8];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|errno| NodeError::Random(io::Error::from(errno)))?;
    if filled < bytes.len() {
        return Err(NodeError::Random(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(u64::from_ne_bytes(bytes))
}
