//! A question in, an answer out, or the word that somebody else has to be asked. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use hickory_resolver::proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, PTR};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::table::NameTable;

/// Seconds that an answer may be kept: Docker's number. Addresses change.
const TTL: u32 = 600;

/// The longest datagram to somebody who does not say that more is understood, in bytes.
const SHORT: usize = 512;

/// The longest datagram at all: a longer answer comes by a stream.
const LONG: usize = 4096;

/// What becomes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// This is the answer.
    Answer(Vec<u8>),
    /// Nobody here knows.
    Ask,
    /// It is no question.
    Ignore,
}

/// Answers a question of a container. `stream` when the answer may be of any length.
pub(super) fn answer(table: &NameTable, container: &str, question: &[u8], stream: bool) -> Outcome {
    let Ok(question) = Message::from_vec(question) else {
        return Outcome::Ignore;
    };
    if question.metadata.message_type != MessageType::Query {
        return Outcome::Ignore;
    }
    let [query] = question.queries.as_slice() else {
        return reply(&question, ResponseCode::FormErr, Vec::new(), stream);
    };
    if question.metadata.op_code != OpCode::Query || query.query_class != DNSClass::IN {
        return Outcome::Ask;
    }
    if query.query_type == RecordType::PTR {
        return pointer(table, container, &question, query, stream);
    }
    match table.find(container, &query.name.to_utf8()) {
        Some(found) => reply(&question, ResponseCode::NoError, records(query, &found), stream),
        None => Outcome::Ask,
    }
}

/// What an address is called.
fn pointer(table: &NameTable, container: &str, question: &Message, query: &Query, stream: bool) -> Outcome {
    let name = query
        .name
        .parse_arpa_name()
        .ok()
        .filter(|network| network.prefix_len() == network.max_prefix_len())
        .and_then(|network| table.name_of(container, network.addr()))
        .and_then(|name| Name::from_ascii(name).ok());
    match name {
        Some(name) => {
            let record = Record::from_rdata(query.name.clone(), TTL, RData::PTR(PTR(name)));
            reply(question, ResponseCode::NoError, vec![record], stream)
        }
        None => Outcome::Ask,
    }
}

/// The answer when those who were asked do not answer.
pub(super) fn failure(question: &[u8]) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).ok()?;
    match reply(&question, ResponseCode::ServFail, Vec::new(), true) {
        Outcome::Answer(bytes) => Some(bytes),
        Outcome::Ask | Outcome::Ignore => None,
    }
}

/// Whether an answer from elsewhere belongs to a question.
pub(super) fn belongs(question: &[u8], answer: &[u8]) -> bool {
    let (Ok(question), Ok(answer)) = (Message::from_vec(question), Message::from_vec(answer)) else {
        return false;
    };
    answer.metadata.message_type == MessageType::Response
        && answer.metadata.id == question.metadata.id
        && answer.queries == question.queries
}

/// The records of the kind that was asked for: a name that has none of it is known all the same.
fn records(query: &Query, addresses: &BTreeSet<IpAddr>) -> Vec<Record> {
    let record = |address: &IpAddr| {
        let data = match (address, query.query_type) {
            (IpAddr::V4(address), RecordType::A) => RData::A(A(*address)),
            (IpAddr::V6(address), RecordType::AAAA) => RData::AAAA(AAAA(*address)),
            _ => return None,
        };
        Some(Record::from_rdata(query.name.clone(), TTL, data))
    };
    addresses.iter().filter_map(record).collect()
}

fn reply(question: &Message, code: ResponseCode, records: Vec<Record>, stream: bool) -> Outcome {
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.recursion_desired = question.metadata.recursion_desired;
    message.metadata.recursion_available = true;
    message.metadata.response_code = code;
    message.add_queries(question.queries.iter().cloned());
    message.add_answers(records);
    let limit = match &question.edns {
        _ if stream => usize::MAX,
        Some(edns) => usize::from(edns.max_payload()).clamp(SHORT, LONG),
        None => SHORT,
    };
    let Ok(bytes) = message.to_vec() else {
        return Outcome::Ignore;
    };
    if bytes.len() <= limit {
        return Outcome::Answer(bytes);
    }
    message.answers.clear();
    message.metadata.truncation = true;
    message.to_vec().map_or(Outcome::Ignore, Outcome::Answer)
}

#[cfg(test)]
mod tests {
    use super::super::table::View;
    use super::*;

    fn table() -> NameTable {
        let mut table = NameTable::default();
        for last in 1..=60 {
            table.add("n", "many", IpAddr::from([10, 0, 0, last]));
        }
        table.add("n", "web", IpAddr::from([10, 0, 0, 2]));
        let view = View {
            networks: vec![("n".to_owned(), "net".to_owned())],
            ..View::default()
        };
        table.views.insert("c".to_owned(), view);
        let names = [(IpAddr::from([10, 0, 0, 2]), "web".to_owned())];
        table.addresses.insert("n".to_owned(), names.into());
        table
    }

    fn ask(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
        message.to_vec().expect("bytes")
    }

    fn check(name: &str, kind: RecordType, stream: bool) -> String {
        match answer(&table(), "c", &ask(name, kind), stream) {
            Outcome::Answer(bytes) => {
                let message = Message::from_vec(&bytes).expect("an answer");
                assert!(belongs(&ask(name, kind), &bytes));
                let data = message.answers.iter().map(|record| record.data.to_string());
                let data: Vec<String> = data.collect();
                format!(
                    "{} {} {}",
                    message.metadata.truncation,
                    data.len(),
                    data.first().map_or("", |first| first.as_str())
                )
            }
            other @ (Outcome::Ask | Outcome::Ignore) => format!("{other:?}"),
        }
    }

    #[test]
    fn questions_and_answers() {
        assert_eq!(check("WEB.", RecordType::A, false), "false 1 10.0.0.2");
        assert_eq!(check("web.", RecordType::AAAA, false), "false 0 ");
        assert_eq!(check("example.org.", RecordType::A, false), "Ask");
        assert_eq!(
            check("2.0.0.10.in-addr.arpa.", RecordType::PTR, false),
            "false 1 web.net."
        );
        assert_eq!(check("3.0.0.10.in-addr.arpa.", RecordType::PTR, false), "Ask");
        assert_eq!(check("many.", RecordType::A, true), "false 60 10.0.0.1");
        assert_eq!(check("many.", RecordType::A, false), "true 0 ");
    }

    /// Whatever a container sends, nothing panics, and what is answered is an answer.
    #[test]
    fn noise_does_no_harm() {
        let table = table();
        let seeds = [
            ask("web.", RecordType::A),
            ask("2.0.0.10.in-addr.arpa.", RecordType::PTR),
            ask("many.", RecordType::ANY),
            Vec::new(),
            vec![0xff; 64],
            vec![0xc0; 40],
        ];
        let mut state = 0x1234_5678_u32;
        for round in 0..20_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..round % 5 {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                let [place, byte, length, _] = state.to_be_bytes();
                if let Some(found) = bytes.get_mut(usize::from(place)) {
                    *found = byte;
                }
                if length < 16 {
                    bytes.truncate(usize::from(length));
                }
            }
            if let Outcome::Answer(answer) = answer(&table, "c", &bytes, false) {
                Message::from_vec(&answer).expect("an answer");
            }
            if let Some(answer) = failure(&bytes) {
                Message::from_vec(&answer).expect("an answer");
            }
        }
    }
}
