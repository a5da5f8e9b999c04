//! Questions to the image store.

use std::sync::Arc;

use berth_images::{Image, ImageError, ImageStore};

use super::Actions;
use crate::error::Failure;
use crate::http::ImageNames;

impl Actions {
    /// Which image every name means.
    pub(crate) async fn image_names(&self) -> Result<ImageNames, Failure> {
        let images = self.with_images(ImageStore::list).await?;
        let names = images.into_iter().flat_map(|image| {
            let id = image.id;
            image.names.into_iter().map(move |name| (name, id.clone()))
        });
        Ok(ImageNames {
            by_name: names.collect(),
        })
    }

    /// How many images there are.
    pub(crate) async fn image_count(&self) -> Result<usize, Failure> {
        Ok(self.with_images(ImageStore::list).await?.len())
    }

    /// The image that a reference means.
    pub(crate) async fn image(&self, reference: &str) -> Result<Image, Failure> {
        let reference = reference.to_owned();
        self.with_images(move |images| images.resolve(&reference)).await
    }

    /// Blocking work on the image store.
    pub(crate) async fn with_images<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ImageStore) -> Result<T, ImageError> + Send + 'static,
    ) -> Result<T, Failure> {
        let shared = Arc::clone(&self.shared);
        Ok(self.blocking(move || work(&shared.images)).await??)
    }
}
