//! What is known about the host. The daemon finds it out once, when it starts; a plan depends on nothing else of it.

use std::path::{Path, PathBuf};

/// The host, as far as plans depend on it.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent property of the kernel"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Where the control groups are.
    pub cgroup: CgroupLayout,
    /// The kernel counts swap: `memory.memsw.limit_in_bytes` (v1) or `memory.swap.max` (v2) is there.
    pub swap_limit: bool,
    /// The kernel limits CPU time: `cpu.cfs_quota_us` (v1) or `cpu.max` (v2) is there.
    pub cpu_quota: bool,
    /// CPUs that are online.
    pub cpus: u32,
    /// All memory, in bytes.
    pub memory_total: u64,
    /// The kernel's highest capability (`/proc/sys/kernel/cap_last_cap`).
    pub last_capability: u8,
    /// The daemon's bounding set, a bit for each capability: no container gets more.
    pub bounding: u64,
    /// The kernel takes system call filters.
    pub seccomp: bool,
    /// AppArmor is enabled.
    pub apparmor: bool,
    /// SELinux is enabled.
    pub selinux: bool,
    /// What the system call filter is made for; none on a machine that no filter can be made for.
    pub architecture: Option<Architecture>,
    /// `/proc/kcore` is there.
    pub kcore: bool,
    /// `/proc/sys/net/ipv6` is there.
    pub ipv6: bool,
    /// The numbers of the CPUs that have `/sys/devices/system/cpu/cpuN/thermal_throttle`, in order.
    pub thermal_throttle: Vec<u32>,
    /// `uname -r`
    pub kernel_release: String,
    /// `uname -n`: the name that a container with the host's network gets.
    pub hostname: String,
}

/// A machine whose system calls are known by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `x86_64`
    X86_64,
    /// `aarch64`
    Aarch64,
}

/// Where the control groups are. A host with both versions is of the version that has `memory` and `pids`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupLayout {
    /// A tree for each controller.
    V1 {
        /// All of them that are mounted, the named ones too, in the order of `/proc/self/mountinfo`.
        hierarchies: Vec<Hierarchy>,
    },
    /// One tree for all.
    V2 {
        /// Its mount point.
        mount: PathBuf,
        /// What its root's `cgroup.controllers` says.
        controllers: Vec<String>,
    },
}

/// One tree of version 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers as they stand in its mount options, such as `cpu` and `cpuacct`; none in a named hierarchy.
    pub controllers: Vec<String>,
    /// The name of a hierarchy without controllers, such as `systemd`.
    pub name: Option<String>,
    /// Its mount point.
    pub mount: PathBuf,
}

impl CgroupLayout {
    /// Whether it is the unified hierarchy.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        match self {
            Self::V1 { .. } => false,
            Self::V2 { .. } => true,
        }
    }

    /// Where the controller's tree is mounted; none when it is not there.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<&Path> {
        match self {
            Self::V1 { hierarchies } => hierarchies
                .iter()
                .find(|hierarchy| hierarchy.controllers.iter().any(|own| own == name))
                .map(|hierarchy| hierarchy.mount.as_path()),
            Self::V2 { mount, controllers } => controllers
                .iter()
                .any(|own| own == name)
                .then_some(mount.as_path()),
        }
    }
}
