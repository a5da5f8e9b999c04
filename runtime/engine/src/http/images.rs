//! Images: list, import, inspect, tag, remove.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use berth_images::{Image, Removed};
use berth_wire::docker::{
    GraphDriver, ImageDeleteItem, ImageInspect, ImageMetadata, ImageSummary, ProgressMessage, RootFs,
};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::params::Params;
use super::{Answer, Api, body, empty, json};
use crate::error::Failure;
use crate::filters::{Filters, glob_matches};
use crate::{clock, documents};

const LIST_FILTERS: [&str; 5] = ["before", "dangling", "label", "reference", "since"];

pub(crate) async fn list(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &LIST_FILTERS)?;
    filters.check_flag("dangling")?;
    let pattern = params.given("filter").filter(|pattern| !pattern.is_empty());
    let mut images = api.actions.with_images(berth_images::ImageStore::list).await?;
    images.sort_by_key(|image| std::cmp::Reverse(created(image)));
    let limit = |key: &str| match filters.values(key).and_then(|values| values.iter().next()) {
        Some(reference) => match images.iter().find(|image| is_meant(image, reference)) {
            Some(image) => Ok(Some(created(image))),
            None => Err(Failure::NoSuchImage(super::containers::with_tag(reference))),
        },
        None => Ok(None),
    };
    let (since, before) = (limit("since")?, limit("before")?);
    let rows: Vec<ImageSummary> = images
        .iter()
        .filter(|image| since.is_none_or(|since| created(image) > since))
        .filter(|image| before.is_none_or(|before| created(image) < before))
        .filter(|image| {
            filters.any("dangling", |dangling| {
                (dangling == "true" || dangling == "1") == image.names.is_empty()
            })
        })
        .filter(|image| filters.labels(&image.config.labels))
        .filter_map(|image| {
            let wanted = |name: &&String| {
                filters.any("reference", |pattern| name_matches(pattern, name))
                    && pattern.is_none_or(|pattern| name_matches(pattern, name))
            };
            let shown: BTreeSet<String> = image.names.iter().filter(wanted).cloned().collect();
            let hidden = shown.is_empty() && (pattern.is_some() || filters.values("reference").is_some());
            (!hidden).then(|| summary(image, shown))
        })
        .collect();
    json(StatusCode::OK, &rows)
}

/// A pattern matches the whole name or the name without its tag.
fn name_matches(pattern: &str, name: &str) -> bool {
    let repository = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
    let last = repository.rsplit('/').next().unwrap_or(repository);
    [name, repository, last]
        .iter()
        .any(|form| glob_matches(pattern, form))
}

fn is_meant(image: &Image, reference: &str) -> bool {
    let hex = image.id.strip_prefix("sha256:").unwrap_or(&image.id);
    let wanted = reference.strip_prefix("sha256:").unwrap_or(reference);
    image
        .names
        .iter()
        .any(|name| name == reference || name.strip_suffix(":latest") == Some(reference))
        || (!wanted.is_empty() && hex.starts_with(wanted))
}

fn created(image: &Image) -> i64 {
    clock::parse_rfc3339(&image.created).unwrap_or_default()
}

fn size(image: &Image) -> i64 {
    i64::try_from(image.size).unwrap_or(i64::MAX)
}

pub(super) fn summary(image: &Image, names: BTreeSet<String>) -> ImageSummary {
    let none = |names: Vec<String>, none: &str| {
        if names.is_empty() {
            vec![none.to_owned()]
        } else {
            names
        }
    };
    let dangling = names.is_empty();
    ImageSummary {
        id: image.id.clone(),
        repo_tags: none(names.into_iter().collect(), "<none>:<none>"),
        repo_digests: if dangling {
            vec!["<none>@<none>".to_owned()]
        } else {
            Vec::new()
        },
        created: created(image).div_euclid(clock::NANOS_PER_SECOND),
        size: size(image),
        virtual_size: size(image),
        shared_size: -1,
        containers: -1,
        labels: image.config.labels.clone(),
        ..ImageSummary::default()
    }
}

