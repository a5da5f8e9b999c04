//! Seeds that must pass, planted bugs that must be found, and one trace for one seed.

use berth_sim::{Failure, Options, Outcome, Plant, run};
use std::collections::BTreeMap;

/// Seeds of each size of cluster; `BERTH_SIM_SEEDS` asks for another number.
const SEEDS: u64 = 60;

/// A planted bug is found within so many seeds.
const PLANT_SEEDS: u64 = 40;

/// Seeds that once broke an invariant, with the number of members: an election in the middle of installing an image.
const REGRESSIONS: [(u64, u64); 2] = [(3_938, 5), (26_766, 5)];

#[expect(
    clippy::disallowed_methods,
    reason = "the driver of the tests asks for more seeds this way"
)]
fn seeds() -> u64 {
    let asked = std::env::var("BERTH_SIM_SEEDS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(SEEDS)
}

fn play(seed: u64, members: u64, plant: Option<Plant>, trace: bool) -> Outcome {
    run(&Options {
        seed,
        members,
        plant,
        trace,
    })
}

/// Plays seeds and adds up what they exercised.
fn check(members: u64, count: u64) -> BTreeMap<&'static str, u64> {
    let mut coverage = BTreeMap::new();
    for seed in 0..count {
        let outcome = play(seed, members, None, false);
        if let Some(failure) = outcome.failure {
            panic!("seed {seed} with {members} members: {failure}");
        }
        for (what, times) in outcome.coverage {
            *coverage.entry(what).or_default() += times;
        }
    }
    coverage
}

fn must_cover(coverage: &BTreeMap<&'static str, u64>, all: &[&str]) {
    for what in all {
        assert!(
            coverage.contains_key(what),
            "never exercised: {what} in {coverage:?}"
        );
    }
    assert!(!coverage.contains_key("keys undecided"), "{coverage:?}");
}

#[test]
fn one_member() {
    let coverage = check(1, seeds());
    let all = [
        "crashes",
        "power cuts",
        "pauses",
        "slow disks",
        "images saved",
        "images failed",
        "compactions",
    ];
    must_cover(&coverage, &all);
}

#[test]
fn three_members() {
    let coverage = check(3, seeds());
    let all = [
        "crashes",
        "network faults",
        "leader changes",
        "images sent",
        "images installed",
        "events watched",
        "watches cleared",
        "reads answered",
        "writes answered",
        "refused by the keyspace",
        "no leader",
        "overloaded",
        "superseded",
        "timed out",
        "keys checked",
    ];
    must_cover(&coverage, &all);
}

#[test]
fn five_members() {
    check(5, seeds().div_ceil(10));
}

#[test]
fn regressions() {
    for (seed, members) in REGRESSIONS {
        let failure = play(seed, members, None, false).failure;
        assert!(
            failure.is_none(),
            "seed {seed} with {members} members: {failure:?}"
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in [1, 2, 3] {
        let (first, second) = (play(seed, 3, None, true), play(seed, 3, None, true));
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.hash, second.hash);
        assert_eq!(first.hash, play(seed, 3, None, false).hash);
        assert_ne!(first.hash, play(seed + 100, 3, None, false).hash);
    }
}

/// The first seed that finds a planted bug.
fn found(plant: Plant) -> Option<(u64, Failure)> {
    (0..PLANT_SEEDS).find_map(|seed| Some((seed, play(seed, 3, Some(plant), false).failure?)))
}

#[test]
fn planted_bugs_are_found() {
    for plant in Plant::ALL {
        let Some((seed, failure)) = found(plant) else {
            panic!("{plant:?} is not found within {PLANT_SEEDS} seeds");
        };
        println!("{plant:?}: seed {seed}: {:?}", failure.invariant);
    }
}
