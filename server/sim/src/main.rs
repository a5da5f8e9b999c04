//! Plays seeds and tells of the first broken invariant, made small and as a command that plays it again.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use berth_sim::{Options, Plant, Rate, Reduction, run, shrink};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

const USAGE: &str = "usage: berth-sim (--seed S | --seeds A..B) [--members N] [--churn] [--plant NAME] [--trace] \
[--no-shrink] [--until EVENT] [--load-us T] [--only-faults A,B,...] [--quiet RATE] [--thin N] [--no-watches] | --zoo";

/// A planted bug is found within so many seeds.
const ZOO_SEEDS: u64 = 2_000;

/// The seed being played, for a build in which a panic ends the process.
static SEED: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct Arguments {
    seeds: Range<u64>,
    /// None: one, three and five in turn.
    members: Option<u64>,
    trace: bool,
    churn: bool,
    plant: Option<Plant>,
    reduction: Reduction,
    no_shrink: bool,
    zoo: bool,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        eprintln!("seed {} panics", SEED.load(Ordering::Relaxed));
        earlier(info);
    }));
    if arguments.zoo { zoo() } else { play(&arguments) }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments::default();
    let reduction = &mut arguments.reduction;
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seed" => {
                let seed = words.next()?.parse().ok()?;
                arguments.seeds = seed..seed + 1;
            }
            "--seeds" => {
                let range = words.next()?;
                let (first, end) = range.split_once("..")?;
                arguments.seeds = first.parse().ok()?..end.parse().ok()?;
            }
            "--members" => {
                let count = words.next()?.parse().ok();
                arguments.members = Some(count.filter(|count| (1..=9).contains(count))?);
            }
            "--plant" => arguments.plant = Some(Plant::named(&words.next()?)?),
            "--trace" => arguments.trace = true,
            "--churn" => arguments.churn = true,
            "--no-shrink" => arguments.no_shrink = true,
            "--zoo" => arguments.zoo = true,
            "--until" => reduction.until = Some(words.next()?.parse().ok()?),
            "--load-us" => reduction.load_us = Some(words.next()?.parse().ok()?),
            "--only-faults" => {
                let list = words.next()?;
                let turns = list.split(',').filter(|turn| !turn.is_empty());
                reduction.only_faults = Some(turns.map(|turn| turn.parse().ok()).collect::<Option<_>>()?);
            }
            "--quiet" => reduction.quiet.push(Rate::named(&words.next()?)?),
            "--thin" => reduction.thin = words.next()?.parse().ok()?,
            "--no-watches" => reduction.no_watches = true,
            _ => return None,
        }
    }
    (arguments.zoo || !arguments.seeds.is_empty()).then_some(arguments)
}

fn play(arguments: &Arguments) -> ExitCode {
    let (mut events, mut committed, mut played) = (0, 0, 0);
    let single = arguments.seeds.end - arguments.seeds.start == 1;
    for seed in arguments.seeds.clone() {
        SEED.store(seed, Ordering::Relaxed);
        let in_turn = [3, 1, 5, 3][usize::try_from(seed % 4).unwrap_or(0)];
        let options = Options {
            churn: arguments.churn,
            plant: arguments.plant,
            reduction: arguments.reduction.clone(),
            trace: arguments.trace,
            ..Options::new(seed, arguments.members.unwrap_or(in_turn))
        };
        let outcome = run(&options);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        events += outcome.events;
        committed += outcome.committed;
        played += 1;
        if let Some(failure) = &outcome.failure {
            println!("seed {seed} with {} members: {failure}", options.members);
            println!("again: {}", options.command());
            let small = (!arguments.no_shrink).then(|| shrink(&options, &outcome));
            if let Some((small, failure)) = small.flatten() {
                println!("made small: {failure}");
                println!("again: {} --no-shrink", small.command());
            }
            return ExitCode::FAILURE;
        }
        if single {
            println!("seed {seed}: hash {:016x}, {:?}", outcome.hash, outcome.coverage);
        }
    }
    println!("{played} seeds, {events} events, {committed} entries committed: no invariant broken");
    ExitCode::SUCCESS
}

/// Every planted bug must be found. Not in a release build: there a panic, which finds some of them, ends the process.
fn zoo() -> ExitCode {
    let (mut missed, mut all) = (0, 0);
    for plant in Plant::all() {
        all += 1;
        let found = (0..ZOO_SEEDS).find_map(|seed| {
            SEED.store(seed, Ordering::Relaxed);
            let options = Options {
                churn: plant.needs_churn(),
                plant: Some(plant),
                ..Options::new(seed, 3)
            };
            Some((seed, run(&options).failure?))
        });
        match found {
            Some((seed, failure)) => println!("{plant:?}: found by seed {seed}: {:?}", failure.invariant),
            None => {
                missed += 1;
                println!("{plant:?}: not found within {ZOO_SEEDS} seeds");
            }
        }
    }
    println!("{} of {all} planted bugs found", all - missed);
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
