//! What containers use and run, and other limits for them: stats, top, update, and the figures for Prometheus.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use berth_harness::{request_unix, until};
use serde_json::Value;

use crate::{Bench, skipped, with_each_client};

/// Longest wait for something that a container does.
const PATIENCE: Duration = Duration::from_secs(30);

fn get(bench: &Bench, target: &str) -> Value {
    let answer = request_unix(&bench.engine.socket(), "GET", target, &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    serde_json::from_str(&answer.text()).unwrap()
}

#[test]
fn what_a_container_uses() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let busy =
            "while :; do :; done & dd if=/dev/zero of=/file bs=64k count=16 2>/dev/null; sync; sleep 1000";
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "busy",
            "-m",
            "64m",
            "--pids-limit",
            "50",
            "app",
            "sh",
            "-c",
            busy,
        ]);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "idle",
            "--network",
            "none",
            "app",
            "sleep",
            "1000",
        ]);
        docker.ok(&["create", "--name", "never", "app", "true"]);
        let used = until("CPU time", PATIENCE, || {
            let used = get(bench, "/containers/busy/stats?stream=0");
            let total = used["cpu_stats"]["cpu_usage"]["total_usage"].as_u64()?;
            let before = used["precpu_stats"]["cpu_usage"]["total_usage"].as_u64()?;
            (total > before && before > 0).then_some(used)
        });
        assert_eq!(used["name"], "/busy");
        assert_eq!(used["memory_stats"]["limit"], 64 * 1024 * 1024);
        assert!(used["memory_stats"]["usage"].as_u64().unwrap() > 4096, "{used}");
        assert_eq!(used["pids_stats"]["limit"], 50);
        assert!(used["pids_stats"]["current"].as_u64().unwrap() >= 2, "{used}");
        assert!(used["cpu_stats"]["online_cpus"].as_u64().unwrap() > 0);
        let host = |key: &str| used[key]["system_cpu_usage"].as_u64().unwrap();
        assert!(host("cpu_stats") > host("precpu_stats"), "{used}");
        assert!(used["networks"]["eth0"]["rx_bytes"].is_u64(), "{used}");
        let one = get(bench, "/containers/idle/stats?stream=0&one-shot=1");
        assert!(
            one["networks"].is_null() && one["precpu_stats"]["system_cpu_usage"].is_null(),
            "{one}"
        );
        let nothing = get(bench, "/containers/never/stats?stream=0");
        assert_eq!(nothing["read"], "0001-01-01T00:00:00Z");
        assert_eq!(nothing["pids_stats"], serde_json::json!({}));
        let format = "{{.Name}} {{.MemUsage}} {{.PIDs}}";
        let shown = docker.ok(&["stats", "--no-stream", "--format", format, "busy"]);
        assert!(shown.starts_with("busy ") && shown.contains("/ 64MiB"), "{shown}");
        let all = docker.ok(&["stats", "--no-stream", "--format", "{{.Name}}"]);
        let mut names: Vec<&str> = all.lines().collect();
        names.sort_unstable();
        assert_eq!(names, ["busy", "idle"]);
        let missing = docker.run(&["stats", "--no-stream", "nobody"]);
        assert!(
            missing.stderr.contains("No such container: nobody"),
            "{missing:?}"
        );
        paused_is_counted(bench, "busy");
        stream_of(bench, "idle");
        docker.ok(&["rm", "-f", "busy", "idle", "never"]);
    });
}

fn paused_is_counted(bench: &Bench, name: &str) {
    bench.docker.ok(&["pause", name]);
    let paused = get(bench, &format!("/containers/{name}/stats?stream=0&one-shot=1"));
    let used = &paused["cpu_stats"]["cpu_usage"]["total_usage"];
    assert!(used.as_u64().unwrap() > 0, "{paused}");
}

/// One document a second until the container is gone.
fn stream_of(bench: &Bench, name: &str) {
    let mut command = std::process::Command::new("curl");
    command
        .args(["-sN", "--max-time", "60", "--unix-socket"])
        .arg(bench.engine.socket());
    command.arg(format!("http://docker/containers/{name}/stats"));
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let (first, second) = (next(), next());
    assert!(first["precpu_stats"]["system_cpu_usage"].is_null(), "{first}");
    assert_eq!(first["read"], second["preread"]);
    bench.docker.ok(&["kill", name]);
    until("an empty document", PATIENCE, || {
        (next()["read"] == "0001-01-01T00:00:00Z").then_some(())
    });
    bench.docker.ok(&["rm", "-f", name]);
    assert!(
        child.wait().unwrap().success(),
        "the stream ends with its container"
    );
    bench.docker.ok(&["create", "--name", name, "app", "true"]);
}

#[test]
fn what_a_container_runs() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "box",
            "-u",
            "12345",
            "app",
            "sh",
            "-c",
            "sleep 999 & sleep 1000; true",
        ]);
        let shown = until("three processes", PATIENCE, || {
            let shown = docker.ok(&["top", "box"]);
            (shown.lines().count() == 4).then_some(shown)
        });
        let mut lines = shown.lines();
        let titles: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(titles, ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
        let first: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        let pid = docker.ok(&["inspect", "--format", "{{.State.Pid}}", "box"]);
        assert_eq!((first[0], first[1], first[5]), ("12345", pid.as_str(), "?"));
        assert!(
            shown.contains("sleep 999") && shown.contains("sleep 1000"),
            "{shown}"
        );
        let chosen = docker.ok(&["top", "box", "-o", "pid,comm"]);
        assert_eq!(
            chosen
                .lines()
                .next()
                .unwrap()
                .split_whitespace()
                .collect::<Vec<_>>(),
            ["PID", "COMMAND"]
        );
        assert!(docker.ok(&["top", "box", "aux"]).contains("%MEM"));
        for (arguments, words) in [
            (vec!["top", "box", "-o", "pid,nonsense"], "nonsense"),
            (
                vec!["top", "box", "-o", "comm"],
                "Couldn't find PID field in ps output",
            ),
            (vec!["top", "nobody"], "No such container"),
        ] {
            let refused = docker.run(&arguments);
            assert!(
                refused.code == 1 && refused.stderr.contains(words),
                "{arguments:?} {refused:?}"
            );
        }
        docker.ok(&["kill", "box"]);
        let refused = until("the end", PATIENCE, || {
            let refused = docker.run(&["top", "box"]);
            (refused.code != 0).then_some(refused)
        });
        assert!(refused.stderr.contains("is not running"), "{refused:?}");
        docker.ok(&["rm", "box"]);
    });
}

