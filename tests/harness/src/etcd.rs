//! Debian's etcd 3.4 with the v2 API on, as the reference and as the benchmark's peer.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

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
        let client_url = format!("http://127.0.0.1:{client}");
        let peer_url = format!("http://127.0.0.1:{peer}");
        let mut command = Command::new("/usr/bin/etcd");
        command
            .args([
                "--enable-v2=true",
                "--logger=zap",
                "--log-level=error",
                "--name=m0",
            ])
            .arg(format!("--data-dir={}", scratch.join("etcd").display()))
            .arg(format!("--listen-client-urls={client_url}"))
            .arg(format!("--advertise-client-urls={client_url}"))
            .arg(format!("--listen-peer-urls={peer_url}"))
            .arg(format!("--initial-advertise-peer-urls={peer_url}"))
            .arg(format!("--initial-cluster=m0={peer_url}"));
        let process = Process::start(&mut command, &scratch.join("etcd.log"));
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
