//! Starting and stopping an engine: puts the parts together and takes them apart.

use std::collections::HashMap;
use std::fs::{DirBuilder, File};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use berth_exec::{Adopted, BridgeConfig, HostConfig, Launcher, Report};
use berth_images::ImageStore;
use berth_plan::Facts;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{RwLock, Semaphore, mpsc, watch};

use crate::actions::{self, Actions, ChosenPorts, InitProgram, Shared};
use crate::config::{EngineConfig, Subnet};
use crate::dns::Resolvers;
use crate::error::EngineError;
use crate::event_loop::EventLoop;
use crate::events::Events;
use crate::execs::Execs;
use crate::handle::{Change, Handle, Input, QUEUE};
use crate::http::{Api, Identity, MAX_ATTACHED};
use crate::networks::{Network, Networks};
use crate::records::Records;
use crate::recover::{Recovered, recover};
use crate::registration::Registration;
use crate::socket;
use crate::volumes::Volumes;

/// The built-in image's name.
const BUILTIN: &str = "berth/hello:latest";

/// What happens to running containers when the engine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// They run on, and the next engine on the same directories adopts them.
    KeepContainers,
    /// They are stopped, and bridge, table and cgroups are removed.
    StopAndTeardown,
}

/// A running engine. Dropping it without [`Engine::shutdown`] leaves containers running, as a crash does.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    actions: Actions,
    registrations: watch::Receiver<Arc<Vec<Registration>>>,
    stop: watch::Sender<bool>,
    server: tokio::task::JoinHandle<()>,
    event_loop: JoinHandle<()>,
    socket: PathBuf,
    tcp_addrs: Vec<SocketAddr>,
    /// Held as long as the engine lives.
    _lock: File,
}

/// What blocking preparation comes to.
struct Prepared {
    event_loop: EventLoop,
    actions: Actions,
    facts: Arc<Facts>,
    events: Arc<Events>,
    registrations: watch::Receiver<Arc<Vec<Registration>>>,
    doomed: Vec<String>,
    due: Vec<String>,
    lock: File,
}

impl Engine {
    /// Starts an engine: takes the directories, adopts what runs, serves the socket.
    ///
    /// # Errors
    /// Whatever is missing, in use or unreadable, by name; nothing is left running then.
    pub async fn start(config: EngineConfig) -> Result<Self, EngineError> {
        let subnet: Subnet = config.subnet.parse()?;
        // Certificates that cannot be used are told before anything is bound.
        let tcp = socket::bind_tcp(config.tcp.as_ref()).await?;
        let tcp_addrs = tcp.as_ref().map(socket::TcpPorts::addrs).unwrap_or_default();
        let listener = socket::bind(&config.socket, config.socket_group.as_deref())?;
        let (inputs, queue) = mpsc::channel(QUEUE);
        let weak = inputs.downgrade();
        let runtime = tokio::runtime::Handle::current();
        let settings = config.clone();
        let prepared = tokio::task::spawn_blocking(move || prepare(&settings, subnet, runtime, weak)).await;
        let prepared = prepared
            .map_err(|_| EngineError::Stopped)
            .and_then(|prepared| prepared)
            .inspect_err(|_| {
                // Nobody will answer there.
                drop(std::fs::remove_file(&config.socket));
            })?;
        let handle = Handle::new(inputs, Arc::clone(&prepared.facts));
        let event_loop = prepared.event_loop;
        let event_loop = std::thread::Builder::new()
            .name("engine-loop".to_owned())
            .spawn(move || event_loop.run(queue))
            .map_err(EngineError::Thread)?;
        let api = Arc::new(Api {
            handle: handle.clone(),
            actions: prepared.actions.clone(),
            events: prepared.events,
            identity: Identity {
                version: config.version.clone(),
                git_commit: config.git_commit.clone(),
                data_dir: config.data_dir.to_string_lossy().into_owned(),
                cgroup_version: if prepared.facts.cgroup.is_v2() { "2" } else { "1" },
            },
            image_gate: RwLock::new(()),
            attach_places: Arc::new(Semaphore::new(MAX_ATTACHED)),
        });
        let (stop, stopped) = watch::channel(false);
        let server = tokio::spawn(socket::serve(listener, tcp, api, stopped));
        tokio::spawn(remove_all(handle.clone(), prepared.doomed));
        tokio::spawn(start_all(handle.clone(), prepared.due));
        Ok(Self {
            handle,
            actions: prepared.actions,
            registrations: prepared.registrations,
            stop,
            server,
            event_loop,
            socket: config.socket,
            tcp_addrs,
            _lock: prepared.lock,
        })
    }

    /// The TCP ports of the API as they were bound.
    #[must_use]
    pub fn tcp_addrs(&self) -> &[SocketAddr] {
        &self.tcp_addrs
    }

    /// All running containers that have an address, after every change.
    #[must_use]
    pub fn registrations(&self) -> watch::Receiver<Arc<Vec<Registration>>> {
        self.registrations.clone()
    }

