//! Changes of the membership: which are refused and why, and the log entries that carry the others.

use crate::entry::{self, Origin};
use crate::error::{ChangeError, CodecError};
use crate::members::{Change, Member, Roster};
use prost::Message as _;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2, Entry, EntryType};

/// Members at a time: every one more costs each write a message, and each voter more a vote.
const MAX_MEMBERS: usize = 32;

/// What a leader knows when it is asked for a change.
pub(crate) struct Outlook<'a> {
    pub(crate) roster: &'a Roster,
    /// How far a member's durable log is known to agree with the leader's; the leader's own for itself.
    pub(crate) matched: &'a dyn Fn(u64) -> u64,
    /// Whether a member was heard of within an election time-out.
    pub(crate) alive: &'a dyn Fn(u64) -> bool,
    pub(crate) leader: u64,
    /// A learner must have this much of the leader's log, in percent.
    pub(crate) promotion_percent: u64,
}

/// Whether the change may be proposed.
pub(crate) fn check(change: &Change, outlook: &Outlook<'_>) -> Result<(), ChangeError> {
    let roster = outlook.roster;
    match change {
        Change::AddLearner(member) => check_newcomer(member, roster),
        Change::Promote { id } => {
            check_learner(*id, outlook)?;
            check_quorum(outlook, Some(*id), None)
        }
        Change::Remove { id } => {
            check_known(*id, roster)?;
            if !roster.votes(*id) {
                return Ok(());
            }
            if roster.voters.len() == 1 {
                return Err(ChangeError::LastVoter { id: *id });
            }
            check_quorum(outlook, None, Some(*id))
        }
        Change::Replace { old, new } => {
            check_known(*old, roster)?;
            if !roster.votes(*old) {
                return Err(ChangeError::NotAVoter { id: *old });
            }
            check_learner(*new, outlook)?;
            check_quorum(outlook, Some(*new), Some(*old))
        }
        Change::Update(member) => {
            check_known(member.id, roster)?;
            check_meta(member, roster)
        }
    }
}

fn check_known(id: u64, roster: &Roster) -> Result<(), ChangeError> {
    if roster.removed.contains(&id) {
        Err(ChangeError::Removed { id })
    } else if roster.contains(id) {
        Ok(())
    } else {
        Err(ChangeError::Unknown { id })
    }
}

fn check_newcomer(member: &Member, roster: &Roster) -> Result<(), ChangeError> {
    let id = member.id;
    if roster.removed.contains(&id) {
        return Err(ChangeError::Removed { id });
    }
    if id == 0 || roster.members.contains_key(&id) {
        return Err(ChangeError::Exists { id });
    }
    if roster.members.len() >= MAX_MEMBERS {
        return Err(ChangeError::TooMany { limit: MAX_MEMBERS });
    }
    check_meta(member, roster)
}

fn check_meta(member: &Member, roster: &Roster) -> Result<(), ChangeError> {
    if !member.is_bounded() {
        return Err(ChangeError::TooLarge { id: member.id });
    }
    let others = roster.members.values().filter(|other| other.id != member.id);
    let mut taken = others.flat_map(|other| &other.peer_urls);
    match taken.find(|url| member.peer_urls.contains(url)) {
        Some(url) => Err(ChangeError::PeerUrlExists { url: url.clone() }),
        None => Ok(()),
    }
}

/// A voter that lacks much of the log would take part in each majority without being of use to it.
fn check_learner(id: u64, outlook: &Outlook<'_>) -> Result<(), ChangeError> {
    check_known(id, outlook.roster)?;
    if !outlook.roster.learners.contains(&id) {
        return Err(ChangeError::NotALearner { id });
    }
    let has = (outlook.matched)(id);
    let needed = (outlook.matched)(outlook.leader) / 100 * outlook.promotion_percent
        + (outlook.matched)(outlook.leader) % 100 * outlook.promotion_percent / 100;
    if has < needed || !(outlook.alive)(id) {
        return Err(ChangeError::NotCaughtUp { id, has, needed });
    }
    Ok(())
}

