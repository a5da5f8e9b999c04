//! From a request to make a network to the network.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use berth_wire::docker::{IpamConfig, NetworkCreate};

use super::{Network, Network6, NetworkFailure, Networks, masked6};
use crate::error::Failure;

/// A request to make a network, and what is known of the host.
#[derive(Debug)]
pub(crate) struct NetworkWish {
    pub(crate) request: NetworkCreate,
    /// Subnets of the host's interfaces and routes.
    pub(crate) used: Vec<(Ipv4Addr, u8)>,
    /// The kernel has IPv6.
    pub(crate) has_ipv6: bool,
}

/// The prefixes that leave room for a gateway and a container, and are no mistake.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=30;

/// The same for IPv6.
const PREFIXES6: std::ops::RangeInclusive<u8> = 16..=112;

/// Bytes of a name, and of all labels and options; more are refused.
const MAX_TEXT: usize = 16 * 1024;

/// Checks and completes a request. The subnet is chosen here when nobody chose one.
pub(crate) fn understand(
    networks: &Networks,
    wish: &NetworkWish,
    id: &str,
    own_bridge: &str,
    now: i64,
) -> Result<Network, Failure> {
    let request = &wish.request;
    check(request)?;
    networks.check_new(&request.name)?;
    let options = Options::of(&request.options)?;
    let configs = request.ipam.iter().flat_map(|ipam| &ipam.config);
    let (six, four): (Vec<&IpamConfig>, Vec<&IpamConfig>) = configs
        .filter(|config| **config != IpamConfig::default())
        .partition(|config| config.subnet.contains(':'));
    let four = match four.as_slice() {
        [] => None,
        [one] => Some(*one),
        _ => return Err(Failure::Unsupported("more than one IPv4 subnet of a network")),
    };
    let ipv6 = ipv6(networks, wish, &six)?;
    let mut network = Network {
        id: id.to_owned(),
        name: request.name.clone(),
        created: now,
        labels: request.labels.clone(),
        options: request.options.clone(),
        attachable: request.attachable,
        internal: request.internal,
        masquerade: options.masquerade,
        connected: options.connected,
        bridge: options.name.unwrap_or_else(|| networks.interface(own_bridge, id)),
        subnet: (Ipv4Addr::UNSPECIFIED, 0),
        gateway: Ipv4Addr::UNSPECIFIED,
        range: None,
        kept: BTreeMap::new(),
        chosen: four.is_some_and(|config| !config.subnet.is_empty()),
        ipv6,
    };
    ipv4(networks, wish, four, &mut network)?;
    Ok(network)
}

fn check(request: &NetworkCreate) -> Result<(), Failure> {
    let invalid = |option, value: &str, reason| NetworkFailure::Invalid {
        option,
        value: value.chars().take(64).collect(),
        reason,
    };
    let pairs = request.labels.iter().chain(&request.options);
    let text: usize = pairs.map(|(key, value)| key.len() + value.len()).sum();
    if text + request.name.len() > MAX_TEXT {
        return Err(NetworkFailure::Refused(
            "name, labels and options of a network are over the limit of 16 KiB",
        )
        .into());
    }
    let plain = |letter: char| !letter.is_control() && letter != '/';
    if request.name.trim().is_empty() || !request.name.chars().all(plain) {
        return Err(invalid("network name", &request.name, "it is blank or has a slash in it").into());
    }
    if !["", "bridge", "default"].contains(&request.driver.as_str()) {
        return Err(NetworkFailure::NoDriver(request.driver.clone()).into());
    }
    let ipam = request.ipam.as_ref();
    if let Some(driver) = ipam
        .map(|ipam| &ipam.driver)
        .filter(|driver| !["", "default"].contains(&driver.as_str()))
    {
        return Err(NetworkFailure::NoDriver(driver.clone()).into());
    }
    if request.scope != "local" && !request.scope.is_empty() {
        return Err(invalid("scope", &request.scope, "only local networks are made").into());
    }
    let from = request
        .config_from
        .as_ref()
        .is_some_and(|from| !from.network.is_empty());
    for (asked, name) in [
        (request.ingress, "an ingress network"),
        (
            request.config_only || from,
            "a network of settings for others (ConfigOnly, ConfigFrom)",
        ),
        (
            request.enable_ipv4 == Some(false),
            "a network without IPv4 (EnableIPv4)",
        ),
        (
            ipam.and_then(|ipam| ipam.options.as_ref())
                .is_some_and(|options| !options.is_empty()),
            "an option of the IPAM driver",
        ),
    ] {
        if asked {
            return Err(Failure::Unsupported(name));
        }
    }
    Ok(())
}

