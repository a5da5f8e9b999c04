//! What takes time or touches the host: each action runs outside of the event loop and reports back to it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_exec::{AccountFiles, Attach, ExecError, Exit, LaunchError, Launcher, Root};
use berth_images::{Image, ImageError, ImageStore};
use berth_plan::{
    Endpoint, ExecPlacement, ExecSpec, Facts, Network, Placement, Plan, PlanError, PublishedPort, Spec,
};
use berth_wire::docker::{ContainerConfig, CreateRequest, HostConfig, ImageConfig};
use tokio::net::UnixStream;
use tokio::runtime::Handle as Runtime;
use tokio::sync::mpsc;

use crate::clock;
use crate::container::{Address, Container, PublishedAt};
use crate::documents::Paths;
use crate::error::{Failure, LaunchFailure, LaunchFailureKind};
use crate::handle::{Ended, Input, Launched, Reply};
use crate::http::ImageNames;
use crate::lifecycle::Answer;
use crate::merge;

/// The name servers that containers inherit.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Digits of the id in the name of the host's end of a network pair: names have 15 characters at most, and the address
/// takes four.
const INTERFACE_DIGITS: usize = 7;

const SIGKILL: i32 = 9;

/// How often the removal of a container's files is tried again: a mount that is just going away keeps them busy.
const ERASE_TRIES: u32 = 20;

