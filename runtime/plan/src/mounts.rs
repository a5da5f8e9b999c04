//! What a container's file system is put together from: system mounts, the user's, and files of its own.

use std::path::{Path, PathBuf};

use crate::cgroup::{self, Cgroup};
use crate::devices;
use crate::facts::Facts;
use crate::spec::{Ipc, MountSource, Placement, Spec, UserMount, VolumeMount};
use crate::step::{Command, HostMount, MountFlags, MountOption, NewMount, Propagation, StageStep};

/// Where the group `tty` is in every distribution: terminals belong to it.
const TTY_GROUP: &str = "5";

/// `/dev` holds nodes and links, no data.
const DEV_SIZE: &str = "65536k";

/// Where a container has the program that reaps and passes signals on, and what that needs.
const INIT: &str = "/sbin/.berth-init";

/// Files of the container's own directory, and where they appear.
const OWN_FILES: [(&str, &str); 3] = [
    ("resolv.conf", "/etc/resolv.conf"),
    ("hostname", "/etc/hostname"),
    ("hosts", "/etc/hosts"),
];

/// How mounts are flagged that hold no programs and no devices.
pub(crate) fn system_mount() -> MountFlags {
    MountFlags {
        nosuid: true,
        nodev: true,
        noexec: true,
        ..MountFlags::default()
    }
}

/// Everything between attaching the root and pivoting to it.
pub(crate) fn stage_steps(
    spec: &Spec,
    facts: &Facts,
    placement: &Placement,
    group: &Cgroup<'_>,
) -> Vec<StageStep> {
    let replaced = |target: &str| spec.mounts.iter().any(|mount| mount.target == Path::new(target));
    let mut steps = Vec::new();
    for mount in system_mounts(spec) {
        if replaced(&mount.target.to_string_lossy()) {
            continue;
        }
        let is_sys = mount.target == Path::new("/sys");
        if mount.target == Path::new(SHM) {
            steps.extend(shared_memory(spec, mount));
            continue;
        }
        steps.push(StageStep::Mount(mount));
        if is_sys && !replaced(cgroup::TARGET) {
            steps.extend(group.view());
        }
    }
    steps.extend(devices::nodes(facts));
    steps.extend(devices::given(&placement.devices));
    steps.extend(by_depth(spec, placement));
    if spec.init {
        steps.push(StageStep::Bind(HostMount {
            source: placement.init_dir.clone(),
            target: PathBuf::from(INIT),
            recursive: false,
            flags: MountFlags {
                read_only: true,
                nosuid: true,
                nodev: true,
                ..MountFlags::default()
            },
            propagation: Propagation::Private,
            top_only: false,
        }));
    }
    steps
}

/// The command, run by the init program, which is started by the loader that is beside it: nothing of the image is used.
pub(crate) fn init(command: Command) -> Command {
    let own = |name: &str| format!("{INIT}/{name}");
    let mut argv = vec![
        own("loader"),
        "--library-path".to_owned(),
        INIT.to_owned(),
        own("run"),
    ];
    argv.extend(["__init".to_owned(), "--".to_owned()]);
    argv.extend(command.argv);
    Command {
        candidates: vec![own("loader")],
        argv,
        env: command.env,
    }
}

/// Where memory is shared.
const SHM: &str = "/dev/shm";

/// Its own, or that of whoever it shares memory with.
fn shared_memory(spec: &Spec, own: NewMount) -> Option<StageStep> {
    match &spec.ipc {
        Ipc::Private | Ipc::Shareable => Some(StageStep::Mount(own)),
        Ipc::WithoutMemory => None,
        Ipc::Host => Some(StageStep::Bind(HostMount {
            source: PathBuf::from(SHM),
            target: PathBuf::from(SHM),
            recursive: false,
            flags: system_mount(),
            propagation: Propagation::Private,
            top_only: false,
        })),
        Ipc::Container(_) => Some(StageStep::SharedMemory),
    }
}

