//! `/metrics` and `/health` of a cluster: what operators' dashboards and checks go by, and that it is true.

use std::time::Duration;

use berth_harness::{Cluster, Scratch, until};

use crate::{QUICK, berth, turn};

const LIMIT: Duration = Duration::from_secs(30);

fn page(cluster: &Cluster, at: usize) -> String {
    cluster.ask(at, "GET", "/metrics", "").unwrap().text()
}

/// The value of the first sample that begins so.
fn value(page: &str, sample: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(sample));
    let line = line.unwrap_or_else(|| panic!("no {sample} in:\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// What a leader of three tells at least after some writes.
const SAMPLES: [(&str, f64); 21] = [
    ("etcd_server_has_leader ", 1.0),
    ("etcd_server_is_leader ", 1.0),
    ("etcd_server_leader_changes_seen_total ", 1.0),
    ("etcd_server_proposals_committed_total ", 20.0),
    ("etcd_server_proposals_applied_total ", 20.0),
    ("etcd_server_proposals_pending ", 0.0),
    ("etcd_server_proposals_failed_total ", 0.0),
    ("etcd_server_health_success ", 1.0),
    ("etcd_disk_wal_fsync_duration_seconds_count ", 5.0),
    ("etcd_disk_wal_write_bytes_total ", 1_000.0),
    ("etcd_network_active_peers{Local=", 1.0),
    ("etcd_network_peer_sent_bytes_total{To=", 1_000.0),
    ("etcd_network_peer_received_bytes_total{From=", 100.0),
    ("etcd_network_peer_sent_failures_total{To=", 0.0),
    ("etcd_network_peer_round_trip_time_seconds_count{To=", 1.0),
    ("berth_raft_term ", 1.0),
    ("berth_raft_member_votes{member=", 1.0),
    ("berth_raft_commit_index ", 20.0),
    ("berth_raft_last_index ", 20.0),
    ("berth_disk_has_room ", 1.0),
    ("berth_log_write_seconds ", 0.0),
];

#[test]
fn raft_disk_and_peers_are_told_and_health_is_the_truth() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let leader = cluster.leader();
    for number in 0..20 {
        let target = format!("/v2/keys/k{number}");
        cluster.ask(leader, "PUT", &target, "value=1").unwrap();
    }
    let told = page(&cluster, leader);
    for (sample, least) in SAMPLES {
        assert!(value(&told, sample) >= least, "{sample} in:\n{told}");
    }
    // Each is described once.
    let mut names: Vec<&str> = told
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all, "{told}");
    for other in [(leader + 1) % 3, (leader + 2) % 3] {
        cluster.kill(other);
    }
    until("an unhealthy member", LIMIT, || {
        let health = cluster.ask(leader, "GET", "/health", "").ok()?;
        (health.status == 503).then(|| assert_eq!(health.text(), "{\"health\":\"false\"}\n"))
    });
    until("no leader any more", LIMIT, || {
        let told = page(&cluster, leader);
        let failures: f64 = ["no_leader", "no_quorum"]
            .iter()
            .map(|reason| {
                value(
                    &told,
                    &format!("berth_health_failures_total{{reason=\"{reason}\"}}"),
                )
            })
            .sum();
        assert!(
            failures >= 1.0 && value(&told, "etcd_server_health_failures ") >= 1.0,
            "{told}"
        );
        (value(&told, "etcd_server_has_leader ") < 1.0).then_some(())
    });
    until("nobody is reached", LIMIT, || {
        let told = page(&cluster, leader);
        let mut active = told
            .lines()
            .filter(|line| line.starts_with("etcd_network_active_peers{"));
        active.all(|line| line.ends_with(" 0")).then_some(())
    });
}
