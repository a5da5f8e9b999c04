//! The edges between crates, read from `cargo metadata` and compared with the one list that is allowed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::{expect_none, read, root};

/// Which crates of ours each crate of ours may name; every crate must stand here.
const ALLOWED: &[(&str, &[&str])] = &[
    ("berth-wire", &[]),
    ("berth-sdk", &["berth-wire"]),
    ("berth-store", &[]),
    ("berth-replica", &["berth-store"]),
    ("berth-checker", &[]),
    ("berth-sim", &["berth-checker", "berth-replica", "berth-store"]),
    ("berth-node", &["berth-replica", "berth-store", "berth-wire"]),
    ("berth-plan", &["berth-wire"]),
    ("berth-exec", &["berth-plan"]),
    ("berth-images", &["berth-wire"]),
    (
        "berth-engine",
        &["berth-exec", "berth-images", "berth-plan", "berth-wire"],
    ),
    (
        "berth",
        &[
            "berth-engine",
            "berth-exec",
            "berth-images",
            "berth-node",
            "berth-plan",
            "berth-sdk",
            "berth-wire",
        ],
    ),
    ("berth-harness", &["berth-sdk", "berth-wire"]),
    ("berth-bench", &["berth-harness", "berth-sdk", "berth-wire"]),
    ("xtask", &[]),
];

/// Crates that may be named only by the crates listed with them.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("raft", &["berth-replica"]),
    ("sled", &["berth-node", "berth-engine"]),
    (
        "nix",
        &[
            "berth-exec",
            "berth-images",
            "berth-engine",
            "berth",
            "berth-harness",
            "berth-bench",
        ],
    ),
    ("clap", &["berth"]),
    ("anyhow", &["berth", "xtask", "berth-bench"]),
    ("axum", &["berth-node", "berth-engine"]),
];

/// The pure crates: each has a `clippy.toml` of its own with the bans.
const PURE: &[&str] = &["client/wire", "server/store", "server/replica", "runtime/plan"];

/// Dependencies by package: (name, is a development dependency).
fn dependencies() -> BTreeMap<String, Vec<(String, bool)>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    packages
        .iter()
        .map(|package| {
            let name = package["name"].as_str().unwrap().to_owned();
            let needs = package["dependencies"].as_array().unwrap();
            let needs = needs
                .iter()
                .map(|need| {
                    (
                        need["name"].as_str().unwrap().to_owned(),
                        need["kind"].as_str() == Some("dev"),
                    )
                })
                .collect();
            (name, needs)
        })
        .collect()
}

#[test]
fn crates_name_only_the_crates_they_may() {
    let packages = dependencies();
    let ours: BTreeSet<&str> = packages.keys().map(String::as_str).collect();
    let mut findings = Vec::new();
    for (package, needs) in &packages {
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| name == package) else {
            findings.push(format!("{package} has no line in the list of edges"));
            continue;
        };
        for (need, development) in needs {
            // The black-box suites hang on the product package as development dependencies.
            let suite = package == "berth"
                && *development
                && ["berth-checker", "berth-harness"].contains(&need.as_str());
            if ours.contains(need.as_str()) && !allowed.contains(&need.as_str()) && !suite {
                findings.push(format!("{package} must not depend on {need}"));
            }
        }
    }
    expect_none("crate edges", &findings);
}

#[test]
fn outside_crates_stay_where_they_belong() {
    let mut findings = Vec::new();
    for (package, needs) in dependencies() {
        for (need, development) in needs {
            let Some((_, places)) = ONLY_IN.iter().find(|(name, _)| *name == need) else {
                continue;
            };
            if !development && !places.contains(&package.as_str()) {
                findings.push(format!("{package} must not depend on {need}"));
            }
        }
    }
    expect_none("outside crates", &findings);
}

#[test]
fn pure_crates_ban_what_is_not_pure() {
    let mut findings = Vec::new();
    for folder in PURE {
        let rules = read(&std::path::Path::new(folder).join("clippy.toml"));
        for ban in [
            "std::time::Instant",
            "std::time::SystemTime",
            "std::collections::HashMap",
            "std::sync::Mutex",
            "std::fs",
            "std::net",
            "std::thread",
        ] {
            if !rules.contains(ban) {
                findings.push(format!("{folder}/clippy.toml does not ban {ban}"));
            }
        }
        for kept in read(std::path::Path::new("clippy.toml"))
            .lines()
            .filter(|line| line.contains('='))
        {
            if !rules.contains(kept) {
                findings.push(format!(
                    "{folder}/clippy.toml replaces the root's and lacks: {kept}"
                ));
            }
        }
    }
    expect_none("pure crates", &findings);
}
