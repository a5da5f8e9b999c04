//! Prunes: what nobody needs any more goes.

use std::collections::BTreeSet;
use std::sync::Arc;

use berth_images::{Image, ImageError};
use berth_wire::docker::{ImageDeleteItem, PruneBuildResponse, PruneContainersResponse, PruneImagesResponse};
use http::StatusCode;

use super::images::item;
use super::params::Params;
use super::{Answer, Api, json};
use crate::clock;
use crate::container::{Container, Status};
use crate::error::Failure;
use crate::filters::Filters;
use crate::handle::Change;

const CONTAINER_FILTERS: [&str; 3] = ["label", "label!", "until"];
const IMAGE_FILTERS: [&str; 4] = ["dangling", "label", "label!", "until"];
const BUILD_FILTERS: [&str; 12] = [
    "description",
    "id",
    "inuse",
    "label",
    "label!",
    "mutable",
    "parent",
    "private",
    "shared",
    "type",
    "unused-for",
    "until",
];

/// The moment before which something must have been made to be pruned.
pub(super) fn until(filters: &Filters) -> Result<Option<i64>, Failure> {
    let mut values = filters.values("until").into_iter().flatten();
    let (Some(text), None) = (values.next(), values.next()) else {
        return match filters.values("until") {
            None => Ok(None),
            Some(_) => Err(Failure::SeveralUntil),
        };
    };
    let moment = clock::parse_since(text, clock::now());
    moment.map(Some).ok_or_else(|| Failure::BadParameter {
        name: "until",
        value: text.clone(),
    })
}

pub(crate) async fn containers(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &CONTAINER_FILTERS)?;
    let until = until(&filters)?;
    let goes = |container: &Container| {
        matches!(
            container.run.status,
            Status::Created | Status::Exited | Status::Dead
        ) && filters.labels(&container.config.labels)
            && filters.without_labels(&container.config.labels)
            && until.is_none_or(|until| container.created < until)
    };
    let mut deleted = Vec::new();
    let mut reclaimed = 0;
    for container in api
        .handle
        .list()
        .await?
        .iter()
        .filter(|container| goes(container))
    {
        let size = api.actions.changed_size(&container.id).await?;
        // One that was started or removed meanwhile is left alone.
        let removal = Change::Remove { force: false };
        if api.handle.change(&container.id, removal).await.is_ok() {
            deleted.push(container.id.clone());
            reclaimed += size;
        }
    }
    told(api, "container", reclaimed);
    json(
        StatusCode::OK,
        &PruneContainersResponse {
            containers_deleted: Some(deleted).filter(|deleted| !deleted.is_empty()),
            space_reclaimed: reclaimed,
        },
    )
}

pub(crate) async fn images(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &IMAGE_FILTERS)?;
    let until = until(&filters)?;
    // Only those without a name, unless told otherwise.
    let all = filters
        .values("dangling")
        .is_some_and(|values| values.iter().any(|value| value == "false" || value == "0"));
    let goes = |image: &Image| {
        (all || image.names.is_empty())
            && filters.labels(&image.config.labels)
            && filters.without_labels(&image.config.labels)
            && until.is_none_or(|until| clock::parse_rfc3339(&image.created).is_some_and(|made| made < until))
    };
    let _gate = api.image_gate.write().await;
    let containers = api.handle.list().await?;
    let used: BTreeSet<String> = containers
        .iter()
        .map(|container| container.image_id.clone())
        .collect();
    let listed = api.actions.with_images(berth_images::ImageStore::list).await?;
    let going: Vec<String> = listed
        .iter()
        .filter(|image| !used.contains(&image.id) && goes(image))
        .map(|image| image.id.clone())
        .collect();
    let (removed, reclaimed) = api
        .actions
        .with_images(move |images| {
            let before = images.layers_size();
            let mut removed = Vec::new();
            for id in going {
                removed.extend(images.remove(&id, true, |id| used.contains(id))?);
            }
            Ok::<_, ImageError>((removed, before.saturating_sub(images.layers_size())))
        })
        .await?;
    let items = removed.into_iter().map(|removed| item(api, removed));
    let items: Vec<ImageDeleteItem> = items.collect();
    told(api, "image", reclaimed);
    json(
        StatusCode::OK,
        &PruneImagesResponse {
            images_deleted: Some(items).filter(|items| !items.is_empty()),
            space_reclaimed: reclaimed,
        },
    )
}

/// Builds keep nothing: there is nothing to go.
pub(crate) fn build(params: &Params) -> Answer {
    Filters::parse(params.text("filters"), &BUILD_FILTERS)?;
    json(
        StatusCode::OK,
        &PruneBuildResponse {
            caches_deleted: None,
            space_reclaimed: 0,
        },
    )
}

fn told(api: &Arc<Api>, kind: &str, reclaimed: u64) {
    let attributes = [("reclaimed".to_owned(), reclaimed.to_string())].into();
    api.events.publish(kind, "prune", "", attributes);
}
