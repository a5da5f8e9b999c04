//! Containers as the documents of the API show them.

mod mounts;

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_plan::Network;
use berth_wire::docker::{
    ContainerInspect, ContainerState, ContainerSummary, EndpointIpam, EndpointSettings, GraphDriver,
    HostNetworkMode, NetworkSettings, PortBinding, PortMap, PortSummary, SummaryNetworkSettings,
};

use crate::clock;
use crate::container::{Container, Place, Status};
use crate::duration;
use crate::health::Health;
use crate::networks::Attachment;

pub(crate) use mounts::points;

/// Digits of an id that stand for it.
const SHORT_ID: usize = 12;

/// The id of the engine's own network.
pub(crate) const BRIDGE_NETWORK_ID: &str = "6272696467650000000000000000000000000000000000000000000000000001";

/// The name of the storage driver.
pub(crate) const DRIVER: &str = "overlay2";

/// Files of a container, by their place in its directory.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) log: String,
    pub(crate) hosts: String,
    pub(crate) hostname: String,
    pub(crate) resolv_conf: String,
}

/// The inspect document.
pub(crate) fn inspect(container: &Container, paths: Paths) -> ContainerInspect {
    let command = command(container);
    ContainerInspect {
        id: container.id.clone(),
        created: clock::render(container.created),
        path: command.first().cloned().unwrap_or_default(),
        args: command.get(1..).unwrap_or_default().to_vec(),
        state: state(container),
        image: container.image_id.clone(),
        resolv_conf_path: paths.resolv_conf,
        hostname_path: paths.hostname,
        hosts_path: paths.hosts,
        log_path: if container.spec.log.kept {
            paths.log
        } else {
            String::new()
        },
        name: format!("/{}", container.name),
        restart_count: i64::try_from(container.run.restart_count).unwrap_or(i64::MAX),
        driver: DRIVER.to_owned(),
        platform: "linux".to_owned(),
        host_config: container.host_config.clone(),
        graph_driver: GraphDriver {
            name: DRIVER.to_owned(),
            data: BTreeMap::new(),
        },
        config: container.config.clone(),
        network_settings: network_settings(container),
        ..ContainerInspect::default()
    }
}

/// A row of the list; `image` is the name to show, which is the id once the tag points elsewhere.
pub(crate) fn summary(container: &Container, image: String, now: i64) -> ContainerSummary {
    ContainerSummary {
        id: container.id.clone(),
        names: vec![format!("/{}", container.name)],
        image,
        image_id: container.image_id.clone(),
        command: quoted_command(&command(container)),
        created: container.created.div_euclid(clock::NANOS_PER_SECOND),
        ports: port_rows(container),
        labels: container.config.labels.clone(),
        state: container.state_word().to_owned(),
        status: status_text(container, now),
        host_config: HostNetworkMode {
            network_mode: container.host_config.network_mode.clone(),
        },
        network_settings: SummaryNetworkSettings {
            networks: networks(container),
        },
        ..ContainerSummary::default()
    }
}

/// Entrypoint and arguments in one list.
fn command(container: &Container) -> Vec<String> {
    let entrypoint = container.config.entrypoint.iter().flat_map(|words| &words.0);
    let arguments = container.config.cmd.iter().flat_map(|words| &words.0);
    entrypoint.chain(arguments).cloned().collect()
}

