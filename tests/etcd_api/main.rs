//! The keys API from outside: case files, watches and TTLs, against Berth and against real etcd 3.4.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod auth;
mod cases;
mod curl;
mod differential;
mod future;
mod stats;
mod ttl;
mod watch;
mod wire;

use std::io::Write as _;
use std::net::SocketAddr;

use berth_harness::{Berth, Etcd, Response, Scratch, Store, request};

/// A fresh member to ask, whichever program it is. The scratch directory lives as long as the member.
#[derive(Debug)]
struct Member {
    program: Program,
    _scratch: Scratch,
}

#[derive(Debug)]
enum Program {
    Berth(Store),
    Etcd(Etcd),
}

impl Member {
    fn berth() -> Self {
        let scratch = Scratch::new();
        let store = Store::start(&Berth::new(env!("CARGO_BIN_EXE_berth")), &scratch);
        Self {
            program: Program::Berth(store),
            _scratch: scratch,
        }
    }

    fn etcd() -> Self {
        let scratch = Scratch::new();
        Self {
            program: Program::Etcd(Etcd::start(&scratch)),
            _scratch: scratch,
        }
    }

    fn name(&self) -> &'static str {
        match &self.program {
            Program::Berth(_) => "berth",
            Program::Etcd(_) => "etcd",
        }
    }

    fn address(&self) -> SocketAddr {
        match &self.program {
            Program::Berth(store) => store.address(),
            Program::Etcd(etcd) => etcd.address(),
        }
    }

    /// One request; `form` becomes the body with curl's content type.
    fn ask(&self, method: &str, target: &str, form: &str) -> Response {
        let headers: &[(&str, &str)] = if form.is_empty() {
            &[]
        } else {
            &[("Content-Type", "application/x-www-form-urlencoded")]
        };
        request(self.address(), method, target, headers, form.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }
}

/// Tells a count. Not through the macros, whose output the test runner keeps to itself.
fn tell(text: &str) {
    let mut out = std::io::stderr();
    writeln!(out, "etcd_api: {text}").unwrap();
}

/// Whether only the reference is to be tested.
fn reference_alone() -> bool {
    std::env::var_os("REFERENCE").is_some()
}

/// Runs a test on the reference and on Berth; with `REFERENCE` set, on the reference alone.
fn on_both(test: impl Fn(&Member)) {
    test(&Member::etcd());
    on_berth(test);
}

/// Runs a test of what only Berth does.
fn on_berth(test: impl Fn(&Member)) {
    if !reference_alone() {
        test(&Member::berth());
    }
}
