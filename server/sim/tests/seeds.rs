//! Seeds that must pass, planted bugs that must be found, failures that must shrink, and one trace for one seed.

use berth_sim::{Failure, Options, Outcome, Plant, Reduction, run, shrink};
use std::collections::BTreeMap;

/// Seeds of a run of the tests, in all: of one, three, five members, and of members that come and go. `BERTH_SIM_SEEDS`
/// asks for so many times more.
const ALONE: u64 = 130;
const THREE: u64 = 220;
const FIVE: u64 = 40;
const CHURN: u64 = 120;

/// A planted bug is found within so many seeds.
const PLANT_SEEDS: u64 = 2_000;

/// Each day one planted bug in so many has its turn; `cargo run -p berth-sim -- --zoo` takes all.
const ROTATION: u64 = 4;

/// Seeds that once broke an invariant, with the number of members. An election in the middle of installing an image; a log
/// that was cut where an overruled entry came first, which recovery refused; the newest image damaged after the log had
/// been cut.
const REGRESSIONS: [(u64, u64); 6] = [(3_938, 5), (26_766, 5), (463, 3), (968, 3), (897, 1), (178, 5)];

/// The same with members that come and go: an only voter that led before its log was durable, a batch that held the news of
/// a removal, removed members that were told too early that nobody needs them, a leader that removed itself with more in its
/// log than anybody, an only voter whose learners heard of its term before its disk did, a long write
/// cut off in the middle, images of two leaders in one batch.
const CHURN_REGRESSIONS: [(u64, u64); 11] = [
    (16, 3),
    (408, 3),
    (315, 3),
    (1_613, 1),
    (2_265, 1),
    (2_373, 1),
    (3_180, 3),
    (643, 3),
    (2_008, 3),
    (1_967, 3),
    (1_114, 3),
];

#[expect(
    clippy::disallowed_methods,
    reason = "the driver of the tests asks for more seeds this way"
)]
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// So many seeds, or times as many.
fn seeds(count: u64) -> u64 {
    count * asked("BERTH_SIM_SEEDS").unwrap_or(1)
}

/// Which planted bugs have their turn: by the day, or as asked for.
fn rotation() -> u64 {
    asked("BERTH_SIM_ROTATION").unwrap_or_else(|| {
        let since = std::time::UNIX_EPOCH.elapsed();
        since.map_or(0, |since| since.as_secs() / 86_400)
    })
}

fn options(seed: u64, members: u64, churn: bool) -> Options {
    Options {
        churn,
        ..Options::new(seed, members)
    }
}

/// Plays seeds and adds up what they exercised.
fn check(members: u64, churn: bool, range: std::ops::Range<u64>, coverage: &mut BTreeMap<&'static str, u64>) {
    for seed in range {
        let options = options(seed, members, churn);
        let outcome = run(&options);
        if let Some(failure) = outcome.failure {
            panic!(
                "seed {seed} with {members} members: {failure}\nagain: {}",
                options.command()
            );
        }
        for (what, times) in outcome.coverage {
            *coverage.entry(what).or_default() += times;
        }
    }
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
    let mut coverage = BTreeMap::new();
    check(1, false, 0..seeds(ALONE), &mut coverage);
    let all = [
        "crashes",
        "power cuts",
        "recoveries cut",
        "pauses",
        "slow disks",
        "full disks",
        "disk errors",
        "bits changed",
        "damage refused",
        "images saved",
        "images failed",
        "compactions",
    ];
    must_cover(&coverage, &all);
}

/// In two halves, so that both processors have something to do.
fn three_members(half: std::ops::Range<u64>) {
    let mut coverage = BTreeMap::new();
    check(3, false, half, &mut coverage);
    let all = [
        "crashes",
        "recoveries cut",
        "damage refused",
        "damaged messages",
        "network faults",
        "leader changes",
        "leadership handed on",
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
fn three_members_of_the_first_half() {
    three_members(0..seeds(THREE) / 2);
}

#[test]
fn three_members_of_the_second_half() {
    three_members(seeds(THREE) / 2..seeds(THREE));
}

#[test]
fn five_members() {
    check(5, false, 0..seeds(FIVE), &mut BTreeMap::new());
}

#[test]
fn members_come_and_go() {
    let mut coverage = BTreeMap::new();
    for (members, share) in [(3, 2), (1, 4), (2, 4)] {
        check(members, true, 0..seeds(CHURN) / share, &mut coverage);
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
fn regressions() {
    let mut coverage = BTreeMap::new();
    for (seed, members) in REGRESSIONS {
        check(members, false, seed..seed + 1, &mut coverage);
    }
    for (seed, members) in CHURN_REGRESSIONS {
        check(members, true, seed..seed + 1, &mut coverage);
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for (seed, churn) in [(1, false), (2, true), (3, false)] {
        let readable = || {
            run(&Options {
                trace: true,
                ..options(seed, 3, churn)
            })
        };
        let (first, second) = (readable(), readable());
        assert_eq!(first.trace, second.trace);
        assert_eq!(first.hash, second.hash);
        assert_eq!(first.hash, run(&options(seed, 3, churn)).hash);
        assert_ne!(first.hash, run(&options(seed + 100, 3, churn)).hash);
    }
}

#[test]
fn what_is_left_out_leaves_the_rest_as_it_was() {
    let whole = run(&Options {
        trace: true,
        ..Options::new(4, 3)
    });
    let events = whole.events / 2;
    let half = run(&Options {
        trace: true,
        reduction: Reduction {
            until: Some(events),
            ..Reduction::default()
        },
        ..Options::new(4, 3)
    });
    assert!(half.failure.is_none() && half.events >= events && half.events < whole.events);
    assert!(whole.trace.starts_with(&half.trace));
}

/// The first seed that finds a planted bug.
fn found(plant: Plant) -> Option<(Options, Outcome)> {
    (0..PLANT_SEEDS).find_map(|seed| {
        let options = Options {
            plant: Some(plant),
            ..options(seed, 3, plant.needs_churn())
        };
        let outcome = run(&options);
        outcome.failure.is_some().then_some((options, outcome))
    })
}

#[test]
fn planted_bugs_are_found() {
    let rotation = rotation() % ROTATION;
    println!("planted bugs of BERTH_SIM_ROTATION={rotation}");
    for (number, plant) in (0..).zip(Plant::all()) {
        if number % ROTATION != rotation {
            continue;
        }
        let Some((options, outcome)) = found(plant) else {
            panic!("{plant:?} is not found within {PLANT_SEEDS} seeds");
        };
        let invariant = outcome.failure.map(|failure| failure.invariant);
        println!("{plant:?}: seed {}: {invariant:?}", options.seed);
    }
}

#[test]
fn a_failure_shrinks_to_a_command_that_fails_alike() {
    let (options, outcome) = found(Plant::HardStateNotWritten).expect("it is found");
    let (small, failure): (Options, Failure) = shrink(&options, &outcome).expect("it failed");
    let whole = outcome.failure.expect("it failed");
    assert_eq!(failure.invariant, whole.invariant);
    assert!(
        failure.event < whole.event,
        "{failure} is no smaller than {whole}"
    );
    assert!(small.command().contains("--load-us") && small.command().contains("--plant HardStateNotWritten"));
    let again = run(&small).failure.expect("it fails again");
    assert_eq!(
        (again.at_us, again.event, again.detail),
        (failure.at_us, failure.event, failure.detail)
    );
}