/// The pause between two tries.
const ERASE_PAUSE: Duration = Duration::from_millis(50);

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
    pub(crate) facts: Arc<Facts>,
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
    ) -> Result<Resolved, PlanError> {
        let facts = &self.shared.facts;
        let spec = berth_plan::resolve(request, image, id, name, facts)?;
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
            Network::None | Network::Host => false,
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

    fn directory(&self, id: &str) -> PathBuf {
        self.shared.containers_dir.join(id)
    }

    /// Starts the container; `Launched` comes back.
    pub(crate) fn launch(&self, container: &Arc<Container>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            let result = actions.launch_blocking(&container);
            Input::Launched {
                id: container.id.clone(),
                result,
            }
        });
    }

    fn launch_blocking(&self, container: &Container) -> Result<Launched, LaunchFailure> {
        let shared = &self.shared;
        let directory = self.directory(&container.id);
        let layers = shared
            .images
            .container_layers(&container.image_id, &directory)
            .map_err(image_failure)?;
        let layers = berth_exec::RootLayers {
            lower: layers.lower,
            upper: layers.upper,
            work: layers.work,
            volatile: container.host_config.auto_remove,
        };
        let root = Root::mount(&layers).map_err(host_failure)?;
        let accounts = root.account_files().map_err(host_failure)?;
        let ports = choose_ports(&container.spec)?;
        let placement = self.placement(container, directory, accounts, &ports);
        let plan = berth_plan::plan(&container.spec, &shared.facts, &placement).map_err(plan_failure)?;
        self.record(&container.id, &plan, ports)?;
        let started = shared.launcher.start(&plan, root).map_err(launch_failure)?;
        Ok(Launched {
            pid: i64::from(started.pid),
            started_at: clock::nanos(started.started_at),
        })
    }

    /// Has the plan recorded, and waits for it.
    fn record(&self, id: &str, plan: &Plan, ports: Vec<PublishedAt>) -> Result<(), LaunchFailure> {
        let stopping = || LaunchFailure {
            message: "the engine is shutting down".to_owned(),
            kind: LaunchFailureKind::Host,
        };
        let (recorded, done) = std::sync::mpsc::sync_channel(1);
        let input = Input::Planned {
            id: id.to_owned(),
            plan: Box::new(plan.clone()),
            ports,
            recorded,
        };
        let inputs = self.shared.inputs.upgrade().ok_or_else(stopping)?;
        inputs.blocking_send(input).map_err(|_| stopping())?;
        drop(inputs);
        done.recv().map_err(|_| stopping())
    }

    fn placement(
        &self,
        container: &Container,
        container_dir: PathBuf,
        accounts: AccountFiles,
        ports: &[PublishedAt],
    ) -> Placement {
        let endpoint = container
            .run
            .place
            .as_ref()
            .and_then(|place| place.endpoint.as_ref());
        Placement {
            container_dir,
            passwd: accounts.passwd,
            group: accounts.group,
            network: endpoint.map(|address| self.endpoint(&container.id, address)),
            resolv_conf: std::fs::read_to_string(RESOLV_CONF).unwrap_or_default(),
            cgroup_parent: self.shared.cgroup_parent.clone(),
            ports: published(&container.spec, ports),
        }
    }

    fn endpoint(&self, id: &str, address: &Address) -> Endpoint {
        Endpoint {
            address: address.address,
            prefix_len: address.prefix_len,
            gateway: address.gateway,
            mac: mac_of(address.address),
            bridge: self.shared.bridge.clone(),
            host_interface: interface_of(id, address.address),
        }
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

    /// Undoes what the host holds of an ended run: `Cleaned` comes back. Its network takes a little longer, and nobody
    /// has to wait for that: `Disconnected` comes when its address may be given away.
    pub(crate) fn clean(&self, container: &Arc<Container>) {
        let container = Arc::clone(container);
        self.spawn(move |actions| {
            actions.undo(&container, Launcher::release);
            let endpoint = container
                .run
                .place
                .as_ref()
                .and_then(|place| place.endpoint.as_ref());
            if let Some(address) = endpoint.map(|endpoint| endpoint.address) {
                actions.disconnect(&container, address);
            }
            Input::Cleaned {
                id: container.id.clone(),
            }
        });
    }

    fn disconnect(&self, container: &Arc<Container>, address: Ipv4Addr) {
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
            Input::Disconnected { address }
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

    /// Starts another process in a container. How it went is told to the event loop too.
    pub(crate) async fn launch_exec(
        &self,
        container: &Arc<Container>,
        spec: ExecSpec,
    ) -> Result<(), Failure> {
        let (actions, container) = (self.clone(), Arc::clone(container));
        let id = spec.id.clone();
        let launched = self
            .blocking(move || actions.launch_exec_blocking(&container, &spec))
            .await?;
        let result = match &launched {
            Ok(pid) => Ok(*pid),
            Err(failure) => Err(exec_exit_code(failure.kind)),
        };
        report(&self.shared.inputs, Input::ExecLaunched { id, result }).await;
        launched.map(drop).map_err(Failure::Launch)
    }

    fn launch_exec_blocking(&self, container: &Container, spec: &ExecSpec) -> Result<i64, LaunchFailure> {
        let shared = &self.shared;
        // If the number is somebody else's by now, the keeper does not know the container any more either.
        let root = Root::of_process(u32::try_from(container.run.pid).unwrap_or_default());
        let accounts = root.and_then(|root| root.account_files()).map_err(host_failure)?;
        let placement = ExecPlacement {
            passwd: accounts.passwd,
            group: accounts.group,
            cgroup_parent: shared.cgroup_parent.clone(),
        };
        let plan = berth_plan::plan_exec(&container.spec, &shared.facts, spec, &placement);
        let plan = plan.map_err(plan_failure)?;
        let started = shared.launcher.add(&plan).map_err(launch_failure)?;
        Ok(i64::from(started.pid))
    }

    /// An exec that has begun cannot be launched.
    pub(crate) async fn exec_failed(&self, id: &str) {
        let result = Err(exec_exit_code(LaunchFailureKind::Host));
        let id = id.to_owned();
        report(&self.shared.inputs, Input::ExecLaunched { id, result }).await;
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

/// The hardware address that goes with an IP address: locally administered, the same for the same address.
pub(crate) fn mac_of(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}

/// The host's end of a network pair. Another run has another name: the pair of the last one may still be going away.
fn interface_of(id: &str, address: Ipv4Addr) -> String {
    let [.., c, d] = address.octets();
    format!("veth{}{c:02x}{d:02x}", &id[..INTERFACE_DIGITS])
}

/// Gives a host port to every published port that has none. The port is free now; the launch reserves it and fails
/// if somebody was quicker.
fn choose_ports(spec: &Spec) -> Result<Vec<PublishedAt>, LaunchFailure> {
    let chosen = |wish: &PublishedPort| {
        let protocol = wish.protocol.to_string();
        let host_port = match wish.host_port {
            0 => free_port(&protocol, wish.host_ip).map_err(|error| LaunchFailure {
                message: format!("no free port for {}/{protocol}: {error}", wish.container_port),
                kind: LaunchFailureKind::Host,
            })?,
            port => port,
        };
        Ok(PublishedAt {
            container_port: wish.container_port,
            protocol,
            host_ip: wish.host_ip,
            host_port,
        })
    };
    spec.published.iter().map(chosen).collect()
}

fn free_port(protocol: &str, address: Ipv4Addr) -> std::io::Result<u16> {
    let any = SocketAddr::new(IpAddr::V4(address), 0);
    let bound = if protocol == "udp" {
        UdpSocket::bind(any)?.local_addr()?
    } else {
        TcpListener::bind(any)?.local_addr()?
    };
    Ok(bound.port())
}

/// The wishes of the specification with the ports that they got.
fn published(spec: &Spec, ports: &[PublishedAt]) -> Vec<PublishedPort> {
    let fill = |(wish, got): (&PublishedPort, &PublishedAt)| PublishedPort {
        host_port: got.host_port,
        ..wish.clone()
    };
    spec.published.iter().zip(ports).map(fill).collect()
}

fn host_failure(error: ExecError) -> LaunchFailure {
    LaunchFailure {
        message: chain(&error),
        kind: LaunchFailureKind::Host,
    }
}

fn image_failure(error: ImageError) -> LaunchFailure {
    LaunchFailure {
        message: chain(&error),
        kind: LaunchFailureKind::Host,
    }
}

fn plan_failure(error: PlanError) -> LaunchFailure {
    LaunchFailure {
        message: chain(&error),
        kind: LaunchFailureKind::BadRequest,
    }
}

fn launch_failure(error: LaunchError) -> LaunchFailure {
    let kind = match &error {
        LaunchError::NotFound(_) => LaunchFailureKind::CommandNotFound,
        LaunchError::PermissionDenied(_) => LaunchFailureKind::CommandNotExecutable,
        LaunchError::Malformed { .. } => LaunchFailureKind::BadRequest,
        LaunchError::Host { .. }
        | LaunchError::Stage { .. }
        | LaunchError::Killed
        | LaunchError::Keeper(_) => LaunchFailureKind::Host,
    };
    LaunchFailure {
        message: chain(&error),
        kind,
    }
}

/// What stands for an exec whose command did not start: Docker knows two kinds.
fn exec_exit_code(kind: LaunchFailureKind) -> i64 {
    match kind {
        LaunchFailureKind::CommandNotFound => 127,
        LaunchFailureKind::CommandNotExecutable | LaunchFailureKind::BadRequest | LaunchFailureKind::Host => {
            126
        }
    }
}

/// An error with its causes in one line: the record keeps text only.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
