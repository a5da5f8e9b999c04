//! What may reach Raft from another member. raft-rs 0.7 panics on several messages that no honest member sends;
//! whatever is refused here is dropped, as the network might have done.

use crate::entry;
use crate::log::Log;
use crate::members::Roster;
use crate::ready;
use raft::Storage as _;
use raft::eraftpb::{EntryType, Message, MessageType};

/// A term this far ahead is not one that elections lead to; taking it would exhaust the number.
const MAX_TERM_JUMP: u64 = 1 << 20;

/// Contexts are made by this crate and by Raft (the reason of a campaign), and are all shorter than this.
const MAX_CONTEXT_BYTES: usize = 32;

/// What the message is held against.
pub(crate) struct Receiver<'a> {
    pub(crate) id: u64,
    pub(crate) log: &'a Log,
    pub(crate) term: u64,
    pub(crate) commit: u64,
    pub(crate) last: u64,
    pub(crate) leads: bool,
    /// The leader it follows, 0 if unknown.
    pub(crate) leader: u64,
    /// Raft can stand for election now without a panic.
    pub(crate) may_campaign: bool,
    pub(crate) roster: &'a Roster,
}

/// Why a message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Address,
    /// The sender has left the cluster for ever.
    Removed,
    Kind,
    Term,
    Entries,
    Index,
    Context,
    Snapshot,
    NotLeader,
}

/// Whether the message may be stepped.
pub(crate) fn check(message: &Message, receiver: &Receiver<'_>) -> Result<(), Refusal> {
    require(
        message.to == receiver.id && message.from != receiver.id,
        Refusal::Address,
    )?;
    require(message.context.len() <= MAX_CONTEXT_BYTES, Refusal::Context)?;
    require(
        message.request_snapshot == 0 && message.priority == 0,
        Refusal::Kind,
    )?;
    let kind = MessageType::from_i32(message.msg_type).ok_or(Refusal::Kind)?;
    check_sender(kind, message.from, receiver)?;
    check_term(kind, message, receiver)?;
    require(
        kind == MessageType::MsgSnapshot || message.snapshot.is_none(),
        Refusal::Snapshot,
    )?;
    match kind {
        MessageType::MsgAppend => check_append(message, receiver),
        MessageType::MsgHeartbeat => {
            let current = message.term >= receiver.term;
            require(!current || message.commit <= receiver.last, Refusal::Index)
        }
        MessageType::MsgAppendResponse => {
            let known = message.index <= receiver.last && message.reject_hint <= receiver.last;
            require(known || message.term != receiver.term, Refusal::Index)
        }
        MessageType::MsgSnapshot => check_snapshot(message, receiver),
        MessageType::MsgPropose => check_forward(message, receiver),
        MessageType::MsgReadIndex => {
            require(receiver.leads, Refusal::NotLeader)?;
            check_read(message)
        }
        MessageType::MsgReadIndexResp => check_read(message),
        MessageType::MsgRequestVote
        | MessageType::MsgRequestVoteResponse
        | MessageType::MsgRequestPreVote
        | MessageType::MsgRequestPreVoteResponse
        | MessageType::MsgHeartbeatResponse => require(message.entries.is_empty(), Refusal::Entries),
        MessageType::MsgHup
        | MessageType::MsgBeat
        | MessageType::MsgUnreachable
        | MessageType::MsgSnapStatus
        | MessageType::MsgCheckQuorum
        | MessageType::MsgTransferLeader => Err(Refusal::Kind),
        MessageType::MsgTimeoutNow => {
            let current = message.term == receiver.term && message.from == receiver.leader;
            require(current && receiver.may_campaign, Refusal::NotLeader)?;
            require(message.entries.is_empty(), Refusal::Entries)
        }
    }
}

fn require(holds: bool, otherwise: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(otherwise) }
}

/// Who is not known here may have been added meanwhile, and this member has to follow it or vote for it to learn of that:
/// so a stranger may lead and stand for election, and do nothing else. A member that has left may do nothing but hand on
/// the leadership that it held.
fn check_sender(kind: MessageType, from: u64, receiver: &Receiver<'_>) -> Result<(), Refusal> {
    let hands_on = kind == MessageType::MsgTimeoutNow && from == receiver.leader;
    require(
        hands_on || !receiver.roster.removed.contains(&from),
        Refusal::Removed,
    )?;
    let leads_or_stands = matches!(
        kind,
        MessageType::MsgAppend
            | MessageType::MsgHeartbeat
            | MessageType::MsgSnapshot
            | MessageType::MsgRequestVote
            | MessageType::MsgRequestPreVote
    );
    let known = from != 0 && (leads_or_stands || receiver.roster.contains(from));
    require(hands_on || known, Refusal::Address)
}

