//! Cluster time: the replicated counter that leases run on, and when to propose that it moves.
//!
//! A leader carries the replicated value on with its own monotonic clock. A new leader starts from the value it has
//! applied, so a fail-over can lengthen a lease and nothing can shorten one.

use crate::input::Millis;

#[derive(Default)]
pub(crate) struct ClusterClock {
    /// While this member leads: cluster time at an instant of its own clock.
    anchor: Option<(u64, Millis)>,
    /// Index and term of a proposed expiry that is not applied yet.
    proposed: bool,
}

impl ClusterClock {
    /// This member does not lead (any more).
    pub(crate) fn stop(&mut self) {
        *self = ClusterClock::default();
    }

    /// Cluster time now, for a leader whose state says `replicated`.
    pub(crate) fn now(&mut self, replicated: u64, now: Millis) -> u64 {
        let (base, since) = *self.anchor.get_or_insert((replicated, now));
        let elapsed = base.saturating_add(now.saturating_sub(since));
        if elapsed < replicated {
            // Entries of an earlier leader were applied since: time goes on from theirs.
            self.anchor = Some((replicated, now));
            return replicated;
        }
        elapsed
    }

    /// Whether to propose an expiry now: some key is due and no proposal for it is under way. It counts as proposed then.
    pub(crate) fn begin(&mut self, deadline: Option<u64>, replicated: u64, now: Millis) -> Option<u64> {
        let deadline = deadline?;
        let cluster = self.now(replicated, now);
        if self.proposed || deadline > cluster {
            return None;
        }
        self.proposed = true;
        Some(cluster)
    }

    /// The proposed expiry was applied, or refused.
    pub(crate) fn finish(&mut self) {
        self.proposed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::ClusterClock;

    #[test]
    fn goes_on_from_the_replicated_value_at_the_pace_of_the_clock() {
        let mut clock = ClusterClock::default();
        assert_eq!(clock.now(5_000, 100), 5_000);
        assert_eq!(clock.now(5_000, 350), 5_250);
        assert_eq!(clock.now(5_250, 360), 5_260);
        assert_eq!(clock.now(9_000, 400), 9_000);
        assert_eq!(clock.now(9_000, 401), 9_001);
    }

    #[test]
    fn a_new_term_of_office_does_not_count_the_time_between() {
        let mut clock = ClusterClock::default();
        clock.now(0, 0);
        clock.stop();
        assert_eq!(clock.now(10, 1_000_000), 10);
    }

    #[test]
    fn one_expiry_at_a_time_and_only_when_due() {
        let mut clock = ClusterClock::default();
        assert_eq!(clock.begin(None, 0, 0), None);
        assert_eq!(clock.begin(Some(10), 0, 9), None);
        clock.stop();
        assert_eq!(clock.begin(Some(10), 0, 0), None);
        assert_eq!(clock.begin(Some(10), 0, 10), Some(10));
        assert_eq!(clock.begin(Some(10), 0, 11), None);
        clock.finish();
        assert_eq!(clock.begin(Some(10), 0, 12), Some(12));
    }
}
