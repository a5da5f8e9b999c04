//! Which faults a seed gets: a random subset with random rates, so that no fault always hides another.

use crate::prng::{Prng, WHOLE};

/// What a fault does when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One member stops between two inputs.
    Crash,
    /// One member stops in the middle of carrying out effects.
    CrashMidway,
    /// All stop at once.
    PowerCut,
    /// Two sides that hear nothing of each other.
    Partition,
    /// Some links lose everything in one direction.
    OneWay,
    /// The leader is cut off from everybody.
    IsolateLeader,
    /// One member stands still for a while, then finds everything at once.
    Pause,
    /// One member's disk takes long.
    SlowDisk,
    /// Half of all messages are lost for a while.
    Storm,
}

/// What every cluster can suffer, and what takes more than one member.
const ALONE: [Fault; 5] = [
    Fault::Crash,
    Fault::CrashMidway,
    Fault::PowerCut,
    Fault::Pause,
    Fault::SlowDisk,
];
const TOGETHER: [Fault; 4] = [
    Fault::Partition,
    Fault::OneWay,
    Fault::IsolateLeader,
    Fault::Storm,
];

/// The draw of one seed. Chances are counted in [`WHOLE`].
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) enabled: Vec<Fault>,
    /// Typical time between two of them.
    pub(crate) gap_us: u64,
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay_us: u64,
    pub(crate) transfer_loss: u64,
    pub(crate) transfer_us: u64,
    pub(crate) sync_us: u64,
    pub(crate) image_us: u64,
    pub(crate) image_loss: u64,
    /// How far the members' clocks are from true speed, at most, in millionths.
    pub(crate) drift_ppm: u64,
    /// Several inputs are taken before the effects of all are carried out.
    pub(crate) batching: bool,
    /// One sync covers all writes that wait for it.
    pub(crate) group_commit: bool,
    pub(crate) load_us: u64,
}

impl Faults {
    pub(crate) fn draw(prng: &mut Prng, members: u64) -> Faults {
        let mut possible = ALONE.to_vec();
        if members > 1 {
            possible.extend(TOGETHER);
        }
        let enabled = possible.into_iter().filter(|_| prng.coin()).collect();
        let rate = |prng: &mut Prng, highest| if prng.coin() { prng.between(1, highest) } else { 0 };
        Faults {
            enabled,
            gap_us: prng.between(400_000, 4_000_000),
            drop: rate(prng, WHOLE / 8),
            duplicate: rate(prng, WHOLE / 10),
            delay_us: prng.between(200, 8_000),
            transfer_loss: rate(prng, WHOLE / 2),
            transfer_us: prng.between(2_000, 400_000),
            sync_us: prng.between(50, 12_000),
            image_us: prng.between(1_000, 900_000),
            image_loss: rate(prng, WHOLE / 3),
            drift_ppm: rate(prng, 50_000),
            batching: prng.coin(),
            group_commit: prng.coin(),
            load_us: prng.between(12_000_000, 40_000_000),
        }
    }
}
