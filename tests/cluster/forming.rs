//! Forming a cluster, being served by each of its members, and who is not let in.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use berth_harness::{Cluster, Process, Scratch, Store, quiet_port, request, run, until};

use crate::{QUICK, berth};

#[test]
fn every_member_takes_writes_and_all_show_them() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let mut last = 0;
    for at in 0..3 {
        let answer = cluster
            .ask(at, "PUT", &format!("/v2/keys/k/{at}"), &format!("value={at}"))
            .unwrap();
        assert_eq!(answer.status, 201, "{}", answer.text());
        let index = answer.json()["node"]["modifiedIndex"].as_u64().unwrap();
        assert!(index > last);
        last = index;
        // Who wrote there reads it there, without a quorum.
        let own = cluster.ask(at, "GET", &format!("/v2/keys/k/{at}"), "").unwrap();
        assert_eq!(own.json()["node"]["value"], at.to_string());
    }
    for at in 0..3 {
        let all = cluster
            .ask(at, "GET", "/v2/keys/k?quorum=true", "")
            .unwrap()
            .json();
        assert_eq!(all["node"]["nodes"].as_array().unwrap().len(), 3, "{all}");
    }
    check_members(&cluster);
    // What members say about themselves is remembered by all.
    for at in 0..3 {
        cluster.kill(at);
    }
    cluster.restart(0);
    cluster.restart(1);
    cluster.wait_healthy(1);
    check_members_of(&cluster, 1);
    let read = cluster.ask(1, "GET", "/v2/keys/k/2?quorum=true", "").unwrap();
    assert_eq!(read.json()["node"]["value"], "2");
}

fn check_members(cluster: &Cluster) {
    let leader = cluster.leader();
    for at in 0..3 {
        check_members_of(cluster, at);
        let led = cluster.ask(at, "GET", "/v2/members/leader", "").unwrap().json();
        assert_eq!(led["name"], cluster.members()[leader].name.as_str());
        let metrics = cluster.ask(at, "GET", "/metrics", "").unwrap().text();
        assert_eq!(metrics.matches("berth_peer_reached{to=").count(), 2);
        let stats = cluster.ask(at, "GET", "/v2/stats/leader", "").unwrap();
        if at == leader {
            let followers = stats.json()["followers"].as_object().unwrap().len();
            assert_eq!((stats.status, followers), (200, 2));
        } else {
            assert_eq!(stats.status, 403);
        }
    }
}

fn check_members_of(cluster: &Cluster, at: usize) {
    let mut wanted: Vec<String> = cluster
        .clients()
        .iter()
        .map(|client| format!("http://{client}"))
        .collect();
    wanted.sort();
    let wanted = wanted.join(", ");
    until("all client URLs", Duration::from_secs(10), || {
        let machines = cluster.ask(at, "GET", "/v2/machines", "").ok()?;
        (machines.text() == wanted).then_some(())
    });
    let members = cluster.ask(at, "GET", "/v2/members", "").unwrap().json();
    let members = members["members"].as_array().unwrap();
    assert_eq!(members.len(), 3);
    for member in cluster.members() {
        let shown = members
            .iter()
            .find(|shown| shown["name"] == member.name.as_str())
            .unwrap();
        assert_eq!(shown["peerURLs"][0], format!("http://{}", member.peer));
        assert_eq!(shown["clientURLs"][0], format!("http://{}", member.client));
    }
}

#[test]
fn a_member_that_lost_its_data_is_not_listened_to() {
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let at = (cluster.leader() + 1) % 3;
    cluster.kill(at);
    fs::remove_dir_all(&cluster.members()[at].data).unwrap();
    cluster.restart(at);
    until("a word about it", Duration::from_secs(20), || {
        cluster.log(at).contains("another data directory").then_some(())
    });
    let health = cluster.ask(at, "GET", "/health", "").unwrap();
    assert_eq!(health.status, 503);
    // The others go on.
    let other = cluster.leader();
    assert_eq!(
        cluster.ask(other, "PUT", "/v2/keys/k", "value=1").unwrap().status,
        201
    );
}

#[test]
fn strangers_on_the_peer_port_do_no_harm() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let leader = cluster.leader();
    let peer = cluster.members()[leader].peer;
    let http = request(peer, "GET", "/members", &[], b"").unwrap();
    assert_eq!(http.status, 501);
    let frame = |kind: u8, payload: &[u8]| {
        let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(&[1, 2, 3, 4, kind]);
        bytes.extend_from_slice(payload);
        bytes
    };
    for bytes in [
        vec![0xff; 4_096],
        frame(1, b"{}"),
        frame(1, &[b'['; 30_000]),
        frame(6, b"\x08\x01"),
        frame(77, b""),
        vec![0; 9],
    ] {
        let mut socket = TcpStream::connect(peer).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // It may close before all is written.
        let _ = socket.write_all(&bytes);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.is_empty(), "{answer:?}");
    }
    let answer = cluster.ask(leader, "PUT", "/v2/keys/k", "value=1").unwrap();
    assert_eq!(answer.status, 201);
}

