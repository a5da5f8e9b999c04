//! The configuration document of an image, whose digest is the image's id.

use berth_wire::docker::ImageConfig;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Image;

/// What OCI calls an image configuration, as far as it is used here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    architecture: String,
    os: String,
    created: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    author: String,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    config: ImageConfig,
    rootfs: RootFs,
    #[serde(default)]
    history: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RootFs {
    #[serde(rename = "type")]
    kind: String,
    diff_ids: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Step {
    created: String,
    #[serde(default)]
    comment: String,
}

impl Document {
    /// An image of one layer, made now, for this machine.
    pub(crate) fn new(config: ImageConfig, comment: &str, layer: &str) -> Self {
        // Formatting fails for years with more than four digits only.
        let created = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        Self {
            architecture: architecture().to_owned(),
            os: "linux".to_owned(),
            created: created.clone(),
            author: String::new(),
            comment: comment.to_owned(),
            config,
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: vec![layer.to_owned()],
            },
            history: vec![Step {
                created,
                comment: comment.to_owned(),
            }],
        }
    }

    /// The image of one layer more than another one has; what was said about it, and by whom.
    pub(crate) fn above(parent: &Self, config: ImageConfig, said: (&str, &str), layer: &str) -> Self {
        let mut document = Self::new(config, said.0, layer);
        document.author = said.1.to_owned();
        document.architecture.clone_from(&parent.architecture);
        let (own, history) = (document.rootfs.diff_ids, document.history);
        document.rootfs.diff_ids = parent.rootfs.diff_ids.iter().cloned().chain(own).collect();
        document.history = parent.history.iter().cloned().chain(history).collect();
        document
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a document of strings and maps can be written")
    }

    pub(crate) fn layers(&self) -> &[String] {
        &self.rootfs.diff_ids
    }

    pub(crate) fn image(&self, id: &str, size: u64, names: Vec<String>) -> Image {
        Image {
            id: id.to_owned(),
            config: self.config.clone(),
            created: self.created.clone(),
            size,
            names,
            layers: self.rootfs.diff_ids.clone(),
            comment: self.comment.clone(),
            author: self.author.clone(),
            architecture: self.architecture.clone(),
        }
    }
}

/// OCI has its names from Go.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "386",
        "aarch64" => "arm64",
        "riscv64" => "riscv64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}