pub(crate) async fn inspect(api: &Arc<Api>, reference: &str) -> Answer {
    let image = api.actions.image(reference).await?;
    let document = ImageInspect {
        id: image.id.clone(),
        repo_tags: image.names.clone(),
        comment: image.comment.clone(),
        author: image.author.clone(),
        created: image.created.clone(),
        config: image.config.clone(),
        architecture: image.architecture.clone(),
        os: "linux".to_owned(),
        size: size(&image),
        virtual_size: size(&image),
        graph_driver: GraphDriver {
            name: documents::DRIVER.to_owned(),
            data: BTreeMap::new(),
        },
        root_fs: RootFs {
            kind: "layers".to_owned(),
            layers: image.layers.clone(),
        },
        metadata: ImageMetadata {
            last_tag_time: clock::NEVER.to_owned(),
        },
        ..ImageInspect::default()
    };
    json(StatusCode::OK, &document)
}

pub(crate) async fn create(api: &Arc<Api>, params: &Params, request: Request<Incoming>) -> Answer {
    match (params.text("fromSrc"), params.text("fromImage")) {
        ("-", _) => import(api, params, request).await,
        ("", "") => Err(Failure::BadParameter {
            name: "fromImage",
            value: String::new(),
        }),
        ("", _) => Err(Failure::Unsupported("pulling images")),
        (_, _) => Err(Failure::Unsupported("importing from a URL")),
    }
}

async fn import(api: &Arc<Api>, params: &Params, request: Request<Incoming>) -> Answer {
    let reference = reference(params.text("repo"), params.text("tag"));
    let changes = params.all("changes");
    let message = match params.text("message") {
        "" => "Imported from -".to_owned(),
        message => message.to_owned(),
    };
    let reader = body::reader(request);
    let named = reference.clone();
    let image = api
        .actions
        .with_images(move |images| images.import(reader, named.as_deref(), &changes, &message))
        .await?;
    if let Some(reference) = &reference {
        tell(api, "tag", &image.id, reference);
    }
    tell(api, "import", &image.id, &image.id);
    let mut line = serde_json::to_vec(&ProgressMessage {
        status: Some(image.id),
        ..ProgressMessage::default()
    })?;
    line.extend_from_slice(b"\r\n");
    let mut response = json(StatusCode::OK, &())?;
    *response.body_mut() = Body::from(line);
    Ok::<Response<Body>, _>(response)
}

/// Repository and tag in one reference; either may carry the tag.
fn reference(repository: &str, tag: &str) -> Option<String> {
    match (repository, tag) {
        ("", _) => None,
        (repository, "") => Some(repository.to_owned()),
        (repository, tag) => Some(format!("{repository}:{tag}")),
    }
}

pub(crate) async fn tag(api: &Arc<Api>, source: &str, params: &Params) -> Answer {
    let Some(target) = reference(params.text("repo"), params.text("tag")) else {
        return Err(Failure::BadParameter {
            name: "repo",
            value: String::new(),
        });
    };
    if target == "sha256" || target.starts_with("sha256:") {
        return Err(Failure::DigestAsName);
    }
    let (from, to) = (source.to_owned(), target.clone());
    api.actions
        .with_images(move |images| images.tag(&from, &to))
        .await?;
    let image = api.actions.image(source).await?;
    tell(api, "tag", &image.id, &target);
    Ok(empty(StatusCode::CREATED))
}

pub(crate) async fn remove(api: &Arc<Api>, reference: &str, params: &Params) -> Answer {
    let force = params.flag("force");
    let _gate = api.image_gate.write().await;
    let used: BTreeSet<String> = api
        .handle
        .list()
        .await?
        .iter()
        .map(|container| container.image_id.clone())
        .collect();
    let name = reference.to_owned();
    let removed = api
        .actions
        .with_images(move |images| images.remove(&name, force, |id| used.contains(id)))
        .await?;
    let items: Vec<ImageDeleteItem> = removed.into_iter().map(|removed| item(api, removed)).collect();
    json(StatusCode::OK, &items)
}

/// Tells of what has been removed.
pub(super) fn item(api: &Arc<Api>, removed: Removed) -> ImageDeleteItem {
    match removed {
        Removed::Untagged(name) => {
            tell(api, "untag", &name, &name);
            ImageDeleteItem {
                untagged: Some(name),
                deleted: None,
            }
        }
        Removed::Deleted(id) => {
            tell(api, "delete", &id, &id);
            ImageDeleteItem {
                untagged: None,
                deleted: Some(id),
            }
        }
    }
}

fn tell(api: &Arc<Api>, action: &str, id: &str, name: &str) {
    let attributes = BTreeMap::from([("name".to_owned(), name.to_owned())]);
    api.events.publish("image", action, id, attributes);
}
