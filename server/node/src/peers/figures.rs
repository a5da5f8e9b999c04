//! How long messages take to a member and back, and what became of them.

use crate::peers::ROUND_TRIP_BUCKETS;
use std::time::Duration;

/// The times that messages take there and back, and what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Milliseconds.
    pub(crate) current: f64,
    pub(crate) minimum: f64,
    pub(crate) maximum: f64,
    pub(crate) average: f64,
    squares: f64,
    /// By how long they took, each in one bucket.
    pub(crate) by_time: [u64; ROUND_TRIP_BUCKETS],
    /// Microseconds, of all together.
    pub(crate) all_us: u64,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    pub(crate) samples: u64,
    pub(crate) sent: u64,
    pub(crate) failed: u64,
}

impl Figures {
    pub(super) fn took(&mut self, time: Duration) {
        let millis = time.as_secs_f64() * 1_000.0;
        self.samples += 1;
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.all_us = self.all_us.saturating_add(micros);
        let doublings = micros.div_ceil(100).max(1).next_power_of_two().trailing_zeros();
        let bucket = usize::try_from(doublings).unwrap_or(usize::MAX);
        self.by_time[bucket.min(ROUND_TRIP_BUCKETS - 1)] += 1;
        self.current = millis;
        self.minimum = if self.samples == 1 {
            millis
        } else {
            self.minimum.min(millis)
        };
        self.maximum = self.maximum.max(millis);
        let before = self.average;
        self.average += (millis - before) / count(self.samples);
        self.squares += (millis - before) * (millis - self.average);
    }

    pub(crate) fn deviation(&self) -> f64 {
        (self.squares / count(self.samples.max(1))).sqrt()
    }
}

/// Good for the number of samples of some thousand years.
#[allow(
    clippy::cast_precision_loss,
    reason = "a mean needs no more than 53 bits of its count"
)]
fn count(samples: u64) -> f64 {
    samples as f64
}
