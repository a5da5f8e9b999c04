//! Published ports.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use berth_wire::docker::{CreateRequest, ImageConfig, PortBinding};

use crate::error::PlanError;
use crate::spec::{Network, PublishedPort};
use crate::step::Protocol;

/// Ports of one container that are published: each keeps a socket open. More are refused.
const MAX_PUBLISHED: usize = 4096;

/// Bindings in the order of ports. Only a container on the bridge has any: with the host's network its ports are the
/// host's already, without a network there are none.
pub(super) fn resolve(
    request: &CreateRequest,
    image: &ImageConfig,
    network: Network,
) -> Result<Vec<PublishedPort>, PlanError> {
    let mut ports: BTreeMap<(u16, Protocol), Vec<PublishedPort>> = BTreeMap::new();
    for key in request
        .config
        .exposed_ports
        .keys()
        .chain(image.exposed_ports.keys())
    {
        for port in range("ExposedPorts", key)? {
            ports.entry(port).or_default();
        }
    }
    for (key, bindings) in &request.host_config.port_bindings {
        let (container_port, protocol) = single("PortBindings", key)?;
        let list = ports.entry((container_port, protocol)).or_default();
        for PortBinding { host_ip, host_port } in bindings.iter().flatten() {
            list.push(PublishedPort {
                container_port,
                protocol,
                host_ip: address(host_ip)?,
                host_port: self::host_port(host_port)?,
            });
        }
    }
    if network != Network::Bridge {
        return Ok(Vec::new());
    }
    let all = request.host_config.publish_all_ports;
    let published: Vec<PublishedPort> = ports
        .into_iter()
        .flat_map(|((container_port, protocol), mut list)| {
            if list.is_empty() && all {
                list.push(PublishedPort {
                    container_port,
                    protocol,
                    host_ip: Ipv4Addr::UNSPECIFIED,
                    host_port: 0,
                });
            }
            list
        })
        .collect();
    if published.len() > MAX_PUBLISHED {
        return Err(PlanError::Limit("too many published ports: the limit is 4096"));
    }
    Ok(published)
}

fn single(option: &'static str, text: &str) -> Result<(u16, Protocol), PlanError> {
    match range(option, text)?.as_slice() {
        [port] => Ok(*port),
        _ => Err(PlanError::UnsupportedValue {
            option,
            value: text.to_owned(),
        }),
    }
}

/// `80`, `80/tcp`, `8000-8010/udp`
fn range(option: &'static str, text: &str) -> Result<Vec<(u16, Protocol)>, PlanError> {
    let invalid = |reason| PlanError::Invalid {
        option,
        value: text.to_owned(),
        reason,
    };
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => return Err(PlanError::Unsupported("SCTP")),
        _ => return Err(invalid("the protocol is neither tcp nor udp")),
    };
    let (from, to) = ports.split_once('-').unwrap_or((ports, ports));
    match (number(from), number(to)) {
        (Some(from), Some(to)) if 0 < from && from <= to => {
            Ok((from..=to).map(|port| (port, protocol)).collect())
        }
        _ => Err(invalid("not a port from 1 to 65535")),
    }
}

fn number(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

fn host_port(text: &str) -> Result<u16, PlanError> {
    if text.is_empty() {
        return Ok(0);
    }
    if text.contains('-') {
        return Err(PlanError::UnsupportedValue {
            option: "HostPort range",
            value: text.to_owned(),
        });
    }
    number(text).ok_or_else(|| PlanError::Invalid {
        option: "HostPort",
        value: text.to_owned(),
        reason: "not a port from 0 to 65535",
    })
}

fn address(text: &str) -> Result<Ipv4Addr, PlanError> {
    if text.is_empty() {
        return Ok(Ipv4Addr::UNSPECIFIED);
    }
    if text.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(PlanError::UnsupportedValue {
            option: "HostIp",
            value: text.to_owned(),
        });
    }
    text.parse().map_err(|_| PlanError::Invalid {
        option: "HostIp",
        value: text.to_owned(),
        reason: "not an IPv4 address",
    })
}
