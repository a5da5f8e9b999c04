//! Writes that other members forward to this leader: each is taken at most once in a term.
//!
//! A forwarded message names the term it was meant for and is dropped in any other, so what the leader remembers
//! may die with its term: no copy of a message can be taken twice.

use crate::entry::Origin;
use std::collections::{BTreeMap, BTreeSet};

/// Lives of other members seen in one term; there is one more only when a member restarts. Beyond, forwards are dropped
/// until the next term.
const MAX_SENDERS: usize = 1_024;

/// Sequences remembered for each sender: the network may deliver that far out of order. An older one is dropped, and
/// its sender's request times out.
const WINDOW: usize = 4_096;

#[derive(Default)]
pub(crate) struct Forwards {
    seen: BTreeMap<u64, Window>,
}

#[derive(Default)]
struct Window {
    /// Everything below was taken or is given up.
    floor: u64,
    above: BTreeSet<u64>,
}

impl Forwards {
    /// A new term has begun.
    pub(crate) fn forget(&mut self) {
        self.seen.clear();
    }

    /// Whether this is the first time; it counts as taken then.
    pub(crate) fn take(&mut self, origin: Origin) -> bool {
        if self.seen.len() >= MAX_SENDERS && !self.seen.contains_key(&origin.incarnation) {
            return false;
        }
        let window = self.seen.entry(origin.incarnation).or_default();
        if origin.sequence < window.floor || !window.above.insert(origin.sequence) {
            return false;
        }
        if window.above.len() > WINDOW
            && let Some(lowest) = window.above.pop_first()
        {
            window.floor = lowest + 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Forwards, WINDOW};
    use crate::entry::Origin;

    #[test]
    fn each_forward_is_taken_once() {
        let mut forwards = Forwards::default();
        let origin = |sequence| Origin {
            incarnation: 1,
            sequence,
        };
        assert!(forwards.take(origin(5)));
        assert!(forwards.take(origin(3)));
        assert!(!forwards.take(origin(5)));
        assert!(!forwards.take(origin(3)));
        assert!(forwards.take(Origin {
            incarnation: 2,
            sequence: 5
        }));
    }

    #[test]
    fn what_left_the_window_is_not_taken_again() {
        let mut forwards = Forwards::default();
        let count = u64::try_from(WINDOW).expect("small") + 10;
        assert!((0..count).all(|sequence| forwards.take(Origin {
            incarnation: 1,
            sequence
        })));
        assert!((0..count).all(|sequence| !forwards.take(Origin {
            incarnation: 1,
            sequence
        })));
    }
}
