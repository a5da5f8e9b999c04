//! What clients and members make of the certificates of those they call.

use std::net::SocketAddr;
use std::process::Command;

use berth_harness::{Finished, Process, Scratch, until};

use crate::authority::{Authority, EXPIRED, NOT_YET, Pair, Use, VALID};
use crate::berth;
use crate::member::{Member, PATIENCE, flags, place};

/// A server that shows what it is told to: openssl's.
fn serve(scratch: &Scratch, pair: &Pair, more: &[&str]) -> (Process, SocketAddr) {
    let address = place();
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-quiet", "-www", "-accept", &address.to_string()])
        .arg("-cert")
        .arg(&pair.cert)
        .arg("-key")
        .arg(&pair.key)
        .args(more);
    let mut process = Process::start(
        &mut command,
        &scratch.join(&format!("openssl-{}.log", address.port())),
    );
    until("openssl's server", PATIENCE, || {
        assert!(process.ended().is_none(), "{}", process.output());
        std::net::TcpStream::connect(address).ok().map(drop)
    });
    (process, address)
}

struct Case {
    who: &'static str,
    pair: Pair,
    more: &'static [&'static str],
    /// What a command says.
    command: &'static str,
    /// What a member says.
    member: &'static str,
}

fn cases(scratch: &Scratch, authority: &Authority, revoked: &Pair) -> Vec<Case> {
    let hosts = ["127.0.0.1"];
    let sign = |file, usage, years| authority.sign(file, "m1", &hosts, usage, years);
    let case = |who, pair, command, member| Case {
        who,
        pair,
        more: &[],
        command,
        member,
    };
    vec![
        case(
            "wrong CA",
            Authority::new(scratch.path(), "other").good("wrong-ca", "m1"),
            "signed by no trusted authority",
            "UnknownIssuer",
        ),
        case(
            "self-signed",
            authority.self_signed("self-signed", "m1"),
            "signed by no trusted authority",
            "UnknownIssuer",
        ),
        case(
            "expired",
            sign("expired", Use::Both, EXPIRED),
            "its certificate has expired",
            "certificate expired",
        ),
        case(
            "not yet valid",
            sign("not-yet", Use::Both, NOT_YET),
            "its certificate is not valid yet",
            "not valid yet",
        ),
        case(
            "wrong usage",
            sign("client-only", Use::Client, VALID),
            "its certificate is not for servers",
            "certificate does not allow extended key usage for server authentication",
        ),
        case(
            "SAN mismatch",
            authority.sign(
                "elsewhere",
                "m1",
                &["10.9.9.9", "x.example.com"],
                Use::Both,
                VALID,
            ),
            "its certificate is not for \"127.0.0.1\", but for",
            "not valid for name",
        ),
        case("revoked", revoked.clone(), "", "Revoked"),
        case(
            "CN not allowed",
            authority.good("mallory", "mallory"),
            "",
            "none of the names that are let in",
        ),
        Case {
            who: "TLS 1.1",
            pair: authority.good("old", "m1"),
            more: &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
            command: "it speaks neither TLS 1.2 nor 1.3",
            member: "handshake failed",
        },
    ]
}

fn get(address: SocketAddr, words: &[&str]) -> Finished {
    let endpoint = format!("https://{address}");
    let words = [&["--endpoints", &endpoint][..], words, &["get", "/x"]].concat();
    berth().run(&words)
}

#[test]
fn commands_say_what_is_wrong_with_a_server() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let ca = authority.pem.display().to_string();
    let revoked = authority.good("revoked", "m1");
    for case in cases(&scratch, &authority, &revoked) {
        // A command has no list of revoked certificates, and no names but that of the host.
        if case.command.is_empty() {
            continue;
        }
        let (_server, address) = serve(&scratch, &case.pair, case.more);
        let failed = get(address, &["--ca-file", &ca]);
        assert_eq!(failed.code, 2, "{}: {failed:?}", case.who);
        assert!(failed.stderr.contains(case.command), "{}: {failed:?}", case.who);
    }
    let (_server, address) = serve(&scratch, &authority.good("good", "m1"), &[]);
    let failed = get(address, &[]);
    assert!(failed.stderr.contains("no trusted authority"), "{failed:?}");
    let mut plain = Member::start(&scratch, "plain", &[]);
    let failed = get(plain.client, &["--ca-file", &ca]);
    assert!(failed.stderr.contains("it does not speak TLS"), "{failed:?}");
    plain.kill();
}

#[test]
fn members_say_what_is_wrong_with_a_member() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let own = authority.good("own", "m1");
    let revoked = authority.good("revoked", "m1");
    let crl = scratch.join("crl.pem");
    authority.revoke(&crl, &[&revoked]);
    for (at, case) in cases(&scratch, &authority, &revoked).into_iter().enumerate() {
        let (_server, address) = serve(&scratch, &case.pair, case.more);
        let own_place = place();
        let mut words = flags(&[
            ("peer-cert-file", &own.cert),
            ("peer-key-file", &own.key),
            ("peer-trusted-ca-file", &authority.pem),
            ("peer-crl-file", &crl),
        ]);
        words.push("--peer-cert-allowed-cn=m1".to_owned());
        words.push(format!(
            "--initial-cluster=n{at}=https://{own_place},x=https://{address}"
        ));
        let member = Member::spawn(&scratch, &format!("n{at}"), (place(), own_place), &words);
        until(case.who, PATIENCE, || {
            let log = member.log();
            let line = log.lines().find(|line| line.contains("cannot reach a member"))?;
            assert!(line.contains(case.member), "{}: {line}", case.who);
            Some(())
        });
    }
}
