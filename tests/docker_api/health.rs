//! Health checks: what probes say is seen everywhere, and a probe that hangs does no harm.

use std::time::Duration;

use berth_harness::until;
use serde_json::Value;

use crate::{Bench, skipped, with_each_client};

/// Longest wait for a status.
const PATIENCE: Duration = Duration::from_secs(60);

fn health(bench: &Bench, name: &str) -> Value {
    let text = bench
        .docker
        .ok(&["inspect", "--format", "{{json .State.Health}}", name]);
    serde_json::from_str(&text).unwrap()
}

fn becomes(bench: &Bench, name: &str, wanted: &str) {
    until(&format!("{name} to be {wanted}"), PATIENCE, || {
        (health(bench, name)["Status"] == wanted).then_some(())
    });
}

fn run(bench: &Bench, name: &str, check: &str, flags: &[&str]) {
    let line = [
        "run",
        "-d",
        "--name",
        name,
        "--health-cmd",
        check,
        "--health-interval",
        "300ms",
    ];
    bench
        .docker
        .ok(&[&line, flags, &["app", "sleep", "1000"]].concat());
}

#[test]
fn probes_decide() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        run(
            bench,
            "box",
            "echo looked; test -e /well",
            &["--health-retries", "2"],
        );
        let row = docker.ok(&["ps", "--format", "{{.Status}}"]);
        assert!(
            row.contains("(health: starting)") || row.contains("(unhealthy)"),
            "{row}"
        );
        becomes(bench, "box", "unhealthy");
        let failed = health(bench, "box");
        assert!(failed["FailingStreak"].as_u64().unwrap() >= 2, "{failed}");
        let last = failed["Log"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (&last["ExitCode"], &last["Output"]),
            (&Value::from(1), &Value::from("looked\n"))
        );
        assert!(
            docker
                .ok(&["ps", "--format", "{{.Status}}"])
                .ends_with("(unhealthy)")
        );
        docker.ok(&["exec", "box", "touch", "/well"]);
        becomes(bench, "box", "healthy");
        assert!(
            docker
                .ok(&["ps", "--format", "{{.Status}}"])
                .ends_with("(healthy)")
        );
        assert_eq!(
            docker.ok(&["ps", "--filter", "health=healthy", "--format", "{{.Names}}"]),
            "box"
        );
        assert_eq!(docker.ok(&["ps", "-q", "--filter", "health=unhealthy"]), "");
        until("the five results that are kept", PATIENCE, || {
            let log = health(bench, "box")["Log"].as_array().unwrap().clone();
            let good = |entry: &Value| entry["ExitCode"] == 0;
            (log.len() == 5 && log.iter().all(good)).then_some(())
        });
        let seen = events(bench, "box");
        let place = |words: &str| seen.find(words).unwrap_or_else(|| panic!("{words} in {seen}"));
        assert!(place("health_status: unhealthy") < place("health_status: healthy"));
        assert!(docker.ok(&["inspect", "--format", "{{.ExecIDs}}", "box"]).len() < 200);
        docker.ok(&["rm", "-f", "box"]);
        docker.ok(&["run", "-d", "--name", "none", "app", "sleep", "1000"]);
        let state = docker.ok(&["inspect", "--format", "{{json .State}}", "none"]);
        assert!(!state.contains("Health"), "{state}");
        assert_eq!(
            docker.ok(&["ps", "--filter", "health=none", "--format", "{{.Names}}"]),
            "none"
        );
        docker.ok(&["rm", "-f", "none"]);
    });
}

fn events(bench: &Bench, name: &str) -> String {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let until = (now.as_secs() + 1).to_string();
    let filter = format!("container={name}");
    let line = [
        "events",
        "--since",
        "1",
        "--until",
        &until,
        "--filter",
        &filter,
        "--filter",
        "event=health_status",
    ];
    bench.docker.ok(&line)
}

#[test]
fn a_probe_that_hangs_is_killed() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        run(
            bench,
            "box",
            "echo begun; sleep 777",
            &["--health-timeout", "1s", "--health-retries", "1"],
        );
        becomes(bench, "box", "unhealthy");
        let last = health(bench, "box")["Log"]
            .as_array()
            .unwrap()
            .last()
            .unwrap()
            .clone();
        assert_eq!(last["ExitCode"], -1);
        let output = last["Output"].as_str().unwrap();
        assert!(
            output == "Health check exceeded timeout (1s): begun\n"
                || output == "Health check exceeded timeout (1s)"
                    && bench.engine.differs("dockerd 20.10 drops what the probe printed"),
            "{output}"
        );
        // The shell of each probe is killed; no more than the present one is there.
        until("no probes of before", PATIENCE, || {
            let shown = docker.ok(&["top", "box", "-o", "pid,args"]);
            (shown.matches("echo begun").count() <= 1).then_some(())
        });
        docker.ok(&["rm", "-f", "box"]);
    });
}

#[test]
fn images_bring_their_check_and_engines_take_it_over() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    let rootfs = bench.scratch.join("rootfs.tar").to_string_lossy().into_owned();
    bench.docker.ok(&[
        "import",
        "--change",
        "HEALTHCHECK --interval=300ms --retries=1 CMD test -e /well",
        "--change",
        "CMD [\"sleep\",\"1000\"]",
        &rootfs,
        "checked",
    ]);
    bench.docker.ok(&["run", "-d", "--name", "box", "checked"]);
    bench
        .docker
        .ok(&["run", "-d", "--name", "unchecked", "--no-healthcheck", "checked"]);
    becomes(&bench, "box", "unhealthy");
    assert_eq!(health(&bench, "unchecked"), Value::Null);
    bench.engine.kill();
    bench.engine.restart();
    assert_eq!(health(&bench, "box")["Status"], "unhealthy");
    bench.docker.ok(&["exec", "box", "touch", "/well"]);
    becomes(&bench, "box", "healthy");
    // Nothing is looked at while it is paused, and again after that.
    bench.docker.ok(&["pause", "box"]);
    bench.docker.ok(&["unpause", "box"]);
    bench.docker.ok(&["exec", "box", "busybox", "rm", "/well"]);
    becomes(&bench, "box", "unhealthy");
    bench.docker.ok(&["stop", "-t", "0", "box"]);
    assert_eq!(health(&bench, "box")["Status"], "unhealthy");
    bench.docker.ok(&["start", "box"]);
    becomes(&bench, "box", "unhealthy");
    let refused = bench.docker.run(&[
        "create",
        "--health-cmd",
        "true",
        "--health-interval",
        "1us",
        "app",
        "true",
    ]);
    assert!(refused.code != 0, "{refused:?}");
    bench.docker.ok(&["rm", "-f", "box", "unchecked"]);
    bench.finish();
}
