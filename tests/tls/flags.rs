//! What contradicts itself is refused by name, before any port is bound.

use std::net::TcpListener;
use std::path::Path;

use berth_harness::Scratch;

use crate::authority::Authority;
use crate::member::{Member, place};

/// Words, and what is said about them.
fn cases(authority: &Authority) -> Vec<(String, &'static str)> {
    let pair = authority.good("good", "a");
    let other = authority.good("other", "b");
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let ca = authority.pem.display();
    let both = format!("--cert-file={cert} --key-file={key}");
    let peers = format!("--peer-cert-file={cert} --peer-key-file={key}");
    let nowhere = Path::new("/nonexistent/x.pem").display();
    vec![
        (
            format!("--cert-file={cert}"),
            "--cert-file: --key-file is needed with it",
        ),
        (
            format!("--key-file={key}"),
            "--key-file: --cert-file is needed with it",
        ),
        (
            format!("{both} --client-cert-auth"),
            "--client-cert-auth: it has no effect without --trusted-ca-file",
        ),
        (
            "--client-cert-auth".to_owned(),
            "--client-cert-auth: it has no effect without --cert-file",
        ),
        (
            format!("{both} --trusted-ca-file={ca} --client-crl-file={ca}"),
            "--client-crl-file: it has no effect without --client-cert-auth",
        ),
        (
            format!("{both} --trusted-ca-file={ca} --ca-file={ca}"),
            "--ca-file: not together with --trusted-ca-file",
        ),
        (
            format!("{both} --auto-tls"),
            "--auto-tls: not together with --cert-file",
        ),
        (
            peers.clone(),
            "--peer-cert-file: it has no effect without --peer-trusted-ca-file",
        ),
        (
            format!("{peers} --peer-ca-file={ca} --peer-cert-allowed-cn=a --peer-cert-allowed-hostname=a"),
            "--peer-cert-allowed-cn: not together with --peer-cert-allowed-hostname",
        ),
        (
            format!("--cert-file={nowhere} --key-file={key}"),
            "--cert-file: cannot read /nonexistent/x.pem",
        ),
        (
            format!("--cert-file={key} --key-file={key}"),
            "good-key.pem holds no certificate in PEM form",
        ),
        (
            format!("--cert-file={cert} --key-file={}", other.key.display()),
            "--key-file: ",
        ),
        (
            format!("{both} --trusted-ca-file={key} --client-cert-auth"),
            "--trusted-ca-file: ",
        ),
        (
            "--initial-cluster=m0=https://127.0.0.1:1,m1=https://127.0.0.1:2".to_owned(),
            "--initial-cluster",
        ),
    ]
}

/// The listening addresses are in use: who tries to bind them says so, and not what the test looks for.
#[test]
fn contradictions_name_their_flag() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for (words, said) in cases(&authority) {
        let flags: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let mut member = Member::spawn(&scratch, "m0", (taken.local_addr().unwrap(), place()), &flags);
        assert_eq!(member.wait_end(), 1, "{words}");
        let log = member.log();
        assert!(log.contains(said), "{words}: no {said:?} in {log}");
        std::fs::remove_file(scratch.join("m0.log")).unwrap();
    }
}

#[test]
fn schemes_choose_tls_for_each_address() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let pair = authority.good("good", "a");
    let spawn = |listen: &str, more: &[String]| {
        let mut command = crate::berth().command(&["store", "--listen-peer", "127.0.0.1:0"]);
        command
            .arg("--data-dir")
            .arg(scratch.join("store"))
            .args(["--listen-client", listen])
            .args(more);
        berth_harness::run(&mut command, crate::member::PATIENCE)
    };
    let files = crate::member::flags(&[("cert-file", &pair.cert), ("key-file", &pair.key)]);
    let idle = spawn("http://127.0.0.1:0", &files);
    assert!(
        idle.code == 1
            && idle
                .stderr
                .contains("--cert-file: given, but none of the addresses"),
        "{idle:?}"
    );
    let bare = spawn("https://127.0.0.1:0", &[]);
    assert!(
        bare.code == 1 && bare.stderr.contains("--cert-file: needed, since the addresses"),
        "{bare:?}"
    );
    // One of each.
    let (plain, secure) = (place(), place());
    let mut command = crate::berth().command(&["store", "--listen-peer", "127.0.0.1:0"]);
    command
        .arg("--data-dir")
        .arg(scratch.join("both"))
        .arg("--listen-client")
        .arg(format!("http://{plain},https://{secure}"))
        .args(files);
    let process = berth_harness::Process::start(&mut command, &scratch.join("both.log"));
    berth_harness::until("the ready line", crate::member::PATIENCE, || {
        process.output().contains("store ready").then_some(())
    });
    let machines = berth_harness::request(plain, "GET", "/v2/machines", &[], b"").unwrap();
    let wanted = format!("http://{plain}, https://{secure}");
    assert_eq!(machines.text(), wanted);
    let url = format!("https://{secure}/v2/machines");
    let over = crate::member::curl(&authority.pem, None, &[&url]);
    assert_eq!(over.stdout, format!("{wanted}\n200"));
}
