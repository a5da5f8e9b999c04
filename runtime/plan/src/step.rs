//! What is done to start a container: owned, absolute, resolved data. The executor carries it out and decides nothing.

mod endpoint;
mod words;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use endpoint::{Endpoint, Endpoint6};

/// The version of [`Plan`] that this crate makes and the executor understands.
pub const PLAN_VERSION: u32 = 1;

/// A complete start plan. It is handed to the keeper as it is, and kept in the container's record so that what it made
/// on the host can be undone later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Always [`PLAN_VERSION`].
    pub version: u32,
    /// The container's id: letters, digits, `_`, `-` and `.`.
    pub id: String,
    /// The json-file log; made with mode 0640 when it is not there, else appended to. Without it nothing is kept.
    pub log_path: Option<PathBuf>,
    /// How much of the log is kept; none for all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_limit: Option<LogLimit>,
    /// What the container's standard input is.
    pub stdin: Stdin,
    /// cgroup v2: the directory that the process is born into. On v1 it joins by [`StageStep::JoinCgroup`].
    pub born_in: Option<PathBuf>,
    /// The file with the line `oom_kill N`: `memory.oom_control` on v1, `memory.events` on v2. Without it no container is
    /// ever reported as killed for memory.
    pub oom_counter: Option<PathBuf>,
    /// Done by the daemon, in this order, before anything of the container runs. Undone in reverse.
    pub host: Vec<HostStep>,
    /// Done by the first process, in this order. It has pid, mount, UTS and IPC namespaces of its own already, unless
    /// it enters a container that runs ([`StageStep::EnterContainer`]).
    pub stage: Vec<StageStep>,
}

/// How much of a log is kept: full files are renamed, `NAME.1` the newest of them, and the oldest goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimit {
    /// A file of this many bytes is full; the record that goes over it is its last.
    pub max_size: u64,
    /// How many files there are, with the one that is written; with one alone it is emptied when it is full.
    pub max_files: u32,
}

/// The container's standard input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`; the plan has the step [`StageStep::NullInput`] then.
    Null,
    /// A pipe that is closed when the first attached client ends its input or goes away.
    Once,
    /// A pipe that stays open until a client ends its input.
    Open,
}

/// One change of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostStep {
    /// Writes a file of the container (hosts, hostname, resolv.conf). Its inode is kept when it is there: it may be
    /// mounted somewhere.
    WriteFile {
        /// Absolute; its directory is there.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
        /// The whole content.
        content: String,
    },
    /// Makes one cgroup directory.
    MakeCgroup {
        /// Below the mount point of a hierarchy; its parent is there or was made by an earlier step.
        path: PathBuf,
        /// The engine's own parent directory: it may be there, and stays until the engine is torn down. Otherwise the
        /// directory is the container's: whatever still runs in it is killed, and it is removed with the container.
        shared: bool,
    },
    /// cgroup v1: copies `cpuset.cpus` and `cpuset.mems` of the parent where they are empty. Nothing can join before.
    InheritCpuset {
        /// The directory in the cpuset hierarchy.
        path: PathBuf,
    },
    /// Writes one value to a control file, in one write.
    WriteCgroup {
        /// The control file.
        path: PathBuf,
        /// The value.
        value: String,
    },
    /// Denies every device but these.
    DeviceRules {
        /// v1: in the devices hierarchy. v2: the container's directory.
        path: PathBuf,
        /// How the kernel is told.
        by: DeviceControl,
        /// What is allowed.
        rules: Vec<DeviceRule>,
    },
    /// Binds a port of the host and keeps it bound, so that nobody else takes it.
    ReservePort {
        /// TCP or UDP.
        protocol: Protocol,
        /// The address of the host, `0.0.0.0` for all.
        address: Ipv4Addr,
        /// Not 0: the port has been chosen.
        port: u16,
    },
    /// Makes a network namespace whose `eth0` is a port of the bridge.
    Network {
        /// Addresses and names.
        endpoint: Endpoint,
    },
    /// Makes a network namespace with nothing but `lo`.
    LonelyNetwork,
    /// Gives the network namespace that was made one more interface, a port of another bridge.
    Join {
        /// Addresses and names.
        endpoint: Endpoint,
    },
    /// Opens the sockets of the resolver in the network namespace that was made, and leads `127.0.0.11:53` to them.
    Names,
    /// Leads a reserved port of the host to the container.
    Publish {
        /// TCP or UDP.
        protocol: Protocol,
        /// The address of the host, `0.0.0.0` for all.
        host_address: Ipv4Addr,
        /// The port of the host.
        host_port: u16,
        /// The container's address.
        address: Ipv4Addr,
        /// The container's port.
        port: u16,
    },
}

