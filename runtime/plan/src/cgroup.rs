//! Control groups: the container's directories, its limits, how it joins, and what of it the container sees.

use std::path::{Path, PathBuf};

use crate::devices;
use crate::error::PlanError;
use crate::facts::{CgroupLayout, Facts, Hierarchy};
use crate::mounts::system_mount;
use crate::spec::{CgroupNamespace, CpuQuota, FoundDevice, Limits, Spec};
use crate::step::{
    DeviceControl, HostMount, HostStep, MountFlags, MountOption, NewMount, Propagation, StageStep,
};

/// Where a container sees control groups.
pub(crate) const TARGET: &str = "/sys/fs/cgroup";

/// The controllers of version 2 that limits need.
const DELEGATED: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];

/// Nothing but directories and links is in the tmpfs above the trees of version 1.
const VIEW_SIZE: &str = "64k";

/// The control group of one container.
#[derive(Debug)]
pub(crate) struct Cgroup<'a> {
    layout: &'a CgroupLayout,
    /// The engine's directory, relative to the mount points; each part of it is made.
    parents: Vec<PathBuf>,
    /// The container's directory, relative to the mount points.
    own: PathBuf,
    spec: &'a Spec,
    /// Devices that were found for the container.
    devices: &'a [FoundDevice],
}

impl<'a> Cgroup<'a> {
    /// `parent` is the engine's directory, relative to the mount points.
    pub(crate) fn new(spec: &'a Spec, facts: &'a Facts, parent: &str) -> Result<Self, PlanError> {
        let parts: Vec<&str> = parent.split('/').filter(|part| !part.is_empty()).collect();
        let clean = |part: &&str| *part != "." && *part != ".." && !part.contains('\0');
        if parts.is_empty() || !parts.iter().all(clean) {
            return Err(PlanError::Placement {
                id: spec.id.clone(),
                reason: "the control group's parent is not a plain relative path",
            });
        }
        let parents: Vec<PathBuf> = (1..=parts.len())
            .map(|count| parts[..count].iter().collect())
            .collect();
        let own: PathBuf = parts.iter().copied().chain([spec.id.as_str()]).collect();
        Ok(Self {
            layout: &facts.cgroup,
            parents,
            own,
            spec,
            devices: &[],
        })
    }

    /// With the devices that were found for the container.
    pub(crate) fn with_devices(self, devices: &'a [FoundDevice]) -> Self {
        Self { devices, ..self }
    }

    /// Directories, limits and device rules.
    pub(crate) fn host_steps(&self) -> Result<Vec<HostStep>, PlanError> {
        let (mut steps, writes, devices) = match self.layout {
            CgroupLayout::V1 { hierarchies } => {
                let devices = HostStep::DeviceRules {
                    path: self.directory("devices")?,
                    by: DeviceControl::V1Files,
                    rules: devices::rules_of(self.spec, self.devices),
                };
                let directories = hierarchies
                    .iter()
                    .flat_map(|hierarchy| self.directories_v1(hierarchy));
                (
                    directories.collect::<Vec<_>>(),
                    limits_v1(&self.spec.limits),
                    devices,
                )
            }
            CgroupLayout::V2 { mount, controllers } => {
                let devices = HostStep::DeviceRules {
                    path: mount.join(&self.own),
                    by: DeviceControl::V2Program,
                    rules: devices::rules_of(self.spec, self.devices),
                };
                (
                    self.directories_v2(mount, controllers),
                    limits_v2(&self.spec.limits),
                    devices,
                )
            }
        };
        for (controller, file, value) in writes {
            let path = self.directory(controller)?.join(file);
            steps.push(HostStep::WriteCgroup { path, value });
        }
        // Without rules everything is allowed.
        steps.extend(Some(devices).filter(|_| !self.spec.privileged));
        Ok(steps)
    }

    /// Version 2: the directory that the container is born into.
    pub(crate) fn born_in(&self) -> Option<PathBuf> {
        match self.layout {
            CgroupLayout::V1 { .. } => None,
            CgroupLayout::V2 { mount, .. } => Some(mount.join(&self.own)),
        }
    }

