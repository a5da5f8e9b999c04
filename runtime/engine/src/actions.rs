//! What takes time or touches the host: each action runs outside of the event loop and reports back to it.

mod disk;
mod exec;
mod figures;
mod freeze;
mod images;
mod launch;
mod mounts;
mod networks;
mod ports;
mod probe;
mod undo;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_exec::{Attach, Exit, Launcher};
use berth_images::ImageStore;
use berth_plan::{Facts, Given, Network, PlanError, Spec};
use berth_wire::docker::{ContainerConfig, CreateRequest, HostConfig, ImageConfig};
use tokio::net::UnixStream;
use tokio::runtime::Handle as Runtime;
use tokio::sync::mpsc;

use crate::clock;
use crate::dns::Resolvers;
use crate::documents::Paths;
use crate::error::Failure;
use crate::handle::{Ended, Input, Reply};
use crate::lifecycle::Answer;
use crate::merge;
use crate::volumes::Volumes;

pub(crate) use disk::size;
pub(crate) use launch::mac_of;
pub(crate) use mounts::InitProgram;
pub(crate) use ports::ChosenPorts;

/// Everything that actions need; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Actions {
    pub(crate) shared: Arc<Shared>,
}

/// What all actions share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) launcher: Launcher,
    pub(crate) images: ImageStore,
    pub(crate) volumes: Volumes,
    pub(crate) init: InitProgram,
    pub(crate) facts: Arc<Facts>,
    pub(crate) resolvers: Resolvers,
    pub(crate) ports: ChosenPorts,
    pub(crate) runtime: Runtime,
    pub(crate) inputs: mpsc::WeakSender<Input>,
    pub(crate) containers_dir: PathBuf,
    pub(crate) bridge: String,
    pub(crate) cgroup_parent: String,
}

/// A request that has been understood.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) spec: Spec,
    pub(crate) config: ContainerConfig,
    pub(crate) host_config: HostConfig,
    pub(crate) warnings: Vec<String>,
}

impl Actions {
    /// Understands a create request. Pure and quick: the event loop calls it itself.
    pub(crate) fn resolve(
        &self,
        request: &CreateRequest,
        image: &ImageConfig,
        id: &str,
        name: &str,
        given: &Given,
    ) -> Result<Resolved, PlanError> {
        let facts = &self.shared.facts;
        let spec = berth_plan::resolve_with(request, image, id, name, facts, given)?;
        let mut config = merge::config(request, image, id);
        if config.hostname.is_empty() {
            config.hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        }
        let host_config = merge::host_config(request);
        Ok(Resolved {
            spec,
            config,
            host_config,
            warnings: Vec::new(),
        })
    }

    /// Whether the container gets an address on the bridge.
    pub(crate) fn wants_address(&self, spec: &Spec) -> bool {
        match spec.network {
            Network::Bridge => true,
            Network::None | Network::Host | Network::Joined => false,
        }
    }

    /// The files of a container.
    pub(crate) fn paths(&self, id: &str) -> Paths {
        let directory = self.directory(id);
        let path = |name: &str| directory.join(name).to_string_lossy().into_owned();
        Paths {
            log: path(&format!("{id}-json.log")),
            hosts: path("hosts"),
            hostname: path("hostname"),
            resolv_conf: path("resolv.conf"),
        }
    }

    pub(crate) fn directory(&self, id: &str) -> PathBuf {
        self.shared.containers_dir.join(id)
    }

    /// Sends a signal; the reply, if there is one, is answered when it has been sent.
    pub(crate) fn signal(&self, id: &str, signal: i32, reply: Option<Reply<Answer>>) {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        self.shared.runtime.spawn_blocking(move || {
            let sent = shared.launcher.signal(&id, signal);
            match (reply, sent) {
                (Some(reply), sent) => drop(reply.send(sent.map(|()| Answer::Done).map_err(Failure::from))),
                (None, Ok(())) => {}
                // The process may have ended a moment ago; its exit is on the way then.
                (None, Err(error)) => tracing::debug!(container = id, signal, %error, "signal was not sent"),
            }
        });
    }

    /// Reports `RestartDue` after so many milliseconds.
    pub(crate) fn arm_restart(&self, id: &str, number: u64, milliseconds: u64) {
        let (inputs, id) = (self.shared.inputs.clone(), id.to_owned());
        self.shared.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            report(&inputs, Input::RestartDue { id, number }).await;
        });
    }

    /// Reports `GraceOver` after so many seconds.
    pub(crate) fn arm_grace(&self, id: &str, number: u64, seconds: u64) {
        let (inputs, id) = (self.shared.inputs.clone(), id.to_owned());
        self.shared.runtime.spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            report(&inputs, Input::GraceOver { id, number }).await;
        });
    }

    /// A live connection to the container's input and output.
    pub(crate) async fn attach(&self, id: &str, attach: Attach) -> Result<UnixStream, Failure> {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        let fd = self
            .blocking(move || shared.launcher.attach(&id, attach))
            .await??;
        let stream = std::os::unix::net::UnixStream::from(fd);
        stream.set_nonblocking(true)?;
        Ok(UnixStream::from_std(stream)?)
    }

    /// Has the keeper forget what has ended, or what nobody will ask for when it has.
    pub(crate) fn forget(&self, id: &str) {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        self.shared.runtime.spawn_blocking(move || {
            if let Err(error) = shared.launcher.forget(&id) {
                tracing::debug!(id, %error, "the keeper did not forget a process");
            }
        });
    }

    /// Sets the size of the terminal of a container or an exec.
    pub(crate) async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<(), Failure> {
        let (shared, id) = (Arc::clone(&self.shared), id.to_owned());
        let resized = self.blocking(move || shared.launcher.resize(&id, rows, columns));
        Ok(resized.await??)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        self.shared
            .runtime
            .spawn_blocking(work)
            .await
            .map_err(|_| Failure::Stopping)
    }

    fn spawn(&self, work: impl FnOnce(&Self) -> Input + Send + 'static) {
        let actions = self.clone();
        self.shared.runtime.spawn_blocking(move || {
            let input = work(&actions);
            if let Some(inputs) = actions.shared.inputs.upgrade() {
                // After the end of the loop nobody needs the news.
                drop(inputs.blocking_send(input));
            }
        });
    }
}

async fn report(inputs: &mpsc::WeakSender<Input>, input: Input) {
    if let Some(inputs) = inputs.upgrade() {
        drop(inputs.send(input).await);
    }
}

/// How a process ended, in the words of the records.
pub(crate) fn ended(exit: &Exit) -> Ended {
    Ended {
        code: i64::from(exit.code),
        oom_killed: exit.oom_killed,
        finished_at: clock::nanos(exit.finished_at),
    }
}
