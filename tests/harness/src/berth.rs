//! The berth binary: a client command line, a store, an engine.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::leftovers::Leftovers;
use crate::process::{Finished, Process, run};
use crate::scratch::Scratch;
use crate::wait::until;

/// Longest time from exec to the ready line, on a busy machine.
const LONGEST_START: Duration = Duration::from_secs(30);
/// Longest time of a client command.
const LONGEST_COMMAND: Duration = Duration::from_secs(60);

/// The binary under test. Suites pass `env!("CARGO_BIN_EXE_berth")`.
#[derive(Debug, Clone)]
pub struct Berth {
    program: PathBuf,
}

impl Berth {
    /// The binary at `program`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// The path of the binary.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// A command line with none of the caller's BERTH_* settings.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command line to its end.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(
            self.command(arguments).stdin(std::process::Stdio::null()),
            LONGEST_COMMAND,
        )
    }
}

/// The value after `name=` in the ready line of a server's log.
fn ready_value(log: &str, name: &str) -> Option<String> {
    let line = log
        .lines()
        .rfind(|line| line.contains("ready") && line.contains(&format!("{name}=")))?;
    let rest = line.split(&format!("{name}=")).nth(1)?;
    Some(rest.split_whitespace().next()?.trim_matches('"').to_owned())
}

fn wait_ready(process: &mut Process, from: usize, name: &str) -> String {
    until("the server's ready line", LONGEST_START, || {
        let log = process.output();
        if let Some(status) = process.ended() {
            panic!("the server ended with {status}:\n{log}");
        }
        ready_value(log.get(from..)?, name)
    })
}

/// A `berth store` process.
#[derive(Debug)]
pub struct Store {
    berth: Berth,
    data: PathBuf,
    log: PathBuf,
    extra: Vec<String>,
    process: Process,
    address: SocketAddr,
}

impl Store {
    /// Starts a one-member store with its data in the scratch directory and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(berth: &Berth, scratch: &Scratch) -> Self {
        Self::start_in(berth, &scratch.join("store"), &[])
    }

    /// The same with data in `data` and more flags.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_in(berth: &Berth, data: &Path, extra: &[&str]) -> Self {
        Self::start_at(berth, data, "127.0.0.1:0", extra)
    }

    /// The same with a client address of the caller's choice.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_at(berth: &Berth, data: &Path, listen: &str, extra: &[&str]) -> Self {
        let log = data.with_extension("log");
        let extra: Vec<String> = extra.iter().map(|flag| (*flag).to_owned()).collect();
        let from = std::fs::metadata(&log).map_or(0, |known| usize::try_from(known.len()).unwrap());
        let mut process = Self::spawn(berth, data, &log, listen, &extra);
        let address = first_address(&wait_ready(&mut process, from, "client"));
        Self {
            berth: berth.clone(),
            data: data.to_path_buf(),
            log,
            extra,
            process,
            address,
        }
    }

    fn spawn(berth: &Berth, data: &Path, log: &Path, listen: &str, extra: &[String]) -> Process {
        let mut command =
            berth.command(&["store", "--listen-client", listen, "--listen-peer", "127.0.0.1:0"]);
        command.arg("--data-dir").arg(data).args(extra);
        Process::start(&mut command, log)
    }

    /// Starts it again on the same data and the same port after [`Store::kill`] or [`Store::stop`].
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn restart(&mut self) {
        let from = self.process.output().len();
        self.process = Self::spawn(
            &self.berth,
            &self.data,
            &self.log,
            &self.address.to_string(),
            &self.extra,
        );
        wait_ready(&mut self.process, from, "client");
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; the exit must be clean.
    ///
    /// # Panics
    /// When the exit status is not 0.
    pub fn stop(&mut self) {
        let status = self.process.stop();
        assert!(
            status.success(),
            "the store ended with {status}:\n{}",
            self.process.output()
        );
    }

    /// The client address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The client URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

fn first_address(list: &str) -> SocketAddr {
    let first = list.split(',').next().unwrap_or_default();
    first
        .parse()
        .unwrap_or_else(|error| panic!("not an address ({error}): {list}"))
}

/// A `berth engine` process with a bridge, table, cgroup and subnet of its own. Dropping it removes them all.
#[derive(Debug)]
pub struct Engine {
    berth: Berth,
    scratch_path: PathBuf,
    name: String,
    subnet: String,
    extra: Vec<String>,
    process: Process,
}

impl Engine {
    /// Starts an engine and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start(berth: &Berth, scratch: &Scratch, extra: &[&str]) -> Self {
        let (name, subnet) = (scratch.name(), scratch.subnet());
        let extra: Vec<String> = extra.iter().map(|flag| (*flag).to_owned()).collect();
        let path = scratch.path().to_path_buf();
        let mut process = Self::spawn(berth, &path, &name, &subnet, &extra);
        wait_ready(&mut process, 0, "socket");
        Self {
            berth: berth.clone(),
            scratch_path: path,
            name,
            subnet,
            extra,
            process,
        }
    }

    fn spawn(berth: &Berth, path: &Path, name: &str, subnet: &str, extra: &[String]) -> Process {
        let mut command = berth.command(&["engine"]);
        command
            .arg("--data-dir")
            .arg(path.join("engine"))
            .arg("--run-dir")
            .arg(path.join("run"))
            .arg("--socket")
            .arg(path.join("berth.sock"))
            .args([
                "--bridge",
                name,
                "--table",
                name,
                "--cgroup-parent",
                name,
                "--subnet",
                subnet,
            ])
            .args(extra);
        Process::start(&mut command, &path.join("engine.log"))
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.scratch_path.join("berth.sock")
    }

    /// The socket as docker's `-H` takes it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// SIGKILL of the engine; its containers go on.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; the exit must be clean.
    ///
    /// # Panics
    /// When the exit status is not 0.
    pub fn stop(&mut self) {
        let status = self.process.stop();
        assert!(
            status.success(),
            "the engine ended with {status}:\n{}",
            self.process.output()
        );
    }

    /// Starts it again on the same data.
    ///
    /// # Panics
    /// When it does not become ready.
    pub fn restart(&mut self) {
        let from = self.process.output().len();
        self.process = Self::spawn(
            &self.berth,
            &self.scratch_path,
            &self.name,
            &self.subnet,
            &self.extra,
        );
        wait_ready(&mut self.process, from, "socket");
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What of it is on the host.
    #[must_use]
    pub fn leftovers(&self) -> Leftovers {
        Leftovers::of(&[&self.name, &self.scratch_path.to_string_lossy()])
    }

    /// Stops every container and removes everything of this engine from the host, whatever state it is in.
    pub fn teardown(&mut self) {
        if self.process.ended().is_none() {
            self.process.kill();
        }
        let extra: Vec<String> = self
            .extra
            .iter()
            .cloned()
            .chain(["--stop-containers".to_owned()])
            .collect();
        let from = self.process.output().len();
        self.process = Self::spawn(&self.berth, &self.scratch_path, &self.name, &self.subnet, &extra);
        let ready = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            wait_ready(&mut self.process, from, "socket")
        }));
        if ready.is_ok() {
            self.process.stop();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.leftovers().0.is_empty() {
            self.teardown();
        }
    }
}
