//! Freezing and thawing containers.

use super::Actions;
use crate::handle::Input;
use crate::lifecycle::Ticket;

impl Actions {
    /// Stops all processes of a container where they are; `Froze` comes back.
    pub(crate) fn freeze(&self, id: &str, ticket: Ticket) {
        let id = id.to_owned();
        self.spawn(move |actions| {
            let frozen = actions.shared.launcher.freeze(&id);
            let done = frozen.inspect_err(|error| {
                tracing::warn!(container = id, %error, "the container was not paused");
            });
            Input::Froze {
                done: done.is_ok(),
                id,
                ticket,
            }
        });
    }

    /// Lets them go on; `Thawed` comes back.
    pub(crate) fn thaw(&self, id: &str, ticket: Option<Ticket>) {
        let id = id.to_owned();
        self.spawn(move |actions| {
            let thawed = actions.shared.launcher.thaw(&id);
            let done = thawed.inspect_err(|error| {
                tracing::warn!(container = id, %error, "the container was not unpaused");
            });
            Input::Thawed {
                done: done.is_ok(),
                id,
                ticket,
            }
        });
    }

    /// Whether a container that runs is frozen. May block.
    pub(crate) fn is_frozen(&self, id: &str) -> bool {
        self.shared.launcher.is_frozen(id)
    }
}
