//! _ping, version, info.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use berth_wire::docker::{
    Plugins, RegistryConfig, Runtime, SwarmInfo, SystemInfo, VersionComponent, VersionInfo, VersionPlatform,
};
use http::{HeaderValue, Response, StatusCode, header};

use super::{API_VERSION, Answer, Api, MIN_API_VERSION, json};
use crate::{clock, documents};

pub(crate) fn ping() -> Response<Body> {
    let mut response = Response::new(Body::from("OK"));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, no-store, must-revalidate"),
    );
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

pub(crate) fn version(api: &Arc<Api>) -> Answer {
    let identity = &api.identity;
    let kernel = kernel();
    let details = [
        ("ApiVersion", API_VERSION),
        ("MinAPIVersion", MIN_API_VERSION),
        ("GitCommit", identity.git_commit.as_str()),
        ("Os", "linux"),
        ("Arch", architecture()),
        ("KernelVersion", kernel.as_str()),
    ];
    let details = details
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    let component = VersionComponent {
        name: "Engine".to_owned(),
        version: identity.version.clone(),
        details,
    };
    json(
        StatusCode::OK,
        &VersionInfo {
            platform: VersionPlatform {
                name: "Berth".to_owned(),
            },
            components: vec![component],
            version: identity.version.clone(),
            api_version: API_VERSION.to_owned(),
            min_api_version: MIN_API_VERSION.to_owned(),
            git_commit: identity.git_commit.clone(),
            os: "linux".to_owned(),
            arch: architecture().to_owned(),
            kernel_version: kernel,
            ..VersionInfo::default()
        },
    )
}

pub(crate) async fn info(api: &Arc<Api>) -> Answer {
    let containers = api.handle.list().await?;
    let count = |wanted: bool| {
        let found = containers
            .iter()
            .filter(|container| container.run.status.counts_as_running() == wanted);
        i64::try_from(found.count()).unwrap_or(i64::MAX)
    };
    let paused = containers.iter().filter(|container| container.run.paused).count();
    let paused = i64::try_from(paused).unwrap_or(i64::MAX);
    let images = api.actions.image_count().await?;
    let facts = api.handle.facts();
    let uname = rustix::system::uname();
    let document = SystemInfo {
        id: api.identity.data_dir.clone(),
        containers: count(true) + count(false),
        containers_running: count(true) - paused,
        containers_paused: paused,
        containers_stopped: count(false),
        images: i64::try_from(images).unwrap_or(i64::MAX),
        driver: documents::DRIVER.to_owned(),
        plugins: Plugins {
            volume: Vec::new(),
            network: ["bridge", "host", "null"].map(ToOwned::to_owned).to_vec(),
            authorization: None,
            log: ["json-file", "local", "none"].map(ToOwned::to_owned).to_vec(),
        },
        system_time: clock::render(clock::now()),
        logging_driver: "json-file".to_owned(),
        cgroup_driver: "cgroupfs".to_owned(),
        cgroup_version: api.identity.cgroup_version.to_owned(),
        n_events_listener: i64::try_from(api.events.listeners()).unwrap_or(i64::MAX),
        kernel_version: kernel(),
        operating_system: operating_system().await,
        os_type: "linux".to_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        registry_config: RegistryConfig::default(),
        ncpu: i64::from(facts.cpus),
        mem_total: i64::try_from(facts.memory_total).unwrap_or(i64::MAX),
        docker_root_dir: api.identity.data_dir.clone(),
        name: uname.nodename().to_string_lossy().into_owned(),
        server_version: api.identity.version.clone(),
        runtimes: BTreeMap::from([(
            "berth".to_owned(),
            Runtime {
                path: "berth".to_owned(),
            },
        )]),
        default_runtime: "berth".to_owned(),
        swarm: SwarmInfo {
            node_id: String::new(),
            local_node_state: "inactive".to_owned(),
        },
        live_restore_enabled: true,
        security_options: vec!["name=seccomp,profile=default".to_owned()],
        ..everything_works()
    };
    json(StatusCode::OK, &document)
}

/// The abilities whose absence makes the CLI warn. The engine does not start on a host without them.
fn everything_works() -> SystemInfo {
    SystemInfo {
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        oom_kill_disable: true,
        ipv4_forwarding: true,
        bridge_nf_iptables: true,
        bridge_nf_ip6tables: true,
        ..SystemInfo::default()
    }
}

fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// The name of the distribution, as its own file has it.
async fn operating_system() -> String {
    let text = tokio::fs::read_to_string("/etc/os-release")
        .await
        .unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned())
}

/// The processor in the words of image configurations.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