/// Raft takes term 0 for a message of its own; from outside only a read that asks the leader carries none.
fn check_term(kind: MessageType, message: &Message, receiver: &Receiver<'_>) -> Result<(), Refusal> {
    if kind == MessageType::MsgReadIndex {
        return require(message.term == 0, Refusal::Term);
    }
    let highest = receiver.term.saturating_add(MAX_TERM_JUMP);
    require(message.term != 0 && message.term <= highest, Refusal::Term)
}

fn check_append(message: &Message, receiver: &Receiver<'_>) -> Result<(), Refusal> {
    // Raft gives places beyond its log the term 0, and would find that an entry of such a term is there.
    require((message.index == 0) == (message.log_term == 0), Refusal::Index)?;
    let mut term = message.log_term.max(1);
    let mut index = message.index;
    for entry in &message.entries {
        require(entry.index.checked_sub(1) == Some(index), Refusal::Entries)?;
        require(entry.term >= term && entry.term <= message.term, Refusal::Entries)?;
        require(EntryType::from_i32(entry.entry_type).is_some(), Refusal::Entries)?;
        index = entry.index;
        term = entry.term;
    }
    // What is committed here is in every later leader's log, so the entry it appends behind cannot be of an older term.
    // Raft would search for such a term below the start of the log.
    let committed = receiver.log.term(receiver.commit).unwrap_or(0);
    let behind = message.index >= receiver.commit && message.log_term < committed;
    require(message.term < receiver.term || !behind, Refusal::Index)
}

/// The membership must be one that Raft can go on from, with this member in it.
fn check_snapshot(message: &Message, receiver: &Receiver<'_>) -> Result<(), Refusal> {
    let mark = message.snapshot.as_ref().and_then(ready::mark_of);
    let mark = mark.ok_or(Refusal::Snapshot)?;
    require(mark.roster.contains(receiver.id), Refusal::Snapshot)?;
    require(
        mark.index > 0 && mark.term > 0 && mark.term <= message.term,
        Refusal::Snapshot,
    )
}

/// A forwarded write. It names the term in which its sender followed this leader, so a copy that arrives in another
/// term is dropped; within the term the leader knows what it took already.
fn check_forward(message: &Message, receiver: &Receiver<'_>) -> Result<(), Refusal> {
    require(
        receiver.leads && message.term == receiver.term,
        Refusal::NotLeader,
    )?;
    let valid = message
        .entries
        .iter()
        .all(|entry| entry::is_normal(entry) && entry::decode(entry).is_ok());
    require(valid && !message.entries.is_empty(), Refusal::Entries)
}

fn check_read(message: &Message) -> Result<(), Refusal> {
    match message.entries.as_slice() {
        [only] => require(
            !only.data.is_empty() && only.data.len() <= MAX_CONTEXT_BYTES,
            Refusal::Context,
        ),
        [] | [_, _, ..] => Err(Refusal::Entries),
    }
}

