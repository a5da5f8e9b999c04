//! The usual clients with certificates: etcdctl, and berth's own commands under both names.

use std::process::Command;

use berth_harness::{Finished, Scratch, run};

use crate::authority::{Authority, Pair, Use, VALID};
use crate::berth;
use crate::member::{Member, PATIENCE, flags};

struct World {
    scratch: Scratch,
    authority: Authority,
    client: Pair,
    member: Member,
}

/// A store that demands certificates.
fn world() -> World {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let pair = authority.sign("store", "store", &["127.0.0.1"], Use::Server, VALID);
    let client = authority.sign("alice", "alice", &[], Use::Client, VALID);
    let mut words = flags(&[
        ("cert-file", &pair.cert),
        ("key-file", &pair.key),
        ("trusted-ca-file", &authority.pem),
    ]);
    words.push("--client-cert-auth".to_owned());
    let member = Member::start(&scratch, "m0", &words);
    World {
        scratch,
        authority,
        client,
        member,
    }
}

impl World {
    fn files(&self) -> [String; 3] {
        [&self.authority.pem, &self.client.cert, &self.client.key].map(|path| path.display().to_string())
    }

    /// A program with etcdctl's flags in front.
    fn etcdctl(&self, program: &std::path::Path, files: &[&str], words: &[&str]) -> Finished {
        let mut command = Command::new(program);
        command
            .env("ETCDCTL_API", "2")
            .args(["--endpoints", &self.member.url("")])
            .args(files)
            .args(words);
        run(&mut command, PATIENCE)
    }
}

#[test]
fn etcdctl_and_its_stand_in_do_the_same() {
    let world = world();
    let [ca, cert, key] = world.files();
    let own = world.scratch.join("etcdctl");
    std::os::unix::fs::symlink(berth().program(), &own).unwrap();
    for program in [std::path::Path::new("/usr/bin/etcdctl"), &own] {
        let files = ["--ca-file", &ca, "--cert-file", &cert, "--key-file", &key];
        let do_it = |words: &[&str]| world.etcdctl(program, &files, words);
        assert_eq!(do_it(&["set", "/a", "1"]).ok(), "1");
        assert_eq!(do_it(&["get", "/a"]).ok(), "1");
        assert!(do_it(&["ls"]).ok().contains("/a"));
        assert!(do_it(&["member", "list"]).ok().contains("https://"));
        assert!(do_it(&["cluster-health"]).ok().contains("cluster is healthy"));
        let watched = do_it(&["watch", "--after-index", "1", "/a"]);
        assert_eq!(watched.ok(), "1");
        assert_eq!(do_it(&["rm", "/a"]).code, 0);
        for files in [&["--ca-file", &ca][..], &[]] {
            let failed = world.etcdctl(program, files, &["get", "/a"]);
            assert_ne!(failed.code, 0, "{program:?} {files:?}");
            let said = if files.is_empty() {
                "x509: certificate signed by unknown authority"
            } else {
                "tls: "
            };
            assert!(failed.stderr.contains(said), "{program:?} {files:?}: {failed:?}");
        }
    }
}

#[test]
fn every_key_command_takes_certificates_from_flags_or_variables() {
    let world = world();
    let [ca, cert, key] = world.files();
    let endpoint = world.member.url("");
    let by_flags = |words: &[&str]| {
        let front = [
            "--endpoints",
            &endpoint,
            "--ca-file",
            &ca,
            "--cert-file",
            &cert,
            "--key-file",
            &key,
        ];
        berth().run(&[&front[..], words].concat())
    };
    let by_variables = |words: &[&str]| {
        let mut command = berth().command(&[&["--endpoints", &endpoint][..], words].concat());
        command
            .env("ETCDCTL_CA_FILE", &ca)
            .env("ETCDCTL_CERT_FILE", &cert)
            .env("ETCDCTL_KEY_FILE", &key);
        run(command.stdin(std::process::Stdio::null()), PATIENCE)
    };
    assert_eq!(by_flags(&["set", "/a/b", "1"]).ok(), "1");
    assert_eq!(by_variables(&["get", "/a/b"]).ok(), "1");
    for words in [
        &["tree", "/a"][..],
        &["export", "/a"],
        &["update", "/a/b", "2"],
        &["mk", "/a/c", "3"],
        &["mkdir", "/a/d"],
        &["watch", "--after-index", "1", "/a/b"],
        &["lock", "/l", "--", "true"],
        &["member", "list"],
        &["cluster-health"],
        &["rmdir", "/a/d"],
        &["rm", "/a/b"],
    ] {
        by_flags(words).ok();
    }
    assert!(by_flags(&["version"]).stdout.contains("store: "));
    let bare = berth().run(&["--endpoints", &endpoint, "--ca-file", &ca, "get", "/a"]);
    assert_eq!(bare.code, 2);
    assert!(
        bare.stderr.contains("it demands a client certificate"),
        "{bare:?}"
    );
    let unchecked = berth().run(&[
        "--endpoints",
        &endpoint,
        "--insecure-skip-tls-verify",
        "get",
        "/a",
    ]);
    assert!(
        unchecked.stderr.contains("it demands a client certificate"),
        "{unchecked:?}"
    );
    for (words, said) in [
        (&["--cert-file", &cert][..], "needed together"),
        (&["--ca-file", "/nonexistent"], "cannot read /nonexistent"),
        (&["--ca-file", &key], "holds no certificate"),
    ] {
        let words = [&["--endpoints", &endpoint][..], words, &["get", "/a"]].concat();
        let refused = berth().run(&words);
        assert!(refused.code == 1 && refused.stderr.contains(said), "{refused:?}");
    }
}

#[test]
fn the_guides_curl_lines_work() {
    let world = world();
    let [ca, cert, key] = world.files();
    let url = world.member.url("/v2/keys/foo");
    let mut command = Command::new("curl");
    command.args([
        "-sSL",
        "--cacert",
        &ca,
        "--cert",
        &cert,
        "--key",
        &key,
        &url,
        "-XPUT",
        "-d",
        "value=bar",
        "-v",
    ]);
    let done = run(&mut command, PATIENCE);
    assert!(
        done.stdout
            .contains("\"action\":\"set\",\"node\":{\"key\":\"/foo\",\"value\":\"bar\""),
        "{done:?}"
    );
    let mut command = Command::new("curl");
    command.args(["-sS", "--cacert", &ca, &url]);
    assert_ne!(run(&mut command, PATIENCE).code, 0, "without a certificate");
}

#[test]
fn large_and_many_answers_come_whole() {
    let world = world();
    let [ca, cert, key] = world.files();
    let front = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let value = "v".repeat(700_000);
    let file = world.scratch.join("body");
    std::fs::write(&file, format!("value={value}")).unwrap();
    let body = format!("@{}", file.display());
    let url = |at: usize| world.member.url(&format!("/v2/keys/big/{at}"));
    for at in 0..4 {
        let mut command = Command::new("curl");
        command
            .args(["-sS", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(front);
        command.args(["-XPUT", "--data", &body, &url(at)]);
        assert_eq!(run(&mut command, PATIENCE).ok(), "201");
    }
    // One connection, several answers, one of them far beyond what a socket takes at once.
    let mut command = Command::new("curl");
    command.args(["-sS"]).args(front).args([
        &url(0),
        &world.member.url("/v2/keys/big?recursive=true"),
        &url(3),
    ]);
    let got = run(&mut command, PATIENCE);
    assert_eq!(got.ok().matches(&value).count(), 6);
    assert_eq!(got.stdout.matches("\"action\":\"get\"").count(), 3);
}
