//! The container list, the inspect document and prune.

use std::sync::Arc;

use berth_wire::docker::{ContainerSummary, PruneContainersResponse};
use http::StatusCode;

use super::params::Params;
use super::{Answer, Api, json};
use crate::container::{Container, Status, parse_port};
use crate::error::Failure;
use crate::filters::{FilterError, Filters, name_matches};
use crate::handle::Change;
use crate::{clock, documents};

/// The filters of the list.
const LIST_FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// The states that the status filter takes.
const STATES: [&str; 7] = [
    "created",
    "restarting",
    "running",
    "removing",
    "paused",
    "exited",
    "dead",
];

pub(crate) async fn list(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &LIST_FILTERS)?;
    check_values(&filters)?;
    if params.flag("size") {
        tracing::debug!("sizes of containers are not counted");
    }
    let all = api.handle.list().await?;
    let limit = params
        .text("limit")
        .parse::<usize>()
        .ok()
        .filter(|limit| *limit > 0);
    let everything = params.flag("all") || limit.is_some() || names_states(&filters);
    let images = api.actions.image_names().await?;
    let span = Span::new(&all, &filters, params)?;
    let now = clock::now();
    let rows: Vec<ContainerSummary> = all
        .iter()
        .enumerate()
        .filter(|(index, _)| span.contains(*index))
        .map(|(_, container)| container)
        .filter(|container| everything || container.run.status.counts_as_running())
        .filter(|container| selects(&filters, container, &images))
        .take(limit.unwrap_or(usize::MAX))
        .map(|container| documents::summary(container, images.shown(container), now))
        .collect();
    json(StatusCode::OK, &rows)
}

/// A status or exit code asked for looks at stopped containers too.
fn names_states(filters: &Filters) -> bool {
    filters.values("status").is_some() || filters.values("exited").is_some()
}

fn check_values(filters: &Filters) -> Result<(), FilterError> {
    let refuse = |key: &str, value: &String| Err(FilterError::Value(key.to_owned(), value.clone()));
    for value in filters.values("status").into_iter().flatten() {
        if !STATES.contains(&value.as_str()) {
            return refuse("status", value);
        }
    }
    for value in filters.values("exited").into_iter().flatten() {
        if value.parse::<i64>().is_err() {
            return refuse("exited", value);
        }
    }
    Ok(())
}

/// The part of the list between `since` and `before`, both exclusive; the list is newest first.
struct Span {
    after: Option<usize>,
    until: Option<usize>,
}

impl Span {
    fn new(all: &[Arc<Container>], filters: &Filters, params: &Params) -> Result<Self, Failure> {
        let position = |key: &str| -> Result<Option<usize>, Failure> {
            let filtered = filters
                .values(key)
                .and_then(|values| values.iter().next())
                .cloned();
            let Some(reference) = filtered.or_else(|| params.given(key).map(ToOwned::to_owned)) else {
                return Ok(None);
            };
            let found = all.iter().position(|container| {
                container.name == reference.trim_start_matches('/')
                    || (!reference.is_empty() && container.id.starts_with(&reference))
            });
            found.map(Some).ok_or(Failure::NoSuchContainer(reference))
        };
        Ok(Self {
            after: position("before")?,
            until: position("since")?,
        })
    }

    fn contains(&self, index: usize) -> bool {
        self.after.is_none_or(|after| index > after) && self.until.is_none_or(|until| index < until)
    }
}

fn selects(filters: &Filters, container: &Container, images: &ImageNames) -> bool {
    let config = &container.config;
    let network = match container.host_config.network_mode.as_str() {
        "" | "default" => "bridge",
        other => other,
    };
    let has_port = |wanted: &String, published: bool| {
        parse_port(wanted).is_some_and(|(port, protocol)| {
            let known = container
                .ports()
                .iter()
                .any(|found| found.0 == port && found.1 == protocol);
            known && (!published || !container.published(port, protocol).is_empty())
        })
    };
    filters.labels(&config.labels)
        && filters.any("name", |pattern| name_matches(pattern, &container.name))
        && filters.any("id", |prefix| container.id.starts_with(prefix.as_str()))
        && filters.any("status", |status| status == container.run.status.as_str())
        && filters.any("exited", |code| {
            container.run.status == Status::Exited && *code == container.run.exit_code.to_string()
        })
        && filters.any("ancestor", |reference| images.means(reference, container))
        && filters.any("network", |name| {
            name == network || name == documents::BRIDGE_NETWORK_ID
        })
        && filters.any("expose", |port| has_port(port, false))
        && filters.any("publish", |port| has_port(port, true))
        && filters.any("health", |health| health == "none")
        && filters.any("is-task", |task| task == "false")
        && filters.any("isolation", |isolation| isolation == "default")
        && filters.any("volume", |volume| config.volumes.contains_key(volume))
}

/// Which image every name means now, to tell names that have moved on.
#[derive(Debug, Default)]
pub(crate) struct ImageNames {
    /// Full names (`repo:tag`) and the ids of their images.
    pub(crate) by_name: std::collections::BTreeMap<String, String>,
}

impl ImageNames {
    fn shown(&self, container: &Container) -> String {
        match self.by_name.get(&with_tag(&container.image)) {
            Some(id) if *id != container.image_id => container.image_id.clone(),
            _ => container.image.clone(),
        }
    }

    fn means(&self, reference: &str, container: &Container) -> bool {
        let hex = container
            .image_id
            .strip_prefix("sha256:")
            .unwrap_or(&container.image_id);
        let wanted = reference.strip_prefix("sha256:").unwrap_or(reference);
        container.image == reference
            || self.by_name.get(&with_tag(reference)) == Some(&container.image_id)
            || (!wanted.is_empty() && hex.starts_with(wanted))
    }
}

/// A short name with its tag.
fn with_tag(reference: &str) -> String {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let has_tag = short.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag {
        short.to_owned()
    } else {
        format!("{short}:latest")
    }
}

pub(crate) async fn inspect(api: &Arc<Api>, id: &str) -> Answer {
    let found = api.handle.find(id).await?;
    let paths = api.actions.paths(&found.container.id);
    let mut document = documents::inspect(&found.container, paths);
    document.exec_ids = Some(found.execs).filter(|execs| !execs.is_empty());
    json(StatusCode::OK, &document)
}

pub(crate) async fn prune(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &["label", "label!", "until"])?;
    if filters.values("label!").is_some() || filters.values("until").is_some() {
        return Err(Failure::Unsupported("pruning by label! or until"));
    }
    let mut deleted = Vec::new();
    for container in api.handle.list().await? {
        let stopped = matches!(
            container.run.status,
            Status::Created | Status::Exited | Status::Dead
        );
        if stopped && filters.labels(&container.config.labels) {
            // One that was started or removed meanwhile is left alone.
            if api
                .handle
                .change(&container.id, Change::Remove { force: false })
                .await
                .is_ok()
            {
                deleted.push(container.id.clone());
            }
        }
    }
    let containers_deleted = Some(deleted).filter(|deleted| !deleted.is_empty());
    json(
        StatusCode::OK,
        &PruneContainersResponse {
            containers_deleted,
            space_reclaimed: 0,
        },
    )
}
