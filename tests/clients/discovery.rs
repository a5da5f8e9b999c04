//! Three real etcd members that find each other through the store, as a discovery service.

use std::net::SocketAddr;

use berth_harness::{Process, until};

use crate::network::in_own_network;
use crate::programs::{LONG, SHORT, clean, need};
use crate::server::{Server, ask};

const MEMBERS: u16 = 3;
const TOKEN: &str = "6c007a14875d53d9bf0ef5a6fc0257c8";

/// A member that knows nothing but the discovery URL.
fn member(server: &Server, number: u16) -> (Process, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], 12_379 + number));
    let (client, peer) = (
        format!("http://{address}"),
        format!("http://127.0.0.1:{}", 12_479 + number),
    );
    let mut command = clean("/usr/bin/etcd", server.folder());
    command
        .args(["--enable-v2=true", "--logger=zap", "--log-level=warn"])
        .arg("--discovery-fallback=exit")
        .arg(format!("--name=member{number}"))
        .arg(format!(
            "--data-dir={}",
            server.folder().join(format!("member{number}")).display()
        ))
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!(
            "--discovery={}/v2/keys/_etcd/registry/{TOKEN}",
            server.url()
        ));
    let log = server.folder().join(format!("member{number}.log"));
    (Process::start(&mut command, &log), address)
}

fn healthy(address: SocketAddr) -> Option<()> {
    let answer = ask(address, "GET", "/health", "").ok()?;
    answer.text().contains("true").then_some(())
}

#[test]
fn three_etcd_members_find_each_other_through_the_store() {
    need("/usr/bin/etcd", "etcd-server");
    in_own_network(|| {
        let server = Server::start();
        let registry = format!("/v2/keys/_etcd/registry/{TOKEN}");
        let made = server.ask(
            "PUT",
            &format!("{registry}/_config/size"),
            &format!("value={MEMBERS}"),
        );
        assert_eq!(made.status, 201, "{}", made.text());
        let mut first = member(&server, 0);
        until("the first member's entry", SHORT, || {
            let listed = server.ask("GET", &registry, "").json();
            assert!(first.0.ended().is_none(), "it ended: {}", first.0.output());
            (listed["node"]["nodes"].as_array()?.len() == 1).then_some(())
        });
        // It waits for the others by a watch.
        until("the first member's watch", SHORT, || {
            (server.watches() > 0).then_some(())
        });
        let mut members = vec![first];
        members.extend((1..MEMBERS).map(|number| member(&server, number)));
        for (process, address) in &mut members {
            until("a member's health", LONG, || {
                assert!(process.ended().is_none(), "it ended: {}", process.output());
                healthy(*address)
            });
        }
        expect_entries(&server, &registry);
        expect_one_cluster(&members);
        surplus_member_is_refused(&server);
    });
}

/// Each member has its entry, and they stand in the order of their making.
fn expect_entries(server: &Server, registry: &str) {
    let listed = server.ask("GET", registry, "").json();
    let mut entries: Vec<(u64, String)> = listed["node"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| {
            (
                node["createdIndex"].as_u64().unwrap(),
                node["value"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    entries.sort();
    let values: Vec<&str> = entries.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(
        values.len(),
        usize::from(MEMBERS),
        "the hidden settings are not listed: {values:?}"
    );
    assert!(values[0].starts_with("member0="), "{values:?}");
}

/// What is written to one member is read from each other one.
fn expect_one_cluster(members: &[(Process, SocketAddr)]) {
    let listed = ask(members[0].1, "GET", "/v2/members", "").unwrap().json();
    assert_eq!(listed["members"].as_array().unwrap().len(), usize::from(MEMBERS));
    let written = ask(members[0].1, "PUT", "/v2/keys/shared", "value=seen").unwrap();
    assert_eq!(written.status, 201, "{}", written.text());
    for (_, address) in &members[1..] {
        let read = ask(*address, "GET", "/v2/keys/shared?quorum=true", "")
            .unwrap()
            .json();
        assert_eq!(read["node"]["value"], "seen");
    }
}

/// One more than the size finds the cluster full.
fn surplus_member_is_refused(server: &Server) {
    let (mut process, _) = member(server, MEMBERS);
    let status = process.wait(LONG);
    assert!(!status.success());
    assert!(
        process.output().contains("cluster is full"),
        "{}",
        process.output()
    );
}
