//! Flags of backup and restore, and of the gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::tls::GatewayTlsFlags;

/// Take a backup of a live store
///
/// One consistent image of one member: keys, hidden ones too, with their indexes and times to live, and the history
/// for watches. The file is checked while it comes in, is on the disk before it has its name, and never replaces another
/// one. It holds every write that was answered before the backup began.
#[derive(Debug, Clone, Args)]
pub(crate) struct BackupArgs {
    /// The file to make
    pub(crate) file: PathBuf,
    /// Take what a member has without a quorum; the last writes may be missing
    #[arg(long)]
    pub(crate) stale: bool,
}

/// Make the data directory of a new cluster from a backup
///
/// The member has new ids, so that members of the old cluster can never join it. For a cluster of several run it once
/// for each member, from the same file and with the same list, and start all of them with that list:
///
/// berth restore FILE --data-dir DIR --name a --initial-cluster a=http://HOST:2380,b=..,c=..
///
/// berth store --data-dir DIR --name a --listen-peer HOST:2380 --initial-cluster a=http://HOST:2380,b=..,c=..
#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) file: PathBuf,
    /// The directory to make; it must not be there yet, or be empty
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The member's name
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) name: String,
    /// All members that are restored from this file, this one too; without it the member is alone
    #[arg(long, value_name = "NAME=URL[,..]")]
    pub(crate) initial_cluster: Option<String>,
    /// Tells clusters apart that are restored from the same file to the same URLs; the same for all members
    #[arg(long, value_name = "TOKEN", default_value = "berth-cluster")]
    pub(crate) initial_cluster_token: String,
}

/// Run a gateway to a store
///
/// It keeps no keys: requests of clients go to a member that answers, watches stay open through it, and the list of
/// members is looked at again and again. Members are named with --endpoints, --initial-cluster or --discovery-srv.
#[derive(Debug, Clone, Args)]
pub(crate) struct ProxyArgs {
    /// Addresses for clients, separated by commas; port 0 takes a free one
    #[arg(
        long,
        visible_alias = "listen-client-urls",
        env = "BERTH_LISTEN_CLIENT",
        value_name = "HOST:PORT[,..]",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379,127.0.0.1:4001"
    )]
    pub(crate) listen_client: Vec<String>,
    /// Members by the addresses that they have for each other, in place of --endpoints
    #[arg(long, env = "BERTH_INITIAL_CLUSTER", value_name = "NAME=URL[,..]")]
    pub(crate) initial_cluster: Option<String>,
    /// Domain whose SRV records (_etcd-client._tcp) name the members, in place of --endpoints
    #[arg(long, env = "BERTH_DISCOVERY_SRV", value_name = "DOMAIN")]
    pub(crate) discovery_srv: Option<String>,
    /// Of several clusters of the domain: _etcd-client-NAME._tcp
    #[arg(long, env = "BERTH_DISCOVERY_SRV_NAME", value_name = "NAME")]
    pub(crate) discovery_srv_name: Option<String>,
    /// Server that is asked for the records; those of /etc/resolv.conf unless given
    #[arg(long, env = "BERTH_DNS_SERVER", value_name = "IP:PORT")]
    pub(crate) dns_server: Option<SocketAddr>,
    /// Let only GET through
    #[arg(long, env = "BERTH_PROXY_READ_ONLY")]
    pub(crate) read_only: bool,
    /// Milliseconds that a member which failed is not tried again
    #[arg(
        long,
        env = "BERTH_PROXY_FAILURE_WAIT",
        value_name = "MS",
        default_value_t = 5_000
    )]
    pub(crate) failure_wait: u64,
    /// Milliseconds between two looks at the list of members
    #[arg(
        long,
        env = "BERTH_PROXY_REFRESH_INTERVAL",
        value_name = "MS",
        default_value_t = 30_000
    )]
    pub(crate) refresh_interval: u64,
    /// Milliseconds for a connection to a member
    #[arg(
        long,
        env = "BERTH_PROXY_DIAL_TIMEOUT",
        value_name = "MS",
        default_value_t = 1_000
    )]
    pub(crate) dial_timeout: u64,
    /// Milliseconds in which what was sent to a member has to arrive; 0: no limit
    #[arg(
        long,
        env = "BERTH_PROXY_WRITE_TIMEOUT",
        value_name = "MS",
        default_value_t = 5_000
    )]
    pub(crate) write_timeout: u64,
    /// Milliseconds in which the answer of a member has to begin; 0: no limit, which watches need
    #[arg(
        long,
        env = "BERTH_PROXY_READ_TIMEOUT",
        value_name = "MS",
        default_value_t = 0
    )]
    pub(crate) read_timeout: u64,
    #[command(flatten)]
    pub(crate) tls: GatewayTlsFlags,
}
