//! Networks: endpoints of a create request, settings of an inspect, the network list.

use std::collections::BTreeMap;

use super::PortMap;

document! {
    /// `NetworkingConfig` of a create request.
    pub struct NetworkingConfig {
        pub endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
    }

    /// The wished or the actual place of a container in a network.
    pub struct EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        pub ipam_config: Option<EndpointIpam>,
        pub links: Option<Vec<String>>,
        pub aliases: Option<Vec<String>>,
        #[serde(rename = "NetworkID")]
        pub network_id: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub gateway: String,
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: u8,
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: u8,
        pub mac_address: String,
        pub driver_opts: Option<BTreeMap<String, String>>,
        #[serde(rename = "DNSNames", skip_serializing_if = "Option::is_none")]
        pub dns_names: Option<Vec<String>>,
        #[serde(skip_serializing_if = "gw_priority_is_default")]
        pub gw_priority: i64,
    }

    /// Addresses that a request asks for.
    pub struct EndpointIpam {
        #[serde(rename = "IPv4Address", skip_serializing_if = "String::is_empty")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "String::is_empty")]
        pub ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
        pub link_local_ips: Option<Vec<String>>,
    }

    /// `NetworkSettings` of an inspect.
    pub struct NetworkSettings {
        pub bridge: String,
        #[serde(rename = "SandboxID")]
        pub sandbox_id: String,
        pub sandbox_key: String,
        pub ports: PortMap,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        pub global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        pub global_ipv6_prefix_len: u8,
        #[serde(rename = "IPAddress")]
        pub ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        pub ip_prefix_len: u8,
        #[serde(rename = "IPv6Gateway")]
        pub ipv6_gateway: String,
        pub mac_address: String,
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// A network as the list and its inspect show it.
    pub struct NetworkResource {
        pub name: String,
        pub id: String,
        pub created: String,
        pub scope: String,
        pub driver: String,
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        pub ipam: NetworkIpam,
        pub internal: bool,
        pub attachable: bool,
        pub ingress: bool,
        pub config_from: NetworkReference,
        pub config_only: bool,
        pub containers: BTreeMap<String, NetworkContainer>,
        pub options: BTreeMap<String, String>,
        pub labels: BTreeMap<String, String>,
    }

    /// How a network gives out addresses.
    pub struct NetworkIpam {
        pub driver: String,
        pub options: Option<BTreeMap<String, String>>,
        pub config: Vec<IpamConfig>,
    }

    /// A subnet of a network.
    pub struct IpamConfig {
        #[serde(skip_serializing_if = "String::is_empty")]
        pub subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
        pub ip_range: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub gateway: String,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub auxiliary_addresses: BTreeMap<String, String>,
    }

    /// The network that another one takes its settings from.
    pub struct NetworkReference {
        pub network: String,
    }

    /// A container in the inspect document of a network.
    pub struct NetworkContainer {
        pub name: String,
        #[serde(rename = "EndpointID")]
        pub endpoint_id: String,
        pub mac_address: String,
        #[serde(rename = "IPv4Address")]
        pub ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        pub ipv6_address: String,
    }

    /// The body of a network create request.
    pub struct NetworkCreate {
        pub name: String,
        pub driver: String,
        pub scope: String,
        #[serde(rename = "EnableIPv4")]
        pub enable_ipv4: Option<bool>,
        #[serde(rename = "EnableIPv6")]
        pub enable_ipv6: Option<bool>,
        #[serde(rename = "IPAM")]
        pub ipam: Option<NetworkIpam>,
        pub internal: bool,
        pub attachable: bool,
        pub ingress: bool,
        pub config_only: bool,
        pub config_from: Option<NetworkReference>,
        pub options: BTreeMap<String, String>,
        pub labels: BTreeMap<String, String>,
    }

    /// The answer of a network create request.
    pub struct NetworkCreated {
        pub id: String,
        pub warning: String,
    }

    /// The body of a request to connect a container.
    pub struct NetworkConnect {
        pub container: String,
        pub endpoint_config: Option<EndpointSettings>,
    }

    /// The body of a request to disconnect a container.
    pub struct NetworkDisconnect {
        pub container: String,
        pub force: bool,
    }

    /// The answer of a prune.
    pub struct PruneNetworksResponse {
        pub networks_deleted: Option<Vec<String>>,
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn gw_priority_is_default(priority: &i64) -> bool {
    *priority == 0
}
