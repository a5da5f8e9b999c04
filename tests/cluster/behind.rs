//! A member that was away for longer than the log is kept: it gets an image, and its watchers lose nothing without a word.

use std::time::Duration;

use berth_harness::{Cluster, Response, Scratch, request, until};

use crate::workload::put;
use crate::{QUICK, berth, turn};

/// More than the entries that are kept behind an image.
const MISSED: u64 = 6_400;
const WRITERS: u64 = 8;

/// Entries of the log: writes of a key, or attempts that change nothing and so are no events.
fn fill(cluster: &Cluster, at: usize, effective: bool) {
    let target = if effective {
        "/v2/keys/many"
    } else {
        "/v2/keys/watched?prevValue=never"
    };
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..MISSED / WRITERS {
                    let answer = cluster.ask(at, "PUT", target, "value=x").unwrap();
                    assert!(answer.status < 500, "{}", answer.text());
                }
            });
        }
    });
}

fn wait_for_watchers(cluster: &Cluster, at: usize, watchers: u64) {
    until("open watches", Duration::from_secs(10), || {
        let stats = cluster.ask(at, "GET", "/v2/stats/store", "").ok()?.json();
        (stats["watchers"] == watchers).then_some(())
    });
}

fn images(cluster: &Cluster, at: usize) -> usize {
    cluster.log(at).matches("image received").count()
}

#[test]
fn a_late_member_gets_an_image_and_its_watchers_an_event_or_a_401() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut flags = QUICK.to_vec();
    flags.extend(["--snapshot-count", "500"]);
    let cluster = Cluster::start(&berth(), &scratch, 3, &flags);
    cluster.wait_all();
    let leader = cluster.leader();
    let late = (leader + 1) % 3;
    let client = cluster.client(late);
    let watch = |since: u64| -> Response {
        request(
            client,
            "GET",
            &format!("/v2/keys/watched?wait=true&waitIndex={since}"),
            &[],
            b"",
        )
        .unwrap()
    };
    let seen = put(client, "/watched", "first").unwrap();
    std::thread::scope(|scope| {
        // The history that comes with the image reaches back: the watcher gets the one event that it waits for.
        let waiting = scope.spawn(|| watch(seen + 1));
        wait_for_watchers(&cluster, late, 1);
        cluster.pause(late);
        fill(&cluster, leader, false);
        let missed = put(cluster.client(leader), "/watched", "second").unwrap();
        cluster.resume(late);
        cluster.wait_healthy(late);
        let event = waiting.join().unwrap().json();
        assert_eq!(event["node"]["modifiedIndex"].as_u64(), Some(missed), "{event}");
        assert_eq!(images(&cluster, late), 1, "no image was sent");
        // It does not: the answer, begun long ago, ends without an event, and the next one says why.
        let waiting = scope.spawn(move || watch(missed + 1));
        wait_for_watchers(&cluster, late, 1);
        cluster.pause(late);
        fill(&cluster, leader, true);
        put(cluster.client(leader), "/watched", "third").unwrap();
        cluster.resume(late);
        cluster.wait_healthy(late);
        assert_eq!(waiting.join().unwrap().text(), "");
        assert_eq!(images(&cluster, late), 2, "no image was sent");
        let cleared = watch(missed + 1).json();
        assert_eq!(cleared["errorCode"], 401, "{cleared}");
    });
    check_equal(&cluster, late, leader);
}

fn check_equal(cluster: &Cluster, one: usize, other: usize) {
    let all = |at: usize| {
        let answer = cluster
            .ask(at, "GET", "/v2/keys/?recursive=true&quorum=true", "")
            .unwrap();
        (answer.header("x-etcd-index").unwrap().to_owned(), answer.text())
    };
    assert_eq!(all(one), all(other));
}
