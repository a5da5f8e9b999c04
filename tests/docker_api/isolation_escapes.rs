//! Ways out of containers that others have had: images and containers that lie about `/proc`, `/sys`, `/dev` and their own
//! files. Each ends inside, or is refused.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{Bench, skipped};

fn sh(bench: &Bench, flags: &[&str], script: &str) -> String {
    bench
        .docker
        .ok(&[&["run", "--rm"], flags, &["app", "sh", "-c", script]].concat())
}

/// An image made of `app` by a script.
fn image(bench: &Bench, name: &str, script: &str) {
    let docker = &bench.docker;
    docker.ok(&["run", "--name", "builder", "app", "sh", "-c", script]);
    docker.ok(&["commit", "builder", name]);
    docker.ok(&["rm", "-v", "builder"]);
}

#[test]
fn an_image_whose_places_are_links_does_not_lead_out() {
    let bench = Bench::new();
    let outside = bench.scratch.join("outside");
    fs::create_dir(&outside).unwrap();
    let target = outside.to_string_lossy();
    // As files of an archive: a container cannot replace what is mounted.
    let tar = bench.scratch.join("links.tar");
    let made = bench.scratch.join("links");
    fs::create_dir_all(made.join("bin")).unwrap();
    fs::copy("/bin/busybox", made.join("bin/sh")).unwrap();
    for name in ["proc", "sys", "dev", "etc", "there", "vol"] {
        std::os::unix::fs::symlink(&*target, made.join(name)).unwrap();
    }
    let packed = std::process::Command::new("tar")
        .arg("-cf")
        .arg(&tar)
        .arg("-C")
        .arg(&made)
        .arg(".")
        .status();
    assert!(packed.unwrap().success());
    bench.docker.ok(&[
        "import",
        "-c",
        "VOLUME /vol/deep",
        &tar.to_string_lossy(),
        "links",
    ]);
    for flags in [
        &["run", "--rm"][..],
        &["run", "--rm", "-w", "/there/new"],
        &["run", "--rm", "-v", "/vol/more"],
        &["run", "--rm", "--tmpfs", "/there/tmp"],
        &["run", "--rm", "-t"],
        &["run", "--rm", "--device", "/dev/zero:/there/zero"],
    ] {
        // Refused or done inside: both are well, only the host must not see anything of it.
        bench
            .docker
            .run(&[flags, &["links", "/bin/sh", "-c", "true"]].concat());
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{flags:?}");
    }
    bench.docker.ok(&["rmi", "links"]);
    bench.finish();
}

#[test]
fn the_working_directory_is_never_the_hosts() {
    let bench = Bench::new();
    for number in 3..12 {
        let place = format!("/proc/self/fd/{number}");
        let finished = bench.docker.run(&[
            "run",
            "--rm",
            "-w",
            &place,
            "app",
            "sh",
            "-c",
            "ls ../../../../etc/shadow",
        ]);
        assert_ne!(finished.code, 0, "{place}: {}", finished.stdout);
    }
    image(
        &bench,
        "cwd",
        "/bin/busybox ln -s /proc/self/fd/4 /out; /bin/busybox ln -s /proc/1/cwd /up",
    );
    for place in ["/out", "/up", "/up/.."] {
        let finished = bench
            .docker
            .run(&["run", "--rm", "-w", place, "cwd", "ls", "etc/shadow"]);
        assert_ne!(finished.code, 0, "{place}: {}", finished.stdout);
    }
    bench.docker.ok(&["rmi", "cwd"]);
    bench.finish();
}

