//! `--publish` and `--expose`: ports, ranges of ports, addresses of the host.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use berth_wire::docker::{Empty, PathSet, PortBinding, PortMap};

use super::{FlagError, refuse};

/// Ports of a request.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Ports {
    pub(super) exposed: PathSet,
    pub(super) bindings: PortMap,
}

pub(super) fn parse(publish: &[String], expose: &[String]) -> Result<Ports, FlagError> {
    let mut ports = Ports::default();
    for text in publish {
        publish_one(text, &mut ports).map_err(|reason| refuse("--publish", text, reason))?;
    }
    for text in expose {
        let (range, protocol) = protocol(text).map_err(|reason| refuse("--expose", text, reason))?;
        for port in self::range(range).map_err(|reason| refuse("--expose", text, reason))? {
            ports.exposed.insert(format!("{port}/{protocol}"), Empty);
        }
    }
    Ok(ports)
}

/// `[IP:][HOST:]PORT[/PROTO]`, where an IPv6 address stands in brackets.
fn publish_one(text: &str, ports: &mut Ports) -> Result<(), &'static str> {
    let (rest, protocol) = protocol(text)?;
    let (rest, container) = rest
        .rsplit_once(':')
        .map_or((None, rest), |(rest, port)| (Some(rest), port));
    let (address, host) = match rest {
        None => ("", ""),
        Some(rest) => rest.rsplit_once(':').unwrap_or(("", rest)),
    };
    let address = address.trim_start_matches('[').trim_end_matches(']');
    if !address.is_empty() && address.parse::<IpAddr>().is_err() {
        return Err("the address of the host is no IP address");
    }
    let container = range(container)?;
    let host: Vec<String> = match host {
        "" => container.clone().map(|_| String::new()).collect(),
        host => {
            let found = range(host)?;
            if found.clone().count() != container.clone().count() {
                return Err("the ranges of ports have different lengths");
            }
            found.map(|port| port.to_string()).collect()
        }
    };
    for (port, host_port) in container.zip(host) {
        let key = format!("{port}/{protocol}");
        ports.exposed.insert(key.clone(), Empty);
        let bindings = ports.bindings.entry(key).or_default();
        bindings.get_or_insert_default().push(PortBinding {
            host_ip: address.to_owned(),
            host_port,
        });
    }
    Ok(())
}

fn protocol(text: &str) -> Result<(&str, &str), &'static str> {
    match text.rsplit_once('/') {
        None => Ok((text, "tcp")),
        Some((rest, protocol @ ("tcp" | "udp" | "sctp"))) => Ok((rest, protocol)),
        Some(_) => Err("the protocol must be tcp, udp or sctp"),
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, &'static str> {
    let port = |text: &str| {
        let port: u16 = text.parse().map_err(|_| "a port is a number from 1 to 65535")?;
        if port == 0 {
            Err("a port is a number from 1 to 65535")
        } else {
            Ok(port)
        }
    };
    match text.split_once('-') {
        None => port(text).map(|port| port..=port),
        Some((first, last)) => {
            let (first, last) = (port(first)?, port(last)?);
            if first <= last {
                Ok(first..=last)
            } else {
                Err("the range of ports runs backwards")
            }
        }
    }
}
