//! What a node is started with.

use crate::bootstrap::SrvDiscovery;
use crate::error::BootstrapError;
use crate::tls::NodeTls;
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
    /// Where clients are served without TLS; port 0 takes a free one, see [`crate::Node::client_addrs`].
    pub client_listen: Vec<SocketAddr>,
    /// Where other members are served; `None` binds nothing. A member of a cluster of several needs one.
    pub peer_listen: Option<SocketAddr>,
    /// The URLs that members and machines lists tell clients; if empty, the addresses that are listened on.
    pub advertise_client_urls: Vec<String>,
    /// The URLs that the members list tells other members; if empty, the address that is listened on.
    pub advertise_peer_urls: Vec<String>,
    /// The members that form the cluster; `None`: this one alone. It counts at the first start only.
    pub initial_cluster: Option<InitialCluster>,
    /// A directory in another store where the members that form the cluster find each other. It counts at the first start only.
    pub discovery: Option<String>,
    /// A domain whose SRV records name the members, the token of the cluster, and whether it is there already. It counts at the
    /// first start only.
    pub discovery_srv: Option<(SrvDiscovery, String, bool)>,
    /// Entries applied between two snapshots.
    pub snapshot_count: u64,
    /// Time between two heartbeats of a leader; at least a millisecond.
    pub heartbeat: Duration,
    /// The shortest time without a heartbeat after which another leader is looked for.
    pub election_timeout: Duration,
    /// Origins whose pages may read answers: `SCHEME://HOST[:PORT]`, or `*` for all. Empty sends no headers of CORS.
    pub cors: Vec<String>,
    /// What clients may hold open.
    pub clients: ClientLimits,
    /// Certificates, and what is served with them.
    pub tls: NodeTls,
    /// What `PUT /config/local/log` does; `None` refuses it.
    pub set_log_level: Option<SetLogLevel>,
}

/// What clients may hold open, of all ports together where nothing else is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections; more wait in the kernel's queue until others end. A low limit of open files lowers it.
    pub connections: usize,
    /// Connections from one address (of IPv6, one /64 network); another one is closed at once.
    pub connections_per_address: usize,
    /// Watches; another one is refused with 503. Each costs a connection, and some hundred bytes beside.
    pub watches: usize,
}

impl Default for ClientLimits {
    /// Enough for ten thousand watchers behind one address, and no address can take all the places.
    fn default() -> ClientLimits {
        ClientLimits {
            connections: 20_000,
            connections_per_address: 16_000,
            watches: 20_000,
        }
    }
}

/// The members that form a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialCluster {
    /// All of them, the one being started too.
    pub members: Vec<InitialMember>,
    /// Tells clusters apart that are formed at the same URLs.
    pub token: String,
    /// The cluster is there already, and this member joins it.
    pub existing: bool,
}

/// A member that forms a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitialMember {
    /// Its name.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
}

impl InitialCluster {
    /// Reads `NAME=URL[,NAME=URL..]`; a name that stands there several times has several URLs.
    ///
    /// # Errors
    /// When a part is not of this form.
    pub fn parse(text: &str) -> Result<Vec<InitialMember>, BootstrapError> {
        let mut members: Vec<InitialMember> = Vec::new();
        for part in text.split(',') {
            let split = part.trim().split_once('=');
            let (name, url) = split
                .filter(|(name, url)| !name.is_empty() && !url.is_empty())
                .ok_or_else(|| BootstrapError::Form {
                    part: part.to_owned(),
                })?;
            let url = url.to_owned();
            match members.iter_mut().find(|member| member.name == name) {
                Some(member) => member.peer_urls.push(url),
                None => members.push(InitialMember {
                    name: name.to_owned(),
                    peer_urls: vec![url],
                }),
            }
        }
        Ok(members)
    }
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
