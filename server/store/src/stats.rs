//! Counters of applied writes. They depend on the commands only, so all members agree; reads are counted where they
//! are served, not here.

/// How often something was done and refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Done.
    pub success: u64,
    /// Refused.
    pub fail: u64,
}

impl Count {
    pub(crate) fn add(&mut self, success: bool) {
        if success {
            self.success += 1;
        } else {
            self.fail += 1;
        }
    }
}

/// Counters by action.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// set.
    pub sets: Count,
    /// delete.
    pub deletes: Count,
    /// update.
    pub updates: Count,
    /// create, also in order.
    pub creates: Count,
    /// compareAndSwap.
    pub swaps: Count,
    /// compareAndDelete.
    pub compare_deletes: Count,
    /// Expired nodes.
    pub expired: u64,
}

impl Stats {
    /// All numbers in a fixed order, for the snapshot.
    pub(crate) fn numbers(&self) -> [u64; 13] {
        let Stats {
            sets,
            deletes,
            updates,
            creates,
            swaps,
            compare_deletes,
            expired,
        } = *self;
        let mut numbers = [expired; 13];
        for (at, count) in [sets, deletes, updates, creates, swaps, compare_deletes]
            .into_iter()
            .enumerate()
        {
            numbers[2 * at] = count.success;
            numbers[2 * at + 1] = count.fail;
        }
        numbers
    }

    /// The inverse of [`Stats::numbers`].
    pub(crate) fn from_numbers(numbers: [u64; 13]) -> Stats {
        let count = |at: usize| Count {
            success: numbers[2 * at],
            fail: numbers[2 * at + 1],
        };
        Stats {
            sets: count(0),
            deletes: count(1),
            updates: count(2),
            creates: count(3),
            swaps: count(4),
            compare_deletes: count(5),
            expired: numbers[12],
        }
    }
}
