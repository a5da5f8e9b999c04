//! Plays seeds and tells of the first broken invariant: `sim --seed S [--members N] [--churn] [--trace]`, `sim --seeds A..B`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool")]

use berth_sim::{Options, run};
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

const USAGE: &str = "usage: berth-sim (--seed S | --seeds A..B) [--members N] [--churn] [--trace]";

/// The seed being played, for a build in which a panic ends the process.
static SEED: AtomicU64 = AtomicU64::new(0);

struct Arguments {
    seeds: Range<u64>,
    /// None: one, three and five in turn.
    members: Option<u64>,
    trace: bool,
    churn: bool,
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
    play(&arguments)
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments = Arguments {
        seeds: 0..0,
        members: None,
        trace: false,
        churn: false,
    };
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
                arguments.members = words.next()?.parse().ok().filter(|count| (1..=9).contains(count))
            }
            "--trace" => arguments.trace = true,
            "--churn" => arguments.churn = true,
            _ => return None,
        }
    }
    (!arguments.seeds.is_empty()).then_some(arguments)
}

fn play(arguments: &Arguments) -> ExitCode {
    let (mut events, mut committed, mut played) = (0, 0, 0);
    for seed in arguments.seeds.clone() {
        SEED.store(seed, Ordering::Relaxed);
        let in_turn = [3, 1, 5, 3][usize::try_from(seed % 4).unwrap_or(0)];
        let options = Options {
            seed,
            members: arguments.members.unwrap_or(in_turn),
            churn: arguments.churn,
            plant: None,
            trace: arguments.trace,
        };
        let outcome = run(&options);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        events += outcome.events;
        committed += outcome.committed;
        played += 1;
        if let Some(failure) = outcome.failure {
            println!("seed {seed} with {} members: {failure}", options.members);
            return ExitCode::FAILURE;
        }
        if arguments.seeds.end - arguments.seeds.start == 1 {
            println!("seed {seed}: hash {:016x}, {:?}", outcome.hash, outcome.coverage);
        }
    }
    println!("{played} seeds, {events} events, {committed} entries committed: no invariant broken");
    ExitCode::SUCCESS
}
