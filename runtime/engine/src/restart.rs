//! Whether and when a container that has ended is started again. Pure.

use berth_wire::docker::RestartPolicy;

/// The wait before the first start, in milliseconds; it doubles with each one.
const FIRST_DELAY: u64 = 100;

/// The longest wait, in milliseconds.
const LONGEST_DELAY: u64 = 60_000;

/// A run of this length ends a series of failures, in nanoseconds.
const LASTING: i64 = 10_000_000_000;

/// What the user wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Never,
    /// At most so often in a series; 0 is without a limit.
    OnFailure(u64),
    Always,
    UnlessStopped,
}

impl Policy {
    /// Names that do not exist have been refused.
    pub(crate) fn of(policy: &RestartPolicy) -> Self {
        match policy.name.as_str() {
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => Self::OnFailure(policy.maximum_retry_count.try_into().unwrap_or_default()),
            _ => Self::Never,
        }
    }

    /// Whether a container that does not run is started with the engine.
    pub(crate) fn starts_with_engine(self, held: bool, was_running: bool, exit_code: i64) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::UnlessStopped => !held,
            Self::OnFailure(_) => !held && was_running && exit_code != 0,
        }
    }
}

/// The series of starts of one container.
#[derive(Debug)]
pub(crate) struct Restarts {
    policy: Policy,
    count: u64,
    delay: u64,
    /// Somebody has stopped it.
    held: bool,
    failed: bool,
}

impl Restarts {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            count: 0,
            delay: FIRST_DELAY,
            held: false,
            failed: false,
        }
    }

    /// Another policy, for what ends from now on.
    pub(crate) fn change_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Somebody starts it: the series begins anew.
    pub(crate) fn begin(&mut self) {
        *self = Self::new(self.policy);
    }

    /// Somebody stops it.
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held
    }

    /// How often it has been started again.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// A run has ended, after so many nanoseconds.
    pub(crate) fn ended(&mut self, exit_code: i64, duration: i64) {
        self.failed = exit_code != 0;
        if duration >= LASTING {
            self.delay = FIRST_DELAY;
        }
    }

    /// The wait before the next start in milliseconds, if there is to be one.
    pub(crate) fn next(&mut self) -> Option<u64> {
        let wanted = match self.policy {
            Policy::Never => false,
            Policy::Always | Policy::UnlessStopped => true,
            Policy::OnFailure(limit) => self.failed && (limit == 0 || self.count < limit),
        };
        if !wanted || self.held {
            return None;
        }
        let delay = self.delay;
        self.count += 1;
        self.delay = (delay * 2).min(LONGEST_DELAY);
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        let mut restarts = Restarts::new(Policy::Always);
        let mut waits = Vec::new();
        for _ in 0..12 {
            restarts.ended(0, 1);
            waits.extend(restarts.next());
        }
        assert_eq!(
            waits,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000
            ]
        );
        restarts.ended(0, LASTING);
        assert_eq!((restarts.next(), restarts.count()), (Some(100), 13));
        restarts.hold();
        assert_eq!(restarts.next(), None);
        restarts.begin();
        assert_eq!((restarts.count(), restarts.next()), (0, Some(100)));
    }

    #[test]
    fn failures_are_counted() {
        let mut restarts = Restarts::new(Policy::OnFailure(2));
        restarts.ended(0, 1);
        assert_eq!(restarts.next(), None);
        restarts.ended(1, 1);
        assert!(restarts.next().is_some() && restarts.next().is_some());
        assert_eq!(restarts.next(), None);
        assert_eq!(Restarts::new(Policy::Never).next(), None);
    }

    #[test]
    fn the_start_of_the_engine() {
        let starts =
            |policy: Policy, held, was_running, code| policy.starts_with_engine(held, was_running, code);
        assert!(starts(Policy::Always, true, false, 0));
        assert!(
            starts(Policy::UnlessStopped, false, false, 0) && !starts(Policy::UnlessStopped, true, false, 0)
        );
        assert!(
            starts(Policy::OnFailure(0), false, true, 1) && !starts(Policy::OnFailure(0), false, true, 0)
        );
        assert!(!starts(Policy::Never, false, true, 1));
    }
}
