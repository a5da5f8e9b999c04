//! Pausing: nothing of a container runs, it can be ended all the same, and another engine finds it as it was.

use std::time::Duration;

use berth_harness::{request_unix, until};

use crate::{Bench, skipped, with_each_client};

/// Longest wait for something that a container does.
const PATIENCE: Duration = Duration::from_secs(30);

fn counting(bench: &Bench, name: &str, flags: &[&str]) {
    let script = "n=0; while :; do n=$((n+1)); echo $n > /tmp/n; done";
    let line = [
        &["run", "-d", "--name", name],
        flags,
        &["app", "sh", "-c", script],
    ]
    .concat();
    bench.docker.ok(&line);
    counts(bench, name);
}

fn state(bench: &Bench, name: &str) -> String {
    let format = "{{.State.Status}} {{.State.Running}} {{.State.Paused}}";
    bench.docker.ok(&["inspect", "--format", format, name])
}

/// CPU time of a container's first process: two looks at it tell whether it runs. It is on the host's side.
fn ticks(bench: &Bench, name: &str) -> u64 {
    let pid = bench.docker.ok(&["inspect", "--format", "{{.State.Pid}}", name]);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn counts(bench: &Bench, name: &str) {
    let first = ticks(bench, name);
    until(&format!("{name} to go on"), PATIENCE, || {
        (ticks(bench, name) > first).then_some(())
    });
}

#[test]
fn pause_and_unpause() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        counting(bench, "box", &[]);
        assert_eq!(docker.ok(&["pause", "box"]), "box");
        assert_eq!(state(bench, "box"), "paused true true");
        let stopped = ticks(bench, "box");
        let row = docker.ok(&["ps", "--format", "{{.Names}} {{.Status}}"]);
        assert!(row.starts_with("box Up ") && row.ends_with(" (Paused)"), "{row}");
        assert_eq!(docker.ok(&["ps", "-q", "--filter", "status=paused"]).len(), 12);
        assert_eq!(docker.ok(&["ps", "-q", "--filter", "status=running"]), "");
        assert_eq!(docker.ok(&["info", "--format", "{{.ContainersPaused}}"]), "1");
        let refused = |arguments: &[&str], words: &str| {
            let finished = docker.run(arguments);
            assert!(
                finished.code != 0 && finished.stderr.contains(words),
                "{arguments:?}: {finished:?}"
            );
        };
        refused(&["pause", "box"], "is already paused");
        refused(
            &["exec", "box", "true"],
            "Container box is paused, unpause the container before exec",
        );
        refused(&["rm", "box"], "You cannot remove a paused container");
        assert_eq!(ticks(bench, "box"), stopped, "nothing of it has run");
        assert_eq!(docker.ok(&["unpause", "box"]), "box");
        assert_eq!(state(bench, "box"), "running true false");
        counts(bench, "box");
        refused(&["unpause", "box"], "is not paused");
        docker.ok(&["kill", "box"]);
        until("the end", PATIENCE, || {
            state(bench, "box").starts_with("exited").then_some(())
        });
        refused(&["pause", "box"], "is not running");
        refused(&["pause", "nobody"], "No such container: nobody");
        for (target, status) in [("pause", 409), ("unpause", 500)] {
            let target = format!("/containers/box/{target}");
            let answer = request_unix(&bench.engine.socket(), "POST", &target, &[], b"").unwrap();
            assert_eq!(answer.status, status, "{target}: {}", answer.text());
        }
        let events = events(bench, "box");
        assert_eq!(
            events, "create start pause unpause kill die",
            "attach and exec events are others"
        );
        docker.ok(&["rm", "box"]);
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
        "--format",
        "{{.Action}}",
    ];
    bench.docker.ok(&line).replace('\n', " ")
}

#[test]
fn paused_containers_can_be_ended() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let ended = |name: &str, code: &str| {
            until(&format!("the end of {name}"), PATIENCE, || {
                let state = docker.ok(&[
                    "inspect",
                    "--format",
                    "{{.State.Status}} {{.State.ExitCode}}",
                    name,
                ]);
                (state == format!("exited {code}")).then_some(())
            });
        };
        let trap = [
            "run",
            "-d",
            "--name",
            "polite",
            "app",
            "sh",
            "-c",
            "trap 'exit 7' TERM; while :; do :; done",
        ];
        docker.ok(&trap);
        docker.ok(&["pause", "polite"]);
        docker.ok(&["stop", "-t", "30", "polite"]);
        ended("polite", "7");
        for (name, command) in [("stopped", "stop -t 0"), ("killed", "kill")] {
            counting(bench, name, &[]);
            docker.ok(&["pause", name]);
            let words: Vec<&str> = command.split(' ').chain([name]).collect();
            docker.ok(&words);
            ended(name, "137");
        }
        counting(bench, "again", &[]);
        docker.ok(&["pause", "again"]);
        docker.ok(&["restart", "-t", "0", "again"]);
        assert_eq!(state(bench, "again"), "running true false");
        docker.ok(&["pause", "again"]);
        docker.ok(&["rm", "-f", "again"]);
        counting(bench, "gone", &["--rm"]);
        docker.ok(&["pause", "gone"]);
        docker.ok(&["kill", "gone"]);
        until("the removal", PATIENCE, || {
            docker
                .ok(&["ps", "-aq", "--filter", "name=gone"])
                .is_empty()
                .then_some(())
        });
        // The end of the engine ends what is paused too.
        counting(bench, "last", &[]);
        docker.ok(&["pause", "last"]);
    });
}

#[test]
fn another_engine_finds_what_is_paused() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    counting(&bench, "box", &[]);
    counting(&bench, "free", &[]);
    bench.docker.ok(&["pause", "box"]);
    bench.engine.kill();
    bench.engine.restart();
    assert_eq!(state(&bench, "box"), "paused true true");
    assert_eq!(state(&bench, "free"), "running true false");
    bench.docker.ok(&["unpause", "box"]);
    counts(&bench, "box");
    bench.finish();
}
