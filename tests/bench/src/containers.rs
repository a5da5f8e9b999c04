//! Start of a container that does nothing: through the API beside dockerd, and beside the commands crun and runc.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use berth_harness::{Berth, Engine, Process, Scratch, busybox_rootfs, request_unix, until};
use serde_json::Value;

use crate::containers_many::Place;
use crate::figures::{median, resident_mebibytes, table};
use crate::{containers_flow, containers_many};

/// Measured rounds of each row; the first of all is thrown away.
pub(crate) const ROUNDS: usize = 50;
/// The hidden word with which the benchmark times commands in a mount namespace of its own.
pub(crate) const INSIDE: &str = "__time";

pub(crate) const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// A daemon that is asked through the API, and how its containers are connected.
pub(crate) struct Daemon {
    pub(crate) socket: PathBuf,
    pub(crate) name: &'static str,
    pub(crate) network: &'static str,
}

impl Daemon {
    pub(crate) fn is_docker(&self) -> bool {
        self.name.starts_with("docker")
    }

    fn ask(&self, method: &str, target: &str, body: &[u8], good: &[u16]) -> anyhow::Result<Value> {
        let answer = request_unix(&self.socket, method, target, &JSON, body)?;
        ensure!(
            good.contains(&answer.status),
            "{} {method} {target}: {} {}",
            self.name,
            answer.status,
            answer.text()
        );
        Ok(serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// create, start, wait and remove of `true`: milliseconds of each and of all.
    fn round(&self) -> anyhow::Result<[f64; 5]> {
        let mut times = [0.0; 5];
        let whole = Instant::now();
        let mut mark = whole;
        let mut lap = |at: usize| {
            times[at] = mark.elapsed().as_secs_f64() * 1e3;
            mark = Instant::now();
        };
        let body = format!(
            "{{\"Image\":\"app\",\"Cmd\":[\"true\"],\"HostConfig\":{{\"NetworkMode\":\"{}\"}}}}",
            self.network
        );
        let made = self.ask("POST", "/v1.41/containers/create", body.as_bytes(), &[201])?;
        let id = made["Id"].as_str().context("no id")?.to_owned();
        lap(0);
        self.ask("POST", &format!("/v1.41/containers/{id}/start"), b"", &[204])?;
        lap(1);
        let code = self.ask("POST", &format!("/v1.41/containers/{id}/wait"), b"", &[200])?;
        ensure!(code["StatusCode"] == 0, "{code}");
        lap(2);
        self.ask("DELETE", &format!("/v1.41/containers/{id}"), b"", &[204])?;
        lap(3);
        times[4] = whole.elapsed().as_secs_f64() * 1e3;
        Ok(times)
    }
}

/// Runs the rounds of all daemons in turn, so that a drift of the machine meets all alike.
fn rounds(daemons: &[Daemon]) -> anyhow::Result<Vec<[f64; 5]>> {
    let mut seen: Vec<Vec<[f64; 5]>> = daemons.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        for (daemon, seen) in daemons.iter().zip(&mut seen) {
            let times = daemon.round()?;
            if round > 0 {
                seen.push(times);
            }
        }
    }
    Ok(seen
        .into_iter()
        .map(|all| std::array::from_fn(|at| median(all.iter().map(|times| times[at]).collect())))
        .collect())
}

/// Flags with which dockerd leaves the host's network alone.
const NO_NETWORK: [&str; 4] = [
    "--bridge=none",
    "--iptables=false",
    "--ip-forward=false",
    "--log-level=error",
];

/// Debian's dockerd on a scratch root and socket, with the test image.
pub(crate) fn dockerd(
    scratch: &Scratch,
    rootfs: &Path,
    flags: &[&str],
) -> anyhow::Result<(Process, PathBuf)> {
    let socket = scratch.join("docker.sock");
    let mut command = Command::new("dockerd");
    command
        .arg(format!("--data-root={}", scratch.join("docker").display()))
        .arg(format!("--exec-root={}", scratch.join("docker-run").display()))
        .arg(format!("--pidfile={}", scratch.join("docker.pid").display()))
        .arg(format!("--host=unix://{}", socket.display()))
        .args(flags);
    let mut process = Process::start(&mut command, &scratch.join("dockerd.log"));
    until("dockerd's answer", Duration::from_secs(60), || {
        assert!(process.ended().is_none(), "dockerd ended:\n{}", process.output());
        request_unix(&socket, "GET", "/_ping", &[], b"")
            .ok()
            .filter(|answer| answer.status == 200)
    });
    import(&socket, rootfs)?;
    Ok((process, socket))
}

fn import(socket: &Path, rootfs: &Path) -> anyhow::Result<()> {
    let archive = std::fs::read(rootfs)?;
    let tar = [("Content-Type", "application/x-tar")];
    let answer = request_unix(
        socket,
        "POST",
        "/v1.41/images/create?fromSrc=-&repo=app&tag=latest",
        &tar,
        &archive,
    )?;
    ensure!(answer.status == 200, "import: {}", answer.text());
    Ok(())
}

pub(crate) fn run() -> anyhow::Result<()> {
    println!(
        "\n# containers: create, start, wait and remove of `true` from a busybox image, medians of {ROUNDS}"
    );
    let scratch = Scratch::new();
    let rootfs = busybox_rootfs(scratch.path());
    let mut engine = Engine::start(&Berth::new(crate::berth_program()?), &scratch, &[]);
    import(&engine.socket(), &rootfs)?;
    let (mut docker, docker_socket) = dockerd(&scratch, &rootfs, &NO_NETWORK)?;
    let daemons = [
        Daemon {
            socket: engine.socket(),
            name: "Berth, no network",
            network: "none",
        },
        Daemon {
            socket: docker_socket,
            name: "docker, no network",
            network: "none",
        },
        Daemon {
            socket: engine.socket(),
            name: "Berth, bridge",
            network: "bridge",
        },
    ];
    let medians = rounds(&daemons);
    let memory = (resident_mebibytes(engine.id()), resident_mebibytes(docker.id()));
    let more = medians.and_then(|medians| {
        report(&daemons, &medians, &commands(&scratch, &rootfs)?, memory);
        let [berth, docker_plain, bridged] = &daemons;
        let place = |name: &str, process: u32| Place {
            path: scratch.join(name),
            process,
        };
        let places = [place("engine", engine.id()), place("docker", docker.id())];
        containers_many::run(&daemons, &places)?;
        containers_flow::run(berth, docker_plain, bridged, &rootfs)
    });
    docker.stop();
    engine.teardown();
    more
}

/// Prints both tables.
fn report(daemons: &[Daemon], medians: &[[f64; 5]], commands: &[(String, f64)], memory: (f64, f64)) {
    let docker_whole = medians[1][4];
    let mut rows: Vec<Vec<String>> = daemons
        .iter()
        .zip(medians)
        .map(|(daemon, times)| {
            let mut row = vec![daemon.name.to_owned()];
            row.extend(times.iter().map(|time| format!("{time:.1}")));
            row.push(format!("{:.3}", times[4] / docker_whole));
            row
        })
        .collect();
    for (name, whole) in commands {
        let mut row = vec![name.clone()];
        row.extend(std::iter::repeat_n("-".to_owned(), 4));
        row.extend([format!("{whole:.1}"), format!("{:.3}", whole / docker_whole)]);
        rows.push(row);
    }
    table(
        &[
            "what (ms)",
            "create",
            "start",
            "wait",
            "remove",
            "all",
            "of docker",
        ],
        &rows,
    );
    let (ours, theirs) = memory;
    let row = vec![
        "engine".to_owned(),
        format!("{ours:.1}"),
        format!("{theirs:.1}"),
        format!("{:.2}", ours / theirs),
    ];
    table(
        &[
            "resident memory after the rounds",
            "Berth MiB",
            "dockerd MiB (without containerd)",
            "ratio",
        ],
        &[row],
    );
}

/// `crun run` and `runc run` of the same root file system, each a whole command.
fn commands(scratch: &Scratch, rootfs: &Path) -> anyhow::Result<Vec<(String, f64)>> {
    let bundle = scratch.join("bundle");
    let root = bundle.join("rootfs");
    std::fs::create_dir_all(&root)?;
    let unpacked = Command::new("tar")
        .arg("-xf")
        .arg(rootfs)
        .arg("-C")
        .arg(&root)
        .status()?;
    ensure!(unpacked.success(), "tar failed");
    let spec = Command::new("runc")
        .arg("spec")
        .current_dir(&bundle)
        .status()
        .context("the benchmark needs Debian's runc")?;
    ensure!(spec.success(), "runc spec failed");
    let config = bundle.join("config.json");
    let mut spec: Value = serde_json::from_slice(&std::fs::read(&config)?)?;
    spec["process"]["terminal"] = Value::Bool(false);
    spec["process"]["args"] = serde_json::json!(["true"]);
    // A limit above the caller's own needs a right that not every machine gives.
    spec["process"]["rlimits"] = serde_json::json!([]);
    std::fs::write(&config, serde_json::to_vec(&spec)?)?;
    // crun refuses a hybrid cgroup layout: the version 2 mount goes away in a mount namespace of this measurement.
    let script = "umount /sys/fs/cgroup/unified 2>/dev/null; exec \"$@\"";
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe()?)
        .arg(INSIDE)
        .arg(&bundle)
        .arg(scratch.join("state"))
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "timing the commands failed: {}",
        String::from_utf8_lossy(&output.stdout)
    );
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    let rows = seen.as_object().context("no figures")?.iter();
    Ok(rows
        .map(|(name, value)| (name.clone(), value.as_f64().unwrap_or(0.0)))
        .collect())
}

/// The inner half of [`commands`]: times each command and prints the medians as JSON.
pub(crate) fn time_commands(words: &[&str]) -> anyhow::Result<()> {
    let [bundle, state] = words else {
        bail!("two paths expected")
    };
    let mut seen: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for (program, seen) in ["crun", "runc"].iter().zip(&mut seen) {
            let started = Instant::now();
            let status = Command::new(program)
                .args([
                    "--root",
                    state,
                    "run",
                    "--bundle",
                    bundle,
                    &format!("bench-{round}"),
                ])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()?;
            ensure!(status.success(), "{program} failed with {status}");
            if round > 0 {
                seen.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let [crun, runc] = seen.map(median);
    println!("{}", serde_json::json!({ "crun run": crun, "runc run": runc }));
    Ok(())
}
