//! Mounts of the user: binds, tmpfs, and what an image declares as volumes.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use berth_wire::docker::{BindOptions, CreateRequest, ImageConfig, Mount, TmpfsOptions};

use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{MountSource, UserMount};
use crate::step::{MountFlags, MountOption};

/// Mounts of one container: the stage takes about a thousand steps in all. More are refused.
const MAX_MOUNTS: usize = 256;

/// Files below `/proc` that may be replaced: what lxcfs provides.
const PROC_FILES: [&str; 8] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "slabinfo",
    "stat",
    "swaps",
    "uptime",
];

/// Places that the system itself is made of.
const SYSTEM: [&str; 4] = ["/", "/dev", "/dev/pts", "/sys"];

pub(super) fn resolve(request: &CreateRequest, facts: &Facts) -> Result<Vec<UserMount>, PlanError> {
    let host = &request.host_config;
    let binds = host.binds.iter().flatten().map(|text| bind(text, facts));
    let listed = host.mounts.iter().flatten().map(mount);
    let tmpfs = host.tmpfs.iter().map(|(path, options)| tmpfs(path, options));
    let mut mounts = Vec::new();
    let mut targets = BTreeSet::new();
    for mount in binds.chain(listed).chain(tmpfs) {
        let mount = mount?;
        if !targets.insert(mount.target.clone()) {
            return Err(PlanError::DuplicateMount(
                mount.target.to_string_lossy().into_owned(),
            ));
        }
        mounts.push(mount);
    }
    // Clients name the targets of binds here too; what is left would be a volume without a name.
    for path in request.config.volumes.keys() {
        if !clean(path).is_some_and(|path| targets.contains(&path)) {
            return Err(PlanError::Unsupported("a volume (Volumes)"));
        }
    }
    if mounts.len() > MAX_MOUNTS {
        return Err(PlanError::Limit("too many mounts: the limit is 256"));
    }
    Ok(mounts)
}

/// An image's volumes are directories of the container: their data lives and dies with it, as that of a volume without a
/// name does with the container's removal.
pub(super) fn image_volumes(image: &ImageConfig, mounts: &[UserMount]) -> Result<Vec<PathBuf>, PlanError> {
    let mut volumes = Vec::new();
    for text in image.volumes.keys() {
        let path = target(text)?;
        if mounts.iter().all(|mount| mount.target != path) {
            volumes.push(path);
        }
    }
    Ok(volumes)
}

/// An absolute path without `.`, `..` and repeated slashes.
pub(super) fn clean(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    if !path.is_absolute() || text.contains('\0') {
        return None;
    }
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    Some(clean)
}

/// The place of a mount, if something may be mounted there.
fn target(text: &str) -> Result<PathBuf, PlanError> {
    let refuse = |reason| PlanError::MountTarget {
        target: text.to_owned(),
        reason,
    };
    let path = clean(text).ok_or_else(|| refuse("mount path must be absolute"))?;
    if SYSTEM.iter().any(|system| path == Path::new(system)) {
        return Err(refuse("the system itself is made of it"));
    }
    let of_proc = path.strip_prefix("/proc").ok();
    if of_proc.is_some_and(|rest| !PROC_FILES.iter().any(|file| rest == Path::new(file))) {
        return Err(refuse("nothing can be mounted on /proc or below it"));
    }
    Ok(path)
}

/// `source:target[:options]`
fn bind(text: &str, facts: &Facts) -> Result<UserMount, PlanError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, place, options) = match parts.as_slice() {
        [source, place] => (source, place, ""),
        [source, place, options] => (source, place, *options),
        [path] if path.starts_with('/') => {
            return Err(PlanError::Unsupported("a volume without a name (Binds)"));
        }
        _ => return Err(PlanError::Volume(text.to_owned())),
    };
    if source.is_empty() || place.is_empty() {
        return Err(PlanError::Volume(text.to_owned()));
    }
    let Some(path) = clean(source) else {
        return Err(PlanError::Unsupported("a named volume (Binds)"));
    };
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "rprivate" => {}
            // Labels of SELinux: nothing to do when it is off.
            "z" | "Z" if !facts.selinux => {}
            "z" | "Z" | "private" | "shared" | "rshared" | "slave" | "rslave" => {
                return Err(PlanError::UnsupportedValue {
                    option: "Binds option",
                    value: option.to_owned(),
                });
            }
            _ => return Err(PlanError::VolumeMode(options.to_owned())),
        }
    }
    Ok(UserMount {
        target: target(place)?,
        flags: flags(read_only),
        source: MountSource::Host {
            path,
            recursive: true,
        },
    })
}

