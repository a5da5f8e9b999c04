//! Namespaces that are shared with the host or with another container.

use std::fs;

use crate::{Bench, with_each_client};

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

/// A namespace of the container, as the link in its procfs.
fn namespace(bench: &Bench, flags: &[&str], kind: &str) -> String {
    let line = sh(bench, flags, &format!("ls -l /proc/self/ns/{kind}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

fn own(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}"))
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn the_hosts_namespaces_can_be_had() {
    let bench = Bench::new();
    assert_eq!(namespace(&bench, &["--pid", "host"], "pid"), own("pid"));
    assert_eq!(namespace(&bench, &["--ipc", "host"], "ipc"), own("ipc"));
    assert_eq!(namespace(&bench, &["--uts", "host"], "uts"), own("uts"));
    assert_eq!(namespace(&bench, &["--userns", "host"], "user"), own("user"));
    for (flags, kind) in [
        (["--pid", "host"], "ipc"),
        (["--ipc", "host"], "pid"),
        (["--uts", "host"], "pid"),
    ] {
        assert_ne!(namespace(&bench, &flags, kind), own(kind), "{flags:?}");
    }
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(sh(&bench, &["--uts", "host"], "hostname"), name.trim());
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), name);
    // The score is that of the container, not of the host's first process.
    let before = fs::read_to_string("/proc/1/oom_score_adj").unwrap();
    assert_eq!(
        sh(
            &bench,
            &["--pid", "host", "--oom-score-adj", "400"],
            "cat /proc/self/oom_score_adj"
        ),
        "400"
    );
    assert_eq!(fs::read_to_string("/proc/1/oom_score_adj").unwrap(), before);
    // Everything of a container ends with it, although the kernel does not see to it.
    let script = "sleep 4242 & exit 0";
    sh(&bench, &["--pid", "host"], script);
    let left = sh(&bench, &["--pid", "host"], "ps");
    assert!(!left.contains("sleep 4242"), "{left}");
    bench.finish();
}

#[test]
fn another_containers_namespaces_can_be_joined() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "one",
            "--hostname",
            "first",
            "--ipc",
            "shareable",
            "app",
            "sh",
            "-c",
            "echo shared > /dev/shm/note; exec sleep 1234",
        ]);
        let inside = |kind: &str| {
            let line = docker.ok(&["exec", "one", "ls", "-l", &format!("/proc/self/ns/{kind}")]);
            line.rsplit(' ').next().unwrap().to_owned()
        };
        assert_eq!(
            namespace(bench, &["--network", "container:one"], "net"),
            inside("net")
        );
        assert_eq!(
            namespace(bench, &["--pid", "container:one"], "pid"),
            inside("pid")
        );
        assert_eq!(
            namespace(bench, &["--ipc", "container:one"], "ipc"),
            inside("ipc")
        );
        assert!(sh(bench, &["--pid", "container:one"], "ps").contains("sleep 1234"));
        assert_eq!(
            sh(bench, &["--ipc", "container:one"], "cat /dev/shm/note"),
            "shared"
        );
        let network = sh(
            bench,
            &["--network", "container:one"],
            "hostname; cat /etc/hostname; ip addr show eth0",
        );
        let address = bench.address("one");
        assert!(
            network.starts_with("first\nfirst\n") && network.contains(&address),
            "{network}"
        );
        // A second process in such a container sees the same.
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "two",
            "--pid",
            "container:one",
            "--network",
            "container:one",
            "app",
            "sleep",
            "77",
        ]);
        let seen = docker.ok(&["exec", "two", "ps"]);
        assert!(seen.contains("sleep 1234") && seen.contains("sleep 77"), "{seen}");
        docker.ok(&["rm", "-f", "two", "one"]);
    });
}

#[test]
fn what_cannot_be_joined_is_said() {
    let bench = Bench::new();
    let docker = &bench.docker;
    refused(
        &bench,
        &["--network", "container:nobody"],
        "No such container: nobody",
    );
    refused(
        &bench,
        &["--pid", "container:nobody"],
        "No such container: nobody",
    );
    docker.ok(&["create", "--name", "still", "app", "sleep", "1000"]);
    refused(
        &bench,
        &["--network", "container:still"],
        "cannot join network of a non running container",
    );
    refused(&bench, &["--pid", "container:still"], "is not running");
    refused(&bench, &["--ipc", "container:still"], "is not running");
    docker.ok(&["start", "still"]);
    refused(&bench, &["--ipc", "container:still"], "non-shareable IPC");
    refused(&bench, &["--pid", "sideways"], "PID");
    // Its own shared memory, or none at all.
    assert_eq!(
        sh(&bench, &["--ipc", "none"], "grep -c /dev/shm /proc/mounts; true"),
        "0"
    );
    assert_eq!(
        sh(
            &bench,
            &["--ipc", "private"],
            "grep -c /dev/shm /proc/mounts; true"
        ),
        "1"
    );
    docker.ok(&["rm", "-f", "still"]);
    bench.finish();
}
