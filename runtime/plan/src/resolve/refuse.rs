//! Everything of the API that is not done here. A default that clients send by themselves passes.

use berth_wire::docker::{ContainerConfig, CreateRequest, HostConfig};

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
    health_check(config)?;
    networks(request)
}

/// Nanoseconds in the shortest time that a health check takes; Docker's.
const SHORTEST: i64 = 1_000_000;

fn health_check(config: &ContainerConfig) -> Result<(), PlanError> {
    let Some(health) = &config.healthcheck else {
        return Ok(());
    };
    for (time, message) in [
        (health.interval, "Interval in Healthcheck cannot be less than 1ms"),
        (health.timeout, "Timeout in Healthcheck cannot be less than 1ms"),
        (
            health.start_period,
            "StartPeriod in Healthcheck cannot be less than 1ms",
        ),
        (
            health.start_interval,
            "StartInterval in Healthcheck cannot be less than 1ms",
        ),
    ] {
        if time != 0 && time < SHORTEST {
            return Err(PlanError::Limit(message));
        }
    }
    if health.retries < 0 {
        return Err(PlanError::Limit("Retries in Healthcheck cannot be negative"));
    }
    let kinds = ["NONE", "CMD", "CMD-SHELL"];
    match health.test.first() {
        Some(kind) if !kinds.contains(&kind.as_str()) => Err(PlanError::Invalid {
            option: "Healthcheck.Test",
            value: kind.clone(),
            reason: "the first word is NONE, CMD or CMD-SHELL",
        }),
        Some(_) | None => Ok(()),
    }
}

/// What of the same can be changed later.
pub(super) fn check_update(host: &HostConfig, facts: &Facts) -> Result<(), PlanError> {
    let refused = resources(host, facts).into_iter().find(|(asked, _)| *asked);
    refused.map_or(Ok(()), |(_, name)| Err(PlanError::Unsupported(name)))?;
    restart_policy(host)
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
        return Err(PlanError::Limit(match policy.name.as_str() {
            "always" => "maximum retry count cannot be used with restart policy 'always'",
            "unless-stopped" => "maximum retry count cannot be used with restart policy 'unless-stopped'",
            _ => "maximum retry count cannot be used with restart policy 'no'",
        }));
    }
    if restarts && host.auto_remove {
        return Err(PlanError::Limit(
            "can't create 'AutoRemove' container with restart policy",
        ));
    }
    Ok(())
}

fn container_options(config: &ContainerConfig) -> Vec<(bool, &'static str)> {
    // What is asked of networks is judged by those who know them.
    vec![(
        config.network_disabled && !config.mac_address.is_empty(),
        "a hardware address without a network (MacAddress)",
    )]
}

fn privileges(host: &HostConfig) -> Vec<(bool, &'static str)> {
    vec![(
        some(host.device_requests.as_ref()),
        "asking for devices (DeviceRequests)",
    )]
}

fn host_options(host: &HostConfig) -> Vec<(bool, &'static str)> {
    vec![
        (!host.storage_opt.is_empty(), "storage options (StorageOpt)"),
        (
            !host.cgroup.is_empty(),
            "the cgroup of another container (Cgroup)",
        ),
        (!host.cgroup_parent.is_empty(), "a parent cgroup (CgroupParent)"),
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
fn choices(host: &HostConfig) -> [(&'static str, &str, &'static [&'static str]); 5] {
    [
        ("VolumeDriver", &host.volume_driver, &["", "local"]),
        // There is no remapping that `host` could switch off.
        ("UsernsMode", &host.userns_mode, &["", "host"]),
        ("CgroupnsMode", &host.cgroupns_mode, &["", "private", "host"]),
        ("Runtime", &host.runtime, &["", "berth"]),
        ("Isolation", &host.isolation, &["", "default"]),
    ]
}

/// A container with the host's network, another's or none has no place in any other.
fn networks(request: &CreateRequest) -> Result<(), PlanError> {
    let host = &request.host_config;
    let mode = host.network_mode.as_str();
    let alone = ["none", "host"].contains(&mode) || mode.starts_with("container:");
    if !alone {
        return Ok(());
    }
    if some(host.links.as_ref()) {
        return Err(PlanError::Limit(match mode {
            "host" => {
                "conflicting options: host type networking can't be used with links. This would result in undefined behavior"
            }
            "none" => "conflicting options: links and the network mode none",
            _ => {
                "conflicting options: container type network can't be used with links. This would result in undefined behavior"
            }
        }));
    }
    let mut others = request.networking_config.endpoints_config.keys();
    if others.any(|name| name != mode) {
        return Err(PlanError::Limit(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        ));
    }
    if !request.config.mac_address.is_empty() {
        return Err(PlanError::Limit(
            "conflicting options: mac-address and the network mode",
        ));
    }
    Ok(())
}

fn some<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}
