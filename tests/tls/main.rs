//! Black-box tests of TLS: what gets in, and what is kept out.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod authority;
mod callers;
mod certificates;
mod commands;
mod engine;
mod flags;
mod gateway;
mod hostile;
mod member;
mod members;
mod reload;
mod servers;
mod users;

use berth_harness::Berth;

fn berth() -> Berth {
    Berth::new(env!("CARGO_BIN_EXE_berth"))
}
