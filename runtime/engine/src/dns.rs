//! The resolver of user networks: a container asks at 127.0.0.11, on sockets in its own network that the engine holds.

mod answer;
mod forward;
mod serve;
mod table;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use berth_exec::NameSockets;
use tokio::runtime::Handle as Runtime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

pub(crate) use table::{NameTable, View};

/// All resolvers of an engine: one for each running container that is in a user network.
#[derive(Debug)]
pub(crate) struct Resolvers {
    runtime: Runtime,
    table: watch::Sender<Arc<NameTable>>,
    running: Mutex<BTreeMap<String, AbortHandle>>,
}

impl Resolvers {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            table: watch::Sender::default(),
            running: Mutex::default(),
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, AbortHandle>> {
        // The map is changed by whole entries only.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All resolvers answer by this table from here on.
    pub(crate) fn publish(&self, table: NameTable) {
        self.table.send_if_modified(|known| {
            let changed = **known != table;
            if changed {
                *known = Arc::new(table);
            }
            changed
        });
    }

    /// Begins to answer a container; what is nobody's name here is asked of these servers.
    pub(crate) fn serve(&self, container: &str, sockets: NameSockets, servers: Vec<IpAddr>) {
        let task = serve::serve(container.to_owned(), sockets, self.table.subscribe(), servers);
        let handle = self.runtime.spawn(task).abort_handle();
        if let Some(before) = self.running().insert(container.to_owned(), handle) {
            before.abort();
        }
    }

    /// Whether a container is answered.
    pub(crate) fn serves(&self, container: &str) -> bool {
        self.running().contains_key(container)
    }

    /// Answers a container no more. Its network is gone only when its sockets are.
    pub(crate) fn end(&self, container: &str) {
        if let Some(handle) = self.running().remove(container) {
            handle.abort();
        }
    }
}
