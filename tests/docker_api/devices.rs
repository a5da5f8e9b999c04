//! Devices, privileged mode, capabilities and security options.

use std::fs;

use crate::{Bench, skipped};

fn sh(bench: &Bench, flags: &[&str], script: &str) -> String {
    bench
        .docker
        .ok(&[&["run", "--rm"], flags, &["app", "sh", "-c", script]].concat())
}

fn refused(bench: &Bench, flags: &[&str], words: &str) {
    let finished = bench
        .docker
        .run(&[&["run", "--rm"], flags, &["app", "true"]].concat());
    assert_ne!(finished.code, 0, "{flags:?}");
    assert!(
        finished.stderr.contains(words),
        "{words} is missing in {}",
        finished.stderr
    );
}

/// The kernel's word for what a process may do.
fn status(bench: &Bench, flags: &[&str], field: &str) -> String {
    let line = sh(bench, flags, &format!("grep {field}: /proc/self/status"));
    line.split_whitespace().nth(1).unwrap_or_default().to_owned()
}

/// The daemon's own bounding set.
fn own_bounding() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("CapBnd:")).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn devices_are_given_by_name() {
    let bench = Bench::new();
    // Made anew as another device: `/dev/zero`.
    let read = "head -c 3 /dev/nought > /dev/null && echo read";
    assert_eq!(sh(&bench, &["--device", "/dev/zero:/dev/nought"], read), "read");
    assert!(
        sh(
            &bench,
            &["--device", "/dev/zero:/dev/deep/er"],
            "ls -l /dev/deep/er"
        )
        .starts_with("crw")
    );
    // A device that no container has by default: without it a node of the same number cannot be opened.
    let (path, node) = (
        "/dev/loop-control",
        "mknod /tmp/n c 10 237; head -c 0 < /tmp/n && echo opened; true",
    );
    assert!(fs::exists(path).unwrap(), "the test needs {path}");
    assert_eq!(sh(&bench, &[], &format!("({node}) 2>/dev/null; true")), "");
    assert_eq!(
        sh(
            &bench,
            &["--device", path],
            &format!("head -c 0 < {path} && echo opened")
        ),
        "opened"
    );
    let only_made = sh(
        &bench,
        &["--device", &format!("{path}:{path}:m")],
        &format!("(head -c 0 < {path} && echo opened) 2>/dev/null; true"),
    );
    assert_eq!(only_made, "");
    assert_eq!(
        sh(&bench, &["--device-cgroup-rule", "c 10:237 rwm"], node),
        "opened"
    );
    refused(
        &bench,
        &["--device", "/dev/there-is-none"],
        "error gathering device information",
    );
    refused(&bench, &["--device", "/etc/passwd"], "not a device node");
    bench.finish();
}

#[test]
fn privileged_mode_gives_what_the_daemon_has() {
    if skipped("runc does not give what the machine itself lacks") {
        return;
    }
    let bench = Bench::new();
    let privileged = ["--privileged"];
    assert_eq!(status(&bench, &privileged, "CapEff"), own_bounding());
    assert_eq!(status(&bench, &privileged, "Seccomp"), "0");
    let mounts = sh(&bench, &privileged, "cat /proc/self/mountinfo");
    let of = |target: &str| {
        mounts
            .lines()
            .filter(|line| line.split(' ').nth(4) == Some(target))
            .count()
    };
    for target in ["/proc/sys", "/proc/kcore", "/sys/firmware", "/proc/keys"] {
        assert_eq!(of(target), 0, "{target} is covered in\n{mounts}");
    }
    let sys = mounts
        .lines()
        .find(|line| line.split(' ').nth(4) == Some("/sys"))
        .unwrap();
    assert!(sys.contains(" rw,"), "{sys}");
    let devices = sh(&bench, &privileged, "ls /dev");
    for name in ["kmsg", "loop-control", "null", "pts"] {
        assert!(
            devices.lines().any(|line| line == name),
            "{name} is missing in\n{devices}"
        );
    }
    assert_eq!(
        sh(&bench, &privileged, "mount -t tmpfs none /tmp && echo mounted"),
        "mounted"
    );
    assert_eq!(sh(&bench, &privileged, "echo $$"), "1", "namespaces stay");
    let masked = bench
        .docker
        .ok(&["create", "--name", "priv", "--privileged", "app", "true"]);
    let format = "{{.HostConfig.Privileged}} {{json .HostConfig.MaskedPaths}}";
    assert_eq!(
        bench.docker.ok(&["inspect", "--format", format, &masked]),
        "true null"
    );
    // Another process with more rights than its container.
    bench
        .docker
        .ok(&["run", "-d", "--name", "plain", "app", "sleep", "1000"]);
    let line = bench.docker.ok(&[
        "exec",
        "--privileged",
        "plain",
        "grep",
        "CapEff:",
        "/proc/self/status",
    ]);
    assert!(line.ends_with(&own_bounding()), "{line}");
    let line = bench
        .docker
        .ok(&["exec", "plain", "grep", "CapEff:", "/proc/self/status"]);
    assert!(line.ends_with("00000000a80425fb"), "{line}");
    bench.docker.ok(&["rm", "-f", "priv", "plain"]);
    bench.finish();
}

