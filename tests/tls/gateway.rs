//! A gateway with TLS towards its clients and towards the members; and forming a cluster by a discovery service over https.

use std::net::SocketAddr;
use std::process::Command;

use berth_harness::{Process, Scratch, until};

use crate::authority::{Authority, Pair};
use crate::berth;
use crate::member::{Member, PATIENCE, curl, flags, place, status};

/// A gateway. Dropping it kills it.
struct Gateway {
    at: SocketAddr,
    process: Process,
}

impl Gateway {
    fn spawn(scratch: &Scratch, words: &[String]) -> Gateway {
        let at = place();
        let mut command = berth().command(&["proxy", "--listen-client", &at.to_string()]);
        command
            .args(["--refresh-interval", "300", "--failure-wait", "500"])
            .args(words);
        Gateway::run(at, &mut command, scratch)
    }

    fn run(at: SocketAddr, command: &mut Command, scratch: &Scratch) -> Gateway {
        let log = scratch.join(&format!("gateway-{}.log", at.port()));
        let process = Process::start(command, &log);
        Gateway { at, process }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.at)
    }

    fn wait_ready(&mut self) {
        until("the gateway's ready line", PATIENCE, || {
            let log = self.process.output();
            assert!(self.process.ended().is_none(), "{log}");
            log.contains("gateway ready").then_some(())
        });
    }
}

/// What a gateway is called with, and shows the members.
struct World {
    scratch: Scratch,
    clients: Authority,
    members: Authority,
    alice: Pair,
    gate: Pair,
    member: Member,
}

/// A member that demands certificates of one authority, for a gateway whose clients have certificates of another one.
fn world() -> World {
    let scratch = Scratch::new();
    let clients = Authority::new(scratch.path(), "clients");
    let members = Authority::new(scratch.path(), "members");
    let shown = members.good("member", "member");
    let mut words = flags(&[
        ("cert-file", &shown.cert),
        ("key-file", &shown.key),
        ("trusted-ca-file", &members.pem),
    ]);
    words.push("--client-cert-auth".to_owned());
    World {
        alice: clients.good("alice", "alice"),
        gate: members.good("gate", "gate"),
        member: Member::start(&scratch, "m", &words),
        scratch,
        clients,
        members,
    }
}

#[test]
fn both_sides_of_a_gateway_are_encrypted_and_each_demands_its_own_certificates() {
    let world = world();
    let own = world.clients.good("own", "own");
    let mut words = flags(&[
        ("cert-file", &own.cert),
        ("key-file", &own.key),
        ("trusted-ca-file", &world.clients.pem),
        ("store-ca-file", &world.members.pem),
        ("store-cert-file", &world.gate.cert),
        ("store-key-file", &world.gate.key),
    ]);
    words.push("--client-cert-auth".to_owned());
    words.push(format!("--endpoints={}", world.member.url("")));
    let mut gateway = Gateway::spawn(&world.scratch, &words);
    gateway.wait_ready();
    let key = gateway.url("/v2/keys/k");
    let put = curl(
        &world.clients.pem,
        Some(&world.alice),
        &["-XPUT", "-d", "value=1", &key],
    );
    assert_eq!(status(&put), "201", "{}{}", put.stdout, put.stderr);
    let read = curl(
        &world.members.pem,
        Some(&world.gate),
        &[&world.member.url("/v2/keys/k")],
    );
    assert!(read.stdout.contains("\"value\":\"1\""), "{}", read.stdout);
    // A client of the members, and one without a certificate, are no clients of the gateway.
    for shown in [None, Some(&world.gate)] {
        let refused = curl(&world.clients.pem, shown, &[&key]);
        assert_eq!(status(&refused), "000", "{}", refused.stdout);
    }
    let plain = format!("http://{}/v2/keys/k", gateway.at);
    assert_eq!(status(&curl(&world.clients.pem, None, &[&plain])), "400");
    // A watch goes through both.
    let watch = gateway.url("/v2/keys/k?wait=true&waitIndex=1");
    let seen = curl(&world.clients.pem, Some(&world.alice), &[&watch]);
    assert!(seen.stdout.contains("\"value\":\"1\""), "{}", seen.stdout);
}

#[test]
fn members_that_are_not_known_by_their_certificates_get_no_request() {
    let world = world();
    let ask = |words: &[String]| {
        let mut words = words.to_vec();
        words.push(format!("--endpoints={}", world.member.url("")));
        let mut gateway = Gateway::spawn(&world.scratch, &words);
        gateway.wait_ready();
        let answer = curl(
            &world.clients.pem,
            None,
            &[&format!("http://{}/v2/keys/", gateway.at)],
        );
        (status(&answer).to_owned(), gateway.process.output())
    };
    // Another authority is believed than the member's.
    let (told, log) = ask(&flags(&[("store-ca-file", &world.clients.pem)]));
    assert_eq!(told, "502", "{log}");
    assert!(log.contains("UnknownIssuer"), "{log}");
    // The member demands a certificate, and gets none.
    let (told, _) = ask(&flags(&[("store-ca-file", &world.members.pem)]));
    assert_eq!(told, "502");
    // With one, it answers.
    let (told, _) = ask(&flags(&[
        ("store-ca-file", &world.members.pem),
        ("store-cert-file", &world.gate.cert),
        ("store-key-file", &world.gate.key),
    ]));
    assert_eq!(told, "200");
}

