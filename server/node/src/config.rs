//! What a node is started with.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The member's name in `/v2/members` and `/v2/stats/self`.
    pub name: String,
    /// Where log, snapshots and identity are kept; made if it is missing. One process at a time may use it.
    pub data_dir: PathBuf,
    /// Where clients are served; port 0 takes a free one, see [`crate::Node::client_addrs`].
    pub client_listen: Vec<SocketAddr>,
    /// Where other members would be served; `None` binds nothing. Clusters of more than one member are refused there.
    pub peer_listen: Option<SocketAddr>,
    /// The URLs that members and machines lists tell clients; if empty, the addresses that are listened on.
    pub advertise_client_urls: Vec<String>,
    /// Entries applied between two snapshots.
    pub snapshot_count: u64,
}
