//! Counters of the node, for `/metrics` and `/v2/stats/store`. Nothing decides by them.

use std::sync::atomic::{AtomicU64, Ordering};

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
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}
