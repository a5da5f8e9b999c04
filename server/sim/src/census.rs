//! The membership by every committed change, worked out once more and by other means than the members do it.

use crate::invariants::{Checked, Invariant, require};
use berth_replica::{Change, Roster};
use std::collections::BTreeSet;

/// All memberships so far.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Each with the index of the entry that led to it; the first is the founders'.
    steps: Vec<(u64, Roster)>,
    made: Vec<Change>,
    known: BTreeSet<u64>,
}

impl Census {
    pub(crate) fn new(founders: &[u64]) -> Census {
        Census {
            steps: vec![(0, Roster::founding(founders))],
            made: Vec::new(),
            known: founders.iter().copied().collect(),
        }
    }

    /// As of an applied entry.
    pub(crate) fn at(&self, index: u64) -> Option<&Roster> {
        let later = self.steps.partition_point(|(at, _)| *at <= index);
        self.steps.get(later.checked_sub(1)?).map(|(_, roster)| roster)
    }

    pub(crate) fn newest(&self) -> Option<&Roster> {
        self.steps.last().map(|(_, roster)| roster)
    }

    pub(crate) fn has_made(&self, change: &Change) -> bool {
        self.made.contains(change)
    }

    pub(crate) fn has_known(&self, id: u64) -> bool {
        self.known.contains(&id)
    }

    /// Whether these holders are enough to commit an entry: a majority by the membership before it, or by the one before
    /// that, for a leader may commit a change together with what follows it.
    pub(crate) fn is_quorum(&self, index: u64, holds: impl Fn(u64) -> bool) -> bool {
        let before = self.steps.partition_point(|(at, _)| *at < index);
        let in_force = &self.steps[before.saturating_sub(2)..before];
        in_force.iter().any(|(_, roster)| roster.is_quorum(&holds))
    }

    /// An entry that changes the membership is committed; none ends a joint state.
    pub(crate) fn commit(&mut self, index: u64, change: Option<Change>) -> Checked {
        let mut roster = self.newest().cloned().unwrap_or_default();
        let joint = roster.is_joint();
        let legal = match &change {
            None => {
                roster.outgoing.clear();
                roster.auto_leave = false;
                true
            }
            Some(Change::AddLearner(member)) => {
                roster.members.insert(member.id, member.clone());
                roster.learners.insert(member.id) && self.known.insert(member.id)
            }
            Some(Change::Promote { id }) => roster.learners.remove(id) && roster.voters.insert(*id),
            Some(Change::Remove { id }) => {
                let there = roster.learners.remove(id) || roster.voters.remove(id);
                there && !roster.voters.is_empty()
            }
            Some(Change::Replace { old, new }) => {
                roster.outgoing = roster.voters.clone();
                roster.auto_leave = true;
                roster.voters.remove(old) && roster.learners.remove(new) && roster.voters.insert(*new)
            }
            Some(Change::Update(member)) => roster.members.insert(member.id, member.clone()).is_some(),
        };
        require(
            legal && (change.is_none() || !joint),
            Invariant::Membership,
            || format!("{change:?} is committed at {index} after {:?}", self.newest()),
        )?;
        let gone: Vec<u64> = roster
            .members
            .keys()
            .copied()
            .filter(|id| !roster.contains(*id))
            .collect();
        for id in gone {
            roster.members.remove(&id);
            roster.removed.insert(id);
        }
        self.made.extend(change);
        self.steps.push((index, roster));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Census;
    use berth_replica::{Change, Member};

    #[test]
    fn a_replacement_counts_in_both_sets_and_no_id_comes_back() {
        let mut census = Census::new(&[1, 2, 3]);
        census
            .commit(5, Some(Change::AddLearner(Member::bare(4))))
            .unwrap();
        census
            .commit(6, Some(Change::Replace { old: 1, new: 4 }))
            .unwrap();
        census.commit(8, None).unwrap();
        assert!(census.at(7).unwrap().is_joint());
        assert!(census.is_quorum(9, |id| id != 2));
        assert!(!census.is_quorum(9, |id| id > 3));
        assert!(census.newest().unwrap().removed.contains(&1));
        assert!(
            census
                .commit(9, Some(Change::AddLearner(Member::bare(1))))
                .is_err()
        );
    }
}