/// How device rules reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceControl {
    /// cgroup v1: `devices.deny` and `devices.allow`.
    V1Files,
    /// cgroup v2: a program that is attached to the directory.
    V2Program,
}

/// One allowed kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Character or block devices.
    pub kind: DeviceKind,
    /// The major number, all without.
    pub major: Option<u32>,
    /// The minor number, all without.
    pub minor: Option<u32>,
    /// May be read.
    pub read: bool,
    /// May be written.
    pub write: bool,
    /// A node may be made.
    pub mknod: bool,
}

/// What kind of device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
}

/// What a published port speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
}

/// One act of the container's first process, between its birth and its command.
///
/// Paths of the container are absolute and clean, and resolved inside of its root: no symlink of an image leads out.
/// Until [`StageStep::PivotRoot`] the process still sees the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StageStep {
    /// Enters the namespaces of a container that runs. What goes on is another process: pid namespaces hold only for
    /// children. A plan with this step makes and mounts nothing.
    EnterContainer {
        /// Which.
        id: String,
    },
    /// Shares a namespace of the host or of a running container: the process has none of its own of this kind.
    Share {
        /// Which kind.
        namespace: Namespace,
        /// The container; the host's without.
        with: Option<String>,
    },
    /// Mounts `/dev/shm` of the container whose IPC namespace is shared.
    SharedMemory,
    /// Enters the network namespace that the host steps made. A container with the host's network has no such step.
    EnterNetwork,
    /// cgroup v1: joins by writing `0` to `tasks`, the only quick way.
    JoinCgroup {
        /// The file `tasks` of the container's directory in one hierarchy.
        tasks: PathBuf,
    },
    /// Takes a cgroup namespace; after joining, so that its root is the container's own directory.
    UnshareCgroup,
    /// Stops mounts from travelling between the host and the container.
    PrivateMounts,
    /// Puts the root file system, a detached mount until now, into the mount namespace.
    AttachRoot,
    /// Mounts a new file system.
    Mount(NewMount),
    /// Makes a directory and its parents.
    MakeDirectory {
        /// Which.
        path: PathBuf,
        /// Permission bits of those that are made.
        mode: u32,
    },
    /// Makes a device node; its directory is there.
    MakeNode(Node),
    /// Makes a symlink; its directory is there.
    Symlink {
        /// The text of the link.
        text: String,
        /// Where.
        path: PathBuf,
    },
    /// Mounts a file or directory of the host. The source is opened before the container is born.
    Bind(HostMount),
    /// Makes the root file system the root, and lets go of the host's.
    PivotRoot,
    /// Makes the root file system, and only this mount, read-only.
    ReadonlyRoot,
    /// Opens the container's `/dev/null` as standard input.
    NullInput,
    /// Makes a terminal: the standard streams and the controlling terminal of the process. The keeper gets its other end.
    Terminal {
        /// How large it is at first.
        size: TerminalSize,
        /// It is `/dev/console` too.
        console: bool,
    },
    /// Sets the host name of the UTS namespace.
    Hostname {
        /// At most 64 bytes.
        name: String,
    },
    /// Sets the NIS domain name of the UTS namespace.
    Domainname {
        /// At most 64 bytes.
        name: String,
    },
    /// Writes a kernel setting.
    Sysctl {
        /// The path below `/proc/sys`, with slashes: `net/ipv4/ip_forward`.
        name: String,
        /// The value.
        value: String,
    },
    /// Makes a part of `/proc` or `/sys` read-only; one that is missing is skipped.
    ReadonlyPath {
        /// Which.
        path: PathBuf,
    },
    /// Hides a file under `/dev/null`, a directory under an empty one; what is missing is skipped.
    MaskPath {
        /// Which.
        path: PathBuf,
    },
    /// Takes a session keyring of its own.
    SessionKeyring {
        /// Its name.
        name: String,
    },
    /// Sets a resource limit.
    Rlimit(Rlimit),
    /// Sets how willingly the kernel kills it for memory. Without this step it is 0.
    OomScoreAdj {
        /// From -1000 to 1000.
        value: i32,
    },
    /// Sets the mask of new files.
    Umask {
        /// Permission bits to leave out.
        mode: u32,
    },
    /// Goes to the working directory; it is made, owned by root, when it is missing.
    WorkingDirectory {
        /// Which.
        path: PathBuf,
        /// A missing one is not made, but a failure.
        #[serde(default)]
        existing: bool,
    },
    /// Gives the standard streams to the container's user.
    OwnStreams {
        /// The user.
        uid: u32,
    },
    /// No program gives more rights than its caller has.
    NoNewPrivileges,
    /// Loads a system call filter. Without [`StageStep::NoNewPrivileges`] it stands before the rights are given up.
    Seccomp {
        /// Classic BPF: `code | jt << 16 | jf << 24 | k << 32` for each instruction.
        program: Vec<u64>,
    },
    /// Drops capabilities from the bounding set.
    DropBounding {
        /// What stays, a bit for each capability.
        keep: u64,
    },
    /// Becomes the container's user; capabilities are kept until [`StageStep::Capabilities`].
    Credentials(Credentials),
    /// Sets the capabilities; the inheritable and ambient sets become empty.
    Capabilities {
        /// A bit for each capability.
        permitted: u64,
        /// A bit for each capability.
        effective: u64,
    },
    /// Becomes the command: the first candidate that is there. The last step.
    Exec(Command),
}

