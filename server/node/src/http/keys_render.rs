//! From events, nodes and errors to the documents of the keys API, field by field in etcd's order.

use crate::clock::Times;
use crate::http::json;
use berth_store::{Action, Event, Key, NodeView, StoreError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Room for everything but the values of a small answer.
const GUESS: usize = 256;

/// The document of a change, with its newline.
pub(crate) fn event(event: &Event, times: Times) -> Vec<u8> {
    let value = |node: &berth_store::EventNode| node.value.as_ref().map_or(0, |value| value.len());
    let guess = value(&event.node) + event.prev.as_ref().map_or(0, value);
    let mut out = Vec::with_capacity(GUESS + guess);
    begin(&mut out, event.action.name());
    out.extend_from_slice(br#","node":"#);
    let node = &event.node;
    let mut shown = Shown {
        key: &node.key,
        value: node.value.as_deref(),
        dir: node.dir,
        expiration: node.deadline.map(|deadline| times.wall_of(deadline)),
        ttl: event.ttl(),
        nodes: &[],
        modified: node.modified,
        created: node.created,
    };
    shown.write(&mut out, &|_| Lifetime::default());
    if let Some(prev) = &event.prev {
        out.extend_from_slice(br#","prevNode":"#);
        shown = Shown {
            key: &prev.key,
            value: prev.value.as_deref(),
            dir: prev.dir,
            expiration: prev.deadline.map(|deadline| times.wall_of(deadline)),
            ttl: event.prev_ttl(),
            nodes: &[],
            modified: prev.modified,
            created: prev.created,
        };
        shown.write(&mut out, &|_| Lifetime::default());
    }
    out.extend_from_slice(b"}\n");
    out
}

/// The document of a get, at a moment of cluster time.
pub(crate) fn got(node: &NodeView, times: Times, cluster_now: u64) -> Vec<u8> {
    let value = node.value.as_ref().map_or(0, |value| value.len());
    let mut out = Vec::with_capacity(GUESS * (1 + node.nodes.len()) + value);
    begin(&mut out, "get");
    out.extend_from_slice(br#","node":"#);
    let lifetime = |node: &NodeView| Lifetime {
        expiration: node.deadline.map(|deadline| times.wall_of(deadline)),
        ttl: node.ttl(cluster_now),
    };
    Shown::of(node, lifetime(node)).write(&mut out, &lifetime);
    out.extend_from_slice(b"}\n");
    out
}

/// The document of a change that was asked to be brief.
pub(crate) fn brief(action: Action) -> Vec<u8> {
    let mut out = Vec::new();
    begin(&mut out, action.name());
    out.extend_from_slice(b"}\n");
    out
}

/// The document of an error.
pub(crate) fn error(error: &StoreError) -> Vec<u8> {
    let mut out = Vec::with_capacity(GUESS);
    out.extend_from_slice(br#"{"errorCode":"#);
    json::number(&mut out, u64::from(error.code));
    out.extend_from_slice(br#","message":"#);
    json::text(&mut out, error.message().as_bytes());
    if !error.cause.is_empty() {
        out.extend_from_slice(br#","cause":"#);
        // What was no UTF-8 is U+FFFD by now, which etcd shows escaped, as for a byte that is none.
        let pieces = error.cause.split(char::REPLACEMENT_CHARACTER);
        let cause = pieces.map(str::as_bytes).collect::<Vec<_>>().join(&u8::MAX);
        json::text(&mut out, &cause);
    }
    out.extend_from_slice(br#","index":"#);
    json::number(&mut out, error.index);
    out.extend_from_slice(b"}\n");
    out
}

/// A moment of the wall clock, in milliseconds since 1970.
pub(crate) fn moment(wall_ms: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(wall_ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn begin(out: &mut Vec<u8>, action: &str) {
    out.extend_from_slice(br#"{"action":""#);
    out.extend_from_slice(action.as_bytes());
    out.push(b'"');
}

/// When a node ends, as it is shown: wall milliseconds and seconds left.
#[derive(Clone, Copy, Default)]
struct Lifetime {
    expiration: Option<i64>,
    ttl: Option<i64>,
}

struct Shown<'a> {
    key: &'a Key,
    value: Option<&'a [u8]>,
    dir: bool,
    expiration: Option<i64>,
    ttl: Option<i64>,
    nodes: &'a [NodeView],
    modified: u64,
    created: u64,
}

impl<'a> Shown<'a> {
    fn of(node: &'a NodeView, lifetime: Lifetime) -> Shown<'a> {
        Shown {
            key: &node.key,
            value: node.value.as_deref(),
            dir: node.dir,
            expiration: lifetime.expiration,
            ttl: lifetime.ttl,
            nodes: &node.nodes,
            modified: node.modified,
            created: node.created,
        }
    }

    /// The recursion is as deep as the deepest key, which has a bound.
    fn write(&self, out: &mut Vec<u8>, lifetime: &impl Fn(&NodeView) -> Lifetime) {
        let mut mark = b'{';
        let mut name = |out: &mut Vec<u8>, name: &str| {
            out.push(std::mem::replace(&mut mark, b','));
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
        };
        if !self.key.is_root() {
            name(out, "key");
            json::text(out, self.key.as_bytes());
        }
        if let Some(value) = self.value {
            name(out, "value");
            json::text(out, value);
        }
        if self.dir {
            name(out, "dir");
            out.extend_from_slice(b"true");
        }
        if let Some(wall_ms) = self.expiration {
            name(out, "expiration");
            let text = moment(wall_ms).format(&Rfc3339).unwrap_or_default();
            json::text(out, text.as_bytes());
        }
        if let Some(ttl) = self.ttl {
            name(out, "ttl");
            json::signed(out, ttl);
        }
        if !self.nodes.is_empty() {
            name(out, "nodes");
            let mut mark = b'[';
            for node in self.nodes {
                out.push(std::mem::replace(&mut mark, b','));
                Shown::of(node, lifetime(node)).write(out, lifetime);
            }
            out.push(b']');
        }
        for (field, number) in [("modifiedIndex", self.modified), ("createdIndex", self.created)] {
            if number != 0 {
                name(out, field);
                json::number(out, number);
            }
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests;
