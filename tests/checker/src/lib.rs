//! What the simulator and the tests of real processes share: the check whether answers could have come from one
//! register, and a seeded generator.
#![forbid(unsafe_code)]

pub mod prng;
mod register;

pub use register::{Answer, Call, Cell, Compare, NEVER, Op, Verdict, check};
