//! The repository's own tasks: `cargo xtask test|ci|bench|doc`.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod packages;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, bail};

const USAGE: &str = "usage: cargo xtask COMMAND

commands:
  test          install the Debian packages that the tests need, then check formatting, lints and docs and run every test
  ci            test, plus the dependency rules where cargo-deny is installed
  bench [ARGS]  measure Berth beside etcd, crun and docker in one run and print the ratios
  doc           build the API documentation of every crate";

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match command.as_str() {
        "test" => test(),
        "ci" => test().and_then(|()| dependency_rules()),
        "bench" => bench(&rest),
        "doc" => document(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

fn cargo(arguments: &[&str]) -> anyhow::Result<()> {
    cargo_with(arguments, &[])
}

fn cargo_with(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let line = format!("cargo {}", arguments.join(" "));
    println!("\n== {line}");
    let started = Instant::now();
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program)
        .args(arguments)
        .envs(environment.iter().copied())
        .current_dir(root())
        .status()
        .with_context(|| format!("could not run {line}"))?;
    println!("== {line}: {status} after {} s", started.elapsed().as_secs());
    if !status.success() {
        bail!("{line} failed");
    }
    Ok(())
}

fn test() -> anyhow::Result<()> {
    packages::install(packages::FOR_TESTS)?;
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    cargo_with(
        &["doc", "--workspace", "--no-deps", "--quiet"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )?;
    cargo(&["test", "--workspace", "--no-fail-fast"])
}

fn dependency_rules() -> anyhow::Result<()> {
    let found = Command::new("cargo-deny")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: dependency rules (cargo-deny is not installed)");
        return Ok(());
    }
    cargo(&["deny", "check", "bans", "licenses", "sources"])
}

fn bench(arguments: &[String]) -> anyhow::Result<()> {
    packages::install(packages::FOR_BENCHMARKS)?;
    cargo(&["build", "--release", "--workspace"])?;
    let mut line = vec!["run", "--release", "--quiet", "--package", "berth-bench", "--"];
    line.extend(arguments.iter().map(String::as_str));
    cargo(&line)
}

fn document() -> anyhow::Result<()> {
    cargo_with(
        &["doc", "--workspace", "--no-deps"],
        &[("RUSTDOCFLAGS", "-D warnings")],
    )
}
