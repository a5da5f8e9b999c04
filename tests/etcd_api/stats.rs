//! Counters, and the shapes of what is beside the keys.

use std::time::Duration;

use berth_harness::{Stream, until};
use serde_json::Value;

use crate::{Member, on_berth, on_both};

fn counters(member: &Member) -> Value {
    member.ask("GET", "/v2/stats/store", "").json()
}

fn count(stats: &Value, name: &str) -> u64 {
    stats[name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} is missing in {stats}"))
}

#[test]
fn each_write_counts_once_under_its_name() {
    let steps = [
        ("setsSuccess", "PUT", "/v2/keys/k", "value=1"),
        ("setsFail", "PUT", "/v2/keys/k/below", "value=1"),
        ("createSuccess", "PUT", "/v2/keys/c?prevExist=false", "value=1"),
        ("createFail", "PUT", "/v2/keys/c?prevExist=false", "value=1"),
        ("createSuccess", "POST", "/v2/keys/q", "value=1"),
        ("updateSuccess", "PUT", "/v2/keys/k?prevExist=true", "value=2"),
        ("updateFail", "PUT", "/v2/keys/none?prevExist=true", "value=2"),
        (
            "compareAndSwapSuccess",
            "PUT",
            "/v2/keys/k?prevValue=2",
            "value=3",
        ),
        ("compareAndSwapFail", "PUT", "/v2/keys/k?prevValue=2", "value=3"),
        ("compareAndDeleteSuccess", "DELETE", "/v2/keys/k?prevValue=3", ""),
        ("compareAndDeleteFail", "DELETE", "/v2/keys/k?prevValue=3", ""),
        ("deleteSuccess", "DELETE", "/v2/keys/q?recursive=true", ""),
        ("deleteFail", "DELETE", "/v2/keys/q", ""),
    ];
    on_both(|member| {
        for (name, method, target, form) in steps {
            let before = counters(member);
            member.ask(method, target, form);
            let after = counters(member);
            for (other, value) in after.as_object().unwrap() {
                // etcd adds reads of its own.
                if other.starts_with("gets") {
                    continue;
                }
                let expected = count(&before, other) + u64::from(other == name);
                assert_eq!(
                    value,
                    expected,
                    "{other} after {method} {target} on {}",
                    member.name()
                );
            }
        }
        let before = counters(member);
        member.ask("PUT", "/v2/keys/k?ttl=bad", "value=1");
        let after = counters(member);
        assert_eq!(
            count(&after, "setsFail"),
            count(&before, "setsFail"),
            "a parameter error counts nothing"
        );
    });
}

#[test]
fn reads_count_where_they_are_served() {
    on_berth(|member| {
        for _ in 0..3 {
            member.ask("GET", "/v2/keys/", "");
        }
        member.ask("GET", "/v2/keys/none", "");
        member.ask("GET", "/v2/keys/?quorum=true", "");
        member.ask("GET", "/v2/keys/?recursive=bad", "");
        let stats = counters(member);
        assert_eq!((count(&stats, "getsSuccess"), count(&stats, "getsFail")), (4, 1));
    });
}

#[test]
fn expiries_are_counted() {
    on_both(|member| {
        let before = count(&counters(member), "expireCount");
        member.ask("PUT", "/v2/keys/d", "dir=true&ttl=1");
        member.ask("PUT", "/v2/keys/d/k", "value=1&ttl=100");
        member.ask("PUT", "/v2/keys/k", "value=1&ttl=1");
        until("two expiries", Duration::from_secs(6), || {
            (count(&counters(member), "expireCount") == before + 2).then_some(())
        });
        assert_eq!(
            member.ask("GET", "/v2/keys/", "").text().trim_end(),
            r#"{"action":"get","node":{"dir":true}}"#
        );
    });
}

#[test]
fn watchers_are_counted_and_leave_when_their_client_does() {
    on_both(|member| {
        let watchers = || count(&counters(member), "watchers");
        assert_eq!(watchers(), 0);
        let long = Stream::open(member.address(), "/v2/keys/k?wait=true");
        let stream = Stream::open(member.address(), "/v2/keys/?wait=true&stream=true&recursive=true");
        assert_eq!(watchers(), 2);
        drop(long);
        until("the long poll's end", Duration::from_secs(5), || {
            (watchers() == 1).then_some(())
        });
        drop(stream);
        until("the stream's end", Duration::from_secs(5), || {
            (watchers() == 0).then_some(())
        });
        member.ask("PUT", "/v2/keys/k", "value=1");
        member.ask("GET", "/v2/keys/k?wait=true&waitIndex=1", "");
        assert_eq!(watchers(), 0, "what history answers is no watcher");
    });
}

#[test]
fn members_machines_and_leader_name_the_same_member() {
    on_both(|member| {
        let members = member.ask("GET", "/v2/members", "").json();
        let [one] = &members["members"].as_array().unwrap()[..] else {
            panic!("{members}");
        };
        let names: Vec<&String> = one.as_object().unwrap().keys().collect();
        assert_eq!(names.len(), 4, "{one}");
        let id = one["id"].as_str().unwrap();
        assert!(
            u64::from_str_radix(id, 16).is_ok() && !id.starts_with('0'),
            "{id}"
        );
        assert_eq!(one["clientURLs"][0], format!("http://{}", member.address()));
        assert!(one["peerURLs"][0].as_str().unwrap().starts_with("http://"));
        assert_eq!(member.ask("GET", "/v2/members/leader", "").json(), *one);
        assert_eq!(
            member.ask("GET", "/v2/machines", "").text(),
            format!("http://{}", member.address())
        );
        let own = member.ask("GET", "/v2/stats/self", "").json();
        assert_eq!((&own["id"], &own["name"]), (&one["id"], &one["name"]));
        assert_eq!(
            (&own["state"], &own["leaderInfo"]["leader"]),
            (&Value::from("StateLeader"), &one["id"])
        );
        let leader = member.ask("GET", "/v2/stats/leader", "").json();
        assert_eq!(leader, serde_json::json!({ "leader": id, "followers": {} }));
    });
}

#[test]
fn the_cluster_has_one_id_in_all_answers() {
    on_both(|member| {
        let ids: Vec<String> = [
            "/v2/keys",
            "/v2/keys/none",
            "/v2/keys/?sorted=bad",
            "/v2/members",
            "/v2/members/leader",
        ]
        .iter()
        .map(|target| {
            let answer = member.ask("GET", target, "");
            answer.header("x-etcd-cluster-id").unwrap().to_owned()
        })
        .collect();
        assert!(
            u64::from_str_radix(&ids[0], 16).is_ok_and(|id| id != 0),
            "{ids:?}"
        );
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    });
}

#[test]
fn the_raft_index_never_falls_behind_the_index() {
    on_both(|member| {
        let mut last = 0;
        for number in 0..20 {
            let answer = member.ask("PUT", "/v2/keys/k", &format!("value={number}"));
            let header = |name: &str| answer.header(name).unwrap().parse::<u64>().unwrap();
            assert!(header("x-raft-index") >= header("x-etcd-index"));
            assert!(header("x-raft-index") > last && header("x-raft-term") >= 1);
            last = header("x-raft-index");
        }
    });
}
