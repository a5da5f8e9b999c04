//! Containers: the create request, list rows, the inspect document, and the answer of wait.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{EndpointSettings, HostConfig, NetworkSettings, NetworkingConfig, PathSet, Words};

document! {
    /// What a container is made of, apart from the host: the top level of a create request, `Config` of an inspect.
    pub struct ContainerConfig {
        pub hostname: String,
        pub domainname: String,
        pub user: String,
        pub attach_stdin: bool,
        pub attach_stdout: bool,
        pub attach_stderr: bool,
        pub exposed_ports: PathSet,
        pub tty: bool,
        pub open_stdin: bool,
        pub stdin_once: bool,
        pub env: Vec<String>,
        pub cmd: Option<Words>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub args_escaped: bool,
        pub image: String,
        pub volumes: PathSet,
        pub working_dir: String,
        pub entrypoint: Option<Words>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub network_disabled: bool,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub mac_address: String,
        pub on_build: Option<Vec<String>>,
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub stop_timeout: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub shell: Option<Vec<String>>,
    }

    /// A health check; times in nanoseconds.
    pub struct HealthConfig {
        pub test: Vec<String>,
        pub interval: i64,
        pub timeout: i64,
        pub start_period: i64,
        pub start_interval: i64,
        pub retries: i64,
    }

    /// The answer of create.
    pub struct CreateResponse {
        pub id: String,
        pub warnings: Vec<String>,
    }

    /// `State` of an inspect.
    pub struct ContainerState {
        pub status: String,
        pub running: bool,
        pub paused: bool,
        pub restarting: bool,
        #[serde(rename = "OOMKilled")]
        pub oom_killed: bool,
        pub dead: bool,
        pub pid: i64,
        pub exit_code: i64,
        pub error: String,
        pub started_at: String,
        pub finished_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub health: Option<HealthState>,
    }

    /// `State.Health` of an inspect.
    pub struct HealthState {
        pub status: String,
        pub failing_streak: i64,
        pub log: Vec<HealthLogEntry>,
    }

    /// How one probe went.
    pub struct HealthLogEntry {
        pub start: String,
        pub end: String,
        pub exit_code: i64,
        pub output: String,
    }

    /// The inspect document of a container.
    pub struct ContainerInspect {
        pub id: String,
        pub created: String,
        pub path: String,
        pub args: Vec<String>,
        pub state: ContainerState,
        pub image: String,
        pub resolv_conf_path: String,
        pub hostname_path: String,
        pub hosts_path: String,
        pub log_path: String,
        pub name: String,
        pub restart_count: i64,
        pub driver: String,
        pub platform: String,
        pub mount_label: String,
        pub process_label: String,
        pub app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        pub exec_ids: Option<Vec<String>>,
        pub host_config: HostConfig,
        pub graph_driver: GraphDriver,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<i64>,
        pub mounts: Vec<MountPoint>,
        pub config: ContainerConfig,
        pub network_settings: NetworkSettings,
    }

    /// Where the layers of a container or image are.
    pub struct GraphDriver {
        pub name: String,
        pub data: BTreeMap<String, String>,
    }

    /// A mount of a container.
    pub struct MountPoint {
        #[serde(rename = "Type")]
        pub kind: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub name: String,
        pub source: String,
        pub destination: String,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub driver: String,
        pub mode: String,
        #[serde(rename = "RW")]
        pub rw: bool,
        pub propagation: String,
    }

    /// A row of the container list.
    pub struct ContainerSummary {
        pub id: String,
        pub names: Vec<String>,
        pub image: String,
        #[serde(rename = "ImageID")]
        pub image_id: String,
        pub command: String,
        pub created: i64,
        pub ports: Vec<PortSummary>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub size_root_fs: Option<i64>,
        pub labels: BTreeMap<String, String>,
        pub state: String,
        pub status: String,
        pub host_config: HostNetworkMode,
        pub network_settings: SummaryNetworkSettings,
        pub mounts: Vec<MountPoint>,
    }

    /// The part of the host configuration that a list row shows.
    pub struct HostNetworkMode {
        pub network_mode: String,
    }

    /// The part of the network settings that a list row shows.
    pub struct SummaryNetworkSettings {
        pub networks: BTreeMap<String, EndpointSettings>,
    }

    /// A port in a list row; without `public_port` it is only exposed.
    pub struct PortSummary {
        #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
        pub ip: String,
        pub private_port: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub public_port: Option<u16>,
        #[serde(rename = "Type")]
        pub protocol: String,
    }

    /// The answer of wait.
    pub struct WaitResponse {
        pub error: Option<WaitError>,
        pub status_code: i64,
    }

    /// Why waiting failed.
    pub struct WaitError {
        pub message: String,
    }

    /// The answer of a prune.
    pub struct PruneContainersResponse {
        pub containers_deleted: Option<Vec<String>>,
        pub space_reclaimed: u64,
    }
}

