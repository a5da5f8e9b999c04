//! The demo's own store and engine: where they live, how they start, how they end.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use berth_sdk::{Endpoint, EngineClient, EtcdClient};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::janitor::JANITOR;
use crate::config;

/// Longest time from the start of a server to its ready line: the first start of an engine makes the built-in image.
const LONGEST_START: Duration = Duration::from_secs(30);

/// Longest time from the wish to end to the end: containers may take ten seconds each, all at once.
const LONGEST_END: Duration = Duration::from_secs(40);

/// How often a condition is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// The names of everything on the host, so that no two engines meet. Also kept in the directory for the janitor.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) directory: PathBuf,
    bridge: String,
    table: String,
    cgroup_parent: String,
    subnet: String,
}

/// The file with the names.
const NAMES: &str = "demo.json";

impl Names {
    pub(super) fn read(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(NAMES);
        let text = fs::read(&path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    }

    pub(super) fn engine_dir(&self) -> PathBuf {
        self.directory.join("engine")
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.directory.join("berth.sock")
    }

    /// The command line of the engine. It ends with its standard input and takes everything with it.
    pub(super) fn engine(&self, executable: &Path) -> Command {
        let mut command = Command::new(executable);
        command
            .arg("engine")
            .arg("--data-dir")
            .arg(self.engine_dir())
            .arg("--run-dir")
            .arg(self.directory.join("run"))
            .arg("--socket")
            .arg(self.socket())
            .args(["--bridge", &self.bridge])
            .args(["--subnet", &self.subnet])
            .args(["--table", &self.table])
            .args(["--cgroup-parent", &self.cgroup_parent])
            .args(["--stop-containers", "--until-stdin-ends"]);
        own_settings(&mut command);
        command
    }
}

/// Settings of the person's other berth must not reach this one; Ctrl-C reaches only the demo itself.
pub(super) fn own_settings(command: &mut Command) {
    use std::os::unix::process::CommandExt;
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BERTH_") {
            command.env_remove(name);
        }
    }
    command.process_group(0);
}

/// A server of the demo. Its standard input is held open for as long as it should live.
#[derive(Debug)]
struct Server {
    process: Child,
    /// Closed by the end of this process at the latest, whatever ends it.
    stdin: Option<ChildStdin>,
}

/// Everything that the demo has started.
#[derive(Debug)]
pub(crate) struct World {
    names: Names,
    executable: PathBuf,
    ttl: u64,
    store: Option<Server>,
    engine: Option<Server>,
    /// Bridge, table and cgroups may be there: an engine was started and has not ended cleanly.
    dirty: bool,
    janitor: Child,
    store_address: String,
}

