//! Counters of the node, for `/metrics` and `/v2/stats/store`. Nothing decides by them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Why a member is not healthy, as the metrics page names it.
pub(crate) const REASONS: [&str; 5] = ["no_leader", "no_quorum", "disk_full", "disk_hangs", "no_image"];

#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Gets of keys that were answered with a node.
    pub(crate) gets: AtomicU64,
    /// Gets of keys that were refused.
    pub(crate) failed_gets: AtomicU64,
    /// Writes handed to the event loop.
    pub(crate) writes: AtomicU64,
    /// Writes turned away before that: disk full, too many, too large.
    pub(crate) refused_writes: AtomicU64,
    /// Turns of the event loop that wrote to the log.
    pub(crate) batches: AtomicU64,
    /// Log entries in them.
    pub(crate) entries: AtomicU64,
    /// Writes without an answer yet, as of the last turn of the event loop.
    pub(crate) pending: AtomicU64,
    /// Writes that came to no result: no leader, timed out, too many.
    pub(crate) failed_writes: AtomicU64,
    /// When the write to the log began that is going on, in milliseconds of the clock and one more; 0 if none is.
    pub(crate) writing_since: AtomicU64,
    /// Images of the state that were saved.
    pub(crate) images: AtomicU64,
    /// Images of the state that could not be saved.
    pub(crate) failed_images: AtomicU64,
    /// 1 if the last image could not be saved, for want of room or by an error of the disk.
    pub(crate) image_failing: AtomicU64,
    /// How long saving images took together, in microseconds.
    pub(crate) images_us: AtomicU64,
    /// Looks at `/health` with a good answer.
    pub(crate) healthy: AtomicU64,
    /// Looks at `/health` with a bad one, by its reason.
    pub(crate) unhealthy: [AtomicU64; REASONS.len()],
    /// Backups begun.
    pub(crate) backups: AtomicU64,
    /// Leaders seen.
    pub(crate) leader_changes: AtomicU64,
    /// Watches asked for.
    pub(crate) watch_requests: AtomicU64,
    /// Open watches.
    pub(crate) watchers: AtomicU64,
    /// Open client connections.
    pub(crate) connections: AtomicU64,
    /// Connections cut for being too slow.
    pub(crate) cut_connections: AtomicU64,
    /// Connections closed since their address has too many.
    pub(crate) refused_connections: AtomicU64,
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    /// A write to the log begins, or has ended.
    pub(crate) fn writing(&self, since: Option<u64>) {
        self.writing_since
            .store(since.map_or(0, |now| now.saturating_add(1)), Ordering::Relaxed);
    }

    /// How long the write to the log has been going on, in milliseconds; 0 if none is.
    pub(crate) fn write_ms(&self, now: u64) -> u64 {
        match self.writing_since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.saturating_sub(since - 1),
        }
    }

    /// An image was saved, or could not be.
    pub(crate) fn image(&self, saved: bool, took: Duration) {
        let counter = if saved { &self.images } else { &self.failed_images };
        counter.fetch_add(1, Ordering::Relaxed);
        self.image_failing.store(u64::from(!saved), Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.images_us.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_as_old_as_it_takes() {
        let metrics = Metrics::default();
        assert_eq!(metrics.write_ms(5_000), 0);
        metrics.writing(Some(0));
        assert_eq!(metrics.write_ms(7_000), 7_000);
        metrics.writing(None);
        assert_eq!(metrics.write_ms(9_000), 0);
    }

    #[test]
    fn an_image_that_fails_counts_until_one_is_saved() {
        let metrics = Metrics::default();
        metrics.image(false, Duration::from_millis(2));
        assert_eq!(Metrics::get(&metrics.image_failing), 1);
        metrics.image(true, Duration::from_millis(3));
        assert_eq!(Metrics::get(&metrics.image_failing), 0);
        let counts = [&metrics.images, &metrics.failed_images, &metrics.images_us].map(Metrics::get);
        assert_eq!(counts, [1, 1, 5_000]);
    }
}
