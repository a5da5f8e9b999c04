//! Names: extra lines of `/etc/hosts`, and replaced parts of `/etc/resolv.conf`.

use berth_wire::docker::HostConfig;

use crate::error::PlanError;
use crate::spec::{Dns, ExtraHost, Network};

/// Entries of each list; more are refused.
const MAX_ENTRIES: usize = 1024;

/// The address of the host itself as the container sees it.
const HOST_GATEWAY: &str = "host-gateway";

/// `name:address`; the address may have colons itself.
pub(super) fn extra_hosts(asked: &[String], network: Network) -> Result<Vec<ExtraHost>, PlanError> {
    bounded(asked)?;
    let one = |text: &String| {
        let invalid = |reason| PlanError::Invalid {
            option: "ExtraHosts",
            value: text.clone(),
            reason,
        };
        let (name, address) = text
            .split_once([':', '='])
            .ok_or_else(|| invalid("the address is missing"))?;
        if !word(name) || name.contains('#') {
            return Err(invalid("the name is empty or has a blank in it"));
        }
        if address == HOST_GATEWAY {
            if network != Network::Bridge {
                return Err(PlanError::Unsupported(
                    "host-gateway without the bridge network (ExtraHosts)",
                ));
            }
            return Ok(ExtraHost {
                name: name.to_owned(),
                address: None,
            });
        }
        let bare = address
            .strip_prefix('[')
            .and_then(|address| address.strip_suffix(']'));
        let address = bare
            .unwrap_or(address)
            .parse()
            .map_err(|_| invalid("not an IP address"))?;
        Ok(ExtraHost {
            name: name.to_owned(),
            address: Some(address),
        })
    };
    asked.iter().map(one).collect()
}

pub(super) fn resolve(host: &HostConfig) -> Result<Dns, PlanError> {
    let server = |text: &String| {
        text.parse().map_err(|_| PlanError::Invalid {
            option: "Dns",
            value: text.clone(),
            reason: "not an IP address",
        })
    };
    let servers = host.dns.as_deref().unwrap_or_default();
    bounded(servers)?;
    Ok(Dns {
        servers: servers.iter().map(server).collect::<Result<_, _>>()?,
        search: words("DnsSearch", host.dns_search.as_deref())?,
        options: words("DnsOptions", host.dns_options.as_deref())?,
    })
}

fn words(option: &'static str, asked: Option<&[String]>) -> Result<Vec<String>, PlanError> {
    let asked = asked.unwrap_or_default();
    bounded(asked)?;
    match asked.iter().find(|text| !word(text)) {
        None => Ok(asked.to_vec()),
        Some(text) => Err(PlanError::Invalid {
            option,
            value: text.clone(),
            reason: "not one word",
        }),
    }
}

fn word(text: &str) -> bool {
    !text.is_empty() && !text.contains(|letter: char| letter.is_whitespace() || letter.is_control())
}

fn bounded(list: &[String]) -> Result<(), PlanError> {
    if list.len() > MAX_ENTRIES {
        return Err(PlanError::Limit("too many entries for names: the limit is 1024"));
    }
    Ok(())
}
