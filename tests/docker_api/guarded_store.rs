//! Containers are registered in a store that lets nobody write without a password.

use std::time::Duration;

use berth_harness::{Scratch, Store, request, until};

use crate::{Bench, berth, skipped};

#[test]
fn the_engine_registers_under_its_user() {
    if skipped("registration") {
        return;
    }
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let url = store.url();
    let run = |words: &[&str]| berth().run(&[&["--endpoints", &url], words].concat());
    for words in [
        &["user", "add", "root:pw"][..],
        &["user", "add", "engine:pw"],
        &["role", "add", "services"],
        &[
            "role",
            "grant",
            "services",
            "--path",
            "/services/*",
            "--readwrite",
        ],
        &["user", "grant", "engine", "--roles", "services"],
        &["auth", "enable"],
        &[
            "-u", "root:pw", "role", "revoke", "guest", "--path", "/*", "--write",
        ],
    ] {
        run(words).ok();
    }
    let bench = Bench::start(&["--store", &url, "--store-username", "engine:pw"], |clients| {
        clients.into_iter().next_back().unwrap()
    });
    bench
        .docker
        .ok(&["run", "-d", "--name", "web", "-p", "80", "app", "sleep", "1000"]);
    let value = format!("{}:80", bench.address("web"));
    until("the key of the container", Duration::from_secs(30), || {
        let answer = request(store.address(), "GET", "/v2/keys/services/web/80-tcp", &[], b"").ok()?;
        (answer.status == 200 && answer.json()["node"]["value"] == *value).then_some(())
    });
    assert_eq!(run(&["set", "/services/web/80-tcp", "mine"]).code, 4);
    bench.finish();
}
