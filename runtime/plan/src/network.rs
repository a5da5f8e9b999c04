//! The network of a container: namespace, ports, and the files that name things.

use std::net::IpAddr;

use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{Network, Placement, Spec};
use crate::step::{Endpoint, HostStep, StageStep};

/// Readable by everybody in the container.
const FILE_MODE: u32 = 0o644;

/// What every `/etc/hosts` begins with.
const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Settings of a network of its own: everybody may ping and may serve ports below 1024.
const SETTINGS: [(&str, &str); 2] = [
    ("net/ipv4/ping_group_range", "0 2147483647"),
    ("net/ipv4/ip_unprivileged_port_start", "0"),
];

/// Without IPv6 on the bridge nobody else's router advertisements are to be believed.
const NO_IPV6: (&str, &str) = ("net/ipv6/conf/eth0/disable_ipv6", "1");

/// Makes sure that what was chosen fits the container.
pub(crate) fn check(spec: &Spec, placement: &Placement) -> Result<(), PlanError> {
    let on_bridge = spec.network == Network::Bridge;
    let misfit = |reason| {
        Err(PlanError::Placement {
            id: spec.id.clone(),
            reason,
        })
    };
    if placement.network.is_some() != on_bridge {
        return misfit("an address was chosen without the bridge, or none with it");
    }
    let joined = spec.network == Network::Joined;
    if spec.network_of.is_some() != joined || placement.joined_dir.is_some() != joined {
        return misfit("a network is joined without the container that has it");
    }
    if !placement.ports.is_empty() && !on_bridge {
        return misfit("ports are published without the bridge");
    }
    if placement.ports.iter().any(|port| port.host_port == 0) {
        return misfit("the host's side of a published port was not chosen");
    }
    Ok(())
}

/// Files, then ports and namespace, then what leads from the one to the other.
pub(crate) fn host_steps(spec: &Spec, placement: &Placement) -> Vec<HostStep> {
    let mut steps: Vec<HostStep> = placement
        .ports
        .iter()
        .map(|port| HostStep::ReservePort {
            protocol: port.protocol,
            address: port.host_ip,
            port: port.host_port,
        })
        .collect();
    match (&placement.network, spec.network) {
        (Some(endpoint), _) => {
            steps.push(HostStep::Network {
                endpoint: endpoint.clone(),
            });
            steps.extend(placement.ports.iter().map(|port| HostStep::Publish {
                protocol: port.protocol,
                host_address: port.host_ip,
                host_port: port.host_port,
                address: endpoint.address,
                port: port.container_port,
            }));
        }
        (None, Network::Bridge | Network::None) => steps.push(HostStep::LonelyNetwork),
        (None, Network::Host | Network::Joined) => {}
    }
    steps
}

/// The container's own files.
pub(crate) fn files(spec: &Spec, placement: &Placement) -> Vec<HostStep> {
    if placement.joined_dir.is_some() {
        // Those of the container whose network it is.
        return Vec::new();
    }
    let file = |name: &str, content: String| HostStep::WriteFile {
        path: placement.container_dir.join(name),
        mode: FILE_MODE,
        content,
    };
    vec![
        file("hosts", hosts(spec, placement.network.as_ref())),
        file("hostname", format!("{}\n", spec.hostname)),
        file("resolv.conf", resolv_conf(spec, &placement.resolv_conf)),
    ]
}

/// Enters the namespace that was made.
pub(crate) fn enter(spec: &Spec) -> Option<StageStep> {
    match spec.network {
        Network::Bridge | Network::None => Some(StageStep::EnterNetwork),
        Network::Host | Network::Joined => None,
    }
}

/// Kernel settings: the defaults of an own network unless the user set them, then the user's.
pub(crate) fn settings(spec: &Spec, facts: &Facts) -> Vec<StageStep> {
    let ipv6 = (spec.network == Network::Bridge && facts.ipv6).then_some(NO_IPV6);
    let own_network = matches!(spec.network, Network::Bridge | Network::None);
    let defaults = SETTINGS.into_iter().filter(|_| own_network).chain(ipv6);
    let defaults = defaults
        .filter(|(name, _)| spec.sysctls.iter().all(|(own, _)| own != name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    defaults
        .chain(spec.sysctls.iter().cloned())
        .map(|(name, value)| StageStep::Sysctl { name, value })
        .collect()
}

fn hosts(spec: &Spec, endpoint: Option<&Endpoint>) -> String {
    let mut text = HOSTS.to_owned();
    let gateway = endpoint.map(|endpoint| IpAddr::V4(endpoint.gateway));
    for host in &spec.extra_hosts {
        if let Some(address) = host.address.or(gateway) {
            line(&mut text, address, &host.name);
        }
    }
    if let Some(endpoint) = endpoint {
        let names = if spec.domainname.is_empty() {
            spec.hostname.clone()
        } else {
            format!("{0}.{1} {0}", spec.hostname, spec.domainname)
        };
        line(&mut text, IpAddr::V4(endpoint.address), &names);
    }
    text
}

fn line(text: &mut String, address: IpAddr, names: &str) {
    text.push_str(&format!("{address}\t{names}\n"));
}

/// The host's file with what the user replaced. Name servers on the host's loopback cannot be reached from another
/// network and are left out there.
fn resolv_conf(spec: &Spec, of_host: &str) -> String {
    let words = |kind: &'static str| {
        of_host
            .lines()
            .map(|line| line.split_whitespace())
            .filter_map(move |mut words| (words.next() == Some(kind)).then_some(words))
    };
    let reachable = |address: &IpAddr| spec.network == Network::Host || !address.is_loopback();
    let servers: Vec<IpAddr> = if spec.dns.servers.is_empty() {
        let servers = words("nameserver").filter_map(|mut words| words.next()?.parse().ok());
        servers.filter(reachable).collect()
    } else {
        spec.dns.servers.clone()
    };
    let list = |own: &[String], kind: &'static str| -> Vec<String> {
        if own.is_empty() {
            // The last line counts.
            words(kind)
                .next_back()
                .into_iter()
                .flatten()
                .map(ToOwned::to_owned)
                .collect()
        } else {
            own.to_vec()
        }
    };
    let mut search = list(&spec.dns.search, "search");
    search.retain(|domain| domain != ".");
    let options = list(&spec.dns.options, "options");
    let mut text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    for (kind, list) in [("search", search), ("options", options)] {
        if !list.is_empty() {
            text.push_str(&format!("{kind} {}\n", list.join(" ")));
        }
    }
    text
}
