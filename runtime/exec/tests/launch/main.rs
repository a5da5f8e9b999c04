//! Containers on a real host, from hand-made plans. The test has its own `main` because the keeper is made from this
//! very executable.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test with its own main reports by itself"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test: the lints' own exception needs the standard main"
)]

mod added;
mod cases;
mod speed;
mod world;

use std::path::Path;
use std::process::ExitCode;

use world::World;

const BUSYBOX: &str = "/bin/busybox";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("__keeper") {
        berth_exec::keeper::run();
    }
    if !nix::unistd::geteuid().is_root() || !Path::new(BUSYBOX).exists() {
        println!("skipped: needs root and {BUSYBOX} ({} cases)", cases::ALL.len());
        return ExitCode::SUCCESS;
    }
    let chosen = first.unwrap_or_default();
    if chosen == "--measure" {
        speed::measure();
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, case) in cases::ALL {
        // Flags of the test harness mean nothing here.
        if !chosen.starts_with('-') && !name.contains(&chosen) {
            continue;
        }
        let before = world::leftovers();
        let world = World::new(name);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case(&world)));
        let clean = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.end();
            world::wait_for("nothing to be left on the host", || world::leftovers() == before);
        }));
        let good = outcome.is_ok() && clean.is_ok();
        println!("{} {name}", if good { "ok    " } else { "FAILED" });
        if !good {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        println!("all passed");
        ExitCode::SUCCESS
    } else {
        eprintln!("failed: {failed:?}");
        ExitCode::FAILURE
    }
}
