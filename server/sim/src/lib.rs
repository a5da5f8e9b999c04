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
mod forgery;
mod gallery;
mod invariants;
mod member;
mod model;
mod nemesis;
mod network;
mod plant;
mod platter;
mod reduction;
mod run;
mod shrink;
mod trace;
mod verdict;
mod watches;
mod workload;
mod world;

use berth_checker as checker;
use berth_checker::prng;

pub use faults::{Fault, Rate};
pub use invariants::Invariant;
pub use plant::Plant;
pub use reduction::Reduction;
pub use run::{Failure, Options, Outcome, run};
pub use shrink::shrink;
