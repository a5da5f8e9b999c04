//! Changes of the membership that are refused, in etcd's words, and members whose flags do not fit the cluster.

use std::time::Duration;

use berth_harness::{Cluster, Etcd, Scratch, request, until};

use crate::{QUICK, berth};

#[test]
fn what_cannot_be_is_refused_in_the_words_of_etcd() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let follower = (cluster.leader() + 1) % 3;
    let taken = format!("{{\"peerURLs\":[\"http://{}\"]}}", cluster.members()[0].peer);
    let own = cluster.id(follower, 1);
    let own = own.as_str();
    let exists = "membership: peerURL exists";
    let free = r#"{"peerURLs":["http://127.0.0.1:1"]}"#;
    for (method, path, body, status, message) in [
        ("POST", "", "", 400, "unexpected end of JSON input"),
        ("POST", "", "{}", 400, "no valid URLs given"),
        (
            "POST",
            "",
            r#"{"peerURLs":["foo"]}"#,
            400,
            "URL scheme must be http, https, unix, or unixs: foo",
        ),
        (
            "POST",
            "",
            r#"{"peerURLs":["http://a"]}"#,
            400,
            "URL address does not have the form \"host:port\": http://a",
        ),
        ("POST", "", &taken, 409, exists),
        ("POST", "/leader", &taken, 409, exists),
        ("PUT", &format!("/{own}"), &taken, 409, exists),
        (
            "PUT",
            &format!("/{own}"),
            "{",
            400,
            "unexpected end of JSON input",
        ),
        ("PUT", "/beef", free, 404, "No such member: beef"),
        ("PUT", "/bad_id", "{", 404, "No such member: bad_id"),
        ("DELETE", "/beef", "", 404, "No such member: beef"),
        ("DELETE", "/bad_id", "", 404, "No such member: bad_id"),
        ("DELETE", "/beef/x", "", 404, "No such member: beef/x"),
        ("DELETE", "/leader", "", 404, "No such member: leader"),
        ("GET", "/beef", "", 404, "Not found"),
        ("PUT", "/leader", r#"{"id":"beef"}"#, 404, "No such member: beef"),
    ] {
        let answer = cluster.ask_json(follower, method, &format!("/v2/members{path}"), body);
        let said = answer.text();
        let wanted = serde_json::json!({ "message": message }).to_string();
        assert_eq!((answer.status, said), (status, wanted), "{method} {path} {body}");
        assert!(
            answer.header("x-etcd-cluster-id").is_some(),
            "{method} {path} {body}"
        );
    }
    for method in ["DELETE", "PUT"] {
        let answer = cluster.ask_json(follower, method, "/v2/members/", free);
        assert_eq!(
            (answer.status, answer.text().as_str()),
            (405, "Method Not Allowed\n")
        );
    }
    let form = cluster.ask(follower, "POST", "/v2/members", "{}").unwrap();
    let said = "Bad Content-Type application/x-www-form-urlencoded, accept application/json";
    assert_eq!((form.status, form.json()["message"].as_str()), (415, Some(said)));
    let listed = cluster.ask_json(follower, "GET", "/v2/members", "").json();
    assert_eq!(listed["members"].as_array().unwrap().len(), 3, "{listed}");
}

#[test]
fn a_removal_that_would_cost_the_quorum_is_refused_and_a_removed_id_is_gone() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let leader = cluster.leader();
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let (dead_id, other_id) = (cluster.id(leader, dead), cluster.id(leader, other));
    let missed = |cluster: &Cluster| cluster.log(leader).matches("cannot reach a member").count();
    let before = missed(&cluster);
    cluster.kill(dead);
    until("a member that is missed", Duration::from_secs(20), || {
        (missed(&cluster) > before).then_some(())
    });
    // One of the two that are left would not be a majority of the two that would be members.
    let target = format!("/v2/members/{other_id}");
    let refused = cluster.ask_json(leader, "DELETE", &target, "");
    let internal = r#"{"message":"Internal Server Error"}"#;
    assert_eq!((refused.status, refused.text().as_str()), (500, internal));
    let target = format!("/v2/members/{dead_id}");
    assert_eq!(cluster.ask_json(other, "DELETE", &target, "").status, 204);
    cluster.forget(dead);
    let gone = cluster.ask_json(other, "DELETE", &target, "");
    let said = format!(r#"{{"message":"Member permanently removed: {dead_id}"}}"#);
    assert_eq!((gone.status, gone.text()), (410, said));
    let moved = cluster.ask_json(other, "PUT", &target, r#"{"peerURLs":["http://127.0.0.1:1"]}"#);
    assert_eq!((moved.status, moved.text().as_str()), (500, internal));
}

#[test]
fn the_only_member_is_not_removed() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 1, &QUICK);
    cluster.wait_all();
    let target = format!("/v2/members/{}", cluster.id(0, 0));
    assert_eq!(cluster.ask_json(0, "DELETE", &target, "").status, 500);
    assert_eq!(
        cluster.ask(0, "PUT", "/v2/keys/k", "value=1").unwrap().status,
        201
    );
}

