//! Takes back what host steps did. Every part is done even when another fails, and can be done again.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use berth_plan::{Endpoint, HostStep};

use crate::error::ExecError;
use crate::{host, netlink, nft};

/// How long the kernel may take to remove the network of a namespace that has ended. It does so by itself, for many at
/// a time; to ask for it keeps all others from making networks meanwhile, so that is done only after this.
const NETWORK_GRACE: Duration = Duration::from_secs(1);

/// The pause between two looks.
const NETWORK_PAUSE: Duration = Duration::from_millis(5);

/// Takes back these steps, the last first; a process that is still there is killed.
///
/// # Errors
/// The first failure; what comes after it has been tried too.
pub(crate) fn undo(steps: &[HostStep], table: &str) -> Result<(), ExecError> {
    let released = release(steps, table);
    released.and(disconnect_all(steps))
}

/// The quick part of [`undo`]: ports and cgroups, with whatever still runs in them.
///
/// # Errors
/// The first failure; what comes after it has been tried too.
pub(crate) fn release(steps: &[HostStep], table: &str) -> Result<(), ExecError> {
    let ports: Vec<_> = steps.iter().filter_map(host::published).collect();
    let unpublished = nft::unpublish(table, &ports).map_err(ExecError::from);
    let cgroups: Vec<&Path> = steps.iter().rev().filter_map(own_cgroup).collect();
    unpublished.and(host::empty(&cgroups))
}

/// The slow part of [`undo`]: waits until the kernel has taken the network away. Its namespace ends with its processes.
///
/// # Errors
/// The first failure; what comes after it has been tried too.
pub(crate) fn disconnect_all(steps: &[HostStep]) -> Result<(), ExecError> {
    let disconnected = steps.iter().rev().filter_map(endpoint).map(disconnect);
    disconnected.fold(Ok(()), Result::and)
}

fn own_cgroup(step: &HostStep) -> Option<&Path> {
    match step {
        HostStep::MakeCgroup { path, shared: false } => Some(path),
        HostStep::MakeCgroup { shared: true, .. }
        | HostStep::WriteFile { .. }
        | HostStep::InheritCpuset { .. }
        | HostStep::WriteCgroup { .. }
        | HostStep::DeviceRules { .. }
        | HostStep::ReservePort { .. }
        | HostStep::Network { .. }
        | HostStep::Join { .. }
        | HostStep::LonelyNetwork
        | HostStep::Names
        | HostStep::Publish { .. } => None,
    }
}

fn endpoint(step: &HostStep) -> Option<&Endpoint> {
    match step {
        HostStep::Network { endpoint } | HostStep::Join { endpoint } => Some(endpoint),
        HostStep::MakeCgroup { .. }
        | HostStep::WriteFile { .. }
        | HostStep::InheritCpuset { .. }
        | HostStep::WriteCgroup { .. }
        | HostStep::DeviceRules { .. }
        | HostStep::ReservePort { .. }
        | HostStep::LonelyNetwork
        | HostStep::Names
        | HostStep::Publish { .. } => None,
    }
}

fn disconnect(endpoint: &Endpoint) -> Result<(), ExecError> {
    let interface = Path::new("/sys/class/net").join(&endpoint.host_interface);
    let deadline = Instant::now() + NETWORK_GRACE;
    while interface.exists() && Instant::now() < deadline {
        thread::sleep(NETWORK_PAUSE);
    }
    netlink::disconnect(&endpoint.host_interface)?;
    if let Err(error) = netlink::forget_flows(endpoint.address) {
        // A kernel that tracks nothing has nothing to forget.
        tracing::debug!(address = %endpoint.address, %error, "flows of an ended container were not forgotten");
    }
    Ok(())
}
