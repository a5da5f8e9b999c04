//! Watches in the long run: removals, restarts, snapshots, slow readers, and the faults of etcd that Berth lacks.

use std::time::Duration;

use berth_harness::{Berth, Scratch, Store, Stream, request, until};
use serde_json::Value;

use crate::{on_berth, on_both, reference_alone};

const FORM: &[(&str, &str)] = &[("Content-Type", "application/x-www-form-urlencoded")];

fn event(stream: &mut Stream) -> Value {
    let text = stream.chunk().expect("the answer ended");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

fn told(event: &Value) -> (&str, &str, u64) {
    (
        event["action"].as_str().unwrap(),
        event["node"]["key"].as_str().unwrap(),
        event["node"]["modifiedIndex"].as_u64().unwrap(),
    )
}

#[test]
fn the_expiry_of_a_directory_is_told_to_those_below_and_above() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/d", "dir=true&ttl=1");
        member.ask("PUT", "/v2/keys/d/k", "value=1");
        member.ask("PUT", "/v2/keys/d/_h", "value=1");
        let below = [
            "/v2/keys/d/k?wait=true",
            "/v2/keys/d/_h?wait=true",
            "/v2/keys/?wait=true&recursive=true",
        ];
        let mut watches: Vec<_> = below
            .iter()
            .map(|target| Stream::open(member.address(), target))
            .collect();
        let mut missing = Stream::open(member.address(), "/v2/keys/d/none?wait=true");
        for watch in &mut watches {
            let event = event(watch);
            assert_eq!(told(&event), ("expire", "/d", 7));
            assert_eq!(event["prevNode"]["dir"], true);
            assert!(event["prevNode"].get("expiration").is_some());
            assert!(
                event["node"].get("value").is_none() && event["node"]["dir"] == true,
                "{event}"
            );
            assert_eq!(watch.chunk(), None);
        }
        member.ask("PUT", "/v2/keys/d/none", "value=1");
        assert_eq!(
            told(&event(&mut missing)),
            ("set", "/d/none", 8),
            "who is not there hears of no removal"
        );
    });
}

#[test]
fn keys_that_end_together_have_an_event_each() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/a", "value=1&ttl=1");
        member.ask("PUT", "/v2/keys/b", "value=2&ttl=1");
        member.ask("PUT", "/v2/keys/_h", "value=3&ttl=1");
        let mut all = Stream::open(member.address(), "/v2/keys/?wait=true&recursive=true&stream=true");
        let mut seen = [event(&mut all), event(&mut all)];
        let indexes: Vec<u64> = seen.iter().map(|event| told(event).2).collect();
        assert!(indexes[0] < indexes[1] && indexes[1] <= 9, "{seen:?}");
        seen.sort_by_key(|event| event["node"]["key"].as_str().unwrap().to_owned());
        for (event, (key, value)) in seen.iter().zip([("/a", "1"), ("/b", "2")]) {
            assert_eq!(event["action"], "expire");
            assert_eq!(
                (&event["node"]["key"], &event["prevNode"]["value"]),
                (&Value::from(key), &Value::from(value))
            );
        }
        until("the hidden one's end", Duration::from_secs(5), || {
            (member.ask("GET", "/v2/keys/_h", "").status == 404).then_some(())
        });
        assert_eq!(
            member.ask("GET", "/v2/keys/", "").header("x-etcd-index"),
            Some("9")
        );
    });
}

#[test]
fn a_refreshed_key_ends_later_and_with_its_value() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/k", "value=kept&ttl=1");
        let mut watch = Stream::open(member.address(), "/v2/keys/k?wait=true");
        let answer = member
            .ask("PUT", "/v2/keys/k", "refresh=true&ttl=2&prevExist=true")
            .json();
        assert_eq!(
            (&answer["node"]["value"], &answer["prevNode"]["ttl"]),
            (&Value::from("kept"), &Value::from(1))
        );
        let event = event(&mut watch);
        assert_eq!(
            told(&event),
            ("expire", "/k", 6),
            "the refresh had index 5 and woke nobody"
        );
        assert_eq!(
            (&event["prevNode"]["value"], &event["prevNode"]["modifiedIndex"]),
            (&Value::from("kept"), &Value::from(5))
        );
    });
}

#[test]
fn a_ttl_of_nothing_is_over_at_once() {
    on_both(|member| {
        let answer = member.ask("PUT", "/v2/keys/k", "value=1&ttl=0");
        assert_eq!(answer.status, 201);
        let node = &answer.json()["node"];
        assert!(
            node.get("expiration").is_some() && node.get("ttl").is_none(),
            "{node}"
        );
        until("the end of the key", Duration::from_secs(3), || {
            (member.ask("GET", "/v2/keys/k", "").status == 404).then_some(())
        });
        let gone = member.ask("GET", "/v2/keys/k?wait=true&waitIndex=5", "").json();
        assert_eq!(told(&gone), ("expire", "/k", 5));
        assert_eq!(
            member.ask("PUT", "/v2/keys/k?prevExist=true", "value=2").json()["errorCode"],
            100
        );
        let again = member.ask("PUT", "/v2/keys/k?prevExist=false", "value=2");
        assert_eq!(
            (again.status, &again.json()["node"]["createdIndex"]),
            (201, &Value::from(6))
        );
    });
}

