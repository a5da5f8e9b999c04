//! Everything of the API that is not done here. A default that clients send by themselves passes.

use berth_wire::docker::{ContainerConfig, CreateRequest, EndpointSettings, HostConfig};

use crate::error::PlanError;
use crate::facts::Facts;

pub(super) fn check(request: &CreateRequest, facts: &Facts) -> Result<(), PlanError> {
    let (config, host) = (&request.config, &request.host_config);
    let asked = container_options(config)
        .into_iter()
        .chain(privileges(host))
        .chain(host_options(host))
        .chain(resources(host, facts));
    for (asked, name) in asked {
        if asked {
            return Err(PlanError::Unsupported(name));
        }
    }
    for (option, value, supported) in choices(host) {
        if !supported.contains(&value) {
            return Err(PlanError::UnsupportedValue {
                option,
                value: value.to_owned(),
            });
        }
    }
    restart_policy(host)?;
    networks(request)
}

fn restart_policy(host: &HostConfig) -> Result<(), PlanError> {
    let policy = &host.restart_policy;
    let restarts = match policy.name.as_str() {
        "" | "no" => false,
        "on-failure" | "always" | "unless-stopped" => true,
        name => return Err(PlanError::RestartPolicy(name.to_owned())),
    };
    if policy.maximum_retry_count < 0 {
        return Err(PlanError::Limit("maximum retry count cannot be negative"));
    }
    if policy.maximum_retry_count > 0 && policy.name != "on-failure" {
        return Err(PlanError::Limit(
            "maximum retry count can only be used with restart policy 'on-failure'",
        ));
    }
    if restarts && host.auto_remove {
        return Err(PlanError::Limit(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(())
}

fn container_options(config: &ContainerConfig) -> Vec<(bool, &'static str)> {
    let health = config.healthcheck.as_ref();
    let no_check = |test: &[String]| test.is_empty() || test == ["NONE"];
    vec![
        (
            health.is_some_and(|health| !no_check(&health.test)),
            "a health check (Healthcheck)",
        ),
        (
            !config.mac_address.is_empty(),
            "a chosen hardware address (MacAddress)",
        ),
    ]
}

fn privileges(host: &HostConfig) -> Vec<(bool, &'static str)> {
    vec![
        (host.privileged, "privileged mode (Privileged)"),
        (some(host.devices.as_ref()), "giving devices (Devices)"),
        (
            some(host.device_cgroup_rules.as_ref()),
            "rules for devices (DeviceCgroupRules)",
        ),
        (
            some(host.device_requests.as_ref()),
            "asking for devices (DeviceRequests)",
        ),
        (host.init == Some(true), "an init process (Init)"),
    ]
}

fn host_options(host: &HostConfig) -> Vec<(bool, &'static str)> {
    vec![
        (
            some(host.volumes_from.as_ref()),
            "volumes of another container (VolumesFrom)",
        ),
        (!host.volume_driver.is_empty(), "a volume driver (VolumeDriver)"),
        (some(host.links.as_ref()), "links to other containers (Links)"),
        (!host.storage_opt.is_empty(), "storage options (StorageOpt)"),
        (
            !host.cgroup.is_empty(),
            "the cgroup of another container (Cgroup)",
        ),
        (!host.cgroup_parent.is_empty(), "a parent cgroup (CgroupParent)"),
        (
            !host.log_config.config.is_empty(),
            "options of the log (LogConfig.Config)",
        ),
    ]
}

fn resources(host: &HostConfig, facts: &Facts) -> Vec<(bool, &'static str)> {
    let throttled = [
        &host.blkio_device_read_bps,
        &host.blkio_device_write_bps,
        &host.blkio_device_read_iops,
        &host.blkio_device_write_iops,
    ];
    let v2 = facts.cgroup.is_v2();
    let swappiness = host.memory_swappiness.is_some_and(|swappiness| swappiness != -1);
    let windows = host.cpu_count != 0
        || host.cpu_percent != 0
        || host.io_maximum_iops != 0
        || host.io_maximum_bandwidth != 0;
    vec![
        (host.blkio_weight != 0, "a weight for block devices (BlkioWeight)"),
        (
            some(host.blkio_weight_device.as_ref()),
            "weights of block devices (BlkioWeightDevice)",
        ),
        (
            throttled.iter().any(|list| some(list.as_ref())),
            "rates of block devices (BlkioDevice...)",
        ),
        (
            host.cpu_realtime_period != 0,
            "real-time scheduling (CpuRealtimePeriod)",
        ),
        (
            host.cpu_realtime_runtime != 0,
            "real-time scheduling (CpuRealtimeRuntime)",
        ),
        (host.kernel_memory != 0, "a limit on kernel memory (KernelMemory)"),
        (
            host.kernel_memory_tcp != 0,
            "a limit on TCP memory (KernelMemoryTCP)",
        ),
        (windows, "a limit of Windows (CpuCount, CpuPercent, IOMaximum...)"),
        (v2 && swappiness, "swappiness on cgroup v2 (MemorySwappiness)"),
        (
            v2 && host.oom_kill_disable == Some(true),
            "disabling the OOM killer on cgroup v2 (OomKillDisable)",
        ),
    ]
}

/// Options with one value or two that are supported: the defaults, also as an inspect spells them.
fn choices(host: &HostConfig) -> [(&'static str, &str, &'static [&'static str]); 8] {
    [
        ("IpcMode", &host.ipc_mode, &["", "private"]),
        ("PidMode", &host.pid_mode, &[""]),
        ("UTSMode", &host.uts_mode, &[""]),
        // There is no remapping that `host` could switch off.
        ("UsernsMode", &host.userns_mode, &["", "host"]),
        ("CgroupnsMode", &host.cgroupns_mode, &["", "private", "host"]),
        ("Runtime", &host.runtime, &["", "berth"]),
        ("Isolation", &host.isolation, &["", "default"]),
        ("LogConfig.Type", &host.log_config.driver, &["", "json-file"]),
    ]
}

/// The one network that a container can be in is described by its mode; nothing about its place in it can be chosen.
fn networks(request: &CreateRequest) -> Result<(), PlanError> {
    let mode = request.host_config.network_mode.as_str();
    let endpoints = &request.networking_config.endpoints_config;
    for (name, settings) in endpoints {
        if !["default", "bridge", "none", "host", mode].contains(&name.as_str()) {
            return Err(PlanError::NoSuchNetwork(name.clone()));
        }
        if let Some(settings) = settings {
            endpoint(settings)?;
        }
    }
    if endpoints.len() > 1 {
        return Err(PlanError::Unsupported("more than one network (EndpointsConfig)"));
    }
    Ok(())
}

fn endpoint(settings: &EndpointSettings) -> Result<(), PlanError> {
    let fixed = settings.ipam_config.as_ref().is_some_and(|ipam| {
        !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty() || some(ipam.link_local_ips.as_ref())
    });
    let options = settings
        .driver_opts
        .as_ref()
        .is_some_and(|options| !options.is_empty());
    for (asked, name) in [
        (fixed, "a chosen address (IPAMConfig)"),
        (
            some(settings.links.as_ref()),
            "links to other containers (EndpointsConfig.Links)",
        ),
        (
            some(settings.aliases.as_ref()),
            "an alias in the network (EndpointsConfig.Aliases)",
        ),
        (
            !settings.mac_address.is_empty(),
            "a chosen hardware address (EndpointsConfig.MacAddress)",
        ),
        (options, "options of the network (EndpointsConfig.DriverOpts)"),
        (
            settings.gw_priority != 0,
            "a choice of the gateway (EndpointsConfig.GwPriority)",
        ),
    ] {
        if asked {
            return Err(PlanError::Unsupported(name));
        }
    }
    Ok(())
}

fn some<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}
