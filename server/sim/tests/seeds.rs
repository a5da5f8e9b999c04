//! Seeds that must pass, planted bugs that must be found, and one trace for one seed.

use berth_sim::{Failure, Options, Outcome, Plant, run};
use std::collections::BTreeMap;

/// Seeds of each size of cluster; `BERTH_SIM_SEEDS` asks for another number.
const SEEDS: u64 = 60;

/// A planted bug is found within so many seeds.
const PLANT_SEEDS: u64 = 40;

/// Seeds that once broke an invariant, with the number of members: an election in the middle of installing an image.
const REGRESSIONS: [(u64, u64); 2] = [(3_938, 5), (26_766, 5)];

/// The same with members that come and go: an only voter that led before its log was durable, a batch that held the news of
/// a removal, removed members that were told too early that nobody needs them, a leader that removed itself with more in its
/// log than anybody, and an only voter whose learners heard of its term before its disk did.
const CHURN_REGRESSIONS: [(u64, u64); 9] = [
    (16, 3),
    (408, 3),
    (315, 3),
    (1_613, 1),
    (2_265, 1),
    (2_373, 1),
    (3_180, 3),
    (643, 3),
    (2_008, 3),
];

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
        churn: false,
        plant,
        trace,
    })
}

/// With members that come and go.
fn play_churn(seed: u64, members: u64, plant: Option<Plant>) -> Outcome {
    run(&Options {
        seed,
        members,
        churn: true,
        plant,
        trace: false,
    })
}

/// Plays seeds and adds up what they exercised.
fn check(members: u64, count: u64) -> BTreeMap<&'static str, u64> {
    check_with(members, count, |seed| play(seed, members, None, false))
}

fn check_with(members: u64, count: u64, play: impl Fn(u64) -> Outcome) -> BTreeMap<&'static str, u64> {
    let mut coverage = BTreeMap::new();
    for seed in 0..count {
        let outcome = play(seed);
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
fn members_come_and_go() {
    let mut coverage = BTreeMap::new();
    for (members, share) in [(3, 2), (1, 4), (2, 4)] {
        for (what, times) in check_with(members, seeds().div_ceil(share), |seed| {
            play_churn(seed, members, None)
        }) {
            *coverage.entry(what).or_default() += times;
        }
    }
    let all = [
        "learners added",
        "learners promoted",
        "members removed",
        "members replaced",
        "members updated",
        "members told of their removal",
        "members ended",
        "leadership handed on",
        "images installed",
        "change: not leader",
        "change: in progress",
        "change: unknown member",
        "change: removed member",
        "change: member exists",
        "change: not caught up",
        "change: quorum at risk",
        "change: last voter",
    ];
    must_cover(&coverage, &all);
}

#[test]
fn planted_bugs_of_members_are_found() {
    for plant in Plant::OF_MEMBERS {
        let found = (0..PLANT_SEEDS).find_map(|seed| Some((seed, play_churn(seed, 3, Some(plant)).failure?)));
        let Some((seed, failure)) = found else {
            panic!("{plant:?} is not found within {PLANT_SEEDS} seeds");
        };
        println!("{plant:?}: seed {seed}: {failure}");
    }
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
    for (seed, members) in CHURN_REGRESSIONS {
        let failure = play_churn(seed, members, None).failure;
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