fn quoted_command(command: &[String]) -> String {
    let quote = |word: &String| {
        if word.contains(' ') {
            format!("'{word}'")
        } else {
            word.clone()
        }
    };
    command.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn state(container: &Container) -> ContainerState {
    let run = &container.run;
    ContainerState {
        status: container.state_word().to_owned(),
        paused: run.paused,
        health: run.health.as_ref().map(Health::document),
        running: run.status.counts_as_running(),
        restarting: run.status == Status::Restarting,
        oom_killed: run.oom_killed,
        dead: run.status == Status::Dead,
        pid: run.pid,
        exit_code: run.exit_code,
        error: run.error.clone(),
        started_at: clock::render(run.started_at),
        finished_at: clock::render(run.finished_at),
    }
}

/// `Status` of a list row, such as `Up 5 minutes`.
pub(crate) fn status_text(container: &Container, now: i64) -> String {
    let ago = |since: i64| duration::words((now - since).max(0) / clock::NANOS_PER_SECOND);
    let run = &container.run;
    match run.status {
        Status::Created => "Created".to_owned(),
        Status::Running if run.paused => format!("Up {} (Paused)", ago(run.started_at)),
        Status::Running => match &run.health {
            Some(health) => format!("Up {} ({})", ago(run.started_at), health.status.text()),
            None => format!("Up {}", ago(run.started_at)),
        },
        Status::Restarting => format!("Restarting ({}) {} ago", run.exit_code, ago(run.finished_at)),
        Status::Exited => format!("Exited ({}) {} ago", run.exit_code, ago(run.finished_at)),
        Status::Removing => "Removal In Progress".to_owned(),
        Status::Dead => "Dead".to_owned(),
    }
}

fn port_rows(container: &Container) -> Vec<PortSummary> {
    if container.run.status != Status::Running {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for (port, protocol) in container.ports() {
        let published = container.published(port, &protocol);
        rows.extend(published.iter().map(|place| PortSummary {
            ip: place.host_ip.to_string(),
            private_port: port,
            public_port: Some(place.host_port),
            protocol: protocol.clone(),
        }));
        if published.is_empty() {
            rows.push(PortSummary {
                private_port: port,
                protocol,
                ..PortSummary::default()
            });
        }
    }
    rows
}

fn port_map(container: &Container) -> PortMap {
    if container.run.status != Status::Running {
        return PortMap::new();
    }
    let entry = |(port, protocol): (u16, String)| {
        let bindings: Vec<_> = container
            .published(port, &protocol)
            .iter()
            .map(|place| PortBinding {
                host_ip: place.host_ip.to_string(),
                host_port: place.host_port.to_string(),
            })
            .collect();
        (
            format!("{port}/{protocol}"),
            Some(bindings).filter(|bindings| !bindings.is_empty()),
        )
    };
    container.ports().into_iter().map(entry).collect()
}

/// The networks of a container by name, or the mode it was given.
fn networks(container: &Container) -> BTreeMap<String, EndpointSettings> {
    let mode = container.host_config.network_mode.as_str();
    if container.spec.network != Network::Bridge {
        return BTreeMap::from([(mode.to_owned(), EndpointSettings::default())]);
    }
    let short: String = container.id.chars().take(SHORT_ID).collect();
    let one = |attachment: &Attachment| {
        let mut settings = EndpointSettings {
            network_id: attachment.network.clone(),
            ..EndpointSettings::default()
        };
        if attachment.network != BRIDGE_NETWORK_ID {
            let own = attachment.aliases.iter().cloned().chain([short.clone()]);
            settings.aliases = Some(own.collect());
            let mut names = vec![
                container.name.clone(),
                short.clone(),
                container.spec.hostname.clone(),
            ];
            names.extend(attachment.aliases.iter().cloned());
            let mut seen = std::collections::BTreeSet::new();
            names.retain(|name| seen.insert(name.clone()));
            settings.dns_names = Some(names);
        }
        if attachment.ipv4.is_some() || attachment.ipv6.is_some() {
            let text = |address: Option<String>| address.unwrap_or_default();
            settings.ipam_config = Some(EndpointIpam {
                ipv4_address: text(attachment.ipv4.map(|address| address.to_string())),
                ipv6_address: text(attachment.ipv6.map(|address| address.to_string())),
                ..EndpointIpam::default()
            });
        }
        let links = attachment.links.iter().map(|link| link.word.clone());
        settings.links = Some(links.collect()).filter(|links: &Vec<String>| !links.is_empty());
        place(container, attachment, &mut settings);
        (attachment.name.clone(), settings)
    };
    container.attachments.iter().map(one).collect()
}

/// Where it is while it runs.
fn place(container: &Container, attachment: &Attachment, settings: &mut EndpointSettings) {
    let running = container
        .run
        .place
        .iter()
        .filter(|_| container.run.status == Status::Running);
    let mut addresses = running.flat_map(Place::addresses);
    let Some(address) = addresses.find(|address| address.network == attachment.network) else {
        return;
    };
    settings.endpoint_id.clone_from(&address.endpoint_id);
    settings.gateway = address.gateway.to_string();
    settings.ip_address = address.address.to_string();
    settings.ip_prefix_len = address.prefix_len;
    settings.mac_address.clone_from(&address.mac);
    if let Some(ipv6) = address
        .endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.ipv6.as_ref())
    {
        settings.ipv6_gateway = ipv6.gateway.to_string();
        settings.global_ipv6_address = ipv6.address.to_string();
        settings.global_ipv6_prefix_len = ipv6.prefix_len;
    }
}

/// The names that other containers have for this one by their links.
pub(crate) fn link_names(container: &Container, all: &[Arc<Container>]) -> Vec<String> {
    let of = |other: &Arc<Container>| {
        let links = other.links.iter().filter(|link| link.target == container.id);
        let names = links.map(|link| format!("/{}/{}", other.name, link.alias));
        names.collect::<Vec<_>>()
    };
    all.iter().flat_map(of).collect()
}

fn network_settings(container: &Container) -> NetworkSettings {
    let networks = networks(container);
    let on_bridge = networks.get("bridge").cloned().unwrap_or_default();
    NetworkSettings {
        ports: port_map(container),
        sandbox_id: if container.run.status == Status::Running {
            container.id.clone()
        } else {
            String::new()
        },
        endpoint_id: on_bridge.endpoint_id,
        gateway: on_bridge.gateway,
        ip_address: on_bridge.ip_address,
        ip_prefix_len: on_bridge.ip_prefix_len,
        mac_address: on_bridge.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}
