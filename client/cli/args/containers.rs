//! Flags of the commands that speak to the engine; names and meanings are docker's.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Run a command in a new container.
///
/// In the foreground its output is printed as it comes and its exit code is that of the command; SIGINT, SIGTERM,
/// SIGHUP and SIGQUIT go to the container. Exit code 125 is a refusal of the engine, 126 a command that cannot be run,
/// 127 one that is not there.
///
/// Example: berth run -d --name web -p 8000:80 app httpd -f -p 80
#[derive(Debug, Clone, Default, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "berth run [OPTIONS] IMAGE [COMMAND] [ARGUMENT]..."
)]
pub(crate) struct RunArgs {
    /// The image, then the command and its arguments; those of the image unless given
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [COMMAND]")]
    words: Vec<String>,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,

    /// Run in the background and print the container's id
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// The container's name; it is registered under it
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Keep standard input open and send this command's to it
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// A terminal for the container
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Keys that leave its terminal without ending it; ctrl-p,ctrl-q unless given
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Write the container's id into a file that must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,

    /// Run this instead of the image's entrypoint
    #[arg(long, value_name = "COMMAND", help_heading = "Process")]
    pub(crate) entrypoint: Option<String>,
    /// Set a variable of the environment; NAME alone takes it from here
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = "Process")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE", help_heading = "Process")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(short, long, value_name = "DIR", help_heading = "Process")]
    pub(crate) workdir: Option<String>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = "Process")]
    pub(crate) user: Option<String>,
    /// One more group of the process
    #[arg(long, value_name = "GROUP", help_heading = "Process")]
    pub(crate) group_add: Vec<String>,
    /// A label
    #[arg(short, long, value_name = "KEY=VALUE", help_heading = "Process")]
    pub(crate) label: Vec<String>,
    /// Signal that stops the container
    #[arg(long, value_name = "SIGNAL", help_heading = "Process")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds from the stop signal to the kill
    #[arg(long, value_name = "SECONDS", help_heading = "Process")]
    pub(crate) stop_timeout: Option<i64>,
    /// A small init process as pid 1
    #[arg(long, help_heading = "Process")]
    pub(crate) init: bool,
    /// What happens when the container ends: no, on-failure, on-failure:N, always, unless-stopped
    #[arg(long, value_name = "POLICY", help_heading = "Process")]
    pub(crate) restart: Option<String>,

    /// Publish a port of the container on the host
    #[arg(
        short,
        long,
        value_name = "[IP:][HOST:]PORT[/PROTO]",
        help_heading = "Network"
    )]
    pub(crate) publish: Vec<String>,
    /// Publish all exposed ports on free ports of the host
    #[arg(short = 'P', long, help_heading = "Network")]
    pub(crate) publish_all: bool,
    /// Register a port without publishing it
    #[arg(long, value_name = "PORT[/PROTO]", help_heading = "Network")]
    pub(crate) expose: Vec<String>,
    /// bridge, none, host, container:NAME or a network by name
    #[arg(long, visible_alias = "net", value_name = "NETWORK", help_heading = "Network")]
    pub(crate) network: Option<String>,
    /// One more name in the network
    #[arg(
        long,
        visible_alias = "net-alias",
        value_name = "NAME",
        help_heading = "Network"
    )]
    pub(crate) network_alias: Vec<String>,
    /// The container's address in a network with a chosen subnet
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub(crate) ip: Option<String>,
    /// The same for IPv6
    #[arg(long, value_name = "ADDRESS", help_heading = "Network")]
    pub(crate) ip6: Option<String>,
    /// The container's hardware address
    #[arg(long, value_name = "MAC", help_heading = "Network")]
    pub(crate) mac_address: Option<String>,
    /// Know another container by a name
    #[arg(long, value_name = "NAME[:ALIAS]", help_heading = "Network")]
    pub(crate) link: Vec<String>,
    /// The container's host name
    #[arg(short = 'h', long, value_name = "NAME", help_heading = "Network")]
    pub(crate) hostname: Option<String>,
    /// The container's domain name
    #[arg(long, value_name = "NAME", help_heading = "Network")]
    pub(crate) domainname: Option<String>,
    /// One more line of /etc/hosts
    #[arg(long, value_name = "NAME:IP", help_heading = "Network")]
    pub(crate) add_host: Vec<String>,
    /// Name servers of the container
    #[arg(long, value_name = "IP", help_heading = "Network")]
    pub(crate) dns: Vec<String>,
    /// Search domains of the container
    #[arg(long, value_name = "DOMAIN", help_heading = "Network")]
    pub(crate) dns_search: Vec<String>,
    /// Options of the container's resolver
    #[arg(
        long,
        visible_alias = "dns-opt",
        value_name = "OPTION",
        help_heading = "Network"
    )]
    pub(crate) dns_option: Vec<String>,

    /// Mount a volume or a directory of the host
    #[arg(short, long, value_name = "[VOLUME|HOST:]DIR[:ro]", help_heading = "Files")]
    pub(crate) volume: Vec<String>,
    /// Mount the volumes of another container
    #[arg(long, value_name = "CONTAINER[:ro]", help_heading = "Files")]
    pub(crate) volumes_from: Vec<String>,
    /// Mount a tmpfs
    #[arg(long, value_name = "DIR[:OPTIONS]", help_heading = "Files")]
    pub(crate) tmpfs: Vec<String>,
    /// Nothing below / can be written
    #[arg(long, help_heading = "Files")]
    pub(crate) read_only: bool,
    /// Size of /dev/shm, such as 64m
    #[arg(long, value_name = "SIZE", help_heading = "Files")]
    pub(crate) shm_size: Option<String>,

    /// Limit of memory, such as 512m
    #[arg(short, long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) memory: Option<String>,
    /// Limit of memory and swap together; -1 is none
    #[arg(
        long,
        value_name = "SIZE",
        allow_hyphen_values = true,
        help_heading = "Limits"
    )]
    pub(crate) memory_swap: Option<String>,
    /// Memory that is kept when the host runs short
    #[arg(long, value_name = "SIZE", help_heading = "Limits")]
    pub(crate) memory_reservation: Option<String>,
    /// Number of CPUs, such as 0.5
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) cpus: Option<String>,
    /// Weight against other containers
    #[arg(short, long, value_name = "N", help_heading = "Limits")]
    pub(crate) cpu_shares: Option<i64>,
    /// Microseconds of a scheduler period
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub(crate) cpu_period: Option<i64>,
    /// Microseconds of CPU in each period
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) cpu_quota: Option<i64>,
    /// CPUs to use, such as 0-2,7
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST", help_heading = "Limits")]
    pub(crate) cpuset_mems: Option<String>,
    /// Number of processes; -1 is no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) pids_limit: Option<i64>,
    /// A resource limit of the process
    #[arg(long, value_name = "NAME=SOFT[:HARD]", help_heading = "Limits")]
    pub(crate) ulimit: Vec<String>,
    /// Preference of the kernel when memory runs out, -1000 to 1000
    #[arg(long, value_name = "N", allow_hyphen_values = true, help_heading = "Limits")]
    pub(crate) oom_score_adj: Option<i64>,
    /// A setting of the kernel for this container
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Limits")]
    pub(crate) sysctl: Vec<String>,

    /// Give a device of the host
    #[arg(long, value_name = "DEVICE[:DIR[:rwm]]", help_heading = "Rights")]
    pub(crate) device: Vec<String>,
    /// Allow a kind of device, such as 'c 10:200 rwm'
    #[arg(long, value_name = "RULE", help_heading = "Rights")]
    pub(crate) device_cgroup_rule: Vec<String>,
    /// Whose processes it sees: host or container:NAME
    #[arg(long, value_name = "MODE", help_heading = "Rights")]
    pub(crate) pid: Option<String>,
    /// Whose shared memory it has: private, shareable, none, host or container:NAME
    #[arg(long, value_name = "MODE", help_heading = "Rights")]
    pub(crate) ipc: Option<String>,
    /// Whose host name it has: host
    #[arg(long, value_name = "MODE", help_heading = "Rights")]
    pub(crate) uts: Option<String>,
    /// Which control groups it sees: private or host
    #[arg(long, value_name = "MODE", help_heading = "Rights")]
    pub(crate) cgroupns: Option<String>,
    /// Give a capability, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Rights")]
    pub(crate) cap_add: Vec<String>,
    /// Take a capability away, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Rights")]
    pub(crate) cap_drop: Vec<String>,
    /// no-new-privileges, seccomp=unconfined or seccomp=FILE
    #[arg(long, value_name = "OPTION", help_heading = "Rights")]
    pub(crate) security_opt: Vec<String>,
    /// All rights of the host
    #[arg(long, help_heading = "Rights")]
    pub(crate) privileged: bool,
}

