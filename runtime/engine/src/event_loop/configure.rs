//! A start of old brings the host's part of the configuration with it.

use berth_plan::MountSource;
use berth_plan::Spec;
use berth_wire::docker::{CreateRequest, ImageConfig};

use super::EventLoop;
use crate::error::Failure;
use crate::lifecycle::Phase;

impl EventLoop {
    /// Resolves a container that does not run anew, from its own configuration and a host's part that a client sent with
    /// the start. Its networks are as they were unless `moves`. One that runs is left as it is.
    pub(super) fn configure(
        &mut self,
        reference: &str,
        request: &CreateRequest,
        moves: bool,
    ) -> Result<(), Failure> {
        let id = self.id_of(reference)?;
        let entry = &self.containers[&id];
        if entry.life.phase() != Phase::Idle {
            return Ok(());
        }
        let old = std::sync::Arc::clone(&entry.container);
        let given = self.given(request)?;
        // The image has been taken into the configuration when the container was made.
        let image = ImageConfig::default();
        let mut resolved = self.actions.resolve(request, &image, &id, &old.name, &given)?;
        self.adopt_modes(&given, &mut resolved.host_config);
        let (attachments, links) = if moves {
            self.connections(request)?
        } else {
            (old.attachments.clone(), old.links.clone())
        };
        resolved.host_config.links = self.link_documents(&old.name, &links);
        keep_volumes(&old.spec, &mut resolved.spec);
        self.name_volumes(&mut resolved.spec)?;
        self.update(&id, |container| {
            container.host_config = resolved.host_config;
            container.spec = resolved.spec;
            container.attachments = attachments;
            container.links = links;
        })?;
        Ok(())
    }
}

/// A volume without a name of its own stays the one that it was.
fn keep_volumes(old: &Spec, new: &mut Spec) {
    for mount in &mut new.mounts {
        let before = old.mounts.iter().find(|old| old.target == mount.target);
        if let (MountSource::Volume(volume), Some(before)) = (&mut mount.source, before)
            && let MountSource::Volume(before) = &before.source
            && volume.name.is_empty()
        {
            volume.name.clone_from(&before.name);
        }
    }
}