impl World {
    /// Makes the directory and starts the janitor.
    pub(super) fn create(ttl: u64) -> anyhow::Result<Self> {
        let id = std::process::id();
        let directory = std::env::temp_dir().join(format!("berth-demo-{id}"));
        let directory = std::path::absolute(directory)?;
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        let names = Names {
            bridge: format!("bdemo{id}"),
            table: format!("berth-demo-{id}"),
            cgroup_parent: format!("berth-demo-{id}"),
            subnet: free_subnet(&routes, id)
                .context("every subnet that the demo could use is routed on this host")?,
            directory,
        };
        let executable = config::executable()?;
        DirBuilder::new()
            .mode(0o700)
            .create(&names.directory)
            .with_context(|| names.directory.display().to_string())?;
        fs::write(names.directory.join(NAMES), serde_json::to_vec_pretty(&names)?)?;
        let mut command = Command::new(&executable);
        command
            .arg(JANITOR)
            .arg(&names.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        own_settings(&mut command);
        let janitor = command.spawn().inspect_err(|_| {
            drop(fs::remove_dir_all(&names.directory));
        });
        Ok(Self {
            names,
            executable,
            ttl,
            store: None,
            engine: None,
            dirty: false,
            janitor: janitor.context("starting the janitor")?,
            store_address: String::new(),
        })
    }

    pub(super) fn ttl(&self) -> u64 {
        self.ttl
    }

    pub(super) fn directory(&self) -> &Path {
        &self.names.directory
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.names.socket()
    }

    pub(super) fn store_url(&self) -> String {
        format!("http://{}", self.store_address)
    }

    pub(super) fn store_client(&self) -> anyhow::Result<EtcdClient> {
        Ok(EtcdClient::from_list(&self.store_url())?)
    }

    pub(super) fn engine_client(&self) -> EngineClient {
        EngineClient::new(Endpoint::Unix(self.socket()))
    }

    pub(super) fn logs(&self) -> [PathBuf; 2] {
        [self.log("store"), self.log("engine")]
    }

    fn log(&self, name: &str) -> PathBuf {
        self.names.directory.join(format!("{name}.log"))
    }

    /// Starts the store on a free port.
    pub(super) async fn start_store(&mut self) -> anyhow::Result<()> {
        let mut command = Command::new(&self.executable);
        command
            .arg("store")
            .arg("--data-dir")
            .arg(self.names.directory.join("store"))
            .args(["--listen-client", "127.0.0.1:0", "--listen-peer", "127.0.0.1:0"])
            .arg("--until-stdin-ends");
        own_settings(&mut command);
        let mut server = self.spawn(command, "store")?;
        let ready = self.ready(&mut server, "store", "client=", 0).await;
        self.store = Some(server);
        self.store_address = ready?.split(',').next().unwrap_or_default().to_owned();
        Ok(())
    }

    /// Starts the engine, also again after a kill.
    pub(super) async fn start_engine(&mut self) -> anyhow::Result<()> {
        let mut command = self.names.engine(&self.executable);
        command
            .args(["--store", &self.store_url()])
            .args(["--ttl", &self.ttl.to_string()]);
        let from = fs::metadata(self.log("engine")).map_or(0, |log| log.len());
        self.dirty = true;
        let mut server = self.spawn(command, "engine")?;
        let ready = self.ready(&mut server, "engine", "socket=", from).await;
        self.engine = Some(server);
        ready.map(drop)
    }

    fn spawn(&mut self, mut command: Command, name: &str) -> anyhow::Result<Server> {
        let log = File::options().create(true).append(true).open(self.log(name))?;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log);
        let mut process = command.spawn().with_context(|| format!("starting the {name}"))?;
        let stdin = process.stdin.take();
        self.tell_janitor(&format!("{name} {}", process.id()))?;
        Ok(Server { process, stdin })
    }

    /// Waits for the ready line in the log after its first `from` bytes and returns the word after `field`.
    async fn ready(&self, server: &mut Server, name: &str, field: &str, from: u64) -> anyhow::Result<String> {
        let deadline = Instant::now() + LONGEST_START;
        let from = usize::try_from(from)?;
        loop {
            let log = fs::read_to_string(self.log(name))?;
            let mut lines = log.get(from..).unwrap_or_default().lines();
            if let Some(value) = lines.find_map(|line| ready_field(line, field)) {
                return Ok(value);
            }
            if let Some(status) = server.process.try_wait()? {
                bail!("the {name} ended with {status} before it was ready");
            }
            if Instant::now() > deadline {
                bail!("the {name} was not ready within {} s", LONGEST_START.as_secs());
            }
            sleep(LOOK).await;
        }
    }

    /// The process id of the engine.
    pub(super) fn engine_id(&self) -> Option<u32> {
        self.engine.as_ref().map(|server| server.process.id())
    }

    /// SIGKILL, to the engine alone.
    pub(super) fn kill_engine(&mut self) -> anyhow::Result<()> {
        if let Some(mut server) = self.engine.take() {
            server.process.kill()?;
            server.process.wait()?;
        }
        Ok(())
    }

    /// The janitor's standard input is its only source of news.
    fn tell_janitor(&mut self, line: &str) -> anyhow::Result<()> {
        // A line is far smaller than the buffer of a pipe: this never waits.
        let pipe = self.janitor.stdin.as_mut().context("the janitor is gone")?;
        pipe.write_all(format!("{line}\n").as_bytes())
            .context("the janitor is gone")
    }

