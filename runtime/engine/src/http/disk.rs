//! system df: what takes how much of the disk.

use std::collections::BTreeMap;
use std::sync::Arc;

use berth_wire::docker::{DiskUsage, DiskVolume, DiskVolumeUsage};
use http::StatusCode;

use super::containers::{number, size_rows};
use super::{Answer, Api, json, volumes};
use crate::error::Failure;
use crate::{clock, documents};

pub(crate) async fn usage(api: &Arc<Api>) -> Answer {
    let containers = api.handle.list().await?;
    let listed = api.actions.with_images(berth_images::ImageStore::list).await?;
    let names = api.actions.image_names().await?;
    let mut users: BTreeMap<&str, i64> = BTreeMap::new();
    for container in &containers {
        *users.entry(&container.image_id).or_default() += 1;
    }
    let mut layers: BTreeMap<&str, u64> = BTreeMap::new();
    for layer in listed.iter().flat_map(|image| &image.layers) {
        *layers.entry(layer).or_default() += 1;
    }
    let images = listed.iter().map(|image| {
        let mut row = super::images::summary(image, image.names.iter().cloned().collect());
        row.containers = users.get(image.id.as_str()).copied().unwrap_or_default();
        // Only whole images share here: a layer is one image's or several's.
        let shared = image.layers.iter().all(|layer| layers[layer.as_str()] > 1);
        row.shared_size = if shared { number(image.size) } else { 0 };
        row
    });
    let images: Vec<_> = images.collect();
    let now = clock::now();
    let rows = containers
        .iter()
        .map(|container| documents::summary(container, names.shown(container), now));
    let mut rows: Vec<_> = rows.collect();
    size_rows(api, &mut rows).await?;
    json(
        StatusCode::OK,
        &DiskUsage {
            layers_size: number(api.actions.layers_size().await?),
            containers: rows,
            volumes: with_sizes(api).await?,
            images,
            ..DiskUsage::default()
        },
    )
}

/// All volumes, with who uses them.
async fn with_sizes(api: &Arc<Api>) -> Result<Vec<DiskVolume>, Failure> {
    let used = volumes::used(api).await?;
    let known = volumes::blocking(api, |volumes| {
        let sized = |volume: crate::volumes::Volume| {
            let size = volumes.size(&volume.name);
            (volume, size)
        };
        Ok(volumes.list().into_iter().map(sized).collect::<Vec<_>>())
    })
    .await?;
    let row = |(volume, size): (crate::volumes::Volume, u64)| {
        let document = volumes::document(api, &volume);
        DiskVolume {
            created_at: document.created_at,
            driver: document.driver,
            labels: document.labels,
            mountpoint: document.mountpoint,
            options: None,
            scope: document.scope,
            usage_data: DiskVolumeUsage {
                ref_count: used
                    .get(&volume.name)
                    .map_or(0, |users| number(users.len() as u64)),
                size: number(size),
            },
            name: document.name,
        }
    };
    Ok(known.into_iter().map(row).collect())
}
