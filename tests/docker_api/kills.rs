//! `kill -9` of the engine and of its keeper: what was acknowledged is there, what was not is whole or gone.
#![allow(
    clippy::print_stdout,
    reason = "what a run went through is worth a line in its log"
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_harness::{Response, request_unix, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::{Bench, skipped};

/// How often the engine is killed when `BERTH_KILL_ROUNDS` does not say it.
const ROUNDS: u64 = 20;

/// Longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(60);

const JSON: [(&str, &str); 1] = [("Content-Type", "application/json")];

/// Lines of a container that ends by itself, and the pause between two of them.
const SHORT_LIFE: &str = "for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.02; done; exit ";

/// What a client had been told when the engine died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Nothing,
    Created,
    Started,
    Executed,
    Stopped,
    Removed,
}

/// The API of one engine, asked until it dies.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    socket: PathBuf,
}

impl Api {
    pub(crate) fn of(bench: &Bench) -> Self {
        Self {
            socket: bench.engine.socket(),
        }
    }

    pub(crate) fn ask(&self, method: &str, target: &str, body: &str) -> std::io::Result<Response> {
        request_unix(&self.socket, method, target, &JSON, body.as_bytes())
    }

    /// The answer, which must have this status.
    pub(crate) fn must(&self, method: &str, target: &str, body: &str, status: u16) -> Response {
        let answer = self
            .ask(method, target, body)
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        answer
    }

    /// None when the engine has gone away. It refuses nothing that is asked here.
    fn try_for(&self, method: &str, target: &str, body: &str, status: u16) -> Option<Response> {
        let answer = self.ask(method, target, body).ok()?;
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
        Some(answer)
    }

    /// A container's document; none when there is no such container.
    fn find(&self, name: &str) -> Option<Value> {
        let answer = self.ask("GET", &format!("/containers/{name}/json"), "").unwrap();
        match answer.status {
            200 => Some(answer.json()),
            404 => None,
            status => panic!("{name}: {status} {}", answer.text()),
        }
    }

    /// Runs a command in a container; none when the engine has gone away.
    fn exec(&self, name: &str) -> Option<()> {
        let wish = r#"{"Cmd":["true"],"AttachStdout":true}"#;
        let made = self.try_for("POST", &format!("/containers/{name}/exec"), wish, 201)?;
        let id = serde_json::from_slice::<Value>(&made.body).ok()?["Id"]
            .as_str()?
            .to_owned();
        self.try_for("POST", &format!("/exec/{id}/start"), r#"{"Detach":true}"#, 200)?;
        Some(())
    }
}

fn rounds() -> u64 {
    std::env::var("BERTH_KILL_ROUNDS").map_or(ROUNDS, |text| {
        text.parse().expect("BERTH_KILL_ROUNDS is a number")
    })
}

impl Step {
    const ALL: [Self; 5] = [
        Self::Created,
        Self::Started,
        Self::Executed,
        Self::Stopped,
        Self::Removed,
    ];

