//! `berth elect` on a store: its leader module keeps the queue of those who stand.

use std::time::Duration;

use berth_harness::{Cluster, Process, Scratch, Store, request, until};

use crate::berth;

const LIMIT: Duration = Duration::from_secs(60);

fn elect(scratch: &Scratch, endpoints: &str, name: &str) -> Process {
    let words = [
        "--endpoints",
        endpoints,
        "elect",
        "--ttl",
        "2",
        "/who/leads",
        name,
    ];
    let output = scratch.join(name.trim_matches('-'));
    Process::start(&mut berth().command(&words), &output)
}

/// The leader that the module tells of.
fn leader(store: &Store) -> String {
    let answer = request(store.address(), "GET", "/mod/v2/leader/who/leads", &[], b"");
    answer.unwrap().text()
}

fn places(store: &Store) -> usize {
    let target = "/v2/keys/_etcd/mod/lock/who/leads";
    let listed = request(store.address(), "GET", target, &[], b"").unwrap();
    listed.text().matches("\"value\"").count()
}

fn wait_leader(store: &Store, name: &str) {
    until(name, LIMIT, || (leader(store) == name).then_some(()));
}

#[test]
fn the_next_in_the_queue_leads_when_the_leader_is_killed() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let url = store.url();
    let mut watching = elect(&scratch, &url, "--listen");
    let mut one = elect(&scratch, &url, "one");
    wait_leader(&store, "one");
    let mut two = elect(&scratch, &url, "two");
    until("the place of two", LIMIT, || (places(&store) == 2).then_some(()));
    let mut three = elect(&scratch, &url, "three");
    until("the place of three", LIMIT, || {
        (places(&store) == 3).then_some(())
    });
    for contender in [&one, &two, &three, &watching] {
        until("the leader to be printed", LIMIT, || {
            (contender.output() == "one\n").then_some(())
        });
    }
    one.kill();
    wait_leader(&store, "two");
    assert!(two.stop().success(), "{}", two.output());
    // Without waiting for the end of its time.
    wait_leader(&store, "three");
    until("all leaders to be printed", LIMIT, || {
        (watching.output() == "one\ntwo\nthree\n").then_some(())
    });
    until("the leader to know", LIMIT, || {
        (three.output() == "one\ntwo\nthree\n").then_some(())
    });
    assert!(three.stop().success());
    wait_leader(&store, "");
    assert!(watching.stop().success());
    let key = request(store.address(), "GET", "/v2/keys/who", &[], b"").unwrap();
    assert_eq!(
        key.status,
        404,
        "the election has no key of its own: {}",
        key.text()
    );
}

#[test]
fn whoever_loses_the_place_stands_again() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let url = store.url();
    let mut one = elect(&scratch, &url, "one");
    wait_leader(&store, "one");
    let mut two = elect(&scratch, &url, "two");
    until("the place of two", LIMIT, || (places(&store) == 2).then_some(()));
    let target = "/mod/v2/leader/who/leads?name=one";
    let put_out = request(store.address(), "DELETE", target, &[], b"").unwrap();
    assert_eq!(put_out.status, 200);
    wait_leader(&store, "two");
    until("one to know", LIMIT, || {
        one.output().contains("one leads no longer").then_some(())
    });
    until("one to stand again", LIMIT, || {
        (places(&store) == 2).then_some(())
    });
    two.kill();
    until("one to lead again", LIMIT, || {
        one.output().ends_with("two\none\n").then_some(())
    });
    assert_eq!(leader(&store), "one");
    assert!(one.stop().success());
}

#[test]
fn an_election_goes_on_when_members_go() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &[]);
    assert!(cluster.leader() < 3);
    let urls: Vec<String> = cluster
        .clients()
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let urls = urls.join(",");
    let mut one = elect(&scratch, &urls, "one");
    until("one to lead", LIMIT, || {
        assert!(one.ended().is_none(), "{}", one.output());
        (one.output() == "one\n").then_some(())
    });
    let mut two = elect(&scratch, &urls, "two");
    until("two to stand", LIMIT, || (two.output() == "one\n").then_some(()));
    // Both talk to the first member of the list.
    cluster.kill(0);
    one.kill();
    until("two to lead", LIMIT, || {
        (two.output() == "one\ntwo\n").then_some(())
    });
    assert!(two.stop().success(), "{}", two.output());
}