#[cfg(test)]
mod tests {
    use super::{Receiver, Refusal, check};
    use crate::config::Recovered;
    use crate::log::Log;
    use crate::members::Roster;
    use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot, SnapshotMetadata};

    fn refused(kind: MessageType, change: impl FnOnce(&mut Message)) -> Option<Refusal> {
        let entries = (1..=5)
            .map(|index| Entry {
                index,
                term: 2,
                ..Entry::default()
            })
            .collect();
        let hard_state = HardState {
            term: 3,
            vote: 1,
            commit: 4,
        };
        let recovered = Recovered {
            hard_state,
            snapshot: None,
            entries,
        };
        let (log, _) = Log::recover(&[1, 2, 3], recovered).expect("a sound log");
        let mut roster = Roster::founding(&[1, 2, 3]);
        roster.removed.insert(8);
        let receiver = Receiver {
            id: 1,
            roster: &roster,
            leader: 2,
            may_campaign: true,
            log: &log,
            term: 3,
            commit: 4,
            last: 5,
            leads: false,
        };
        let mut message = Message {
            to: 1,
            from: 2,
            term: 3,
            ..Message::default()
        };
        message.set_msg_type(kind);
        change(&mut message);
        check(&message, &receiver).err()
    }

    #[test]
    fn addresses_terms_and_kinds() {
        use MessageType::{MsgHeartbeat, MsgHup, MsgReadIndex, MsgRequestVote};
        assert_eq!(refused(MsgRequestVote, |_| ()), None);
        assert_eq!(refused(MsgRequestVote, |m| m.from = 0), Some(Refusal::Address));
        assert_eq!(refused(MsgRequestVote, |m| m.from = 8), Some(Refusal::Removed));
        assert_eq!(refused(MsgRequestVote, |m| m.from = 1), Some(Refusal::Address));
        assert_eq!(refused(MsgRequestVote, |m| m.to = 2), Some(Refusal::Address));
        assert_eq!(
            refused(MsgRequestVote, |m| m.term = u64::MAX),
            Some(Refusal::Term)
        );
        assert_eq!(refused(MsgHeartbeat, |m| m.term = 0), Some(Refusal::Term));
        assert_eq!(refused(MsgReadIndex, |_| ()), Some(Refusal::Term));
        assert_eq!(refused(MsgHup, |_| ()), Some(Refusal::Kind));
        assert_eq!(refused(MsgHeartbeat, |m| m.msg_type = 77), Some(Refusal::Kind));
        assert_eq!(
            refused(MsgHeartbeat, |m| m.context = vec![0; 33]),
            Some(Refusal::Context)
        );
    }

    #[test]
    fn strangers_lead_and_stand_and_do_nothing_else() {
        use MessageType::{MsgAppend, MsgHeartbeatResponse, MsgPropose, MsgRequestVote, MsgTimeoutNow};
        let stranger = |m: &mut Message| m.from = 9;
        assert_eq!(refused(MsgRequestVote, stranger), None);
        let append = |m: &mut Message| (m.from, m.index, m.log_term) = (9, 5, 2);
        assert_eq!(refused(MsgAppend, append), None);
        assert_eq!(refused(MsgHeartbeatResponse, stranger), Some(Refusal::Address));
        assert_eq!(refused(MsgPropose, stranger), Some(Refusal::Address));
        assert_eq!(refused(MsgTimeoutNow, |_| ()), None);
        assert_eq!(refused(MsgTimeoutNow, |m| m.term = 4), Some(Refusal::NotLeader));
        assert_eq!(refused(MsgTimeoutNow, |m| m.from = 3), Some(Refusal::NotLeader));
    }

    #[test]
    fn indices_that_would_panic() {
        use MessageType::{MsgAppend, MsgAppendResponse, MsgHeartbeat};
        assert_eq!(refused(MsgHeartbeat, |m| m.commit = 5), None);
        assert_eq!(refused(MsgHeartbeat, |m| m.commit = 6), Some(Refusal::Index));
        assert_eq!(refused(MsgAppendResponse, |m| m.index = 6), Some(Refusal::Index));
        let append = |m: &mut Message, from: u64, indices: &[u64]| {
            m.index = from;
            m.log_term = 2;
            m.entries = indices
                .iter()
                .map(|i| Entry {
                    index: *i,
                    term: 3,
                    ..Entry::default()
                })
                .collect();
        };
        assert_eq!(refused(MsgAppend, |m| append(m, 5, &[6, 7])), None);
        assert_eq!(refused(MsgAppend, |m| append(m, 5, &[7])), Some(Refusal::Entries));
        assert_eq!(
            refused(MsgAppend, |m| append(m, 5, &[6, 6])),
            Some(Refusal::Entries)
        );
        assert_eq!(
            refused(MsgAppend, |m| append(m, u64::MAX, &[0])),
            Some(Refusal::Entries)
        );
        let timeless = |m: &mut Message| (m.index, m.log_term) = (9, 0);
        assert_eq!(refused(MsgAppend, timeless), Some(Refusal::Index));
        let change = |m: &mut Message, change: fn(&mut Entry)| {
            append(m, 5, &[6]);
            m.entries.iter_mut().for_each(change);
        };
        let unknown = |m: &mut Message| change(m, |entry| entry.entry_type = 3);
        assert_eq!(refused(MsgAppend, unknown), Some(Refusal::Entries));
        let first = |m: &mut Message| {
            append(m, 0, &[1]);
            m.log_term = 0;
            m.entries[0].term = 0;
        };
        assert_eq!(refused(MsgAppend, first), Some(Refusal::Entries));
        let old = |m: &mut Message| (m.index, m.log_term) = (4, 1);
        assert_eq!(refused(MsgAppend, old), Some(Refusal::Index));
    }

    #[test]
    fn reads_forwards_and_snapshots() {
        use MessageType::{MsgPropose, MsgReadIndex, MsgReadIndexResp, MsgSnapshot};
        assert_eq!(refused(MsgReadIndex, |m| m.term = 0), Some(Refusal::NotLeader));
        assert_eq!(refused(MsgReadIndexResp, |_| ()), Some(Refusal::Entries));
        assert_eq!(refused(MsgPropose, |_| ()), Some(Refusal::NotLeader));
        assert_eq!(refused(MsgSnapshot, |_| ()), Some(Refusal::Snapshot));
        let snapshot = |voters: &[u64], index: u64| {
            let conf_state = Some(ConfState {
                voters: voters.to_vec(),
                ..ConfState::default()
            });
            let metadata = Some(SnapshotMetadata {
                conf_state,
                index,
                term: 3,
            });
            Some(Snapshot {
                data: Vec::new(),
                metadata,
            })
        };
        assert_eq!(
            refused(MsgSnapshot, |m| m.snapshot = snapshot(&[1, 2, 3], 9)),
            None
        );
        assert_eq!(
            refused(MsgSnapshot, |m| m.snapshot = snapshot(&[1, 2, 3], 0)),
            Some(Refusal::Snapshot)
        );
        assert_eq!(
            refused(MsgSnapshot, |m| m.snapshot = snapshot(&[2], 9)),
            Some(Refusal::Snapshot)
        );
    }
}