    /// Has it done; none when the engine has gone away.
    fn take(self, api: &Api, name: &str) -> Option<()> {
        let container = format!("/containers/{name}");
        match self {
            Self::Nothing => Some(()),
            Self::Created => {
                let wish = r#"{"Image":"app","Cmd":["sleep","1000"],"ExposedPorts":{"80/tcp":{}},
                    "HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"0"}]}}}"#;
                api.try_for("POST", &format!("/containers/create?name={name}"), wish, 201)
                    .map(drop)
            }
            Self::Started => api
                .try_for("POST", &format!("{container}/start"), "", 204)
                .map(drop),
            Self::Executed => api.exec(name),
            Self::Stopped => api
                .try_for("POST", &format!("{container}/stop?t=0"), "", 204)
                .map(drop),
            Self::Removed => api.try_for("DELETE", &container, "", 204).map(drop),
        }
    }
}

/// The whole life of a container, until the engine goes away: what was acknowledged last. Tells of each step before it.
fn live(api: &Api, name: &str, begins: impl Fn(Step)) -> Step {
    let mut reached = Step::Nothing;
    for step in Step::ALL {
        begins(step);
        if step.take(api, name).is_none() {
            break;
        }
        reached = step;
    }
    reached
}

/// How long each step takes when nobody is killed, in the order of [`Step::ALL`].
fn rehearse(api: &Api) -> Vec<Duration> {
    let time = |step: Step| {
        let begun = Instant::now();
        step.take(api, "rehearsal").expect("nobody was killed");
        begun.elapsed()
    };
    Step::ALL.map(time).to_vec()
}

/// What became of a container, after the engine is back.
fn judge(bench: &Bench, api: &Api, name: &str, reached: Step) {
    // A removal that was under way goes on by itself.
    let found = until("an end of the removal", PATIENCE, || {
        let found = api.find(name);
        let going = found
            .as_ref()
            .is_some_and(|found| found["State"]["Status"] == "removing");
        (!going).then_some(found)
    });
    let Some(found) = found else {
        assert!(
            matches!(reached, Step::Nothing | Step::Stopped | Step::Removed),
            "{name} was {reached:?} and is gone"
        );
        return;
    };
    assert!(
        reached != Step::Removed,
        "{name} was removed and is back: {found}"
    );
    let state = &found["State"];
    let status = state["Status"].as_str().unwrap();
    let allowed: &[&str] = match reached {
        Step::Nothing => &["created"],
        Step::Created => &["created", "running"],
        Step::Started => &["running"],
        Step::Executed => &["running", "exited"],
        Step::Stopped | Step::Removed => &["exited"],
    };
    assert!(
        allowed.contains(&status),
        "{name} was {reached:?} and is now {state}"
    );
    match status {
        "running" => {
            let pid = state["Pid"].as_u64().unwrap();
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert_eq!(words, b"sleep\x001000\x00", "{name}: {state}");
            assert_eq!(bench.docker.ok(&["exec", name, "echo", "there"]), "there");
            let port = bench.docker.ok(&["port", name, "80"]);
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
        "exited" => assert_eq!(state["ExitCode"], 137, "{name}: {state}"),
        _ => assert_eq!(state["Pid"], 0, "{name}: {state}"),
    }
    let id = found["Id"].as_str().unwrap();
    if status != "running" {
        no_cgroup(bench, id);
    }
    api.must("DELETE", &format!("/containers/{name}?force=1"), "", 204);
}

/// What does not run has no cgroup, or not much longer: who ended a moment ago is still being cleaned up.
fn no_cgroup(bench: &Bench, id: &str) {
    until("an ended container to have no cgroup", PATIENCE, || {
        let left = bench.engine.leftovers().0;
        let held = left
            .iter()
            .any(|line| line.starts_with("cgroup") && line.contains(id));
        (!held).then_some(())
    });
}

/// The keeper of an engine: the process that the containers are children of.
fn keeper_of(bench: &Bench, container: &str) -> Pid {
    let pid = bench
        .docker
        .ok(&["inspect", "--format", "{{.State.Pid}}", container]);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .unwrap();
    let words = std::fs::read(format!("/proc/{parent}/cmdline")).unwrap();
    assert_eq!(
        words, b"berth-keeper\x00__keeper\x00",
        "the parent of {container}"
    );
    Pid::from_raw(parent.parse().unwrap())
}

fn directories(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

/// Numbers from 1 on, each once.
fn complete(log: &str, name: &str) {
    for (at, line) in log.lines().enumerate() {
        assert_eq!(
            line,
            (at + 1).to_string(),
            "a line of {name} is lost or there twice"
        );
    }
}

/// The container that counted through all kills has its whole log and its own exit code.
fn counted_on(bench: &Bench) {
    bench.docker.ok(&["stop", "counter"]);
    let state = bench.docker.ok(&[
        "inspect",
        "--format",
        "{{.State.ExitCode}} {{.RestartCount}}",
        "counter",
    ]);
    assert_eq!(state, "9 0");
    let log = bench.docker.ok(&["logs", "counter"]);
    assert!(log.lines().count() > 10, "{log}");
    complete(&log, "counter");
    bench.docker.ok(&["rm", "counter"]);
}

#[test]
fn whatever_the_engine_was_doing_when_killed_is_whole_or_gone() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    let api = Api::of(&bench);
    let counting = "i=0; trap 'exit 9' TERM; while true; do i=$((i+1)); echo $i; sleep 0.01; done";
    let line = ["run", "-d", "--name", "counter", "app", "sh", "-c", counting];
    bench.docker.ok(&line);
    let times = rehearse(&api);
    let mut moment = 0x9E37_79B9_7F4A_7C15_u64 ^ u64::from(std::process::id());
    let mut seen = std::collections::BTreeMap::new();
    for round in 0..rounds() {
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Each step in its turn, at some moment of it or a little later.
        let at = usize::try_from(round).unwrap() % Step::ALL.len();
        let span = u64::try_from(times[at].as_micros()).unwrap() * 12 / 10;
        let pause = Duration::from_micros((moment >> 16) % span);
        let (short, long) = (format!("short{round}"), format!("long{round}"));
        let code = (round % 100 + 1).to_string();
        bench.docker.ok(&[
            "run",
            "-d",
            "--name",
            &short,
            "app",
            "sh",
            "-c",
            &format!("{SHORT_LIFE}{code}"),
        ]);
        let reached = std::thread::scope(|scope| {
            let (begins, begun) = std::sync::mpsc::channel();
            let (api, long) = (&api, &long);
            let client =
                scope.spawn(move || live(api, long, |step| begins.send(step).expect("somebody listens")));
            while begun.recv_timeout(PATIENCE).expect("the step begins") != Step::ALL[at] {}
            let due = Instant::now() + pause;
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            bench.engine.kill();
            client.join().unwrap()
        });
        *seen.entry(format!("{reached:?}")).or_insert(0) += 1;
        bench.engine.restart();
        judge(&bench, &api, &long, reached);
        assert_eq!(bench.docker.ok(&["wait", &short]), code);
        let log = bench.docker.ok(&["logs", &short]);
        assert_eq!(log.lines().count(), 10, "{short}: {log}");
        assert!(log.ends_with("line 10"), "{short}: {log}");
        bench.docker.ok(&["rm", &short]);
    }
    println!("kills after the answer to: {seen:?}");
    counted_on(&bench);
    let left = directories(&bench.scratch.join("engine").join("containers"));
    assert!(
        left.is_empty(),
        "directories of containers that are gone: {left:?}"
    );
    bench.finish();
}

#[test]
fn a_start_that_nobody_waits_for_any_more_is_taken_back_or_there() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    let api = Api::of(&bench);
    // A command that is not there: the start fails in its last step, when the engine may be gone.
    for round in 0..10_u64 {
        let name = format!("none{round}");
        let wish = r#"{"Image":"app","Cmd":["not-there"]}"#;
        api.must("POST", &format!("/containers/create?name={name}"), wish, 201);
        std::thread::scope(|scope| {
            let client = scope.spawn(|| api.ask("POST", &format!("/containers/{name}/start"), ""));
            let due = Instant::now() + Duration::from_millis(4 * round);
            while Instant::now() < due {
                std::hint::spin_loop();
            }
            bench.engine.kill();
            drop(client.join().unwrap());
        });
        bench.engine.restart();
        let state = api.find(&name).unwrap()["State"].clone();
        assert_eq!(state["Running"], false, "{name}: {state}");
        // A right one can take its place at once.
        bench.docker.ok(&["rm", &name]);
    }
    bench.finish();
}

#[test]
fn without_its_keeper_containers_end_and_the_engine_goes_on() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    let docker = bench.docker.clone();
    for (name, policy) in [("plain", "no"), ("again", "always")] {
        docker.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart",
            policy,
            "-p",
            "127.0.0.1::80",
            "app",
            "sleep",
            "1000",
        ]);
    }
    let pid = docker.ok(&["inspect", "--format", "{{.State.Pid}}", "plain"]);
    let first = keeper_of(&bench, "plain");
    kill(first, Signal::SIGKILL).unwrap();
    // Nobody saw how it ended.
    assert_eq!(docker.ok(&["wait", "plain"]), "255");
    until("the end of the container's process", PATIENCE, || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        (state.is_empty() || state.contains("State:\tZ")).then_some(())
    });
    until("the start of the other by its policy", PATIENCE, || {
        let state = docker.ok(&[
            "inspect",
            "--format",
            "{{.State.Status}} {{.RestartCount}}",
            "again",
        ]);
        (state == "running 1").then_some(())
    });
    assert_eq!(docker.ok(&["run", "--rm", "app", "echo", "on"]), "on");
    docker.ok(&["start", "plain"]);
    let second = keeper_of(&bench, "plain");
    assert_ne!(second, first);
    // Both at once: the next engine finds neither keeper nor news.
    bench.engine.kill();
    kill(second, Signal::SIGKILL).unwrap();
    bench.engine.restart();
    let state = docker.ok(&[
        "inspect",
        "--format",
        "{{.State.Status}} {{.State.ExitCode}}",
        "plain",
    ]);
    assert_eq!(state, "exited 255");
    until("the start of the other with the engine", PATIENCE, || {
        let state = docker.ok(&["inspect", "--format", "{{.State.Status}}", "again"]);
        (state == "running").then_some(())
    });
    docker.ok(&["rm", "-f", "plain", "again"]);
    bench.finish();
}
