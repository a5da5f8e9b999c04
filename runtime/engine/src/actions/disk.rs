//! How much of the disk is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use berth_images::ImageStore;

use super::Actions;
use crate::error::Failure;

/// How deep directories are counted; what is in deeper ones is left out.
const MAX_DEPTH: usize = 512;

/// Where the changes of a container are, in its directory.
const UPPER: &str = "upper";

impl Actions {
    /// Bytes of the files that a container has changed or made.
    pub(crate) async fn changed_size(&self, id: &str) -> Result<u64, Failure> {
        let (actions, id) = (self.clone(), id.to_owned());
        self.blocking(move || size(&actions.directory(&id).join(UPPER)))
            .await
    }

    /// The same for several.
    pub(crate) async fn changed_sizes(&self, ids: Vec<String>) -> Result<Vec<u64>, Failure> {
        let actions = self.clone();
        self.blocking(move || {
            let sizes = ids.iter().map(|id| size(&actions.directory(id).join(UPPER)));
            sizes.collect()
        })
        .await
    }

    /// Bytes of every image by its id.
    pub(crate) async fn image_sizes(&self) -> Result<BTreeMap<String, u64>, Failure> {
        let images = self.with_images(ImageStore::list).await?;
        Ok(images.into_iter().map(|image| (image.id, image.size)).collect())
    }

    /// Bytes of the layers of all images, each counted once.
    pub(crate) async fn layers_size(&self) -> Result<u64, Failure> {
        let shared = Arc::clone(&self.shared);
        self.blocking(move || shared.images.layers_size()).await
    }
}

/// Bytes of all files below a directory, those with several names once. What goes away meanwhile is not counted.
pub(crate) fn size(root: &Path) -> u64 {
    let mut total: u64 = 0;
    let mut seen = BTreeSet::new();
    let mut left = vec![(root.to_owned(), 0)];
    while let Some((path, depth)) = left.pop() {
        for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
            // Links are not followed.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            if metadata.is_dir() {
                if depth < MAX_DEPTH {
                    left.push((entry.path(), depth + 1));
                }
            } else if metadata.nlink() < 2 || seen.insert((metadata.dev(), metadata.ino())) {
                total = total.saturating_add(metadata.len());
            }
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_once() {
        let place = tempfile::tempdir().expect("a directory");
        let path = |name: &str| place.path().join(name);
        std::fs::create_dir(path("a")).expect("made");
        std::fs::write(path("a/file"), [0; 100]).expect("written");
        std::fs::hard_link(path("a/file"), path("same")).expect("linked");
        std::fs::write(path("other"), [0; 10]).expect("written");
        std::os::unix::fs::symlink("/", path("link")).expect("linked");
        assert_eq!(size(place.path()), 100 + 10 + 1);
        assert_eq!(size(&path("nothing")), 0);
    }
}