#[test]
fn a_new_certificate_for_the_members_counts_without_a_restart() {
    let world = world();
    let shown = world.clients.good("shown", "stranger");
    let mut words = flags(&[
        ("store-ca-file", &world.members.pem),
        ("store-cert-file", &shown.cert),
        ("store-key-file", &shown.key),
    ]);
    words.push(format!("--endpoints={}", world.member.url("")));
    let mut gateway = Gateway::spawn(&world.scratch, &words);
    gateway.wait_ready();
    let target = format!("http://{}/v2/keys/", gateway.at);
    let ask = || status(&curl(&world.clients.pem, None, &[&target])).to_owned();
    assert_eq!(ask(), "502");
    world.gate.replace(&shown);
    until("an answer with the new certificate", PATIENCE, || {
        (ask() == "200").then_some(())
    });
}

#[test]
fn the_old_name_takes_one_certificate_for_both_sides_and_peers_by_tls() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "all");
    let pair = authority.good("pair", "pair");
    let all = flags(&[
        ("cert-file", &pair.cert),
        ("key-file", &pair.key),
        ("trusted-ca-file", &authority.pem),
        ("peer-cert-file", &pair.cert),
        ("peer-key-file", &pair.key),
        ("peer-trusted-ca-file", &authority.pem),
    ]);
    let mut words = all.clone();
    let demands = [
        "--client-cert-auth".to_owned(),
        "--peer-client-cert-auth".to_owned(),
    ];
    words.extend(demands.clone());
    let member = Member::start(&scratch, "m", &words);
    let etcd = scratch.join("etcd");
    std::os::unix::fs::symlink(berth().program(), &etcd).unwrap();
    let at = place();
    let mut command = Command::new(&etcd);
    command
        .args(["--proxy", "on", "--data-dir"])
        .arg(scratch.join("gateway"))
        .args(["--listen-client-urls", &format!("https://{at}")])
        .args(["--initial-cluster", &format!("m={}", member.peer_url())])
        .args(&all)
        .args(demands);
    let mut gateway = Gateway::run(at, &mut command, &scratch);
    gateway.wait_ready();
    let key = gateway.url("/v2/keys/k");
    until("a write through the gateway", PATIENCE, || {
        let put = curl(&authority.pem, Some(&pair), &["-XPUT", "-d", "value=1", &key]);
        ["200", "201"].contains(&status(&put)).then_some(())
    });
    assert_eq!(status(&curl(&authority.pem, None, &[&key])), "000");
}

#[test]
fn contradictions_are_refused_before_anything_is_served() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "all");
    let pair = authority.good("pair", "pair");
    let refused = |words: &[String], wanted: &str| {
        let at = place().to_string();
        let mut all = vec!["proxy", "--listen-client", &at];
        all.extend(words.iter().map(String::as_str));
        let finished = berth().run(&all);
        assert_ne!(finished.code, 0);
        assert!(finished.stderr.contains(wanted), "{}", finished.stderr);
    };
    let endpoint = "--endpoints=https://127.0.0.1:1".to_owned();
    refused(
        &[flags(&[("cert-file", &pair.cert)]), vec![endpoint.clone()]].concat(),
        "--cert-file: --key-file is needed with it",
    );
    refused(
        &[flags(&[("store-cert-file", &pair.cert)]), vec![endpoint.clone()]].concat(),
        "--store-cert-file: a certificate and its key are needed together",
    );
    refused(
        &[flags(&[("store-ca-file", &scratch.join("none"))]), vec![endpoint]].concat(),
        "--store-ca-file: cannot read",
    );
    refused(
        &["--initial-cluster=m=https://127.0.0.1:1".to_owned()],
        "needs --peer-cert-file",
    );
}

#[test]
fn a_cluster_forms_by_a_discovery_service_over_https() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "service");
    let pair = authority.good("pair", "keys");
    let words = flags(&[("cert-file", &pair.cert), ("key-file", &pair.key)]);
    let service = Member::start(&scratch, "service", &words);
    let directory = service.url("/v2/keys/token");
    let size = format!("{directory}/_config/size");
    let put = curl(&authority.pem, None, &["-XPUT", "-d", "value=2", &size]);
    assert_eq!(status(&put), "201", "{}{}", put.stdout, put.stderr);
    let started: Vec<(SocketAddr, Process)> = ["a", "b"]
        .into_iter()
        .map(|name| {
            let (client, peer) = (place(), place());
            let mut command = berth().command(&["store", "--name", name, "--discovery", &directory]);
            command
                .arg("--data-dir")
                .arg(scratch.join(name))
                .args(["--listen-client", &client.to_string()])
                .args(["--listen-peer", &peer.to_string()])
                .env("SSL_CERT_FILE", &authority.pem);
            (
                client,
                Process::start(&mut command, &scratch.join(&format!("{name}.log"))),
            )
        })
        .collect();
    until("two members", PATIENCE, || {
        let answer = curl(
            &authority.pem,
            None,
            &[&format!("http://{}/v2/members", started[0].0)],
        );
        (answer.stdout.matches("peerURLs").count() == 2 && status(&answer) == "200").then_some(())
    });
    // A service that nobody vouches for is not spoken to.
    let other = Authority::new(scratch.path(), "other");
    let mut command = berth().command(&["store", "--name", "c", "--discovery", &directory]);
    command
        .arg("--data-dir")
        .arg(scratch.join("c"))
        .args(["--listen-client", "127.0.0.1:0"])
        .args(["--listen-peer", &place().to_string()])
        .env("SSL_CERT_FILE", &other.pem);
    let stranger = Process::start(&mut command, &scratch.join("c.log"));
    until("a word about the service's certificate", PATIENCE, || {
        stranger.output().contains("UnknownIssuer").then_some(())
    });
}