    /// The file that counts kills for memory.
    pub(crate) fn oom_counter(&self) -> Option<PathBuf> {
        let file = if self.layout.is_v2() {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        Some(self.directory("memory").ok()?.join(file))
    }

    /// Joins every tree, and makes them the roots of what is seen.
    pub(crate) fn join(&self) -> Vec<StageStep> {
        let mut steps = self.join_running();
        if self.spec.cgroup_namespace == CgroupNamespace::Private {
            steps.push(StageStep::UnshareCgroup);
        }
        steps
    }

    /// Joins every tree of a container that has its namespace already.
    pub(crate) fn join_running(&self) -> Vec<StageStep> {
        let mut steps = Vec::new();
        if let CgroupLayout::V1 { hierarchies } = self.layout {
            let join = |hierarchy: &Hierarchy| StageStep::JoinCgroup {
                tasks: hierarchy.mount.join(&self.own).join("tasks"),
            };
            steps.extend(hierarchies.iter().map(join));
        }
        steps
    }

    /// What the container sees of them, read-only.
    pub(crate) fn view(&self) -> Vec<StageStep> {
        let flags = MountFlags {
            read_only: !self.spec.privileged,
            ..system_mount()
        };
        match self.layout {
            CgroupLayout::V2 { .. } => vec![StageStep::Mount(NewMount {
                kind: "cgroup2".to_owned(),
                source: "cgroup".to_owned(),
                target: PathBuf::from(TARGET),
                strict: true,
                flags,
                options: Vec::new(),
            })],
            CgroupLayout::V1 { hierarchies } => {
                let mut steps = vec![StageStep::Mount(NewMount {
                    kind: "tmpfs".to_owned(),
                    source: "tmpfs".to_owned(),
                    target: PathBuf::from(TARGET),
                    strict: true,
                    flags: system_mount(),
                    options: vec![
                        MountOption::new("mode", "755"),
                        MountOption::new("size", VIEW_SIZE),
                    ],
                })];
                let trees = hierarchies.iter().map(|hierarchy| self.tree(hierarchy, flags));
                steps.extend(trees.flatten());
                steps
            }
        }
    }

    /// Makes what holds the trees of version 1 read-only too, once everything in it has been made. A mount of the user
    /// on its place is the user's own.
    pub(crate) fn seal(&self) -> Option<StageStep> {
        let path = PathBuf::from(TARGET);
        let ours = self.spec.mounts.iter().all(|mount| mount.target != path);
        (ours && !self.spec.privileged && !self.layout.is_v2()).then_some(StageStep::ReadonlyPath { path })
    }

    fn tree(&self, hierarchy: &Hierarchy, flags: MountFlags) -> Vec<StageStep> {
        let directory = hierarchy.mount.file_name().unwrap_or_default();
        let target = Path::new(TARGET).join(directory);
        let named = hierarchy.name.iter().map(|name| MountOption::new("name", name));
        let controllers = hierarchy.controllers.iter().map(MountOption::flag);
        let mount = match self.spec.cgroup_namespace {
            CgroupNamespace::Private => StageStep::Mount(NewMount {
                kind: "cgroup".to_owned(),
                source: "cgroup".to_owned(),
                target,
                strict: true,
                flags,
                options: controllers.chain(named).collect(),
            }),
            CgroupNamespace::Host => StageStep::Bind(HostMount {
                source: hierarchy.mount.join(&self.own),
                target,
                recursive: false,
                flags,
                propagation: Propagation::Private,
                top_only: false,
            }),
        };
        let other_names = hierarchy
            .controllers
            .iter()
            .filter(|name| directory != name.as_str());
        let link = |name: &String| StageStep::Symlink {
            text: directory.to_string_lossy().into_owned(),
            path: Path::new(TARGET).join(name),
        };
        std::iter::once(mount).chain(other_names.map(link)).collect()
    }

    fn directories_v1(&self, hierarchy: &Hierarchy) -> Vec<HostStep> {
        let cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
        let shared = self.parents.iter().map(|path| (path, true));
        let mut steps = Vec::new();
        for (path, shared) in shared.chain([(&self.own, false)]) {
            let path = hierarchy.mount.join(path);
            steps.push(HostStep::MakeCgroup {
                path: path.clone(),
                shared,
            });
            if cpuset {
                steps.push(HostStep::InheritCpuset { path });
            }
        }
        steps
    }

    /// Every directory above the container's hands the controllers down.
    fn directories_v2(&self, mount: &Path, controllers: &[String]) -> Vec<HostStep> {
        let known = |name: &&&str| controllers.iter().any(|own| own == **name);
        let delegated: Vec<String> = DELEGATED
            .iter()
            .filter(known)
            .map(|name| format!("+{name}"))
            .collect();
        let hand_down = |directory: &Path| HostStep::WriteCgroup {
            path: directory.join("cgroup.subtree_control"),
            value: delegated.join(" "),
        };
        let mut steps = Vec::new();
        if !delegated.is_empty() {
            steps.push(hand_down(mount));
        }
        for parent in &self.parents {
            let path = mount.join(parent);
            steps.push(HostStep::MakeCgroup {
                path: path.clone(),
                shared: true,
            });
            if !delegated.is_empty() {
                steps.push(hand_down(&path));
            }
        }
        steps.push(HostStep::MakeCgroup {
            path: mount.join(&self.own),
            shared: false,
        });
        steps
    }

    fn directory(&self, controller: &'static str) -> Result<PathBuf, PlanError> {
        let mount = self.layout.controller(controller);
        let mount = mount.ok_or(PlanError::NoController(controller))?;
        Ok(mount.join(&self.own))
    }
}

/// What has to be written to give a running container other limits, in an order that the kernel takes.
///
/// # Errors
/// When the kernel has no such controller.
pub fn update(spec: &Spec, new: &Limits, facts: &Facts, parent: &str) -> Result<Vec<HostStep>, PlanError> {
    let group = Cgroup::new(spec, facts, parent)?;
    let steps = changes(&spec.limits, new, facts.cgroup.is_v2()).into_iter();
    let step = |(controller, file, value): Write| {
        let path = group.directory(controller)?.join(file);
        Ok(HostStep::WriteCgroup { path, value })
    };
    steps.map(step).collect()
}

/// Only what differs; a limit that is gone is written as none.
fn changes(old: &Limits, new: &Limits, v2: bool) -> Vec<Write> {
    let all = if v2 { limits_v2 } else { limits_v1 };
    let (before, after) = (all(old), all(new));
    let value = |writes: &[Write], name: &str| {
        let found = writes.iter().find(|(_, file, _)| *file == name);
        found.map(|(_, _, value)| value.clone())
    };
    let mut writes: Vec<Write> = after
        .iter()
        .filter(|(_, file, new)| value(&before, file).as_ref() != Some(new))
        .cloned()
        .collect();
    let gone = before.iter().filter(|(_, file, _)| value(&after, file).is_none());
    writes.extend(
        gone.filter_map(|(controller, file, _)| Some((*controller, *file, none_of(file)?.to_owned()))),
    );
    // Memory alone never exceeds memory with swap: the wider one grows first, and shrinks last.
    let place = |name: &str| writes.iter().position(|(_, file, _)| *file == name);
    let grows = match (old.memory_and_swap, new.memory_and_swap) {
        (Some(old), Some(new)) => new > old,
        (Some(_), None) => true,
        (None, _) => false,
    };
    if let (true, Some(memory), Some(both)) = (
        grows,
        place("memory.limit_in_bytes"),
        place("memory.memsw.limit_in_bytes"),
    ) {
        let both = writes.remove(both);
        writes.insert(memory, both);
    }
    writes
}

/// What a file says without a limit; none for what cannot be taken back.
fn none_of(file: &str) -> Option<&'static str> {
    match file {
        "pids.max" | "memory.max" | "memory.swap.max" => Some("max"),
        "memory.limit_in_bytes" | "memory.memsw.limit_in_bytes" | "cpu.cfs_quota_us" => Some("-1"),
        "cpu.max" => Some("max 100000"),
        _ => None,
    }
}

