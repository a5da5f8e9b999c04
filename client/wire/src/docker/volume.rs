//! Volumes, and what `cp` and `diff` tell of files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

document! {
    /// A volume as lists and inspects show it.
    pub struct VolumeResource {
        pub created_at: String,
        pub driver: String,
        pub labels: Option<BTreeMap<String, String>>,
        pub mountpoint: String,
        pub name: String,
        pub options: Option<BTreeMap<String, String>>,
        pub scope: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub usage_data: Option<VolumeUsage>,
    }

    /// How large a volume is, and how many containers have it; -1 for not known.
    pub struct VolumeUsage {
        pub size: i64,
        pub ref_count: i64,
    }

    /// The request for a volume; without a name one is chosen.
    pub struct VolumeCreate {
        pub name: String,
        pub driver: String,
        pub driver_opts: BTreeMap<String, String>,
        pub labels: BTreeMap<String, String>,
    }

    /// The list of volumes.
    pub struct VolumeList {
        pub volumes: Vec<VolumeResource>,
        pub warnings: Option<Vec<String>>,
    }

    /// The answer of a prune of volumes.
    pub struct PruneVolumesResponse {
        pub volumes_deleted: Option<Vec<String>>,
        pub space_reclaimed: u64,
    }

    /// A change of a container's file system: 0 changed, 1 added, 2 deleted.
    pub struct FileChange {
        pub path: String,
        pub kind: u8,
    }
}

/// What `X-Docker-Container-Path-Stat` says of a file, in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathStat {
    /// The last name of the path.
    pub name: String,
    /// Bytes.
    pub size: i64,
    /// Permission bits, and Go's bits for the kind of file.
    pub mode: u32,
    /// RFC 3339.
    pub mtime: String,
    /// Where a link leads, as an absolute path; empty for everything else.
    pub link_target: String,
}
