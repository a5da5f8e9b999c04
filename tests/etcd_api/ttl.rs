//! Keys that end: never before their time, at most a second and a bit after it.

use std::time::{Duration, Instant};

use berth_harness::until;

use crate::on_both;

#[test]
fn a_key_ends_by_its_ttl_and_not_before() {
    on_both(|member| {
        let started = Instant::now();
        let answer = member.ask("PUT", "/v2/keys/short", "value=x&ttl=2").json();
        assert_eq!(answer["node"]["ttl"], 2);
        assert!(
            answer["node"]["expiration"].as_str().unwrap().ends_with('Z'),
            "{answer}"
        );
        until("the end of the key", Duration::from_secs(5), || {
            (member.ask("GET", "/v2/keys/short", "").status == 404).then_some(())
        });
        let lived = started.elapsed();
        assert!(lived >= Duration::from_secs(2), "gone after {lived:?}");
        assert!(lived < Duration::from_millis(3_500), "gone only after {lived:?}");
    });
}

#[test]
fn expiry_is_an_event_with_an_index_of_its_own() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/d", "dir=true&ttl=1");
        member.ask("PUT", "/v2/keys/d/child", "value=1");
        let answer = member
            .ask("GET", "/v2/keys/d/child?wait=true&waitIndex=6", "")
            .json();
        assert_eq!(answer["action"], "expire");
        assert_eq!(answer["node"]["key"], "/d");
        assert_eq!(answer["node"]["modifiedIndex"], 6);
        assert_eq!(answer["prevNode"]["dir"], true);
        assert_eq!(member.ask("GET", "/v2/keys/d/child", "").json()["cause"], "/d");
    });
}

#[test]
fn an_update_without_ttl_makes_the_key_permanent() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/k", "value=x&ttl=1");
        let answer = member.ask("PUT", "/v2/keys/k", "value=y&prevExist=true").json();
        assert_eq!(answer["prevNode"]["ttl"], 1);
        assert!(answer["node"].get("ttl").is_none());
        member.ask("PUT", "/v2/keys/mark", "value=x&ttl=2");
        until("the end of a later key", Duration::from_secs(5), || {
            (member.ask("GET", "/v2/keys/mark", "").status == 404).then_some(())
        });
        assert_eq!(member.ask("GET", "/v2/keys/k", "").json()["node"]["value"], "y");
    });
}

#[test]
fn refresh_keeps_the_value_and_wakes_no_watcher() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/k", "value=kept&ttl=100");
        let answer = member
            .ask("PUT", "/v2/keys/k", "refresh=true&ttl=50&prevExist=true")
            .json();
        assert_eq!(answer["action"], "update");
        assert_eq!(answer["node"]["value"], "kept");
        assert_eq!(answer["node"]["ttl"], 50);
        member.ask("PUT", "/v2/keys/k", "value=next");
        let answer = member.ask("GET", "/v2/keys/k?wait=true&waitIndex=5", "").json();
        assert_eq!(
            answer["node"]["value"], "next",
            "the refresh had index 5 and must not be seen"
        );
    });
}
