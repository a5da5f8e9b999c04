//! `user`, `role`, `auth` and `--username`: berth's etcdctl beside Debian's on etcd, Debian's on berth's store, and berth's
//! own commands.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use berth_harness::{Etcd, Finished, Scratch, Store};

use crate::berth;
use crate::etcdctl::{Ctl, REAL, named_etcdctl};

/// Command lines in the order in which they run. A line in front of which `TEXT |` stands gets the text on standard input.
const TABLE: &str = include_str!("etcdctl/auth.txt");

fn lines() -> impl Iterator<Item = &'static str> {
    TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// What each line comes to on a fresh store. Debian's etcdctl runs stty, which complains where there is no terminal.
fn run(program: PathBuf, url: &str) -> Vec<(i32, String, String)> {
    let ctl = Ctl {
        program,
        prefix: "/none",
        base: u64::MAX,
    };
    lines()
        .map(|line| {
            let (code, stdout, stderr) = ctl.normal(&ctl.run(url, line));
            let stderr: String = stderr
                .split_inclusive('\n')
                .filter(|line| !line.starts_with("stty: "))
                .collect();
            (code, stdout, stderr)
        })
        .collect()
}

fn differences(real: &[(i32, String, String)], seen: &[(i32, String, String)]) -> String {
    let mut differences = String::new();
    for ((line, real), seen) in lines().zip(real).zip(seen) {
        if real != seen {
            differences.push_str(&format!("etcdctl {line}\n  real {real:?}\n  seen {seen:?}\n"));
        }
    }
    differences
}

#[test]
fn users_and_roles_are_those_of_the_real_etcdctl_and_etcd() {
    let (one, other, third) = (Scratch::new(), Scratch::new(), Scratch::new());
    let etcd = Etcd::start(&one);
    let real = run(PathBuf::from(REAL), &format!("http://{}", etcd.address()));
    assert!(real.len() > 80, "only {} lines", real.len());
    let etcd = Etcd::start(&other);
    let ours = run(named_etcdctl(other.path()), &format!("http://{}", etcd.address()));
    let wrong = differences(&real, &ours);
    assert!(wrong.is_empty(), "berth's etcdctl on etcd\n{wrong}");
    let store = Store::start(&berth(), &third);
    let theirs = run(PathBuf::from(REAL), &store.url());
    let wrong = differences(&real, &theirs);
    assert!(wrong.is_empty(), "Debian's etcdctl on berth's store\n{wrong}");
}

/// Runs berth with a text on standard input.
fn with_input(words: &[&str], input: &str) -> Finished {
    let mut command = berth().command(words);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn berths_own_words_work_on_a_guarded_store() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let url = store.url();
    let run = |words: &[&str]| berth().run(&[&["--endpoints", &url], words].concat());
    let fed = |input: &str, words: &[&str]| with_input(&[&["--endpoints", &url], words].concat(), input);
    assert_eq!(run(&["user", "add", "root:pw"]).ok(), "User root created");
    let again = run(&["user", "add", "root:other"]);
    assert_eq!(
        (again.code, again.stderr.trim()),
        (1, "berth: User root already exists")
    );
    assert_eq!(
        fed("wr\n", &["user", "add", "writer"]).ok(),
        "User writer created"
    );
    run(&["role", "add", "app"]).ok();
    run(&["role", "grant", "app", "--path", "/app/*", "--readwrite"]).ok();
    run(&["user", "grant", "writer", "--roles", "app,other"]).ok();
    run(&["user", "revoke", "writer", "--roles", "other"]).ok();
    assert_eq!(run(&["user", "get", "writer"]).ok(), "User: writer\nRoles: app");
    let json = run(&["-o", "json", "role", "get", "app"]);
    assert_eq!(
        json.ok(),
        r#"{"role":"app","permissions":{"kv":{"read":["/app/*"],"write":["/app/*"]}}}"#
    );
    let both = run(&["role", "grant", "app", "--path", "/x", "--read", "--write"]);
    assert_eq!(both.code, 1, "{}", both.stderr);
    run(&["auth", "enable"]).ok();

    let refused = run(&["user", "list"]);
    assert_eq!(
        (refused.code, refused.stderr.trim()),
        (1, "berth: Insufficient credentials")
    );
    assert_eq!(
        run(&["-u", "root:pw", "role", "remove", "guest"]).ok(),
        "Role guest removed"
    );
    let guest = run(&["get", "/app/k"]);
    assert_eq!(guest.code, 4, "{}", guest.stderr);
    assert!(guest.stderr.contains("110"), "{}", guest.stderr);
    assert_eq!(run(&["-u", "writer:wr", "set", "/app/k", "1"]).ok(), "1");
    assert_eq!(fed("wr\n", &["-u", "writer", "get", "/app/k"]).ok(), "1");
    assert_eq!(run(&["-u", "writer:wr", "set", "/other", "1"]).code, 4);

    let mut command = berth().command(&["--endpoints", &url, "get", "/app/k"]);
    command.env("ETCDCTL_USERNAME", "writer:wr");
    assert_eq!(
        berth_harness::run(&mut command, Duration::from_secs(30)).ok(),
        "1"
    );
    let help = berth().run(&["get", "--help"]);
    assert!(!help.stdout.contains("writer:wr"));

    assert_eq!(
        fed("new\n", &["-u", "root:pw", "user", "passwd", "writer"]).ok(),
        "Password updated"
    );
    assert_eq!(run(&["-u", "writer:wr", "get", "/app/k"]).code, 4);
    assert_eq!(run(&["-u", "writer:new", "get", "/app/k"]).ok(), "1");
    let missing = fed("new\n", &["-u", "root:pw", "user", "passwd", "nobody"]);
    assert_eq!(missing.code, 1, "{}", missing.stderr);
    let dump = run(&["-u", "writer:new", "export", "/app/"]);
    assert!(dump.ok().contains("/app/k"), "{}", dump.stdout);
    assert_eq!(run(&["export", "/app/"]).code, 4);
    assert_eq!(
        run(&["-u", "root:pw", "auth", "disable"]).ok(),
        "Authentication Disabled"
    );
    assert_eq!(run(&["get", "/app/k"]).ok(), "1");
}
