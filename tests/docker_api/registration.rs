//! A container is found by a look-up of its name, at its present address, for as long as it runs.

use std::time::Duration;

use berth_harness::{Engine, Scratch, Store, request, until};
use serde_json::Value;

use crate::{Bench, berth, skipped};

/// Seconds a key lives without its engine, in these tests.
const TTL: &str = "3";

fn lookup(store: &Store, path: &str) -> Option<Value> {
    let answer = request(
        store.address(),
        "GET",
        &format!("/v2/keys{path}?recursive=true&sorted=true"),
        &[],
        b"",
    )
    .ok()?;
    (answer.status == 200).then(|| answer.json())
}

/// The value and TTL of the only key below a service.
fn only_key(store: &Store, name: &str) -> Option<(String, String, i64)> {
    let found = lookup(store, &format!("/services/{name}"))?;
    let nodes = found["node"]["nodes"].as_array()?.clone();
    let [node] = nodes.as_slice() else {
        panic!("one key expected: {found}")
    };
    Some((
        node["key"].as_str()?.to_owned(),
        node["value"].as_str()?.to_owned(),
        node["ttl"].as_i64()?,
    ))
}

fn wait_for(store: &Store, value: &str) {
    until(&format!("the key with {value}"), Duration::from_secs(5), || {
        only_key(store, "web")
            .filter(|(_, seen, _)| seen == value)
            .map(|_| ())
    });
}

fn wait_gone(store: &Store, within: Duration) {
    until("the end of the key", within, || {
        only_key_or_none(store).is_none().then_some(())
    });
}

fn only_key_or_none(store: &Store) -> Option<Value> {
    let found = lookup(store, "/services/web")?;
    found["node"]["nodes"]
        .as_array()
        .filter(|nodes| !nodes.is_empty())
        .map(|_| found.clone())
}

fn start(scratch: &Scratch) -> (Store, Bench) {
    let store = Store::start(&berth(), scratch);
    let bench = Bench::start(&["--store", &store.url(), "--ttl", TTL], |clients| {
        clients.into_iter().next_back().unwrap()
    });
    (store, bench)
}

#[test]
fn the_key_follows_the_container() {
    if skipped("registration") {
        return;
    }
    let scratch = Scratch::new();
    let (store, bench) = start(&scratch);
    let docker = &bench.docker;
    docker.ok(&[
        "run", "-d", "--name", "web", "-p", "80", "app", "httpd", "-f", "-p", "80",
    ]);
    let first = format!("{}:80", bench.address("web"));
    wait_for(&store, &first);
    let (key, _, ttl) = only_key(&store, "web").unwrap();
    assert_eq!(key, "/services/web/80-tcp");
    assert!((1..=3).contains(&ttl), "ttl {ttl}");
    docker.ok(&["restart", "-t", "1", "web"]);
    let second = format!("{}:80", bench.address("web"));
    assert_ne!(first, second);
    wait_for(&store, &second);
    docker.ok(&["stop", "-t", "1", "web"]);
    wait_gone(&store, Duration::from_secs(2));
    bench.finish();
}

#[test]
fn keys_outlive_their_ttl_while_the_engine_lives() {
    if skipped("registration") {
        return;
    }
    let scratch = Scratch::new();
    let (store, bench) = start(&scratch);
    bench
        .docker
        .ok(&["run", "-d", "--name", "web", "-p", "80", "app", "sleep", "1000"]);
    let value = format!("{}:80", bench.address("web"));
    wait_for(&store, &value);
    // A key with twice the time to live is the clock: when it ends, the refreshed one must still be there.
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    request(store.address(), "PUT", "/v2/keys/clock", &form, b"ttl=7").unwrap();
    until("the end of the clock key", Duration::from_secs(12), || {
        lookup(&store, "/clock").is_none().then_some(())
    });
    assert_eq!(only_key(&store, "web").unwrap().1, value);
    bench.finish();
}

#[test]
fn a_killed_engine_loses_its_keys_by_ttl_and_registers_again() {
    if skipped("registration") {
        return;
    }
    let scratch = Scratch::new();
    let (store, mut bench) = start(&scratch);
    bench.docker.ok(&[
        "run", "-d", "--name", "web", "-p", "80", "app", "httpd", "-f", "-p", "80",
    ]);
    let value = format!("{}:80", bench.address("web"));
    wait_for(&store, &value);
    bench.engine.kill();
    wait_gone(&store, Duration::from_secs(6));
    bench.engine.restart();
    wait_for(&store, &value);
    assert_eq!(bench.docker.ok(&["ps", "--format", "{{.Names}}"]), "web");
    bench.finish();
}

#[test]
fn a_store_that_is_away_is_waited_for() {
    if skipped("registration") {
        return;
    }
    let scratch = Scratch::new();
    let (mut store, bench) = start(&scratch);
    store.kill();
    bench
        .docker
        .ok(&["run", "-d", "--name", "web", "-p", "80", "app", "sleep", "1000"]);
    store.restart();
    let value = format!("{}:80", bench.address("web"));
    until(
        "the key after the store came back",
        Duration::from_secs(15),
        || {
            only_key_or_none(&store)
                .filter(|found| found.to_string().contains(&value))
                .map(|_| ())
        },
    );
    bench.finish();
}

#[test]
fn only_its_own_stale_keys_are_removed() {
    if skipped("registration") {
        return;
    }
    let scratch = Scratch::new();
    let (store, mut bench) = start(&scratch);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    request(
        store.address(),
        "PUT",
        "/v2/keys/services/other/80-tcp",
        &form,
        b"value=192.0.2.1:80",
    )
    .unwrap();
    bench
        .docker
        .ok(&["run", "-d", "--name", "web", "-p", "80", "app", "sleep", "1000"]);
    wait_for(&store, &format!("{}:80", bench.address("web")));
    request(
        store.address(),
        "PUT",
        "/v2/keys/services/web/99-tcp",
        &form,
        b"value=192.0.2.2:99",
    )
    .unwrap();
    bench.engine.kill();
    bench.engine.restart();
    bench.docker.ok(&["rm", "-f", "web"]);
    until("the removal of its own key", Duration::from_secs(5), || {
        let found = lookup(&store, "/services/web")?.to_string();
        (!found.contains("80-tcp")).then_some(())
    });
    assert!(
        lookup(&store, "/services/web/99-tcp").is_some(),
        "somebody else's key below the same service"
    );
    assert!(
        lookup(&store, "/services/other/80-tcp").is_some(),
        "somebody else's service"
    );
    bench.finish();
}

#[test]
fn a_stop_by_signal_takes_the_keys_away_and_keeps_the_container() {
    if skipped("registration") {
        return;
    }
    let scratch = Scratch::new();
    let (store, mut bench) = start(&scratch);
    bench
        .docker
        .ok(&["run", "-d", "--name", "web", "-p", "80", "app", "sleep", "1000"]);
    wait_for(&store, &format!("{}:80", bench.address("web")));
    bench.engine.stop();
    bench.engine.restart();
    assert_eq!(bench.docker.ok(&["ps", "--format", "{{.Names}}"]), "web");
    wait_for(&store, &format!("{}:80", bench.address("web")));
    let _: &Engine = &bench.engine;
    bench.finish();
}
