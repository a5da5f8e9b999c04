//! Leaders that are killed, stopped and sent away, under load.

use std::time::{Duration, Instant};

use berth_harness::{Cluster, Scratch, until};

use crate::workload::under_load;
use crate::{QUICK, berth, turn};

/// How often the leader is killed.
const KILLS: usize = 10;

/// The longest time without a write while members restart in order: the leadership is handed on, and a busy machine.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// The longest time without a write after a kill: two of the longest election time-outs of one second, and a busy machine.
const LONGEST_GAP: Duration = Duration::from_secs(6);

fn another_leader(cluster: &Cluster, than: usize) -> usize {
    until("another leader", Duration::from_secs(30), || {
        cluster.leader_now().filter(|leader| *leader != than)
    })
}

fn pass(time: Duration) {
    let end = Instant::now() + time;
    until("a moment", time * 2, || (Instant::now() >= end).then_some(()));
}

#[test]
fn ten_killed_leaders_lose_no_acknowledged_write() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &["--snapshot-count", "1000"]);
    cluster.wait_all();
    let clients = cluster.clients();
    let mut moments = Vec::new();
    let report = under_load(&clients, || {
        for round in 0..KILLS {
            let leader = cluster.leader();
            pass(Duration::from_millis(200 + 37 * round as u64));
            moments.push(Instant::now());
            cluster.kill(leader);
            another_leader(&cluster, leader);
            cluster.restart(leader);
            cluster.wait_healthy(leader);
        }
    });
    report.check(&cluster);
    let mut gaps = report.gaps(&moments);
    gaps.sort_unstable();
    println!(
        "{} writes acknowledged, {} quorum reads; times without a write after {KILLS} kills: {gaps:?}",
        report.acknowledged.len(),
        report.reads
    );
    assert!(gaps.iter().all(|gap| *gap < LONGEST_GAP), "{gaps:?}");
}

#[test]
fn a_stopped_leader_is_replaced_and_follows_when_it_goes_on() {
    let _turn = turn();
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let clients = cluster.clients();
    let report = under_load(&clients, || {
        for _ in 0..3 {
            // Writes that were on their way to the last leader have been given up by now, and others were made.
            pass(crate::workload::PATIENCE + Duration::from_millis(500));
            let leader = cluster.leader();
            cluster.pause(leader);
            let next = until("another leader", Duration::from_secs(20), || {
                (0..3).filter(|at| *at != leader).find(|at| {
                    cluster
                        .stats(*at)
                        .is_some_and(|stats| stats["state"] == "StateLeader")
                })
            });
            pass(Duration::from_millis(300));
            cluster.resume(leader);
            cluster.wait_healthy(leader);
            assert_ne!(next, leader);
        }
    });
    report.check(&cluster);
}

#[test]
fn members_restart_one_after_the_other_and_writes_hardly_stop() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let clients = cluster.clients();
    let mut moments = Vec::new();
    let report = under_load(&clients, || {
        // The leader first and last, so that it hands over.
        for at in [cluster.leader(), 0, 1, 2] {
            moments.push(Instant::now());
            cluster.stop(at);
            cluster.restart(at);
            cluster.wait_healthy(at);
        }
    });
    report.check(&cluster);
    let gaps = report.gaps(&moments);
    println!(
        "{} writes acknowledged; times without one while members restarted: {gaps:?}",
        report.acknowledged.len()
    );
    assert!(gaps.iter().all(|gap| *gap < LONGEST_PAUSE), "{gaps:?}");
}
