//! What the daemon finds out about the host, once.

use std::fs;
use std::path::{Path, PathBuf};

use berth_plan::{Architecture, CgroupLayout, Facts, Hierarchy};
use caps::{CapSet, Capability};

use crate::error::ExecError;
use crate::sys::{self, Probe};

const CPUS: &str = "/sys/devices/system/cpu";

/// What containers cannot do without.
const NEEDED: [(Probe, &str); 5] = [
    (Probe::Clone3, "clone3"),
    (Probe::Openat2, "openat2"),
    (Probe::MountSetattr, "mount_setattr"),
    (Probe::CloseRange, "close_range"),
    (Probe::PidfdSendSignal, "pidfd_send_signal"),
];

/// Looks at the host.
///
/// # Errors
/// What containers cannot do without and is not there, by name.
pub fn facts() -> Result<Facts, ExecError> {
    if let Some((_, what)) = NEEDED.iter().find(|(call, _)| !sys::knows(*call)) {
        return Err(ExecError::Kernel { what });
    }
    let cgroup = cgroup_layout()?;
    let name = rustix::system::uname();
    Ok(Facts {
        swap_limit: has(
            &cgroup,
            "memory",
            "memory.memsw.limit_in_bytes",
            "memory.swap.max",
        ),
        cpu_quota: has(&cgroup, "cpu", "cpu.cfs_quota_us", "cpu.max"),
        cgroup,
        cpus: count_cpus()?,
        memory_total: memory_total(),
        last_capability: number(Path::new("/proc/sys/kernel/cap_last_cap"))?,
        bounding: bounding()?,
        seccomp: sys::knows(Probe::Seccomp),
        apparmor: read(Path::new("/sys/module/apparmor/parameters/enabled")).is_some_and(|text| text == "Y"),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
        architecture: architecture(name.machine().to_bytes()),
        kcore: Path::new("/proc/kcore").exists(),
        ipv6: Path::new("/proc/sys/net/ipv6").exists(),
        thermal_throttle: thermal_throttle(),
        kernel_release: name.release().to_string_lossy().into_owned(),
        hostname: name.nodename().to_string_lossy().into_owned(),
    })
}

fn architecture(machine: &[u8]) -> Option<Architecture> {
    match machine {
        b"x86_64" => Some(Architecture::X86_64),
        b"aarch64" => Some(Architecture::Aarch64),
        _ => None,
    }
}

fn read(path: &Path) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_owned())
}

fn number<T: std::str::FromStr>(path: &Path) -> Result<T, ExecError> {
    let text = fs::read_to_string(path).map_err(ExecError::path("reading", path))?;
    text.trim().parse().map_err(|_| ExecError::Text {
        path: path.to_owned(),
    })
}

fn count_cpus() -> Result<u32, ExecError> {
    let path = Path::new(CPUS).join("online");
    let text = fs::read_to_string(&path).map_err(ExecError::path("reading", &path))?;
    ranges(text.trim()).ok_or(ExecError::Text { path })
}

/// How many numbers `0-3,7` stands for.
fn ranges(text: &str) -> Option<u32> {
    text.split(',').try_fold(0_u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

fn memory_total() -> u64 {
    let info = rustix::system::sysinfo();
    info.totalram.saturating_mul(u64::from(info.mem_unit))
}

fn bounding() -> Result<u64, ExecError> {
    let set = caps::read(None, CapSet::Bounding)
        .map_err(|error| ExecError::io("reading the bounding set")(std::io::Error::other(error)))?;
    Ok(set.iter().map(Capability::bitmask).fold(0, |all, bit| all | bit))
}

fn thermal_throttle() -> Vec<u32> {
    let entries = fs::read_dir(CPUS).into_iter().flatten().flatten();
    let mut found: Vec<u32> = entries
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix("cpu")?.parse().ok()?;
            entry.path().join("thermal_throttle").exists().then_some(number)
        })
        .collect();
    found.sort_unstable();
    found
}

/// Whether a controller has a file. On v2 the root has none of them, so one of its children is asked.
fn has(layout: &CgroupLayout, controller: &str, v1: &str, v2: &str) -> bool {
    match layout {
        CgroupLayout::V1 { hierarchies } => hierarchies
            .iter()
            .filter(|tree| tree.controllers.iter().any(|own| own == controller))
            .any(|tree| tree.mount.join(v1).exists()),
        CgroupLayout::V2 { mount, .. } => fs::read_dir(mount)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.path().join(v2).exists()),
    }
}

