//! The process that outlives the demo and takes away what is left of it.
//!
//! Its standard input tells it the process ids of store and engine, and at last `clean` if the engine has taken its
//! things away itself. The input ends when the demo does, however it ends.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Stdio, exit};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::world::{LOOK, Names};
use crate::config;
use crate::terminal::tell;

/// The hidden command.
pub(crate) const JANITOR: &str = "__janitor";

/// Longest time for everything.
pub(super) const LONGEST_WORK: Duration = Duration::from_secs(120);

/// Longest wait for the end of store and engine, which have lost their standard input too.
const LONGEST_END: Duration = Duration::from_secs(45);

pub(crate) fn run() -> ! {
    let directory = std::env::args_os().nth(2);
    match work(directory) {
        Ok(()) => exit(0),
        Err(error) => {
            tell(&format!("the demo could not be cleaned up: {error:#}"));
            exit(1);
        }
    }
}

fn work(directory: Option<OsString>) -> anyhow::Result<()> {
    // Only the end of the demo counts.
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        signals.add(signal);
    }
    signals.thread_block()?;
    let directory = PathBuf::from(directory.context("a directory is needed")?);
    let names = Names::read(&directory)?;
    let mut news = String::new();
    std::io::stdin().lock().read_to_string(&mut news)?;
    let deadline = Instant::now() + LONGEST_WORK;
    for id in processes(&news) {
        await_end(id);
    }
    if !news.lines().any(|line| line == "clean") && names.engine_dir().exists() {
        teardown(&names, deadline)?;
    }
    remove(&directory, deadline)
}

/// The last process of each name.
fn processes(news: &str) -> Vec<i32> {
    let named: BTreeMap<&str, i32> = news
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, id)| Some((name, id.parse().ok().filter(|id| *id > 1)?)))
        .collect();
    named.into_values().collect()
}

/// Waits for a process that is about to end by itself, and ends it when it does not.
fn await_end(id: i32) {
    let deadline = Instant::now() + LONGEST_END;
    while Path::new(&format!("/proc/{id}")).exists() && !is_zombie(id) {
        if Instant::now() > deadline {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(id), Signal::SIGKILL);
            return;
        }
        sleep(LOOK);
    }
}

/// Whether a process has ended and only its parent has not asked yet.
fn is_zombie(id: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
}

/// Starts the engine once more: it adopts what runs, sees the end of its standard input, and takes everything down.
fn teardown(names: &Names, deadline: Instant) -> anyhow::Result<()> {
    let executable = config::executable()?;
    loop {
        let ended = names
            .engine(&executable)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .context("starting the engine to take everything down")?;
        if ended.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("the engine that should take everything down ended with {ended}");
        }
        sleep(LOOK);
    }
}

fn remove(directory: &Path, deadline: Instant) -> anyhow::Result<()> {
    loop {
        match std::fs::remove_dir_all(directory) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| directory.display().to_string());
            }
            Err(_) => sleep(LOOK),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_process_of_a_name_counts() {
        assert_eq!(
            processes("store 10\nengine 11\nengine 12\nclean\nx y\n"),
            [12, 10]
        );
        assert_eq!(processes("engine 1\n"), Vec::<i32>::new());
    }
}
