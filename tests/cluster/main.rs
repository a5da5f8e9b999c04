//! Clusters of several members as processes: what was acknowledged stays, whoever is killed, stopped, cut off or late.
#![allow(clippy::print_stdout, reason = "a test says what it measured")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod behind;
mod churn;
mod clocks;
mod follower;
mod forming;
mod history;
mod images_large;
mod kills;
mod membership;
mod membership_clients;
mod membership_refused;
mod metrics;
mod nemesis;
mod partitions;
mod planted;
mod power;
mod proxy;
mod quorum;
mod recorder;
mod srv;
mod workload;

use std::sync::{Mutex, MutexGuard, PoisonError};

use berth_harness::Berth;

fn berth() -> Berth {
    Berth::new(env!("CARGO_BIN_EXE_berth"))
}

/// Members stop leading when they are not given a processor in time, so tests that measure take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Times that make an election short.
const QUICK: [&str; 4] = ["--heartbeat-interval", "50", "--election-timeout", "500"];