/// The container's own files and the mounts of the user, a directory before what is mounted in it. A file of the
/// container's own gives way to a mount of the user on the same place.
fn by_depth(spec: &Spec, placement: &Placement) -> Vec<StageStep> {
    let own = OWN_FILES.into_iter().map(|(name, target)| UserMount {
        target: PathBuf::from(target),
        flags: MountFlags {
            read_only: spec.readonly_rootfs,
            ..MountFlags::default()
        },
        source: MountSource::Host {
            path: placement
                .joined_dir
                .as_ref()
                .unwrap_or(&placement.container_dir)
                .join(name),
            recursive: false,
            propagation: Propagation::Private,
            make: false,
            read_only_below: true,
        },
    });
    let own = own.filter(|own| spec.mounts.iter().all(|mount| mount.target != own.target));
    let mut mounts: Vec<UserMount> = own.chain(spec.mounts.iter().cloned()).collect();
    mounts.sort_by_key(|mount| mount.target.components().count());
    mounts.iter().map(|mount| user_mount(mount, placement)).collect()
}

fn system_mounts(spec: &Spec) -> Vec<NewMount> {
    let mount =
        |kind: &str, source: &str, target: &str, flags: MountFlags, options: &[(&str, &str)]| NewMount {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: PathBuf::from(target),
            strict: true,
            flags,
            options: options
                .iter()
                .map(|(key, value)| MountOption::new(*key, *value))
                .collect(),
        };
    let dev = MountFlags {
        nosuid: true,
        strictatime: true,
        ..MountFlags::default()
    };
    // Terminals are devices.
    let terminals = MountFlags {
        nodev: false,
        ..system_mount()
    };
    let read_only = MountFlags {
        read_only: !spec.privileged,
        ..system_mount()
    };
    let shm_size = spec.shm_size.to_string();
    let terminal_options = [
        ("newinstance", ""),
        ("ptmxmode", "0666"),
        ("mode", "0620"),
        ("gid", TTY_GROUP),
    ];
    let mut pts = mount("devpts", "devpts", "/dev/pts", terminals, &terminal_options);
    pts.options[0] = MountOption::flag("newinstance");
    vec![
        mount("proc", "proc", "/proc", system_mount(), &[]),
        mount(
            "tmpfs",
            "tmpfs",
            "/dev",
            dev,
            &[("mode", "755"), ("size", DEV_SIZE)],
        ),
        pts,
        mount("sysfs", "sysfs", "/sys", read_only, &[]),
        mount("mqueue", "mqueue", "/dev/mqueue", system_mount(), &[]),
        mount(
            "tmpfs",
            "shm",
            "/dev/shm",
            system_mount(),
            &[("mode", "1777"), ("size", &shm_size)],
        ),
    ]
}

fn user_mount(mount: &UserMount, placement: &Placement) -> StageStep {
    let UserMount {
        target,
        flags,
        source,
    } = mount;
    match source {
        MountSource::Host {
            path,
            recursive,
            propagation,
            make: _,
            read_only_below,
        } => StageStep::Bind(HostMount {
            source: path.clone(),
            target: target.clone(),
            recursive: *recursive,
            flags: *flags,
            propagation: *propagation,
            top_only: !read_only_below,
        }),
        MountSource::Volume(volume) => StageStep::Bind(HostMount {
            source: volume_path(volume, placement),
            target: target.clone(),
            recursive: false,
            flags: *flags,
            propagation: Propagation::Private,
            top_only: false,
        }),
        MountSource::Tmpfs { options } => StageStep::Mount(NewMount {
            kind: "tmpfs".to_owned(),
            source: "tmpfs".to_owned(),
            target: target.clone(),
            strict: false,
            flags: *flags,
            options: options.clone(),
        }),
    }
}

/// Where the files of a volume are.
fn volume_path(volume: &VolumeMount, placement: &Placement) -> PathBuf {
    placement.volumes_dir.join(&volume.name).join("_data")
}
