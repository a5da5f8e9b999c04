//! Flags of the commands that change containers or move their files.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Give a container another name
#[derive(Debug, Clone, Args)]
pub(crate) struct RenameArgs {
    /// The container, by name or id
    pub(crate) container: String,
    /// The new name
    pub(crate) name: String,
}

/// Change limits and the restart policy of containers; what is not given stays as it is
#[derive(Debug, Clone, Args)]
pub(crate) struct UpdateContainerArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
    /// Limit of memory, such as 512m
    #[arg(short, long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Limit of memory and swap together; -1 is none
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) memory_swap: Option<String>,
    /// Memory that is kept when the host runs short
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_reservation: Option<String>,
    /// Number of CPUs, such as 0.5
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<String>,
    /// Weight against other containers
    #[arg(short, long, value_name = "N")]
    pub(crate) cpu_shares: Option<i64>,
    /// Microseconds of a scheduler period
    #[arg(long, value_name = "N")]
    pub(crate) cpu_period: Option<i64>,
    /// Microseconds of CPU in each period
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) cpu_quota: Option<i64>,
    /// CPUs to use, such as 0-2,7
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// Memory nodes to use
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// Number of processes; -1 is no limit
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) pids_limit: Option<i64>,
    /// What happens when the container ends: no, on-failure, on-failure:N, always, unless-stopped
    #[arg(long, value_name = "POLICY")]
    pub(crate) restart: Option<String>,
}

/// Show what ports of a container are published, and where
#[derive(Debug, Clone, Args)]
pub(crate) struct PortArgs {
    /// The container, by name or id
    pub(crate) container: String,
    /// Only where this one is
    #[arg(value_name = "PORT[/PROTO]")]
    pub(crate) port: Option<String>,
}

/// Copy files between a container and here.
///
/// One side is CONTAINER:PATH. With - in the place of the other one a tar archive is written to standard output or read from
/// standard input. A directory that ends with /. is copied without itself.
///
/// Example: berth cp web:/etc/hosts . ; berth cp page.html web:/www/
#[derive(Debug, Clone, Args)]
pub(crate) struct CpArgs {
    /// What to copy
    #[arg(value_name = "SOURCE", allow_hyphen_values = true)]
    pub(crate) from: String,
    /// Where to
    #[arg(value_name = "TARGET", allow_hyphen_values = true)]
    pub(crate) to: String,
    /// Owners come with the files, as far as this side may set them
    #[arg(short, long)]
    pub(crate) archive: bool,
    /// Where the source is a link, what it leads to
    #[arg(short = 'L', long)]
    pub(crate) follow_link: bool,
}

/// Show what a container changed of its image's files: A added, C changed, D deleted
#[derive(Debug, Clone, Args)]
pub(crate) struct DiffArgs {
    /// The container, by name or id
    pub(crate) container: String,
}

/// Write all files of a container as a tar archive
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportContainerArgs {
    /// The container, by name or id
    pub(crate) container: String,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Make an image of a container and print its id
#[derive(Debug, Clone, Args)]
pub(crate) struct CommitArgs {
    /// The container, by name or id
    pub(crate) container: String,
    /// The image's name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: Option<String>,
    /// Who made it
    #[arg(short, long)]
    pub(crate) author: Option<String>,
    /// A setting in the words of a Dockerfile
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub(crate) change: Vec<String>,
    /// A remark to keep with the image
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    /// Whether the container is paused meanwhile
    #[arg(short, long, value_name = "YES", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) pause: bool,
}

/// Give an image one more name
#[derive(Debug, Clone, Args)]
pub(crate) struct TagArgs {
    /// The image, by name or id
    pub(crate) image: String,
    /// The new name
    #[arg(value_name = "NAME[:TAG]")]
    pub(crate) reference: String,
}
