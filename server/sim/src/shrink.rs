//! Makes a failing run smaller: less time, fewer faults, fewer requests, as long as the same invariant breaks.

use crate::faults::Rate;
use crate::reduction::Reduction;
use crate::run::{Failure, Options, Outcome, run};

/// Runs spent on one failure at most: some minutes, and by then little more is gained.
const MAX_RUNS: u64 = 160;

/// A failing run that is being made smaller.
struct Shrinker {
    best: Options,
    failure: Failure,
    turns: u64,
    runs: u64,
}

/// A smaller run that breaks the same invariant, with what it shows; the same run if none is found. The outcome is the
/// one of the run as it is.
pub fn shrink(options: &Options, outcome: &Outcome) -> Option<(Options, Failure)> {
    let mut shrinker = Shrinker {
        best: Options {
            trace: false,
            ..options.clone()
        },
        failure: outcome.failure.clone()?,
        turns: outcome.fault_turns,
        runs: 0,
    };
    shrinker.cut_load();
    shrinker.drop_faults();
    shrinker.quiet();
    shrinker.thin();
    shrinker.cut_load();
    let Shrinker { best, failure, .. } = shrinker;
    Some((best, failure))
}

impl Shrinker {
    /// Whether the same invariant breaks with this left out too; then it stays left out.
    fn try_without(&mut self, change: impl FnOnce(&mut Reduction)) -> bool {
        if self.runs == MAX_RUNS {
            return false;
        }
        self.runs += 1;
        let mut options = self.best.clone();
        change(&mut options.reduction);
        let outcome = run(&options);
        let same = outcome
            .failure
            .filter(|failure| failure.invariant == self.failure.invariant);
        let Some(failure) = same else { return false };
        self.failure = failure;
        self.turns = outcome.fault_turns;
        self.best = options;
        true
    }

    /// Ends the load earlier: first where it broke, then by halves of what is left.
    fn cut_load(&mut self) {
        let at_us = self.failure.at_us;
        self.try_without(|reduction| {
            reduction.load_us = Some(reduction.load_us.unwrap_or(u64::MAX).min(at_us + 1));
        });
        let mut low = 0;
        let mut high = self.best.reduction.load_us.unwrap_or(at_us);
        while high - low > 500_000 && self.runs < MAX_RUNS {
            let middle = low + (high - low) / 2;
            if self.try_without(|reduction| reduction.load_us = Some(middle)) {
                high = middle;
            } else {
                low = middle;
            }
        }
    }

    /// Leaves out runs of faults, long ones first, down to single ones.
    fn drop_faults(&mut self) {
        let all = self.best.reduction.only_faults.clone();
        let mut kept: Vec<u64> = all.unwrap_or_else(|| (0..self.turns).collect());
        if self.try_without(|reduction| reduction.only_faults = Some(Vec::new())) {
            return;
        }
        let mut length = kept.len().div_ceil(2);
        while length > 0 && !kept.is_empty() {
            let mut at = 0;
            while at < kept.len() {
                let end = (at + length).min(kept.len());
                let fewer = [&kept[..at], &kept[end..]].concat();
                let tried = fewer.clone();
                if self.try_without(|reduction| reduction.only_faults = Some(tried)) {
                    kept = fewer;
                } else {
                    at = end;
                }
            }
            length /= 2;
        }
    }

    fn quiet(&mut self) {
        for rate in Rate::ALL {
            self.try_without(|reduction| reduction.quiet.push(rate));
        }
        self.try_without(|reduction| reduction.no_watches = true);
    }

    /// Makes fewer requests.
    fn thin(&mut self) {
        let mut thin = 64;
        while thin > 1 && !self.try_without(|reduction| reduction.thin = thin) {
            thin /= 2;
        }
    }
}
