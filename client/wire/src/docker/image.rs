//! Images: the configuration, list rows, the inspect document, the answer of remove.

use std::collections::BTreeMap;

use super::{GraphDriver, HealthConfig, PathSet, Words};

document! {
    /// `config` of an image: what a container takes over unless its request says otherwise.
    pub struct ImageConfig {
        pub user: String,
        #[serde(skip_serializing_if = "PathSet::is_empty")]
        pub exposed_ports: PathSet,
        pub env: Vec<String>,
        pub cmd: Option<Words>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub healthcheck: Option<HealthConfig>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        pub args_escaped: bool,
        #[serde(skip_serializing_if = "PathSet::is_empty")]
        pub volumes: PathSet,
        pub working_dir: String,
        pub entrypoint: Option<Words>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub on_build: Option<Vec<String>>,
        pub labels: BTreeMap<String, String>,
        #[serde(skip_serializing_if = "String::is_empty")]
        pub stop_signal: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub shell: Option<Vec<String>>,
    }

    /// A row of the image list.
    pub struct ImageSummary {
        pub id: String,
        pub parent_id: String,
        pub repo_tags: Vec<String>,
        pub repo_digests: Vec<String>,
        pub created: i64,
        pub size: i64,
        pub virtual_size: i64,
        pub shared_size: i64,
        pub containers: i64,
        pub labels: BTreeMap<String, String>,
    }

    /// The inspect document of an image.
    pub struct ImageInspect {
        pub id: String,
        pub repo_tags: Vec<String>,
        pub repo_digests: Vec<String>,
        pub parent: String,
        pub comment: String,
        pub created: String,
        pub container: String,
        pub docker_version: String,
        pub author: String,
        pub config: ImageConfig,
        pub architecture: String,
        pub os: String,
        pub size: i64,
        pub virtual_size: i64,
        pub graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        pub root_fs: RootFs,
        pub metadata: ImageMetadata,
    }

    /// The layers of an image, lowest first.
    pub struct RootFs {
        #[serde(rename = "Type")]
        pub kind: String,
        pub layers: Vec<String>,
    }

    /// What is known about an image apart from its content.
    pub struct ImageMetadata {
        pub last_tag_time: String,
    }

    /// One line of the answer of remove: a name or an id.
    pub struct ImageDeleteItem {
        #[serde(skip_serializing_if = "Option::is_none")]
        pub untagged: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        pub deleted: Option<String>,
    }
}
