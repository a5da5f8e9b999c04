//! Commands on a keyspace, and the documents that come of them.

use super::{brief, error, event, got};
use crate::clock::Times;
use berth_store::{Action, Command, Condition, Key, Kind, Put, Store, StoreError};

fn key(path: &str) -> Key {
    Key::parse(path).unwrap()
}

fn put(path: &str, value: &str) -> Put {
    Put::file(key(path), value.as_bytes())
}

/// A keyspace whose cluster time began at 1970.
struct Keys {
    store: Store,
    times: Times,
}

impl Keys {
    fn new() -> Keys {
        Keys {
            store: Store::new(),
            times: Times::fixed(),
        }
    }

    fn apply(&mut self, kind: Kind) -> String {
        self.at(0, kind)
    }

    fn at(&mut self, cluster_ms: u64, kind: Kind) -> String {
        let applied = self.store.apply(&Command { cluster_ms, kind });
        let shown = match &applied {
            Ok(applied) => event(applied.event().unwrap(), self.times),
            Err(refusal) => error(refusal),
        };
        String::from_utf8(shown).unwrap()
    }

    fn get(&self, path: &str, recursive: bool, now: u64) -> String {
        let node = self.store.view().get(&key(path), recursive).unwrap();
        String::from_utf8(got(&node, self.times, now)).unwrap()
    }
}

#[test]
fn changes_are_shown_with_what_was_there_before() {
    let mut keys = Keys::new();
    assert_eq!(
        keys.apply(Kind::Set(put("/a/b", "x"))),
        "{\"action\":\"set\",\"node\":{\"key\":\"/a/b\",\"value\":\"x\",\"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
    assert_eq!(
        keys.apply(Kind::Update(put("/a/b", ""))),
        "{\"action\":\"update\",\"node\":{\"key\":\"/a/b\",\"value\":\"\",\"modifiedIndex\":2,\"createdIndex\":1},\
         \"prevNode\":{\"key\":\"/a/b\",\"value\":\"x\",\"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
    assert_eq!(
        keys.apply(Kind::CompareAndSwap(
            put("/a/b", "y"),
            Condition {
                prev_value: None,
                prev_index: 1
            }
        )),
        "{\"errorCode\":101,\"message\":\"Compare failed\",\"cause\":\"[1 != 2]\",\"index\":2}\n"
    );
    assert_eq!(
        keys.apply(Kind::Delete {
            key: key("/a"),
            dir: false,
            recursive: true
        }),
        "{\"action\":\"delete\",\"node\":{\"key\":\"/a\",\"dir\":true,\"modifiedIndex\":3,\"createdIndex\":1},\
         \"prevNode\":{\"key\":\"/a\",\"dir\":true,\"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
}

#[test]
fn the_root_has_no_key_and_no_indexes() {
    let mut keys = Keys::new();
    assert_eq!(
        keys.get("/", false, 0),
        "{\"action\":\"get\",\"node\":{\"dir\":true}}\n"
    );
    keys.apply(Kind::Set(put("/b", "2")));
    keys.apply(Kind::Set(put("/a/c", "1")));
    keys.apply(Kind::Set(put("/_h", "hidden")));
    assert_eq!(
        keys.get("/", true, 0),
        "{\"action\":\"get\",\"node\":{\"dir\":true,\"nodes\":[{\"key\":\"/a\",\"dir\":true,\"nodes\":[\
         {\"key\":\"/a/c\",\"value\":\"1\",\"modifiedIndex\":2,\"createdIndex\":2}],\"modifiedIndex\":2,\"createdIndex\":2},\
         {\"key\":\"/b\",\"value\":\"2\",\"modifiedIndex\":1,\"createdIndex\":1}]}}\n"
    );
}

#[test]
fn lifetimes_are_shown_as_moment_and_seconds() {
    let mut keys = Keys::new();
    assert_eq!(
        keys.at(500, Kind::Set(put("/t", "x").with_ttl(20))),
        "{\"action\":\"set\",\"node\":{\"key\":\"/t\",\"value\":\"x\",\"expiration\":\"1970-01-01T00:00:20.5Z\",\"ttl\":20,\
         \"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
    assert!(
        keys.get("/t", false, 500)
            .contains("\"expiration\":\"1970-01-01T00:00:20.5Z\",\"ttl\":20,")
    );
    assert!(keys.get("/t", false, 19_501).contains("\"ttl\":1,"));
    assert!(!keys.get("/t", false, 20_500).contains("\"ttl\""));
    assert!(keys.get("/t", false, 22_000).contains("\"ttl\":-1,"));
    assert_eq!(
        keys.at(21_000, Kind::Tick),
        "{\"action\":\"expire\",\"node\":{\"key\":\"/t\",\"modifiedIndex\":2,\"createdIndex\":1},\"prevNode\":{\"key\":\"/t\",\
         \"value\":\"x\",\"expiration\":\"1970-01-01T00:00:20.5Z\",\"modifiedIndex\":1,\"createdIndex\":1}}\n"
    );
}

#[test]
fn errors_and_brief_answers() {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    assert_eq!(
        text(error(&StoreError::new(300, "", 0))),
        "{\"errorCode\":300,\"message\":\"Raft Internal Error\",\"index\":0}\n"
    );
    assert_eq!(
        text(error(&StoreError::history_cleared(14, 5, 1013))),
        "{\"errorCode\":401,\"message\":\"The event in requested index is outdated and cleared\",\
         \"cause\":\"the requested history has been cleared [14/5]\",\"index\":1013}\n"
    );
    assert_eq!(
        text(brief(Action::CompareAndSwap)),
        "{\"action\":\"compareAndSwap\"}\n"
    );
}