#[test]
fn flags_that_do_not_fit_the_cluster_are_refused_by_name() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let at = cluster.prepare(&scratch);
    let listed = cluster.initial_cluster(0, at);
    let own = format!("m3=http://{}", cluster.members()[at].peer);
    let refused = |cluster: &mut Cluster, list: &str, more: &[&str], said: &str| {
        cluster.start_joining(at, list, more);
        let (code, log) = cluster.wait_end(at);
        assert_eq!(code, 1, "{log}");
        assert!(log.contains(said), "{said}\n{log}");
        assert!(!cluster.members()[at].data.exists());
    };
    refused(
        &mut cluster,
        &format!("{listed},{own}"),
        &[],
        &format!("add it first, with 'berth member add {}'", own.replace('=', " ")),
    );
    let wish = format!("{{\"peerURLs\":[\"http://{}\"]}}", cluster.members()[at].peer);
    assert_eq!(cluster.ask_json(0, "POST", "/v2/members", &wish).status, 201);
    let (first, _) = listed.split_once(',').unwrap();
    refused(
        &mut cluster,
        &format!("{first},{own}"),
        &[],
        "it names 2 members, but the cluster has 4: ",
    );
    let (_, rest) = listed.split_once(',').unwrap();
    refused(
        &mut cluster,
        &format!("x=http://127.0.0.1:1,{rest},{own}"),
        &[],
        "the cluster has no member at http://127.0.0.1:1",
    );
    refused(&mut cluster, &own, &[], "names no other member");
    refused(
        &mut cluster,
        &format!("{listed},{own}"),
        &["--initial-cluster-token", "t2"],
        "--initial-cluster-token: the cluster was formed with another one",
    );
    // What fits is taken, but not twice.
    let list = format!("{listed},{own}");
    cluster.start_joining(at, &list, &[]);
    cluster.wait_voter(at);
    assert_eq!(cluster.id(0, at), cluster.id(at, at));
    cluster.kill(at);
    std::fs::remove_dir_all(&cluster.members()[at].data).unwrap();
    refused(
        &mut cluster,
        &list,
        &[],
        "has started before, with another data directory",
    );
}

/// Requests that change nothing, to Debian's etcd and to a member: method, path, type and document.
const DOCUMENTS: [(&str, &str, &str, &str); 34] = [
    ("POST", "", "application/json", ""),
    ("POST", "", "application/json", "{"),
    ("POST", "", "application/json", "{}"),
    ("POST", "", "application/json", "null"),
    ("POST", "", "application/json", "[]"),
    ("POST", "", "application/json", "1"),
    ("POST", "", "application/json", "\"x\""),
    ("POST", "", "application/json", "tru"),
    ("POST", "", "application/json", "{}x"),
    ("POST", "", "application/json", "{\"a\":01}"),
    ("POST", "", "application/json", "{\"a\":\"\u{1}\"}"),
    ("POST", "", "application/json", "{\"a\":\"\\q'\"}"),
    ("POST", "", "application/json", "{'a':1}"),
    ("POST", "", "application/json", r#"{"PEERurls":null}"#),
    ("POST", "", "application/json", r#"{"peerURLs":"x"}"#),
    ("POST", "", "application/json", r#"{"peerURLs":{}}"#),
    ("POST", "", "application/json", r#"{"peerURLs":[1]}"#),
    ("POST", "", "application/json", r#"{"peerURLs":[null]}"#),
    ("POST", "", "application/json", r#"{"peerURLs":["foo://h:1"]}"#),
    ("POST", "", "application/json", r#"{"peerURLs":["http://a"]}"#),
    ("POST", "", "application/json", r#"{"peerURLs":["http://a:b"]}"#),
    ("POST", "", "application/json", r#"{"peerURLs":["http://a b:1"]}"#),
    (
        "POST",
        "/x/y",
        "application/json",
        r#"{"peerURLs":["http://a:1/"]}"#,
    ),
    ("POST", "", "text/plain", "{}"),
    ("POST", "", "", "{}"),
    ("POST", "", "application/json; charset=utf-8", "{}"),
    ("PUT", "", "application/json", "{}"),
    ("PUT", "/bad_id", "application/json", "{"),
    ("PUT", "/beef", "application/json", "{"),
    ("PUT", "/beef", "text/plain", "{}"),
    ("DELETE", "/", "", ""),
    ("DELETE", "/bad_id", "", ""),
    ("DELETE", "/12/x", "", ""),
    ("PATCH", "", "", ""),
];

#[test]
fn documents_are_refused_in_the_very_words_of_debians_etcd() {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let cluster = Cluster::start(&berth(), &scratch, 1, &QUICK);
    cluster.wait_all();
    for (method, path, kind, body) in DOCUMENTS {
        let ask = |address| {
            let target = format!("/v2/members{path}");
            let types = [("Content-Type", kind)];
            let answer = request(address, method, &target, &types, body.as_bytes()).unwrap();
            let allow = answer.header("allow").map(str::to_owned);
            (answer.status, answer.text(), allow)
        };
        let (wanted, found) = (ask(etcd.address()), ask(cluster.client(0)));
        assert_eq!(wanted, found, "{method} {path} {kind} {body}");
    }
}
