//! Restart policies: what ends is started again, unless somebody wants it to end.

use std::time::Duration;

use berth_harness::until;

use crate::{Bench, skipped, with_each_client};

/// Longest wait for a restart.
const PATIENCE: Duration = Duration::from_secs(30);

fn state(bench: &Bench, name: &str) -> String {
    let format = "{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}";
    bench.docker.ok(&["inspect", "--format", format, name])
}

fn reaches(bench: &Bench, name: &str, wanted: &str) {
    until(&format!("{name} to be {wanted}"), PATIENCE, || {
        (state(bench, name) == wanted).then_some(())
    });
}

#[test]
fn policies_start_containers_again() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let run = |name: &str, policy: &str, script: &str| {
            docker.ok(&[
                "run",
                "-d",
                "--name",
                name,
                "--restart",
                policy,
                "app",
                "sh",
                "-c",
                script,
            ])
        };
        // The third start is the second restart.
        run("tries", "on-failure:2", "exit 4");
        reaches(bench, "tries", "exited 4 2");
        run("content", "on-failure", "exit 0");
        reaches(bench, "content", "exited 0 0");
        run(
            "again",
            "always",
            "touch /ran; test -e /second || { touch /second; exit 1; }; sleep 1000",
        );
        reaches(bench, "again", "running 0 1");
        assert!(docker.ok(&["ps"]).contains("again"));
        docker.ok(&["kill", "again"]);
        reaches(bench, "again", "exited 137 1");
        docker.ok(&["start", "again"]);
        reaches(bench, "again", "running 0 0");
        docker.ok(&["stop", "-t", "0", "again"]);
        reaches(bench, "again", "exited 137 0");
        run("loop", "unless-stopped", "exit 1");
        until("the wait for a restart", PATIENCE, || {
            state(bench, "loop").starts_with("restarting 1").then_some(())
        });
        docker.ok(&["stop", "loop"]);
        assert!(
            state(bench, "loop").starts_with("exited 1 "),
            "{}",
            state(bench, "loop")
        );
        let refused = docker.run(&["create", "--restart", "bad", "app", "true"]);
        assert!(
            refused.code != 0 && refused.stderr.contains("restart"),
            "{}",
            refused.stderr
        );
        for name in ["tries", "content", "again", "loop"] {
            docker.ok(&["rm", "-f", name]);
        }
    });
}

#[test]
fn policies_hold_when_the_engine_starts() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    for (name, policy) in [
        ("always", "always"),
        ("unless", "unless-stopped"),
        ("stopped", "unless-stopped"),
        ("no", "no"),
    ] {
        bench.docker.ok(&[
            "run",
            "-d",
            "--name",
            name,
            "--restart",
            policy,
            "app",
            "sleep",
            "1000",
        ]);
    }
    bench.docker.ok(&["stop", "-t", "0", "stopped"]);
    bench.docker.ok(&["stop", "-t", "0", "always"]);
    let pid = bench
        .docker
        .ok(&["inspect", "--format", "{{.State.Pid}}", "unless"]);
    bench.engine.kill();
    // It ends while nobody looks.
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    bench.engine.restart();
    reaches(&bench, "always", "running 0 0");
    reaches(&bench, "unless", "running 0 0");
    reaches(&bench, "stopped", "exited 137 0");
    reaches(&bench, "no", "running 0 0");
    for name in ["always", "unless", "stopped", "no"] {
        bench.docker.ok(&["rm", "-f", name]);
    }
    bench.finish();
}
