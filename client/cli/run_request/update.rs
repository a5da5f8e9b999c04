//! From the words of `berth container update` to its request; what is 0 or empty there stays as it is.

use berth_wire::docker::{HostConfig, RestartPolicy};

use super::{FlagError, refuse, restart_policy, sizes};
use crate::args::UpdateContainerArgs;

/// The request that these words ask for.
///
/// # Errors
/// The first flag that cannot be understood.
pub(crate) fn update_request(args: &UpdateContainerArgs) -> Result<HostConfig, FlagError> {
    let size = |flag, text: &Option<String>| match text.as_deref() {
        None => Ok(0),
        Some("-1") if flag == "--memory-swap" => Ok(-1),
        Some(text) => sizes::bytes(text).map_err(|reason| refuse(flag, text, reason)),
    };
    let nano_cpus = match args.cpus.as_deref() {
        None => 0,
        Some(text) => sizes::nano_cpus(text).map_err(|reason| refuse("--cpus", text, reason))?,
    };
    let restart_policy = match args.restart.as_deref() {
        None => RestartPolicy::default(),
        policy => restart_policy(policy)?,
    };
    Ok(HostConfig {
        memory: size("--memory", &args.memory)?,
        memory_swap: size("--memory-swap", &args.memory_swap)?,
        memory_reservation: size("--memory-reservation", &args.memory_reservation)?,
        nano_cpus,
        cpu_shares: args.cpu_shares.unwrap_or(0),
        cpu_period: args.cpu_period.unwrap_or(0),
        cpu_quota: args.cpu_quota.unwrap_or(0),
        cpuset_cpus: args.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: args.cpuset_mems.clone().unwrap_or_default(),
        pids_limit: args.pids_limit,
        restart_policy,
        ..HostConfig::default()
    })
}
