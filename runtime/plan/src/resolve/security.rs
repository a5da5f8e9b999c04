//! Security options, and the paths that are hidden or read-only.

use std::path::PathBuf;

use berth_wire::docker::{HostConfig, Words};

use super::mounts::clean;
use crate::capabilities;
use crate::error::PlanError;
use crate::facts::Facts;

/// What is hidden from a container by default: docker's list. The engine reports it, so a request may send it back.
pub const MASKED_PATHS: [&str; 11] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
];

/// Hidden whenever anything is: it tells from outside what others compute.
const POWER: &str = "/sys/devices/virtual/powercap";

/// What a container cannot change by default: docker's list.
pub const READ_ONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Hidden and read-only paths of one container; more are refused.
const MAX_PATHS: usize = 128;

/// What security options come to.
#[derive(Debug)]
pub(super) struct Security {
    pub(super) seccomp: bool,
    /// A filter of one's own, as JSON.
    pub(super) profile: Option<String>,
    pub(super) no_new_privileges: bool,
}

pub(super) fn resolve(host: &HostConfig, facts: &Facts) -> Result<Security, PlanError> {
    let mut security = Security {
        // Without a word about it a privileged container has no filter.
        seccomp: !host.privileged,
        profile: None,
        no_new_privileges: false,
    };
    for option in host.security_opt.iter().flatten() {
        let (name, value) = match option.find(['=', ':']) {
            Some(place) => (&option[..place], Some(&option[place + 1..])),
            None => (option.as_str(), None),
        };
        match (name, value) {
            ("no-new-privileges", None | Some("true")) => security.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => security.no_new_privileges = false,
            ("seccomp", Some("unconfined")) => security.seccomp = false,
            ("seccomp", Some("builtin")) => (security.seccomp, security.profile) = (true, None),
            ("seccomp", Some(profile)) => {
                (security.seccomp, security.profile) = (true, Some(profile.to_owned()));
            }
            ("apparmor", Some("unconfined")) | ("label", Some("disable")) => {}
            ("apparmor", Some(_)) if facts.apparmor => {
                return Err(PlanError::Unsupported("an AppArmor profile"));
            }
            ("apparmor", Some(_)) => {
                return Err(PlanError::Unsupported(
                    "an AppArmor profile on a host without AppArmor",
                ));
            }
            // Nothing to do on a host without SELinux, as with `:z`.
            ("label", Some(label)) if !facts.selinux && is_label(label) => {}
            ("label", Some(label)) if !is_label(label) => {
                return Err(PlanError::SecurityOption(option.clone()));
            }
            ("label", Some(_)) => return Err(PlanError::Unsupported("an SELinux label")),
            ("systempaths", Some(_)) => {
                return Err(PlanError::Unsupported(
                    "systempaths, which clients send as MaskedPaths",
                ));
            }
            ("writable-cgroups", _) => return Err(PlanError::Unsupported("writable cgroups")),
            _ => return Err(PlanError::SecurityOption(option.clone())),
        }
    }
    if security.seccomp && (!facts.seccomp || facts.architecture.is_none()) {
        return Err(PlanError::NoSeccomp);
    }
    if let (Some(profile), Some(architecture)) = (&security.profile, facts.architecture) {
        // It is made again at every start; what is wrong with it is said now.
        crate::seccomp::filter_of(profile, architecture, u64::MAX, facts)?;
    }
    Ok(security)
}

/// What its root user has: everything in privileged mode.
pub(super) fn capabilities(host: &HostConfig, facts: &Facts) -> Result<u64, PlanError> {
    if host.privileged {
        return Ok(capabilities::held(facts));
    }
    let list = |words: &Option<Words>| words.clone().unwrap_or_default().0;
    capabilities::resolve(&list(&host.cap_add), &list(&host.cap_drop), facts)
}

fn is_label(label: &str) -> bool {
    let kinds = ["user", "role", "type", "level", "filetype"];
    let (kind, value) = label.split_once(':').unwrap_or((label, ""));
    label == "nested" || (kinds.contains(&kind) && !value.is_empty())
}

pub(super) fn masked_paths(host: &HostConfig) -> Result<Vec<PathBuf>, PlanError> {
    if host.privileged {
        return Ok(Vec::new());
    }
    let mut paths = paths(host.masked_paths.as_deref(), &MASKED_PATHS)?;
    let power = PathBuf::from(POWER);
    if !paths.is_empty() && !paths.contains(&power) {
        paths.push(power);
    }
    Ok(paths)
}

pub(super) fn readonly_paths(host: &HostConfig) -> Result<Vec<PathBuf>, PlanError> {
    if host.privileged {
        return Ok(Vec::new());
    }
    paths(host.readonly_paths.as_deref(), &READ_ONLY_PATHS)
}

/// A list replaces the default; the empty one leaves everything open, which `systempaths=unconfined` means.
fn paths(asked: Option<&[String]>, default: &[&str]) -> Result<Vec<PathBuf>, PlanError> {
    let Some(asked) = asked else {
        return Ok(default.iter().map(PathBuf::from).collect());
    };
    if asked.len() > MAX_PATHS {
        return Err(PlanError::Limit(
            "too many masked or read-only paths: the limit is 128",
        ));
    }
    let of_system = |path: &PathBuf| path.starts_with("/proc") || path.starts_with("/sys");
    let one = |text: &String| {
        clean(text).filter(of_system).ok_or_else(|| PlanError::Invalid {
            option: "MaskedPaths or ReadonlyPaths",
            value: text.clone(),
            reason: "only paths below /proc and /sys can be hidden or made read-only",
        })
    };
    asked.iter().map(one).collect()
}
