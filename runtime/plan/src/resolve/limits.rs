//! Limits: of the control group, and of the process.

use berth_wire::docker::{HostConfig, Ulimit};

use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{CpuQuota, Limits};
use crate::step::Rlimit;

/// Below it a container cannot even start; Docker's.
const MIN_MEMORY: u64 = 6 * 1024 * 1024;

/// The period of CPU time unless one is asked for, in microseconds; the kernel's own.
const PERIOD: u64 = 100_000;

/// What the kernel takes for a period, in microseconds.
const PERIODS: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;

/// The kernel's smallest quota, in microseconds.
const MIN_QUOTA: u64 = 1_000;

const NANOS_PER_CPU: i64 = 1_000_000_000;
const NANOS_PER_MICRO: u64 = 1_000;

const MAX_SHARES: u64 = 262_144;

/// The kernel's numbers of resource limits.
const RESOURCES: [(&str, u32); 15] = [
    ("cpu", 0),
    ("fsize", 1),
    ("data", 2),
    ("stack", 3),
    ("core", 4),
    ("rss", 5),
    ("nproc", 6),
    ("nofile", 7),
    ("memlock", 8),
    ("locks", 10),
    ("sigpending", 11),
    ("msgqueue", 12),
    ("nice", 13),
    ("rtprio", 14),
    ("rttime", 15),
];

pub(super) fn resolve(host: &HostConfig, facts: &Facts) -> Result<Limits, PlanError> {
    let memory = bytes(host.memory)?;
    if memory.is_some_and(|memory| memory < MIN_MEMORY) {
        return Err(PlanError::Limit("Minimum memory limit allowed is 6MB"));
    }
    let swappiness = match host.memory_swappiness {
        None | Some(-1) => None,
        Some(value) => Some(u8::try_from(value).ok().filter(|value| *value <= 100).ok_or(
            PlanError::Limit("Invalid value for MemorySwappiness, valid memory swappiness range is 0-100"),
        )?),
    };
    Ok(Limits {
        memory,
        memory_and_swap: swap(host.memory_swap, memory, facts)?,
        memory_reservation: reservation(host.memory_reservation, memory)?,
        swappiness,
        oom_kill_disable: host.oom_kill_disable == Some(true),
        cpu_shares: shares(host.cpu_shares)?,
        cpu_quota: quota(host, facts)?,
        cpuset_cpus: cpuset("CpusetCpus", &host.cpuset_cpus)?,
        cpuset_mems: cpuset("CpusetMems", &host.cpuset_mems)?,
        // 0 and every negative number mean none.
        pids: host
            .pids_limit
            .and_then(|limit| u64::try_from(limit).ok())
            .filter(|limit| *limit > 0),
    })
}

/// Twice the memory unless the request says otherwise.
fn swap(asked: i64, memory: Option<u64>, facts: &Facts) -> Result<Option<u64>, PlanError> {
    let total = match (asked, memory) {
        (-1, _) | (0, None) => return Ok(None),
        (0, Some(memory)) => {
            return Ok(facts.swap_limit.then(|| memory.saturating_mul(2)));
        }
        (asked, _) => {
            u64::try_from(asked).map_err(|_| PlanError::Limit("MemorySwap can not be less than -1"))?
        }
    };
    let Some(memory) = memory else {
        return Err(PlanError::Limit(
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ));
    };
    if total < memory {
        return Err(PlanError::Limit(
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ));
    }
    if !facts.swap_limit {
        return Err(PlanError::Limit(
            "MemorySwap cannot be set: the kernel does not count swap, or the cgroup is not mounted",
        ));
    }
    Ok(Some(total))
}

fn reservation(asked: i64, memory: Option<u64>) -> Result<Option<u64>, PlanError> {
    let Some(reservation) = bytes(asked)? else {
        return Ok(None);
    };
    if reservation < MIN_MEMORY {
        return Err(PlanError::Limit("Minimum memory reservation allowed is 6MB"));
    }
    if memory.is_some_and(|memory| memory < reservation) {
        return Err(PlanError::Limit(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        ));
    }
    Ok(Some(reservation))
}

fn bytes(asked: i64) -> Result<Option<u64>, PlanError> {
    match u64::try_from(asked) {
        Ok(0) => Ok(None),
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => Err(PlanError::Limit("a limit on memory can not be negative")),
    }
}

fn shares(asked: i64) -> Result<Option<u64>, PlanError> {
    match u64::try_from(asked) {
        Ok(0) => Ok(None),
        Ok(shares) if (2..=MAX_SHARES).contains(&shares) => Ok(Some(shares)),
        _ => Err(PlanError::Limit(
            "invalid CPU shares: the range is from 2 to 262144",
        )),
    }
}

