//! What a container sees of itself and of its host.

use crate::Bench;

fn sh(bench: &Bench, flags: &[&str], script: &str) -> String {
    let line = [&["run", "--rm"], flags, &["app", "sh", "-c", script]].concat();
    bench.docker.ok(&line)
}

#[test]
fn the_default_container_has_dockers_default_rights() {
    let bench = Bench::new();
    let status = sh(&bench, &[], "cat /proc/self/status");
    for expected in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a80425fb",
        "CapEff:\t00000000a80425fb",
        "CapBnd:\t00000000a80425fb",
        "CapAmb:\t0000000000000000",
        "NoNewPrivs:\t0",
        "Seccomp:\t2",
    ] {
        assert!(status.contains(expected), "{expected} is missing in\n{status}");
    }
    let user = sh(&bench, &["--user", "app"], "id; cat /proc/self/status");
    assert!(
        user.starts_with("uid=1000(app) gid=1000(app) groups=") && user.contains("2000(extra)"),
        "{user}"
    );
    assert!(user.contains("CapEff:\t0000000000000000"), "{user}");
    let none = sh(
        &bench,
        &["--security-opt", "no-new-privileges"],
        "cat /proc/self/status",
    );
    assert!(none.contains("NoNewPrivs:\t1"), "{none}");
    let dropped = sh(
        &bench,
        &["--cap-drop", "ALL", "--cap-add", "CHOWN"],
        "cat /proc/self/status",
    );
    assert!(dropped.contains("CapEff:\t0000000000000001"), "{dropped}");
    bench.finish();
}

#[test]
fn every_namespace_is_its_own() {
    let bench = Bench::new();
    for kind in ["pid", "mnt", "net", "uts", "ipc", "cgroup"] {
        let inside = sh(
            &bench,
            &[],
            &format!("readlink /proc/self/ns/{kind} || ls -l /proc/self/ns/{kind}"),
        );
        let outside = std::fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap();
        let outside = outside.to_string_lossy();
        assert!(inside.contains(&format!("{kind}:[")), "{inside}");
        let shared = kind == "cgroup"
            && bench
                .engine
                .differs("dockerd shares it where the host has version 1");
        assert!(
            shared || !inside.contains(&*outside),
            "{kind} is the host's: {inside}"
        );
    }
    assert_eq!(sh(&bench, &[], "echo $$"), "1");
    assert_eq!(
        sh(&bench, &["--hostname", "box"], "hostname; cat /etc/hostname"),
        "box\nbox"
    );
    bench.finish();
}

#[test]
fn the_file_systems_are_as_they_should_be() {
    let bench = Bench::new();
    let mounts = sh(&bench, &[], "cat /proc/self/mountinfo");
    for (target, words) in [
        ("/", "overlay"),
        ("/proc", "nosuid,nodev,noexec"),
        ("/sys", "ro,nosuid,nodev,noexec"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "nosuid,nodev,noexec"),
        ("/dev/mqueue", "mqueue"),
        ("/proc/sys", "ro"),
        ("/proc/keys", ""),
        ("/sys/firmware", "ro"),
        ("/etc/resolv.conf", ""),
        ("/etc/hosts", ""),
        ("/etc/hostname", ""),
    ] {
        // The fifth field is the mount point, the fourth may look like one.
        let line = mounts
            .lines()
            .rfind(|line| line.split(' ').nth(4) == Some(target));
        let line = line.unwrap_or_else(|| panic!("no mount at {target} in\n{mounts}"));
        assert!(line.contains(words), "{words} is missing in {line}");
    }
    let devices = sh(&bench, &[], "ls /dev");
    // A link to the kernel's memory, which not every kernel offers.
    let devices: Vec<&str> = devices
        .split_whitespace()
        .filter(|name| *name != "core")
        .collect();
    assert_eq!(
        devices,
        [
            "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
            "tty", "urandom", "zero"
        ]
    );
    let denied = sh(
        &bench,
        &[],
        "mknod /tmp/disk b 254 0; head -c 1 /tmp/disk; echo 1 > /proc/sys/kernel/hostname; true",
    );
    assert_eq!(denied, "");
    assert_eq!(
        sh(&bench, &["--read-only"], "touch /x 2>/dev/null || echo refused"),
        "refused"
    );
    bench.finish();
}

#[test]
fn forbidden_calls_are_refused() {
    let bench = Bench::new();
    let refused = bench
        .docker
        .run(&["run", "--rm", "app", "mount", "-t", "tmpfs", "none", "/tmp"]);
    assert_ne!(refused.code, 0);
    let open = bench.docker.run(&[
        "run",
        "--rm",
        "--security-opt",
        "seccomp=unconfined",
        "app",
        "grep",
        "Seccomp:",
        "/proc/self/status",
    ]);
    assert_eq!(open.stdout, "Seccomp:\t0\n", "{}", open.stderr);
    let descriptors = sh(
        &bench,
        &[],
        "ls /proc/self/fd | wc -l 2>/dev/null || ls /proc/self/fd",
    );
    assert!(!descriptors.contains('9'), "{descriptors}");
    bench.finish();
}

#[test]
fn limits_hold() {
    let bench = Bench::new();
    let killed = bench.docker.run(&[
        "run",
        "--name",
        "hog",
        "-m",
        "16m",
        "app",
        "sh",
        "-c",
        "tail /dev/zero; exit 9",
    ]);
    let oom = bench.docker.ok(&[
        "inspect",
        "--format",
        "{{.State.OOMKilled}} {{.State.ExitCode}}",
        "hog",
    ]);
    assert!(oom.starts_with("true "), "{oom} {}", killed.stderr);
    let crowded = bench.docker.run(&[
        "run",
        "--rm",
        "--pids-limit",
        "5",
        "app",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; wait",
    ]);
    assert!(
        crowded.stderr.contains("fork"),
        "{} {}",
        crowded.stdout,
        crowded.stderr
    );
    let small = bench.docker.run(&["run", "--rm", "-m", "1m", "app", "true"]);
    assert_eq!(small.code, 125);
    assert!(small.stderr.contains("Minimum memory limit"), "{}", small.stderr);
    bench.finish();
}

#[test]
fn networks_none_and_host_are_what_they_say() {
    let bench = Bench::new();
    let none = sh(
        &bench,
        &["--network", "none"],
        "ls /sys/class/net; cat /proc/net/dev",
    );
    assert!(none.contains("lo") && !none.contains("eth0"), "{none}");
    let host = sh(
        &bench,
        &["--network", "host"],
        "readlink /proc/self/ns/net || ls -l /proc/self/ns/net",
    );
    let outside = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
    assert!(host.contains(&*outside.to_string_lossy()), "{host}");
    let bridge = sh(&bench, &[], "ip route; ip addr show eth0");
    assert!(bridge.contains("default via"), "{bridge}");
    bench.finish();
}
