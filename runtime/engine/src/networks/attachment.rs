//! What a container wishes of the networks that it is in.

use std::net::{Ipv4Addr, Ipv6Addr};

use berth_wire::docker::{CreateRequest, EndpointSettings};
use serde::{Deserialize, Serialize};

use super::{BRIDGE, Network, NetworkFailure, Networks, masked6};
use crate::documents::BRIDGE_NETWORK_ID;

/// Names that a container may have in one network; more are refused.
const MAX_ALIASES: usize = 64;

/// Bytes of a name in the domain name system.
const LONGEST_NAME: usize = 253;

/// A network that a container is in when it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attachment {
    /// Its id; the word for it as long as there is no such network.
    pub(crate) network: String,
    /// Its name.
    pub(crate) name: String,
    pub(crate) aliases: Vec<String>,
    pub(crate) ipv4: Option<Ipv4Addr>,
    pub(crate) ipv6: Option<Ipv6Addr>,
    pub(crate) mac: Option<[u8; 6]>,
    /// Names that only this container has for others, as it wrote them: `NAME:ALIAS`.
    pub(crate) links: Vec<TargetAlias>,
}

/// Another container by a name that one container has for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TargetAlias {
    /// Id.
    pub(crate) target: String,
    pub(crate) alias: String,
    /// As it was asked for.
    pub(crate) word: String,
}

/// A container that says nothing is in the engine's own network.
pub(crate) fn own_bridge() -> Vec<Attachment> {
    vec![Attachment::plain(BRIDGE_NETWORK_ID, BRIDGE)]
}

