//! Capabilities: their names, the default set, and what additions and removals make of it.

use crate::error::PlanError;
use crate::facts::Facts;

/// All names without their prefix; the place in the list is the kernel's number.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container gets that asks for nothing: Docker's default set.
pub(crate) const DEFAULT: u64 = 0xa804_25fb;

/// The bit of a capability, written with or without `CAP_`, in any case.
pub(crate) fn bit(name: &str) -> Option<u64> {
    let name = bare(name);
    let number = NAMES.iter().position(|known| *known == name)?;
    Some(1 << number)
}

/// The set that a request comes to. `ALL` among the additions takes everything but what is dropped by name; `ALL`
/// among the removals leaves what is added.
pub(crate) fn resolve(add: &[String], drop: &[String], facts: &Facts) -> Result<u64, PlanError> {
    let (add_all, add) = read("CapAdd", add)?;
    let (drop_all, drop) = read("CapDrop", drop)?;
    let held = held(facts);
    if let Some(name) = name_of(add & !held) {
        return Err(PlanError::CapabilityNotHeld(name));
    }
    let wanted = if add_all {
        !drop
    } else if drop_all {
        add
    } else {
        (DEFAULT & !drop) | add
    };
    Ok(wanted & held)
}

/// What the daemon can give at most.
pub(crate) fn held(facts: &Facts) -> u64 {
    let known = u64::MAX
        .checked_shr(63_u32.saturating_sub(u32::from(facts.last_capability)))
        .unwrap_or(0);
    facts.bounding & known
}

/// The name of the lowest capability of a set.
fn name_of(set: u64) -> Option<&'static str> {
    if set == 0 {
        return None;
    }
    let number = usize::try_from(set.trailing_zeros()).ok()?;
    Some(NAMES.get(number).copied().unwrap_or("unknown"))
}

fn bare(name: &str) -> String {
    let name = name.trim().to_ascii_uppercase();
    match name.strip_prefix("CAP_") {
        Some(bare) => bare.to_owned(),
        None => name,
    }
}

fn read(list: &'static str, names: &[String]) -> Result<(bool, u64), PlanError> {
    let (mut all, mut set) = (false, 0);
    for name in names {
        if bare(name) == "ALL" {
            all = true;
            continue;
        }
        set |= bit(name).ok_or_else(|| PlanError::UnknownCapability {
            list,
            name: bare(name),
        })?;
    }
    Ok((all, set))
}
