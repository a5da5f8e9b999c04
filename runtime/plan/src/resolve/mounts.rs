//! Mounts of the user: binds, tmpfs, and what an image declares as volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use berth_wire::docker::{CreateRequest, ImageConfig, Mount, TmpfsOptions};

use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{MountSource, UserMount, VolumeMount};
use crate::step::{MountFlags, MountOption, Propagation};

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

pub(super) fn resolve(
    request: &CreateRequest,
    image: &ImageConfig,
    facts: &Facts,
    inherited: &[UserMount],
) -> Result<Vec<UserMount>, PlanError> {
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
    // What others have gives way to what the request says, and goes before volumes without a name.
    let mut others: Vec<UserMount> = Vec::new();
    for mount in inherited.iter().filter(|mount| !targets.contains(&mount.target)) {
        others.retain(|other| other.target != mount.target);
        others.push(mount.clone());
    }
    targets.extend(others.iter().map(|mount| mount.target.clone()));
    mounts.extend(others);
    // Clients name the targets of binds here too.
    for text in request.config.volumes.keys().chain(image.volumes.keys()) {
        let path = target(text)?;
        if targets.insert(path.clone()) {
            mounts.push(anonymous(path));
        }
    }
    if mounts.len() > MAX_MOUNTS {
        return Err(PlanError::Limit("too many mounts: the limit is 256"));
    }
    Ok(mounts)
}

/// A volume that nobody has named.
fn anonymous(target: PathBuf) -> UserMount {
    UserMount {
        target,
        flags: flags(false),
        source: MountSource::Volume(VolumeMount {
            name: String::new(),
            anonymous: true,
            copy: true,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }),
    }
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
        [path] if path.starts_with('/') => return Ok(anonymous(target(path)?)),
        _ => return Err(PlanError::Volume(text.to_owned())),
    };
    if source.is_empty() || place.is_empty() {
        return Err(PlanError::Volume(text.to_owned()));
    }
    let host_path = clean(source);
    let options = mode(options, host_path.is_none(), facts)?;
    let source = match host_path {
        Some(path) => MountSource::Host {
            path,
            recursive: true,
            propagation: options.propagation,
            make: true,
            read_only_below: true,
        },
        None => MountSource::Volume(VolumeMount {
            name: volume_name(source)?,
            anonymous: false,
            copy: options.copy,
            labels: BTreeMap::new(),
            options: BTreeMap::new(),
        }),
    };
    Ok(UserMount {
        target: target(place)?,
        flags: flags(options.read_only),
        source,
    })
}

/// What stands behind the second colon of a bind.
struct Mode {
    read_only: bool,
    copy: bool,
    propagation: Propagation,
}

/// Each kind of option at most once.
fn mode(text: &str, volume: bool, facts: &Facts) -> Result<Mode, PlanError> {
    let mut mode = Mode {
        read_only: false,
        copy: true,
        propagation: Propagation::Private,
    };
    let (mut access, mut label, mut copies, mut travels, mut consistency) = (0, 0, 0, 0, 0);
    for option in text.split(',').filter(|option| !option.is_empty()) {
        let count = match option {
            "ro" | "rw" => {
                mode.read_only = option == "ro";
                &mut access
            }
            // Labels of SELinux: nothing to do when it is off.
            "z" | "Z" if !facts.selinux => &mut label,
            "z" | "Z" => {
                return Err(PlanError::UnsupportedValue {
                    option: "Binds option",
                    value: option.to_owned(),
                });
            }
            "nocopy" if volume => {
                mode.copy = false;
                &mut copies
            }
            "consistent" | "cached" | "delegated" => &mut consistency,
            _ => match propagation(option) {
                Some(kind) if !volume || kind == Propagation::Private => {
                    mode.propagation = kind;
                    &mut travels
                }
                _ => return Err(PlanError::VolumeMode(text.to_owned())),
            },
        };
        *count += 1;
        if *count > 1 {
            return Err(PlanError::VolumeMode(text.to_owned()));
        }
    }
    Ok(mode)
}

fn propagation(word: &str) -> Option<Propagation> {
    match word {
        "private" | "rprivate" => Some(Propagation::Private),
        "slave" | "rslave" => Some(Propagation::Slave),
        "shared" | "rshared" => Some(Propagation::Shared),
        _ => None,
    }
}

