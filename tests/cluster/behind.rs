//! A member that was away for longer than the log is kept: it gets an image, and its watchers an event or a 401.

use std::time::Duration;

use berth_harness::{Cluster, Scratch, Stream, until};

use crate::workload::put;
use crate::{QUICK, berth, turn};

/// More than the entries that are kept behind an image, and more than the history of events.
const MISSED: u64 = 7_000;

#[test]
fn a_late_member_gets_an_image_and_its_watchers_lose_nothing_silently() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut flags = QUICK.to_vec();
    flags.extend(["--snapshot-count", "500"]);
    let cluster = Cluster::start(&berth(), &scratch, 3, &flags);
    cluster.wait_all();
    let leader = cluster.leader();
    let late = (leader + 1) % 3;
    put(cluster.client(late), "/watched", "before").unwrap();
    let before = put(cluster.client(late), "/old", "before").unwrap();
    // On the late member: one watch for what is written last, one for what will be out of the history by then.
    let watch = |key: &str, since: u64| {
        let target = format!("/v2/keys/{key}?wait=true&waitIndex={since}");
        let client = cluster.client(late);
        move || berth_harness::request(client, "GET", &target, &[], b"").unwrap()
    };
    std::thread::scope(|scope| {
        let watched = scope.spawn(watch("watched", before + 1));
        let mut stream = Stream::open(
            cluster.client(late),
            "/v2/keys/many?wait=true&recursive=true&stream=true",
        );
        until("open watches", Duration::from_secs(10), || {
            let stats = cluster.ask(late, "GET", "/v2/stats/store", "").ok()?.json();
            (stats["watchers"] == 2).then_some(())
        });
        cluster.pause(late);
        put(cluster.client(leader), "/old", "missed").unwrap();
        write_many(&cluster, leader);
        let after = put(cluster.client(leader), "/watched", "after").unwrap();
        cluster.resume(late);
        cluster.wait_healthy(late);
        assert!(cluster.log(late).contains("image received"), "no image was sent");
        let event = watched.join().unwrap();
        let event = event.json();
        // Its event is among those of the history that came with the image.
        assert_eq!(event["node"]["modifiedIndex"].as_u64(), Some(after), "{event}");
        // The stream missed more than the history holds: it ended, or begins again with what is there without a hole.
        let mut last = None;
        while let Some(line) = stream.chunk() {
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["errorCode"] == 401 {
                break;
            }
            let index = event["node"]["modifiedIndex"].as_u64().unwrap();
            if let Some(last) = last {
                assert_eq!(index, last + 1, "an event is missing");
            }
            last = Some(index);
        }
        let cleared = watch("old", before + 1)();
        assert_eq!(cleared.json()["errorCode"], 401, "{}", cleared.text());
    });
    let count = |at: usize| {
        let listing = cluster
            .ask(at, "GET", "/v2/keys/many?quorum=true", "")
            .unwrap()
            .json();
        listing["node"]["nodes"].as_array().unwrap().len()
    };
    assert_eq!(count(late), count(leader));
    let index = |at: usize| {
        let read = cluster
            .ask(at, "GET", "/v2/keys/watched?quorum=true", "")
            .unwrap();
        read.header("x-etcd-index").unwrap().to_owned()
    };
    assert_eq!(index(late), index(leader));
}

fn write_many(cluster: &Cluster, leader: usize) {
    let address = cluster.client(leader);
    std::thread::scope(|scope| {
        for writer in 0..8 {
            scope.spawn(move || {
                for number in 0..MISSED / 8 {
                    put(address, &format!("/many/{writer}-{}", number % 100), "x").unwrap();
                }
            });
        }
    });
}