/// Options of the bridge driver.
#[derive(Debug)]
struct Options {
    name: Option<String>,
    masquerade: bool,
    connected: bool,
}

impl Options {
    fn of(asked: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let mut options = Self {
            name: None,
            masquerade: true,
            connected: true,
        };
        for (key, value) in asked {
            let invalid = |reason| NetworkFailure::Invalid {
                option: "network option",
                value: format!("{key}={value}"),
                reason,
            };
            let truth = || match value.as_str() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(invalid("neither true nor false")),
            };
            match key.as_str() {
                "com.docker.network.bridge.name" => {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
                    let fits = (1..=super::INTERFACE_NAME).contains(&value.len()) && value.bytes().all(plain);
                    if !fits || value == "." || value == ".." {
                        return Err(invalid("not a name of an interface").into());
                    }
                    options.name = Some(value.clone());
                }
                "com.docker.network.bridge.enable_ip_masquerade" => options.masquerade = truth()?,
                "com.docker.network.bridge.enable_icc" => options.connected = truth()?,
                // Labels for the driver's own messages, as Compose writes them.
                key if key.starts_with("com.docker.network.bridge.")
                    || key.starts_with("com.docker.network.driver.") =>
                {
                    return Err(NetworkFailure::Refused("not supported: an option of the bridge driver other than name, enable_ip_masquerade and enable_icc").into());
                }
                _ => {}
            }
        }
        Ok(options)
    }
}

fn invalid(option: &'static str, value: &str, reason: &'static str) -> NetworkFailure {
    NetworkFailure::Invalid {
        option,
        value: value.to_owned(),
        reason,
    }
}

/// An address and the length of its prefix.
fn prefixed<T: std::str::FromStr>(option: &'static str, text: &str) -> Result<(T, u8), NetworkFailure> {
    let parts = text.split_once('/').and_then(|(address, length)| {
        let plain = length.bytes().all(|byte| byte.is_ascii_digit());
        Some((address.parse().ok()?, length.parse().ok().filter(|_| plain)?))
    });
    parts.ok_or_else(|| invalid(option, text, "not an address with the length of its prefix"))
}

