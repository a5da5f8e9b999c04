//! When to take a snapshot and how much of the log to keep behind it.

/// The snapshots of one replica: never two at a time.
pub(crate) struct Snapshots {
    every: u64,
    /// The index of the newest one, durable or given up.
    last: u64,
    /// The one being written.
    writing: Option<u64>,
}

impl Snapshots {
    pub(crate) fn new(every: u64, last: u64) -> Snapshots {
        Snapshots {
            every: every.max(1),
            last,
            writing: None,
        }
    }

    /// Whether to take one at this applied index; it counts as begun then.
    pub(crate) fn begin(&mut self, applied: u64) -> bool {
        let due = self.writing.is_none() && applied >= self.last.saturating_add(self.every);
        if due {
            self.writing = Some(applied);
        }
        due
    }

    /// The one being written is done with, well or not. False if it is not the one that was begun.
    pub(crate) fn finish(&mut self, index: u64) -> bool {
        let expected = self.writing.take_if(|writing| *writing == index).is_some();
        if expected {
            self.last = self.last.max(index);
        }
        expected
    }

    /// This member's state jumped to a snapshot that is durable already.
    pub(crate) fn jump(&mut self, index: u64) {
        self.last = self.last.max(index);
    }
}

/// The last log index that may go once a snapshot at `snapshot` is durable: a single member needs nothing behind it;
/// a leader keeps what its slowest live follower lacks, and everyone keeps some for a member that comes back, up to
/// `catch_up` entries.
pub(crate) fn through(snapshot: u64, slowest: Option<u64>, alone: bool, catch_up: u64) -> u64 {
    if alone {
        return snapshot;
    }
    let spare = snapshot.saturating_sub(catch_up);
    match slowest {
        // Half of the spare entries are kept even if all are up to date: who restarts now lacks what follows.
        Some(matched) => spare.max(matched.min(snapshot.saturating_sub(catch_up / 2))),
        None => spare,
    }
}

#[cfg(test)]
mod tests {
    use super::{Snapshots, through};

    #[test]
    fn one_at_a_time_and_after_enough_entries() {
        let mut snapshots = Snapshots::new(100, 50);
        assert!(!snapshots.begin(149));
        assert!(snapshots.begin(150));
        assert!(!snapshots.begin(400));
        assert!(!snapshots.finish(149));
        assert!(snapshots.finish(150));
        assert!(snapshots.begin(400));
    }

    #[test]
    fn what_is_kept() {
        assert_eq!(through(1_000, None, true, 100), 1_000);
        assert_eq!(through(1_000, None, false, 100), 900);
        assert_eq!(through(1_000, Some(920), false, 100), 920);
        assert_eq!(through(1_000, Some(10), false, 100), 900);
        assert_eq!(through(1_000, Some(1_000), false, 100), 950);
        assert_eq!(through(50, None, false, 100), 0);
    }
}