/// The body of a create request: the configuration at the top level, the host's and the network's part beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateRequest {
    /// The container's part.
    #[serde(flatten)]
    pub config: ContainerConfig,
    /// The host's part.
    #[serde(rename = "HostConfig", deserialize_with = "super::nullable")]
    pub host_config: HostConfig,
    /// The networks to join.
    #[serde(rename = "NetworkingConfig", deserialize_with = "super::nullable")]
    pub networking_config: NetworkingConfig,
}

#[cfg(test)]
mod tests {
    use super::super::Empty;
    use super::*;

    fn parse(text: &str) -> CreateRequest {
        serde_json::from_str(text).expect("a create request")
    }

    #[test]
    fn a_request_of_the_command_line_client_is_read() {
        let request = parse(
            r#"{"Hostname":"","Tty":false,"AttachStdout":true,"Cmd":["echo","hi"],"Entrypoint":null,"Image":"app",
            "Env":null,"Volumes":{},"OnBuild":null,"Labels":{"a":"b"},"ExposedPorts":{"80/tcp":{}},"StopTimeout":3,
            "HostConfig":{"Binds":null,"NetworkMode":"default","PortBindings":{"80/tcp":[{"HostIp":"","HostPort":"8000"}],
            "81/tcp":null},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"MemorySwappiness":-1,"PidsLimit":null,
            "LogConfig":{"Type":"","Config":{}},"ConsoleSize":[0,0]},
            "NetworkingConfig":{"EndpointsConfig":{"default":{"IPAMConfig":null,"Links":null,"Aliases":null}}}}"#,
        );
        assert_eq!(request.config.cmd, Some(Words(vec!["echo".into(), "hi".into()])));
        assert_eq!(request.config.exposed_ports.get("80/tcp"), Some(&Empty));
        assert_eq!(request.config.stop_timeout, Some(3));
        assert_eq!(
            request.host_config.port_bindings["80/tcp"]
                .as_ref()
                .expect("bound")[0]
                .host_port,
            "8000"
        );
        assert_eq!(request.host_config.port_bindings["81/tcp"], None);
        assert_eq!(request.host_config.memory_swappiness, Some(-1));
        assert!(request.networking_config.endpoints_config["default"].is_some());
    }

    #[test]
    fn a_command_may_be_one_string_and_a_network_may_be_null() {
        let request =
            parse(r#"{"Image":"app","Cmd":"true","HostConfig":null,"NetworkingConfig":{"bridge":null}}"#);
        assert_eq!(request.config.cmd, Some(Words(vec!["true".into()])));
        assert_eq!(request.host_config, HostConfig::default());
        assert!(request.networking_config.endpoints_config.is_empty());
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut request = parse(r#"{"Image":"app","Cmd":["a"],"Labels":{"k":"v"}}"#);
        request.host_config.port_bindings.insert("1/udp".into(), None);
        let text = serde_json::to_string(&request).expect("json");
        assert_eq!(parse(&text), request);
    }
}