#[test]
fn capabilities_are_added_and_dropped_in_every_spelling() {
    let bench = Bench::new();
    for (flags, wanted) in [
        (vec!["--cap-add", "NET_ADMIN"], "00000000a80435fb"),
        (vec!["--cap-add", "cap_net_admin"], "00000000a80435fb"),
        (
            vec!["--cap-drop", "CAP_CHOWN", "--cap-drop", "kill"],
            "00000000a80425da",
        ),
        (vec!["--cap-drop", "all"], "0000000000000000"),
        (
            vec!["--cap-drop", "ALL", "--cap-add", "NET_RAW"],
            "0000000000002000",
        ),
    ] {
        assert_eq!(status(&bench, &flags, "CapEff"), wanted, "{flags:?}");
    }
    if !bench
        .engine
        .differs("runc does not give what the machine itself lacks")
    {
        assert_eq!(status(&bench, &["--cap-add", "ALL"], "CapEff"), own_bounding());
    }
    refused(&bench, &["--cap-add", "NONSENSE"], "unknown capability");
    bench.finish();
}

#[test]
fn security_options_of_every_form() {
    let bench = Bench::new();
    for option in [
        "no-new-privileges",
        "no-new-privileges=true",
        "no-new-privileges:true",
    ] {
        assert_eq!(
            status(&bench, &["--security-opt", option], "NoNewPrivs"),
            "1",
            "{option}"
        );
    }
    assert_eq!(
        status(
            &bench,
            &["--security-opt", "no-new-privileges=false"],
            "NoNewPrivs"
        ),
        "0"
    );
    for option in ["label=disable", "label=type:svirt_apache", "apparmor=unconfined"] {
        sh(&bench, &["--security-opt", option], "true");
    }
    if !fs::exists("/sys/kernel/security/apparmor").unwrap_or(false)
        && !bench
            .engine
            .differs("dockerd ignores a profile that the host cannot apply")
    {
        refused(&bench, &["--security-opt", "apparmor=docker-default"], "AppArmor");
    }
    refused(&bench, &["--security-opt", "foo=bar"], "invalid --security-opt");
    let open = sh(
        &bench,
        &["--security-opt", "systempaths=unconfined"],
        "cat /proc/self/mountinfo",
    );
    assert!(!open.contains(" /proc/kcore "), "{open}");
    let profile = bench.scratch.join("profile.json");
    let text = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":28}]}"#;
    fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    let own = bench
        .docker
        .run(&["run", "--rm", "--security-opt", &option, "app", "mkdir", "/x"]);
    assert!(
        own.code != 0 && own.stderr.contains("No space left"),
        "{}",
        own.stderr
    );
    assert_eq!(status(&bench, &["--security-opt", &option], "Seccomp"), "2");
    fs::write(&profile, r#"{"defaultAction":"SCMP_ACT_NONSENSE"}"#).unwrap();
    refused(&bench, &["--security-opt", &option], "seccomp");
    bench.finish();
}

#[test]
fn limits_groups_and_settings() {
    let bench = Bench::new();
    let flags = [
        "--group-add",
        "extra",
        "--group-add",
        "4711",
        "--ulimit",
        "nofile=100:200",
    ];
    let shown = sh(&bench, &flags, "id; ulimit -n; ulimit -Hn");
    assert!(shown.contains("2000(extra)") && shown.contains("4711"), "{shown}");
    assert!(shown.ends_with("100\n200"), "{shown}");
    let flags = [
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--shm-size",
        "32m",
        "--oom-score-adj",
        "500",
    ];
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/self/oom_score_adj; grep /dev/shm /proc/mounts";
    let shown = sh(&bench, &flags, script);
    assert!(
        shown.starts_with("1\n500\n") && shown.contains("size=32768k"),
        "{shown}"
    );
    bench.finish();
}

#[test]
fn an_init_process_reaps_and_passes_signals_on() {
    let bench = Bench::new();
    let docker = &bench.docker;
    // An orphan is reaped: one that is not keeps its directory for ever.
    let script = "orphan=$(sh -c 'sleep 0 > /dev/null & echo $!'); while test -d /proc/$orphan; do true; done; \
                  echo $$ reaped";
    let seen = sh(&bench, &["--init"], script);
    assert!(seen.ends_with(" reaped") && !seen.starts_with("1 "), "{seen}");
    assert_eq!(
        docker
            .run(&["run", "--rm", "--init", "app", "sh", "-c", "exit 7"])
            .code,
        7
    );
    assert_eq!(
        docker
            .run(&["run", "--rm", "--init", "app", "nothing-like-it"])
            .code,
        127
    );
    docker.ok(&[
        "run",
        "-d",
        "--init",
        "--name",
        "traps",
        "app",
        "sh",
        "-c",
        "trap 'exit 9' TERM; echo ready; while true; do sleep 1; done",
    ]);
    berth_harness::until("the trap", std::time::Duration::from_secs(30), || {
        docker.ok(&["logs", "traps"]).contains("ready").then_some(())
    });
    docker.ok(&["stop", "-t", "60", "traps"]);
    assert_eq!(
        docker.ok(&["inspect", "--format", "{{.State.ExitCode}}", "traps"]),
        "9"
    );
    // A plain command dies of a signal although it is no init.
    docker.ok(&["run", "-d", "--init", "--name", "plain", "app", "sleep", "1000"]);
    docker.ok(&["stop", "-t", "60", "plain"]);
    assert_eq!(
        docker.ok(&["inspect", "--format", "{{.State.ExitCode}}", "plain"]),
        "143"
    );
    docker.ok(&["rm", "traps", "plain"]);
    bench.finish();
}