#[test]
fn limits_and_policies_change() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&["run", "-d", "--name", "box", "-m", "64m", "app", "sleep", "1000"]);
        let inspect = |format: &str| docker.ok(&["inspect", "--format", format, "box"]);
        // Growing and shrinking: the kernel wants a different order for each.
        for (memory, swap) in [("128m", "256m"), ("32m", "48m")] {
            let shown = docker.ok(&["update", "--memory", memory, "--memory-swap", swap, "box"]);
            assert_eq!(shown, "box");
            let limit =
                get(bench, "/containers/box/stats?stream=0&one-shot=1")["memory_stats"]["limit"].clone();
            let bytes = memory.trim_end_matches('m').parse::<u64>().unwrap() * 1024 * 1024;
            assert_eq!(limit, bytes);
            assert_eq!(inspect("{{.HostConfig.Memory}}"), bytes.to_string());
        }
        docker.ok(&[
            "update",
            "--cpus",
            "0.5",
            "--cpu-shares",
            "512",
            "--cpuset-cpus",
            "0",
            "--pids-limit",
            "77",
            "box",
        ]);
        assert_eq!(
            inspect(
                "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}} {{.HostConfig.CpusetCpus}} {{.HostConfig.PidsLimit}}"
            ),
            "500000000 512 0 77"
        );
        let allowed = docker.ok(&["exec", "box", "grep", "Cpus_allowed_list", "/proc/self/status"]);
        assert_eq!(allowed.split_whitespace().last(), Some("0"));
        let pids = || get(bench, "/containers/box/stats?stream=0&one-shot=1")["pids_stats"]["limit"].clone();
        assert_eq!(pids(), 77);
        docker.ok(&["update", "--pids-limit", "-1", "box"]);
        assert_eq!(pids(), Value::Null);
        docker.ok(&["update", "--restart", "on-failure:3", "box"]);
        assert_eq!(
            inspect("{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}"),
            "on-failure 3"
        );
        assert_eq!(
            inspect("{{.HostConfig.Memory}}"),
            (32 * 1024 * 1024).to_string(),
            "the rest stays"
        );
        for (flags, words) in [
            (vec!["--memory", "1m"], "Minimum memory limit allowed is 6MB"),
            (vec!["--memory", "64m"], "update the memoryswap at the same time"),
            (vec!["--cpu-quota", "5000"], "NanoCPUs has already been set"),
        ] {
            let refused = docker.run(&[&["update"], flags.as_slice(), &["box"]].concat());
            assert!(
                refused.code == 1 && refused.stderr.contains(words),
                "{flags:?} {refused:?}"
            );
        }
        let missing = docker.run(&["update", "--memory", "64m", "nobody"]);
        assert!(missing.stderr.contains("No such container"), "{missing:?}");
        // What is changed while it does not run is there when it does.
        docker.ok(&["stop", "-t", "0", "box"]);
        docker.ok(&["update", "--memory", "40m", "--memory-swap", "80m", "box"]);
        docker.ok(&["start", "box"]);
        let limit = get(bench, "/containers/box/stats?stream=0&one-shot=1")["memory_stats"]["limit"].clone();
        assert_eq!(limit, 40 * 1024 * 1024);
        docker.ok(&["update", "--restart", "always", "box"]);
        docker.ok(&["exec", "-d", "box", "sh", "-c", "kill -9 -1"]);
        docker.ok(&["rm", "-f", "box"]);
    });
}

#[test]
fn a_changed_policy_restarts() {
    let bench = Bench::new();
    let docker = &bench.docker;
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "box",
        "app",
        "sh",
        "-c",
        "until test -e /go; do sleep 0.1; done; exit 3",
    ]);
    docker.ok(&["update", "--restart", "on-failure:1", "box"]);
    docker.ok(&["exec", "box", "touch", "/go"]);
    until("the restart", PATIENCE, || {
        let state = docker.ok(&[
            "inspect",
            "--format",
            "{{.State.Status}} {{.RestartCount}}",
            "box",
        ]);
        (state == "exited 1").then_some(())
    });
    docker.ok(&["rm", "-f", "box"]);
    bench.finish();
}

#[test]
fn figures_for_prometheus() {
    if skipped("Berth's figures for Prometheus") {
        return;
    }
    let bench = Bench::new();
    bench
        .docker
        .ok(&["run", "-d", "--name", "box", "app", "sleep", "1000"]);
    let answer = request_unix(&bench.engine.socket(), "GET", "/metrics", &[], b"").unwrap();
    let text = answer.text();
    for line in [
        "berth_engine_containers{state=\"running\"} 1",
        "berth_engine_containers{state=\"paused\"} 0",
        "# TYPE berth_container_cpu_nanoseconds_total counter",
        "berth_container_pids{name=\"box\",id=\"",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    bench.docker.ok(&["rm", "-f", "box"]);
    bench.finish();
}