/// An entry of `Mounts`.
fn mount(mount: &Mount) -> Result<UserMount, PlanError> {
    let place = target(&mount.target)?;
    if !["", "default", "consistent", "cached", "delegated"].contains(&mount.consistency.as_str()) {
        return Err(PlanError::UnsupportedValue {
            option: "Mounts.Consistency",
            value: mount.consistency.clone(),
        });
    }
    match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            check(&options)?;
            let path = clean(&mount.source).ok_or_else(|| PlanError::Invalid {
                option: "mount config for type \"bind\"",
                value: mount.source.clone(),
                reason: "mount path must be absolute",
            })?;
            Ok(UserMount {
                target: place,
                flags: flags(mount.read_only),
                source: MountSource::Host {
                    path,
                    recursive: !options.non_recursive,
                },
            })
        }
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(PlanError::Limit("a mount of type \"tmpfs\" has no source"));
            }
            let options = tmpfs_options(&mount.tmpfs_options.clone().unwrap_or_default())?;
            let flags = MountFlags {
                read_only: mount.read_only,
                ..crate::mounts::system_mount()
            };
            Ok(UserMount {
                target: place,
                flags,
                source: MountSource::Tmpfs { options },
            })
        }
        other => Err(PlanError::UnsupportedValue {
            option: "Mounts.Type",
            value: other.to_owned(),
        }),
    }
}

fn check(options: &BindOptions) -> Result<(), PlanError> {
    if !["", "rprivate"].contains(&options.propagation.as_str()) {
        return Err(PlanError::UnsupportedValue {
            option: "BindOptions.Propagation",
            value: options.propagation.clone(),
        });
    }
    if options.create_mountpoint {
        return Err(PlanError::Unsupported(
            "making the source of a mount (BindOptions.CreateMountpoint)",
        ));
    }
    if options.read_only_non_recursive {
        return Err(PlanError::Unsupported(
            "a mount with writable parts (BindOptions.ReadOnlyNonRecursive)",
        ));
    }
    Ok(())
}

fn tmpfs_options(asked: &TmpfsOptions) -> Result<Vec<MountOption>, PlanError> {
    let mut options = Vec::new();
    if asked.size_bytes < 0 {
        return Err(PlanError::Limit("the size of a tmpfs can not be negative"));
    }
    if asked.size_bytes > 0 {
        options.push(MountOption::new("size", asked.size_bytes.to_string()));
    }
    if asked.mode > 0 {
        options.push(MountOption::new("mode", format!("{:o}", asked.mode & 0o7777)));
    }
    Ok(options)
}

/// An entry of `Tmpfs`: options as `mount -o` takes them.
fn tmpfs(path: &str, text: &str) -> Result<UserMount, PlanError> {
    let mut flags = crate::mounts::system_mount();
    let mut options = Vec::new();
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option {
            "rw" => flags.read_only = false,
            "ro" => flags.read_only = true,
            "suid" => flags.nosuid = false,
            "nosuid" => flags.nosuid = true,
            "dev" => flags.nodev = false,
            "nodev" => flags.nodev = true,
            "exec" => flags.noexec = false,
            "noexec" => flags.noexec = true,
            "strictatime" => flags.strictatime = true,
            "relatime" | "defaults" => flags.strictatime = false,
            _ => options.push(tmpfs_option(option).ok_or_else(|| PlanError::TmpfsOption(option.to_owned()))?),
        }
    }
    Ok(UserMount {
        target: target(path)?,
        flags,
        source: MountSource::Tmpfs { options },
    })
}

fn tmpfs_option(option: &str) -> Option<MountOption> {
    let (key, value) = option.split_once('=')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let right = match key {
        "size" | "nr_blocks" | "nr_inodes" => {
            let suffixes: &[char] = if key == "size" {
                &['k', 'K', 'm', 'M', 'g', 'G', '%']
            } else {
                &['k', 'K', 'm', 'M', 'g', 'G']
            };
            digits(value.strip_suffix(suffixes).unwrap_or(value))
        }
        "mode" => value.len() <= 5 && digits(value) && !value.contains(['8', '9']),
        "uid" | "gid" => digits(value) && value.parse::<u32>().is_ok_and(|id| id != u32::MAX),
        _ => false,
    };
    right.then(|| MountOption::new(key, value))
}

fn flags(read_only: bool) -> MountFlags {
    MountFlags {
        read_only,
        ..MountFlags::default()
    }
}
