//! Quorum reads by ReadIndex: many reads share one round, and a round that gets lost is asked again under a new name.

use crate::entry::Origin;
use crate::input::{Millis, RequestId};
use std::collections::BTreeMap;

/// Raft drops a round in silence (no leader, leader new in its term, leader changed): it is asked again after so many ticks.
const RETRY_TICKS: u64 = 4;

pub(crate) struct Reads {
    incarnation: u64,
    next_round: u64,
    ticks: u64,
    fresh: Vec<Read>,
    asked: BTreeMap<u64, Round>,
    /// Confirmed by the quorum at an index that is not applied here yet.
    confirmed: BTreeMap<u64, Vec<Read>>,
}

#[derive(Clone, Copy)]
struct Read {
    id: RequestId,
    deadline: Millis,
}

struct Round {
    tick: u64,
    reads: Vec<Read>,
}

impl Reads {
    pub(crate) fn new(incarnation: u64) -> Reads {
        Reads {
            incarnation,
            next_round: 0,
            ticks: 0,
            fresh: Vec::new(),
            asked: BTreeMap::new(),
            confirmed: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        let asked: usize = self.asked.values().map(|round| round.reads.len()).sum();
        let confirmed: usize = self.confirmed.values().map(Vec::len).sum();
        self.fresh.len() + asked + confirmed
    }

    pub(crate) fn add(&mut self, id: RequestId, deadline: Millis) {
        self.fresh.push(Read { id, deadline });
    }

    /// The context of a new round for all reads that have none, if there are any.
    pub(crate) fn ask(&mut self) -> Option<Vec<u8>> {
        if self.fresh.is_empty() {
            return None;
        }
        let sequence = self.next_round;
        self.next_round += 1;
        let reads = std::mem::take(&mut self.fresh);
        self.asked.insert(
            sequence,
            Round {
                tick: self.ticks,
                reads,
            },
        );
        Some(
            Origin {
                incarnation: self.incarnation,
                sequence,
            }
            .encode(),
        )
    }

    /// The quorum confirmed a round: its reads may be served once `index` is applied.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) {
        let Ok(origin) = Origin::decode(context) else {
            return;
        };
        if origin.incarnation != self.incarnation {
            return;
        }
        if let Some(round) = self.asked.remove(&origin.sequence) {
            self.confirmed.entry(index).or_default().extend(round.reads);
        }
    }

    /// Takes the reads that may be served at this applied index.
    pub(crate) fn take_ready(&mut self, applied: u64) -> Vec<RequestId> {
        if self.confirmed.is_empty() {
            return Vec::new();
        }
        let later = self.confirmed.split_off(&(applied + 1));
        let ready = std::mem::replace(&mut self.confirmed, later);
        ready.into_values().flatten().map(|read| read.id).collect()
    }

    /// A tick has passed: gives up lost rounds, and takes the reads whose time is up.
    pub(crate) fn tick(&mut self, now: Millis) -> Vec<RequestId> {
        self.ticks += 1;
        while let Some(oldest) = self.asked.first_entry() {
            if oldest.get().tick + RETRY_TICKS > self.ticks {
                break;
            }
            self.fresh.extend(oldest.remove().reads);
        }
        let mut late = Vec::new();
        let mut keep = |read: &Read| {
            if read.deadline <= now {
                late.push(read.id);
            }
            read.deadline > now
        };
        self.fresh.retain(&mut keep);
        self.asked
            .values_mut()
            .for_each(|round| round.reads.retain(&mut keep));
        self.confirmed
            .values_mut()
            .for_each(|reads| reads.retain(&mut keep));
        late
    }
}

#[cfg(test)]
mod tests {
    use super::Reads;
    use crate::input::RequestId;

    #[test]
    fn reads_share_a_round_and_wait_for_the_apply() {
        let mut reads = Reads::new(7);
        reads.add(RequestId(1), 100);
        reads.add(RequestId(2), 100);
        let context = reads.ask().expect("two reads wait");
        assert!(reads.ask().is_none());
        reads.confirm(&context, 10);
        assert!(reads.take_ready(9).is_empty());
        assert_eq!(reads.take_ready(10), [RequestId(1), RequestId(2)]);
    }

    #[test]
    fn a_lost_round_is_asked_under_a_new_name_and_its_old_answer_is_void() {
        let mut reads = Reads::new(7);
        reads.add(RequestId(1), 10_000);
        let first = reads.ask().expect("a read waits");
        for _ in 0..4 {
            assert!(reads.tick(0).is_empty());
        }
        let second = reads.ask().expect("the round was given up");
        assert_ne!(first, second);
        reads.confirm(&first, 1);
        assert!(reads.take_ready(1).is_empty());
        reads.confirm(&second, 1);
        assert_eq!(reads.take_ready(1), [RequestId(1)]);
    }

    #[test]
    fn answers_to_another_life_are_void() {
        let mut earlier = Reads::new(6);
        earlier.add(RequestId(1), 100);
        let context = earlier.ask().expect("a read waits");
        let mut reads = Reads::new(7);
        reads.add(RequestId(1), 100);
        reads.ask().expect("a read waits");
        reads.confirm(&context, 1);
        assert!(reads.take_ready(u64::MAX - 1).is_empty());
        assert_eq!(reads.tick(100), [RequestId(1)]);
        assert_eq!(reads.len(), 0);
    }
}
