//! The composition root: starts store, engine and announcer, and ends them in the right order.

use std::path::Path;

use anyhow::{Context, bail};
use berth_engine::{Engine, ShutdownMode};
use berth_node::{Node, NodeConfig, Proxy, ProxyConfig};
use berth_sdk::EtcdClient;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncReadExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::announce::{Announcer, Book};
use crate::args::{DevArgs, EngineArgs, EngineFlags, Global, ProxyArgs, StoreArgs, StoreFlags};
use crate::exit::INTERRUPTED;
use crate::terminal::EndWish;
use crate::{config, log, notify, proxy, tls};

/// The list of registered keys, in the engine's data directory.
const BOOK: &str = "registered.json";

/// Runs a store and an engine that registers in it.
pub(crate) async fn dev(global: &Global, args: DevArgs) -> anyhow::Result<()> {
    let mut ending = begin(false)?;
    need_root()?;
    let config = config::node(&args.store, &args.data_dir.join("store"))?;
    let settings = config.tls.client.clone();
    let node = start_node(&mut ending, config).await?;
    let tls = tls::of_own_store(&settings)?;
    let store = EtcdClient::from_list(&node.client_urls().join(","))?.with_tls(tls);
    let data_dir = args.data_dir.join("engine");
    let half = match start_engine(&mut ending, global, &args.engine, &data_dir, Some(store)).await {
        Ok(half) => half,
        Err(error) => {
            ending.during(node.shutdown()).await;
            return Err(error);
        }
    };
    ending.wished().await;
    let ended = ending.during(half.end(&args.engine)).await;
    ending.during(node.shutdown()).await;
    ended
}

/// Runs a store.
pub(crate) async fn store(args: StoreArgs) -> anyhow::Result<()> {
    let mut ending = begin(args.until_stdin_ends)?;
    let node = start_store(&mut ending, &args.store, &args.data_dir).await?;
    notify::ready();
    ending.wished().await;
    ending.during(node.shutdown()).await;
    Ok(())
}

/// Runs an engine.
pub(crate) async fn engine(global: &Global, args: EngineArgs) -> anyhow::Result<()> {
    let mut ending = begin(args.until_stdin_ends)?;
    need_root()?;
    let store = args.store.as_deref().map(EtcdClient::from_list).transpose();
    let store_tls = tls::of_engine(&args.store_tls)?;
    let store = store.context("--store")?.map(|store| store.with_tls(store_tls));
    if store.is_none() {
        tracing::warn!("no --store is given: containers are not registered");
    }
    let half = start_engine(&mut ending, global, &args.engine, &args.data_dir, store).await?;
    ending.wished().await;
    ending.during(half.end(&args.engine)).await
}

fn begin(until_stdin_ends: bool) -> anyhow::Result<Ending> {
    log::to_stderr();
    Ending::new(until_stdin_ends)
}

/// Runs a member of a store, to its end. The log is there already.
pub(crate) fn member(config: NodeConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut ending = Ending::new(false)?;
        let node = start_node(&mut ending, config).await?;
        notify::ready();
        ending.wished().await;
        ending.during(node.shutdown()).await;
        Ok(())
    })
}

/// Runs a gateway.
pub(crate) async fn proxy(global: &Global, args: &ProxyArgs) -> anyhow::Result<()> {
    let ending = begin(false)?;
    forward(ending, proxy::settings(global, args)?).await
}

/// Runs a gateway, to its end. The log is there already.
pub(crate) fn gateway(config: ProxyConfig) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async { forward(Ending::new(false)?, config).await })
}

async fn forward(mut ending: Ending, config: ProxyConfig) -> anyhow::Result<()> {
    let gateway = ending.during(Proxy::start(config)).await?;
    let addresses: Vec<String> = gateway.addrs().iter().map(ToString::to_string).collect();
    tracing::info!(client = %addresses.join(","), "gateway ready");
    notify::ready();
    ending.wished().await;
    ending.during(gateway.shutdown()).await;
    Ok(())
}

/// Each watcher, client and container costs a descriptor; the default of 1024 is for programs of another kind.
fn raise_file_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard {
            setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        } else {
            Ok(())
        }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files was not raised");
    }
}

