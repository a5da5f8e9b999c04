//! What is known about one container: the record that survives the daemon.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use berth_plan::{Endpoint, LinkedHost, MountSource, Plan, Spec};
use berth_wire::docker::{ContainerConfig, HostConfig, PathSet};
use serde::{Deserialize, Serialize};

use crate::documents::BRIDGE_NETWORK_ID;
use crate::health::Health;
use crate::networks::{Attachment, TargetAlias, own_bridge};
use crate::registration::{RegisteredPort, Registration};

/// A container. Times are nanoseconds since 1970, 0 for never.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// Without the leading slash.
    pub(crate) name: String,
    pub(crate) created: i64,
    /// The image as the client named it.
    pub(crate) image: String,
    pub(crate) image_id: String,
    /// The request, completed from the image.
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
    pub(crate) spec: Spec,
    pub(crate) run: Run,
    /// The networks that it is in, unless its network is none, the host's or another's.
    #[serde(default = "own_bridge")]
    pub(crate) attachments: Vec<Attachment>,
    /// Links of the engine's own network.
    #[serde(default)]
    pub(crate) links: Vec<TargetAlias>,
}

/// The present or the last run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) status: Status,
    pub(crate) pid: i64,
    pub(crate) exit_code: i64,
    pub(crate) error: String,
    pub(crate) oom_killed: bool,
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    /// Its place in the network while it runs (and until what it held is cleaned up).
    pub(crate) place: Option<Place>,
    /// What was done to the host for it, so that it can be undone.
    pub(crate) plan: Option<Plan>,
    /// How often it has been started again by its policy.
    #[serde(default)]
    pub(crate) restart_count: u64,
    /// Somebody has stopped it.
    #[serde(default)]
    pub(crate) held: bool,
    /// What its health check says, if it has one.
    #[serde(default)]
    pub(crate) health: Option<Health>,
    /// Its processes stand still.
    #[serde(default)]
    pub(crate) paused: bool,
}

/// The states that a client sees.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// Never ran.
    #[default]
    Created,
    /// Runs.
    Running,
    /// Ran, and waits for its next start.
    Restarting,
    /// Ran.
    Exited,
    /// Is being removed.
    Removing,
    /// Could not be removed.
    Dead,
}

impl Status {
    /// What clients call running: also while it waits for its next start.
    pub(crate) fn counts_as_running(self) -> bool {
        matches!(self, Self::Running | Self::Restarting)
    }

    /// As documents spell it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }
}

/// Address and ports of a running container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Its first place: published ports lead there. None without a network.
    pub(crate) endpoint: Option<Address>,
    pub(crate) ports: Vec<PublishedAt>,
    /// Its places in other networks.
    #[serde(default)]
    pub(crate) more: Vec<Address>,
    /// The containers that it is linked to.
    #[serde(default)]
    pub(crate) links: Vec<LinkedHost>,
    /// The variables that tell of them.
    #[serde(default)]
    pub(crate) link_env: Vec<String>,
}

/// An address in a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) address: Ipv4Addr,
    pub(crate) prefix_len: u8,
    pub(crate) gateway: Ipv4Addr,
    pub(crate) mac: String,
    /// The network, by id.
    #[serde(default = "own_network")]
    pub(crate) network: String,
    /// Names this place.
    #[serde(default)]
    pub(crate) endpoint_id: String,
    /// What of it is on the host.
    #[serde(default)]
    pub(crate) endpoint: Option<Endpoint>,
}

fn own_network() -> String {
    BRIDGE_NETWORK_ID.to_owned()
}

impl Place {
    /// All places, the first one first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.endpoint.iter().chain(&self.more)
    }
}

impl Address {
    /// It is in the engine's own network.
    pub(crate) fn is_own(&self) -> bool {
        self.network == BRIDGE_NETWORK_ID
    }

    /// The IPv6 address, if it has one.
    pub(crate) fn ipv6(&self) -> Option<Ipv6Addr> {
        Some(self.endpoint.as_ref()?.ipv6.as_ref()?.address)
    }

