//! Undoing what the host holds of ended containers, and taking over what runs.

use std::sync::Arc;
use std::time::Duration;

use berth_exec::{ExecError, Launcher};
use berth_plan::Plan;

use super::Actions;
use crate::container::{Address, Container, Place};
use crate::handle::Input;

const SIGKILL: i32 = 9;

/// How often the removal of a container's files is tried again: a mount that is just going away keeps them busy.
const ERASE_TRIES: u32 = 20;

/// The pause between two tries.
const ERASE_PAUSE: Duration = Duration::from_millis(50);

impl Actions {
    /// Undoes what the host holds of an ended run: `Cleaned` comes back. Its network takes a little longer, and nobody
    /// has to wait for that: `Disconnected` comes when its address may be given away.
    pub(crate) fn clean(&self, container: &Arc<Container>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            // Its sockets keep its network there.
            actions.shared.resolvers.end(&container.id);
            actions.undo(&container, Launcher::release);
            let places = container.run.place.iter().flat_map(Place::addresses);
            let addresses: Vec<Address> = places.cloned().collect();
            if !addresses.is_empty() {
                actions.disconnect(&container, addresses);
            }
            Input::Cleaned {
                id: container.id.clone(),
            }
        });
    }

    fn disconnect(&self, container: &Arc<Container>, addresses: Vec<Address>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            let disconnected = container
                .run
                .plan
                .as_ref()
                .map(|plan| actions.shared.launcher.disconnect(plan));
            if let Some(Err(error)) = disconnected {
                tracing::error!(container = container.id, %error, "the host still holds the network of an ended container");
            }
            Input::Disconnected { addresses }
        });
    }

    /// Also called for containers whose end nobody saw.
    pub(crate) fn clean_blocking(&self, container: &Container) {
        self.undo(container, Launcher::cleanup);
    }

    fn undo(&self, container: &Container, undo: fn(&Launcher, &Plan) -> Result<(), ExecError>) {
        let id = &container.id;
        if let Some(plan) = &container.run.plan
            && let Err(error) = undo(&self.shared.launcher, plan)
        {
            tracing::error!(container = id, %error, "the host still holds parts of an ended container");
        }
        if let Err(error) = self.shared.launcher.forget(id) {
            tracing::warn!(container = id, %error, "the keeper did not forget an ended container");
        }
    }

    /// Removes the files of a container; `Erased` comes back.
    pub(crate) fn erase(&self, container: &Arc<Container>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            let done = actions.erase_blocking(&container.id);
            Input::Erased {
                id: container.id.clone(),
                done,
            }
        });
    }

    fn erase_blocking(&self, id: &str) -> bool {
        // Attached clients of a container that never started are told of its end by this.
        if let Err(error) = self.shared.launcher.forget(id) {
            tracing::debug!(container = id, %error, "the keeper did not know the container");
        }
        let directory = self.directory(id);
        for _ in 1..ERASE_TRIES {
            if self.shared.images.remove_container_dirs(&directory).is_ok() {
                return true;
            }
            std::thread::sleep(ERASE_PAUSE);
        }
        match self.shared.images.remove_container_dirs(&directory) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(container = id, %error, "the files of a container could not be removed");
                false
            }
        }
    }
    /// Takes the ports and network elements of a running container again.
    pub(crate) fn readopt(&self, id: &str, plan: &Plan) {
        if let Err(error) = self.shared.launcher.readopt(plan) {
            tracing::error!(container = id, %error, "a running container was not taken over completely");
        }
    }

    /// Ends a container that nobody knows.
    pub(crate) fn kill_stray(&self, id: &str, runs: bool) {
        let killed = if runs {
            self.shared.launcher.signal(id, SIGKILL)
        } else {
            Ok(())
        };
        if let Err(error) = killed.and_then(|()| self.shared.launcher.forget(id)) {
            tracing::error!(container = id, %error, "a stray container could not be ended");
        }
    }

    /// Lets go of the host; tears down what was made of it when asked to.
    pub(crate) fn end(&self, teardown: bool) -> Result<(), ExecError> {
        self.shared.launcher.shutdown(!teardown)?;
        if teardown {
            self.shared.launcher.teardown()
        } else {
            Ok(())
        }
    }
}
