//! The seeded simulator of store members: the replica of `berth-replica` with a network, disks, clocks and clients that
//! fail as a seed says, and with checks of everything that must hold all the same.
//!
//! [`run`] plays one seed: load with faults, then calm, then a restart of all from their disks. The same seed gives the
//! same trace on every machine.

#![forbid(unsafe_code)]

mod admin;
mod census;
mod disk;
mod effects;
mod faults;
mod invariants;
mod member;
mod nemesis;
mod network;
mod plant;
mod run;
mod trace;
mod verdict;
mod watches;
mod workload;
mod world;

use berth_checker as checker;
use berth_checker::prng;

pub use invariants::Invariant;
pub use plant::Plant;
pub use run::{Failure, Options, Outcome, run};
