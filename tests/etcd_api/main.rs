//! The keys API from outside: case files, watches and TTLs, against Berth and against real etcd 3.4.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod cases;
mod curl;
mod ttl;
mod watch;

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

/// Runs a test on the reference and on Berth; with `REFERENCE` set, on the reference alone.
fn on_both(test: impl Fn(&Member)) {
    test(&Member::etcd());
    if std::env::var_os("REFERENCE").is_none() {
        test(&Member::berth());
    }
}
