//! Starting, ending and coming back.

use crate::client::{PATIENCE, Server, config, runtime, until};
use berth_node::{DiskError, Node, NodeError};

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let server = Server::with(|config| config.snapshot_count = 50);
    let mut client = server.client();
    for number in 0..120 {
        client.ask("PUT", &format!("/v2/keys/k{number}"), &format!("value={number}"));
    }
    client.ask("PUT", "/v2/keys/leased", "value=x&ttl=300");
    let index = client
        .ask("GET", "/v2/keys/", "")
        .header("X-Etcd-Index")
        .unwrap()
        .to_owned();
    let cluster = client
        .ask("GET", "/v2/keys/", "")
        .header("X-Etcd-Cluster-Id")
        .unwrap()
        .to_owned();
    drop(client);
    let dir = server.stop();
    let mut config = config(dir.path());
    config.snapshot_count = 50;
    let server = Server::start_in(dir, config).unwrap();
    let answer = server.ask("GET", "/v2/keys/k119", "");
    assert_eq!(answer.json()["node"]["value"], "119");
    assert_eq!(answer.header("X-Etcd-Index"), Some(index.as_str()));
    assert_eq!(answer.header("X-Etcd-Cluster-Id"), Some(cluster.as_str()));
    let ttl = server.ask("GET", "/v2/keys/leased", "").json()["node"]["ttl"]
        .as_i64()
        .unwrap();
    assert!((290..=300).contains(&ttl), "{ttl}");
    let past = server
        .ask("GET", "/v2/keys/?wait=true&recursive=true&waitIndex=100", "")
        .json();
    assert_eq!(past["node"]["modifiedIndex"], 100);
    assert_eq!(server.ask("PUT", "/v2/keys/new", "value=1").status, 201);
    server.stop();
}

#[test]
fn a_directory_in_use_and_a_port_in_use_are_named() {
    let server = Server::start();
    let runtime = runtime();
    let second = runtime.block_on(Node::start(config(server.dir.path())));
    match second {
        Err(NodeError::Disk(DiskError::InUse { path })) => assert_eq!(path, server.dir.path()),
        other => panic!("{other:?}"),
    }
    let other = tempfile::tempdir().unwrap();
    let mut config = config(other.path());
    config.client_listen = vec![server.address()];
    let error = runtime.block_on(Node::start(config)).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("cannot listen on {}", server.address())
    );
    assert_eq!(
        other.path().read_dir().unwrap().count(),
        0,
        "nothing is made before the ports are bound"
    );
}

#[test]
fn the_end_waits_for_nobody_who_watches() {
    let mut server = Server::start();
    let mut poll = server.client();
    poll.send(b"GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: t\r\n\r\n");
    poll.head();
    let mut idle = server.client();
    idle.ask("GET", "/v2/keys", "");
    let address = server.address();
    let end = server.begin_stop();
    assert!(poll.event().is_none(), "the watch ends without an event");
    assert!(poll.is_closed_within(PATIENCE) && idle.is_closed_within(PATIENCE));
    until("the end", || end.is_finished().then_some(()));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn many_addresses_are_served_and_the_peer_port_says_no() {
    let server = Server::with(|config| {
        config.client_listen = ["127.0.0.1:0", "[::1]:0"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        config.peer_listen = Some("127.0.0.1:0".parse().unwrap());
    });
    for address in server.node().client_addrs() {
        assert_eq!(
            crate::client::Client::connect(*address)
                .ask("GET", "/v2/keys", "")
                .status,
            200
        );
    }
    let peer = server.node().peer_addr().unwrap();
    let answer = crate::client::Client::connect(peer).ask("GET", "/members", "");
    assert_eq!(answer.status, 501);
    assert!(answer.body.contains("protocol of the members"), "{answer:?}");
}
