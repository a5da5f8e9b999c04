//! One simulated member: its machine, its disk, its clock.

use crate::disk::Disk;
use crate::model::LogState;
use crate::prng::Prng;
use berth_replica::{Millis, Replica};
use std::collections::{BTreeMap, BTreeSet};

/// A monotonic clock that starts anywhere and is not quite right.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clock {
    offset_ms: u64,
    since_us: u64,
    /// Millionths of true speed.
    rate: u64,
}

const TRUE_RATE: u64 = 1_000_000;

impl Clock {
    pub(crate) fn draw(prng: &mut Prng, drift_ppm: u64, now_us: u64) -> Clock {
        Clock {
            offset_ms: prng.below(1 << 40),
            since_us: now_us,
            rate: prng.between(TRUE_RATE - drift_ppm, TRUE_RATE + drift_ppm),
        }
    }

    pub(crate) fn millis(&self, now_us: u64) -> Millis {
        self.offset_ms + (now_us - self.since_us) * self.rate / TRUE_RATE / 1_000
    }

    /// The true time that passes while the clock shows so much.
    pub(crate) fn true_us(&self, shown_ms: u64) -> u64 {
        shown_ms * 1_000 * TRUE_RATE / self.rate.max(1)
    }

    /// Planted: the clock is set ahead.
    pub(crate) fn jump(&mut self, millis: u64) {
        self.offset_ms += millis;
    }
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: u64,
    /// None while it is down.
    pub(crate) replica: Option<Replica>,
    /// Rises with each start: what was meant for an earlier life does not reach a later one.
    pub(crate) life: u64,
    pub(crate) disk: Disk,
    /// The log as handed out to be written.
    pub(crate) log: LogState,
    pub(crate) clock: Clock,
    /// It stands still until then.
    pub(crate) paused_until: u64,
    pub(crate) flush_due: bool,
    /// It stops after so many more effects.
    pub(crate) fuse: Option<u64>,
    /// It stops when the next write should be done.
    pub(crate) ends_in_write: bool,
    /// How many times slower than usual its disk is.
    pub(crate) slowness: u64,
    /// Requests that this life took and has not answered.
    pub(crate) taken: BTreeSet<u64>,
    /// When it was last told that another member cannot be reached.
    pub(crate) told_unreachable: BTreeMap<u64, u64>,
    /// It was there from the beginning.
    pub(crate) founder: bool,
    /// It is not started before it is certain, or at least possible, that it was added.
    pub(crate) awaited: bool,
    /// It was removed, knows it and does not start again.
    pub(crate) retired: bool,
}

impl Member {
    pub(crate) fn new(id: u64, disk: Disk) -> Member {
        Member {
            id,
            replica: None,
            life: 0,
            disk,
            log: LogState::default(),
            clock: Clock::default(),
            paused_until: 0,
            flush_due: false,
            fuse: None,
            ends_in_write: false,
            slowness: 1,
            taken: BTreeSet::new(),
            told_unreachable: BTreeMap::new(),
            founder: true,
            awaited: false,
            retired: false,
        }
    }

    /// A member that is to be added.
    pub(crate) fn joining(id: u64, disk: Disk) -> Member {
        Member {
            founder: false,
            awaited: true,
            ..Member::new(id, disk)
        }
    }

    /// Whether there is a process that may be started.
    pub(crate) fn may_start(&self) -> bool {
        !self.is_up() && !self.awaited && !self.retired
    }

    pub(crate) fn is_up(&self) -> bool {
        self.replica.is_some()
    }

    /// The machine of this life.
    pub(crate) fn living(&mut self, life: u64) -> Option<&mut Replica> {
        self.replica.as_mut().filter(|_| self.life == life)
    }

    /// One more effect is carried out; true if the member stops instead.
    pub(crate) fn burns_out(&mut self) -> bool {
        match &mut self.fuse {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Clock;
    use crate::prng::Prng;

    #[test]
    fn clocks_go_forward_within_their_drift() {
        let mut prng = Prng::new(5, "clocks");
        for _ in 0..100 {
            let clock = Clock::draw(&mut prng, 50_000, 1_000);
            let passed = clock.millis(10_001_000) - clock.millis(1_000);
            assert!((9_500..=10_500).contains(&passed), "{clock:?}");
            assert!(clock.true_us(passed).abs_diff(10_000_000) < 2_000);
        }
    }
}