/// A kind of namespace that can be shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Namespace {
    /// Process numbers.
    Processes,
    /// Shared memory and message queues.
    Ipc,
    /// Host and domain name.
    Names,
    /// The network. The host's is had without this.
    Network,
}

/// Which later mounts travel between the host and a container, below one mount.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// None.
    #[default]
    Private,
    /// Those of the host reach the container.
    Slave,
    /// All.
    Shared,
}

impl Propagation {
    /// As mounts are by default.
    #[must_use]
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde asks for"
    )]
    pub fn is_private(&self) -> bool {
        *self == Self::Private
    }
}

/// How large a terminal is, in characters; 0 for not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A new file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMount {
    /// The type: `proc`, `tmpfs`, `sysfs`, `cgroup2`…
    pub kind: String,
    /// Shown as the source in lists of mounts.
    pub source: String,
    /// Where; made when it is missing.
    pub target: PathBuf,
    /// Refuses a target that is reached through a symlink or is none: for what the system is made of.
    pub strict: bool,
    /// Flags of the mount.
    pub flags: MountFlags,
    /// Options of the file system, in order.
    pub options: Vec<MountOption>,
}

/// A device node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Where.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// A block device, not a character device.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block: bool,
    /// Its user and group; root without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<(u32, u32)>,
}

/// A part of the host that the container sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostMount {
    /// On the host.
    pub source: PathBuf,
    /// In the container; made, of the same kind, when it is missing.
    pub target: PathBuf,
    /// With everything that is mounted below the source.
    pub recursive: bool,
    /// Flags of the mount, on top of the source's own; on all of it when recursive.
    pub flags: MountFlags,
    /// Which later mounts travel.
    #[serde(default, skip_serializing_if = "Propagation::is_private")]
    pub propagation: Propagation,
    /// The flags are for the uppermost mount alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub top_only: bool,
}

/// A resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The kernel's number (`RLIMIT_*`).
    pub resource: u32,
    /// [`u64::MAX`] for none.
    pub soft: u64,
    /// [`u64::MAX`] for none.
    pub hard: u64,
}

/// Who the container runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The user.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// All supplementary groups.
    pub groups: Vec<u32>,
}

/// What the container runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Absolute paths, or paths relative to the working directory, in the order of the search.
    pub candidates: Vec<String>,
    /// The arguments, the command's name first.
    pub argv: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
}

/// Flags of one mount.
#[allow(clippy::struct_excessive_bools, reason = "each is one flag of the kernel")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFlags {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Set-user-id bits and file capabilities have no effect.
    pub nosuid: bool,
    /// Device nodes cannot be opened.
    pub nodev: bool,
    /// Programs cannot be executed.
    pub noexec: bool,
    /// Access times are always kept; otherwise as the kernel does by default.
    pub strictatime: bool,
}

/// One option of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountOption {
    /// The name.
    pub key: String,
    /// The value; a flag has none.
    pub value: Option<String>,
}

impl MountOption {
    /// `key=value`
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    /// `key`
    pub fn flag(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: None,
        }
    }
}

impl Command {
    /// What the user called it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.argv.first().map_or("", |name| name.as_str())
    }
}

impl Plan {
    /// The running container that the plan's process enters; none when it is a container's first process.
    #[must_use]
    pub fn enters(&self) -> Option<&str> {
        self.stage.iter().find_map(|step| {
            if let StageStep::EnterContainer { id } = step {
                Some(id.as_str())
            } else {
                None
            }
        })
    }

    /// Whose namespace of a kind the process has: none for its own, an empty choice for the host's.
    #[must_use]
    pub fn shares(&self, kind: Namespace) -> Option<Option<&str>> {
        self.stage.iter().find_map(|step| {
            if let StageStep::Share { namespace, with } = step
                && *namespace == kind
            {
                Some(with.as_deref())
            } else {
                None
            }
        })
    }

    /// The process has a terminal.
    #[must_use]
    pub fn has_terminal(&self) -> bool {
        let terminal = |step: &StageStep| matches!(step, StageStep::Terminal { .. });
        self.stage.iter().any(terminal)
    }
}
