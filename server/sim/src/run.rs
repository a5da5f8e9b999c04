//! One run from its seed to its verdict.

use crate::faults::Faults;
use crate::invariants::{Checked, Invariant, Violation, require};
use crate::plant::Plant;
use crate::prng::Prng;
use crate::reduction::Reduction;
use crate::world::World;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A healed cluster has a leader within this: two of the longest election time-outs and some messages.
const ELECTION_US: u64 = 5_000_000;
/// A write or read in a healed cluster is answered within this.
const ANSWER_US: u64 = 1_500_000;
/// More than the longest time to live, and the time to notice.
const EXPIRY_US: u64 = (crate::workload::MAX_TTL + 2) * 1_000_000;

/// What to play.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything is drawn from it.
    pub seed: u64,
    /// Members of the cluster.
    pub members: u64,
    /// Whether members join, are promoted, removed and replaced meanwhile.
    pub churn: bool,
    /// A bug to plant.
    pub plant: Option<Plant>,
    /// What is left out.
    pub reduction: Reduction,
    /// Whether to keep lines to read.
    pub trace: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// The hash of the trace.
    pub hash: u64,
    /// How many things happened.
    pub events: u64,
    /// How many entries were committed.
    pub committed: u64,
    /// How many turns faults had, whether or not they were taken.
    pub fault_turns: u64,
    /// How often what was exercised.
    pub coverage: BTreeMap<&'static str, u64>,
    /// The trace, if it was asked for.
    pub trace: Vec<String>,
    /// The first broken invariant.
    pub failure: Option<Failure>,
}

/// A broken invariant, and when it broke.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub invariant: Invariant,
    /// What was seen.
    pub detail: String,
    /// Virtual time in microseconds.
    pub at_us: u64,
    /// How many things had happened.
    pub event: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} at {} us, event {}: {}",
            self.invariant, self.at_us, self.event, self.detail
        )
    }
}

impl Options {
    /// A seed as it is.
    pub fn new(seed: u64, members: u64) -> Options {
        Options {
            seed,
            members,
            churn: false,
            plant: None,
            reduction: Reduction::default(),
            trace: false,
        }
    }

    /// The command that plays this again.
    pub fn command(&self) -> String {
        let churn = if self.churn { " --churn" } else { "" };
        let plant = self.plant.map(|plant| format!(" --plant {plant:?}"));
        format!(
            "cargo run -p berth-sim -- --seed {} --members {}{churn}{}{}",
            self.seed,
            self.members,
            plant.unwrap_or_default(),
            self.reduction
        )
    }
}

/// Plays one seed.
pub fn run(options: &Options) -> Outcome {
    let faults = Faults::draw(
        &mut Prng::new(options.seed, "faults"),
        options.members,
        &options.reduction,
    );
    let mut world = World::new(options, faults);
    let played = catch_unwind(AssertUnwindSafe(|| play(&mut world)));
    let result = played.unwrap_or_else(|panic| {
        Err(Violation {
            invariant: Invariant::Panic,
            detail: panic_text(panic.as_ref()),
        })
    });
    let broken = result
        .err()
        .filter(|violation| violation.invariant != Invariant::Stopped);
    let failure = broken.map(|violation| Failure {
        invariant: violation.invariant,
        detail: violation.detail,
        at_us: world.now,
        event: world.trace.events(),
    });
    Outcome {
        hash: world.trace.hash(),
        events: world.trace.events(),
        fault_turns: world.fault_turns,
        committed: world.oracle.committed(),
        coverage: world.coverage,
        failure,
        trace: world.trace.into_lines(),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let owned = panic.downcast_ref::<String>().cloned();
    owned
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

fn play(world: &mut World) -> Checked {
    world.begin()?;
    let load_us = world.faults.load_us;
    world.run_until(load_us)?;
    world.calm()?;
    heal(world)?;
    world.check_histories()?;
    world.power_cut();
    world.start_all()?;
    heal(world)?;
    world.check_leases()?;
    world.check_histories()
}

/// After all was healed: a leader, writes and reads that work, and one state.
fn heal(world: &mut World) -> Checked {
    let quiet = world.quiet_at();
    world.run_until(quiet + ELECTION_US)?;
    world.check_elected()?;
    // What waits from before may still hold all places.
    let patience = world.limits.request_timeout_ms * 1_000 * 11 / 10;
    world.run_until(quiet + ELECTION_US.max(patience).max(EXPIRY_US))?;
    let probes = world.probe()?;
    let until = world.now + ANSWER_US;
    world.run_until(until)?;
    for id in &probes {
        let request = world.workload.request(*id).cloned();
        let works = request.as_ref().is_some_and(|request| request.is_answered());
        require(works, Invariant::CalmWrite, || format!("{request:?}"))?;
    }
    world.check_rest()
}