impl RunArgs {
    /// The image.
    pub(crate) fn image(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The command and its arguments, if any.
    pub(crate) fn command(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

/// List containers.
#[derive(Debug, Clone, Args)]
pub(crate) struct PsArgs {
    /// Also those that do not run
    #[arg(short, long)]
    pub(crate) all: bool,
    /// Ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Nothing is shortened
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// The last N containers, running or not
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) last: Option<u32>,
    /// Only those that match, such as name=web, status=exited, label=a=b
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
}

/// Stop containers: the stop signal first, SIGKILL after a while.
#[derive(Debug, Clone, Args)]
pub(crate) struct StopArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
    /// Seconds from the stop signal to SIGKILL; -1 waits for ever
    #[arg(
        short,
        long,
        visible_alias = "time",
        value_name = "SECONDS",
        allow_hyphen_values = true
    )]
    pub(crate) timeout: Option<i64>,
}

/// Stop containers and start them again, at a new address.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestartArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
    /// Seconds from the stop signal to SIGKILL; -1 waits for ever
    #[arg(
        short,
        long,
        visible_alias = "time",
        value_name = "SECONDS",
        allow_hyphen_values = true
    )]
    pub(crate) timeout: Option<i64>,
}

/// Send a signal to running containers.
#[derive(Debug, Clone, Args)]
pub(crate) struct KillArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
    /// The signal, by name or number; SIGKILL unless given
    #[arg(short, long)]
    pub(crate) signal: Option<String>,
}

/// Show everything about containers or images, as a JSON list.
#[derive(Debug, Clone, Args)]
pub(crate) struct InspectArgs {
    /// Containers or images, by name or id
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// List images.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImagesArgs {
    /// Only images of this name
    pub(crate) reference: Option<String>,
    /// Ids only
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Nothing is shortened
    #[arg(long)]
    pub(crate) no_trunc: bool,
}

/// Make an image of a root file system in a tar archive (plain or gzip) and print its id.
///
/// Example: tar -C rootfs -c . | berth import - app
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    /// The archive; - is standard input
    pub(crate) archive: PathBuf,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: Option<String>,
    /// A setting in the words of a Dockerfile, such as 'CMD ["httpd", "-f"]'
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// A remark to keep with the image
    #[arg(short, long)]
    pub(crate) message: Option<String>,
}

/// Remove images.
#[derive(Debug, Clone, Args)]
pub(crate) struct RmiArgs {
    /// Images, by name or id
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<String>,
    /// Also under several names
    #[arg(short, long)]
    pub(crate) force: bool,
}
