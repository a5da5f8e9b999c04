//! What a node is started with.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    /// The URLs that the members list tells other members; if empty, the address that is listened on.
    pub advertise_peer_urls: Vec<String>,
    /// Entries applied between two snapshots.
    pub snapshot_count: u64,
    /// Time between two heartbeats of a leader; at least a millisecond.
    pub heartbeat: Duration,
    /// The shortest time without a heartbeat after which another leader is looked for.
    pub election_timeout: Duration,
    /// Origins whose pages may read answers: `SCHEME://HOST[:PORT]`, or `*` for all. Empty sends no headers of CORS.
    pub cors: Vec<String>,
    /// What `PUT /config/local/log` does; `None` refuses it.
    pub set_log_level: Option<SetLogLevel>,
}

/// A level of the log, as `/config/local/log` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// `CRITICAL` and `ERROR`.
    Error,
    /// `WARNING`.
    Warn,
    /// `NOTICE` and `INFO`.
    Info,
    /// `DEBUG`.
    Debug,
    /// `TRACE`.
    Trace,
}

/// Changes the level of the process' log, which belongs to whoever starts the node.
#[derive(Clone)]
pub struct SetLogLevel(Arc<dyn Fn(LogLevel) -> bool + Send + Sync>);

impl SetLogLevel {
    /// A way to change it; what it gives is whether it worked.
    pub fn new(set: impl Fn(LogLevel) -> bool + Send + Sync + 'static) -> SetLogLevel {
        SetLogLevel(Arc::new(set))
    }

    pub(crate) fn set(&self, level: LogLevel) -> bool {
        (self.0)(level)
    }
}

impl std::fmt::Debug for SetLogLevel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetLogLevel")
    }
}
