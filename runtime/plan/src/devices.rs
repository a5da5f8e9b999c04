//! Devices: what stands in `/dev`, and what the device controller allows.

use std::path::{Path, PathBuf};

use crate::facts::Facts;
use crate::spec::{FoundDevice, Spec};
use crate::step::{DeviceKind, DeviceRule, Node, StageStep};

/// Name, major and minor number of every node.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Name and text of every link.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Readable by everybody: what they lead to is harmless.
const NODE_MODE: u32 = 0o666;

/// Nodes and links in `/dev`.
pub(crate) fn nodes(facts: &Facts) -> Vec<StageStep> {
    let dev = Path::new("/dev");
    let node = |(name, major, minor): (&str, u32, u32)| {
        StageStep::MakeNode(Node {
            path: dev.join(name),
            mode: NODE_MODE,
            major,
            minor,
            block: false,
            owner: None,
        })
    };
    let link = |(name, text): (&str, &str)| StageStep::Symlink {
        text: text.to_owned(),
        path: dev.join(name),
    };
    let core = facts.kcore.then_some(("core", "/proc/kcore"));
    let nodes = NODES.into_iter().map(node);
    nodes.chain(LINKS.into_iter().chain(core).map(link)).collect()
}

/// Nodes of the host's devices, in directories that are made for them. What stands in `/dev` already stays.
pub(crate) fn given(found: &[FoundDevice]) -> Vec<StageStep> {
    let dev = Path::new("/dev");
    let taken = |path: &Path| {
        let names = NODES
            .iter()
            .map(|(name, ..)| *name)
            .chain(LINKS.map(|(name, _)| name));
        let own = ["core", "console", "pts", "shm", "mqueue"];
        names.chain(own).any(|name| path == dev.join(name))
    };
    let mut steps = Vec::new();
    for device in found.iter().filter(|device| !taken(&device.path)) {
        let parent = device
            .path
            .parent()
            .filter(|parent| *parent != dev && *parent != Path::new("/"));
        let made = parent.map(|parent| StageStep::MakeDirectory {
            path: parent.to_owned(),
            mode: 0o755,
        });
        steps.extend(made.filter(|step| !steps.contains(step)));
        steps.push(StageStep::MakeNode(Node {
            path: device.path.clone(),
            mode: device.mode,
            major: device.major,
            minor: device.minor,
            block: device.kind == DeviceKind::Block,
            owner: Some((device.uid, device.gid)),
        }));
    }
    steps
}

/// The rules of a container: the common ones, its own, and those of its devices.
pub(crate) fn rules_of(spec: &Spec, found: &[FoundDevice]) -> Vec<DeviceRule> {
    let mut all = rules();
    for rule in spec
        .device_rules
        .iter()
        .chain(found.iter().map(|device| &device.rule))
    {
        if !all.contains(rule) {
            all.push(*rule);
        }
    }
    all
}

/// What a container may do: use the harmless devices and its terminals, and make any node without being able to open it.
fn rules() -> Vec<DeviceRule> {
    /// `/dev/tty`, `/dev/console`, `/dev/ptmx` and the terminals behind it.
    const TERMINALS: [(u32, Option<u32>); 4] = [(5, Some(0)), (5, Some(1)), (5, Some(2)), (136, None)];
    let usable = |(major, minor): (u32, Option<u32>)| DeviceRule {
        kind: DeviceKind::Character,
        major: Some(major),
        minor,
        read: true,
        write: true,
        mknod: true,
    };
    let makeable = |kind: DeviceKind| DeviceRule {
        kind,
        major: None,
        minor: None,
        read: false,
        write: false,
        mknod: true,
    };
    let harmless = NODES
        .into_iter()
        .filter(|(_, major, _)| *major == 1)
        .map(|(_, major, minor)| (major, Some(minor)));
    let usable = harmless.chain(TERMINALS).map(usable);
    usable
        .chain([DeviceKind::Character, DeviceKind::Block].map(makeable))
        .collect()
}

/// What tells how busy the host is: hidden with the other paths.
pub(crate) fn thermal_paths(facts: &Facts) -> impl Iterator<Item = PathBuf> {
    facts
        .thermal_throttle
        .iter()
        .map(|cpu| PathBuf::from(format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle")))
}
