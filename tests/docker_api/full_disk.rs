//! No room under the engine's data directory: what needs room is refused, all else goes on, and later everything does.
#![allow(
    clippy::print_stdout,
    reason = "what a run went through is worth a line in its log"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use berth_harness::{Disk, DockerCli, Engine, Scratch, busybox_rootfs, clients, need_root, run, until};

use crate::berth;

/// Longest wait for a state.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for a debug build of the engine's own image too; the file behind it is sparse.
const MEBIBYTES: u64 = 1024;

/// Takes all the room that there is. Gives the file that has it.
fn fill(disk: &Path) -> std::path::PathBuf {
    let path = disk.join("fill");
    // In quick large pieces first, then to the last byte.
    for piece in ["256M", "16M", "1M", "64K"] {
        let mut size = std::fs::metadata(&path).map_or(0, |file| file.len());
        loop {
            let mut command = Command::new("fallocate");
            command
                .arg("-o")
                .arg(size.to_string())
                .arg("-l")
                .arg(piece)
                .arg(&path);
            if run(&mut command, PATIENCE).code != 0 {
                break;
            }
            size = std::fs::metadata(&path).unwrap().len();
        }
    }
    let mut file = File::options().append(true).create(true).open(&path).unwrap();
    while file.write_all(&[0; 512]).is_ok() {}
    // What is written late must have failed by now as well.
    drop(file.sync_all());
    path
}

/// An engine whose data is on a small disk.
struct Small {
    engine: Engine,
    docker: DockerCli,
    /// None after it was taken away.
    disk: Option<Disk>,
    scratch: Scratch,
}

impl Drop for Small {
    fn drop(&mut self) {
        // The engine that ends everything after a failure needs room.
        drop(std::fs::remove_file(self.scratch.join("engine").join("fill")));
        if std::thread::panicking() {
            println!("the engine's log:\n{}", self.engine.log());
        }
    }
}

impl Small {
    fn new() -> Self {
        need_root();
        let scratch = Scratch::new();
        let disk = Disk::new(scratch.join("disk.img"), scratch.join("engine"), MEBIBYTES);
        let engine = Engine::start(&berth(), &scratch, &[]);
        let docker = clients(&engine.socket(), &scratch.join("docker-config")).remove(0);
        let rootfs = busybox_rootfs(scratch.path());
        docker.ok(&["import", &rootfs.to_string_lossy(), "app"]);
        Self {
            engine,
            docker,
            disk: Some(disk),
            scratch,
        }
    }

    fn state(&self, name: &str) -> String {
        self.docker.ok(&[
            "inspect",
            "--format",
            "{{.State.Status}} {{.State.ExitCode}}",
            name,
        ])
    }

    fn finish(mut self) {
        self.engine.teardown();
        drop(self.disk.take());
        self.engine.leftovers().expect_none();
    }
}

#[test]
fn a_full_disk_stops_nothing_that_runs_and_is_no_end() {
    let mut small = Small::new();
    let docker = small.docker.clone();
    docker.ok(&["run", "-d", "--name", "stays", "app", "sleep", "1000"]);
    let talk = "trap 'exit 5' TERM; while true; do echo word; sleep 0.02; done";
    docker.ok(&["run", "-d", "--name", "talks", "app", "sh", "-c", talk]);
    docker.ok(&["create", "--name", "waits", "app", "sleep", "1000"]);
    let full = fill(&small.scratch.join("engine"));
    // The database may have some room of its own for the first few.
    let refused = until("a create to be refused", PATIENCE, || {
        let made = docker.run(&["create", "app", "true"]);
        (made.code != 0).then_some(made)
    });
    assert!(
        refused.stderr.contains("No space left on device"),
        "{}",
        refused.stderr
    );
    let refused = docker.run(&["start", "waits"]);
    assert_ne!(refused.code, 0, "what cannot be put on record is not started");
    assert!(
        refused.stderr.contains("No space left on device"),
        "{}",
        refused.stderr
    );
    assert_eq!(docker.ok(&["exec", "stays", "echo", "there"]), "there");
    assert_eq!(docker.ok(&["ps", "--format", "{{.Names}}"]), "talks\nstays");
    assert!(docker.ok(&["logs", "talks"]).starts_with("word\nword\n"));
    docker.ok(&["stop", "talks"]);
    assert_eq!(small.state("talks"), "exited 5");
    // An engine starts without room as well, and takes over what runs.
    small.engine.kill();
    small.engine.restart();
    assert_eq!(docker.ok(&["exec", "stays", "echo", "there"]), "there");
    assert_eq!(
        small.state("talks"),
        "exited 5",
        "this was worth the room that is kept"
    );
    assert_eq!(small.state("waits"), "created 128");
    docker.ok(&["rm", "talks"]);
    std::fs::remove_file(full).unwrap();
    // There is room again: everything works without another start of the engine.
    until("a container to run", PATIENCE, || {
        let ran = docker.run(&["run", "--rm", "app", "echo", "again"]);
        (ran.code == 0).then_some(())
    });
    docker.ok(&["start", "waits"]);
    assert_eq!(small.state("waits"), "running 0");
    small.engine.kill();
    small.engine.restart();
    assert_eq!(small.state("stays"), "running 0");
    assert_eq!(small.state("waits"), "running 0");
    let all = docker.ok(&["ps", "-aq"]);
    for id in all.lines() {
        docker.ok(&["rm", "-f", id]);
    }
    small.finish();
}