fn quota(host: &HostConfig, facts: &Facts) -> Result<Option<CpuQuota>, PlanError> {
    if host.nano_cpus != 0 {
        return cpus(host, facts).map(Some);
    }
    if host.cpu_period == 0 && host.cpu_quota <= 0 {
        return Ok(None);
    }
    let period = match host.cpu_period {
        0 => PERIOD,
        period => u64::try_from(period)
            .ok()
            .filter(|period| PERIODS.contains(period))
            .ok_or(PlanError::Limit(
                "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
            ))?,
    };
    let quota = u64::try_from(host.cpu_quota).ok().filter(|quota| *quota > 0);
    if quota.is_some_and(|quota| quota < MIN_QUOTA) {
        return Err(PlanError::Limit(
            "CPU cfs quota can not be less than 1ms (i.e. 1000)",
        ));
    }
    countable(facts)?;
    Ok(Some(CpuQuota { quota, period }))
}

fn cpus(host: &HostConfig, facts: &Facts) -> Result<CpuQuota, PlanError> {
    if host.cpu_period != 0 {
        return Err(PlanError::Limit(
            "Conflicting options: Nano CPUs and CPU Period cannot both be set",
        ));
    }
    if host.cpu_quota != 0 {
        return Err(PlanError::Limit(
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
        ));
    }
    let smallest = NANOS_PER_CPU / 100;
    let largest = NANOS_PER_CPU.saturating_mul(i64::from(facts.cpus));
    let nanos = u64::try_from(host.nano_cpus).ok();
    let nanos = nanos.filter(|_| (smallest..=largest).contains(&host.nano_cpus));
    let nanos = nanos.ok_or(PlanError::Cpus {
        available: facts.cpus,
    })?;
    countable(facts)?;
    Ok(CpuQuota {
        // Nanoseconds of a second are the ten-thousandth part of microseconds of a period of 100 ms.
        quota: Some(nanos / NANOS_PER_MICRO / (1_000_000 / PERIOD)),
        period: PERIOD,
    })
}

fn countable(facts: &Facts) -> Result<(), PlanError> {
    if facts.cpu_quota {
        Ok(())
    } else {
        Err(PlanError::Limit(
            "CPU time cannot be limited: the kernel does not support it",
        ))
    }
}

/// A list of numbers and ranges.
fn cpuset(option: &'static str, text: &str) -> Result<Option<String>, PlanError> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse::<u16>().ok())
    };
    let part = |part: &str| match part.split_once('-') {
        None => number(part).flatten().is_some(),
        Some((from, to)) => match (number(from).flatten(), number(to).flatten()) {
            (Some(from), Some(to)) => from <= to,
            _ => false,
        },
    };
    if text.split(',').all(part) {
        Ok(Some(text.to_owned()))
    } else {
        Err(PlanError::Invalid {
            option,
            value: text.to_owned(),
            reason: "not a list of numbers and ranges",
        })
    }
}

pub(super) fn rlimits(asked: &[Ulimit]) -> Result<Vec<Rlimit>, PlanError> {
    // Twice the same: the last one counts, as with the client's flag.
    let mut limits = std::collections::BTreeMap::new();
    for Ulimit { name, soft, hard } in asked {
        let known = RESOURCES.iter().find(|(known, _)| known == name);
        let (_, resource) = known.ok_or_else(|| PlanError::UlimitType(name.clone()))?;
        let limit = Rlimit {
            resource: *resource,
            soft: rlimit(name, *soft)?,
            hard: rlimit(name, *hard)?,
        };
        if limit.soft > limit.hard {
            return Err(PlanError::UlimitRange {
                soft: *soft,
                hard: *hard,
            });
        }
        limits.insert(*resource, limit);
    }
    Ok(limits.into_values().collect())
}

/// -1 means none.
fn rlimit(name: &str, value: i64) -> Result<u64, PlanError> {
    match value {
        -1 => Ok(u64::MAX),
        value => u64::try_from(value).map_err(|_| PlanError::Invalid {
            option: "Ulimits",
            value: format!("{name}={value}"),
            reason: "a limit is -1 for none, or not negative",
        }),
    }
}

pub(super) fn oom_score_adj(value: i64) -> Result<i32, PlanError> {
    i32::try_from(value)
        .ok()
        .filter(|value| (-1000..=1000).contains(value))
        .ok_or(PlanError::Limit(
            "Invalid value for OomScoreAdj, range for oom score adj is [-1000, 1000]",
        ))
}