    /// Stops the engine. Without a running container everything is torn down in either mode.
    ///
    /// # Errors
    /// What of the host could not be removed.
    pub async fn shutdown(self, mode: ShutdownMode) -> Result<(), EngineError> {
        self.stop.send_replace(true);
        let busy = self.handle.close().await.unwrap_or_default();
        if mode == ShutdownMode::StopAndTeardown {
            stop_all(&self.handle, &busy).await;
        }
        drop(self.server.await);
        drop(std::fs::remove_file(&self.socket));
        self.handle.halt().await;
        let event_loop = self.event_loop;
        drop(tokio::task::spawn_blocking(move || event_loop.join()).await);
        let teardown = mode == ShutdownMode::StopAndTeardown || busy.is_empty();
        let actions = self.actions;
        let ended = tokio::task::spawn_blocking(move || actions.end(teardown)).await;
        ended
            .map_err(|_| EngineError::Stopped)?
            .map_err(EngineError::Host)
    }
}

async fn stop_all(handle: &Handle, ids: &[String]) {
    let stops = ids.iter().map(|id| async move {
        if let Err(error) = handle
            .change(
                id,
                Change::Stop {
                    signal: None,
                    grace: None,
                },
            )
            .await
        {
            tracing::warn!(container = id, %error, "container was not stopped");
        }
    });
    futures_util::future::join_all(stops).await;
}

async fn start_all(handle: Handle, ids: Vec<String>) {
    for id in ids {
        if let Err(error) = handle.change(&id, Change::Start).await {
            tracing::warn!(container = id, %error, "container was not started with the engine");
        }
    }
}

async fn remove_all(handle: Handle, ids: Vec<String>) {
    for id in ids {
        if let Err(error) = handle.change(&id, Change::Remove { force: true }).await {
            tracing::warn!(container = id, %error, "container was not removed");
        }
    }
}

fn prepare(
    config: &EngineConfig,
    subnet: Subnet,
    runtime: tokio::runtime::Handle,
    inputs: mpsc::WeakSender<Input>,
) -> Result<Prepared, EngineError> {
    make_directory(&config.data_dir, 0o710)?;
    let lock = take_lock(&config.data_dir)?;
    // The socket may be in there too, and its group has to reach it; what the keeper has is for root alone.
    make_directory(&config.run_dir, 0o755)?;
    make_directory(&keeper_dir(config), 0o700)?;
    let containers_dir = config.data_dir.join("containers");
    make_directory(&containers_dir, 0o710)?;
    let facts = Arc::new(berth_exec::facts().map_err(EngineError::Host)?);
    let mut records = Records::open(&config.data_dir)?;
    let images = ImageStore::open(&config.data_dir.join("images")).map_err(EngineError::Images)?;
    images
        .builtin(&config.executable, BUILTIN)
        .map_err(EngineError::Images)?;
    let volumes = Volumes::open(&config.data_dir.join("volumes"))?;
    let (launcher, adopted) = open_launcher(config, subnet, inputs.clone())?;
    let actions = Actions {
        shared: Arc::new(Shared {
            launcher,
            images,
            volumes,
            init: InitProgram::new(config.executable.clone(), config.data_dir.join("init")),
            facts: Arc::clone(&facts),
            resolvers: Resolvers::new(runtime.clone()),
            ports: ChosenPorts::default(),
            runtime,
            inputs,
            containers_dir,
            bridge: config.bridge.clone(),
            cgroup_parent: config.cgroup_parent.clone(),
        }),
    };
    let recorded = records.load_networks()?;
    for network in &recorded {
        actions.restore_network(network);
    }
    let mut networks = Networks::new(Network::own(subnet, &config.bridge), recorded);
    let Recovered {
        containers,
        names,
        doomed,
        due,
    } = recover(&mut records, adopted, &actions, &mut networks)?;
    let events = Arc::new(Events::new());
    let (registrations, published) = watch::channel(Arc::default());
    let event_loop = EventLoop {
        containers,
        names,
        execs: Execs::default(),
        networks,
        records,
        actions: actions.clone(),
        events: Arc::clone(&events),
        registrations,
        waiting: HashMap::new(),
        last_ticket: 0,
        closed: false,
    };
    Ok(Prepared {
        event_loop,
        actions,
        facts,
        events,
        registrations: published,
        doomed,
        due,
        lock,
    })
}

fn keeper_dir(config: &EngineConfig) -> PathBuf {
    config.run_dir.join("keeper")
}

fn open_launcher(
    config: &EngineConfig,
    subnet: Subnet,
    inputs: mpsc::WeakSender<Input>,
) -> Result<(Launcher, Vec<Adopted>), EngineError> {
    let host = HostConfig {
        run_dir: keeper_dir(config),
        executable: config.executable.clone(),
        bridge: BridgeConfig {
            name: config.bridge.clone(),
            address: subnet.gateway(),
            prefix_len: subnet.prefix_len,
        },
        table: config.table.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
    };
    let on_report = move |report: Report| {
        let Report::Exited { id, exit } = report;
        if let Some(inputs) = inputs.upgrade() {
            // Blocks the reader of reports, and so the keeper's queue, while the loop is behind. Nothing is lost.
            drop(inputs.blocking_send(Input::Exited {
                id,
                exit: actions::ended(&exit),
            }));
        }
    };
    Launcher::open(host, on_report).map_err(EngineError::Host)
}

fn make_directory(path: &Path, mode: u32) -> Result<(), EngineError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|source| EngineError::Path {
            path: path.to_owned(),
            action: "making the directory",
            source,
        })
}

/// Locks the data directory for this process.
fn take_lock(data_dir: &Path) -> Result<File, EngineError> {
    let path = data_dir.join("lock");
    let failed = |source| EngineError::Path {
        path: path.clone(),
        action: "locking",
        source,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(EngineError::DataDirInUse(data_dir.to_owned())),
        Err(error) => Err(failed(error.into())),
    }
}
