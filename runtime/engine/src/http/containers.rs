//! The container list, the inspect document and prune.

use std::sync::Arc;

use berth_wire::docker::ContainerSummary;
use http::StatusCode;

use super::params::Params;
use super::{Answer, Api, json};
use crate::container::{Container, Status, parse_port};
use crate::error::Failure;
use crate::filters::{FilterError, Filters, name_matches};
use crate::volumes::Volumes;
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

/// What the health filter takes.
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];

pub(crate) async fn list(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &LIST_FILTERS)?;
    check_values(&filters)?;
    let all = api.handle.list().await?;
    let limit = params
        .text("limit")
        .parse::<usize>()
        .ok()
        .filter(|limit| *limit > 0);
    let everything = params.flag("all") || limit.is_some() || names_states(&filters);
    let images = api.actions.image_names().await?;
    let span = Span::new(&all, &filters, params)?;
    let volumes = &api.actions.shared.volumes;
    let now = clock::now();
    let mut rows: Vec<ContainerSummary> = all
        .iter()
        .enumerate()
        .filter(|(index, _)| span.contains(*index))
        .map(|(_, container)| container)
        .filter(|container| everything || container.run.status.counts_as_running())
        .filter(|container| selects(&filters, container, &images) && sees(&filters, container, volumes))
        .take(limit.unwrap_or(usize::MAX))
        .map(|container| {
            let mut row = documents::summary(container, images.shown(container), now);
            row.mounts = documents::points(container, volumes);
            row.names.extend(documents::link_names(container, &all));
            row
        })
        .collect();
    if params.flag("size") {
        size_rows(api, &mut rows).await?;
    }
    json(StatusCode::OK, &rows)
}

/// What each container has changed, and all that it sees.
pub(super) async fn size_rows(api: &Arc<Api>, rows: &mut [ContainerSummary]) -> Result<(), Failure> {
    let sizes = api
        .actions
        .changed_sizes(rows.iter().map(|row| row.id.clone()).collect())
        .await?;
    let images = api.actions.image_sizes().await?;
    for (row, own) in rows.iter_mut().zip(sizes) {
        let image = images.get(&row.image_id).copied().unwrap_or_default();
        row.size_rw = Some(number(own)).filter(|size| *size > 0);
        row.size_root_fs = Some(number(image.saturating_add(own)));
    }
    Ok(())
}

pub(super) fn number(size: u64) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
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
    for value in filters.values("health").into_iter().flatten() {
        if !HEALTH.contains(&value.as_str()) {
            return Err(FilterError::Health(value.clone()));
        }
    }
    filters.check_flag("is-task")?;
    for key in ["publish", "expose"] {
        for value in filters.values(key).into_iter().flatten() {
            if parse_port(value).is_none() {
                return refuse(key, value);
            }
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
    // Published are ports of the host, exposed those of the container.
    let has_port = |wanted: &String, published: bool| {
        parse_port(wanted).is_some_and(|(port, protocol)| {
            container.ports().iter().any(|found| {
                let mut places = container.published(found.0, &found.1).into_iter();
                found.1 == protocol
                    && if published {
                        places.any(|place| place.host_port == port)
                    } else {
                        found.0 == port
                    }
            })
        })
    };
    filters.labels(&config.labels)
        && filters.any("name", |pattern| name_matches(pattern, &container.name))
        && filters.any("id", |prefix| container.id.starts_with(prefix.as_str()))
        && filters.any("status", |status| status == container.state_word())
        && filters.any("exited", |code| {
            container.run.status == Status::Exited && *code == container.run.exit_code.to_string()
        })
        && filters.any("ancestor", |reference| images.means(reference, container))
        && filters.any("network", |name| {
            let mut attachments = container.attachments.iter();
            let connected = container.spec.network == berth_plan::Network::Bridge;
            name == network
                || connected
                    && attachments.any(|one| one.name == *name || one.network.starts_with(name.as_str()))
        })
        && filters.any("expose", |port| has_port(port, false))
        && filters.any("publish", |port| has_port(port, true))
        && filters.any("health", |wanted| {
            let health = container.run.health.as_ref().map(|health| health.status.as_str());
            wanted == health.unwrap_or("none")
        })
        && filters.any("is-task", |task| task == "false" || task == "0")
        && filters.any("isolation", |isolation| isolation == "default")
}

/// Whether it has a volume, by its name, or anything at a place.
fn sees(filters: &Filters, container: &Container, volumes: &Volumes) -> bool {
    filters.values("volume").is_none()
        || documents::points(container, volumes).iter().any(|point| {
            filters.any("volume", |wanted| {
                *wanted == point.name || *wanted == point.destination
            })
        })
}

/// Which image every name means now, to tell names that have moved on.
#[derive(Debug, Default)]
pub(crate) struct ImageNames {
    /// Full names (`repo:tag`) and the ids of their images.
    pub(crate) by_name: std::collections::BTreeMap<String, String>,
}

impl ImageNames {
    pub(super) fn shown(&self, container: &Container) -> String {
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
pub(super) fn with_tag(reference: &str) -> String {
    let short = reference.strip_prefix("docker.io/").unwrap_or(reference);
    let short = short.strip_prefix("library/").unwrap_or(short);
    let has_tag = short.rsplit('/').next().is_some_and(|last| last.contains(':'));
    if has_tag {
        short.to_owned()
    } else {
        format!("{short}:latest")
    }
}

pub(crate) async fn inspect(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let found = api.handle.find(id).await?;
    let paths = api.actions.paths(&found.container.id);
    let mut document = documents::inspect(&found.container, paths);
    if params.flag("size") {
        let own = api.actions.changed_size(&found.container.id).await?;
        let images = api.actions.image_sizes().await?;
        let image = images.get(&found.container.image_id).copied().unwrap_or_default();
        document.size_rw = Some(number(own));
        document.size_root_fs = Some(number(image.saturating_add(own)));
    }
    document.mounts = documents::points(&found.container, &api.actions.shared.volumes);
    document.exec_ids = Some(found.execs).filter(|execs| !execs.is_empty());
    json(StatusCode::OK, &document)
}
