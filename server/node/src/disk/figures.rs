//! Counters of the durable log for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the durable log did since the start. Readable from every thread.
#[derive(Debug, Default)]
pub(crate) struct DiskFigures {
    fsyncs: AtomicU64,
    bytes: AtomicU64,
    last_fsync_us: AtomicU64,
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

    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        self.fsyncs.fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.last_fsync_us.store(micros, Ordering::Relaxed);
    }
}