#[test]
fn a_replaced_or_deleted_key_does_not_end_by_its_old_ttl() {
    on_both(|member| {
        member.ask("PUT", "/v2/keys/replaced", "value=1&ttl=1");
        member.ask("PUT", "/v2/keys/replaced", "value=2");
        member.ask("PUT", "/v2/keys/deleted", "value=1&ttl=1");
        member.ask("DELETE", "/v2/keys/deleted", "");
        member.ask("PUT", "/v2/keys/deleted", "value=2");
        member.ask("PUT", "/v2/keys/d", "dir=true");
        member.ask("PUT", "/v2/keys/d/k", "value=1&ttl=1");
        member.ask("DELETE", "/v2/keys/d?recursive=true", "");
        member.ask("PUT", "/v2/keys/d/k", "value=2");
        member.ask("PUT", "/v2/keys/mark", "value=1&ttl=2");
        until("the end of a later key", Duration::from_secs(5), || {
            (member.ask("GET", "/v2/keys/mark", "").status == 404).then_some(())
        });
        for key in ["replaced", "deleted", "d/k"] {
            let node = &member.ask("GET", &format!("/v2/keys/{key}"), "").json()["node"];
            assert_eq!(node["value"], "2", "{key}");
            assert!(node.get("ttl").is_none(), "{node}");
        }
        assert_eq!(
            member.ask("GET", "/v2/keys/", "").header("x-etcd-index"),
            Some("14"),
            "one expiry alone"
        );
    });
}

#[test]
fn sixty_four_creates_and_deletes_have_one_winner_each() {
    on_both(|member| {
        let statuses = |method: &str, target: &str, form: &str| -> Vec<u16> {
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..64)
                    .map(|_| scope.spawn(|| member.ask(method, target, form).status))
                    .collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            })
        };
        let count =
            |statuses: &[u16], wanted: u16| statuses.iter().filter(|status| **status == wanted).count();
        let created = statuses("PUT", "/v2/keys/one?prevExist=false", "value=1");
        assert_eq!(
            (count(&created, 201), count(&created, 412)),
            (1, 63),
            "{created:?}"
        );
        let deleted = statuses("DELETE", "/v2/keys/one?prevIndex=4", "");
        assert_eq!(
            (count(&deleted, 200), count(&deleted, 404)),
            (1, 63),
            "{deleted:?}"
        );
        assert_eq!(
            member.ask("GET", "/v2/keys/", "").header("x-etcd-index"),
            Some("5")
        );
    });
}

#[test]
fn a_watch_loop_misses_nothing_under_writers() {
    on_both(|member| {
        let seen = std::thread::scope(|scope| {
            for writer in 0..4 {
                scope.spawn(move || {
                    for number in 0..25 {
                        member.ask("PUT", &format!("/v2/keys/w/{writer}"), &format!("value={number}"));
                    }
                });
            }
            let mut next = 4;
            let mut seen = Vec::new();
            while seen.len() < 100 {
                let target = format!("/v2/keys/w?wait=true&recursive=true&waitIndex={next}");
                let index = member.ask("GET", &target, "").json()["node"]["modifiedIndex"]
                    .as_u64()
                    .unwrap();
                seen.push(index);
                next = index + 1;
            }
            seen
        });
        assert_eq!(seen, (4..104).collect::<Vec<u64>>());
    });
}

/// A fault of etcd: it tells twice.
#[test]
fn a_removal_is_told_once_to_a_stream_on_what_is_removed() {
    on_berth(|member| {
        member.ask("PUT", "/v2/keys/k", "value=1");
        let mut stream = Stream::open(member.address(), "/v2/keys/k?wait=true&stream=true");
        member.ask("DELETE", "/v2/keys/k", "");
        member.ask("PUT", "/v2/keys/k", "value=2");
        member.ask("DELETE", "/v2/keys/k?prevValue=2", "");
        member.ask("PUT", "/v2/keys/k", "value=3");
        let seen: Vec<Value> = (0..4).map(|_| event(&mut stream)).collect();
        let indexes: Vec<u64> = seen.iter().map(|event| told(event).2).collect();
        assert_eq!(indexes, [5, 6, 7, 8]);
    });
}