    /// The addresses of either kind.
    pub(crate) fn all(&self) -> impl Iterator<Item = IpAddr> {
        let ipv6 = self.ipv6().map(IpAddr::V6);
        std::iter::once(IpAddr::V4(self.address)).chain(ipv6)
    }
}

/// A published port with the host port that it got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PublishedAt {
    pub(crate) container_port: u16,
    pub(crate) protocol: String,
    pub(crate) host_ip: Ipv4Addr,
    pub(crate) host_port: u16,
}

/// What waiting clients watch: the run as it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RunState {
    pub(crate) running: bool,
    /// How many runs have ended since the daemon began to watch.
    pub(crate) exits: u64,
    pub(crate) exit_code: i64,
    pub(crate) removed: bool,
}

/// A port and its protocol, `80/tcp`.
pub(crate) fn parse_port(text: &str) -> Option<(u16, &str)> {
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    Some((port.parse().ok()?, protocol))
}

impl Container {
    /// Its state in the words of documents and filters.
    pub(crate) fn state_word(&self) -> &'static str {
        if self.run.paused {
            "paused"
        } else {
            self.run.status.as_str()
        }
    }

    /// What events say about it: image, name and all labels.
    pub(crate) fn attributes(&self) -> BTreeMap<String, String> {
        let mut attributes = self.config.labels.clone();
        attributes.insert("image".to_owned(), self.image.clone());
        attributes.insert("name".to_owned(), self.name.clone());
        attributes
    }

    /// The names of its volumes, and whether they are anonymous.
    pub(crate) fn volumes(&self) -> impl Iterator<Item = (&str, bool)> {
        self.spec.mounts.iter().filter_map(|mount| match &mount.source {
            MountSource::Volume(volume) => Some((volume.name.as_str(), volume.anonymous)),
            MountSource::Host { .. } | MountSource::Tmpfs { .. } => None,
        })
    }

    /// The names of those that nobody has named.
    pub(crate) fn anonymous_volumes(&self) -> Vec<String> {
        let anonymous = self.volumes().filter(|(_, anonymous)| *anonymous);
        anonymous.map(|(name, _)| name.to_owned()).collect()
    }

    /// All ports, exposed and published, as `(port, protocol)`.
    pub(crate) fn ports(&self) -> Vec<(u16, String)> {
        let exposed: &PathSet = &self.config.exposed_ports;
        let keys = exposed.keys().chain(self.host_config.port_bindings.keys());
        let mut ports: Vec<(u16, String)> = keys
            .filter_map(|key| parse_port(key))
            .map(|(port, protocol)| (port, protocol.to_owned()))
            .collect();
        ports.sort();
        ports.dedup();
        ports
    }

    /// Where the port is published.
    pub(crate) fn published(&self, port: u16, protocol: &str) -> Vec<&PublishedAt> {
        let places = self.run.place.iter().flat_map(|place| &place.ports);
        places
            .filter(|place| place.container_port == port && place.protocol == protocol)
            .collect()
    }

    /// The first address, if it runs and has one.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.run
            .place
            .as_ref()
            .filter(|_| self.run.status == Status::Running)?
            .endpoint
            .as_ref()
    }

    /// What the announcer is to know; none unless it runs with an address of its own.
    pub(crate) fn registration(&self) -> Option<Registration> {
        let address = self.address()?.address;
        let endpoints = self.ports().into_iter().map(|(port, protocol)| {
            let published = self.published(port, &protocol);
            let published = published
                .first()
                .map(|place| format!("{}:{}", place.host_ip, place.host_port));
            RegisteredPort {
                port,
                protocol,
                address: format!("{address}:{port}"),
                published,
            }
        });
        Some(Registration {
            container_id: self.id.clone(),
            name: self.name.clone(),
            labels: self.config.labels.clone(),
            endpoints: endpoints.collect(),
        })
    }
}
