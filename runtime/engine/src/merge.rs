//! What an inspect shows: the request completed from the image and by the daemon's own choices.

use berth_plan::{MASKED_PATHS, READ_ONLY_PATHS};
use berth_wire::docker::{ContainerConfig, CreateRequest, HealthConfig, HostConfig, ImageConfig, Words};

/// Size of `/dev/shm` when nobody says otherwise; Docker's.
const SHM_SIZE: i64 = 64 * 1024 * 1024;

/// The container's part of the request with what the image adds.
pub(crate) fn config(request: &CreateRequest, image: &ImageConfig, id: &str) -> ContainerConfig {
    let mut config = request.config.clone();
    take_if_empty(&mut config.user, &image.user);
    take_if_empty(&mut config.working_dir, &image.working_dir);
    take_if_empty(&mut config.stop_signal, &image.stop_signal);
    let empty = |words: &Option<Words>| words.as_ref().is_none_or(|words| words.0.is_empty());
    if empty(&config.entrypoint) {
        if empty(&config.cmd) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    config.healthcheck = healthcheck(config.healthcheck.take(), image.healthcheck.as_ref());
    for variable in &image.env {
        let key = variable.split('=').next().unwrap_or(variable);
        if !config.env.iter().any(|own| own.split('=').next() == Some(key)) {
            config.env.push(variable.clone());
        }
    }
    for (key, value) in &image.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    config.exposed_ports.extend(image.exposed_ports.clone());
    config.exposed_ports.extend(
        request
            .host_config
            .port_bindings
            .keys()
            .map(|port| (port.clone(), Default::default())),
    );
    config.volumes.extend(image.volumes.clone());
    if config.hostname.is_empty() && request.host_config.network_mode != "host" {
        config.hostname = id.chars().take(12).collect();
    }
    config
}

/// What the request leaves out of its health check is the image's.
fn healthcheck(own: Option<HealthConfig>, image: Option<&HealthConfig>) -> Option<HealthConfig> {
    let (Some(mut own), Some(image)) = (own.clone(), image) else {
        return own.or_else(|| image.cloned());
    };
    if own.test.is_empty() {
        own.test.clone_from(&image.test);
    }
    for (own, image) in [
        (&mut own.interval, image.interval),
        (&mut own.timeout, image.timeout),
        (&mut own.start_period, image.start_period),
        (&mut own.start_interval, image.start_interval),
        (&mut own.retries, image.retries),
    ] {
        if *own == 0 {
            *own = image;
        }
    }
    Some(own)
}

fn take_if_empty(own: &mut String, image: &str) {
    if own.is_empty() {
        image.clone_into(own);
    }
}

/// The host's part of the request with the defaults that are in force.
pub(crate) fn host_config(request: &CreateRequest) -> HostConfig {
    let mut host = request.host_config.clone();
    let fill = |text: &mut String, value: &str| {
        if text.is_empty() {
            value.clone_into(text);
        }
    };
    fill(&mut host.network_mode, "default");
    fill(&mut host.log_config.driver, "json-file");
    fill(&mut host.restart_policy.name, "no");
    fill(&mut host.ipc_mode, "private");
    fill(&mut host.runtime, "berth");
    fill(&mut host.cgroupns_mode, "private");
    if host.shm_size == 0 {
        host.shm_size = SHM_SIZE;
    }
    if host.memory > 0 && host.memory_swap == 0 {
        host.memory_swap = host.memory.saturating_mul(2);
    }
    host.memory_swappiness = host.memory_swappiness.filter(|swappiness| *swappiness >= 0);
    host.pids_limit = host.pids_limit.filter(|limit| *limit != 0);
    let fill = |own: Option<Vec<String>>, default: &[&str]| {
        let default = || default.iter().map(|path| (*path).to_owned()).collect();
        Some(own.unwrap_or_else(default)).filter(|_| !host.privileged)
    };
    host.masked_paths = fill(host.masked_paths.take(), &MASKED_PATHS);
    host.readonly_paths = fill(host.readonly_paths.take(), &READ_ONLY_PATHS);
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(request: &str, image: &str) -> ContainerConfig {
        let request = serde_json::from_str(request).expect("a request");
        config(
            &request,
            &serde_json::from_str(image).expect("an image"),
            &"0123456789abcdef".repeat(4),
        )
    }

    fn words(words: Option<Words>) -> Vec<String> {
        words.unwrap_or_default().0
    }

    #[test]
    fn the_command_comes_from_the_image_unless_the_request_has_one() {
        let image = r#"{"Entrypoint":["/e"],"Cmd":["a","b"],"Env":["PATH=/x","A=image"],"Labels":{"k":"image","i":"1"}}"#;
        let config = merged(r#"{"Env":["A=own"],"Labels":{"k":"own"}}"#, image);
        assert_eq!(
            (words(config.entrypoint), words(config.cmd)),
            (vec!["/e".into()], vec!["a".into(), "b".into()])
        );
        assert_eq!(config.env, ["A=own", "PATH=/x"]);
        assert_eq!(
            config.labels.into_iter().collect::<Vec<_>>(),
            [("i".into(), "1".into()), ("k".into(), "own".into())]
        );
        assert_eq!(config.hostname, "0123456789ab");
        let config = merged(r#"{"Cmd":["c"]}"#, image);
        assert_eq!(
            (words(config.entrypoint), words(config.cmd)),
            (vec!["/e".into()], vec!["c".into()])
        );
        let config = merged(r#"{"Entrypoint":["/own"]}"#, image);
        assert_eq!(
            (words(config.entrypoint), words(config.cmd)),
            (vec!["/own".into()], vec![])
        );
    }

    #[test]
    fn published_ports_are_exposed() {
        let config = merged(
            r#"{"HostConfig":{"PortBindings":{"80/tcp":null}}}"#,
            r#"{"ExposedPorts":{"53/udp":{}}}"#,
        );
        assert_eq!(
            config.exposed_ports.keys().collect::<Vec<_>>(),
            ["53/udp", "80/tcp"]
        );
    }

    #[test]
    fn defaults_of_the_host() {
        let request =
            serde_json::from_str(r#"{"HostConfig":{"Memory":10,"MemorySwappiness":-1,"PidsLimit":0}}"#);
        let host = host_config(&request.expect("a request"));
        assert_eq!(
            (host.memory_swap, host.memory_swappiness, host.pids_limit),
            (20, None, None)
        );
        assert_eq!(
            (host.cgroupns_mode.as_str(), host.network_mode.as_str()),
            ("private", "default")
        );
    }
}
