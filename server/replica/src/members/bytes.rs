//! The bytes of members, changes and rosters: numbers in big-endian order, lists behind their length. A later version
//! begins with another number.

use super::{Change, MAX_NAME_BYTES, MAX_URL_BYTES, MAX_URLS, Member, Roster};
use std::collections::BTreeSet;

const VERSION: u8 = 1;

/// More ids than any cluster has or ever had; a longer list is damage.
const MAX_IDS: u64 = 1 << 20;

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u64(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_texts(out: &mut Vec<u8>, texts: &[String]) {
    put_u64(out, texts.len() as u64);
    texts.iter().for_each(|text| put_text(out, text));
}

fn put_ids(out: &mut Vec<u8>, ids: &BTreeSet<u64>) {
    put_u64(out, ids.len() as u64);
    ids.iter().for_each(|id| put_u64(out, *id));
}

fn put_member(out: &mut Vec<u8>, member: &Member) {
    put_u64(out, member.id);
    put_text(out, &member.name);
    put_texts(out, &member.peer_urls);
    put_texts(out, &member.client_urls);
}

pub(super) fn roster(roster: &Roster) -> Vec<u8> {
    let mut out = vec![VERSION, u8::from(roster.auto_leave)];
    for ids in [
        &roster.voters,
        &roster.learners,
        &roster.outgoing,
        &roster.learners_next,
        &roster.removed,
    ] {
        put_ids(&mut out, ids);
    }
    put_u64(&mut out, roster.members.len() as u64);
    roster
        .members
        .values()
        .for_each(|member| put_member(&mut out, member));
    out
}

pub(super) fn change(change: &Change) -> Vec<u8> {
    let mut out = vec![VERSION];
    match change {
        Change::AddLearner(member) => {
            out.push(1);
            put_member(&mut out, member);
        }
        Change::Promote { id } => {
            out.push(2);
            put_u64(&mut out, *id);
        }
        Change::Remove { id } => {
            out.push(3);
            put_u64(&mut out, *id);
        }
        Change::Replace { old, new } => {
            out.push(4);
            put_u64(&mut out, *old);
            put_u64(&mut out, *new);
        }
        Change::Update(member) => {
            out.push(5);
            put_member(&mut out, member);
        }
    }
    out
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn count(&mut self, limit: u64) -> Option<usize> {
        let count = self.u64().filter(|count| *count <= limit)?;
        usize::try_from(count).ok()
    }

    fn text(&mut self, limit: usize) -> Option<String> {
        let count = self.count(limit as u64)?;
        String::from_utf8(self.take(count)?.to_vec()).ok()
    }

    fn texts(&mut self) -> Option<Vec<String>> {
        let count = self.count(MAX_URLS as u64)?;
        (0..count).map(|_| self.text(MAX_URL_BYTES)).collect()
    }

    fn ids(&mut self) -> Option<BTreeSet<u64>> {
        let count = self.count(MAX_IDS)?;
        let ids: BTreeSet<u64> = (0..count).map(|_| self.u64()).collect::<Option<_>>()?;
        (ids.len() == count).then_some(ids)
    }

    fn member(&mut self) -> Option<Member> {
        Some(Member {
            id: self.u64()?,
            name: self.text(MAX_NAME_BYTES)?,
            peer_urls: self.texts()?,
            client_urls: self.texts()?,
        })
    }

    fn version(&mut self) -> Option<()> {
        (self.byte()? == VERSION).then_some(())
    }

    fn end<T>(self, value: T) -> Option<T> {
        self.rest.is_empty().then_some(value)
    }
}

pub(super) fn read_roster(bytes: &[u8]) -> Option<Roster> {
    let mut reader = Reader { rest: bytes };
    reader.version()?;
    let auto_leave = match reader.byte()? {
        0 => false,
        1 => true,
        _ => return None,
    };
    let mut roster = Roster {
        auto_leave,
        voters: reader.ids()?,
        learners: reader.ids()?,
        outgoing: reader.ids()?,
        learners_next: reader.ids()?,
        removed: reader.ids()?,
        ..Roster::default()
    };
    for _ in 0..reader.count(MAX_IDS)? {
        let member = reader.member()?;
        roster.members.insert(member.id, member);
    }
    reader.end(roster)
}

pub(super) fn read_change(bytes: &[u8]) -> Option<Change> {
    let mut reader = Reader { rest: bytes };
    reader.version()?;
    let change = match reader.byte()? {
        1 => Change::AddLearner(reader.member()?),
        2 => Change::Promote { id: reader.u64()? },
        3 => Change::Remove { id: reader.u64()? },
        4 => Change::Replace {
            old: reader.u64()?,
            new: reader.u64()?,
        },
        5 => Change::Update(reader.member()?),
        _ => return None,
    };
    reader.end(change)
}
