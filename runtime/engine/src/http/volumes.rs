//! Volumes: create, list, inspect, remove, prune.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_plan::MountSource;
use berth_wire::docker::{PruneVolumesResponse, VolumeCreate, VolumeList, VolumeResource};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::params::Params;
use super::{Answer, Api, body, empty, json};
use crate::clock;
use crate::error::Failure;
use crate::event_loop::random_bytes;
use crate::filters::Filters;
use crate::names::id_from;
use crate::volumes::{Volume, Volumes};

const LIST_FILTERS: [&str; 4] = ["dangling", "driver", "label", "name"];
const PRUNE_FILTERS: [&str; 3] = ["all", "label", "label!"];

/// From this version of the API on, a prune takes only volumes that nobody has named.
const PRUNES_ANONYMOUS: u32 = 42;

const DRIVER: &str = "local";

pub(crate) async fn create(api: &Arc<Api>, request: Request<Incoming>) -> Answer {
    let request: VolumeCreate = body::json(request).await?;
    if !["", DRIVER, "default"].contains(&request.driver.as_str()) {
        return Err(Failure::NoSuchThing(format!(
            "plugin {:?} not found",
            request.driver
        )));
    }
    if !request.driver_opts.is_empty() {
        return Err(Failure::Unsupported("an option of a volume's driver"));
    }
    let anonymous = request.name.is_empty();
    let name = if anonymous {
        id_from(&random_bytes())
    } else {
        berth_plan::volume_name(&request.name)?
    };
    let (volume, new) = blocking(api, move |volumes| {
        volumes.ensure(&name, &request.labels, anonymous)
    })
    .await?;
    if new {
        tell(api, "create", &volume.name);
    }
    json(StatusCode::CREATED, &document(api, &volume))
}

pub(crate) async fn list(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &LIST_FILTERS)?;
    filters.check_flag("dangling")?;
    let used = used(api).await?;
    let volumes = api.actions.shared.volumes.list();
    let wanted = |volume: &&Volume| {
        let dangling = !used.contains_key(&volume.name);
        filters.any("name", |part| volume.name.contains(part.as_str()))
            && filters.any("driver", |driver| driver == DRIVER)
            && filters.any("dangling", |word| {
                matches!(word.as_str(), "true" | "1") == dangling
            })
            && filters.labels(&volume.labels)
    };
    let volumes = volumes.iter().filter(wanted).map(|volume| document(api, volume));
    let list = VolumeList {
        volumes: volumes.collect(),
        warnings: None,
    };
    json(StatusCode::OK, &list)
}

pub(crate) fn inspect(api: &Arc<Api>, name: &str) -> Answer {
    let volume = api.actions.shared.volumes.get(name);
    let volume = volume.ok_or_else(|| Failure::NoSuchVolume(name.to_owned()))?;
    json(StatusCode::OK, &document(api, &volume))
}

pub(crate) async fn remove(api: &Arc<Api>, name: &str, params: &Params) -> Answer {
    // No container is made meanwhile that would have it.
    let gate = api.image_gate.write().await;
    if let Some(users) = used(api).await?.remove(name) {
        return Err(Failure::VolumeInUse {
            name: name.to_owned(),
            users: users.into_iter().collect(),
        });
    }
    let gone = name.to_owned();
    let taken = blocking(api, move |volumes| volumes.take(&gone)).await;
    drop(gate);
    match taken {
        Err(Failure::NoSuchVolume(_)) if params.flag("force") => {}
        taken => {
            let taken = taken?;
            blocking(api, move |_| taken.erase()).await?;
            tell(api, "destroy", name);
        }
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn prune(api: &Arc<Api>, params: &Params, minor: u32) -> Answer {
    let filters = Filters::parse(params.text("filters"), &PRUNE_FILTERS)?;
    let truth = |word: &String| matches!(word.as_str(), "true" | "1");
    let all = minor < PRUNES_ANONYMOUS || filters.values("all").is_some_and(|words| words.iter().any(truth));
    let without = |volume: &Volume| {
        let unwanted = filters.values("label!");
        let has = |label: &String| match label.split_once('=') {
            Some((key, value)) => volume.labels.get(key).is_some_and(|found| found == value),
            None => volume.labels.contains_key(label),
        };
        unwanted.is_none_or(|labels| !labels.iter().any(has))
    };
    let _gate = api.image_gate.write().await;
    let used = used(api).await?;
    let mut response = PruneVolumesResponse::default();
    for volume in api.actions.shared.volumes.list() {
        let going = (all || volume.anonymous)
            && !used.contains_key(&volume.name)
            && filters.labels(&volume.labels)
            && without(&volume);
        if going {
            let name = volume.name.clone();
            response.space_reclaimed += blocking(api, move |volumes| volumes.remove(&name)).await?;
            tell(api, "destroy", &volume.name);
            response.volumes_deleted.get_or_insert_default().push(volume.name);
        }
    }
    let reclaimed = [("reclaimed".to_owned(), response.space_reclaimed.to_string())];
    api.events.publish("volume", "prune", "", reclaimed.into());
    json(StatusCode::OK, &response)
}

/// Removes volumes that nobody has named, if no container has them any more.
pub(crate) async fn remove_unused(api: &Arc<Api>, names: Vec<String>) -> Result<(), Failure> {
    let _gate = api.image_gate.write().await;
    let used = used(api).await?;
    for name in names.into_iter().filter(|name| !used.contains_key(name)) {
        let gone = name.clone();
        match blocking(api, move |volumes| volumes.remove(&gone)).await {
            Ok(_) => tell(api, "destroy", &name),
            Err(Failure::NoSuchVolume(_)) => {}
            // The container is gone all the same.
            Err(error) => tracing::error!(volume = name, %error, "a volume of a removed container stays"),
        }
    }
    Ok(())
}

/// The containers that have each volume.
pub(super) async fn used(api: &Arc<Api>) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for container in api.handle.list().await? {
        for mount in &container.spec.mounts {
            if let MountSource::Volume(volume) = &mount.source {
                used.entry(volume.name.clone())
                    .or_default()
                    .insert(container.id.clone());
            }
        }
    }
    Ok(used)
}

pub(super) async fn blocking<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Volumes) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let shared = Arc::clone(&api.actions.shared);
    let done = tokio::task::spawn_blocking(move || work(&shared.volumes));
    done.await.map_err(|_| Failure::Stopping)?
}

fn tell(api: &Arc<Api>, action: &str, name: &str) {
    let attributes = [("driver".to_owned(), DRIVER.to_owned())].into();
    api.events.publish("volume", action, name, attributes);
}

pub(super) fn document(api: &Arc<Api>, volume: &Volume) -> VolumeResource {
    VolumeResource {
        created_at: clock::render(volume.created),
        driver: DRIVER.to_owned(),
        labels: Some(volume.labels.clone()).filter(|labels| !labels.is_empty()),
        mountpoint: api
            .actions
            .shared
            .volumes
            .data(&volume.name)
            .to_string_lossy()
            .into_owned(),
        name: volume.name.clone(),
        options: Some(std::collections::BTreeMap::new()),
        scope: "local".to_owned(),
        usage_data: None,
    }
}
