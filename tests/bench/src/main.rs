//! Measures Berth beside etcd, crun, runc and docker in one run on one machine, and prints figures and ratios.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cluster;
mod containers;
mod containers_flow;
mod containers_many;
mod fanout;
mod figures;
mod growth;
mod load;
mod plot;
mod soak;
mod store;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

const USAGE: &str = "usage: berth-bench [store|watches|cluster|kills|soak MINUTES|containers|--plot FOLDER] (store, watches included, and containers without a word)";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => store::run().and_then(|()| containers::run()),
        ["store"] => store::run(),
        ["watches"] => store::watches(),
        ["cluster"] => cluster::run(),
        ["kills"] => cluster::kills(),
        ["soak", minutes] => soak::run(minutes),
        ["--plot"] => growth::run(Path::new("docs/plots")),
        ["--plot", folder] => growth::run(Path::new(folder)),
        ["containers"] => containers::run(),
        [containers::INSIDE, rest @ ..] => containers::time_commands(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The release binary beside this one.
fn berth_program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let program = here.parent().context("no folder")?.join("berth");
    anyhow::ensure!(
        program.exists(),
        "{} is missing: `cargo xtask bench` builds it",
        program.display()
    );
    Ok(program)
}
