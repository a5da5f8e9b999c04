//! From the words of `berth run` to the request that makes the container. Pure: what must be read is given.

mod ports;
mod sizes;
#[cfg(test)]
mod tests;
mod update;

pub(crate) use update::update_request;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use berth_wire::docker::{
    ContainerConfig, CreateRequest, DeviceMapping, Empty, EndpointIpam, EndpointSettings, HostConfig,
    NetworkingConfig, PathSet, RestartPolicy, Ulimit, Words,
};

use crate::args::RunArgs;

/// What a request may need from around the command line.
pub(crate) struct Surroundings<'a> {
    /// A variable of this process.
    pub(crate) variable: &'a dyn Fn(&str) -> Option<String>,
    /// A file.
    pub(crate) file: &'a dyn Fn(&Path) -> std::io::Result<String>,
}

/// A flag that cannot be sent as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FlagError {
    flag: &'static str,
    text: String,
    reason: String,
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.is_empty() {
            write!(f, "{} {}", self.flag, self.reason)
        } else {
            write!(f, "{} {:?}: {}", self.flag, self.text, self.reason)
        }
    }
}

impl std::error::Error for FlagError {}

fn refuse(flag: &'static str, text: &str, reason: impl ToString) -> FlagError {
    FlagError {
        flag,
        text: text.to_owned(),
        reason: reason.to_string(),
    }
}

/// The request that these words ask for.
///
/// # Errors
/// The first flag that cannot be understood, or is not supported at this end.
pub(crate) fn create_request(args: &RunArgs, around: &Surroundings<'_>) -> Result<CreateRequest, FlagError> {
    let ports = ports::parse(&args.publish, &args.expose)?;
    let mut config = container_config(args, around)?;
    config.exposed_ports = ports.exposed;
    let mut host_config = host_config(args, around)?;
    host_config.port_bindings = ports.bindings;
    host_config.publish_all_ports = args.publish_all;
    for volume in &args.volume {
        if volume.contains(':') {
            host_config.binds.get_or_insert_default().push(volume.clone());
        } else {
            config.volumes.insert(volume.clone(), Empty);
        }
    }
    let network = args.network.clone().unwrap_or_else(|| "default".to_owned());
    let mut networking_config = NetworkingConfig::default();
    if !matches!(network.as_str(), "host" | "none") && !network.starts_with("container:") {
        networking_config
            .endpoints_config
            .insert(network.clone(), Some(endpoint(args)));
    }
    host_config.links = some(&args.link);
    host_config.network_mode = network;
    Ok(CreateRequest {
        config,
        host_config,
        networking_config,
    })
}

fn container_config(args: &RunArgs, around: &Surroundings<'_>) -> Result<ContainerConfig, FlagError> {
    let foreground = !args.detach;
    Ok(ContainerConfig {
        hostname: args.hostname.clone().unwrap_or_default(),
        domainname: args.domainname.clone().unwrap_or_default(),
        user: args.user.clone().unwrap_or_default(),
        tty: args.tty,
        attach_stdin: foreground && args.interactive,
        attach_stdout: foreground,
        attach_stderr: foreground,
        open_stdin: args.interactive,
        stdin_once: foreground && args.interactive,
        env: environment(&args.env, &args.env_file, around)?,
        cmd: Some(args.command().to_vec())
            .filter(|words| !words.is_empty())
            .map(Words),
        image: args.image().to_owned(),
        volumes: PathSet::new(),
        working_dir: args.workdir.clone().unwrap_or_default(),
        entrypoint: args.entrypoint.clone().map(|word| Words(vec![word])),
        labels: pairs("--label", &args.label, true)?,
        stop_signal: args.stop_signal.clone().unwrap_or_default(),
        stop_timeout: args.stop_timeout,
        ..ContainerConfig::default()
    })
}

