//! Links between containers of the engine's own network.

use std::sync::Arc;

use berth_plan::LinkedHost;

use super::EventLoop;
use crate::container::{Container, Place, Status};
use crate::error::{Failure, LaunchFailure, LaunchFailureKind};
use crate::lifecycle::Phase;
use crate::links;
use crate::networks::TargetAlias;

impl Container {
    /// Adds the variables that tell of its links to those of a process, which go before.
    pub(super) fn add_link_variables(&self, env: &mut Vec<String>) {
        let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
        let given = self.run.place.iter().flat_map(|place| &place.link_env);
        let given: Vec<String> = given
            .filter(|variable| env.iter().all(|own| name(own) != name(variable)))
            .cloned()
            .collect();
        env.extend(given);
    }
}

impl EventLoop {
    /// Links as an inspect shows them.
    pub(super) fn link_documents(&self, name: &str, links: &[TargetAlias]) -> Option<Vec<String>> {
        let documents = links.iter().filter_map(|link| {
            let target = &self.containers.get(&link.target)?.container;
            Some(links::document(&target.name, name, link))
        });
        Some(documents.collect()).filter(|documents: &Vec<String>| !documents.is_empty())
    }

    /// What a container gets to know by its links; those it is linked to must run.
    pub(super) fn linked(
        &self,
        container: &Container,
    ) -> Result<(Vec<LinkedHost>, Vec<String>), LaunchFailure> {
        let (mut hosts, mut variables) = (Vec::new(), Vec::new());
        for link in &container.links {
            let conflict = |message: String| LaunchFailure {
                message,
                kind: LaunchFailureKind::Conflict,
            };
            let Some(entry) = self.containers.get(&link.target) else {
                continue;
            };
            let target = &entry.container;
            if target.run.status != Status::Running {
                return Err(conflict(format!(
                    "Cannot link to a non running container: /{} AS /{}/{}",
                    target.name, container.name, link.alias
                )));
            }
            let mut addresses = target.run.place.iter().flat_map(Place::addresses);
            let Some(address) = addresses.find(|address| address.is_own()) else {
                return Err(conflict(format!(
                    "Cannot link to /{}, as it does not belong to the default network",
                    target.name
                )));
            };
            hosts.push(links::host(link, target, address.address));
            variables.extend(links::environment(&container.name, link, target, address.address));
        }
        Ok((hosts, variables))
    }

    /// The containers that are linked to this one get its new address.
    pub(super) fn refresh_links(&mut self, id: &str) {
        let linked: Vec<String> = self
            .containers
            .values()
            .filter(|entry| entry.life.phase() == Phase::Running)
            .filter(|entry| entry.container.links.iter().any(|link| link.target == id))
            .map(|entry| entry.container.id.clone())
            .collect();
        for other in linked {
            let container = Arc::clone(&self.containers[&other].container);
            // One of several may be down just now: its line stays as it is then.
            let Ok((hosts, _)) = self.linked(&container) else {
                continue;
            };
            let saved = self.update(&other, |container| {
                if let Some(place) = &mut container.run.place {
                    place.links = hosts;
                }
            });
            self.log_unsaved(&other, saved);
            self.actions.write_hosts(&self.containers[&other].container);
        }
    }

    pub(super) fn unlink(&mut self, parent: &str, alias: &str) -> Result<(), Failure> {
        let id = self.id_of(parent)?;
        let before = self.containers[&id].container.links.len();
        self.update(&id, |container| {
            container.links.retain(|link| link.alias != alias);
            let suffix = format!("/{}/{alias}", container.name);
            for list in container.host_config.links.iter_mut() {
                list.retain(|link| !link.ends_with(&suffix));
            }
        })?;
        if self.containers[&id].container.links.len() == before {
            return Err(Failure::NoSuchThing(format!(
                "Cannot get parent /{parent} for name /{parent}/{alias}"
            )));
        }
        Ok(())
    }
}