#[test]
fn contradictions_are_refused_with_the_flag_before_a_port_is_bound() {
    let scratch = Scratch::new();
    let (client, peer) = (quiet_port(), quiet_port());
    let own = format!("http://127.0.0.1:{peer}");
    for (flags, said) in [
        (
            vec!["--initial-cluster", "b=http://127.0.0.1:1"],
            "--initial-cluster",
        ),
        (vec!["--initial-cluster", "a"], "--initial-cluster"),
        (
            vec![
                "--initial-cluster",
                "a=http://127.0.0.1:1,b=http://127.0.0.1:2",
                "--initial-advertise-peer-urls",
                &own,
            ],
            "--initial-advertise-peer-urls",
        ),
        (
            vec![
                "--initial-cluster",
                "a=http://127.0.0.1:1,b=http://127.0.0.1:2",
                "--initial-cluster-state",
                "existing",
            ],
            "--initial-cluster-state",
        ),
    ] {
        let mut command = berth().command(&["store", "--name", "a"]);
        command
            .args(["--listen-client", &format!("127.0.0.1:{client}")])
            .args(["--listen-peer", &format!("127.0.0.1:{peer}")])
            .arg("--data-dir")
            .arg(scratch.join("refused"))
            .args(&flags);
        let finished = run(&mut command, Duration::from_secs(20));
        assert_ne!(finished.code, 0, "{flags:?}");
        assert!(finished.stderr.contains(said), "{flags:?}: {}", finished.stderr);
        assert!(!scratch.join("refused").exists());
    }
}

#[test]
fn the_etcd_name_forms_a_cluster_too() {
    let scratch = Scratch::new();
    let link = scratch.join("etcd");
    std::os::unix::fs::symlink(berth().program(), &link).unwrap();
    let ports: Vec<(u16, u16)> = (0..3).map(|_| (quiet_port(), quiet_port())).collect();
    let list = ports
        .iter()
        .enumerate()
        .map(|(at, (_, peer))| format!("e{at}=http://127.0.0.1:{peer}"));
    let list = list.collect::<Vec<_>>().join(",");
    let members: Vec<Process> = ports
        .iter()
        .enumerate()
        .map(|(at, (client, peer))| {
            let client = format!("http://127.0.0.1:{client}");
            let peer = format!("http://127.0.0.1:{peer}");
            let mut command = std::process::Command::new(&link);
            command
                .args(["--name", &format!("e{at}")])
                .arg(format!(
                    "--data-dir={}",
                    scratch.join(&format!("e{at}")).display()
                ))
                .args([
                    "--listen-client-urls",
                    &client,
                    "--advertise-client-urls",
                    &client,
                ])
                .args([
                    "--listen-peer-urls",
                    &peer,
                    "--initial-advertise-peer-urls",
                    &peer,
                ])
                .args([
                    "--initial-cluster",
                    &list,
                    "--initial-cluster-token",
                    "t1",
                    "--initial-cluster-state",
                    "new",
                ]);
            Process::start(&mut command, &scratch.join(&format!("e{at}.log")))
        })
        .collect();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], ports[2].0));
    until("a write", Duration::from_secs(30), || {
        crate::workload::put(address, "/k", "v")
    });
    drop(members);
}

#[test]
fn members_find_each_other_by_a_discovery_url() {
    let scratch = Scratch::new();
    let service = Store::start(&berth(), &scratch);
    let directory = "/v2/keys/_etcd/registry/token";
    let url = format!("{}{directory}", service.url());
    let start = |at: usize, client: u16| {
        let mut command = berth().command(&["store", "--name", &format!("d{at}"), "--discovery", &url]);
        command
            .args(["--listen-client", &format!("127.0.0.1:{client}")])
            .args(["--listen-peer", &format!("127.0.0.1:{}", quiet_port())])
            .arg("--data-dir")
            .arg(scratch.join(&format!("d{at}")));
        Process::start(&mut command, &scratch.join(&format!("d{at}.log")))
    };
    let mut sizeless = start(9, quiet_port());
    assert!(!sizeless.wait(Duration::from_secs(20)).success());
    assert!(sizeless.output().contains("--discovery"), "{}", sizeless.output());

    let size = format!("{directory}/_config/size");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    request(service.address(), "PUT", &size, &form, b"value=3").unwrap();
    let clients: Vec<u16> = (0..3).map(|_| quiet_port()).collect();
    let members: Vec<Process> = (0..3).map(|at| start(at, clients[at])).collect();
    for client in &clients {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], *client));
        until("a write", Duration::from_secs(30), || {
            crate::workload::put(address, &format!("/{client}"), "v")
        });
        let members = request(address, "GET", "/v2/members", &[], b"").unwrap().json();
        assert_eq!(members["members"].as_array().unwrap().len(), 3);
    }
    let mut late = start(3, quiet_port());
    assert!(!late.wait(Duration::from_secs(20)).success());
    assert!(late.output().contains("full"), "{}", late.output());
    drop(members);
}
