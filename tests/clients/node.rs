//! node-etcd: keys, conditions, and its watcher that resumes by itself. The scripts stand in `node/`.

use std::process::Command;

use berth_harness::run;

use crate::network::in_own_network;
use crate::programs::{LONG, clean, installed, need, source};
use crate::server::{PORT, Server};

const NODE: &str = "/usr/bin/node";
const NPM: &str = "/usr/bin/npm";
/// The client, at one version.
const PIN: &str = "node-etcd@7.0.0";

fn script(name: &str) {
    need(NODE, "nodejs");
    need(NPM, "npm");
    let library = installed("node-etcd-7.0.0", |folder| {
        let mut npm = Command::new(NPM);
        npm.args([
            "install",
            "--no-save",
            "--no-audit",
            "--no-fund",
            "--silent",
            "--prefix",
        ])
        .arg(folder)
        .arg(PIN);
        npm
    });
    in_own_network(|| {
        let server = Server::start();
        let mut node = clean(NODE, server.folder());
        node.env("NODE_PATH", library.join("node_modules"))
            .env("NODE_NO_WARNINGS", "1")
            .arg(source("node").join(name))
            .arg(server.address().to_string());
        assert_eq!(server.address().port(), PORT);
        run(&mut node, LONG).ok();
    });
}

#[test]
fn node_etcd_works_with_keys_and_directories() {
    script("keys.js");
}

#[test]
fn node_etcd_watches_and_streams() {
    script("watches.js");
}
