//! libkv's own suite for etcd, through the official Go client: what Swarm, Docker's networks and Traefik stand on.

use std::process::Command;

use berth_harness::run;

use crate::network::in_own_network;
use crate::programs::{LONG, clean, install, kept, need};
use crate::server::Server;

const GO: &str = "/usr/bin/go";
const SUITE: &str = "/usr/share/gocode/src/github.com/docker/libkv/store/etcd/etcd_test.go";
/// The port that the suite has written into it.
const SUITES_PORT: u16 = 4001;

#[test]
fn libkv_passes_its_own_suite() {
    need(GO, "golang-go");
    need(SUITE, "golang-github-docker-libkv-dev");
    let kept = kept("libkv");
    let suite = kept.join("suite");
    let mut go = Command::new(GO);
    go.args(["test", "-c", "-o"])
        .arg(&suite)
        .arg("github.com/docker/libkv/store/etcd")
        // Debian's sources, no network, no C compiler.
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "0")
        .env("GOPATH", "/usr/share/gocode")
        .env("GOCACHE", kept.join("cache"))
        .env_remove("GOFLAGS");
    install("libkv's suite", &mut go);
    in_own_network(|| {
        let server = Server::start_on(SUITES_PORT);
        let mut suite = clean(&suite, server.folder());
        let printed = run(suite.args(["-test.v", "-test.timeout=50s"]), LONG);
        let printed = printed.ok();
        for name in ["TestRegister", "TestEtcdStore"] {
            assert!(printed.contains(&format!("--- PASS: {name} ")), "{printed}");
        }
    });
}