/// The networks of a create request, that of its mode first. A network that is not there is an error only when the
/// container starts.
pub(crate) fn attachments(
    networks: &Networks,
    request: &CreateRequest,
    id_of: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Attachment>, NetworkFailure> {
    let mode = public_name(&request.host_config.network_mode);
    let mut all = vec![(mode, EndpointSettings::default())];
    for (name, settings) in &request.networking_config.endpoints_config {
        let settings = settings.clone().unwrap_or_default();
        let name = public_name(name);
        let same = |other: &str| {
            other == name
                || match (networks.find(other), networks.find(name)) {
                    (Ok(one), Ok(other)) => one.id == other.id,
                    _ => false,
                }
        };
        match all.iter_mut().find(|(other, _)| same(other)) {
            Some((_, known)) => *known = settings,
            None => all.push((name, settings)),
        }
    }
    if let Some((_, first)) = all.first_mut()
        && first.mac_address.is_empty()
    {
        first.mac_address.clone_from(&request.config.mac_address);
    }
    let understood = all.into_iter().map(|(name, settings)| match networks.find(name) {
        Ok(network) => Attachment::understand(network, &settings, id_of),
        Err(_) => Ok(Attachment::plain(name, name)),
    });
    understood.collect()
}

fn public_name(name: &str) -> &str {
    match name {
        "" | "default" => BRIDGE,
        name => name,
    }
}

impl Attachment {
    fn plain(network: &str, name: &str) -> Self {
        Self {
            network: network.to_owned(),
            name: name.to_owned(),
            aliases: Vec::new(),
            ipv4: None,
            ipv6: None,
            mac: None,
            links: Vec::new(),
        }
    }

    /// Checks what a container wishes of a network.
    pub(crate) fn understand(
        network: &Network,
        settings: &EndpointSettings,
        id_of: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, NetworkFailure> {
        let mut attachment = Self::plain(&network.id, &network.name);
        attachment.aliases = aliases(settings.aliases.as_deref().unwrap_or_default())?;
        if network.is_own() && !attachment.aliases.is_empty() {
            return Err(NetworkFailure::Refused(
                "network-scoped alias is supported only for containers in user defined networks",
            ));
        }
        if let Some(ipam) = &settings.ipam_config {
            attachment.ipv4 = wished("IPv4Address", &ipam.ipv4_address)?;
            attachment.ipv6 = wished("IPv6Address", &ipam.ipv6_address)?;
            let local = ipam.link_local_ips.as_ref().is_some_and(|list| !list.is_empty());
            if local {
                return Err(NetworkFailure::Refused(
                    "not supported: link-local addresses (LinkLocalIPs)",
                ));
            }
        }
        check_addresses(network, &attachment)?;
        if !settings.mac_address.is_empty() {
            attachment.mac = Some(mac(&settings.mac_address)?);
        }
        if settings
            .driver_opts
            .as_ref()
            .is_some_and(|options| !options.is_empty())
        {
            return Err(NetworkFailure::Refused(
                "not supported: options of the network (EndpointsConfig.DriverOpts)",
            ));
        }
        for word in settings.links.iter().flatten() {
            attachment.links.push(TargetAlias::understand(word, id_of)?);
        }
        Ok(attachment)
    }
}

impl TargetAlias {
    /// `NAME:ALIAS`, or a name alone.
    pub(crate) fn understand(
        word: &str,
        id_of: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, NetworkFailure> {
        let (name, alias) = word.split_once(':').unwrap_or((word, word));
        let name = name.strip_prefix('/').unwrap_or(name);
        // An inspect writes `/db:/web/db`.
        let alias = alias.rsplit('/').next().unwrap_or(alias);
        if name.is_empty() || !is_name(alias) {
            return Err(NetworkFailure::Invalid {
                option: "link",
                value: word.to_owned(),
                reason: "NAME:ALIAS is expected",
            });
        }
        let target = id_of(name).ok_or_else(|| NetworkFailure::NoLinked {
            word: name.to_owned(),
        })?;
        Ok(Self {
            target,
            alias: alias.to_owned(),
            word: word.to_owned(),
        })
    }
}

fn aliases(asked: &[String]) -> Result<Vec<String>, NetworkFailure> {
    if asked.len() > MAX_ALIASES {
        return Err(NetworkFailure::Refused("too many aliases: the limit is 64"));
    }
    match asked.iter().find(|alias| !is_name(alias)) {
        Some(alias) => Err(NetworkFailure::Invalid {
            option: "alias",
            value: alias.clone(),
            reason: "not a name of at most 253 letters",
        }),
        None => Ok(asked.to_vec()),
    }
}

/// It can be a name in a hosts file and in the domain name system.
fn is_name(text: &str) -> bool {
    let letter = |letter: char| !letter.is_whitespace() && !letter.is_control() && !"#/:".contains(letter);
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(letter)
}

fn wished<T: std::str::FromStr>(option: &'static str, text: &str) -> Result<Option<T>, NetworkFailure> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| NetworkFailure::Invalid {
        option,
        value: text.to_owned(),
        reason: "not an address",
    })
}

fn check_addresses(network: &Network, wish: &Attachment) -> Result<(), NetworkFailure> {
    if wish.ipv4.is_none() && wish.ipv6.is_none() {
        return Ok(());
    }
    if network.is_own() {
        return Err(NetworkFailure::Refused(
            "user specified IP address is supported on user defined networks only",
        ));
    }
    if !network.chosen {
        return Err(NetworkFailure::Refused(
            "user specified IP address is supported only when connecting to networks with user configured subnets",
        ));
    }
    if let Some(address) = wish.ipv4
        && !network.pool().contains(address)
    {
        return Err(NetworkFailure::NotInSubnet(address.to_string()));
    }
    if let Some(address) = wish.ipv6 {
        let inside = network
            .ipv6
            .as_ref()
            .is_some_and(|ipv6| masked6(address, ipv6.subnet.1) == ipv6.subnet.0 && address != ipv6.subnet.0);
        if !inside {
            return Err(NetworkFailure::NotInSubnet(address.to_string()));
        }
    }
    Ok(())
}

/// Six bytes in hexadecimal, with colons or hyphens between them; not of a group.
fn mac(text: &str) -> Result<[u8; 6], NetworkFailure> {
    let invalid = |reason| NetworkFailure::Invalid {
        option: "MAC address",
        value: text.to_owned(),
        reason,
    };
    let parts: Vec<&str> = text.split([':', '-']).collect();
    let byte = |part: &&str| match part.len() {
        2 => u8::from_str_radix(part, 16).ok(),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = parts.iter().map(byte).collect();
    let bytes: [u8; 6] = bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| invalid("not six bytes in hexadecimal"))?;
    if bytes[0] & 1 == 1 || bytes == [0; 6] {
        return Err(invalid("not the address of one interface"));
    }
    Ok(bytes)
}
