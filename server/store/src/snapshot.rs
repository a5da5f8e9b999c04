//! The whole state as a sequence of small chunks, and back. A restored state goes on exactly as the original would.
//!
//! The chunks cut one stream of records: a header, users and roles if there ever were any, the nodes in the order of keys,
//! the slots of the history, an end with
//! a hash over everything. A record is its length and its bytes.

use crate::apply::Store;
use crate::auth::{
    TAG_AUTH, TAG_ROLE, TAG_USER, auth_record, read_auth, read_role, read_user, role_record, user_record,
};
use crate::codec::{CodecError, Reader, Writer};
use crate::digest::mix_bytes;
use crate::event::{Action, Event, EventNode};
use crate::history::{HISTORY_EVENTS, History};
use crate::key::Key;
use crate::stats::Stats;
use crate::tree::{Node, Spot};
use std::collections::VecDeque;
use std::sync::Arc;

/// The most bytes in a chunk: small enough that sled keeps them in its pages.
pub const CHUNK_BYTES: usize = 8 << 10;

/// Says how the records are laid out. Another number is refused.
const SNAPSHOT_VERSION: u64 = 1;

/// The same with users and roles behind the header. A state that never had any is written without, in the older layout.
const SNAPSHOT_VERSION_AUTH: u64 = 2;

/// The longest record that is read back: an event with the two largest values a command can carry.
const MAX_RECORD_BYTES: usize = 2 * crate::command::MAX_COMMAND_BYTES + (64 << 10);

/// No store gets so far; a larger index in a header is damage, and sums with it could overflow.
const MAX_INDEX: u64 = u64::MAX >> 1;

/// How many records are made at a time when a chunk needs more bytes; chunks are small, so few suffice.
const RECORDS_AT_A_TIME: usize = 64;

/// Why chunks are not a state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A chunk is missing, doubled or in the wrong place.
    #[error("snapshot chunk {expected} is missing or out of order")]
    Sequence {
        /// The number that should have come.
        expected: u64,
    },
    /// A record cannot be read.
    #[error("snapshot record cannot be read")]
    Record(#[from] CodecError),
    /// Records are not in the order header, nodes, history, end.
    #[error("snapshot record {tag} is in the wrong place")]
    Order {
        /// Its kind.
        tag: u8,
    },
    /// The header contradicts itself.
    #[error("snapshot header is not valid")]
    Header,
    /// A node that no state can contain at this place.
    #[error("snapshot node {key} is not valid")]
    Node {
        /// Its key.
        key: Key,
    },
    /// Users and roles that no state can contain.
    #[error("snapshot of users and roles is not valid")]
    Auth,
    /// An event that does not belong where it stands.
    #[error("snapshot event {index} is not valid")]
    Event {
        /// The index that belongs there.
        index: u64,
    },
    /// The bytes are not those that were written.
    #[error("snapshot hash does not match")]
    Hash,
    /// The end is missing.
    #[error("snapshot is incomplete")]
    Incomplete,
}

const TAG_HEADER: u8 = 1;
const TAG_NODE: u8 = 2;
const TAG_EVENT: u8 = 3;
const TAG_NO_EVENT: u8 = 4;
const TAG_END: u8 = 5;

const FLAG_DIR: u8 = 1;
const FLAG_VALUE: u8 = 2;
const FLAG_DEADLINE: u8 = 4;
const FLAG_REFRESH: u8 = 1;
const FLAG_PREV: u8 = 2;

impl Store {
    /// The chunks of this state: sequence numbers from 0 as eight bytes, highest first, with at most [`CHUNK_BYTES`] each.
    /// They are made one by one, from a cheap clone.
    pub fn chunks(&self) -> Chunks {
        Chunks {
            store: self.clone(),
            next: Part::Header,
            bytes: Vec::new(),
            at: 0,
            sequence: 0,
            hash: 0,
        }
    }
}

/// The chunks of a state, in order.
#[derive(Debug)]
pub struct Chunks {
    store: Store,
    next: Part,
    bytes: Vec<u8>,
    /// Up to here the bytes have been handed out.
    at: usize,
    sequence: u64,
    hash: u64,
}

#[derive(Debug)]
enum Part {
    Header,
    Auth,
    NodesAfter(Key),
    SlotsFrom(usize),
    End,
    Done,
}

