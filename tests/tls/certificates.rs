//! `berth cert`: a working set, each in one command.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use berth_harness::Scratch;

use crate::berth;
use crate::member::{Member, curl, flags, status};

fn cert(dir: &Path, words: &[&str]) -> berth_harness::Finished {
    let dir = dir.display().to_string();
    berth().run(&[&["cert"][..], words, &["--dir", &dir]].concat())
}

#[test]
fn a_working_set_in_one_command_each() {
    let scratch = Scratch::new();
    let dir = scratch.join("certs");
    let made = cert(&dir, &["server", "--hosts", "127.0.0.1,store.example.com"]);
    let path = |name: &str| dir.join(name);
    let wanted = ["ca.pem", "ca-key.pem", "server.pem", "server-key.pem"];
    let wanted: Vec<String> = wanted
        .iter()
        .map(|name| path(name).display().to_string())
        .collect();
    assert_eq!(made.ok().lines().collect::<Vec<_>>(), wanted);
    cert(&dir, &["client", "--name", "alice", "--days", "30"]).ok();
    cert(&dir, &["peer"]).ok();
    for file in fs::read_dir(&dir).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
    let mut words = flags(&[
        ("cert-file", &path("server.pem")),
        ("key-file", &path("server-key.pem")),
        ("trusted-ca-file", &path("ca.pem")),
        ("peer-cert-file", &path("peer.pem")),
        ("peer-key-file", &path("peer-key.pem")),
        ("peer-ca-file", &path("ca.pem")),
    ]);
    words.extend(["--client-cert-auth", "--client-cert-allowed-cn=alice"].map(str::to_owned));
    let member = Member::start(&scratch, "m0", &words);
    let file = |name: &str| path(name).display().to_string();
    let got = berth().run(&[
        "--endpoints",
        &member.url(""),
        "--ca-file",
        &file("ca.pem"),
        "--cert-file",
        &file("alice.pem"),
        "--key-file",
        &file("alice-key.pem"),
        "set",
        "/a",
        "1",
    ]);
    assert_eq!(got.ok(), "1");
    // A member's certificate lets in at the members' port, and only there.
    let shown = |name: &str| {
        [
            "--cert".to_owned(),
            file(&format!("{name}.pem")),
            "--key".to_owned(),
            file(&format!("{name}-key.pem")),
        ]
    };
    let ask = |name: &str, url: &str| {
        let words: Vec<String> = shown(name).into_iter().chain([url.to_owned()]).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        status(&curl(&path("ca.pem"), None, &words)).to_owned()
    };
    assert_eq!(ask("peer", &member.peer_url()), "501");
    assert_eq!(ask("peer", &member.url("/version")), "000");
    assert_eq!(ask("server", &member.url("/version")), "000");
}

#[test]
fn nothing_is_written_over() {
    let scratch = Scratch::new();
    let dir = scratch.join("certs");
    cert(&dir, &["ca", "--name", "Example CA", "--days", "10"]).ok();
    cert(&dir, &["client"]).ok();
    let all = || {
        let files = fs::read_dir(&dir).unwrap();
        let mut all: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        all.sort();
        let read = |path: &std::path::PathBuf| (path.clone(), fs::read(path).unwrap());
        all.iter().map(read).collect::<Vec<_>>()
    };
    let before = all();
    for (words, said) in [
        (&["client"][..], "client-key.pem is there already"),
        (&["ca"], "ca-key.pem is there already"),
        (&["server", "--name", "ca"], "--name \"ca\""),
        (&["server", "--name", "../x"], "--name \"../x\""),
        (&["peer", "--hosts", "é"], "--hosts"),
    ] {
        let refused = cert(&dir, words);
        assert!(
            refused.code == 1 && refused.stderr.contains(said),
            "{words:?}: {refused:?}"
        );
    }
    // Half of a pair is not made.
    fs::write(dir.join("half.pem"), "").unwrap();
    assert_eq!(cert(&dir, &["client", "--name", "half"]).code, 1);
    fs::remove_file(dir.join("half.pem")).unwrap();
    assert_eq!(all(), before);
    let help = berth().run(&["cert", "--help"]).stdout;
    for word in [
        "ca",
        "server",
        "client",
        "peer",
        "never written over",
        "berth cert server --hosts",
    ] {
        assert!(
            help.replace(['\n', ' '], "").contains(&word.replace(' ', "")),
            "{word}: {help}"
        );
    }
}