    /// Ends everything and waits until nothing is left.
    pub(super) async fn end(&mut self) -> anyhow::Result<()> {
        if let Some(server) = self.engine.take()
            && end_server(server).await
        {
            self.dirty = false;
        }
        if let Some(server) = self.store.take() {
            end_server(server).await;
        }
        if !self.dirty {
            self.tell_janitor("clean")?;
        }
        drop(self.janitor.stdin.take());
        let ended = await_end(&mut self.janitor, super::janitor::LONGEST_WORK).await?;
        let status = ended.context("the janitor takes too long")?;
        if !status.success() {
            bail!("not everything could be removed");
        }
        Ok(())
    }
}

/// Ends a server by the end of its standard input; says whether it ended as it should.
async fn end_server(mut server: Server) -> bool {
    drop(server.stdin.take());
    match await_end(&mut server.process, LONGEST_END).await {
        Ok(Some(status)) => status.success(),
        Ok(None) => {
            drop(server.process.kill());
            drop(server.process.wait());
            false
        }
        Err(_) => false,
    }
}

/// Waits for the end of a process, `None` after the limit.
async fn await_end(process: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        let status = process.try_wait()?;
        if status.is_some() || Instant::now() > deadline {
            return Ok(status);
        }
        sleep(LOOK).await;
    }
}

fn ready_field(line: &str, field: &str) -> Option<String> {
    if !line.contains("ready") {
        return None;
    }
    let (_, rest) = line.split_once(field)?;
    let value = rest.split_whitespace().next()?.trim_matches('"');
    Some(value.to_owned())
}

/// A subnet that no route of this host overlaps. `routes` is the text of `/proc/net/route`; `seed` spreads demos that
/// run at the same time.
fn free_subnet(routes: &str, seed: u32) -> Option<String> {
    const CANDIDATES: u32 = 4096;
    const BASE: u32 = 0x0ac0_0000; // 10.192.0.0
    const PREFIX: u32 = 24;
    let routes: Vec<(u32, u32)> = routes
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let number = |word: &str| u32::from_str_radix(word, 16).ok().map(u32::swap_bytes);
            let destination = number(words.next()?)?;
            let mask = number(words.nth(5)?)?;
            Some((destination, mask))
        })
        // The default route overlaps everything and hinders nothing.
        .filter(|(_, mask)| *mask != 0)
        .collect();
    (0..CANDIDATES)
        .map(|number| BASE + (((seed.wrapping_add(number)) % CANDIDATES) << (32 - PREFIX)))
        .find(|candidate| {
            routes.iter().all(|(destination, mask)| {
                let both = mask & (u32::MAX << (32 - PREFIX));
                candidate & both != destination & both
            })
        })
        .map(|address| format!("{}/{PREFIX}", Ipv4Addr::from(address)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_subnet_is_found() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let default = "eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n";
        assert_eq!(
            free_subnet(&format!("{head}{default}"), 0).as_deref(),
            Some("10.192.0.0/24")
        );
        assert_eq!(free_subnet("", 258).as_deref(), Some("10.193.2.0/24"));
        // 10.192.0.0/16 is taken: the next one after it is free.
        let taken = "br0\t0000C00A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert_eq!(
            free_subnet(&format!("{head}{taken}"), 5).as_deref(),
            Some("10.193.0.0/24")
        );
        // 10.0.0.0/8 is taken.
        let all = "br0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0\n";
        assert_eq!(free_subnet(&format!("{head}{all}"), 5), None);
    }

    #[test]
    fn ready_lines_are_read() {
        let line = "2026-11-24T10:00:00Z  INFO store ready client=127.0.0.1:1,127.0.0.1:2 data=/x";
        assert_eq!(
            ready_field(line, "client=").as_deref(),
            Some("127.0.0.1:1,127.0.0.1:2")
        );
        assert_eq!(ready_field("getting client=x", "client="), None);
    }
}
