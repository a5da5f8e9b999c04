//! Namespaces that are not the container's own.

use std::collections::BTreeMap;

use berth_wire::docker::CreateRequest;

use crate::error::PlanError;
use crate::spec::{Ipc, Network, Sharing};

/// Modes that name another container begin with this.
const OTHER: &str = "container:";

/// What is known of the other containers that a request names.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// The id of each container that a mode names, by the word for it.
    pub ids: BTreeMap<String, String>,
    /// The host name of the container whose network is joined.
    pub hostname: Option<String>,
    /// Mounts of other containers, in their order; what the request has on the same place goes before.
    pub inherited: Vec<crate::spec::UserMount>,
}

impl Given {
    /// The id that a word stands for; the word itself when it is not known.
    fn id(&self, word: &str) -> String {
        self.ids.get(word).cloned().unwrap_or_else(|| word.to_owned())
    }
}

/// The words for other containers in the modes of a request.
#[must_use]
pub fn named(request: &CreateRequest) -> Vec<&str> {
    let host = &request.host_config;
    [&host.network_mode, &host.pid_mode, &host.ipc_mode]
        .into_iter()
        .filter_map(|mode| mode.strip_prefix(OTHER))
        .collect()
}

/// Whose processes, IPC and names a container has.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) processes: Sharing,
    pub(super) ipc: Ipc,
    pub(super) host_names: bool,
    pub(super) network_of: Option<String>,
}

pub(super) fn resolve(request: &CreateRequest, given: &Given) -> Result<Shared, PlanError> {
    let host = &request.host_config;
    let other = |mode: &str| {
        mode.strip_prefix(OTHER)
            .filter(|word| !word.is_empty())
            .map(|word| given.id(word))
    };
    let invalid = |option, value: &str| PlanError::Mode {
        option,
        value: value.to_owned(),
    };
    let processes = match host.pid_mode.as_str() {
        "" => Sharing::Own,
        "host" => Sharing::Host,
        mode => Sharing::Container(other(mode).ok_or_else(|| invalid("PID", mode))?),
    };
    let ipc = match host.ipc_mode.as_str() {
        "" | "private" => Ipc::Private,
        "shareable" => Ipc::Shareable,
        "none" => Ipc::WithoutMemory,
        "host" => Ipc::Host,
        mode => Ipc::Container(other(mode).ok_or_else(|| invalid("IPC", mode))?),
    };
    let host_names = match host.uts_mode.as_str() {
        "" => false,
        "host" => true,
        mode => return Err(invalid("UTS", mode)),
    };
    let network_of = host
        .network_mode
        .starts_with(OTHER)
        .then(|| other(&host.network_mode));
    let network_of = match network_of {
        Some(None) => return Err(invalid("network", &host.network_mode)),
        Some(id) => id,
        None => None,
    };
    conflicts(request, host_names, network_of.is_some())?;
    Ok(Shared {
        processes,
        ipc,
        host_names,
        network_of,
    })
}

/// What belongs to a namespace cannot be chosen for one that is somebody else's.
fn conflicts(request: &CreateRequest, host_names: bool, joined: bool) -> Result<(), PlanError> {
    let (config, host) = (&request.config, &request.host_config);
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let named = !config.hostname.is_empty() || !config.domainname.is_empty();
    for (conflict, text) in [
        (
            host_names && named,
            "conflicting options: hostname and the UTS mode",
        ),
        (
            joined && named,
            "conflicting options: hostname and the network mode",
        ),
        (
            joined && (some(&host.dns) || some(&host.dns_search) || some(&host.dns_options)),
            "conflicting options: dns and the network mode",
        ),
        (
            joined && some(&host.extra_hosts),
            "conflicting options: custom host-to-IP mapping and the network mode",
        ),
        (
            joined && (!host.port_bindings.is_empty() || host.publish_all_ports),
            "conflicting options: port publishing and the container type network mode",
        ),
    ] {
        if conflict {
            return Err(PlanError::Limit(text));
        }
    }
    Ok(())
}

/// The network that the request asks for.
pub(super) fn network(request: &CreateRequest) -> Result<Network, PlanError> {
    let mode = request.host_config.network_mode.as_str();
    if request.config.network_disabled {
        return Ok(Network::None);
    }
    match mode {
        "" | "default" | "bridge" => Ok(Network::Bridge),
        "none" => Ok(Network::None),
        "host" => Ok(Network::Host),
        other if other.starts_with(OTHER) => Ok(Network::Joined),
        // A network that somebody made, by name or id.
        _ => Ok(Network::Bridge),
    }
}
