//! Transactions of nftables messages, and reading tables back.

use std::io;

use super::expression::Expression;
use crate::netlink::{Family, Message, NetworkError, Socket, attribute, text};

const SUBSYSTEM: u16 = 10 << 8;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENTS: u16 = SUBSYSTEM | 12;
const GET_ELEMENTS: u16 = SUBSYSTEM | 13;
const DELETE_ELEMENTS: u16 = SUBSYSTEM | 14;

const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

/// The family of tables that see IPv4 and IPv6.
const INET: u8 = 1;

const TABLE_NAME: u16 = 1;
const TABLE_USERDATA: u16 = 6;

const ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENTS: u16 = 3;
const VALUE: u16 = 1;

/// The comment that marks a table as one of ours: type 0, length, text.
const MARK: &[u8] = b"\x00\x06berth\x00";

/// Where and when a chain is called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hook {
    /// `filter` or `nat`.
    pub(super) kind: &'static str,
    pub(super) number: u32,
    pub(super) priority: i32,
}

/// A map that rules look into.
#[derive(Debug, Clone, Copy)]
pub(super) struct Map {
    pub(super) name: &'static str,
    /// Tells the map from others of the same transaction.
    pub(super) id: u32,
    /// The types of the key's parts, six bits each, for those who list the table.
    pub(super) key_type: u32,
    pub(super) key_bytes: u32,
    /// The types of the value's parts.
    pub(super) data_type: u32,
    pub(super) data_bytes: u32,
}

/// A key of a map with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) key: Vec<u8>,
    pub(super) data: Vec<u8>,
}

/// Messages that take effect together or not at all.
#[derive(Debug)]
pub(super) struct Transaction {
    table: String,
    messages: Vec<Message>,
}

impl Transaction {
    pub(super) fn new(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            messages: Vec::new(),
        }
    }

    /// Makes the table with our mark, unless it is there.
    pub(super) fn table(&mut self) {
        let message = Message::new(NEW_TABLE, NLM_F_CREATE)
            .fixed(&[INET, 0, 0, 0])
            .text(TABLE_NAME, &self.table)
            .attribute(2, &0_u32.to_be_bytes())
            .attribute(TABLE_USERDATA, MARK);
        self.messages.push(message);
    }

    /// Makes a table as somebody else would.
    #[cfg(test)]
    pub(super) fn foreign_table(&mut self) {
        let message = self.message(NEW_TABLE, NLM_F_CREATE);
        self.messages.push(message);
    }

    /// Removes the table with all that is in it.
    pub(super) fn delete_table(&mut self) {
        let message = self.message(DELETE_TABLE, 0);
        self.messages.push(message);
    }

    /// Makes the map, unless it is there.
    pub(super) fn map(&mut self, map: &Map) {
        /// The set is a map.
        const MAP: u32 = 8;
        let numbers = [
            (3, MAP),
            (4, map.key_type),
            (5, map.key_bytes),
            (6, map.data_type),
            (7, map.data_bytes),
            (10, map.id),
        ];
        let mut message = self.message(NEW_SET, NLM_F_CREATE).text(2, map.name);
        for (kind, value) in numbers {
            message = message.attribute(kind, &value.to_be_bytes());
        }
        self.messages.push(message);
    }

    /// Makes the chain, unless it is there, with exactly these rules.
    pub(super) fn chain(&mut self, name: &str, hook: Hook, rules: &[Vec<Expression>]) {
        let chain = self
            .message(NEW_CHAIN, NLM_F_CREATE)
            .text(3, name)
            .text(7, hook.kind)
            .attribute(5, &1_u32.to_be_bytes())
            .nested(4, |place| {
                place
                    .attribute(1, &hook.number.to_be_bytes())
                    .attribute(2, &hook.priority.to_be_bytes())
            });
        self.messages.push(chain);
        self.messages.push(self.message(DELETE_RULE, 0).text(2, name));
        for rule in rules {
            let message = self
                .message(NEW_RULE, NLM_F_CREATE | NLM_F_APPEND)
                .text(2, name)
                .nested(4, |list| {
                    rule.iter().fold(list, |list, expression| expression.put(list))
                });
            self.messages.push(message);
        }
    }

    /// Adds elements; one that is there with the same value is left alone, with another it fails.
    pub(super) fn add(&mut self, map: &Map, elements: &[Element]) {
        self.elements(NEW_ELEMENTS, NLM_F_CREATE, map, elements, |one, element| {
            one.nested(ELEMENT_KEY, |key| key.attribute(VALUE, &element.key))
                .nested(ELEMENT_DATA, |data| data.attribute(VALUE, &element.data))
        });
    }

    /// Removes elements, which must be there.
    pub(super) fn remove(&mut self, map: &Map, elements: &[Element]) {
        self.elements(DELETE_ELEMENTS, 0, map, elements, |one, element| {
            one.nested(ELEMENT_KEY, |key| key.attribute(VALUE, &element.key))
        });
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        map: &Map,
        elements: &[Element],
        put: impl Fn(Message, &Element) -> Message,
    ) {
        /// A list has to fit into an attribute of 64 KiB; an element takes some 60 bytes.
        const LIST_LIMIT: usize = 256;
        for some in elements.chunks(LIST_LIMIT) {
            let message = self
                .message(kind, flags)
                .text(2, map.name)
                .nested(ELEMENTS, |list| {
                    some.iter().fold(list, |list, element| {
                        list.nested(ELEMENT, |one| put(one, element))
                    })
                });
            self.messages.push(message);
        }
    }

    fn message(&self, kind: u16, flags: u16) -> Message {
        message(kind, flags, &self.table)
    }

    /// Sends it.
    pub(super) fn commit(self, socket: &mut Socket) -> io::Result<()> {
        if self.messages.is_empty() {
            return Ok(());
        }
        let frame = |kind| Message::new(kind, 0).fixed(&[0, 0, 0, 10]);
        socket.batch(frame(BATCH_BEGIN), self.messages, frame(BATCH_END))
    }
}

