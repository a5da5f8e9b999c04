//! Flags of the servers and of the demo.

use std::net::SocketAddr;
use std::path::PathBuf;

use berth_node::ClientLimits;
use clap::Args;

use super::tls::{ApiTls, StoreTlsFlags, TlsFlags};

/// Flags of a store.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreFlags {
    /// The member's name
    #[arg(long, env = "BERTH_NAME", default_value = "default", help_heading = "Store")]
    pub(crate) name: String,
    /// Addresses for clients, separated by commas; port 0 takes a free one
    #[arg(
        long,
        env = "BERTH_LISTEN_CLIENT",
        value_name = "HOST:PORT[,..]",
        value_delimiter = ',',
        default_value = "127.0.0.1:2379,127.0.0.1:4001",
        help_heading = "Store"
    )]
    pub(crate) listen_client: Vec<String>,
    /// Address for the other members of the cluster
    #[arg(
        long,
        env = "BERTH_LISTEN_PEER",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:2380",
        help_heading = "Store"
    )]
    pub(crate) listen_peer: String,
    /// URLs that clients are told to use; those of --listen-client unless given
    #[arg(
        long,
        env = "BERTH_ADVERTISE_CLIENT_URLS",
        value_name = "URL[,..]",
        value_delimiter = ',',
        help_heading = "Store"
    )]
    pub(crate) advertise_client_urls: Vec<String>,
    /// URLs that the other members are told to use; the one of --listen-peer unless given
    #[arg(
        long,
        env = "BERTH_INITIAL_ADVERTISE_PEER_URLS",
        value_name = "URL[,..]",
        value_delimiter = ',',
        help_heading = "Store"
    )]
    pub(crate) initial_advertise_peer_urls: Vec<String>,
    /// All members that form the cluster, this one too; without it the member is alone
    ///
    /// It counts at the first start only: a data directory that holds a member goes on as that one.
    #[arg(
        long,
        env = "BERTH_INITIAL_CLUSTER",
        value_name = "NAME=URL[,..]",
        help_heading = "Store"
    )]
    pub(crate) initial_cluster: Option<String>,
    /// Directory in another store where the members that form the cluster find each other, in place of --initial-cluster
    ///
    /// Beforehand: curl URL/_config/size -X PUT -d value=3
    #[arg(long, env = "BERTH_DISCOVERY", value_name = "URL", help_heading = "Store")]
    pub(crate) discovery: Option<String>,
    /// Domain whose SRV records name the members that form the cluster, in place of --initial-cluster
    ///
    /// _etcd-server._tcp.DOMAIN and _etcd-server-ssl._tcp.DOMAIN are asked for; this member is known by its address.
    #[arg(
        long,
        env = "BERTH_DISCOVERY_SRV",
        value_name = "DOMAIN",
        help_heading = "Store"
    )]
    pub(crate) discovery_srv: Option<String>,
    /// Of several clusters of the domain: _etcd-server-NAME._tcp
    #[arg(
        long,
        env = "BERTH_DISCOVERY_SRV_NAME",
        value_name = "NAME",
        help_heading = "Store"
    )]
    pub(crate) discovery_srv_name: Option<String>,
    /// Server that is asked for the records; those of /etc/resolv.conf unless given
    #[arg(
        long,
        env = "BERTH_DNS_SERVER",
        value_name = "IP:PORT",
        help_heading = "Store"
    )]
    pub(crate) dns_server: Option<SocketAddr>,
    /// new: the members named form a cluster now. existing: this one was added to a cluster that is there, and joins it
    #[arg(
        long,
        env = "BERTH_INITIAL_CLUSTER_STATE",
        value_name = "STATE",
        default_value = "new",
        value_parser = ["new", "existing"],
        help_heading = "Store"
    )]
    pub(crate) initial_cluster_state: String,
    /// Tells clusters apart that are formed at the same URLs; the same for all members
    #[arg(
        long,
        env = "BERTH_INITIAL_CLUSTER_TOKEN",
        value_name = "TOKEN",
        default_value = "berth-cluster",
        help_heading = "Store"
    )]
    pub(crate) initial_cluster_token: String,
    /// Entries of the log between two snapshots
    #[arg(
        long,
        env = "BERTH_SNAPSHOT_COUNT",
        value_name = "N",
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Store"
    )]
    pub(crate) snapshot_count: u64,
    /// Milliseconds between two heartbeats of a leader
    #[arg(
        long,
        env = "BERTH_HEARTBEAT_INTERVAL",
        value_name = "MS",
        default_value_t = 100,
        help_heading = "Store"
    )]
    pub(crate) heartbeat_interval: u64,
    /// Milliseconds without a heartbeat after which another leader is looked for: at least 5 heartbeats
    #[arg(
        long,
        env = "BERTH_ELECTION_TIMEOUT",
        value_name = "MS",
        default_value_t = 1_000,
        help_heading = "Store"
    )]
    pub(crate) election_timeout: u64,
    /// Connections of all clients; more wait until others end. A low limit of open files lowers it
    #[arg(
        long,
        env = "BERTH_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = ClientLimits::default().connections,
        value_parser = at_least_one,
        help_heading = "Store"
    )]
    pub(crate) max_connections: usize,
    /// Connections from one address (IPv6: from one /64 network); another one is closed at once
    #[arg(
        long,
        env = "BERTH_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "N",
        default_value_t = ClientLimits::default().connections_per_address,
        value_parser = at_least_one,
        help_heading = "Store"
    )]
    pub(crate) max_connections_per_address: usize,
    /// Open watches; another one is refused with 503
    #[arg(
        long,
        env = "BERTH_MAX_WATCHES",
        value_name = "N",
        default_value_t = ClientLimits::default().watches,
        value_parser = at_least_one,
        help_heading = "Store"
    )]
    pub(crate) max_watches: usize,
    /// Origins whose web pages may read answers, separated by commas; * for all
    #[arg(
        long,
        env = "BERTH_CORS",
        value_name = "ORIGIN[,..]",
        default_value = "",
        help_heading = "Store"
    )]
    pub(crate) cors: String,
    #[command(flatten)]
    pub(crate) tls: TlsFlags,
}

