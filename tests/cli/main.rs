//! The command line: help, completion, keys, containers, the demo.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod backup;
mod config_file;
mod containers;
mod demo;
mod dev;
mod elect;
mod etcd_name;
mod etcdctl;
mod etcdctl_auth;
mod keys;

use berth_harness::Berth;

fn berth() -> Berth {
    Berth::new(env!("CARGO_BIN_EXE_berth"))
}

#[test]
fn help_names_every_command() {
    let help = berth().run(&["--help"]);
    for command in [
        "dev",
        "store",
        "engine",
        "demo",
        "run",
        "ps",
        "logs",
        "stop",
        "rm",
        "set",
        "get",
        "ls",
        "watch",
        "mk",
        "tree",
        "lock",
        "elect",
        "export",
        "backup",
        "restore",
        "member",
        "user",
        "role",
        "auth",
        "cluster-health",
        "completion",
    ] {
        assert!(help.ok().contains(command), "{command} is missing in the help");
        assert_eq!(berth().run(&[command, "--help"]).code, 0, "{command} --help");
    }
    assert!(berth().run(&["--version"]).ok().starts_with("berth "));
}

#[test]
fn completion_is_made_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            berth().run(&["completion", shell]).ok().contains("berth"),
            "{shell}"
        );
    }
}

#[test]
fn wrong_words_are_refused_with_the_usage() {
    let unknown = berth().run(&["frobnicate"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("frobnicate") && unknown.stderr.contains("Usage"),
        "{}",
        unknown.stderr
    );
    let bad = berth().run(&["store", "--listen-client", "nonsense"]);
    assert_ne!(bad.code, 0);
    assert!(bad.stderr.contains("nonsense"), "{}", bad.stderr);
}
