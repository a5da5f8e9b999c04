//! Containers come to be, get other names, and are found.

use std::sync::Arc;

use super::{Entry, EventLoop, random_bytes};
use crate::clock;
use crate::container::{Container, Run};
use crate::error::Failure;
use crate::handle::{Created, Found, Wish};
use crate::names::{LookupError, id_from, is_valid};

impl EventLoop {
    pub(super) fn create(&mut self, wish: Wish) -> Result<Created, Failure> {
        if self.closed {
            return Err(Failure::Stopping);
        }
        let random = random_bytes();
        let id = id_from(&random);
        let name = match wish.name {
            Some(name) => self.free_name(&name)?,
            None => self
                .names
                .choose(u64::from_le_bytes(random[..8].try_into().unwrap_or_default())),
        };
        let given = self.given(&wish.request)?;
        let mut resolved = self
            .actions
            .resolve(&wish.request, &wish.image, &id, &name, &given)?;
        self.adopt_modes(&given, &mut resolved.host_config);
        let (attachments, links) = self.connections(&wish.request)?;
        resolved.host_config.links = self.link_documents(&name, &links);
        self.name_volumes(&mut resolved.spec)?;
        let container = Container {
            id: id.clone(),
            name: name.clone(),
            created: clock::now(),
            image: wish.request.config.image.clone(),
            image_id: wish.image_id,
            config: resolved.config,
            host_config: resolved.host_config,
            spec: resolved.spec,
            run: Run::default(),
            attachments,
            links,
        };
        self.records.offer(&container)?;
        self.names.take(&name, &id);
        self.tell(&container, "create", []);
        self.containers.insert(id.clone(), Entry::new(container));
        Ok(Created {
            id,
            warnings: resolved.warnings,
        })
    }

    /// Checks a wished name and takes off its slash.
    fn free_name(&self, name: &str) -> Result<String, Failure> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if !is_valid(name) {
            return Err(Failure::BadName(name.to_owned()));
        }
        match self.names.holder(name) {
            Some(holder) => Err(Failure::NameTaken {
                name: name.to_owned(),
                holder: holder.to_owned(),
            }),
            None => Ok(name.to_owned()),
        }
    }

    pub(super) fn rename(&mut self, reference: &str, name: &str) -> Result<(), Failure> {
        let id = self.id_of(reference)?;
        let old = self.containers[&id].container.name.clone();
        if name.strip_prefix('/').unwrap_or(name) == old {
            return Err(Failure::SameName);
        }
        let name = self
            .free_name(name)
            .map_err(|reason| {
                if let Failure::BadName(name) = reason {
                    Failure::BadName(format!("/{name}"))
                } else {
                    reason
                }
            })
            .map_err(|reason| Failure::Rename(Box::new(reason)))?;
        self.update(&id, |container| container.name.clone_from(&name))?;
        self.names.release(&old);
        self.names.take(&name, &id);
        let container = Arc::clone(&self.containers[&id].container);
        self.tell(&container, "rename", [("oldName", format!("/{old}"))]);
        self.publish_registrations();
        Ok(())
    }

    pub(super) fn find(&self, reference: &str) -> Result<Found, Failure> {
        let entry = &self.containers[&self.id_of(reference)?];
        Ok(Found {
            container: Arc::clone(&entry.container),
            run: entry.run.subscribe(),
            execs: self.execs.running_in(&entry.container.id),
        })
    }

    pub(super) fn id_of(&self, reference: &str) -> Result<String, Failure> {
        self.names
            .find(reference, self.containers.keys())
            .map(ToOwned::to_owned)
            .map_err(|error| match error {
                LookupError::NotFound => Failure::NoSuchContainer(reference.to_owned()),
                LookupError::Ambiguous(count) => Failure::AmbiguousContainer {
                    prefix: reference.to_owned(),
                    count,
                },
            })
    }
}
