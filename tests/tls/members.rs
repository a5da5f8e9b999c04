//! Clusters whose members speak TLS to each other.

use std::net::SocketAddr;
use std::time::Duration;

use berth_harness::{Response, Scratch, request_within, until};

use crate::authority::{Authority, EXPIRED, Use};
use crate::member::{Member, PATIENCE, curl, flags, place, status};

/// As short as a busy machine allows.
const QUICK: [&str; 2] = ["--heartbeat-interval=50", "--election-timeout=500"];

struct Cluster {
    scratch: Scratch,
    places: Vec<(SocketAddr, SocketAddr)>,
    initial: String,
    members: Vec<Member>,
}

impl Cluster {
    /// Three members; `flags` are those of each.
    fn start(scratch: Scratch, flags: impl Fn(usize) -> Vec<String>) -> Cluster {
        let places: Vec<_> = (0..3).map(|_| (place(), place())).collect();
        let pairs = places.iter().enumerate();
        let initial: Vec<String> = pairs
            .map(|(at, (_, peer))| format!("m{at}=https://{peer}"))
            .collect();
        let mut cluster = Cluster {
            scratch,
            places,
            initial: initial.join(","),
            members: Vec::new(),
        };
        for at in 0..3 {
            let member = cluster.spawn(at, &flags(at));
            cluster.members.push(member);
        }
        cluster
    }

    fn spawn(&self, at: usize, flags: &[String]) -> Member {
        let mut words = vec![format!("--initial-cluster={}", self.initial)];
        words.extend(QUICK.map(str::to_owned));
        words.extend_from_slice(flags);
        Member::spawn(&self.scratch, &format!("m{at}"), self.places[at], &words)
    }

    fn ask(&self, at: usize, method: &str, target: &str, body: &str) -> Option<Response> {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let limit = Duration::from_secs(10);
        request_within(self.places[at].0, method, target, &form, body.as_bytes(), limit).ok()
    }

    /// Writes at one member, reads at another one with a quorum.
    fn works(&self, writer: usize, reader: usize, value: &str) {
        until("a write", PATIENCE, || {
            let answer = self.ask(writer, "PUT", "/v2/keys/k", &format!("value={value}"))?;
            [200, 201].contains(&answer.status).then_some(())
        });
        until("a read", PATIENCE, || {
            let answer = self.ask(reader, "GET", "/v2/keys/k?quorum=true", "")?;
            (answer.status == 200 && answer.json()["node"]["value"] == value).then_some(())
        });
    }
}

fn peer_flags(authority: &Authority, pair: &crate::authority::Pair) -> Vec<String> {
    let mut words = flags(&[
        ("peer-cert-file", &pair.cert),
        ("peer-key-file", &pair.key),
        ("peer-trusted-ca-file", &authority.pem),
    ]);
    words.push("--peer-client-cert-auth".to_owned());
    words
}

#[test]
fn three_members_with_certificates() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let good: Vec<_> = (0..3)
        .map(|at| authority.good(&format!("m{at}"), "member"))
        .collect();
    let with_name = |pair| {
        let mut words = peer_flags(&authority, pair);
        words.push("--peer-cert-allowed-cn=member".to_owned());
        words
    };
    let mut cluster = Cluster::start(scratch, |at| with_name(&good[at]));
    cluster.works(0, 1, "first");
    cluster.works(1, 2, "second");
    let members = cluster.ask(0, "GET", "/v2/members", "").unwrap().json();
    let url = members["members"][0]["peerURLs"][0].as_str().unwrap().to_owned();
    assert!(url.starts_with("https://"), "{members}");
    // One comes back with a certificate of a stranger: it is kept out, and the others go on.
    let stranger = Authority::new(cluster.scratch.path(), "other").good("stranger", "member");
    let nobody = authority.good("nobody", "nobody");
    let expired = authority.sign("expired", "member", &["127.0.0.1"], Use::Both, EXPIRED);
    for (pair, said) in [
        (&stranger, "UnknownIssuer"),
        (&nobody, "none of the names that are let in"),
        (&expired, "xpired"),
    ] {
        cluster.members[2].kill();
        cluster.members[2] = cluster.spawn(2, &with_name(pair));
        until("a word about it", PATIENCE, || {
            let said = |at: usize| cluster.members[at].log().contains(said);
            (said(0) || said(1)).then_some(())
        });
        cluster.works(0, 1, "without it");
        let health = cluster.ask(2, "GET", "/health", "");
        assert!(health.is_none_or(|health| health.status == 503), "it is kept out");
    }
    cluster.members[2].kill();
    cluster.members[2] = cluster.spawn(2, &with_name(&good[2]));
    cluster.works(2, 0, "all again");
}

#[test]
fn a_member_joins_over_tls() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let pair = authority.good("all", "member");
    let mut cluster = Cluster::start(scratch, |_| peer_flags(&authority, &pair));
    cluster.works(0, 1, "first");
    let (client, peer) = (place(), place());
    let body = format!("{{\"peerURLs\":[\"https://{peer}\"]}}");
    until("the new member's place", PATIENCE, || {
        let json = [("Content-Type", "application/json")];
        let limit = Duration::from_secs(10);
        let added = request_within(
            cluster.places[0].0,
            "POST",
            "/v2/members",
            &json,
            body.as_bytes(),
            limit,
        );
        added
            .is_ok_and(|answer| [201, 409].contains(&answer.status))
            .then_some(())
    });
    cluster.places.push((client, peer));
    cluster.initial += &format!(",m3=https://{peer}");
    let mut flags = peer_flags(&authority, &pair);
    flags.push("--initial-cluster-state=existing".to_owned());
    let member = cluster.spawn(3, &flags);
    cluster.members.push(member);
    cluster.works(3, 0, "by the new one");
}

#[test]
fn three_members_with_certificates_of_their_own_making() {
    let cluster = Cluster::start(Scratch::new(), |_| vec!["--peer-auto-tls".to_owned()]);
    cluster.works(0, 1, "first");
    cluster.works(2, 0, "second");
    let cert = cluster
        .scratch
        .join("m0")
        .join("fixtures")
        .join("peer")
        .join("cert.pem");
    let before = std::fs::read(&cert).unwrap();
    let nobody = std::fs::metadata(cert.with_file_name("key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&nobody) & 0o777, 0o600);
    // Nothing of it can be read on the way; whoever does not speak TLS is told so.
    let url = format!("http://{}/", cluster.places[0].1);
    assert_eq!(status(&curl(&cert, None, &[&url])), "400");
    let mut cluster = cluster;
    cluster.members[0].kill();
    cluster.members[0] = cluster.spawn(0, &["--peer-auto-tls".to_owned()]);
    cluster.works(0, 2, "third");
    assert_eq!(std::fs::read(&cert).unwrap(), before, "it is kept");
}

#[test]
fn a_store_makes_a_certificate_for_its_clients() {
    let scratch = Scratch::new();
    let member = Member::start(&scratch, "m0", &["--auto-tls".to_owned()]);
    let cert = scratch
        .join("m0")
        .join("fixtures")
        .join("client")
        .join("cert.pem");
    // It is its own authority, and for the address that is listened on.
    let answer = curl(&cert, None, &[&member.url("/v2/machines")]);
    assert_eq!(answer.stdout, format!("https://{}\n200", member.client));
}