/// Makes sure that every limit can be set.
pub(crate) fn check(limits: &Limits, layout: &CgroupLayout) -> Result<(), PlanError> {
    let writes = if layout.is_v2() {
        limits_v2(limits)
    } else {
        limits_v1(limits)
    };
    let missing = writes
        .into_iter()
        .map(|(controller, _, _)| controller)
        .find(|controller| layout.controller(controller).is_none());
    missing.map_or(Ok(()), |controller| Err(PlanError::NoController(controller)))
}

/// Controller, file and value.
type Write = (&'static str, &'static str, String);

/// A new directory is unlimited, so the limit on memory alone is set before the one that includes swap.
fn limits_v1(limits: &Limits) -> Vec<Write> {
    let quota = |quota: Option<u64>| quota.map_or_else(|| "-1".to_owned(), |quota| quota.to_string());
    let cpu = limits.cpu_quota;
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let values = [
        ("memory", "memory.limit_in_bytes", number(limits.memory)),
        (
            "memory",
            "memory.memsw.limit_in_bytes",
            number(limits.memory_and_swap),
        ),
        (
            "memory",
            "memory.soft_limit_in_bytes",
            number(limits.memory_reservation),
        ),
        (
            "memory",
            "memory.swappiness",
            number(limits.swappiness.map(u64::from)),
        ),
        (
            "memory",
            "memory.oom_control",
            limits.oom_kill_disable.then(|| "1".to_owned()),
        ),
        ("cpu", "cpu.shares", number(limits.cpu_shares)),
        ("cpu", "cpu.cfs_period_us", number(cpu.map(|cpu| cpu.period))),
        ("cpu", "cpu.cfs_quota_us", cpu.map(|cpu| quota(cpu.quota))),
        ("cpuset", "cpuset.cpus", limits.cpuset_cpus.clone()),
        ("cpuset", "cpuset.mems", limits.cpuset_mems.clone()),
        ("pids", "pids.max", number(limits.pids)),
    ];
    given(values)
}