/// A name that a volume can have.
///
/// # Errors
/// Why it cannot be one.
pub fn volume_name(text: &str) -> Result<String, PlanError> {
    /// The kernel's limit for the name of a directory.
    const LONGEST: usize = 255;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = text
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || !text.bytes().all(plain) || text.len() > LONGEST {
        return Err(PlanError::VolumeName(text.to_owned()));
    }
    if text.len() < 2 {
        return Err(PlanError::Limit(
            "volume name is too short, names should be at least two alphanumeric characters",
        ));
    }
    Ok(text.to_owned())
}

/// An entry of `Mounts`.
fn mount(mount: &Mount) -> Result<UserMount, PlanError> {
    let wrong = |reason| PlanError::MountConfig {
        kind: mount.kind.clone(),
        reason,
    };
    if mount.target.is_empty() {
        return Err(wrong("field Target must not be empty"));
    }
    let place = target(&mount.target)?;
    if !["", "default", "consistent", "cached", "delegated"].contains(&mount.consistency.as_str()) {
        return Err(PlanError::UnsupportedValue {
            option: "Mounts.Consistency",
            value: mount.consistency.clone(),
        });
    }
    let foreign = [
        (
            mount.kind != "bind" && mount.bind_options.is_some(),
            "field BindOptions must not be specified",
        ),
        (
            mount.kind != "volume" && mount.volume_options.is_some(),
            "field VolumeOptions must not be specified",
        ),
        (
            mount.kind != "tmpfs" && mount.tmpfs_options.is_some(),
            "field TmpfsOptions must not be specified",
        ),
    ];
    if let Some((_, reason)) = foreign.into_iter().find(|(there, _)| *there) {
        return Err(wrong(reason));
    }
    let mut flags = flags(mount.read_only);
    let source = match mount.kind.as_str() {
        "bind" if mount.source.is_empty() => return Err(wrong("field Source must not be empty")),
        "bind" => host_source(mount)?,
        "volume" => volume_source(mount)?,
        "tmpfs" => {
            if !mount.source.is_empty() {
                return Err(wrong("field Source must not be specified"));
            }
            flags = MountFlags {
                read_only: mount.read_only,
                ..crate::mounts::system_mount()
            };
            let options = tmpfs_options(&mount.tmpfs_options.clone().unwrap_or_default())?;
            MountSource::Tmpfs { options }
        }
        other => {
            return Err(PlanError::UnsupportedValue {
                option: "Mounts.Type",
                value: other.to_owned(),
            });
        }
    };
    Ok(UserMount {
        target: place,
        flags,
        source,
    })
}

fn host_source(mount: &Mount) -> Result<MountSource, PlanError> {
    let options = mount.bind_options.clone().unwrap_or_default();
    let path = clean(&mount.source).ok_or_else(|| PlanError::Invalid {
        option: "mount config for type \"bind\"",
        value: mount.source.clone(),
        reason: "mount path must be absolute",
    })?;
    let travels = match options.propagation.as_str() {
        "" => Propagation::Private,
        word => propagation(word).ok_or_else(|| PlanError::Invalid {
            option: "propagation mode",
            value: word.to_owned(),
            reason: "it is none of private, slave, shared and the same with an r in front",
        })?,
    };
    if options.read_only_force_recursive && (!mount.read_only || options.non_recursive) {
        return Err(PlanError::MountConfig {
            kind: mount.kind.clone(),
            reason: "ReadOnlyForceRecursive needs a recursive read-only mount",
        });
    }
    Ok(MountSource::Host {
        path,
        recursive: !options.non_recursive,
        propagation: travels,
        make: options.create_mountpoint,
        read_only_below: !options.read_only_non_recursive,
    })
}

fn volume_source(mount: &Mount) -> Result<MountSource, PlanError> {
    let options = mount.volume_options.clone().unwrap_or_default();
    let driver = options.driver_config.unwrap_or_default();
    if !["", "local"].contains(&driver.name.as_str()) {
        return Err(PlanError::UnsupportedValue {
            option: "DriverConfig.Name",
            value: driver.name,
        });
    }
    // A link in the volume could lead it anywhere.
    if !options.subpath.is_empty() {
        return Err(PlanError::Unsupported(
            "a part of a volume (VolumeOptions.Subpath)",
        ));
    }
    Ok(MountSource::Volume(VolumeMount {
        name: match mount.source.as_str() {
            "" => String::new(),
            name => volume_name(name)?,
        },
        anonymous: mount.source.is_empty(),
        copy: !options.no_copy,
        labels: options.labels,
        options: driver.options,
    }))
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