fn ipv4(
    networks: &Networks,
    wish: &NetworkWish,
    config: Option<&IpamConfig>,
    network: &mut Network,
) -> Result<(), NetworkFailure> {
    let empty = IpamConfig::default();
    let config = config.unwrap_or(&empty);
    network.subnet = if config.subnet.is_empty() {
        if *config != empty {
            return Err(NetworkFailure::Refused(
                "every ip-range or gateway must have a corresponding subnet",
            ));
        }
        networks
            .free_subnet(&wish.used)
            .ok_or(NetworkFailure::NoSubnetLeft)?
    } else {
        let (address, length): (Ipv4Addr, u8) = prefixed("subnet", &config.subnet)?;
        if !PREFIXES.contains(&length) {
            return Err(invalid(
                "subnet",
                &config.subnet,
                "the length of the prefix is from 8 to 30",
            ));
        }
        let host_bits = u32::MAX >> length;
        (Ipv4Addr::from(u32::from(address) & !host_bits), length)
    };
    let (first, length) = network.subnet;
    if first.is_loopback() || first.is_multicast() || first.is_unspecified() || first.is_link_local() {
        return Err(invalid(
            "subnet",
            &config.subnet,
            "not a subnet that containers can have",
        ));
    }
    let on_host = |used: &(Ipv4Addr, u8)| berth_plan::ipam::overlap(*used, network.subnet);
    if networks.overlaps(network.subnet) || wish.used.iter().any(on_host) {
        return Err(NetworkFailure::Overlap);
    }
    network.gateway = if config.gateway.is_empty() {
        Ipv4Addr::from(u32::from(first) + 1)
    } else {
        let address: Ipv4Addr = config
            .gateway
            .parse()
            .map_err(|_| invalid("gateway", &config.gateway, "not an IPv4 address"))?;
        address
    };
    let all = berth_plan::ipam::Pool::of_network(network.subnet, None, []);
    if !all.contains(network.gateway) {
        return Err(NetworkFailure::NotInSubnet(network.gateway.to_string()));
    }
    if !config.ip_range.is_empty() {
        let part: (Ipv4Addr, u8) = prefixed("ip-range", &config.ip_range)?;
        if part.1 < length || part.1 > 32 || !berth_plan::ipam::overlap(part, network.subnet) {
            return Err(invalid(
                "ip-range",
                &config.ip_range,
                "it is not a part of the subnet",
            ));
        }
        network.range = Some(part);
    }
    for (name, text) in &config.auxiliary_addresses {
        let address: Ipv4Addr = text
            .parse()
            .map_err(|_| invalid("auxiliary address", text, "not an IPv4 address"))?;
        if !all.contains(address) {
            return Err(NetworkFailure::NotInSubnet(text.clone()));
        }
        network.kept.insert(name.clone(), address);
    }
    Ok(())
}

fn ipv6(
    networks: &Networks,
    wish: &NetworkWish,
    configs: &[&IpamConfig],
) -> Result<Option<Network6>, Failure> {
    let wanted = wish.request.enable_ipv6 == Some(true);
    let config = match configs {
        [] if !wanted => return Ok(None),
        [] => {
            return Err(NetworkFailure::Refused(
                "not supported: choosing an IPv6 subnet: name one with --subnet",
            )
            .into());
        }
        [_] if !wanted => {
            return Err(NetworkFailure::Refused("an IPv6 subnet needs --ipv6").into());
        }
        [one] => *one,
        _ => return Err(Failure::Unsupported("more than one IPv6 subnet of a network")),
    };
    if !wish.has_ipv6 {
        return Err(NetworkFailure::Refused("the kernel of this host has no IPv6").into());
    }
    let (address, length): (Ipv6Addr, u8) = prefixed("subnet", &config.subnet)?;
    if !PREFIXES6.contains(&length) {
        return Err(invalid(
            "subnet",
            &config.subnet,
            "the length of an IPv6 prefix is from 16 to 112",
        )
        .into());
    }
    let subnet = masked6(address, length);
    if subnet.is_loopback() || subnet.is_multicast() || subnet.is_unspecified() {
        return Err(invalid("subnet", &config.subnet, "not a subnet that containers can have").into());
    }
    if networks.overlaps6((subnet, length)) {
        return Err(NetworkFailure::Overlap.into());
    }
    if !config.ip_range.is_empty() || !config.auxiliary_addresses.is_empty() {
        return Err(Failure::Unsupported(
            "a range or kept addresses of an IPv6 subnet",
        ));
    }
    let gateway = if config.gateway.is_empty() {
        Ipv6Addr::from(u128::from(subnet) + 1)
    } else {
        let gateway: Ipv6Addr = config
            .gateway
            .parse()
            .map_err(|_| invalid("gateway", &config.gateway, "not an IPv6 address"))?;
        if masked6(gateway, length) != subnet || gateway == subnet {
            return Err(NetworkFailure::NotInSubnet(gateway.to_string()).into());
        }
        gateway
    };
    Ok(Some(Network6 {
        subnet: (subnet, length),
        gateway,
    }))
}
