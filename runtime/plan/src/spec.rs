//! What a container is to be: a request that has been checked and completed, before anything of the host is chosen.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::step::{Endpoint, MountFlags, MountOption, Protocol, Rlimit, Stdin, TerminalSize};

/// A container, completely described. Kept in its record: every start makes a plan of it.
#[allow(clippy::struct_excessive_bools, reason = "each is one option of a request")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Letters, digits, `_`, `-` and `.`.
    pub id: String,
    /// What the user calls it.
    pub name: String,
    /// The command and its arguments; at least one word.
    pub command: Vec<String>,
    /// `NAME=value`, without `HOME` unless somebody set it.
    pub env: Vec<String>,
    /// `user`, `user:group`, `uid`, `uid:gid` or nothing; looked up in the container's own files at every start.
    pub user: String,
    /// More groups, by name or number.
    pub groups: Vec<String>,
    /// Absolute and clean.
    pub working_dir: PathBuf,
    /// At most 64 bytes.
    pub hostname: String,
    /// At most 64 bytes; may be empty.
    pub domainname: String,
    /// What standard input is.
    pub stdin: Stdin,
    /// It has a terminal, of this size at first.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
    /// Which network it has.
    pub network: Network,
    /// Ports to be published. Only a container on the bridge has any.
    pub published: Vec<PublishedPort>,
    /// What asks it to end; 0 for the engine's default.
    pub stop_signal: u8,
    /// How long it is waited for after that, in seconds; negative for ever, none for the engine's default.
    pub stop_timeout: Option<i64>,
    /// Control group limits.
    pub limits: Limits,
    /// A bit for each capability that its root user has.
    pub capabilities: u64,
    /// Has a system call filter.
    pub seccomp: bool,
    /// No program gives more rights than its caller has.
    pub no_new_privileges: bool,
    /// Only mounts can be written to.
    pub readonly_rootfs: bool,
    /// Mounts of the user, each on a place of its own.
    pub mounts: Vec<UserMount>,
    /// Directories that the image declares as volumes; made when they are missing.
    pub image_volumes: Vec<PathBuf>,
    /// Bytes of `/dev/shm`.
    pub shm_size: u64,
    /// Hidden paths; with any, those of the CPUs' temperatures are hidden too.
    pub masked_paths: Vec<PathBuf>,
    /// Read-only paths.
    pub readonly_paths: Vec<PathBuf>,
    /// Resource limits.
    pub rlimits: Vec<Rlimit>,
    /// Kernel settings: the path below `/proc/sys` and the value.
    pub sysctls: Vec<(String, String)>,
    /// How willingly the kernel kills it for memory.
    pub oom_score_adj: i32,
    /// Lines of `/etc/hosts`.
    pub extra_hosts: Vec<ExtraHost>,
    /// Replaces parts of `/etc/resolv.conf`.
    pub dns: Dns,
    /// Which control groups it sees.
    pub cgroup_namespace: CgroupNamespace,
}

/// Which network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// An address on the engine's bridge.
    Bridge,
    /// Only `lo`.
    None,
    /// The host's.
    Host,
}

/// Which control groups a container sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CgroupNamespace {
    /// Only its own, as the root.
    Private,
    /// Version 1: its own by their real paths. Version 2: all of the host.
    Host,
}

/// A port of the container that a port of the host leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The container's port.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The address of the host, `0.0.0.0` for all.
    pub host_ip: Ipv4Addr,
    /// The port of the host; 0 for any that is free.
    pub host_port: u16,
}

/// A mount that the user asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserMount {
    /// Absolute and clean.
    pub target: PathBuf,
    /// How.
    pub flags: MountFlags,
    /// What.
    pub source: MountSource,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host.
    Host {
        /// Absolute and clean.
        path: PathBuf,
        /// With everything that is mounted below it.
        recursive: bool,
    },
    /// A file system in memory.
    Tmpfs {
        /// Its options.
        options: Vec<MountOption>,
    },
}

/// Limits of a control group. What is not set is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory and swap together; only with `memory`.
    pub memory_and_swap: Option<u64>,
    /// Bytes that reclaim leaves alone (v2) or aims at (v1).
    pub memory_reservation: Option<u64>,
    /// 0 to 100; version 1 only.
    pub swappiness: Option<u8>,
    /// Over the limit it waits and is not killed; version 1 only.
    pub oom_kill_disable: bool,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// CPU time.
    pub cpu_quota: Option<CpuQuota>,
    /// A list of CPUs, such as `0-1,3`.
    pub cpuset_cpus: Option<String>,
    /// A list of memory nodes.
    pub cpuset_mems: Option<String>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// CPU time in each period, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuQuota {
    /// What may be used; none for all of it.
    pub quota: Option<u64>,
    /// The length of a period.
    pub period: u64,
}

/// A line of `/etc/hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address; none for the host itself as the container sees it.
    pub address: Option<IpAddr>,
}

/// Parts of `/etc/resolv.conf`; an empty part is taken from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Name servers.
    pub servers: Vec<IpAddr>,
    /// Search domains; `.` alone for none.
    pub search: Vec<String>,
    /// Options of the resolver.
    pub options: Vec<String>,
}

/// What has been chosen for one start of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The directory of its log, hosts, hostname and resolv.conf; it is there.
    pub container_dir: PathBuf,
    /// The container's `/etc/passwd`; empty when there is none.
    pub passwd: String,
    /// The container's `/etc/group`; empty when there is none.
    pub group: String,
    /// Its place on the bridge; there exactly if its network is the bridge.
    pub network: Option<Endpoint>,
    /// The host's `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// The engine's own directory in each hierarchy, relative to the mount point.
    pub cgroup_parent: String,
    /// The published ports, with every host port chosen.
    pub ports: Vec<PublishedPort>,
}

/// Another process in a running container: a request that has been checked and completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// Letters and digits.
    pub id: String,
    /// The command and its arguments; at least one word.
    pub command: Vec<String>,
    /// `NAME=value`, the container's and its own.
    pub env: Vec<String>,
    /// As in [`Spec::user`]; the container's own without.
    pub user: Option<String>,
    /// Absolute and clean; the container's own without.
    pub working_dir: Option<PathBuf>,
    /// What standard input is.
    pub stdin: Stdin,
    /// It has a terminal, of this size at first.
    pub terminal: Option<TerminalSize>,
}

/// What is known of a running container when a process is added to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecPlacement {
    /// The container's `/etc/passwd`; empty when there is none.
    pub passwd: String,
    /// The container's `/etc/group`; empty when there is none.
    pub group: String,
    /// As in [`Placement::cgroup_parent`].
    pub cgroup_parent: String,
}
