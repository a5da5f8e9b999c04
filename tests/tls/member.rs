//! A `berth store` with flags of the test's choice, and curl to talk to it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use berth_harness::{Finished, Process, Scratch, quiet_port, run, until};

use crate::authority::Pair;
use crate::berth;

/// Longest start, and longest wait for anything, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// A store. Dropping it kills it.
pub(crate) struct Member {
    pub(crate) client: SocketAddr,
    pub(crate) peer: SocketAddr,
    process: Process,
}

/// An address that is free.
pub(crate) fn place() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], quiet_port()))
}

/// Flags of files: `--NAME FILE` of each pair.
pub(crate) fn flags(files: &[(&str, &Path)]) -> Vec<String> {
    let words = files
        .iter()
        .map(|(name, path)| [format!("--{name}"), path.display().to_string()]);
    words.flatten().collect()
}

impl Member {
    /// Starts it. `more` are flags beside those of the addresses and the directory.
    pub(crate) fn spawn(
        scratch: &Scratch,
        name: &str,
        at: (SocketAddr, SocketAddr),
        more: &[String],
    ) -> Member {
        let (client, peer) = at;
        let mut command = berth().command(&["store", "--name", name]);
        command
            .arg("--data-dir")
            .arg(scratch.join(name))
            .args(["--listen-client", &client.to_string()])
            .args(["--listen-peer", &peer.to_string()])
            .args(more);
        let process = Process::start(&mut command, &scratch.join(&format!("{name}.log")));
        Member {
            client,
            peer,
            process,
        }
    }

    /// The same on free addresses, and waits until it serves.
    pub(crate) fn start(scratch: &Scratch, name: &str, more: &[String]) -> Member {
        let mut member = Member::spawn(scratch, name, (place(), place()), more);
        member.wait_ready();
        member
    }

    pub(crate) fn wait_ready(&mut self) {
        until("the store's ready line", PATIENCE, || {
            let log = self.process.output();
            if let Some(status) = self.process.ended() {
                panic!("the store ended with {status}:\n{log}");
            }
            log.contains("store ready").then_some(())
        });
    }

    /// Waits for its end; its exit code.
    pub(crate) fn wait_end(&mut self) -> i32 {
        self.process.wait(PATIENCE).code().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.process.output()
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Waits until it has said something.
    pub(crate) fn wait_log(&self, words: &str) {
        until(&format!("{words:?} in the log"), PATIENCE, || {
            self.log().contains(words).then_some(())
        });
    }

    /// A URL of the port for clients.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.client)
    }

    /// A URL of the port for members.
    pub(crate) fn peer_url(&self) -> String {
        format!("https://{}", self.peer)
    }
}

/// curl with an authority and perhaps a certificate: the status (000 for none) at the end of its output.
pub(crate) fn curl(ca: &Path, shown: Option<&Pair>, words: &[&str]) -> Finished {
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "30", "-w", "\n%{http_code}", "--cacert"])
        .arg(ca);
    if let Some(pair) = shown {
        command.arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key);
    }
    run(command.args(words), PATIENCE)
}

/// The status of an answer.
pub(crate) fn status(finished: &Finished) -> &str {
    finished.stdout.rsplit('\n').next().unwrap_or_default()
}
