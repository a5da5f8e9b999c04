//! Why there is no plan. Where Docker has a message of its own for a refusal, it is Docker's: programs look for its words.

/// Why a request is refused, or a container cannot be started as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something that is not done here.
    #[error("not supported: {0}")]
    Unsupported(&'static str),
    /// A value of an option for which other values are supported.
    #[error("not supported: {option} {value:?}")]
    UnsupportedValue {
        /// The option as the API calls it.
        option: &'static str,
        /// What was asked for.
        value: String,
    },
    /// A value that cannot be.
    #[error("invalid {option}: {value:?}: {reason}")]
    Invalid {
        /// The option as the API calls it.
        option: &'static str,
        /// What was asked for.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A number that is out of range or contradicts another.
    #[error("{0}")]
    Limit(&'static str),
    /// More CPUs than there are, or none.
    #[error("Range of CPUs is from 0.01 to {available}.00, as there are only {available} CPUs available")]
    Cpus {
        /// How many there are.
        available: u32,
    },
    /// The kernel has no such controller.
    #[error("the kernel has no {0} cgroup controller, or it is not mounted")]
    NoController(&'static str),
    /// Neither the request nor the image says what to run.
    #[error("No command specified")]
    NoCommand,
    /// A restart policy that does not exist.
    #[error("invalid restart policy '{0}'")]
    RestartPolicy(String),
    /// A log driver that does not exist here.
    #[error("error looking up logging plugin {0}: plugin \"{0}\" not found")]
    LogDriver(String),
    /// An option that the log driver does not have.
    #[error("unknown log opt '{option}' for {driver} log driver")]
    LogOption {
        /// The option.
        option: String,
        /// The driver.
        driver: &'static str,
    },
    /// An exec of nothing.
    #[error("No exec command specified")]
    NoExecCommand,
    /// A signal that does not exist.
    #[error("Invalid signal: {0}")]
    Signal(String),
    /// The working directory is relative.
    #[error("the working directory '{0}' is invalid, it needs to be an absolute path")]
    WorkingDirectory(String),
    /// A capability that does not exist.
    #[error("invalid {list}: unknown capability: \"CAP_{name}\"")]
    UnknownCapability {
        /// `CapAdd` or `CapDrop`.
        list: &'static str,
        /// Without its prefix.
        name: String,
    },
    /// A capability that the daemon has not got itself.
    #[error("capability CAP_{0} cannot be added: the daemon itself does not have it")]
    CapabilityNotHeld(&'static str),
    /// A security option that does not exist.
    #[error("invalid --security-opt 2: {0:?}")]
    SecurityOption(String),
    /// A bind that cannot be read.
    #[error("invalid volume specification: '{0}'")]
    Volume(String),
    /// An option of a bind that is not known.
    #[error("invalid mode: {0}")]
    VolumeMode(String),
    /// Two mounts on one place.
    #[error("Duplicate mount point: {0}")]
    DuplicateMount(String),
    /// A place where nothing may be mounted.
    #[error("invalid mount target {target:?}: {reason}")]
    MountTarget {
        /// As asked for.
        target: String,
        /// Why not.
        reason: &'static str,
    },
    /// An option of a tmpfs mount that is not known.
    #[error("invalid tmpfs option {0:?}")]
    TmpfsOption(String),
    /// A resource limit that does not exist.
    #[error("invalid ulimit type: {0}")]
    UlimitType(String),
    /// A soft limit over the hard one.
    #[error("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")]
    UlimitRange {
        /// As asked for.
        soft: i64,
        /// As asked for.
        hard: i64,
    },
    /// A kernel setting that is not the container's own.
    #[error("sysctl '{0}' is not allowed")]
    Sysctl(String),
    /// A setting of the network while the network is the host's.
    #[error("sysctl '{0}' not allowed in host network namespace")]
    HostSysctl(String),
    /// A setting of a namespace while the namespace is the host's.
    #[error("sysctl '{0}' is not allowed: its namespace is the host's")]
    SharedSysctl(String),
    /// The kernel cannot filter system calls, or no filter is known for the machine.
    #[error(
        "no system call filter can be made for this kernel; ask for seccomp=unconfined to run without one"
    )]
    NoSeccomp,
    /// A user that the container does not know.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoSuchUser(String),
    /// A group that the container does not know.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoSuchGroup(String),
    /// A user or group number that does not fit.
    #[error("uid or gid {0:?} is out of range: 0 to 4294967294")]
    AccountRange(String),
    /// More groups than the kernel takes.
    #[error("user {user:?} is in more than {limit} groups")]
    TooManyGroups {
        /// The user.
        user: String,
        /// The kernel's limit.
        limit: usize,
    },
    /// What was chosen for the start does not fit the container.
    #[error("container {id}: {reason}")]
    Placement {
        /// Which container.
        id: String,
        /// What does not fit.
        reason: &'static str,
    },
    /// A mode of a namespace that does not exist.
    #[error("invalid {option} mode: {value}")]
    Mode {
        /// Which kind of namespace.
        option: &'static str,
        /// As asked for.
        value: String,
    },
    /// The way in which a device may be used cannot be read.
    #[error("invalid device mode: {0}")]
    DeviceMode(String),
    /// A rule for devices that cannot be read.
    #[error("invalid device cgroup rule: '{0}'")]
    DeviceRule(String),
    /// A name that no volume can have.
    #[error(
        "create {0}: \"{0}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
    )]
    VolumeName(String),
    /// A mount whose description contradicts itself.
    #[error("invalid mount config for type \"{kind}\": {reason}")]
    MountConfig {
        /// The type of the mount.
        kind: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// A system call filter that cannot be made of what was sent.
    #[error("Decoding seccomp profile failed: {0}")]
    Profile(String),
    /// The system call filter came out too long for the kernel.
    #[error("system call filter has {0} instructions, the kernel takes 4096")]
    FilterTooLong(usize),
}