impl Iterator for Chunks {
    type Item = ([u8; 8], Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.bytes.len() - self.at < CHUNK_BYTES && !matches!(self.next, Part::Done) {
            self.bytes.drain(..self.at);
            self.at = 0;
            self.fill();
        }
        let rest = &self.bytes[self.at..];
        if rest.is_empty() {
            return None;
        }
        let chunk = rest[..rest.len().min(CHUNK_BYTES)].to_vec();
        self.at += chunk.len();
        let number = self.sequence.to_be_bytes();
        self.sequence += 1;
        Some((number, chunk))
    }
}

impl Chunks {
    fn fill(&mut self) {
        let mut records = Vec::new();
        self.next = match std::mem::replace(&mut self.next, Part::Done) {
            Part::Header => {
                records.push(header_record(&self.store));
                if self.store.auth.is_untouched() {
                    Part::NodesAfter(Key::root())
                } else {
                    Part::Auth
                }
            }
            // All at once: their size is bounded.
            Part::Auth => {
                let auth = &self.store.auth;
                records.push(auth_record(auth));
                records.extend(auth.stored_users().map(|user| user_record(user)));
                records.extend(auth.stored_roles().map(|role| role_record(role)));
                Part::NodesAfter(Key::root())
            }
            Part::NodesAfter(mut last) => {
                for (key, node) in self.store.tree.after(last.as_bytes()).take(RECORDS_AT_A_TIME) {
                    records.push(node_record(key, node));
                    if records.len() == RECORDS_AT_A_TIME {
                        last = key.clone();
                    }
                }
                if records.len() == RECORDS_AT_A_TIME {
                    Part::NodesAfter(last)
                } else {
                    Part::SlotsFrom(0)
                }
            }
            Part::SlotsFrom(from) => {
                let slots = self.store.history.slots();
                let to = slots.len().min(from + RECORDS_AT_A_TIME);
                records.extend(slots.range(from..to).map(|slot| slot_record(slot.as_deref())));
                if to < slots.len() {
                    Part::SlotsFrom(to)
                } else {
                    Part::End
                }
            }
            Part::End => {
                let mut out = Writer::default();
                out.byte(TAG_END);
                out.number(self.hash);
                records.push(out.finish());
                Part::Done
            }
            Part::Done => Part::Done,
        };
        for record in records {
            self.hash = mix_bytes(self.hash, &record);
            let mut out = Writer::default();
            out.bytes(&record);
            self.bytes.extend_from_slice(&out.finish());
        }
    }
}

fn header_record(store: &Store) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(TAG_HEADER);
    out.number(if store.auth.is_untouched() {
        SNAPSHOT_VERSION
    } else {
        SNAPSHOT_VERSION_AUTH
    });
    out.number(store.index);
    out.number(store.cluster_ms);
    out.number(store.tree.len() as u64);
    out.number(store.tree.hash());
    out.number(store.history.hash());
    for number in store.stats.numbers() {
        out.number(number);
    }
    out.finish()
}

fn node_record(key: &Key, node: &Node) -> Vec<u8> {
    let mut out = Writer::default();
    out.byte(TAG_NODE);
    write_node(&mut out, &EventNode::of(key, node));
    out.finish()
}

fn slot_record(event: Option<&Event>) -> Vec<u8> {
    let mut out = Writer::default();
    let Some(event) = event else {
        out.byte(TAG_NO_EVENT);
        return out.finish();
    };
    out.byte(TAG_EVENT);
    out.byte(action_tag(event.action));
    out.number(event.index);
    out.number(event.cluster_ms);
    out.byte(u8::from(event.refresh) * FLAG_REFRESH + u8::from(event.prev.is_some()) * FLAG_PREV);
    write_node(&mut out, &event.node);
    if let Some(prev) = &event.prev {
        write_node(&mut out, prev);
    }
    out.finish()
}

fn write_node(out: &mut Writer, node: &EventNode) {
    out.bytes(node.key.as_bytes());
    out.byte(
        u8::from(node.dir) * FLAG_DIR
            + u8::from(node.value.is_some()) * FLAG_VALUE
            + u8::from(node.deadline.is_some()) * FLAG_DEADLINE,
    );
    out.number(node.modified);
    out.number(node.created);
    if let Some(deadline) = node.deadline {
        out.number(deadline);
    }
    if let Some(value) = &node.value {
        out.bytes(value);
    }
}

