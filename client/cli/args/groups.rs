//! docker's groups of commands: container, image, volume, network, system.

use clap::{Args, Subcommand};

use super::{
    AttachArgs, CommitArgs, CpArgs, DiffArgs, EventsArgs, ExecArgs, ExportContainerArgs, ImagesArgs,
    ImportArgs, InspectArgs, KillArgs, LogsArgs, PauseArgs, PortArgs, PsArgs, RenameArgs, RestartArgs,
    RmArgs, RmiArgs, RunArgs, StartArgs, StatsArgs, StopArgs, TagArgs, TopArgs, UnpauseArgs,
    UpdateContainerArgs, WaitArgs,
};

/// docker's commands that no other part of berth has, too.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum MoreCommand {
    Pause(PauseArgs),
    Unpause(UnpauseArgs),
    Top(TopArgs),
    Stats(StatsArgs),
    #[command(about = "Make a container without starting it and print its id", long_about = None)]
    Create(Box<RunArgs>),
    Exec(ExecArgs),
    Attach(AttachArgs),
    Wait(WaitArgs),
    Rename(RenameArgs),
    Port(PortArgs),
    Cp(CpArgs),
    Diff(DiffArgs),
    Commit(CommitArgs),
    Tag(TagArgs),
    Events(EventsArgs),
    Container(ContainerArgs),
    Image(ImageArgs),
    Volume(VolumeArgs),
    Network(NetworkArgs),
    System(SystemArgs),
}

/// Work with containers; most of these commands are there without the word container, too
#[derive(Debug, Clone, Args)]
pub(crate) struct ContainerArgs {
    #[command(subcommand)]
    pub(crate) command: ContainerCommand,
}

/// What to do with containers.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ContainerCommand {
    Attach(AttachArgs),
    Commit(CommitArgs),
    Cp(CpArgs),
    #[command(about = "Make a container without starting it and print its id", long_about = None)]
    Create(Box<RunArgs>),
    Diff(DiffArgs),
    Exec(ExecArgs),
    Export(ExportContainerArgs),
    Inspect(InspectArgs),
    Kill(KillArgs),
    Logs(LogsArgs),
    #[command(visible_aliases = ["ps", "list"])]
    Ls(PsArgs),
    Pause(PauseArgs),
    Port(PortArgs),
    /// Remove all containers that do not run
    Prune(PruneArgs),
    Rename(RenameArgs),
    Restart(RestartArgs),
    Rm(RmArgs),
    Run(Box<RunArgs>),
    Start(StartArgs),
    Stats(StatsArgs),
    Stop(StopArgs),
    Top(TopArgs),
    Unpause(UnpauseArgs),
    Update(UpdateContainerArgs),
    Wait(WaitArgs),
}

/// Flags of all prunes. There is no question: what is said is done.
#[derive(Debug, Clone, Args)]
pub(crate) struct PruneArgs {
    /// Images: all that no container uses. Volumes: also those with a name
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Only those that match, such as until=24h, label=a=b
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Taken for docker's sake: nothing is asked
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Work with images
#[derive(Debug, Clone, Args)]
pub(crate) struct ImageArgs {
    #[command(subcommand)]
    pub(crate) command: ImageCommand,
}

/// What to do with images.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum ImageCommand {
    #[command(visible_alias = "list")]
    Ls(ImagesArgs),
    Import(ImportArgs),
    Inspect(InspectArgs),
    /// Remove images without a name, and with --all every image that no container uses
    Prune(PruneArgs),
    Rm(RmiArgs),
    Tag(TagArgs),
}

/// Work with volumes
#[derive(Debug, Clone, Args)]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    pub(crate) command: VolumeCommand,
}

/// What to do with volumes.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Make a volume and print its name
    Create(VolumeCreateArgs),
    /// Show everything about volumes, as a JSON list
    Inspect(NamesArgs),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Remove volumes that no container has: those without a name, and with --all every one
    Prune(PruneArgs),
    /// Remove volumes
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

