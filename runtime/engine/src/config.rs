//! What an engine must be told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::EngineError;

/// Settings of an engine. Names of bridge, table and cgroup parent keep two engines on one host apart.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Where images, containers and records live; made when missing.
    pub data_dir: PathBuf,
    /// Where the keeper's socket lives; made when missing.
    pub run_dir: PathBuf,
    /// The path of the API socket.
    pub socket: PathBuf,
    /// The group that may use the socket besides root; without one it is `docker`, if that group is there.
    pub socket_group: Option<String>,
    /// TCP ports of the API; none as a rule.
    pub tcp: Option<TcpConfig>,
    /// The executable that the keeper is made from: it must run `berth_exec::keeper::run` as `EXECUTABLE __keeper`.
    pub executable: PathBuf,
    /// The name of the network bridge.
    pub bridge: String,
    /// The addresses of the bridge, such as `172.29.0.0/16`.
    pub subnet: String,
    /// The name of the nftables table (family inet).
    pub table: String,
    /// The name of the cgroup above those of the containers.
    pub cgroup_parent: String,
    /// The version to announce.
    pub version: String,
    /// The commit to announce, or an empty string.
    pub git_commit: String,
}

/// TCP ports of the API. There is none without TLS: who reaches the API is root on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// Where to listen.
    pub listen: Vec<SocketAddr>,
    /// The certificates.
    pub tls: TlsFiles,
}

/// The files of mutual TLS, all in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that sign clients' certificates.
    pub ca: PathBuf,
    /// The certificate that is shown to clients.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A checked IPv4 subnet with room for the gateway and one container at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    /// The first address.
    pub network: Ipv4Addr,
    /// The length of the prefix, 8 to 29.
    pub prefix_len: u8,
}

impl Subnet {
    /// The address of the bridge itself: the first usable one.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.network) + 1)
    }
}

impl FromStr for Subnet {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |reason| EngineError::Subnet {
            subnet: text.to_owned(),
            reason,
        };
        let (network, length) = text
            .split_once('/')
            .ok_or_else(|| refuse("a prefix length is missing"))?;
        let network: Ipv4Addr = network
            .parse()
            .map_err(|_| refuse("the address is not an IPv4 address"))?;
        let prefix_len: u8 = length
            .parse()
            .map_err(|_| refuse("the prefix length is not a number"))?;
        if !(8..=29).contains(&prefix_len) {
            return Err(refuse("the prefix length must be from 8 to 29"));
        }
        if u32::from(network) & (u32::MAX >> prefix_len) != 0 {
            return Err(refuse("bits of the host part are set"));
        }
        Ok(Self { network, prefix_len })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets() {
        let check = |text: &str| match text.parse::<Subnet>() {
            Ok(subnet) => format!("{} gateway {}", subnet.prefix_len, subnet.gateway()),
            Err(error) => error.to_string(),
        };
        assert_eq!(check("172.29.0.0/16"), "16 gateway 172.29.0.1");
        assert_eq!(check("10.0.0.8/29"), "29 gateway 10.0.0.9");
        assert_eq!(
            check("10.0.0.1/24"),
            "subnet \"10.0.0.1/24\": bits of the host part are set"
        );
        assert_eq!(
            check("10.0.0.0/31"),
            "subnet \"10.0.0.0/31\": the prefix length must be from 8 to 29"
        );
        assert_eq!(
            check("x/16"),
            "subnet \"x/16\": the address is not an IPv4 address"
        );
        assert_eq!(
            check("10.0.0.0"),
            "subnet \"10.0.0.0\": a prefix length is missing"
        );
    }
}