fn read_node(from: &mut Reader<'_>) -> Result<EventNode, CodecError> {
    let key = from.key()?;
    let flags = from.flags(FLAG_DIR | FLAG_VALUE | FLAG_DEADLINE)?;
    let modified = from.number()?;
    let created = from.number()?;
    let deadline = if flags & FLAG_DEADLINE != 0 {
        Some(from.number()?)
    } else {
        None
    };
    let value = if flags & FLAG_VALUE != 0 {
        Some(from.bytes()?.into())
    } else {
        None
    };
    Ok(EventNode {
        key,
        value,
        dir: flags & FLAG_DIR != 0,
        deadline,
        modified,
        created,
    })
}

fn read_event(from: &mut Reader<'_>) -> Result<Event, CodecError> {
    let action = read_action(from.byte()?)?;
    let index = from.number()?;
    let cluster_ms = from.number()?;
    let flags = from.flags(FLAG_REFRESH | FLAG_PREV)?;
    let node = read_node(from)?;
    let prev = if flags & FLAG_PREV != 0 {
        Some(read_node(from)?)
    } else {
        None
    };
    Ok(Event {
        action,
        index,
        cluster_ms,
        node,
        prev,
        refresh: flags & FLAG_REFRESH != 0,
    })
}

fn action_tag(action: Action) -> u8 {
    match action {
        Action::Set => 1,
        Action::Create => 2,
        Action::Update => 3,
        Action::CompareAndSwap => 4,
        Action::Delete => 5,
        Action::CompareAndDelete => 6,
        Action::Expire => 7,
    }
}

fn read_action(tag: u8) -> Result<Action, CodecError> {
    Ok(match tag {
        1 => Action::Set,
        2 => Action::Create,
        3 => Action::Update,
        4 => Action::CompareAndSwap,
        5 => Action::Delete,
        6 => Action::CompareAndDelete,
        7 => Action::Expire,
        tag => return Err(CodecError::Tag { tag }),
    })
}

/// Builds a state from its chunks, checking everything on the way.
#[derive(Debug, Default)]
pub struct Restorer {
    store: Store,
    header: Option<Header>,
    slots: VecDeque<Option<Arc<Event>>>,
    bytes: Vec<u8>,
    sequence: u64,
    hash: u64,
    ended: bool,
}

#[derive(Debug)]
struct Header {
    nodes: u64,
    /// How many slots the history has.
    slots: usize,
    tree_hash: u64,
    history_hash: u64,
    /// Users and roles follow.
    has_auth: bool,
}

/// The state of a sequence of chunks.
pub fn restore<K: AsRef<[u8]>, V: AsRef<[u8]>>(
    chunks: impl IntoIterator<Item = (K, V)>,
) -> Result<Store, SnapshotError> {
    let mut restorer = Restorer::new();
    for (number, chunk) in chunks {
        restorer.push(number.as_ref(), chunk.as_ref())?;
    }
    restorer.finish()
}

impl Restorer {
    /// Expects the first chunk.
    pub fn new() -> Restorer {
        Restorer::default()
    }

    /// Takes the next chunk.
    pub fn push(&mut self, number: &[u8], chunk: &[u8]) -> Result<(), SnapshotError> {
        if number != self.sequence.to_be_bytes() || chunk.len() > CHUNK_BYTES {
            return Err(SnapshotError::Sequence {
                expected: self.sequence,
            });
        }
        self.sequence += 1;
        self.bytes.extend_from_slice(chunk);
        let bytes = std::mem::take(&mut self.bytes);
        let mut at = 0;
        while let Some((record, end)) = next_record(&bytes, at)? {
            self.record(record)?;
            at = end;
        }
        self.bytes = bytes;
        self.bytes.drain(..at);
        Ok(())
    }

    /// The state, if the chunks were complete.
    pub fn finish(mut self) -> Result<Store, SnapshotError> {
        let header = self.header.filter(|_| self.ended && self.bytes.is_empty());
        let header = header.ok_or(SnapshotError::Incomplete)?;
        self.store.history = History::restored(self.slots, self.store.index, header.history_hash);
        Ok(self.store)
    }

    fn record(&mut self, record: &[u8]) -> Result<(), SnapshotError> {
        let mut from = Reader::new(record);
        let tag = from.byte()?;
        match (tag, &self.header) {
            _ if self.ended => return Err(SnapshotError::Order { tag }),
            (TAG_HEADER, None) => self.take_header(&mut from)?,
            (TAG_AUTH | TAG_USER | TAG_ROLE, Some(header))
                if header.has_auth && self.store.tree.len() == 0 =>
            {
                self.take_auth(tag, &mut from)?;
            }
            (TAG_NODE, Some(_)) if self.slots.is_empty() => self.take_node(read_node(&mut from)?)?,
            (TAG_EVENT, Some(_)) => self.take_slot(Some(read_event(&mut from)?))?,
            (TAG_NO_EVENT, Some(_)) => self.take_slot(None)?,
            (TAG_END, Some(header)) => {
                self.check_end(header, from.number()?)?;
                self.ended = true;
            }
            _ => return Err(SnapshotError::Order { tag }),
        }
        from.end()?;
        self.hash = mix_bytes(self.hash, record);
        Ok(())
    }

