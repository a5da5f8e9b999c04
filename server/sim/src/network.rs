//! The network between the members: what is lost, late, doubled or overtaken, and who cannot hear whom.

use crate::faults::Faults;
use crate::prng::{Prng, WHOLE};
use std::collections::BTreeSet;

/// A second copy may come this much later, when elections and restarts lie between.
const LATE_COPY_US: u64 = 6_000_000;

/// How much longer a clogged link takes: longer than an election time-out, and out of order with what comes after.
const CLOG_US: u64 = 2_500_000;

/// What becomes of one transfer of an image.
#[derive(Debug)]
pub(crate) struct Transfer {
    /// When it arrives, if it does.
    pub(crate) arrival: Option<u64>,
    /// When the sender is told, and what.
    pub(crate) report: (u64, bool),
}

#[derive(Debug)]
pub(crate) struct Network {
    prng: Prng,
    drop: u64,
    duplicate: u64,
    corrupt: u64,
    delay_us: u64,
    transfer_loss: u64,
    transfer_us: u64,
    /// One link takes so much longer.
    clogged: Option<(u64, u64)>,
    /// Links from one member to another that lose everything.
    blocked: BTreeSet<(u64, u64)>,
    storm: bool,
}

impl Network {
    pub(crate) fn new(seed: u64, faults: &Faults) -> Network {
        Network {
            prng: Prng::new(seed, "network"),
            drop: faults.drop,
            duplicate: faults.duplicate,
            corrupt: faults.corrupt,
            clogged: None,
            delay_us: faults.delay_us,
            transfer_loss: faults.transfer_loss,
            transfer_us: faults.transfer_us,
            blocked: BTreeSet::new(),
            storm: false,
        }
    }

    /// After how long each copy of a message arrives; none is a loss.
    pub(crate) fn send(&mut self, from: u64, to: u64) -> Vec<u64> {
        let lost = if self.storm { WHOLE / 2 } else { self.drop };
        let mut arrivals = Vec::new();
        if !self.prng.chance(lost) && !self.blocks(from, to) {
            let clogged = self.clogged == Some((from, to));
            let clog = if clogged { CLOG_US } else { 0 };
            arrivals.push(clog + self.prng.long_tailed(self.delay_us));
        }
        if self.prng.chance(self.duplicate) && !self.blocks(from, to) {
            arrivals.push(self.prng.below(LATE_COPY_US));
        }
        arrivals
    }

    /// Whether a message is damaged on its way, and which of its bytes.
    pub(crate) fn damage(&mut self, length: usize) -> Option<usize> {
        if !self.prng.chance(self.corrupt) {
            return None;
        }
        usize::try_from(self.prng.below(length as u64)).ok()
    }

    pub(crate) fn transfer(&mut self, from: u64, to: u64) -> Transfer {
        let takes = self.prng.long_tailed(self.transfer_us);
        let back = self.prng.long_tailed(self.delay_us);
        let cut = self.prng.chance(self.transfer_loss) || self.blocks(from, to);
        // The connection can also break when everything has arrived: the sender only sees that it broke.
        let arrives = !cut || !self.blocks(from, to) && self.prng.chance(WHOLE / 4);
        Transfer {
            arrival: arrives.then_some(takes),
            report: (takes + back, !cut),
        }
    }

    pub(crate) fn blocks(&self, from: u64, to: u64) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// Replaces the links that lose everything.
    pub(crate) fn block(&mut self, links: impl IntoIterator<Item = (u64, u64)>) {
        self.blocked = links.into_iter().collect();
    }

    /// One link takes very long from now on.
    pub(crate) fn clog(&mut self, link: Option<(u64, u64)>) {
        self.clogged = link;
    }

    pub(crate) fn set_storm(&mut self, storm: bool) {
        self.storm = storm;
    }

    /// From now on nothing is lost or doubled.
    pub(crate) fn calm(&mut self) {
        self.blocked.clear();
        self.storm = false;
        self.clogged = None;
        self.drop = 0;
        self.corrupt = 0;
        self.duplicate = 0;
        self.transfer_loss = 0;
    }
}

/// Every link, in both directions, between one side and the rest.
pub(crate) fn split(members: &[u64], side: &[u64]) -> Vec<(u64, u64)> {
    let mut links = Vec::new();
    for a in members {
        for b in members {
            if side.contains(a) != side.contains(b) {
                links.push((*a, *b));
            }
        }
    }
    links
}

/// Every link but those between neighbours in a ring.
pub(crate) fn ring(members: &[u64]) -> Vec<(u64, u64)> {
    let count = members.len();
    let mut links = Vec::new();
    for (a, from) in members.iter().enumerate() {
        for (b, to) in members.iter().enumerate() {
            let apart = a.abs_diff(b);
            if apart > 1 && apart + 1 < count {
                links.push((*from, *to));
            }
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::{Network, split};
    use crate::faults::Faults;
    use crate::prng::Prng;
    use crate::reduction::Reduction;

    #[test]
    fn blocked_links_lose_all_and_calm_ends_it() {
        let faults = Faults::draw(&mut Prng::new(3, "faults"), 3, &Reduction::default());
        let mut network = Network::new(3, &faults);
        network.block(split(&[1, 2, 3], &[1]));
        assert!((0..100).all(|_| network.send(1, 2).is_empty() && network.send(3, 1).is_empty()));
        assert!((0..100).all(|_| network.transfer(1, 3).arrival.is_none()));
        network.calm();
        assert!((0..100).all(|_| network.send(1, 2).len() == 1));
        assert!((0..100).all(|_| {
            let transfer = network.transfer(1, 2);
            transfer.arrival.is_some() && transfer.report.1
        }));
    }
}
