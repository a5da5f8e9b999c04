//! The words of the command line: every command, every flag, every help text.

mod auth;
mod cert;
mod changes;
mod containers;
pub(crate) mod etcd;
mod figures;
mod groups;
mod keys;
mod operations;
mod servers;
mod sessions;
mod tls;

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use auth::{
    AccessArgs, AuthArgs, AuthCommand, RoleArgs, RoleChangeArgs, RoleCommand, UserArgs, UserCommand,
};
pub(crate) use cert::{CertArgs, CertCommand, LeafArgs};
pub(crate) use changes::{
    CommitArgs, CpArgs, DiffArgs, ExportContainerArgs, PortArgs, RenameArgs, TagArgs, UpdateContainerArgs,
};
pub(crate) use containers::{
    ImagesArgs, ImportArgs, InspectArgs, KillArgs, PsArgs, RestartArgs, RmiArgs, RunArgs, StopArgs,
};
pub(crate) use figures::{PauseArgs, StatsArgs, TopArgs, UnpauseArgs};
pub(crate) use groups::{
    ContainerArgs, ContainerCommand, ImageArgs, ImageCommand, ListArgs, MoreCommand, NamesArgs, NetworkArgs,
    NetworkCommand, NetworkCreateArgs, PruneArgs, RemoveArgs, SystemArgs, SystemCommand, SystemPruneArgs,
    VolumeArgs, VolumeCommand, VolumeCreateArgs,
};
pub(crate) use keys::{
    DirArgs, ElectArgs, ExecWatchArgs, ExportArgs, GetArgs, HealthArgs, ImportWords, LockArgs, LsArgs,
    MemberArgs, MemberCommand, MkArgs, RmArgs, RmdirArgs, SetArgs, StoreClient, TreeArgs, UpdateArgs,
    WatchArgs, duration,
};
pub(crate) use operations::{BackupArgs, ProxyArgs, RestoreArgs};
pub(crate) use servers::{DemoArgs, DevArgs, EngineArgs, EngineFlags, StoreArgs, StoreFlags};
pub(crate) use sessions::{AttachArgs, EventsArgs, ExecArgs, LogsArgs, StartArgs, WaitArgs};
pub(crate) use tls::{ApiTls, GatewayTlsFlags, StoreTlsFlags, TlsFlags};

/// Service discovery and containers in one binary.
///
/// Berth keeps keys in a replicated store that speaks etcd's v2 API, runs containers behind the Docker Engine API, and
/// registers every running container's address in the store under /services/NAME/PORT-PROTOCOL.
///
/// Begin with `berth demo`, or run `berth dev` and use curl, etcdctl and docker on it.
#[derive(Debug, Parser)]
#[command(name = "berth", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(flatten)]
    pub(crate) store: StoreClient,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every client command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Members of the store, separated by commas
    #[arg(
        long,
        visible_alias = "endpoint",
        global = true,
        env = "BERTH_ENDPOINTS",
        value_name = "URL[,URL]",
        default_value = "http://127.0.0.1:2379",
        help_heading = "Connections"
    )]
    pub(crate) endpoints: String,
    /// Domain whose SRV records (_etcd-client._tcp) name the members, in place of --endpoints
    #[arg(long, global = true, value_name = "DOMAIN", help_heading = "Connections")]
    pub(crate) discovery_srv: Option<String>,
    /// Server that is asked for the records; those of /etc/resolv.conf unless given
    #[arg(
        long,
        global = true,
        env = "BERTH_DNS_SERVER",
        value_name = "IP:PORT",
        help_heading = "Connections"
    )]
    pub(crate) dns_server: Option<SocketAddr>,
    /// The engine: unix:///path or tcp://host:port, the latter with --tlsverify as a rule
    #[arg(
        short = 'H',
        long,
        global = true,
        env = "BERTH_HOST",
        value_name = "URL",
        default_value = "unix:///run/berth/berth.sock",
        help_heading = "Connections"
    )]
    pub(crate) host: String,
    /// Whether --host stands on the command line.
    #[arg(skip)]
    pub(crate) host_typed: bool,
    #[command(flatten)]
    pub(crate) tls: ApiTls,
    /// Text for people, text with the numbers of a key, or JSON documents
    #[arg(
        short = 'o',
        long = "output",
        global = true,
        env = "BERTH_OUTPUT",
        value_enum,
        value_name = "FORMAT",
        default_value_t = Format::Text,
        help_heading = "Connections"
    )]
    pub(crate) format: Format,
    /// The format of what has no numbers of a key.
    #[arg(skip)]
    pub(crate) output: Output,
}

/// The formats that people can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines and tables.
    #[value(alias = "simple")]
    Text,
    /// A key with its indexes and TTL; lines and tables of everything else.
    Extended,
    /// JSON documents.
    Json,
}

impl Format {
    /// The format of what has no numbers of a key.
    pub(crate) fn output(self) -> Output {
        match self {
            Self::Text | Self::Extended => Output::Text,
            Self::Json => Output::Json,
        }
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Output {
    /// Lines and tables.
    #[default]
    Text,
    /// JSON documents.
    Json,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(Box<DemoArgs>),
    Dev(Box<DevArgs>),
    Store(Box<StoreArgs>),
    Engine(Box<EngineArgs>),
    Proxy(Box<ProxyArgs>),

    Run(Box<RunArgs>),
    Ps(PsArgs),
    Logs(LogsArgs),
    Start(StartArgs),
    Stop(StopArgs),
    Restart(RestartArgs),
    Kill(KillArgs),
    Rm(RmArgs),
    Inspect(InspectArgs),
    Images(ImagesArgs),
    Import(ImportWords),
    Rmi(RmiArgs),
    #[command(flatten)]
    More(MoreCommand),

    Set(SetArgs),
    Get(GetArgs),
    Ls(LsArgs),
    Watch(WatchArgs),
    Mk(MkArgs),
    /// Make a directory
    Mkdir(DirArgs),
    /// Make a directory, or give the key a new time to live
    Setdir(DirArgs),
    /// Give a directory a new time to live
    Updatedir(DirArgs),
    Update(UpdateArgs),
    Rmdir(RmdirArgs),
    Tree(TreeArgs),
    ExecWatch(ExecWatchArgs),
    Lock(LockArgs),
    Elect(ElectArgs),
    Export(ExportArgs),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    Member(MemberArgs),
    User(UserArgs),
    Role(RoleArgs),
    Auth(AuthArgs),
    ClusterHealth(HealthArgs),
    Cert(CertArgs),

    /// Print the versions of client, engine and store
    Version,
    /// Print the state of the engine
    Info,
    /// Print a completion script for a shell
    ///
    /// For bash: `berth completion bash > /etc/bash_completion.d/berth`
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_container() {
        let words = "berth run -d --name web -p 8000:80 app httpd -f -p 80 --output json";
        let cli = Cli::try_parse_from(words.split(' ')).expect("a command line");
        let Command::Run(run) = cli.command else {
            panic!("not run")
        };
        assert_eq!(run.image(), "app");
        assert_eq!(run.command(), ["httpd", "-f", "-p", "80", "--output", "json"]);
        assert_eq!(run.publish, ["8000:80"]);
        assert!(run.detach && cli.global.output == Output::Text);
    }
}