/// Flags of a volume.
#[derive(Debug, Clone, Args)]
pub(crate) struct VolumeCreateArgs {
    /// Its name; one is made up unless given
    pub(crate) name: Option<String>,
    /// Its driver; only local is known
    #[arg(short, long, default_value = "local")]
    pub(crate) driver: String,
    /// A label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// An option of the driver
    #[arg(long = "opt", value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,
}

/// Several things, by name or id.
#[derive(Debug, Clone, Args)]
pub(crate) struct NamesArgs {
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Several things to remove.
#[derive(Debug, Clone, Args)]
pub(crate) struct RemoveArgs {
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// One that is not there is no failure
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// A list.
#[derive(Debug, Clone, Args)]
pub(crate) struct ListArgs {
    /// Names or ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Only those that match, such as name=web, label=a=b
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
    /// Nothing is shortened
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// Work with networks
#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    pub(crate) command: NetworkCommand,
}

/// What to do with networks.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Bring a container into a network
    Connect(ConnectArgs),
    /// Make a network and print its id
    Create(Box<NetworkCreateArgs>),
    /// Take a container out of a network
    Disconnect(DisconnectArgs),
    /// Show everything about networks, as a JSON list
    Inspect(NamesArgs),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Remove networks without containers
    Prune(PruneArgs),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(RemoveArgs),
}

/// Flags of a network.
#[derive(Debug, Clone, Args)]
pub(crate) struct NetworkCreateArgs {
    /// Its name
    pub(crate) name: String,
    /// Its driver
    #[arg(short, long, default_value = "bridge")]
    pub(crate) driver: String,
    /// No way out of the host
    #[arg(long)]
    pub(crate) internal: bool,
    /// Containers may be attached by hand
    #[arg(long)]
    pub(crate) attachable: bool,
    /// Addresses of IPv6 too
    #[arg(long)]
    pub(crate) ipv6: bool,
    /// A subnet; a second one for IPv6
    #[arg(long, value_name = "CIDR")]
    pub(crate) subnet: Vec<String>,
    /// The gateway of the subnet in the same place
    #[arg(long, value_name = "IP")]
    pub(crate) gateway: Vec<String>,
    /// Where addresses are taken from, of the subnet in the same place
    #[arg(long, value_name = "CIDR")]
    pub(crate) ip_range: Vec<String>,
    /// A label
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) label: Vec<String>,
    /// An option of the driver
    #[arg(long = "opt", value_name = "KEY=VALUE")]
    pub(crate) opt: Vec<String>,
}

/// Flags of taking part.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectArgs {
    /// The network
    pub(crate) network: String,
    /// The container
    pub(crate) container: String,
    /// One more name of the container there
    #[arg(long, value_name = "NAME")]
    pub(crate) alias: Vec<String>,
    /// The address it gets
    #[arg(long, value_name = "IP")]
    pub(crate) ip: Option<String>,
    /// The IPv6 address it gets
    #[arg(long, value_name = "IP")]
    pub(crate) ip6: Option<String>,
}

/// Flags of leaving.
#[derive(Debug, Clone, Args)]
pub(crate) struct DisconnectArgs {
    /// The network
    pub(crate) network: String,
    /// The container
    pub(crate) container: String,
    /// Also when the container is in no state for it
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Look at the engine as a whole, and clean it up
#[derive(Debug, Clone, Args)]
pub(crate) struct SystemArgs {
    #[command(subcommand)]
    pub(crate) command: SystemCommand,
}

/// What to do with the engine.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum SystemCommand {
    /// Show what takes how much of the disk
    Df,
    Events(EventsArgs),
    /// Print the state of the engine
    Info,
    /// Remove containers that do not run, networks without containers, images without names, and with --volumes volumes
    Prune(SystemPruneArgs),
}

/// Flags of cleaning up.
#[derive(Debug, Clone, Args)]
pub(crate) struct SystemPruneArgs {
    #[command(flatten)]
    pub(crate) prune: PruneArgs,
    /// Volumes without a name that no container has, too
    #[arg(long)]
    pub(crate) volumes: bool,
}
