//! The only clocks of the node: a monotonic one for the replica, the wall clock for what is shown to people.

use berth_replica::Millis;
use berth_store::View;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Estimates of the offset between two clocks that differ by less than this are the same: an expiration that is
/// read twice should not move with every scheduling delay.
const OFFSET_SLACK_MS: i64 = 20;

/// A jump of the wall clock by more than this changes the expirations that are shown. Slewing stays below it.
const WALL_SLACK_MS: i64 = 500;

/// The monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        Clock {
            origin: Instant::now(),
        }
    }

    /// Monotonic milliseconds since the node's start.
    pub(crate) fn now(&self) -> Millis {
        millis(self.origin.elapsed())
    }

    /// The time since the node's start.
    pub(crate) fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// The wall clock, in milliseconds since 1970.
pub(crate) fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
    }
}

/// How cluster time, which leases run on, relates to the clocks here. It serves rendering only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// Cluster time minus monotonic time: what is known of it, never more than the truth.
    cluster: i64,
    /// Wall clock minus monotonic time.
    wall: i64,
}

impl Times {
    pub(crate) fn new(cluster_ms: u64, now: Millis) -> Times {
        Times {
            cluster: signed(cluster_ms) - signed(now),
            wall: wall_ms() - signed(now),
        }
    }

    /// Cluster time that counts from 1970.
    #[cfg(test)]
    pub(crate) fn fixed() -> Times {
        Times { cluster: 0, wall: 0 }
    }

    /// Learns from a state's cluster time, which was stamped at `now` or before.
    pub(crate) fn observe(&mut self, cluster_ms: u64, now: Millis) {
        let seen = signed(cluster_ms) - signed(now);
        if seen > self.cluster + OFFSET_SLACK_MS {
            self.cluster = seen;
        }
    }

    /// Follows a jump of the wall clock.
    pub(crate) fn follow_wall(&mut self, now: Millis) {
        let wall = wall_ms() - signed(now);
        if (wall - self.wall).abs() > WALL_SLACK_MS {
            self.wall = wall;
        }
    }

    /// Cluster time now: at least that of the state that is shown.
    pub(crate) fn cluster_now(&self, view: &View, now: Millis) -> u64 {
        let estimate = u64::try_from(self.cluster + signed(now)).unwrap_or(0);
        estimate.max(view.cluster_ms())
    }

    /// The wall time, in milliseconds since 1970, of a moment of cluster time.
    pub(crate) fn wall_of(&self, cluster_ms: u64) -> i64 {
        signed(cluster_ms)
            .saturating_sub(self.cluster)
            .saturating_add(self.wall)
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

fn signed(millis: u64) -> i64 {
    i64::try_from(millis).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Times;

    #[test]
    fn an_expiration_does_not_move_with_small_delays() {
        let mut times = Times::new(1_000, 0);
        let shown = times.wall_of(5_000);
        times.observe(2_000, 1_003);
        times.observe(3_010, 2_000);
        assert_eq!(times.wall_of(5_000), shown);
        times.observe(9_000, 2_000);
        assert_eq!(times.wall_of(5_000), shown - 6_000);
    }
}