fn limits_v2(limits: &Limits) -> Vec<Write> {
    let swap = limits
        .memory_and_swap
        .map(|total| total.saturating_sub(limits.memory.unwrap_or(0)));
    let cpu = |CpuQuota { quota, period }: CpuQuota| match quota {
        Some(quota) => format!("{quota} {period}"),
        None => format!("max {period}"),
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let values = [
        ("memory", "memory.max", number(limits.memory)),
        ("memory", "memory.swap.max", number(swap)),
        ("memory", "memory.low", number(limits.memory_reservation)),
        ("cpu", "cpu.weight", number(limits.cpu_shares.map(weight))),
        ("cpu", "cpu.max", limits.cpu_quota.map(cpu)),
        ("cpuset", "cpuset.cpus", limits.cpuset_cpus.clone()),
        ("cpuset", "cpuset.mems", limits.cpuset_mems.clone()),
        ("pids", "pids.max", number(limits.pids)),
    ];
    given(values)
}

fn given<const N: usize>(values: [(&'static str, &'static str, Option<String>); N]) -> Vec<Write> {
    let given = |(controller, file, value): (_, _, Option<String>)| Some((controller, file, value?));
    values.into_iter().filter_map(given).collect()
}

/// Shares (2 to 262144, 1024 by default) as a weight (1 to 10000, 100 by default): on the curve through these three
/// points that the other runtimes use.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    let exponent = |shares: u32| {
        let log = f64::from(shares).log2();
        (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0
    };
    let wanted = exponent(u32::try_from(shares.min(262_144)).unwrap_or(262_144));
    let (mut low, mut high) = (1_u32, 10_000_u32);
    while low < high {
        let middle = low.midpoint(high);
        // A rounding error must not turn an exact result into the next one.
        if f64::from(middle).log10() + 1e-9 < wanted {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    u64::from(low)
}

#[cfg(test)]
mod tests {
    use super::{changes, weight};
    use crate::spec::Limits;

    #[test]
    fn only_changes_are_written_in_an_order_that_the_kernel_takes() {
        let limits = |memory: u64, both: Option<u64>, pids: Option<u64>| Limits {
            memory: Some(memory),
            memory_and_swap: both,
            pids,
            ..Limits::default()
        };
        let check = |old: &Limits, new: &Limits, v2: bool| {
            let writes = changes(old, new, v2).into_iter();
            let writes: Vec<String> = writes.map(|(_, file, value)| format!("{file}={value}")).collect();
            writes.join(" ")
        };
        let (small, large) = (limits(10, Some(20), Some(5)), limits(30, Some(60), None));
        assert_eq!(
            check(&small, &large, false),
            "memory.memsw.limit_in_bytes=60 memory.limit_in_bytes=30 pids.max=max"
        );
        assert_eq!(
            check(&large, &small, false),
            "memory.limit_in_bytes=10 memory.memsw.limit_in_bytes=20 pids.max=5"
        );
        assert_eq!(
            check(&small, &large, true),
            "memory.max=30 memory.swap.max=30 pids.max=max"
        );
        assert_eq!(check(&small, &small, false), "");
        assert_eq!(
            check(&small, &limits(30, None, Some(5)), false),
            "memory.memsw.limit_in_bytes=-1 memory.limit_in_bytes=30"
        );
    }

    #[test]
    fn shares_as_weights() {
        for (shares, wanted) in [
            (0, 1),
            (2, 1),
            (3, 2),
            (512, 59),
            (1024, 100),
            (2048, 174),
            (262_144, 10_000),
        ] {
            assert_eq!(weight(shares), wanted, "{shares}");
        }
        assert_eq!(weight(u64::MAX), 10_000);
        let all: Vec<u64> = (2..262_144).step_by(97).map(weight).collect();
        assert!(all.is_sorted());
    }
}