    fn take_header(&mut self, from: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let version = from.number()?;
        if version != SNAPSHOT_VERSION && version != SNAPSHOT_VERSION_AUTH {
            return Err(CodecError::Version { version }.into());
        }
        self.store.index = from.number()?;
        if self.store.index > MAX_INDEX {
            return Err(SnapshotError::Header);
        }
        self.store.cluster_ms = from.number()?;
        let nodes = from.number()?;
        let tree_hash = from.number()?;
        let history_hash = from.number()?;
        let mut numbers = [0; 13];
        for number in &mut numbers {
            *number = from.number()?;
        }
        self.store.stats = Stats::from_numbers(numbers);
        let slots = usize::try_from(self.store.index)
            .unwrap_or(usize::MAX)
            .min(HISTORY_EVENTS);
        self.header = Some(Header {
            nodes,
            slots,
            tree_hash,
            history_hash,
            has_auth: version == SNAPSHOT_VERSION_AUTH,
        });
        Ok(())
    }

    fn take_auth(&mut self, tag: u8, from: &mut Reader<'_>) -> Result<(), SnapshotError> {
        let auth = &mut self.store.auth;
        let taken = match tag {
            TAG_AUTH if auth.is_untouched() => {
                auth.restore_switch(read_auth(from)?);
                true
            }
            TAG_USER => auth.restore_user(read_user(from)?),
            TAG_ROLE => auth.restore_role(read_role(from)?),
            _ => false,
        };
        if taken { Ok(()) } else { Err(SnapshotError::Auth) }
    }

    fn take_node(&mut self, shown: EventNode) -> Result<(), SnapshotError> {
        let whole = shown.dir == shown.value.is_none();
        let numbered = shown.created <= shown.modified && shown.modified <= self.store.index;
        let length = shown.key.as_bytes().len();
        let placed = matches!(self.store.tree.locate(&shown.key), Spot::Missing { first } if first == length);
        if !(whole && numbered && placed) {
            return Err(SnapshotError::Node { key: shown.key });
        }
        let EventNode {
            key,
            value,
            dir: _,
            deadline,
            modified,
            created,
        } = shown;
        self.store.put_node(
            &key,
            Node {
                value,
                created,
                modified,
                deadline,
            },
        );
        Ok(())
    }

    fn take_slot(&mut self, event: Option<Event>) -> Result<(), SnapshotError> {
        let slots = self.header.as_ref().map_or(0, |header| header.slots);
        let left = slots.saturating_sub(self.slots.len());
        // With one slot left this is the newest index.
        let index = (self.store.index + 1).saturating_sub(left as u64);
        if left == 0 || event.as_ref().is_some_and(|event| event.index != index) {
            return Err(SnapshotError::Event { index });
        }
        self.slots.push_back(event.map(Arc::new));
        Ok(())
    }

    fn check_end(&self, header: &Header, hash: u64) -> Result<(), SnapshotError> {
        if self.store.tree.len() as u64 != header.nodes || self.slots.len() != header.slots {
            return Err(SnapshotError::Header);
        }
        if header.has_auth == self.store.auth.is_untouched() {
            return Err(SnapshotError::Auth);
        }
        if hash != self.hash || self.store.tree.hash() != header.tree_hash {
            return Err(SnapshotError::Hash);
        }
        Ok(())
    }
}

/// The record at a place and where the next begins; none if it is not complete yet.
fn next_record(bytes: &[u8], at: usize) -> Result<Option<(&[u8], usize)>, SnapshotError> {
    let mut from = Reader::new(&bytes[at..]);
    let length = match from.number() {
        Ok(length) => usize::try_from(length).unwrap_or(usize::MAX),
        Err(CodecError::Truncated) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if length > MAX_RECORD_BYTES {
        return Err(CodecError::TooLarge {
            bytes: length,
            limit: MAX_RECORD_BYTES,
        }
        .into());
    }
    let start = bytes.len() - from.left();
    Ok(bytes
        .get(start..start + length)
        .map(|record| (record, start + length)))
}
