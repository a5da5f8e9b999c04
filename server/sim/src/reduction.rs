//! What is left out of a seed, so that a failure is found with less around it. What is left out is drawn all the same:
//! nothing else moves.

use crate::faults::Rate;
use std::fmt;

/// What is left out of a seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reduction {
    /// Load and faults end then, in microseconds of virtual time.
    pub load_us: Option<u64>,
    /// Only these turns of faults are taken, counted from 0.
    pub only_faults: Option<Vec<u64>>,
    /// Faults that do not strike by chance.
    pub quiet: Vec<Rate>,
    /// Only every so manieth request is made; 0 and 1: all.
    pub thin: u64,
    /// No watch is opened.
    pub no_watches: bool,
    /// The run ends after so many things that happened, without a verdict.
    pub until: Option<u64>,
}

impl Reduction {
    pub(crate) fn takes_fault(&self, turn: u64) -> bool {
        self.only_faults.as_ref().is_none_or(|only| only.contains(&turn))
    }

    pub(crate) fn takes_request(&self, number: u64) -> bool {
        number.is_multiple_of(self.thin.max(1))
    }
}

/// As the command line reads it.
impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(load_us) = self.load_us {
            write!(f, " --load-us {load_us}")?;
        }
        if let Some(only) = &self.only_faults {
            let turns: Vec<String> = only.iter().map(u64::to_string).collect();
            write!(f, " --only-faults {},", turns.join(","))?;
        }
        for rate in &self.quiet {
            write!(f, " --quiet {rate:?}")?;
        }
        if self.thin > 1 {
            write!(f, " --thin {}", self.thin)?;
        }
        if self.no_watches {
            write!(f, " --no-watches")?;
        }
        match self.until {
            Some(until) => write!(f, " --until {until}"),
            None => Ok(()),
        }
    }
}
