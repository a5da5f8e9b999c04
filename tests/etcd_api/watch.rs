//! Watches: long polls and streams, from now on and from the past.

use berth_harness::Stream;
use serde_json::Value;

use crate::{on_berth, on_both};

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

#[test]
fn a_long_poll_sends_its_head_at_once_and_one_event() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/before", "value=1");
        let mut stream = Stream::open(member.address(), "/v2/keys/w?wait=true");
        assert_eq!(stream.head.status, 200);
        assert_eq!(
            stream.head.header("x-etcd-index"),
            Some("4"),
            "the index when the watch began"
        );
        member.ask("PUT", "/v2/keys/other", "value=1");
        member.ask("PUT", "/v2/keys/w", "value=seen");
        let event = value(&stream.chunk().unwrap());
        assert_eq!(event["node"]["value"], "seen");
        assert_eq!(event["node"]["modifiedIndex"], 6);
        assert_eq!(stream.chunk(), None, "a long poll ends after one event");
    });
}

#[test]
fn wait_index_answers_from_the_past_and_waits_for_the_future() {
    on_both(|member| {
        for number in 1..=3 {
            member.ask("PUT", "/v2/keys/k", &format!("value={number}"));
        }
        let past = member.ask("GET", "/v2/keys/k?wait=true&waitIndex=5", "").json();
        assert_eq!(past["node"]["value"], "2");
        let mut future = Stream::open(member.address(), "/v2/keys/k?wait=true&waitIndex=8");
        member.ask("PUT", "/v2/keys/k", "value=4");
        member.ask("PUT", "/v2/keys/k", "value=5");
        assert_eq!(value(&future.chunk().unwrap())["node"]["value"], "5");
    });
}

#[test]
fn recursive_watches_hear_what_is_below_but_nothing_hidden() {
    on_both(|member| {
        let mut stream = Stream::open(
            member.address(),
            "/v2/keys/a?wait=true&recursive=true&stream=true",
        );
        member.ask("PUT", "/v2/keys/ab", "value=not-below");
        member.ask("PUT", "/v2/keys/a/_hidden", "value=hidden");
        member.ask("PUT", "/v2/keys/a/b/c", "value=1");
        member.ask("DELETE", "/v2/keys/a?recursive=true", "");
        let first = value(&stream.chunk().unwrap());
        assert_eq!(first["node"]["key"], "/a/b/c");
        let second = value(&stream.chunk().unwrap());
        assert_eq!(
            (second["action"].as_str(), second["node"]["key"].as_str()),
            (Some("delete"), Some("/a"))
        );
    });
}

#[test]
fn the_history_holds_a_thousand_events_and_says_401_before_them() {
    on_both(|member| {
        for number in 0..1_010 {
            member.ask("PUT", "/v2/keys/many", &format!("value={number}"));
        }
        let answer = member.ask("GET", "/v2/keys/many?wait=true&waitIndex=5", "");
        assert_eq!(answer.status, 400);
        let body = answer.json();
        assert_eq!(body["errorCode"], 401);
        assert_eq!(body["index"], 1_013);
        assert_eq!(body["cause"], "the requested history has been cleared [14/5]");
        assert_eq!(
            member
                .ask("GET", "/v2/keys/many?wait=true&waitIndex=14", "")
                .json()["node"]["modifiedIndex"],
            14
        );
    });
}

/// A fault of etcd that Berth does not copy: its stream stalls after the first event of the past.
#[test]
fn a_stream_from_the_past_goes_on_with_the_present() {
    on_berth(|member| {
        for number in 1..=3 {
            member.ask("PUT", "/v2/keys/k", &format!("value={number}"));
        }
        let mut stream = Stream::open(member.address(), "/v2/keys/k?wait=true&stream=true&waitIndex=5");
        member.ask("PUT", "/v2/keys/k", "value=4");
        let seen: Vec<Value> = (0..3)
            .map(|_| value(&stream.chunk().unwrap())["node"]["value"].clone())
            .collect();
        assert_eq!(seen, ["2", "3", "4"]);
    });
}

#[test]
fn sixty_four_swaps_have_one_winner_for_each_index() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/counter", "value=0");
        for round in 4..8 {
            let statuses: Vec<u16> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..64)
                    .map(|number| {
                        let target = format!("/v2/keys/counter?prevIndex={round}");
                        scope.spawn(move || member.ask("PUT", &target, &format!("value={number}")).status)
                    })
                    .collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            assert_eq!(
                statuses.iter().filter(|status| **status == 200).count(),
                1,
                "{statuses:?}"
            );
            assert_eq!(
                statuses.iter().filter(|status| **status == 412).count(),
                63,
                "{statuses:?}"
            );
        }
    });
}

#[test]
fn posters_get_unique_sorted_keys() {
    on_both(|member| {
        let mut keys: Vec<String> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..32)
                .map(|number| {
                    scope.spawn(move || {
                        let answer = member
                            .ask("POST", "/v2/keys/queue", &format!("value={number}"))
                            .json();
                        answer["node"]["key"].as_str().unwrap().to_owned()
                    })
                })
                .collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 32);
        assert!(keys.iter().all(|key| key.len() == "/queue/".len() + 20));
        let listed = member
            .ask("GET", "/v2/keys/queue?sorted=true&recursive=true", "")
            .json();
        let listed: Vec<&str> = listed["node"]["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| node["key"].as_str().unwrap())
            .collect();
        assert_eq!(listed, keys);
    });
}