/// A bound of nothing would serve nobody.
fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it must be a number of at least 1".to_owned()),
        Ok(count) => Ok(count),
    }
}

/// Flags of an engine.
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineFlags {
    /// Where the engine keeps what need not survive a reboot
    #[arg(
        long,
        env = "BERTH_RUN_DIR",
        value_name = "DIR",
        default_value = "/run/berth",
        help_heading = "Engine"
    )]
    pub(crate) run_dir: PathBuf,
    /// Socket of the Docker Engine API
    #[arg(
        long,
        env = "BERTH_SOCKET",
        value_name = "PATH",
        default_value = "/run/berth/berth.sock",
        help_heading = "Engine"
    )]
    pub(crate) socket: String,
    /// TCP port of the Docker Engine API, such as tcp://0.0.0.0:2376; only with --tlsverify. --host does the same
    #[arg(
        long,
        env = "BERTH_LISTEN",
        value_name = "tcp://HOST:PORT[,..]",
        value_delimiter = ',',
        help_heading = "Engine"
    )]
    pub(crate) listen: Vec<String>,
    #[command(flatten)]
    pub(crate) tls: ApiTls,
    /// Group that may use the socket besides root; docker unless given, if there is such a group
    #[arg(
        long,
        env = "BERTH_SOCKET_GROUP",
        value_name = "GROUP",
        help_heading = "Engine"
    )]
    pub(crate) socket_group: Option<String>,
    /// Name of the network bridge
    #[arg(long, env = "BERTH_BRIDGE", default_value = "berth0", help_heading = "Engine")]
    pub(crate) bridge: String,
    /// Addresses of the containers
    #[arg(
        long,
        env = "BERTH_SUBNET",
        value_name = "CIDR",
        default_value = "172.29.0.0/16",
        help_heading = "Engine"
    )]
    pub(crate) subnet: String,
    /// Name of the nftables table
    #[arg(long, env = "BERTH_TABLE", default_value = "berth", help_heading = "Engine")]
    pub(crate) table: String,
    /// Name of the cgroup above those of the containers
    #[arg(
        long,
        env = "BERTH_CGROUP_PARENT",
        value_name = "NAME",
        default_value = "berth",
        help_heading = "Engine"
    )]
    pub(crate) cgroup_parent: String,
    /// On SIGTERM stop the containers and take down bridge, table and cgroups
    ///
    /// Without it running containers go on, and the next start of the engine adopts them.
    #[arg(long, env = "BERTH_STOP_CONTAINERS", help_heading = "Engine")]
    pub(crate) stop_containers: bool,
    /// Seconds that a container's key lives without its engine; it is refreshed at a third of it
    #[arg(
        long,
        env = "BERTH_TTL",
        value_name = "SECONDS",
        default_value_t = 30,
        value_parser = clap::value_parser!(u64).range(1..=86_400),
        help_heading = "Engine"
    )]
    pub(crate) ttl: u64,
    /// User of the store that registers containers, where `berth auth enable` was said
    #[arg(
        long,
        env = "BERTH_STORE_USERNAME",
        hide_env_values = true,
        value_name = "NAME:PASSWORD",
        help_heading = "Engine"
    )]
    pub(crate) store_username: Option<String>,
    /// Directory of the store that containers are registered in
    #[arg(
        long,
        env = "BERTH_PREFIX",
        value_name = "KEY",
        default_value = "/services",
        help_heading = "Engine"
    )]
    pub(crate) prefix: String,
}