/// Faults of etcd: it shows hidden keys of the past, and takes `/dog` to be below `/d`.
#[test]
fn the_past_is_searched_by_the_rules_of_the_present() {
    on_berth(|member| {
        member.ask("PUT", "/v2/keys/d/k", "value=1");
        member.ask("PUT", "/v2/keys/dog", "value=1");
        member.ask("PUT", "/v2/keys/_hidden", "value=1");
        member.ask("PUT", "/v2/keys/d/_hidden", "value=1");
        member.ask("DELETE", "/v2/keys/d?recursive=true", "");
        member.ask("PUT", "/v2/keys/dog", "value=2");
        let first = |target: &str| told(&member.ask("GET", target, "").json()).2;
        assert_eq!(first("/v2/keys/dog?wait=true&waitIndex=6"), 9);
        assert_eq!(first("/v2/keys/?wait=true&recursive=true&waitIndex=6"), 8);
        assert_eq!(first("/v2/keys/_hidden?wait=true&waitIndex=4"), 6);
        assert_eq!(first("/v2/keys/d/_hidden?wait=true&waitIndex=4"), 7);
        let mut stream = Stream::open(
            member.address(),
            "/v2/keys/?wait=true&recursive=true&stream=true&waitIndex=4",
        );
        let seen: Vec<u64> = (0..4).map(|_| told(&event(&mut stream)).2).collect();
        assert_eq!(seen, [4, 5, 8, 9]);
    });
}

/// A fault of etcd: it forgets the reader and leaves the answer open.
#[test]
fn a_reader_that_is_too_slow_sees_a_beginning_without_gaps_and_then_an_end() {
    on_berth(|member| {
        let mut slow = Stream::open(member.address(), "/v2/keys/k?wait=true&stream=true");
        let mut quick = Stream::open(member.address(), "/v2/keys/k?wait=true&stream=true");
        let form = "value=".to_owned() + &"v".repeat(200_000);
        // More than the sockets and the queue hold: 80 MB.
        for _ in 0..400 {
            assert!(
                member
                    .ask("PUT", "/v2/keys/k?noValueOnSuccess=true", &form)
                    .status
                    < 300
            );
            event(&mut quick);
        }
        let mut next = 4;
        while let Some(text) = slow.chunk() {
            let event: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(told(&event).2, next, "a gap");
            next += 1;
        }
        assert!(
            next > 4 && next < 404,
            "the slow reader saw everything up to {next}"
        );
        let index = member.ask("GET", "/v2/keys/k", "").json()["node"]["modifiedIndex"].as_u64();
        assert_eq!(index, Some(403));
        // It comes back with the index after the last event that it saw.
        let target = format!("/v2/keys/k?wait=true&stream=true&waitIndex={next}");
        let mut back = Stream::open(member.address(), &target);
        assert_eq!(told(&event(&mut back)).2, next);
    });
}

fn restarted(flags: &[&str], writes: u64, stop: impl Fn(&mut Store)) {
    if reference_alone() {
        return;
    }
    let scratch = Scratch::new();
    let mut store = Store::start_in(
        &Berth::new(env!("CARGO_BIN_EXE_berth")),
        &scratch.join("store"),
        flags,
    );
    let address = store.address();
    let ask = |method: &str, target: &str, form: &str| {
        request(address, method, target, FORM, form.as_bytes()).unwrap()
    };
    ask("PUT", "/v2/keys/first", "value=1");
    for number in 1..writes {
        ask("PUT", "/v2/keys/k", &format!("value={number}"));
    }
    ask("PUT", "/v2/keys/short", "value=1&ttl=1");
    ask("PUT", "/v2/keys/long", "value=1&ttl=1000");
    let index = writes + 5;
    let mut open = Stream::open(address, "/v2/keys/k?wait=true");
    stop(&mut store);
    assert_eq!(open.chunk(), None, "the watch ends with its server");
    store.restart();
    let first = ask("GET", "/v2/keys/first?wait=true&waitIndex=4", "").json();
    assert_eq!(told(&first), ("set", "/first", 4), "history outlives the process");
    let third = ask("GET", "/v2/keys/k?wait=true&waitIndex=6", "").json();
    assert_eq!(told(&third), ("set", "/k", 6));
    let expired = ask(
        "GET",
        &format!("/v2/keys/short?wait=true&waitIndex={}", index),
        "",
    )
    .json();
    assert_eq!(told(&expired), ("expire", "/short", index + 1));
    let left = ask("GET", "/v2/keys/long", "").json()["node"]["ttl"]
        .as_i64()
        .unwrap();
    assert!(
        (900..=1000).contains(&left),
        "a restart does not extend a TTL: {left}"
    );
    let mut live = Stream::open(address, "/v2/keys/k?wait=true");
    let set = ask("PUT", "/v2/keys/k", "value=after").json();
    assert_eq!(told(&event(&mut live)), told(&set));
    assert_eq!(told(&set).2, index + 2, "indexes go on");
}

#[test]
fn history_and_indexes_outlive_a_kill() {
    restarted(&[], 40, |store| store.kill());
}

#[test]
fn history_and_indexes_outlive_a_stop() {
    restarted(&[], 40, |store| store.stop());
}

#[test]
fn history_and_indexes_outlive_snapshots() {
    restarted(&["--snapshot-count", "100"], 450, |store| store.kill());
}
