//! Members that come and go while clients write: nothing that was acknowledged is lost, and who has left says so.

use std::net::SocketAddr;
use std::time::Duration;

use berth_harness::{Cluster, Response, Scratch, quiet_port, until};

use crate::workload::{put, under_load};
use crate::{QUICK, berth, turn};

fn remove(cluster: &Cluster, through: usize, at: usize) -> Response {
    let id = cluster.id(through, at);
    cluster.ask_json(through, "DELETE", &format!("/v2/members/{id}"), "")
}

fn count(cluster: &Cluster, at: usize) -> usize {
    let listed = cluster.ask_json(at, "GET", "/v2/members", "").json();
    listed["members"].as_array().unwrap().len()
}

/// A member that has ended after its removal says why, and does not start again.
fn check_removed(cluster: &mut Cluster, at: usize) {
    let (code, log) = cluster.wait_removed(at);
    assert_eq!(code, 1, "{log}");
    let said = "this member was removed from the cluster for ever";
    assert!(log.contains(said), "{log}");
    cluster.restart(at);
    let (code, log) = cluster.wait_end(at);
    assert_eq!(code, 1, "{log}");
    let said = "was removed from its cluster for ever; to take part again it is added anew";
    assert!(log.contains(said), "{log}");
}

#[test]
fn a_lone_member_grows_to_five_and_shrinks_to_three_under_load() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 1, &QUICK);
    cluster.wait_all();
    // Those that stay.
    let clients = cluster.clients();
    let report = under_load(&clients, || {
        for size in 2..=5 {
            let through = size % cluster.members().len();
            let at = cluster.join(&scratch, through);
            cluster.wait_healthy(at);
            cluster.wait_voter(at);
            assert_eq!(count(&cluster, at), size);
        }
        for at in [4, 3] {
            let removed = remove(&cluster, (at + 2) % 3, at);
            assert_eq!(removed.status, 204, "{}", removed.text());
            assert_eq!(removed.text(), "");
            check_removed(&mut cluster, at);
        }
    });
    println!("{} writes acknowledged", report.acknowledged.len());
    report.check(&cluster);
    // The one that was alone, and those that joined, come back with what they know now.
    for at in 0..3 {
        cluster.stop(at);
        cluster.restart(at);
        cluster.wait_healthy(at);
        assert_eq!(count(&cluster, at), 3);
    }
    // Two of three are enough, so all three have a vote.
    cluster.kill(0);
    until("a write", Duration::from_secs(30), || {
        put(cluster.client(1), "/after", "v")
    });
}

#[test]
fn a_dead_member_is_replaced() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let leader = cluster.leader();
    let (dead, other) = ((leader + 1) % 3, (leader + 2) % 3);
    let clients = vec![cluster.client(leader), cluster.client(other)];
    let report = under_load(&clients, || {
        cluster.kill(dead);
        let removed = remove(&cluster, other, dead);
        assert_eq!(removed.status, 204, "{}", removed.text());
        cluster.forget(dead);
        let new = cluster.join(&scratch, other);
        cluster.wait_healthy(new);
        cluster.wait_voter(new);
        // The dead one comes back, and is told.
        cluster.restart(dead);
        check_removed(&mut cluster, dead);
    });
    report.check(&cluster);
    cluster.kill(other);
    until("a write", Duration::from_secs(30), || {
        put(cluster.client(leader), "/after", "v")
    });
}

#[test]
fn the_leader_is_removed_through_itself_and_through_another() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 4, &QUICK);
    cluster.wait_all();
    // Writers go on to the next member when one has ended.
    let clients = cluster.clients();
    let report = under_load(&clients, || {
        for through_itself in [true, false] {
            let leader = cluster.leader();
            let present = cluster.present();
            let other = present.into_iter().find(|at| *at != leader).unwrap();
            let through = if through_itself { leader } else { other };
            let removed = remove(&cluster, through, leader);
            assert_eq!(removed.status, 204, "{}", removed.text());
            check_removed(&mut cluster, leader);
            // Those that are left take writes.
            for number in 0..20 {
                until("a write", Duration::from_secs(30), || {
                    put(cluster.client(other), &format!("/left/{number}"), "v")
                });
            }
        }
    });
    report.check(&cluster);
    assert_eq!(cluster.present().len(), 2);
}

#[test]
fn a_member_joins_by_an_image_when_the_log_was_cut() {
    let scratch = Scratch::new();
    let mut flags = QUICK.to_vec();
    flags.extend(["--snapshot-count", "100"]);
    let mut cluster = Cluster::start(&berth(), &scratch, 1, &flags);
    cluster.wait_all();
    for number in 0..500 {
        put(cluster.client(0), &format!("/k/{number}"), "v").unwrap();
    }
    // A lone member keeps nothing of the log behind an image.
    until("an image", Duration::from_secs(30), || {
        let images = cluster.members()[0].data.join("snapshots");
        std::fs::read_dir(images).ok()?.next().map(drop)
    });
    let at = cluster.join(&scratch, 0);
    cluster.wait_healthy(at);
    cluster.wait_voter(at);
    assert!(cluster.log(at).contains("image received"), "{}", cluster.log(at));
    let listed = cluster.ask(at, "GET", "/v2/keys/k", "").unwrap().json();
    assert_eq!(listed["node"]["nodes"].as_array().unwrap().len(), 500);
    // It knows the members by the image, and after a restart too.
    cluster.kill(at);
    cluster.restart(at);
    cluster.wait_healthy(at);
    assert_eq!(count(&cluster, at), 2);
}

