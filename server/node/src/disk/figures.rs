//! Counters of the durable log for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of the histogram of syncs, as etcd has them: up to 1 ms, 2 ms, 4 ms … 8192 ms, and one for all that take longer.
pub(crate) const FSYNC_BUCKETS: usize = 15;

/// What the durable log did since the start. Readable from every thread.
#[derive(Debug, Default)]
pub(crate) struct DiskFigures {
    fsyncs: AtomicU64,
    bytes: AtomicU64,
    last_fsync_us: AtomicU64,
    all_fsyncs_us: AtomicU64,
    fsyncs_by_time: [AtomicU64; FSYNC_BUCKETS],
}

impl DiskFigures {
    /// Syncs of the log.
    pub(crate) fn fsyncs(&self) -> u64 {
        self.fsyncs.load(Ordering::Relaxed)
    }

    /// Bytes written to the log, framing included.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long the newest sync took, in microseconds; 0 before the first.
    pub(crate) fn last_fsync_us(&self) -> u64 {
        self.last_fsync_us.load(Ordering::Relaxed)
    }

    /// How long all syncs took together, in microseconds.
    pub(crate) fn all_fsyncs_us(&self) -> u64 {
        self.all_fsyncs_us.load(Ordering::Relaxed)
    }

    /// Syncs by how long they took, each in one bucket.
    pub(crate) fn fsyncs_by_time(&self) -> [u64; FSYNC_BUCKETS] {
        std::array::from_fn(|at| self.fsyncs_by_time[at].load(Ordering::Relaxed))
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_fsync_us.store(micros, Ordering::Relaxed);
        self.all_fsyncs_us.fetch_add(micros, Ordering::Relaxed);
        self.fsyncs_by_time[bucket(micros)].fetch_add(1, Ordering::Relaxed);
    }
}

/// The first bucket whose upper bound is not below.
fn bucket(micros: u64) -> usize {
    let millis = micros.div_ceil(1_000).max(1);
    let doublings = millis.next_power_of_two().trailing_zeros();
    usize::try_from(doublings).map_or(FSYNC_BUCKETS - 1, |at| at.min(FSYNC_BUCKETS - 1))
}

#[cfg(test)]
mod tests {
    use super::bucket;

    #[test]
    fn times_fall_into_buckets() {
        for (micros, at) in [
            (0, 0),
            (1_000, 0),
            (1_001, 1),
            (2_000, 1),
            (2_001, 2),
            (8_192_000, 13),
            (8_192_001, 14),
            (1 << 62, 14),
        ] {
            assert_eq!(bucket(micros), at, "{micros}");
        }
    }
}
