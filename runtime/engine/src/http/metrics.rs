//! metrics: figures of the engine and its containers in the text format of Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderValue, Response, header};

use super::{Answer, Api};
use crate::container::{Container, Status};

/// Containers whose figures are read for one answer; the newest ones, for each takes a dozen files of the kernel.
const MAX_CONTAINERS: usize = 1000;

/// A family: name, type, help.
type Family = (&'static str, &'static str, &'static str);

const STATES: Family = ("berth_engine_containers", "gauge", "Containers by state.");
const IMAGES: Family = ("berth_engine_images", "gauge", "Images in the store.");
const LISTENERS: Family = (
    "berth_engine_event_listeners",
    "gauge",
    "Clients that listen to events.",
);
const CPU: Family = (
    "berth_container_cpu_nanoseconds_total",
    "counter",
    "CPU time that a running container has used, in nanoseconds.",
);
const MEMORY: Family = (
    "berth_container_memory_bytes",
    "gauge",
    "Memory of a running container, caches included.",
);
const PIDS: Family = (
    "berth_container_pids",
    "gauge",
    "Processes and threads of a running container.",
);
const RESTARTS: Family = (
    "berth_container_restarts",
    "gauge",
    "How often the policy of a container has started it again since somebody last started it.",
);

pub(crate) async fn metrics(api: &Arc<Api>) -> Answer {
    let containers = api.handle.list().await?;
    let mut text = String::new();
    head(&mut text, STATES);
    for state in [
        "created",
        "running",
        "paused",
        "restarting",
        "exited",
        "removing",
        "dead",
    ] {
        let count = containers
            .iter()
            .filter(|container| container.state_word() == state)
            .count();
        line(&mut text, STATES, &[("state", state)], count);
    }
    head(&mut text, IMAGES);
    line(&mut text, IMAGES, &[], api.actions.image_count().await?);
    head(&mut text, LISTENERS);
    line(&mut text, LISTENERS, &[], api.events.listeners());
    head(&mut text, RESTARTS);
    for container in containers.iter().take(MAX_CONTAINERS) {
        line(&mut text, RESTARTS, &of(container), container.run.restart_count);
    }
    let running = containers
        .iter()
        .filter(|container| container.run.status == Status::Running);
    let mut samples = Vec::new();
    for container in running.take(MAX_CONTAINERS) {
        samples.push((container, api.actions.usage(&container.id).await?));
    }
    for (family, value) in [(CPU, 0), (MEMORY, 1), (PIDS, 2)] {
        head(&mut text, family);
        for (container, usage) in &samples {
            let values = [usage.cpu.total, usage.memory.usage, usage.pids];
            line(&mut text, family, &of(container), values[value]);
        }
    }
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

/// Names of containers have no characters that would have to be escaped.
fn of(container: &Container) -> [(&'static str, &str); 2] {
    [("name", &container.name), ("id", &container.id)]
}

fn head(text: &mut String, (name, kind, help): Family) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, (name, _, _): Family, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}=\"{value}\""))
        .collect();
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", labels.join(","))
    };
    let _ = writeln!(text, "{name}{labels} {value}");
}
