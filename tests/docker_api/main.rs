//! The Engine API driven by the stock docker clients: every case runs once for each client version on this machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod archive;
mod commit;
mod devices;
mod differential;
mod exec;
mod faults;
mod full_disk;
mod guarded_store;
mod health;
mod isolation;
mod isolation_escapes;
mod kills;
mod links;
mod logs;
mod modes;
mod networks;
mod old_api;
mod own_cli;
mod pause;
mod ports;
mod prune;
mod reference;
mod registration;
mod restart;
mod stats;
mod stress;
mod tls;
mod transcript;
mod typed;
mod volumes;

use berth_harness::{Berth, DockerCli, Scratch, busybox_rootfs, clients, need_root};

use reference::{Daemon, skipped};

/// An engine with the test image `app` in it, and a client to drive it with.
#[derive(Debug)]
struct Bench {
    engine: Daemon,
    docker: DockerCli,
    scratch: Scratch,
}

fn berth() -> Berth {
    Berth::new(env!("CARGO_BIN_EXE_berth"))
}

impl Bench {
    /// Starts an engine with more flags; `pick` chooses among the clients.
    fn start(extra: &[&str], pick: impl Fn(Vec<DockerCli>) -> DockerCli) -> Self {
        need_root();
        let scratch = Scratch::new();
        let engine = Daemon::start(&scratch, extra);
        let docker = pick(clients(&engine.socket(), &scratch.join("docker-config")));
        let rootfs = busybox_rootfs(scratch.path());
        let imported = docker.ok(&["import", &rootfs.to_string_lossy(), "app"]);
        assert!(imported.starts_with("sha256:"), "{imported}");
        Self {
            engine,
            docker,
            scratch,
        }
    }

    /// One with the first client (Debian's).
    fn new() -> Self {
        Self::start(&[], |clients| clients.into_iter().next().unwrap())
    }

    /// The address of a running container.
    fn address(&self, name: &str) -> String {
        self.docker
            .ok(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", name])
    }

    /// Stops all and fails when anything is left.
    fn finish(mut self) {
        self.engine.finish();
    }
}

/// Runs a test once for each docker client.
fn with_each_client(extra: &[&str], test: impl Fn(&mut Bench)) {
    need_root();
    let count = clients(std::path::Path::new("/nowhere"), std::path::Path::new("/nowhere")).len();
    for number in 0..count {
        let mut bench = Bench::start(extra, |clients| clients.into_iter().nth(number).unwrap());
        test(&mut bench);
        bench.finish();
    }
}
