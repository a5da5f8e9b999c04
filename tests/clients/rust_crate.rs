//! The `etcd` crate of Rust: a program of its own, outside the workspace, because the crate stands on a runtime of
//! another age.

use std::process::Command;

use berth_harness::run;

use crate::network::in_own_network;
use crate::programs::{LONG, clean, install, kept, source};
use crate::server::Server;

#[test]
fn the_etcd_crate_works_with_keys_watches_members_and_stats() {
    let target = kept("rust-etcd");
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo
        .args(["build", "--quiet", "--locked", "--manifest-path"])
        .arg(source("rust-etcd/Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // What the outer cargo says about flags is not meant for a crate of this age.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    install("the etcd crate", &mut cargo);
    in_own_network(|| {
        let server = Server::start();
        let mut client = clean(target.join("debug/rust-etcd"), server.folder());
        run(client.arg(server.url()), LONG).ok();
    });
}
