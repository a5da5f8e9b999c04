//! Proposals that wait for their answer. Each leaves this table once, with the one reply it gets.

use crate::input::{Millis, RequestId};
use std::collections::BTreeMap;

#[derive(Default)]
pub(crate) struct Pending {
    next: u64,
    /// By sequence; as deadlines rise with it, the first one is always the next to time out.
    waiting: BTreeMap<u64, Waiter>,
    /// Where in the log this member, as leader, put a proposal: index to sequence.
    placed: BTreeMap<u64, u64>,
}

struct Waiter {
    id: RequestId,
    deadline: Millis,
}

/// What became of the proposal placed at an index, when that index was applied.
pub(crate) struct Settled {
    /// The proposal that was applied just now and waits here.
    pub(crate) answered: Option<RequestId>,
    /// The proposal that had been put at this index and lost its place to another leader's entry.
    pub(crate) superseded: Option<RequestId>,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a waiter and gives the sequence that its entry carries.
    pub(crate) fn add(&mut self, id: RequestId, deadline: Millis) -> u64 {
        let sequence = self.next;
        self.next += 1;
        self.waiting.insert(sequence, Waiter { id, deadline });
        sequence
    }

    /// The proposal stands in this member's log. An older one at the same index was cut off here, but may live on in
    /// another member's log: it keeps waiting.
    pub(crate) fn place(&mut self, sequence: u64, index: u64) {
        self.placed.insert(index, sequence);
    }

    /// Takes back a proposal that Raft refused.
    pub(crate) fn refuse(&mut self, sequence: u64) -> Option<RequestId> {
        self.waiting.remove(&sequence).map(|waiter| waiter.id)
    }

    /// The entry at `index` is applied; `own` is its sequence if it came from this life of this member.
    pub(crate) fn settle(&mut self, index: u64, own: Option<u64>) -> Settled {
        let placed = self
            .placed
            .remove(&index)
            .filter(|sequence| own != Some(*sequence));
        Settled {
            answered: own.and_then(|sequence| self.refuse(sequence)),
            superseded: placed.and_then(|sequence| self.refuse(sequence)),
        }
    }

    /// Takes those placed at or before an index that a snapshot jumped over.
    pub(crate) fn jump(&mut self, index: u64) -> Vec<RequestId> {
        let beyond = self.placed.split_off(&(index + 1));
        let passed = std::mem::replace(&mut self.placed, beyond);
        passed
            .into_values()
            .filter_map(|sequence| self.refuse(sequence))
            .collect()
    }

    /// Takes those whose time is up.
    pub(crate) fn expire(&mut self, now: Millis) -> Vec<RequestId> {
        let mut expired = Vec::new();
        while let Some(first) = self.waiting.first_entry() {
            if first.get().deadline > now {
                break;
            }
            expired.push(first.remove().id);
        }
        if !expired.is_empty() {
            let waiting = &self.waiting;
            self.placed.retain(|_, sequence| waiting.contains_key(sequence));
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::Pending;
    use crate::input::RequestId;

    #[test]
    fn a_proposal_is_answered_once() {
        let mut pending = Pending::default();
        let sequence = pending.add(RequestId(9), 100);
        pending.place(sequence, 5);
        assert_eq!(pending.settle(5, Some(sequence)).answered, Some(RequestId(9)));
        assert!(pending.settle(6, Some(sequence)).answered.is_none());
        assert!(pending.expire(1_000).is_empty());
    }

    #[test]
    fn a_foreign_entry_at_its_place_supersedes_it() {
        let mut pending = Pending::default();
        let sequence = pending.add(RequestId(9), 100);
        pending.place(sequence, 5);
        let settled = pending.settle(5, None);
        assert!(settled.answered.is_none());
        assert_eq!(settled.superseded, Some(RequestId(9)));
        assert_eq!(pending.len(), 0);
    }

    #[test]
    fn a_proposal_cut_off_and_committed_elsewhere_is_still_answered() {
        let mut pending = Pending::default();
        let first = pending.add(RequestId(1), 100);
        pending.place(first, 5);
        let second = pending.add(RequestId(2), 100);
        pending.place(second, 5);
        let settled = pending.settle(5, Some(first));
        assert_eq!(settled.answered, Some(RequestId(1)));
        assert_eq!(settled.superseded, Some(RequestId(2)));
    }

    #[test]
    fn time_runs_out_in_order_and_a_jump_answers_what_it_passes() {
        let mut pending = Pending::default();
        for (id, deadline) in [(1, 10), (2, 20), (3, 30)] {
            let sequence = pending.add(RequestId(id), deadline);
            pending.place(sequence, id);
        }
        assert_eq!(pending.expire(10), [RequestId(1)]);
        assert_eq!(pending.jump(2), [RequestId(2)]);
        assert_eq!(pending.len(), 1);
    }
}