/// Where the control groups are.
pub(crate) fn cgroup_layout() -> Result<CgroupLayout, ExecError> {
    let path = Path::new("/proc/self/mountinfo");
    let text = fs::read_to_string(path).map_err(ExecError::path("reading", path))?;
    let found = trees(&text);
    let has = |name: &str| {
        found
            .hierarchies
            .iter()
            .any(|tree| tree.controllers.iter().any(|own| own == name))
    };
    if has("memory") || has("pids") {
        return Ok(CgroupLayout::V1 {
            hierarchies: found.hierarchies,
        });
    }
    let mount = found.unified.ok_or(ExecError::Kernel { what: "cgroups" })?;
    let list = mount.join("cgroup.controllers");
    let controllers = fs::read_to_string(&list).map_err(ExecError::path("reading", &list))?;
    Ok(CgroupLayout::V2 {
        controllers: controllers.split_whitespace().map(str::to_owned).collect(),
        mount,
    })
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Trees {
    hierarchies: Vec<Hierarchy>,
    unified: Option<PathBuf>,
}

/// Super block options that are no controllers.
const NO_CONTROLLERS: [&str; 6] = [
    "rw",
    "ro",
    "xattr",
    "noprefix",
    "clone_children",
    "cpuset_v2_mode",
];

/// Reads `/proc/self/mountinfo`. What is mounted twice counts once.
fn trees(text: &str) -> Trees {
    let mut found = Trees::default();
    for line in text.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let fields: Vec<&str> = before.split(' ').collect();
        let kind: Vec<&str> = after.split(' ').collect();
        let (Some(root), Some(mount), [kind, _, options]) = (fields.get(3), fields.get(4), kind.as_slice())
        else {
            continue;
        };
        let mount = unescape(mount);
        match *kind {
            "cgroup2" if *root == "/" && found.unified.is_none() => found.unified = Some(mount),
            "cgroup" if *root == "/" => {
                let tree = hierarchy(options, mount);
                let same =
                    |other: &Hierarchy| other.controllers == tree.controllers && other.name == tree.name;
                if !found.hierarchies.iter().any(same) {
                    found.hierarchies.push(tree);
                }
            }
            _ => {}
        }
    }
    found
}

fn hierarchy(options: &str, mount: PathBuf) -> Hierarchy {
    let mut tree = Hierarchy {
        controllers: Vec::new(),
        name: None,
        mount,
    };
    for option in options.split(',') {
        match option.split_once('=') {
            Some(("name", name)) => tree.name = Some(name.to_owned()),
            // `release_agent=` and its like.
            Some(_) => {}
            None if NO_CONTROLLERS.contains(&option) => {}
            None => tree.controllers.push(option.to_owned()),
        }
    }
    tree
}

/// The kernel writes blanks and backslashes of paths as octal numbers.
fn unescape(text: &str) -> PathBuf {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    PathBuf::from(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /sys/fs/cgroup/my\\040memory rw,relatime - cgroup cgroup rw,memory
34 31 0:30 / /elsewhere rw,relatime - cgroup cgroup rw,memory
35 31 0:31 /docker/a /inside rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn trees_are_told_apart() {
        let found = trees(HYBRID);
        assert_eq!(
            found.unified.as_deref(),
            Some(Path::new("/sys/fs/cgroup/unified"))
        );
        let shown: Vec<_> = found
            .hierarchies
            .iter()
            .map(|tree| {
                let name = tree.name.as_deref().unwrap_or("-");
                format!("{} {name} {}", tree.controllers.join("+"), tree.mount.display())
            })
            .collect();
        assert_eq!(
            shown,
            [
                "cpu+cpuacct - /sys/fs/cgroup/cpu,cpuacct",
                "memory - /sys/fs/cgroup/my memory",
                " systemd /sys/fs/cgroup/systemd",
            ]
        );
    }

    #[test]
    fn numbers_of_cpus() {
        assert_eq!(
            (ranges("0"), ranges("0-3,7"), ranges("3-1")),
            (Some(1), Some(5), None)
        );
        assert_eq!((ranges(""), ranges("0-4294967295")), (None, None));
    }

    #[test]
    fn this_host_has_what_it_takes() {
        let facts = facts().unwrap();
        assert!(facts.cpus > 0 && facts.memory_total > 0 && facts.last_capability > 30);
        assert!(!facts.kernel_release.is_empty());
    }
}
