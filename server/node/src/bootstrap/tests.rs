//! Times in ticks, and what flags about the forming of a cluster come to.

use super::{check, forming, limits};
use crate::config::{ClientLimits, InitialCluster, NodeConfig};
use std::time::Duration;

fn config(heartbeat: u64, election: u64) -> NodeConfig {
    NodeConfig {
        name: "b".to_owned(),
        data_dir: "/nonexistent".into(),
        client_listen: Vec::new(),
        peer_listen: Some(([127, 0, 0, 1], 0).into()),
        advertise_client_urls: Vec::new(),
        advertise_peer_urls: Vec::new(),
        initial_cluster: None,
        discovery: None,
        discovery_srv: None,
        snapshot_count: 1,
        heartbeat: Duration::from_millis(heartbeat),
        election_timeout: Duration::from_millis(election),
        cors: Vec::new(),
        clients: ClientLimits::default(),
        tls: crate::tls::NodeTls::default(),
        set_log_level: None,
    }
}

#[test]
fn times_become_ticks() {
    for (heartbeat, election, ticks) in [
        (100, 1_000, (100, 1, 10, 7_000)),
        (50, 1_000, (50, 1, 20, 7_000)),
        (250, 1_250, (83, 3, 16, 7_500)),
        (10_000, 50_000, (100, 100, 500, 105_000)),
        (1, 5, (1, 1, 5, 5_010)),
    ] {
        let limits = limits(&config(heartbeat, election));
        let found = (
            limits.tick_ms,
            limits.heartbeat_ticks,
            limits.election_ticks,
            limits.request_timeout_ms,
        );
        assert_eq!(found, ticks, "{heartbeat} {election}");
    }
}

const THREE: &str = "a=http://h1:2380,b=http://h2:2380,c=http://h3:2380,b=http://h2:7001";

#[test]
fn all_founders_come_to_the_same_cluster() {
    let of = |name: &str, text: &str, token: &str| {
        let mut config = config(100, 1_000);
        config.name = name.to_owned();
        let members = InitialCluster::parse(text).expect("a list of members");
        config.initial_cluster = Some(InitialCluster {
            members,
            token: token.to_owned(),
            existing: false,
        });
        let initial = config.initial_cluster.as_ref().expect("a list of members");
        forming(initial, check(&config, initial).expect("a cluster"), true)
    };
    let (a, b) = (of("a", THREE, "t"), of("b", THREE, "t"));
    assert_eq!(a.founders.len(), 3);
    let identity = |forming: &crate::disk::Forming| forming.identity.expect("not drawn");
    assert_eq!(identity(&a).cluster, identity(&b).cluster);
    assert_ne!(identity(&a).member, identity(&b).member);
    assert!(b.founders.iter().any(|founder| founder.id == identity(&b).member));
    let turned = "c=http://h3:2380,b=http://h2:7001,b=http://h2:2380,a=http://h1:2380";
    assert_eq!(identity(&of("b", turned, "t")), identity(&b));
    assert_ne!(identity(&of("b", THREE, "u")).cluster, identity(&b).cluster);
    assert_eq!(of("b", "b=http://h2:2380", "t").identity, None);
}

#[test]
fn contradictions_name_their_flag() {
    for (text, existing, advertised, listens, said) in [
        ("a=http://h:1,c=http://h:2", false, "", true, "--initial-cluster"),
        ("a=http://h:1,b=http://h:1", false, "", true, "--initial-cluster"),
        ("a=ftp://h:1,b=http://h:2", false, "", true, "--initial-cluster"),
        (
            "a=http://h:1,b=http://h:2",
            false,
            "http://h:3",
            true,
            "--initial-advertise-peer-urls",
        ),
        ("b=http://h:2", true, "", true, "--initial-cluster-state"),
        ("a=http://h:1,b=http://h:2", false, "", false, "--listen-peer"),
    ] {
        let mut config = config(100, 1_000);
        let members = InitialCluster::parse(text).expect("a list of members");
        config.initial_cluster = Some(InitialCluster {
            members,
            token: "t".to_owned(),
            existing,
        });
        if !advertised.is_empty() {
            config.advertise_peer_urls = vec![advertised.to_owned()];
        }
        if !listens {
            config.peer_listen = None;
        }
        let initial = config.initial_cluster.as_ref().expect("a list of members");
        let error = check(&config, initial).expect_err(text).to_string();
        assert!(error.starts_with(said), "{text}: {error}");
    }
    for text in ["", "a", "=http://h:1", "a=", "a=http://h:1,,", "a=http://h:1,b"] {
        assert!(InitialCluster::parse(text).is_err(), "{text:?}");
    }
}