fn message(kind: u16, flags: u16, table: &str) -> Message {
    Message::new(kind, flags).fixed(&[INET, 0, 0, 0]).text(1, table)
}

/// Opens a socket for nftables.
pub(super) fn open() -> Result<Socket, NetworkError> {
    Socket::open(Family::Netfilter).map_err(NetworkError::kernel("talking to nftables"))
}

/// Whose a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// There is no such table.
    Nobody,
    /// It has our mark.
    Ours,
    /// It has not.
    Foreign,
}

/// Looks a table up.
pub(super) fn owner(socket: &mut Socket, table: &str) -> io::Result<Owner> {
    let answers = match socket.get(message(GET_TABLE, 0, table)) {
        Ok(answers) => answers,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Owner::Nobody),
        Err(error) => return Err(error),
    };
    let ours = answers
        .iter()
        .any(|answer| marked_name(&answer.payload).is_some_and(|name| name == table));
    Ok(if ours { Owner::Ours } else { Owner::Foreign })
}

/// The names of all tables with our mark.
pub(super) fn our_tables(socket: &mut Socket) -> io::Result<Vec<String>> {
    let answers = socket.dump(|| Message::new(GET_TABLE, 0).fixed(&[INET, 0, 0, 0]))?;
    Ok(answers
        .iter()
        .filter_map(|answer| marked_name(&answer.payload))
        .collect())
}

/// The name of a table if it has our mark.
fn marked_name(payload: &[u8]) -> Option<String> {
    let parts = payload.get(4..)?;
    (attribute(parts, TABLE_USERDATA)? == MARK).then_some(())?;
    attribute(parts, TABLE_NAME).map(text)
}

/// The elements of a map.
pub(super) fn elements(socket: &mut Socket, table: &str, map: &Map) -> io::Result<Vec<Element>> {
    let answers = socket.dump(|| message(GET_ELEMENTS, 0, table).text(2, map.name))?;
    let mut found = Vec::new();
    for answer in &answers {
        let list = answer
            .payload
            .get(4..)
            .and_then(|parts| attribute(parts, ELEMENTS));
        for (kind, element) in crate::netlink::attributes(list.unwrap_or_default()) {
            let part = |wanted| attribute(element, wanted).and_then(|part| attribute(part, VALUE));
            if let (ELEMENT, Some(key), Some(data)) = (kind, part(ELEMENT_KEY), part(ELEMENT_DATA)) {
                found.push(Element {
                    key: key.to_vec(),
                    data: data.to_vec(),
                });
            }
        }
    }
    Ok(found)
}