fn host_config(args: &RunArgs, around: &Surroundings<'_>) -> Result<HostConfig, FlagError> {
    let size = |flag, text: &Option<String>| match text.as_deref() {
        None => Ok(0),
        Some("-1") if flag == "--memory-swap" => Ok(-1),
        Some(text) => sizes::bytes(text).map_err(|reason| refuse(flag, text, reason)),
    };
    let nano_cpus = match args.cpus.as_deref() {
        None => 0,
        Some(text) => sizes::nano_cpus(text).map_err(|reason| refuse("--cpus", text, reason))?,
    };
    Ok(HostConfig {
        auto_remove: args.rm,
        privileged: args.privileged,
        readonly_rootfs: args.read_only,
        cap_add: some(&args.cap_add).map(Words),
        cap_drop: some(&args.cap_drop).map(Words),
        security_opt: some(&security_options(args, around)?),
        group_add: some(&args.group_add),
        devices: devices(&args.device),
        device_cgroup_rules: some(&args.device_cgroup_rule),
        pid_mode: args.pid.clone().unwrap_or_default(),
        ipc_mode: args.ipc.clone().unwrap_or_default(),
        uts_mode: args.uts.clone().unwrap_or_default(),
        cgroupns_mode: args.cgroupns.clone().unwrap_or_default(),
        volumes_from: some(&args.volumes_from),
        dns: some(&args.dns),
        dns_search: some(&args.dns_search),
        dns_options: some(&args.dns_option),
        extra_hosts: some(&args.add_host),
        tmpfs: tmpfs(&args.tmpfs),
        shm_size: size("--shm-size", &args.shm_size)?,
        memory: size("--memory", &args.memory)?,
        memory_swap: size("--memory-swap", &args.memory_swap)?,
        memory_reservation: size("--memory-reservation", &args.memory_reservation)?,
        nano_cpus,
        cpu_shares: args.cpu_shares.unwrap_or(0),
        cpu_period: args.cpu_period.unwrap_or(0),
        cpu_quota: args.cpu_quota.unwrap_or(0),
        cpuset_cpus: args.cpuset_cpus.clone().unwrap_or_default(),
        cpuset_mems: args.cpuset_mems.clone().unwrap_or_default(),
        pids_limit: args.pids_limit,
        ulimits: Some(ulimits(&args.ulimit)?).filter(|limits| !limits.is_empty()),
        oom_score_adj: args.oom_score_adj.unwrap_or(0),
        sysctls: pairs("--sysctl", &args.sysctl, false)?,
        init: args.init.then_some(true),
        restart_policy: restart_policy(args.restart.as_deref())?,
        ..HostConfig::default()
    })
}

/// `DEVICE`, `DEVICE:DIR`, `DEVICE:rwm` or all three.
fn devices(texts: &[String]) -> Option<Vec<DeviceMapping>> {
    let mapping = |text: &String| {
        let parts: Vec<&str> = text.splitn(3, ':').collect();
        let (inside, access) = match parts.get(1..).unwrap_or_default() {
            [] => ("", "rwm"),
            [one] if one.starts_with('/') => (*one, "rwm"),
            [access] => ("", *access),
            [inside, access, ..] => (*inside, *access),
        };
        let host = parts.first().copied().unwrap_or_default();
        DeviceMapping {
            path_on_host: host.to_owned(),
            path_in_container: if inside.is_empty() { host } else { inside }.to_owned(),
            cgroup_permissions: access.to_owned(),
        }
    };
    (!texts.is_empty()).then(|| texts.iter().map(mapping).collect())
}

/// What is asked of the network.
fn endpoint(args: &RunArgs) -> EndpointSettings {
    let fixed = args.ip.is_some() || args.ip6.is_some();
    EndpointSettings {
        aliases: some(&args.network_alias),
        mac_address: args.mac_address.clone().unwrap_or_default(),
        ipam_config: fixed.then(|| EndpointIpam {
            ipv4_address: args.ip.clone().unwrap_or_default(),
            ipv6_address: args.ip6.clone().unwrap_or_default(),
            ..EndpointIpam::default()
        }),
        ..EndpointSettings::default()
    }
}