/// Run a store and an engine in the foreground.
///
/// For keys: curl -L http://127.0.0.1:2379/v2/keys/message -X PUT -d value=Hello
///
/// For containers: docker -H unix:///run/berth/berth.sock run -d --name web -p 8000:80 IMAGE
///
/// Both write one log to standard error; BERTH_LOG sets its level (error, warn, info, debug). SIGINT and SIGTERM end
/// it cleanly, and a second start on the same data goes on where it was.
#[derive(Debug, Clone, Args)]
pub(crate) struct DevArgs {
    /// TOML file with flags of this command by their names; flags and variables count before it
    ///
    /// For example: listen-client = ["10.0.0.1:2379"]
    #[arg(long, env = "BERTH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory for all data: store/ and engine/ below it
    #[arg(
        long,
        env = "BERTH_DATA_DIR",
        value_name = "DIR",
        default_value = "/var/lib/berth"
    )]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreFlags,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
}

/// Run a store alone.
///
/// It answers etcd's v2 keys API. A write is on the disk before it is answered.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgs {
    /// TOML file with flags of this command by their names; flags and variables count before it
    ///
    /// For example: listen-client = ["10.0.0.1:2379"]
    #[arg(long, env = "BERTH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory for the data; one store at a time may use it
    #[arg(
        long,
        env = "BERTH_DATA_DIR",
        value_name = "DIR",
        default_value = "/var/lib/berth/store"
    )]
    pub(crate) data_dir: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreFlags,
    /// End when standard input does
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

/// Run an engine alone.
///
/// It answers the Docker Engine API and registers running containers in the store given with --store.
#[derive(Debug, Clone, Args)]
pub(crate) struct EngineArgs {
    /// TOML file with flags of this command by their names; flags and variables count before it
    ///
    /// For example: listen-client = ["10.0.0.1:2379"]
    #[arg(long, env = "BERTH_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Directory for images, containers and records; one engine at a time may use it
    #[arg(
        long,
        env = "BERTH_DATA_DIR",
        value_name = "DIR",
        default_value = "/var/lib/berth/engine"
    )]
    pub(crate) data_dir: PathBuf,
    /// Members of the store to register containers in; without it none are registered
    #[arg(long, env = "BERTH_STORE", value_name = "URL[,URL]")]
    pub(crate) store: Option<String>,
    #[command(flatten)]
    pub(crate) store_tls: StoreTlsFlags,
    #[command(flatten)]
    pub(crate) engine: EngineFlags,
    /// End when standard input does
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
}

/// See everything once, on a store and an engine of its own in a temporary directory.
///
/// Every request is shown as a curl command line that can be pasted into another terminal (best with --keep). Every
/// answer is checked; a wrong one ends the demo with exit code 1. Nothing stays behind in any case: no process,
/// mount, network interface, firewall table, cgroup or file.
#[derive(Debug, Clone, Args)]
pub(crate) struct DemoArgs {
    /// Leave everything up until Ctrl-C
    #[arg(long)]
    pub(crate) keep: bool,
    /// Seconds that a container's key lives without its engine
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 5,
        value_parser = clap::value_parser!(u64).range(1..=600)
    )]
    pub(crate) ttl: u64,
}
