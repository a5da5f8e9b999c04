//! What a container is to be: a request that has been checked and completed, before anything of the host is chosen.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::step::{
    DeviceKind, DeviceRule, Endpoint, LogLimit, MountFlags, MountOption, Propagation, Protocol, Rlimit,
    Stdin, TerminalSize,
};

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
    /// Where its output is kept.
    #[serde(default)]
    pub log: Log,
    /// Every device of the host, no device rules, and what else the kernel shows can be changed.
    #[serde(default)]
    pub privileged: bool,
    /// A system call filter of one's own, as JSON; only with `seccomp`.
    #[serde(default)]
    pub seccomp_profile: Option<String>,
    /// Devices of the host that it gets.
    #[serde(default)]
    pub devices: Vec<DeviceWish>,
    /// What it may do with devices besides.
    #[serde(default)]
    pub device_rules: Vec<DeviceRule>,
    /// A process that reaps others and passes signals on runs the command.
    #[serde(default)]
    pub init: bool,
    /// Which processes it sees.
    #[serde(default)]
    pub processes: Sharing,
    /// Whose shared memory and message queues it has.
    #[serde(default)]
    pub ipc: Ipc,
    /// Its host name is the host's.
    #[serde(default)]
    pub host_names: bool,
    /// Whose network it has; exactly if its network is [`Network::Joined`].
    #[serde(default)]
    pub network_of: Option<String>,
}

/// Whose namespace a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Its own.
    #[default]
    Own,
    /// The host's.
    Host,
    /// Another container's, by its id.
    Container(String),
}

/// Whose shared memory and message queues a container has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipc {
    /// Its own, and nobody else's.
    #[default]
    Private,
    /// Its own; others may join.
    Shareable,
    /// Its own, without `/dev/shm`.
    WithoutMemory,
    /// The host's.
    Host,
    /// Another container's, by its id.
    Container(String),
}

/// A device of the host that a container gets. It is looked up at every start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceWish {
    /// A device or a directory of devices; absolute and clean.
    pub host: PathBuf,
    /// Where it is in the container; absolute and clean.
    pub container: PathBuf,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// A node may be made.
    pub mknod: bool,
}

/// A device that was found on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundDevice {
    /// Where it is in the container.
    pub path: PathBuf,
    /// Its kind.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// What may be done with it.
    pub rule: DeviceRule,
}

/// Where the output of a container is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// It is kept at all.
    pub kept: bool,
    /// How much of it; none for all.
    pub limit: Option<LogLimit>,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            kept: true,
            limit: None,
        }
    }
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
    /// Another container's.
    Joined,
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
        /// Which later mounts travel between the host and the container.
        #[serde(default)]
        propagation: Propagation,
        /// A directory that is missing is made.
        #[serde(default)]
        make: bool,
        /// Everything that is mounted below it becomes read-only with it.
        #[serde(default = "yes")]
        read_only_below: bool,
    },
    /// A volume of the engine.
    Volume(VolumeMount),
    /// A file system in memory.
    Tmpfs {
        /// Its options.
        options: Vec<MountOption>,
    },
}

fn yes() -> bool {
    true
}

/// A volume in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Its name; empty until a name has been chosen for one that the request does not name.
    pub name: String,
    /// The request does not name it: it goes with the container when that is asked for.
    pub anonymous: bool,
    /// An empty one is filled with what the image has in its place.
    pub copy: bool,
    /// Labels of a volume that is made for it.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver of a volume that is made for it.
    pub options: BTreeMap<String, String>,
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
    /// Its first place in a network; only if its network is the bridge.
    pub network: Option<Endpoint>,
    /// Its places in other networks, each with an interface of another name.
    pub more_networks: Vec<Endpoint>,
    /// The engine's resolver answers it.
    pub resolver: bool,
    /// Other containers that it is linked to.
    pub links: Vec<LinkedHost>,
    /// Variables of its environment unless it has its own, as `NAME=value`.
    pub link_env: Vec<String>,
    /// The host's `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// The engine's own directory in each hierarchy, relative to the mount point.
    pub cgroup_parent: String,
    /// The published ports, with every host port chosen.
    pub ports: Vec<PublishedPort>,
    /// The devices that were found for the container's wishes; for a privileged one all of the host.
    pub devices: Vec<FoundDevice>,
    /// The directory with the hosts, hostname and resolv.conf of the container whose network is joined.
    pub joined_dir: Option<PathBuf>,
    /// Where volumes are: `NAME/_data` below it.
    pub volumes_dir: PathBuf,
    /// Where the init program is: a directory with `run` and what it needs.
    pub init_dir: PathBuf,
}

/// A container that another one is linked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedHost {
    /// Where it is.
    pub address: Ipv4Addr,
    /// What it is called: names with blanks between them.
    pub names: String,
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
    /// It has every right that the daemon can give.
    pub privileged: bool,
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