/// Those that are up must be a majority before the change and after it: nobody is there to undo it else.
fn check_quorum(outlook: &Outlook<'_>, joins: Option<u64>, leaves: Option<u64>) -> Result<(), ChangeError> {
    let before = &outlook.roster.voters;
    let mut after = before.clone();
    after.extend(joins);
    if let Some(id) = leaves {
        after.remove(&id);
    }
    for voters in [before, &after] {
        let up = voters.iter().filter(|id| (outlook.alive)(**id)).count();
        let needed = voters.len() / 2 + 1;
        if up < needed {
            return Err(ChangeError::QuorumAtRisk { up, needed });
        }
    }
    Ok(())
}

/// The change as Raft knows it. More than one voter changes by a joint state, which ends by itself.
fn raft_change(change: &Change) -> ConfChangeV2 {
    let single = |kind: ConfChangeType, node_id| ConfChangeSingle {
        change_type: kind as i32,
        node_id,
    };
    let changes = match change {
        Change::AddLearner(member) => vec![single(ConfChangeType::AddLearnerNode, member.id)],
        Change::Promote { id } => vec![single(ConfChangeType::AddNode, *id)],
        Change::Remove { id } => vec![single(ConfChangeType::RemoveNode, *id)],
        Change::Replace { old, new } => vec![
            single(ConfChangeType::AddNode, *new),
            single(ConfChangeType::RemoveNode, *old),
        ],
        // Raft takes member 0 for no change: the entry only keeps its place among the other changes.
        Change::Update(_) => vec![single(ConfChangeType::AddNode, 0)],
    };
    ConfChangeV2 {
        changes,
        ..ConfChangeV2::default()
    }
}

/// An entry to propose. One that adds a member also says what it is added to, so that the newcomer, which knows nothing,
/// can begin with it.
pub(crate) fn encode(origin: Origin, change: &Change, roster: &Roster) -> Entry {
    let mut context = origin.encode();
    let bytes = change.encode();
    context.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    context.extend_from_slice(&bytes);
    if matches!(change, Change::AddLearner(_)) {
        context.extend_from_slice(&roster.encode());
    }
    Entry {
        entry_type: EntryType::EntryConfChangeV2 as i32,
        data: raft_change(change).encode_to_vec(),
        context,
        ..Entry::default()
    }
}

/// The entry that ends a joint state.
pub(crate) fn leave() -> Entry {
    Entry {
        entry_type: EntryType::EntryConfChangeV2 as i32,
        ..Entry::default()
    }
}

/// What a committed entry of this kind does.
pub(crate) enum Step {
    Leave,
    Change {
        origin: Origin,
        change: Box<Change>,
        raft: ConfChangeV2,
        /// What a new member is added to.
        before: Option<Box<Roster>>,
    },
}

/// The parts of an entry made by [`encode`] or [`leave`].
pub(crate) fn decode(entry: &Entry) -> Result<Step, CodecError> {
    if entry.data.is_empty() && entry.context.is_empty() {
        return Ok(Step::Leave);
    }
    let raft = ConfChangeV2::decode(entry.data.as_slice()).map_err(CodecError::Malformed)?;
    let (origin, rest) = entry
        .context
        .split_at_checked(entry::ORIGIN_BYTES)
        .ok_or(CodecError::Membership)?;
    let (length, rest) = rest.split_first_chunk().ok_or(CodecError::Membership)?;
    let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| CodecError::Membership)?;
    let (bytes, roster) = rest.split_at_checked(length).ok_or(CodecError::Membership)?;
    let change = Change::decode(bytes).ok_or(CodecError::Membership)?;
    if raft != raft_change(&change) {
        return Err(CodecError::Membership);
    }
    let before = match (&change, roster) {
        (Change::AddLearner(_), bytes) => Some(Box::new(Roster::decode(bytes)?)),
        (_, []) => None,
        (_, [..]) => return Err(CodecError::Membership),
    };
    Ok(Step::Change {
        origin: Origin::decode(origin)?,
        change: Box::new(change),
        raft,
        before,
    })
}

/// What a log entry does to the membership, for those who follow the log from outside: none if it is another entry or
/// does not decode, `Some(None)` if it ends a joint state.
pub fn membership_change(entry: &Entry) -> Option<Option<Change>> {
    if entry::is_normal(entry) {
        return None;
    }
    match decode(entry).ok()? {
        Step::Leave => Some(None),
        Step::Change { change, .. } => Some(Some(*change)),
    }
}

#[cfg(test)]
mod tests;