fn some(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

/// Files first, so that flags win.
pub(crate) fn environment(
    env: &[String],
    files: &[PathBuf],
    around: &Surroundings<'_>,
) -> Result<Vec<String>, FlagError> {
    let mut lines = Vec::new();
    for path in files {
        let name = path.to_string_lossy();
        let text = (around.file)(path).map_err(|error| refuse("--env-file", &name, error))?;
        for line in text.lines().map(str::trim_start) {
            if !line.is_empty() && !line.starts_with('#') {
                lines.push(("--env-file", line.to_owned()));
            }
        }
    }
    lines.extend(env.iter().map(|line| ("--env", line.clone())));
    let mut variables = Vec::new();
    for (flag, line) in lines {
        let name = line.split('=').next().unwrap_or_default();
        if name.is_empty() || (flag == "--env-file" && name.contains(char::is_whitespace)) {
            return Err(refuse(
                flag,
                &line,
                "the name of the variable is missing or has a blank in it",
            ));
        }
        if line.contains('=') {
            variables.push(line);
        } else if let Some(value) = (around.variable)(name) {
            variables.push(format!("{name}={value}"));
        }
    }
    Ok(variables)
}

fn pairs(flag: &'static str, texts: &[String], bare: bool) -> Result<BTreeMap<String, String>, FlagError> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        None if bare && !text.is_empty() => Ok((text.clone(), String::new())),
        _ => Err(refuse(flag, text, "it must be NAME=VALUE")),
    };
    texts.iter().map(pair).collect()
}

fn tmpfs(texts: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once(':') {
        Some((path, options)) => (path.to_owned(), options.to_owned()),
        None => (text.clone(), String::new()),
    };
    texts.iter().map(pair).collect()
}

fn ulimits(texts: &[String]) -> Result<Vec<Ulimit>, FlagError> {
    let limit = |text: &String| {
        let (name, limits) = text.split_once('=')?;
        let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
        let number = |text: &str| text.parse::<i64>().ok().filter(|number| *number >= -1);
        Some(Ulimit {
            name: name.to_owned(),
            soft: number(soft)?,
            hard: number(hard)?,
        })
    };
    texts
        .iter()
        .map(|text| limit(text).ok_or_else(|| refuse("--ulimit", text, "it must be NAME=SOFT[:HARD]")))
        .collect()
}

fn restart_policy(text: Option<&str>) -> Result<RestartPolicy, FlagError> {
    let text = text.unwrap_or("no");
    let (name, count) = text.split_once(':').unwrap_or((text, "0"));
    let known = matches!(name, "no" | "on-failure" | "always" | "unless-stopped");
    let count: Option<i64> = count.parse().ok().filter(|count| *count >= 0);
    match count {
        Some(maximum_retry_count) if known && (name == "on-failure" || !text.contains(':')) => {
            Ok(RestartPolicy {
                name: name.to_owned(),
                maximum_retry_count,
            })
        }
        _ => Err(refuse(
            "--restart",
            text,
            "it must be no, on-failure[:N], always or unless-stopped",
        )),
    }
}

/// A seccomp profile is sent, not named: the engine may see other files.
fn security_options(args: &RunArgs, around: &Surroundings<'_>) -> Result<Vec<String>, FlagError> {
    let option = |text: &String| match text.split_once('=') {
        Some(("seccomp", name)) if name != "unconfined" && name != "builtin" => {
            let profile =
                (around.file)(Path::new(name)).map_err(|error| refuse("--security-opt", text, error))?;
            let profile: serde_json::Value =
                serde_json::from_str(&profile).map_err(|error| refuse("--security-opt", text, error))?;
            Ok(format!("seccomp={profile}"))
        }
        _ => Ok(text.clone()),
    };
    args.security_opt.iter().map(option).collect()
}
