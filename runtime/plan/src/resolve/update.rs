//! From changed options of a container that is there to its new limits.

use berth_wire::docker::HostConfig;

use super::{limits, refuse};
use crate::cgroup;
use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::Limits;

/// Checks the options that can be changed: limits and the restart policy. `host` has the changed and the old ones.
///
/// # Errors
/// What is not supported, by name, and what cannot be.
pub fn resolve_update(host: &HostConfig, facts: &Facts) -> Result<Limits, PlanError> {
    refuse::check_update(host, facts)?;
    let limits = limits::resolve(host, facts)?;
    cgroup::check(&limits, &facts.cgroup)?;
    Ok(limits)
}
