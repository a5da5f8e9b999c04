//! From a create request to a specification: what is not supported is refused by name, never ignored.

mod devices;
mod dns;
mod exec;
mod limits;
mod log;
mod mounts;
mod ports;
mod process;
mod refuse;
mod security;
mod sharing;
#[cfg(test)]
mod tests;
mod update;

use berth_wire::docker::{CreateRequest, ImageConfig};

use crate::cgroup;
use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{CgroupNamespace, Network, Spec};
use crate::step::{Stdin, TerminalSize};

pub use exec::resolve_exec;
pub use mounts::volume_name;
pub use security::{MASKED_PATHS, READ_ONLY_PATHS};
pub use sharing::{Given, named};
pub use update::resolve_update;

/// Bytes of `/dev/shm` when nobody says otherwise; Docker's.
const SHM_SIZE: u64 = 64 * 1024 * 1024;

/// Digits of the id that make the host name.
const HOSTNAME_DIGITS: usize = 12;

/// Checks and completes a create request.
///
/// # Errors
/// What is not supported, by name, and what cannot be.
pub fn resolve(
    request: &CreateRequest,
    image: &ImageConfig,
    id: &str,
    name: &str,
    facts: &Facts,
) -> Result<Spec, PlanError> {
    resolve_with(request, image, id, name, facts, &Given::default())
}

/// The same with what is known of other containers that the request names.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_with(
    request: &CreateRequest,
    image: &ImageConfig,
    id: &str,
    name: &str,
    facts: &Facts,
    given: &Given,
) -> Result<Spec, PlanError> {
    refuse::check(request, facts)?;
    let (config, host) = (&request.config, &request.host_config);
    let network = sharing::network(request)?;
    let shared = sharing::resolve(request, given)?;
    let security = security::resolve(host, facts)?;
    let limits = limits::resolve(host, facts)?;
    cgroup::check(&limits, &facts.cgroup)?;
    let hostname = match &given.hostname {
        Some(hostname) if network == Network::Joined => hostname.clone(),
        _ if shared.host_names && !facts.hostname.is_empty() => facts.hostname.clone(),
        _ => process::hostname(&config.hostname, network, id, facts)?,
    };
    Ok(Spec {
        id: id.to_owned(),
        name: name.to_owned(),
        command: process::command(config, image)?,
        env: process::environment(config, image, &hostname)?,
        user: if config.user.is_empty() {
            &image.user
        } else {
            &config.user
        }
        .clone(),
        groups: host.group_add.clone().unwrap_or_default(),
        working_dir: process::working_dir(config, image)?,
        hostname,
        domainname: process::domainname(&config.domainname)?,
        stdin: match (config.open_stdin, config.stdin_once) {
            (false, _) => Stdin::Null,
            // A terminal has no end of input: that is a character on it.
            (true, true) if !config.tty => Stdin::Once,
            (true, _) => Stdin::Open,
        },
        terminal: config.tty.then(|| terminal_size(&host.console_size)),
        network,
        published: ports::resolve(request, image, network)?,
        stop_signal: process::stop_signal(config, image)?,
        stop_timeout: config.stop_timeout,
        limits,
        capabilities: security::capabilities(host, facts)?,
        seccomp: security.seccomp,
        seccomp_profile: security.profile,
        privileged: host.privileged,
        devices: devices::wishes(host)?,
        device_rules: devices::rules(host)?,
        init: host.init == Some(true),
        no_new_privileges: security.no_new_privileges,
        readonly_rootfs: host.readonly_rootfs,
        mounts: mounts::resolve(request, image, facts, &given.inherited)?,
        shm_size: shm_size(host.shm_size)?,
        masked_paths: security::masked_paths(host)?,
        readonly_paths: security::readonly_paths(host)?,
        rlimits: limits::rlimits(host.ulimits.as_deref().unwrap_or_default())?,
        sysctls: process::sysctls(&host.sysctls, network, &shared.ipc, shared.host_names)?,
        processes: shared.processes,
        ipc: shared.ipc,
        host_names: shared.host_names,
        network_of: shared.network_of,
        log: log::resolve(host)?,
        oom_score_adj: limits::oom_score_adj(host.oom_score_adj)?,
        extra_hosts: dns::extra_hosts(host.extra_hosts.as_deref().unwrap_or_default(), network)?,
        dns: dns::resolve(host)?,
        cgroup_namespace: match host.cgroupns_mode.as_str() {
            "host" => CgroupNamespace::Host,
            _ => CgroupNamespace::Private,
        },
    })
}

/// Lines and columns as clients write them; what does not fit is not known.
fn terminal_size(size: &[u32]) -> TerminalSize {
    let part = |place: usize| size.get(place).and_then(|number| u16::try_from(*number).ok());
    TerminalSize {
        rows: part(0).unwrap_or_default(),
        columns: part(1).unwrap_or_default(),
    }
}

fn shm_size(size: i64) -> Result<u64, PlanError> {
    match u64::try_from(size) {
        Ok(0) => Ok(SHM_SIZE),
        Ok(size) => Ok(size),
        Err(_) => Err(PlanError::Limit("SHM size can not be less than 0")),
    }
}
