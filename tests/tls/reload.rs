//! Files that change under a running store.

use std::fs;
use std::process::Command;

use berth_harness::{Process, Scratch, until};

use crate::authority::{Authority, Pair};
use crate::member::{Member, PATIENCE, curl, flags, status};

fn put(ca: &std::path::Path, shown: Option<&Pair>, member: &Member, value: &str) {
    let body = format!("value={value}");
    let answer = curl(
        ca,
        shown,
        &["-XPUT", "-d", &body, &member.url("/v2/keys/watched")],
    );
    assert!(["200", "201"].contains(&status(&answer)), "{answer:?}");
}

#[test]
fn a_new_certificate_is_shown_while_a_watch_stays_open() {
    let scratch = Scratch::new();
    let old = Authority::new(scratch.path(), "old");
    let new = Authority::new(scratch.path(), "new");
    let served = old.good("served", "m0");
    let next = new.good("next", "m0");
    let files = flags(&[("cert-file", &served.cert), ("key-file", &served.key)]);
    let member = Member::start(&scratch, "m0", &files);
    let mut command = Command::new("curl");
    command
        .args(["-sSN", "--cacert"])
        .arg(&old.pem)
        .arg(member.url("/v2/keys/watched?wait=true&stream=true"));
    let mut watch = Process::start(&mut command, &scratch.join("watch.out"));
    let seen = |value: &str| {
        until(&format!("the event of {value}"), PATIENCE, || {
            let out = watch.output();
            if !out.contains(&format!("\"value\":\"{value}\"")) {
                return None;
            }
            Some(())
        });
    };
    until("the open watch", PATIENCE, || {
        put(&old.pem, None, &member, "first");
        watch.output().contains("first").then_some(())
    });
    next.replace(&served);
    until("the new certificate", PATIENCE, || {
        let answer = curl(&new.pem, None, &[&member.url("/version")]);
        (status(&answer) == "200").then_some(())
    });
    let by_old = curl(&old.pem, None, &[&member.url("/version")]);
    assert_eq!(
        status(&by_old),
        "000",
        "the old authority has nothing to do with it"
    );
    put(&new.pem, None, &member, "second");
    seen("second");
    // What is broken changes nothing, and is told once.
    fs::write(&served.cert, "no certificate").unwrap();
    until("a word about it", PATIENCE, || {
        put(&new.pem, None, &member, "third");
        member.log().contains("going on with the old ones").then_some(())
    });
    put(&new.pem, None, &member, "fourth");
    seen("fourth");
    assert_eq!(member.log().matches("going on with the old ones").count(), 1);
    assert!(watch.ended().is_none(), "the watch is open");
    // What is mended counts again.
    let last = old.good("last", "m0");
    last.replace(&served);
    until("the mended certificate", PATIENCE, || {
        let answer = curl(&old.pem, None, &[&member.url("/version")]);
        (status(&answer) == "200").then_some(())
    });
}

#[test]
fn who_is_revoked_comes_in_no_more() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let pair = authority.good("store", "m0");
    let client = authority.good("alice", "alice");
    let other = authority.good("bob", "bob");
    let crl = scratch.join("crl.pem");
    authority.revoke(&crl, &[]);
    let mut files = flags(&[
        ("cert-file", &pair.cert),
        ("key-file", &pair.key),
        ("trusted-ca-file", &authority.pem),
        ("client-crl-file", &crl),
    ]);
    files.push("--client-cert-auth".to_owned());
    let member = Member::start(&scratch, "m0", &files);
    let ask = |shown| status(&curl(&authority.pem, Some(shown), &[&member.url("/version")])).to_owned();
    assert_eq!(ask(&client), "200");
    authority.revoke(&crl, &[&client]);
    until("the refusal", PATIENCE, || (ask(&client) == "000").then_some(()));
    assert_eq!(ask(&other), "200");
}
