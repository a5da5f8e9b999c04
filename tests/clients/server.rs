//! The server that the clients talk to, whichever program it is.

use std::net::SocketAddr;
use std::path::Path;

use berth_harness::{Berth, Etcd, Response, Scratch, Store, request};

/// The port that clients take when nobody names one.
pub(crate) const PORT: u16 = 2379;
/// The reference's own peer port, out of the way of members that a test starts.
const PEER_PORT: u16 = 23_800;

/// A fresh one-member server on a fixed port of the test's own loopback.
#[derive(Debug)]
pub(crate) struct Server {
    // Declared before the folder, so the process ends before its files go.
    program: Program,
    scratch: Scratch,
}

#[derive(Debug)]
enum Program {
    Berth(Store),
    Etcd(Etcd),
}

impl Server {
    /// Starts it on the usual port.
    pub(crate) fn start() -> Self {
        Self::start_on(PORT)
    }

    /// Starts it on `port`.
    pub(crate) fn start_on(port: u16) -> Self {
        let scratch = Scratch::new();
        let program = if std::env::var_os("REFERENCE").is_some() {
            Program::Etcd(Etcd::start_at(&scratch, port, PEER_PORT))
        } else {
            let berth = Berth::new(env!("CARGO_BIN_EXE_berth"));
            let listen = format!("127.0.0.1:{port}");
            Program::Berth(Store::start_at(&berth, &scratch.join("store"), &listen, &[]))
        };
        Self { program, scratch }
    }

    /// Its client address.
    pub(crate) fn address(&self) -> SocketAddr {
        match &self.program {
            Program::Berth(store) => store.address(),
            Program::Etcd(etcd) => etcd.address(),
        }
    }

    /// Its client URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A folder for the files of the test.
    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// One request; `form` becomes the body of a form.
    pub(crate) fn ask(&self, method: &str, target: &str, form: &str) -> Response {
        ask(self.address(), method, target, form).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }

    /// How many watches it has open.
    pub(crate) fn watches(&self) -> u64 {
        self.ask("GET", "/v2/stats/store", "").json()["watchers"]
            .as_u64()
            .unwrap()
    }
}

/// One request to any server that speaks this API.
pub(crate) fn ask(address: SocketAddr, method: &str, target: &str, form: &str) -> std::io::Result<Response> {
    let headers: &[(&str, &str)] = if form.is_empty() {
        &[]
    } else {
        &[("Content-Type", "application/x-www-form-urlencoded")]
    };
    request(address, method, target, headers, form.as_bytes())
}
