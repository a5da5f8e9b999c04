//! `berth set|get|ls|rm|watch` against a store.

use std::time::Duration;

use berth_harness::{Process, Scratch, Store, until};

use crate::berth;

#[test]
fn keys_are_set_read_listed_and_removed() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let url = store.url();
    let run = |words: &[&str]| berth().run(&[&["--endpoints", &url], words].concat());
    assert_eq!(run(&["set", "/message", "Hello"]).ok(), "Hello");
    assert_eq!(run(&["get", "/message"]).ok(), "Hello");
    run(&["set", "/dir/one", "1"]).ok();
    assert_eq!(run(&["ls", "/"]).ok(), "/dir\n/message");
    assert_eq!(run(&["ls", "--recursive", "/"]).ok(), "/dir\n/dir/one\n/message");
    let json = run(&["--output", "json", "get", "/message"]);
    let json: serde_json::Value = serde_json::from_str(json.ok()).unwrap();
    assert_eq!(json["node"]["value"], "Hello");
    run(&["rm", "/message"]).ok();
    let gone = run(&["get", "/message"]);
    assert_eq!(gone.code, 4, "etcdctl's exit code for an error of the store");
    assert!(
        gone.stderr.contains("Key not found") && gone.stderr.contains("/message"),
        "{}",
        gone.stderr
    );
}

#[test]
fn a_watch_prints_the_next_change() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let url = store.url();
    let mut watch = Process::start(
        &mut berth().command(&["--endpoints", &url, "watch", "/k"]),
        &scratch.join("watch.out"),
    );
    until("the watched change", Duration::from_secs(20), || {
        berth().run(&["--endpoints", &url, "set", "/k", "seen"]).ok();
        watch.ended()
    });
    assert!(watch.output().contains("seen"), "{}", watch.output());
}

#[test]
fn a_store_that_is_not_there_is_named() {
    let url = format!("http://127.0.0.1:{}", berth_harness::free_port());
    let refused = berth().run(&["--endpoints", &url, "get", "/k"]);
    assert_ne!(refused.code, 0);
    assert!(refused.stderr.contains(&url[7..]), "{}", refused.stderr);
}
