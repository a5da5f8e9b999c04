//! Cut networks: symmetric and one-way, between hosts that are network namespaces of the test's own.

use std::net::SocketAddr;
use std::time::Duration;

use berth_harness::{Cluster, Lan, Scratch, need_root, until};

use crate::workload::under_load;
use crate::{QUICK, berth, turn};

#[test]
fn cut_off_leaders_are_replaced_and_nothing_acknowledged_is_lost() {
    need_root();
    let _turn = turn();
    let scratch = Scratch::new();
    let lan = Lan::new(&scratch, 3);
    let places = (0..3).map(|host| {
        let address = |port| SocketAddr::new(lan.address(host), port);
        (Some(lan.host(host)), address(2379), address(2380))
    });
    let cluster = Cluster::start_at(&berth(), &scratch, places.collect(), &QUICK);
    lan.within(|| {
        cluster.wait_all();
        let clients = cluster.clients();
        let report = under_load(&clients, || {
            // Cut off altogether.
            let leader = cluster.leader();
            lan.isolate(number(leader));
            replaced(&cluster, leader);
            lan.heal();
            cluster.wait_all();
            // Its words arrive, and it hears nobody.
            let leader = cluster.leader();
            for other in (0..3).filter(|other| *other != leader) {
                lan.cut(number(other), number(leader));
            }
            replaced(&cluster, leader);
            lan.heal();
            cluster.wait_all();
            // Two members do not see each other; both see the third.
            let leader = cluster.leader();
            lan.cut(number(leader), number((leader + 1) % 3));
            lan.cut(number((leader + 1) % 3), number(leader));
            until("a write", Duration::from_secs(20), || {
                let third = cluster.client((leader + 2) % 3);
                crate::workload::put(third, "/third", "x")
            });
            lan.heal();
            cluster.wait_all();
        });
        report.check(&cluster);
    });
}

fn number(member: usize) -> u8 {
    u8::try_from(member).unwrap()
}

/// Waits until another member leads and this one knows that it does not.
fn replaced(cluster: &Cluster, leader: usize) {
    until("another leader", Duration::from_secs(30), || {
        cluster.leader_now().filter(|now| *now != leader)
    });
    until("the end of the old one", Duration::from_secs(20), || {
        (cluster.stats(leader)?["state"] != "StateLeader").then_some(())
    });
}
