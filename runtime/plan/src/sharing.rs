//! Namespaces that a container shares with the host or with another container.

use crate::spec::{Ipc, Sharing, Spec};
use crate::step::{Namespace, StageStep};

/// First of all steps: what is not shared is the process's own from its birth.
pub(crate) fn steps(spec: &Spec) -> Vec<StageStep> {
    let processes = match &spec.processes {
        Sharing::Own => None,
        Sharing::Host => Some(None),
        Sharing::Container(id) => Some(Some(id)),
    };
    let ipc = match &spec.ipc {
        Ipc::Private | Ipc::Shareable | Ipc::WithoutMemory => None,
        Ipc::Host => Some(None),
        Ipc::Container(id) => Some(Some(id)),
    };
    let names = spec.host_names.then_some(None);
    let network = spec.network_of.as_ref().map(Some);
    [
        (Namespace::Processes, processes),
        (Namespace::Ipc, ipc),
        (Namespace::Names, names),
        (Namespace::Network, network),
    ]
    .into_iter()
    .filter_map(|(namespace, with)| {
        let with = with?.cloned();
        Some(StageStep::Share { namespace, with })
    })
    .collect()
}
