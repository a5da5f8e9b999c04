//! The store under kills, a full disk and damaged data: nothing acknowledged is ever lost.
#![allow(clippy::print_stdout, reason = "what was measured belongs into the output")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod clocks;
mod disk;
mod hostile;
mod kills;
mod limits;
mod raw;
mod start;
mod storm;

use berth_harness::Berth;

fn berth() -> Berth {
    Berth::new(env!("CARGO_BIN_EXE_berth"))
}