#[test]
fn a_member_moves_to_another_address() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let leader = cluster.leader();
    let (at, through) = ((leader + 1) % 3, (leader + 2) % 3);
    let peer = SocketAddr::from(([127, 0, 0, 1], quiet_port()));
    let id = cluster.id(through, at);
    let wish = format!("{{\"peerURLs\":[\"http://{peer}\"]}}");
    let target = format!("/v2/members/{id}");
    // The same again is the same again.
    for _ in 0..2 {
        let updated = cluster.ask_json(through, "PUT", &target, &wish);
        assert_eq!((updated.status, updated.text().as_str()), (204, ""));
    }
    cluster.stop(at);
    cluster.move_to(at, peer);
    cluster.restart(at);
    cluster.wait_healthy(at);
    let listed = cluster.ask_json(at, "GET", "/v2/members", "").json();
    let shown = listed["members"].as_array().unwrap();
    let shown = shown.iter().find(|member| member["id"] == id.as_str()).unwrap();
    assert_eq!(shown["peerURLs"][0], format!("http://{peer}"));
    assert_eq!(shown["name"], cluster.members()[at].name.as_str());
    // The others reach it there: with another one away its vote is needed.
    cluster.kill(through);
    until("a write", Duration::from_secs(30), || {
        put(cluster.client(at), "/moved", "v")
    });
}

#[test]
fn a_member_that_was_removed_before_it_started_is_told() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let at = cluster.prepare(&scratch);
    let wish = format!("{{\"peerURLs\":[\"http://{}\"]}}", cluster.members()[at].peer);
    let added = cluster.ask_json(0, "POST", "/v2/members", &wish).json();
    let list = cluster.initial_cluster(0, at);
    cluster.start_joining(at, &list, &[]);
    // It may know of itself already, or not yet.
    until("a data directory", Duration::from_secs(30), || {
        cluster.members()[at].data.join("member").exists().then_some(())
    });
    let id = added["id"].as_str().unwrap();
    let removed = cluster.ask_json(1, "DELETE", &format!("/v2/members/{id}"), "");
    assert_eq!(removed.status, 204, "{}", removed.text());
    check_removed(&mut cluster, at);
}

#[test]
fn a_member_without_a_vote_is_shown_in_our_own_places_only() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 2, &QUICK);
    cluster.wait_all();
    let leader = cluster.leader();
    // It never starts, so that it never has a vote.
    let at = cluster.prepare(&scratch);
    let peer = cluster.members()[at].peer;
    let wish = format!("{{\"peerURLs\":[\"http://{peer}\"]}}");
    let added = cluster.ask_json(leader, "POST", "/v2/members", &wish).json();
    let id = added["id"].as_str().unwrap();
    let listed = cluster.ask_json(leader, "GET", "/v2/members", "").text();
    assert!(listed.contains(id) && !listed.contains("earner"), "{listed}");
    let page = cluster.ask_json(leader, "GET", "/metrics", "").text();
    let votes =
        |id: &str, votes: u8| page.contains(&format!("berth_raft_member_votes{{member=\"{id}\"}} {votes}\n"));
    let leading = cluster.id(leader, leader);
    assert!(votes(id, 0) && votes(&leading, 1), "{page}");
    let url = format!("http://{}", cluster.client(leader));
    let list = |shape: &str| {
        let finished = berth().run(&["--endpoints", &url, "-o", shape, "member", "list"]);
        finished.ok().to_owned()
    };
    let extended = list("extended");
    assert!(
        extended.contains(&format!("{id}[unstarted]: peerURLs=http://{peer} isLearner=true")),
        "{extended}"
    );
    assert_eq!(
        extended.matches("isLeader=true isLearner=false").count(),
        1,
        "{extended}"
    );
    let told: serde_json::Value = serde_json::from_str(&list("json")).unwrap();
    let members = told["members"].as_array().unwrap();
    let learners: Vec<&str> = members
        .iter()
        .filter(|member| member["isLearner"] == true)
        .map(|member| member["id"].as_str().unwrap())
        .collect();
    assert_eq!(learners, [id]);
    let leaders = members.iter().filter(|member| member["isLeader"] == true);
    assert_eq!(
        leaders
            .map(|member| member["id"].as_str().unwrap())
            .collect::<Vec<_>>(),
        [leading]
    );
    assert!(!list("simple").contains("isLearner"));
}
