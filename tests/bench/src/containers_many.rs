//! Many containers: at once, in memory, and processes that are added to one that runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use berth_harness::request_unix_within;
use serde_json::Value;

use crate::containers::{Daemon, JSON, ROUNDS};
use crate::figures::{median, table};

/// Containers at once.
const CROWD: usize = 100;
/// Measured rounds of them with Berth; with docker, which takes seconds a round, it is one.
const CROWDS: usize = 5;
/// Containers that run while memory is read.
const SLEEPERS: usize = 50;
/// Looks for the end of a process that has closed its output.
const LOOKS: u32 = 10_000;
/// Longest wait for one answer when all are at once.
const PATIENCE: Duration = Duration::from_secs(120);

impl Daemon {
    /// The same as [`Daemon::ask`] with more patience.
    pub(crate) fn ask_long(
        &self,
        method: &str,
        target: &str,
        body: &str,
        good: u16,
    ) -> anyhow::Result<Value> {
        let answer = request_unix_within(&self.socket, method, target, &JSON, body.as_bytes(), PATIENCE)?;
        ensure!(
            answer.status == good,
            "{} {method} {target}: {} {}",
            self.name,
            answer.status,
            answer.text()
        );
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// Makes and starts a container; its id.
    pub(crate) fn start(&self, command: &[&str], more: &str) -> anyhow::Result<String> {
        let command = serde_json::to_string(command)?;
        let body = format!(
            r#"{{"Image":"app","Cmd":{command},"ExposedPorts":{{"80/tcp":{{}}}},
            "HostConfig":{{"NetworkMode":"{}"{more}}}}}"#,
            self.network
        );
        let made = self.ask_long("POST", "/v1.41/containers/create", &body, 201)?;
        let id = made["Id"].as_str().context("no id")?.to_owned();
        self.ask_long("POST", &format!("/v1.41/containers/{id}/start"), "", 204)?;
        Ok(id)
    }

    pub(crate) fn remove(&self, id: &str) -> anyhow::Result<()> {
        self.ask_long("DELETE", &format!("/v1.41/containers/{id}?force=1"), "", 204)
            .map(drop)
    }

    /// Milliseconds from the first request until the last of [`CROWD`] containers has ended.
    fn crowd(&self) -> anyhow::Result<f64> {
        let one = || -> anyhow::Result<String> {
            let id = self.start(&["true"], "")?;
            self.ask_long("POST", &format!("/v1.41/containers/{id}/wait"), "", 200)?;
            Ok(id)
        };
        let begun = Instant::now();
        let ids = std::thread::scope(|scope| {
            let all: Vec<_> = (0..CROWD).map(|_| scope.spawn(one)).collect();
            all.into_iter()
                .map(|one| one.join().expect("a client does not panic"))
                .collect::<anyhow::Result<Vec<_>>>()
        })?;
        let time = begun.elapsed();
        ids.iter().try_for_each(|id| self.remove(id))?;
        Ok(time.as_secs_f64() * 1e3)
    }

    /// Milliseconds to add `true` to a container: create, start, and wait for its end.
    fn exec(&self, id: &str) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let wish = r#"{"Cmd":["true"],"AttachStdout":true}"#;
        let made = self.ask_long("POST", &format!("/v1.41/containers/{id}/exec"), wish, 201)?;
        let exec = made["Id"].as_str().context("no id")?.to_owned();
        // The answer ends with the process, of whose end docker may hear a little later.
        self.ask_long("POST", &format!("/v1.41/exec/{exec}/start"), "{}", 200)?;
        for _ in 0..LOOKS {
            let end = self.ask_long("GET", &format!("/v1.41/exec/{exec}/json"), "", 200)?;
            if end["Running"] == false {
                ensure!(end["ExitCode"] == 0, "{end}");
                return Ok(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
        bail!("{}: a process that was added does not end", self.name)
    }
}

/// Proportional memory of processes, in KiB.
fn proportional(processes: &[u32]) -> f64 {
    let of = |process: &u32| -> Option<f64> {
        let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
        line.trim().trim_end_matches(" kB").trim().parse().ok()
    };
    processes.iter().filter_map(of).sum()
}

/// The processes of a daemon: those that name its directory, and a keeper that it started.
fn processes(place: &str, daemon: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t"));
        let keeper = words.starts_with("berth-keeper") && parent == Some(&daemon.to_string());
        if process == daemon || keeper || (words.contains(place) && process != std::process::id()) {
            found.push(process);
        }
    }
    found
}

/// KiB for each running container beyond its own process.
fn memory(daemon: &Daemon, place: &Path, process: u32) -> anyhow::Result<f64> {
    let place = place.to_string_lossy();
    let before = proportional(&processes(&place, process));
    let start = |_| daemon.start(&["sleep", "1000"], "");
    let ids = (0..SLEEPERS).map(start).collect::<anyhow::Result<Vec<_>>>()?;
    let after = proportional(&processes(&place, process));
    ids.iter().try_for_each(|id| daemon.remove(id))?;
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    Ok((after - before) / SLEEPERS as f64)
}

/// What tells a daemon's processes from others: a path in their arguments, and the daemon itself.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    pub(crate) process: u32,
}

/// Measures each daemon and prints a table; the second is docker, and the third is the first with a network.
pub(crate) fn run(daemons: &[Daemon], places: &[Place]) -> anyhow::Result<()> {
    // Before the crowds, after which a daemon has more memory than it needs.
    let mut grown = Vec::new();
    for (daemon, place) in daemons.iter().zip(places) {
        grown.push(memory(daemon, &place.path, place.process)?);
    }
    let mut rows = Vec::new();
    let grown = grown.into_iter().map(Some).chain(std::iter::repeat(None));
    for (daemon, grown) in daemons.iter().zip(grown) {
        let crowds = if daemon.is_docker() { 1 } else { CROWDS };
        let crowd = (0..crowds)
            .map(|_| daemon.crowd())
            .collect::<anyhow::Result<Vec<_>>>()?;
        let beside = daemon.start(&["sleep", "1000"], "")?;
        let execs = (0..=ROUNDS)
            .map(|_| daemon.exec(&beside))
            .collect::<anyhow::Result<Vec<_>>>()?;
        daemon.remove(&beside)?;
        rows.push((daemon.name, [Some(median(crowd)), Some(median(execs)), grown]));
    }
    let docker = rows.get(1).map_or([None; 3], |(_, figures)| *figures);
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, figures)| {
            let cells = figures.iter().zip(docker).flat_map(|(ours, theirs)| {
                let text = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
                let plain = ours.map_or("-".to_owned(), |ours| format!("{ours:.1}"));
                [plain, text(ours.zip(theirs).map(|(ours, theirs)| ours / theirs))]
            });
            std::iter::once(name.to_owned()).chain(cells).collect()
        })
        .collect();
    let crowd = format!("{CROWD} at once, ms until the last has ended");
    let memory = format!("KiB for each of {SLEEPERS} running, without its own");
    table(
        &[
            "many",
            &crowd,
            "of docker",
            "exec of `true`, ms",
            "of docker",
            &memory,
            "of docker",
        ],
        &rows,
    );
    Ok(())
}
