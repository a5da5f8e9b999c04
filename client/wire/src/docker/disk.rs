//! Disk usage, prunes, the processes of a container, and the answer of an update.

use std::collections::BTreeMap;

use super::{ContainerSummary, ImageDeleteItem, ImageSummary};

document! {
    /// The answer of `top`: a row of texts for each process.
    pub struct TopResponse {
        pub titles: Vec<String>,
        pub processes: Vec<Vec<String>>,
    }

    /// The answer of an update.
    pub struct UpdateResponse {
        pub warnings: Option<Vec<String>>,
    }

    /// What is on the disk; sizes in bytes.
    pub struct DiskUsage {
        pub layers_size: i64,
        pub images: Vec<ImageSummary>,
        pub containers: Vec<ContainerSummary>,
        pub volumes: Vec<DiskVolume>,
        pub build_cache: Vec<DiskCache>,
        pub builder_size: i64,
    }

    /// A volume with its size.
    pub struct DiskVolume {
        pub created_at: String,
        pub driver: String,
        pub labels: Option<BTreeMap<String, String>>,
        pub mountpoint: String,
        pub name: String,
        pub options: Option<BTreeMap<String, String>>,
        pub scope: String,
        pub usage_data: DiskVolumeUsage,
    }

    /// Who uses a volume; -1 for what is not known.
    pub struct DiskVolumeUsage {
        pub ref_count: i64,
        pub size: i64,
    }

    /// A piece of a build cache. There is none.
    pub struct DiskCache {
        #[serde(rename = "ID")]
        pub id: String,
        pub size: i64,
    }

    /// The answer of a prune of images.
    pub struct PruneImagesResponse {
        pub images_deleted: Option<Vec<ImageDeleteItem>>,
        pub space_reclaimed: u64,
    }

    /// The answer of a prune of what builds have kept.
    pub struct PruneBuildResponse {
        pub caches_deleted: Option<Vec<String>>,
        pub space_reclaimed: u64,
    }
}
