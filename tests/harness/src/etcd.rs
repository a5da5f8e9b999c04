//! Debian's etcd 3.4 with the v2 API on, as the reference and as the benchmark's peer.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::cluster::quiet_port;
use crate::process::Process;
use crate::scratch::{Scratch, free_port};
use crate::wait::until;

/// The index of a fresh member at rest.
const FIRST_INDEX: u64 = 3;

/// A one-member etcd in a scratch directory.
#[derive(Debug)]
pub struct Etcd {
    process: Process,
    address: SocketAddr,
}

impl Etcd {
    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(scratch: &Scratch) -> Self {
        Self::start_at(scratch, free_port(), free_port())
    }

    /// The same on ports of the caller's choice.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_at(scratch: &Scratch, client: u16, peer: u16) -> Self {
        let initial = format!("m0=http://127.0.0.1:{peer}");
        let process = spawn(scratch.path(), "m0", (client, peer), &initial);
        let address = SocketAddr::from(([127, 0, 0, 1], client));
        until("etcd's health", Duration::from_secs(20), || {
            let answer = crate::request(address, "GET", "/health", &[], b"").ok()?;
            answer.text().contains("true").then_some(())
        });
        // Its own last write of the start, the cluster's version, comes a little after its health.
        until(
            "the first index of a user's write",
            Duration::from_secs(20),
            || {
                let answer = crate::request(address, "GET", "/v2/keys", &[], b"").ok()?;
                let index: u64 = answer.header("x-etcd-index")?.parse().ok()?;
                (index >= FIRST_INDEX).then_some(())
            },
        );
        Self { process, address }
    }

    /// Its client address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

fn spawn(scratch: &Path, name: &str, (client, peer): (u16, u16), initial: &str) -> Process {
    let client_url = format!("http://127.0.0.1:{client}");
    let peer_url = format!("http://127.0.0.1:{peer}");
    let mut command = Command::new("/usr/bin/etcd");
    command
        .args(["--enable-v2=true", "--logger=zap", "--log-level=error"])
        .arg(format!("--name={name}"))
        .arg(format!(
            "--data-dir={}",
            scratch.join(format!("etcd-{name}")).display()
        ))
        .arg(format!("--listen-client-urls={client_url}"))
        .arg(format!("--advertise-client-urls={client_url}"))
        .arg(format!("--listen-peer-urls={peer_url}"))
        .arg(format!("--initial-advertise-peer-urls={peer_url}"))
        .arg(format!("--initial-cluster={initial}"));
    Process::start(&mut command, &scratch.join(format!("etcd-{name}.log")))
}

/// A cluster of several etcd members on loopback. Dropping it kills them.
#[derive(Debug)]
pub struct EtcdCluster {
    scratch: PathBuf,
    initial: String,
    places: Vec<(u16, u16)>,
    members: Vec<Option<Process>>,
}

impl EtcdCluster {
    /// Starts the members and waits until they have a leader.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn start(scratch: &Scratch, size: usize) -> Self {
        let places: Vec<(u16, u16)> = (0..size).map(|_| (quiet_port(), quiet_port())).collect();
        let named = places.iter().enumerate();
        let initial: Vec<String> = named
            .map(|(at, (_, peer))| format!("m{at}=http://127.0.0.1:{peer}"))
            .collect();
        let initial = initial.join(",");
        let member = |at: usize| Some(spawn(scratch.path(), &format!("m{at}"), places[at], &initial));
        let members = (0..size).map(member).collect();
        let cluster = Self {
            scratch: scratch.path().to_path_buf(),
            members,
            initial,
            places,
        };
        let _ = cluster.leader();
        cluster
    }

    /// Where clients reach a member.
    #[must_use]
    pub fn client(&self, at: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.places[at].0))
    }

    /// The process ids of those that run.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        self.members.iter().flatten().map(Process::id).collect()
    }

    /// Waits for a leader.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn leader(&self) -> usize {
        until("etcd's leader", Duration::from_secs(30), || {
            (0..self.members.len())
                .filter(|at| self.members[*at].is_some())
                .find(|at| {
                    let answer = crate::request_within(
                        self.client(*at),
                        "GET",
                        "/v2/stats/self",
                        &[],
                        b"",
                        Duration::from_secs(3),
                    );
                    answer.is_ok_and(|answer| answer.status == 200 && answer.json()["state"] == "StateLeader")
                })
        })
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When the member is not running.
    pub fn kill(&mut self, at: usize) {
        self.members[at].take().expect("a running member").kill();
    }

    /// Starts a member that was killed.
    pub fn restart(&mut self, at: usize) {
        let process = spawn(&self.scratch, &format!("m{at}"), self.places[at], &self.initial);
        self.members[at] = Some(process);
    }
}
