//! Keys as text: etcdctl's three shapes. Pure.

use berth_sdk::KeyAnswer;
use berth_wire::etcd::{Event, Node};

/// The value, or the one that was deleted.
pub(super) fn simple(event: &Event) -> String {
    if event.action != "delete" {
        return format!("{}\n", value(&event.node));
    }
    let before = event.prev_node.as_ref().map(value).unwrap_or_default();
    format!("PrevNode.Value: {before}\n")
}

/// The numbers of a key and its value.
pub(super) fn extended(answer: &KeyAnswer) -> String {
    let node = &answer.event.node;
    let mut text = format!(
        "Key: {}\nCreated-Index: {}\nModified-Index: {}\n",
        node.key, node.created_index, node.modified_index
    );
    if let Some(before) = &answer.event.prev_node {
        text.push_str(&format!("PrevNode.Value: {}\n", value(before)));
    }
    text.push_str(&format!(
        "TTL: {}\nIndex: {}\n",
        node.ttl.unwrap_or(0),
        answer.index
    ));
    if answer.event.action != "delete" {
        text.push_str(&format!("\n{}\n", value(node)));
    }
    text
}

fn value(node: &Node) -> &str {
    node.value.as_deref().unwrap_or_default()
}

/// The document that etcd's client makes of an answer: every field in its order, missing ones as `null`.
pub(super) fn json(event: &Event) -> String {
    let mut text = String::from("{\"action\":");
    quote(&event.action, &mut text);
    text.push_str(",\"node\":");
    json_node(&event.node, &mut text);
    text.push_str(",\"prevNode\":");
    match &event.prev_node {
        Some(before) => json_node(before, &mut text),
        None => text.push_str("null"),
    }
    text.push_str("}\n");
    text
}

fn json_node(node: &Node, text: &mut String) {
    text.push_str("{\"key\":");
    quote(&node.key, text);
    if node.dir {
        text.push_str(",\"dir\":true");
    }
    text.push_str(",\"value\":");
    quote(value(node), text);
    text.push_str(",\"nodes\":");
    if node.nodes.is_empty() {
        text.push_str("null");
    } else {
        for (at, inner) in node.nodes.iter().enumerate() {
            text.push(if at == 0 { '[' } else { ',' });
            json_node(inner, text);
        }
        text.push(']');
    }
    text.push_str(&format!(
        ",\"createdIndex\":{},\"modifiedIndex\":{}",
        node.created_index, node.modified_index
    ));
    if let Some(expiration) = &node.expiration {
        text.push_str(",\"expiration\":");
        quote(expiration, text);
    }
    if let Some(ttl) = node.ttl.filter(|ttl| *ttl != 0) {
        text.push_str(&format!(",\"ttl\":{ttl}"));
    }
    text.push('}');
}

/// A string as Go's encoder writes it: what HTML could take for markup is escaped too.
pub(crate) fn quote(value: &str, text: &mut String) {
    text.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        serde_json::from_str(text).expect("an event")
    }

    #[test]
    fn values() {
        for (text, wanted) in [
            (r#"{"action":"set","node":{"key":"/a","value":"5"}}"#, "5\n"),
            (
                r#"{"action":"delete","node":{"key":"/a"},"prevNode":{"key":"/a","value":"5"}}"#,
                "PrevNode.Value: 5\n",
            ),
            (
                r#"{"action":"expire","node":{"key":"/a"},"prevNode":{"key":"/a","value":"5"}}"#,
                "\n",
            ),
        ] {
            assert_eq!(simple(&event(text)), wanted);
        }
    }

    #[test]
    fn numbers() {
        let answer = |text: &str| KeyAnswer {
            event: event(text),
            index: 9,
            document: String::new(),
        };
        assert_eq!(
            extended(&answer(
                r#"{"action":"set","node":{"key":"/a","value":"6","ttl":3,"createdIndex":7,"modifiedIndex":8},"prevNode":{"value":"5"}}"#
            )),
            "Key: /a\nCreated-Index: 7\nModified-Index: 8\nPrevNode.Value: 5\nTTL: 3\nIndex: 9\n\n6\n"
        );
        assert_eq!(
            extended(&answer(r#"{"action":"delete","node":{"key":"/a"}}"#)),
            "Key: /a\nCreated-Index: 0\nModified-Index: 0\nTTL: 0\nIndex: 9\n"
        );
    }

    #[test]
    fn documents() {
        for (text, wanted) in [
            (
                r#"{"action":"get","node":{"key":"/h","value":"<&>\"é\n\u0001","createdIndex":1,"modifiedIndex":2}}"#,
                "{\"action\":\"get\",\"node\":{\"key\":\"/h\",\"value\":\"\\u003c\\u0026\\u003e\\\"é\\n\\u0001\",\"nodes\":null,\"createdIndex\":1,\"modifiedIndex\":2},\"prevNode\":null}\n",
            ),
            (
                r#"{"action":"get","node":{"key":"/q","dir":true,"expiration":"2026-01-01T00:00:00Z","ttl":7,"nodes":[{"key":"/q/1","value":"1"}]}}"#,
                "{\"action\":\"get\",\"node\":{\"key\":\"/q\",\"dir\":true,\"value\":\"\",\"nodes\":[{\"key\":\"/q/1\",\"value\":\"1\",\"nodes\":null,\"createdIndex\":0,\"modifiedIndex\":0}],\"createdIndex\":0,\"modifiedIndex\":0,\"expiration\":\"2026-01-01T00:00:00Z\",\"ttl\":7},\"prevNode\":null}\n",
            ),
        ] {
            assert_eq!(json(&event(text)), wanted);
        }
    }
}
