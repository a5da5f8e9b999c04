//! Who is let in at the two ports, by the certificate that is shown.

use std::path::Path;

use berth_harness::{Scratch, until};

use crate::authority::{Authority, EXPIRED, NOT_YET, Pair, Use, VALID};
use crate::member::{Member, PATIENCE, curl, flags, status};

/// A caller that is refused: what it is, what it shows, more words for curl, and the alert that it gets.
type Refusal = (&'static str, Option<Pair>, &'static [&'static str], &'static str);

/// TLS 1.1 and no later; the library has to be talked into it.
const OLD: &[&str] = &["--tlsv1.0", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
const TLS12: &[&str] = &["--tls-max", "1.2"];

struct World {
    scratch: Scratch,
    authority: Authority,
    good: Pair,
    refused: Vec<Refusal>,
}

impl World {
    fn new() -> World {
        let scratch = Scratch::new();
        let dir = scratch.path();
        let authority = Authority::new(dir, "ca");
        let good = authority.good("good", "alice");
        let revoked = authority.good("revoked", "alice");
        authority.revoke(&dir.join("crl.pem"), &[&revoked]);
        let other = Authority::new(dir, "other-ca").good("wrong-ca", "alice");
        let hosts = ["127.0.0.1"];
        let refused = vec![
            ("none", None, &[][..], "certificate required"),
            (
                "none, TLS 1.2",
                None,
                TLS12,
                "certificate required|handshake failure",
            ),
            ("wrong CA", Some(other), &[][..], "unknown ca"),
            (
                "self-signed",
                Some(authority.self_signed("self-signed", "alice")),
                &[][..],
                "unknown ca",
            ),
            (
                "expired",
                Some(authority.sign("expired", "alice", &hosts, Use::Both, EXPIRED)),
                &[][..],
                "certificate expired",
            ),
            (
                "not yet valid",
                Some(authority.sign("not-yet", "alice", &hosts, Use::Both, NOT_YET)),
                &[][..],
                "certificate expired",
            ),
            (
                "wrong usage",
                Some(authority.sign("server-only", "alice", &hosts, Use::Server, VALID)),
                &[][..],
                "unsupported certificate",
            ),
            ("revoked", Some(revoked.clone()), &[][..], "certificate revoked"),
            ("revoked, TLS 1.2", Some(revoked), TLS12, "certificate revoked"),
            (
                "CN not allowed",
                Some(authority.good("mallory", "mallory")),
                &[][..],
                "certificate unknown",
            ),
            (
                "TLS 1.1",
                Some(good.clone()),
                OLD,
                "protocol version|handshake failure",
            ),
        ];
        World {
            scratch,
            authority,
            good,
            refused,
        }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }

    /// Everybody of the table is refused, and the good one is let in before and after.
    fn check(&self, url: &str, welcome: &str) {
        let ca = &self.authority.pem;
        let good = || {
            let answer = curl(ca, Some(&self.good), &[url]);
            assert_eq!(status(&answer), welcome, "the good one at {url}: {answer:?}");
        };
        good();
        for (who, shown, more, alert) in &self.refused {
            let words = [more, &[url][..]].concat();
            let answer = curl(ca, shown.as_ref(), &words);
            assert_eq!(status(&answer), "000", "{who} at {url}: {answer:?}");
            assert_ne!(answer.code, 0, "{who} at {url}");
            assert!(
                alert.split('|').any(|alert| answer.stderr.contains(alert)),
                "{who} at {url}: no {alert:?} in {answer:?}"
            );
        }
        let old = curl(ca, Some(&self.good), &[TLS12, &[url][..]].concat());
        assert_eq!(status(&old), welcome, "TLS 1.2 is good enough");
        good();
    }
}

fn port_flags(before: &str, crl: &str, world: &World, cn: Option<&str>) -> Vec<String> {
    let name = |name: &str| format!("{before}{name}");
    let crl_path = world.path("crl.pem");
    let files: [(&str, &Path); 4] = [
        (&name("cert-file"), &world.good.cert),
        (&name("key-file"), &world.good.key),
        (&name("trusted-ca-file"), &world.authority.pem),
        (crl, &crl_path),
    ];
    let mut flags = flags(&files);
    flags.push(format!("--{before}client-cert-auth"));
    if let Some(cn) = cn {
        let flag = if before.is_empty() { "client-" } else { before };
        flags.push(format!("--{flag}cert-allowed-cn={cn}"));
    }
    flags
}

#[test]
fn clients_are_told_apart_by_their_certificates() {
    let world = World::new();
    let flags = port_flags("", "client-crl-file", &world, Some("bob,alice"));
    let member = Member::start(&world.scratch, "m0", &flags);
    world.check(&member.url("/version"), "200");
    let put = ["-XPUT", "-d", "value=bar", &member.url("/v2/keys/foo")].map(str::to_owned);
    let put: Vec<&str> = put.iter().map(String::as_str).collect();
    assert_eq!(
        status(&curl(&world.authority.pem, Some(&world.good), &put)),
        "201"
    );
    member.wait_log("a TLS connection was refused");
}

#[test]
fn members_are_told_apart_by_their_certificates() {
    let mut world = World::new();
    let elsewhere = world
        .authority
        .sign("elsewhere", "alice", &["10.9.9.9"], Use::Both, VALID);
    let flags = port_flags("peer-", "peer-crl-file", &world, Some("alice"));
    let member = Member::start(&world.scratch, "m0", &flags);
    // Whoever is let in hears that this is no port for HTTP.
    world.check(&member.peer_url(), "501");
    // Of many refusals in a second not all are logged.
    until("a word about a SAN mismatch", PATIENCE, || {
        let answer = curl(&world.authority.pem, Some(&elsewhere), &[&member.peer_url()]);
        assert_eq!(status(&answer), "000", "SAN mismatch: {answer:?}");
        let said = member.log().contains("its certificate is not for 127.0.0.1");
        said.then_some(())
    });
    world.refused.clear();
    let mut flags = port_flags("peer-", "peer-crl-file", &world, None);
    flags.push("--peer-skip-client-san-verification".to_owned());
    let member = Member::start(&world.scratch, "m1", &flags);
    let answer = curl(&world.authority.pem, Some(&elsewhere), &[&member.peer_url()]);
    assert_eq!(status(&answer), "501", "not looked at: {answer:?}");
}

#[test]
fn names_of_hosts_are_told_apart() {
    let world = World::new();
    let inside = world
        .authority
        .sign("inside", "x", &["a.example.com"], Use::Client, VALID);
    let outside = world
        .authority
        .sign("outside", "x", &["b.example.com"], Use::Client, VALID);
    let nameless = world
        .authority
        .sign("nameless", "a.example.com", &[], Use::Client, VALID);
    let mut flags = port_flags("", "client-crl-file", &world, None);
    flags.push("--client-cert-allowed-hostname=a.example.com".to_owned());
    flags.extend(port_flags("peer-", "peer-crl-file", &world, None));
    flags.push("--peer-cert-allowed-hostname=a.example.com".to_owned());
    flags.push("--peer-skip-client-san-verification".to_owned());
    let member = Member::start(&world.scratch, "m0", &flags);
    for (url, welcome) in [(member.url("/version"), "200"), (member.peer_url(), "501")] {
        for (shown, wanted) in [(&inside, welcome), (&outside, "000"), (&nameless, "000")] {
            let answer = curl(&world.authority.pem, Some(shown), &[&url]);
            assert_eq!(status(&answer), wanted, "{url}: {answer:?}");
        }
    }
}

#[test]
fn an_authority_alone_demands_nothing_and_the_old_flag_does() {
    let world = World::new();
    let pair: [(&str, &Path); 2] = [("cert-file", &world.good.cert), ("key-file", &world.good.key)];
    let with = |name: &str| [flags(&pair), flags(&[(name, &world.authority.pem)])].concat();
    let open = Member::start(&world.scratch, "open", &with("trusted-ca-file"));
    let answer = curl(&world.authority.pem, None, &[&open.url("/version")]);
    assert_eq!(status(&answer), "200");
    open.wait_log("--client-cert-auth");
    let closed = Member::start(&world.scratch, "closed", &with("ca-file"));
    let url = closed.url("/version");
    assert_eq!(status(&curl(&world.authority.pem, None, &[&url])), "000");
    assert_eq!(
        status(&curl(&world.authority.pem, Some(&world.good), &[&url])),
        "200"
    );
}
