//! The network of a container: namespace, ports, and the files that name things.

use std::net::IpAddr;

use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{LinkedHost, Network, Placement, Spec};
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

/// Where the engine's resolver answers in a container's network.
const RESOLVER: &str = "127.0.0.11";

/// A name without a dot is asked for as it is: containers have such names.
const RESOLVER_OPTION: &str = "ndots:0";

/// Makes sure that what was chosen fits the container.
pub(crate) fn check(spec: &Spec, placement: &Placement) -> Result<(), PlanError> {
    let on_bridge = spec.network == Network::Bridge;
    let misfit = |reason| {
        Err(PlanError::Placement {
            id: spec.id.clone(),
            reason,
        })
    };
    let connected = placement.network.is_some();
    if (connected && !on_bridge) || (!connected && !placement.more_networks.is_empty()) {
        return misfit("an address was chosen without the bridge, or a second one without a first");
    }
    let joined = spec.network == Network::Joined;
    if spec.network_of.is_some() != joined || placement.joined_dir.is_some() != joined {
        return misfit("a network is joined without the container that has it");
    }
    if !placement.ports.is_empty() && !connected {
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
            steps.extend(placement.more_networks.iter().map(|endpoint| HostStep::Join {
                endpoint: endpoint.clone(),
            }));
            steps.extend(placement.resolver.then_some(HostStep::Names));
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
        file("hosts", {
            let endpoints = placement.network.iter().chain(&placement.more_networks);
            hosts(spec, endpoints, &placement.links)
        }),
        file("hostname", format!("{}\n", spec.hostname)),
        file(
            "resolv.conf",
            resolv_conf(spec, &placement.resolv_conf, placement.resolver),
        ),
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
pub(crate) fn settings(spec: &Spec, facts: &Facts, placement: &Placement) -> Vec<StageStep> {
    // Without an IPv6 subnet nobody's router advertisements are to be believed.
    let endpoints = placement.network.iter().chain(&placement.more_networks);
    let ipv4_only = endpoints.filter(|endpoint| facts.ipv6 && endpoint.ipv6.is_none());
    let ipv6: Vec<String> = ipv4_only
        .map(|endpoint| format!("net/ipv6/conf/{}/disable_ipv6", endpoint.interface))
        .collect();
    let ipv6 = ipv6.iter().map(|name| (name.as_str(), "1"));
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

/// What `/etc/hosts` of a container says.
#[must_use]
pub fn hosts<'a>(
    spec: &Spec,
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
    links: &[LinkedHost],
) -> String {
    let mut text = HOSTS.to_owned();
    let endpoints: Vec<&Endpoint> = endpoints.into_iter().collect();
    let gateway = endpoints.first().map(|endpoint| IpAddr::V4(endpoint.gateway));
    for host in &spec.extra_hosts {
        if let Some(address) = host.address.or(gateway) {
            line(&mut text, address, &host.name);
        }
    }
    for link in links {
        line(&mut text, IpAddr::V4(link.address), &link.names);
    }
    let names = if spec.domainname.is_empty() {
        spec.hostname.clone()
    } else {
        format!("{0}.{1} {0}", spec.hostname, spec.domainname)
    };
    for endpoint in endpoints {
        line(&mut text, IpAddr::V4(endpoint.address), &names);
        if let Some(ipv6) = &endpoint.ipv6 {
            line(&mut text, IpAddr::V6(ipv6.address), &names);
        }
    }
    text
}

fn line(text: &mut String, address: IpAddr, names: &str) {
    text.push_str(&format!("{address}\t{names}\n"));
}

/// What `/etc/resolv.conf` of a container says: the host's file with what the user replaced. Name servers on the host's loopback cannot be reached from another
/// network and are left out there. With the engine's resolver it is the only server: it asks the others.
#[must_use]
pub fn resolv_conf(spec: &Spec, of_host: &str, resolver: bool) -> String {
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
    let mut options = list(&spec.dns.options, "options");
    let mut text: String = servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    if resolver {
        text = format!("nameserver {RESOLVER}\n");
        if !options.iter().any(|option| option.starts_with("ndots:")) {
            options.push(RESOLVER_OPTION.to_owned());
        }
    }
    for (kind, list) in [("search", search), ("options", options)] {
        if !list.is_empty() {
            text.push_str(&format!("{kind} {}\n", list.join(" ")));
        }
    }
    text
}
