//! One member of three: reads go on, writes are told in time that nobody can know, and all is well when the others are back.

use std::time::{Duration, Instant};

use berth_harness::{Cluster, Scratch, until};

use crate::workload::put;
use crate::{QUICK, berth, turn};

#[test]
fn without_a_quorum_reads_go_on_and_writes_are_refused_in_time() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let leader = cluster.leader();
    put(cluster.client(leader), "/k", "1").unwrap();
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for other in others {
        cluster.kill(other);
    }
    let read = cluster.ask(leader, "GET", "/v2/keys/k", "").unwrap();
    assert_eq!(read.json()["node"]["value"], "1");
    let started = Instant::now();
    for (method, target, body) in [
        ("PUT", "/v2/keys/k", "value=2"),
        ("GET", "/v2/keys/k?quorum=true", ""),
    ] {
        let answer = cluster.ask(leader, method, target, body).unwrap();
        assert_eq!(
            (answer.status, answer.json()["errorCode"].as_u64()),
            (500, Some(300)),
            "{}",
            answer.text()
        );
    }
    // Twice 5 s and two election time-outs.
    assert!(
        started.elapsed() < Duration::from_secs(16),
        "{:?}",
        started.elapsed()
    );
    until("no leader", Duration::from_secs(10), || {
        let answer = cluster.ask(leader, "GET", "/v2/members/leader", "").ok()?;
        (answer.status == 503).then_some(())
    });
    assert_eq!(cluster.ask(leader, "GET", "/health", "").unwrap().status, 503);
    cluster.restart(others[0]);
    cluster.wait_healthy(leader);
    cluster.wait_healthy(others[0]);
    // The refused write may have been made or not; the next one is.
    put(cluster.client(others[0]), "/k", "3").unwrap();
    let read = cluster.ask(leader, "GET", "/v2/keys/k?quorum=true", "").unwrap();
    assert_eq!(read.json()["node"]["value"], "3");
    cluster.restart(others[1]);
    cluster.wait_all();
}

#[test]
fn what_comes_from_another_member_is_never_left_lying_until_the_next_tick() {
    let _turn = turn();
    let scratch = Scratch::new();
    // Slow ticks, so that whatever waits for one is seen.
    let slow = ["--heartbeat-interval", "400", "--election-timeout", "4000"];
    let cluster = Cluster::start(&berth(), &scratch, 3, &slow);
    cluster.wait_all();
    let leader = cluster.leader();
    put(cluster.client(leader), "/k", "1").unwrap();
    let started = Instant::now();
    for _ in 0..200 {
        for follower in (0..3).filter(|at| *at != leader) {
            let answer = cluster
                .ask(follower, "GET", "/v2/keys/k?quorum=true", "")
                .unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    println!("400 quorum reads through followers took {:?}", started.elapsed());
    // With one in four left lying it was 20 s.
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
}