fn need_root() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("the engine makes namespaces, mounts and networks: run it as root");
    }
    Ok(())
}

async fn start_store(ending: &mut Ending, flags: &StoreFlags, data_dir: &Path) -> anyhow::Result<Node> {
    start_node(ending, config::node(flags, data_dir)?).await
}

async fn start_node(ending: &mut Ending, config: NodeConfig) -> anyhow::Result<Node> {
    tls::make_own(&config)?;
    let data_dir = config.data_dir.clone();
    let node = ending.during(Node::start(config)).await?;
    let addresses: Vec<String> = node.client_addrs().iter().map(ToString::to_string).collect();
    tracing::info!(client = %addresses.join(","), data = %data_dir.display(), "store ready");
    Ok(node)
}

/// An engine and what keeps its keys.
struct EngineHalf {
    engine: Engine,
    announcer: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

async fn start_engine(
    ending: &mut Ending,
    global: &Global,
    flags: &EngineFlags,
    data_dir: &Path,
    store: Option<EtcdClient>,
) -> anyhow::Result<EngineHalf> {
    let config = config::engine(global, flags, data_dir)?;
    let (socket, data_dir) = (config.socket.clone(), config.data_dir.clone());
    let engine = ending.during(Engine::start(config)).await?;
    let book = match Book::open(&data_dir.join(BOOK)) {
        Ok(book) => book,
        Err(error) => {
            ending
                .during(engine.shutdown(ShutdownMode::KeepContainers))
                .await?;
            return Err(error);
        }
    };
    let announcer = store.map(|store| {
        let store = config::with_user(store, flags.store_username.as_deref());
        let announcer = Announcer::new(store, &flags.prefix, flags.ttl, book);
        let (stop, stopped) = oneshot::channel();
        (stop, tokio::spawn(announcer.run(engine.registrations(), stopped)))
    });
    if !engine.tcp_addrs().is_empty() {
        let addresses: Vec<String> = engine.tcp_addrs().iter().map(ToString::to_string).collect();
        tracing::info!(tcp = %addresses.join(","), "engine listens, for clients with certificates");
    }
    tracing::info!(socket = %socket.display(), data = %data_dir.display(), "engine ready");
    Ok(EngineHalf { engine, announcer })
}

impl EngineHalf {
    /// The keys go first: nobody should be sent to a container that is about to end.
    async fn end(self, flags: &EngineFlags) -> anyhow::Result<()> {
        if let Some((stop, announcer)) = self.announcer {
            // An announcer that has ended already needs no stop.
            let _ = stop.send(());
            drop(announcer.await);
        }
        let mode = if flags.stop_containers {
            ShutdownMode::StopAndTeardown
        } else {
            ShutdownMode::KeepContainers
        };
        self.engine.shutdown(mode).await.context("ending the engine")
    }
}

/// The wish to end, by signal or by the end of standard input.
struct Ending {
    wish: EndWish,
    stdin: Option<JoinHandle<()>>,
    wished: bool,
}

impl Ending {
    fn new(until_stdin_ends: bool) -> anyhow::Result<Self> {
        raise_file_limit();
        Ok(Self {
            wish: EndWish::new()?,
            stdin: until_stdin_ends.then(|| tokio::spawn(stdin_end())),
            wished: false,
        })
    }

    /// Carries on with `work` to its end. A first wish is kept for later, a second one ends the process at once.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                signal = self.wish.next() => {
                    if std::mem::replace(&mut self.wished, true) {
                        tracing::warn!(signal, "ending at once");
                        std::process::exit(i32::from(INTERRUPTED));
                    }
                    tracing::info!(signal, "ending; once more ends at once");
                }
            }
        }
    }

    /// Waits for the wish.
    async fn wished(&mut self) {
        if self.wished {
            return;
        }
        let reason = match &mut self.stdin {
            None => self.wish.next().await,
            Some(stdin) => tokio::select! {
                signal = self.wish.next() => signal,
                _ = stdin => "the end of standard input",
            },
        };
        self.wished = true;
        tracing::info!(reason, "ending");
    }
}

/// Returns when standard input ends.
async fn stdin_end() {
    let mut stdin = tokio::io::stdin();
    let mut sink = [0; 256];
    while let Ok(1..) = stdin.read(&mut sink).await {}
}