#[test]
fn the_runtimes_own_program_cannot_be_written() {
    if skipped("the program of Berth's own runtime") {
        return;
    }
    let bench = Bench::new();
    let program = Path::new(env!("CARGO_BIN_EXE_berth"));
    let before = fs::metadata(program).unwrap();
    image(&bench, "self", "/bin/busybox ln -s /proc/self/exe /entry");
    let started = bench.docker.run(&["run", "--rm", "self", "/entry", "true"]);
    assert!(!started.stdout.contains("berth"), "{}", started.stdout);
    bench.docker.ok(&[
        "run",
        "-d",
        "--name",
        "waits",
        "app",
        "sh",
        "-c",
        "while true; do for p in /proc/[0-9]*; do echo x 2>/dev/null > $p/exe; done; done 2>/dev/null",
    ]);
    for _ in 0..10 {
        bench.docker.run(&["exec", "waits", "true"]);
    }
    bench.docker.ok(&["rm", "-f", "waits"]);
    // The init program is in the container, but nobody can write to it there.
    assert_eq!(
        sh(
            &bench,
            &["--init"],
            "(echo x > /sbin/.berth-init/run) 2>/dev/null || echo refused"
        ),
        "refused"
    );
    let after = fs::metadata(program).unwrap();
    assert_eq!(
        (before.len(), before.ino(), before.mtime()),
        (after.len(), after.ino(), after.mtime())
    );
    bench.docker.ok(&["rmi", "self"]);
    bench.finish();
}

#[test]
fn the_kernel_tells_and_takes_nothing() {
    let bench = Bench::new();
    for (script, wanted) in [
        // Settings of the host, and what is only for it.
        (
            "(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null || echo refused",
            "refused",
        ),
        (
            "(echo b > /proc/sysrq-trigger) 2>/dev/null || echo refused",
            "refused",
        ),
        (
            "cat /proc/keys /proc/timer_list /proc/kcore 2>/dev/null | head -c 1; echo",
            "",
        ),
        (
            "ls /sys/firmware /sys/devices/virtual/powercap 2>/dev/null | grep -v : | grep . ; true",
            "",
        ),
        // The release agent of control groups, and writing to them at all.
        (
            "(mkdir /sys/fs/cgroup/new) 2>/dev/null || echo refused",
            "refused",
        ),
        (
            "(mount -t cgroup -o memory none /tmp) 2>/dev/null || echo refused",
            "refused",
        ),
        // Nothing that is open comes from the host.
        (
            "ls -l /proc/self/fd 2>/dev/null | grep -- '->' | grep -v -e pipe: -e /dev/null -e '> /proc/'; true",
            "",
        ),
    ] {
        if script.contains("cgroup/new")
            && bench
                .engine
                .differs("the directory above dockerd's control groups can be written")
        {
            continue;
        }
        assert_eq!(sh(&bench, &[], script), wanted, "{script}");
    }
    // The runtime leaves nothing in the environment.
    let environment = sh(&bench, &[], "env");
    assert!(
        !environment.contains("BERTH") && !environment.contains("LISTEN_"),
        "{environment}"
    );
    // Sockets of the host's abstract names belong to its network.
    assert_eq!(sh(&bench, &[], "grep -c @ /proc/net/unix; true"), "0");
    bench.finish();
}

#[test]
fn the_files_of_containers_are_closed_to_users_of_the_host() {
    let bench = Bench::new();
    bench.docker.ok(&[
        "run",
        "-d",
        "--name",
        "suid",
        "-v",
        "data:/data",
        "app",
        "sleep",
        "1000",
    ]);
    bench.docker.ok(&[
        "exec",
        "suid",
        "sh",
        "-c",
        "/bin/busybox cp /bin/busybox /data/tool; chmod 4755 /data/tool",
    ]);
    let place = bench
        .docker
        .ok(&["volume", "inspect", "--format", "{{.Mountpoint}}", "data"]);
    let tool = Path::new(&place).join("tool");
    assert_eq!(fs::metadata(&tool).unwrap().mode() & 0o7777, 0o4755);
    // Somewhere above it nobody but root may pass.
    let closed = tool
        .ancestors()
        .skip(1)
        .any(|above| fs::metadata(above).unwrap().mode() & 0o001 == 0);
    assert!(closed, "{place} can be reached by everybody");
    bench.docker.ok(&["rm", "-f", "suid"]);
    bench.docker.ok(&["volume", "rm", "data"]);
    bench.finish();
}
