//! Which faults a seed gets: a random subset with random rates, so that no fault always hides another.

use crate::prng::{Prng, WHOLE};
use crate::reduction::Reduction;

/// What a fault does when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One member stops between two inputs, somewhere in what its disk is doing.
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
    /// Each member only hears its neighbours in a ring.
    Ring,
    /// One link takes very long.
    Clog,
    /// One member's disk refuses a step, and the member stops.
    DiskError,
    /// One member's disk is full for a while.
    FullDisk,
    /// One member stops, and a bit on its disk changes.
    Rot,
    /// The leader hands its office to somebody.
    HandOver,
}

/// What every cluster can suffer, and what takes more than one member.
const ALONE: [Fault; 8] = [
    Fault::Crash,
    Fault::CrashMidway,
    Fault::PowerCut,
    Fault::Pause,
    Fault::SlowDisk,
    Fault::DiskError,
    Fault::FullDisk,
    Fault::Rot,
];
const TOGETHER: [Fault; 7] = [
    Fault::Partition,
    Fault::OneWay,
    Fault::IsolateLeader,
    Fault::Storm,
    Fault::Ring,
    Fault::Clog,
    Fault::HandOver,
];

impl Fault {
    /// The one of that name, as `Debug` writes it.
    pub fn named(name: &str) -> Option<Fault> {
        let all = ALONE.into_iter().chain(TOGETHER);
        all.into_iter().find(|fault| format!("{fault:?}") == name)
    }
}

/// The draw of one seed. Chances are counted in [`WHOLE`].
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    pub(crate) enabled: Vec<Fault>,
    /// Typical time between two of them.
    pub(crate) gap_us: u64,
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) corrupt: u64,
    pub(crate) delay_us: u64,
    pub(crate) transfer_loss: u64,
    pub(crate) transfer_us: u64,
    pub(crate) sync_us: u64,
    pub(crate) image_us: u64,
    pub(crate) image_loss: u64,
    /// The power goes during a recovery.
    pub(crate) recovery_cut: u64,
    /// How far the members' clocks are from true speed, at most, in millionths.
    pub(crate) drift_ppm: u64,
    /// Several inputs are taken before the effects of all are carried out.
    pub(crate) batching: bool,
    /// One sync covers all writes that wait for it.
    pub(crate) group_commit: bool,
    /// The size of a log segment: small, so that a run sees many.
    pub(crate) segment_bytes: u64,
    pub(crate) load_us: u64,
}

impl Faults {
    pub(crate) fn draw(prng: &mut Prng, members: u64, reduction: &Reduction) -> Faults {
        let mut possible = ALONE.to_vec();
        if members > 1 {
            possible.extend(TOGETHER);
        }
        let enabled = possible.into_iter().filter(|_| prng.coin()).collect();
        let rate = |prng: &mut Prng, highest| if prng.coin() { prng.between(1, highest) } else { 0 };
        let mut faults = Faults {
            enabled,
            gap_us: prng.between(400_000, 4_000_000),
            drop: rate(prng, WHOLE / 8),
            duplicate: rate(prng, WHOLE / 10),
            corrupt: rate(prng, WHOLE / 50),
            delay_us: prng.between(200, 8_000),
            transfer_loss: rate(prng, WHOLE / 2),
            transfer_us: prng.between(2_000, 400_000),
            sync_us: prng.between(50, 12_000),
            image_us: prng.between(1_000, 900_000),
            image_loss: rate(prng, WHOLE / 3),
            recovery_cut: rate(prng, WHOLE / 2),
            drift_ppm: rate(prng, 50_000),
            batching: prng.coin(),
            group_commit: prng.coin(),
            segment_bytes: 1 << prng.between(11, 14),
            load_us: prng.between(12_000_000, 40_000_000),
        };
        faults.reduce(reduction);
        faults
    }

    /// Everything is drawn as without the reduction, so that what is left stays the same.
    fn reduce(&mut self, reduction: &Reduction) {
        self.load_us = self.load_us.min(reduction.load_us.unwrap_or(u64::MAX));
        for rate in &reduction.quiet {
            let own = match rate {
                Rate::Drop => &mut self.drop,
                Rate::Duplicate => &mut self.duplicate,
                Rate::Corrupt => &mut self.corrupt,
                Rate::TransferLoss => &mut self.transfer_loss,
                Rate::ImageLoss => &mut self.image_loss,
                Rate::RecoveryCut => &mut self.recovery_cut,
                Rate::Drift => &mut self.drift_ppm,
            };
            *own = 0;
        }
    }
}

/// A fault that strikes by chance, not in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Messages are lost.
    Drop,
    /// Messages come twice.
    Duplicate,
    /// Messages are damaged.
    Corrupt,
    /// Images are lost on their way.
    TransferLoss,
    /// Images cannot be written.
    ImageLoss,
    /// The power goes during a recovery.
    RecoveryCut,
    /// Clocks are too fast or too slow.
    Drift,
}

impl Rate {
    /// All of them.
    pub const ALL: [Rate; 7] = [
        Rate::Drop,
        Rate::Duplicate,
        Rate::Corrupt,
        Rate::TransferLoss,
        Rate::ImageLoss,
        Rate::RecoveryCut,
        Rate::Drift,
    ];

    /// The one of that name, as `Debug` writes it.
    pub fn named(name: &str) -> Option<Rate> {
        Rate::ALL.into_iter().find(|rate| format!("{rate:?}") == name)
    }
}
