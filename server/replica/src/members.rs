//! Who belongs to the cluster: the members, what they do, and those that once belonged. Replicated state, changed only by
//! committed entries of their own kind and carried by every image.

use crate::error::CodecError;
use raft::eraftpb::ConfState;
use std::collections::{BTreeMap, BTreeSet};

mod bytes;

/// A name is at most so long.
pub(crate) const MAX_NAME_BYTES: usize = 256;
/// A member has at most so many URLs of each kind.
pub(crate) const MAX_URLS: usize = 8;
/// A URL is at most so long.
pub(crate) const MAX_URL_BYTES: usize = 512;

/// What the members know about one of them. Raft needs the id only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// Never 0, and never used again after its removal.
    pub id: u64,
    /// Empty until it has started.
    pub name: String,
    /// Where other members reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; empty until it has started.
    pub client_urls: Vec<String>,
}

impl Member {
    /// A member of which only the id is known.
    pub fn bare(id: u64) -> Member {
        Member {
            id,
            ..Member::default()
        }
    }

    pub(crate) fn is_bounded(&self) -> bool {
        let urls = [&self.peer_urls, &self.client_urls];
        let bounded =
            |urls: &&Vec<String>| urls.len() <= MAX_URLS && urls.iter().all(|url| url.len() <= MAX_URL_BYTES);
        self.name.len() <= MAX_NAME_BYTES && urls.iter().all(bounded)
    }
}

/// A wished change of the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new member that receives everything and has no vote. Each member begins so.
    AddLearner(Member),
    /// A learner that has caught up gets a vote.
    Promote {
        /// The learner.
        id: u64,
    },
    /// A member leaves for ever.
    Remove {
        /// The member.
        id: u64,
    },
    /// A learner that has caught up takes a voter's place in one step; the voter leaves for ever.
    Replace {
        /// The voter.
        old: u64,
        /// The learner.
        new: u64,
    },
    /// The name and URLs of a member are others now.
    Update(Member),
}

/// The membership as of one log entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster {
    /// Who votes.
    pub voters: BTreeSet<u64>,
    /// Who receives without a vote.
    pub learners: BTreeSet<u64>,
    /// Between two sets of voters: the earlier set, whose majority counts as well.
    pub outgoing: BTreeSet<u64>,
    /// Voters of the earlier set that will be learners.
    pub learners_next: BTreeSet<u64>,
    /// The state between two sets of voters ends by itself.
    pub auto_leave: bool,
    /// All of the above.
    pub members: BTreeMap<u64, Member>,
    /// Those that left: their ids are never used again.
    pub removed: BTreeSet<u64>,
}

impl Roster {
    /// The members of a cluster that starts from nothing.
    pub fn founding(voters: &[u64]) -> Roster {
        Roster {
            voters: voters.iter().copied().collect(),
            members: voters.iter().map(|id| (*id, Member::bare(*id))).collect(),
            ..Roster::default()
        }
    }

    /// Nothing is known yet: the state of a member that joins.
    pub fn is_empty(&self) -> bool {
        self.voters.is_empty()
    }

    /// Whether it takes part, with or without a vote.
    pub fn contains(&self, id: u64) -> bool {
        self.votes(id) || self.learners.contains(&id) || self.learners_next.contains(&id)
    }

    /// Whether it has a vote now.
    pub fn votes(&self, id: u64) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// Whether two sets of voters count.
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether those for which it holds are a majority, of each set of voters.
    pub fn is_quorum(&self, holds: impl Fn(u64) -> bool) -> bool {
        let majority = |set: &BTreeSet<u64>| set.iter().filter(|id| holds(**id)).count() > set.len() / 2;
        majority(&self.voters) && (!self.is_joint() || majority(&self.outgoing))
    }

    /// The bytes, for an image.
    pub fn encode(&self) -> Vec<u8> {
        bytes::roster(self)
    }

    /// A roster from its bytes, whole and sound.
    pub fn decode(bytes: &[u8]) -> Result<Roster, CodecError> {
        let roster = bytes::read_roster(bytes).ok_or(CodecError::Membership)?;
        if roster.is_sound() {
            Ok(roster)
        } else {
            Err(CodecError::Membership)
        }
    }

    /// Whether Raft can go on from it: from anything else it would panic.
    pub(crate) fn is_sound(&self) -> bool {
        let sets = [&self.voters, &self.learners, &self.outgoing, &self.learners_next];
        let voting = |id: &u64| self.votes(*id);
        let known = |id: &u64| *id != 0 && self.members.contains_key(id) && !self.removed.contains(id);
        sets.iter().all(|set| set.iter().all(known))
            && self
                .members
                .iter()
                .all(|(id, member)| self.contains(*id) && member.id == *id)
            && !self.learners.iter().any(voting)
            && self.learners_next.is_subset(&self.outgoing)
            && self.learners_next.is_disjoint(&self.voters)
            && (self.is_joint() || !self.auto_leave)
            && (!self.voters.is_empty() || self.members.is_empty())
    }

    pub(crate) fn conf_state(&self) -> ConfState {
        let list = |set: &BTreeSet<u64>| set.iter().copied().collect();
        ConfState {
            voters: list(&self.voters),
            learners: list(&self.learners),
            voters_outgoing: list(&self.outgoing),
            learners_next: list(&self.learners_next),
            auto_leave: self.auto_leave,
        }
    }

    /// The roster that Raft's state alone tells of, with bare members.
    pub(crate) fn bare(conf: &ConfState) -> Roster {
        let mut roster = Roster::default();
        roster.set(conf);
        let sets = [
            &conf.voters,
            &conf.learners,
            &conf.voters_outgoing,
            &conf.learners_next,
        ];
        for id in sets.into_iter().flatten() {
            roster.members.insert(*id, Member::bare(*id));
        }
        roster
    }

    /// Raft has gone on to this state; who is in it no more has left for ever.
    pub(crate) fn adopt(&mut self, conf: &ConfState) {
        self.set(conf);
        let members = std::mem::take(&mut self.members);
        for (id, member) in members {
            if self.contains(id) {
                self.members.insert(id, member);
            } else {
                self.removed.insert(id);
            }
        }
    }

    fn set(&mut self, conf: &ConfState) {
        let set = |list: &[u64]| list.iter().copied().collect();
        self.voters = set(&conf.voters);
        self.learners = set(&conf.learners);
        self.outgoing = set(&conf.voters_outgoing);
        self.learners_next = set(&conf.learners_next);
        self.auto_leave = conf.auto_leave;
    }
}

impl Change {
    /// Who leaves by it.
    pub(crate) fn removes(&self) -> Option<u64> {
        match self {
            Change::Remove { id } | Change::Replace { old: id, .. } => Some(*id),
            Change::AddLearner(_) | Change::Promote { .. } | Change::Update(_) => None,
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        bytes::change(self)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Change> {
        bytes::read_change(bytes)
    }
}

#[cfg(test)]
mod tests;
