//! The store against a naive model: random commands, watches, snapshots in between; every answer must agree.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

mod naive;

use berth_store::{
    Applied, Command, Condition, Event, Key, Kind, NodeView, Put, Registered, Store, WatchId, Watches,
    restore,
};
use naive::{Naive, NaiveWatch, path};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One step of a run.
#[derive(Clone, Debug)]
enum Step {
    Apply(Command),
    Watch {
        key: Key,
        recursive: bool,
        stream: bool,
        since: Option<u64>,
    },
    /// Closes the watch with this number, if there is one.
    Unwatch(u64),
    Get {
        key: Key,
        recursive: bool,
    },
    Restore,
}

fn keys() -> impl Strategy<Value = Key> {
    let name = prop::sample::select(vec!["a", "b", "a!", "_h"]);
    prop::collection::vec(name, 0..4).prop_map(|names| Key::parse(names.join("/")).unwrap())
}

fn values() -> impl Strategy<Value = berth_store::Value> {
    prop::sample::select(vec!["", "x", "y"]).prop_map(|text| text.as_bytes().into())
}

fn puts() -> impl Strategy<Value = Put> {
    let ttl = prop_oneof![3 => Just(None), 2 => (0_u64..4).prop_map(Some)];
    let flags = (prop::bool::weighted(0.3), prop::bool::weighted(0.2));
    (keys(), values(), ttl, flags).prop_map(|(key, value, ttl, (dir, refresh))| {
        // The API allows no value with a refresh.
        let value = if refresh {
            berth_store::Value::default()
        } else {
            value
        };
        Put {
            key,
            value,
            dir,
            ttl,
            refresh,
        }
    })
}

fn conditions() -> impl Strategy<Value = Condition> {
    (prop::option::of(values()), 0_u64..12).prop_map(|(prev_value, prev_index)| Condition {
        prev_value,
        prev_index,
    })
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        6 => puts().prop_map(Kind::Set),
        2 => puts().prop_map(Kind::Create),
        3 => puts().prop_map(Kind::Update),
        2 => (puts(), conditions()).prop_map(|(put, condition)| Kind::CompareAndSwap(put, condition)),
        2 => puts().prop_map(Kind::CreateInOrder),
        2 => (keys(), any::<bool>(), any::<bool>())
            .prop_map(|(key, dir, recursive)| Kind::Delete { key, dir, recursive }),
        1 => (keys(), conditions()).prop_map(|(key, condition)| Kind::CompareAndDelete { key, condition }),
        3 => Just(Kind::Tick),
        1 => Just(Kind::Bump),
    ]
}

fn commands() -> impl Strategy<Value = Command> {
    // Times need not rise: the store's own must not go back.
    (0_u64..20_000, kinds()).prop_map(|(cluster_ms, kind)| Command { cluster_ms, kind })
}

fn steps() -> impl Strategy<Value = Step> {
    let since = prop::option::of(0_u64..40);
    prop_oneof![
        12 => commands().prop_map(Step::Apply),
        3 => (keys(), any::<bool>(), any::<bool>(), since)
            .prop_map(|(key, recursive, stream, since)| Step::Watch { key, recursive, stream, since }),
        1 => (0_u64..10).prop_map(Step::Unwatch),
        2 => (keys(), any::<bool>()).prop_map(|(key, recursive)| Step::Get { key, recursive }),
        1 => Just(Step::Restore),
    ]
}

#[derive(Default)]
struct Run {
    store: Store,
    watches: Watches,
    model: Naive,
    open: BTreeMap<WatchId, NaiveWatch>,
    watched: u64,
}

impl Run {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Apply(command) => self.apply(command),
            Step::Watch {
                key,
                recursive,
                stream,
                since,
            } => self.watch(key, *recursive, *stream, *since),
            Step::Unwatch(number) => {
                let id = WatchId(*number);
                assert_eq!(self.watches.unregister(id), self.open.remove(&id).is_some());
            }
            Step::Get { key, recursive } => self.get(key, *recursive),
            Step::Restore => {
                let restored = restore(self.store.chunks()).unwrap();
                assert_eq!(restored.digest(), self.store.digest());
                assert_eq!(restored.next_deadline(), self.store.next_deadline());
                self.store = restored;
            }
        }
        assert_eq!(self.watches.len(), self.open.len());
    }

    fn apply(&mut self, command: &Command) {
        assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(command));
        let view = self.store.view();
        let before = view.get(&Key::root(), true).unwrap();
        let actual = self.store.apply(command);
        let expected = self.model.apply(command);
        match (&actual, &expected) {
            (Ok(applied), Ok(events)) => {
                let found: Vec<&Event> = applied.events.iter().map(Arc::as_ref).collect();
                let wanted: Vec<&Event> = events.iter().map(|(event, _)| event).collect();
                assert_eq!(found, wanted);
                assert!(!applied.more_due);
                self.hear(applied, events);
            }
            (Err(error), Err((code, cause))) => {
                assert_eq!(
                    (error.code, error.cause.as_str(), error.index),
                    (*code, cause.as_str(), self.model.index)
                );
            }
            _ => panic!("{command:?} gives {actual:?}, not {expected:?}"),
        }
        assert_eq!(self.store.index(), self.model.index);
        assert_eq!(self.store.cluster_ms(), self.model.now);
        assert_eq!(self.store.next_deadline(), self.model.next_deadline());
        assert_eq!(
            view.get(&Key::root(), true).unwrap(),
            before,
            "a view must not change"
        );
    }

    fn hear(&mut self, applied: &Applied, events: &[(Event, naive::Entry)]) {
        let mut wanted = Vec::new();
        for (event, before) in events {
            for (id, watch) in self.open.clone() {
                if watch.hears(event, before) {
                    wanted.push((id, event.clone(), !watch.stream));
                    if !watch.stream {
                        self.open.remove(&id);
                    }
                }
            }
        }
        let notices = self.watches.hear(applied);
        let heard: Vec<_> = notices
            .iter()
            .map(|n| (n.watch, n.event.as_ref().clone(), n.last))
            .collect();
        assert_eq!(heard, wanted);
    }

    fn watch(&mut self, key: &Key, recursive: bool, stream: bool, since: Option<u64>) {
        let id = WatchId(self.watched);
        self.watched += 1;
        let first = since.filter(|since| *since > 0).unwrap_or(self.model.index + 1);
        let watch = NaiveWatch {
            path: path(key),
            recursive,
            stream,
            since: first,
        };
        let mut past: Vec<Event> = self
            .model
            .events
            .iter()
            .filter(|event| watch.finds(event))
            .cloned()
            .collect();
        if !stream {
            past.truncate(1);
        }
        if stream || past.is_empty() {
            self.open.insert(id, watch);
        }
        match self
            .watches
            .register(id, key.clone(), recursive, stream, since, &self.store)
        {
            Registered::Now(events) => {
                assert!(!events.is_empty());
                assert_eq!(
                    events
                        .iter()
                        .map(|event| event.as_ref().clone())
                        .collect::<Vec<_>>(),
                    past
                );
            }
            Registered::Waiting => assert_eq!(past, []),
            Registered::Cleared { .. } => panic!("the history is not cut so soon"),
        }
    }

    fn get(&self, key: &Key, recursive: bool) {
        match (
            self.store.view().get(key, recursive),
            self.model.get(key, recursive),
        ) {
            (Ok(found), Ok(wanted)) => assert_eq!(found, wanted),
            (Err(error), Err((code, cause))) => assert_eq!((error.code, error.cause), (code, cause)),
            (found, wanted) => panic!("{key} gives {found:?}, not {wanted:?}"),
        }
    }
}

/// Everything, hidden nodes too.
fn all(store: &Store, key: &Key) -> Vec<NodeView> {
    let mut nodes = vec![store.view().get(key, true).unwrap()];
    let hidden = Key::parse(format!("{key}/_h")).unwrap();
    if store.view().get(&hidden, false).is_ok() {
        nodes.extend(all(store, &hidden));
    }
    nodes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_store_does_what_the_model_does(steps in prop::collection::vec(steps(), 1..80)) {
        let mut run = Run::default();
        for step in &steps {
            run.step(step);
        }
        run.get(&Key::root(), true);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_commands_give_equal_states(
        commands in prop::collection::vec(commands(), 1..60),
        restart in 0_usize..60,
    ) {
        let (mut one, mut other) = (Store::new(), Store::new());
        for (at, command) in commands.iter().enumerate() {
            let unchanged = one.digest();
            let time = one.cluster_ms();
            let outcome = one.apply(command);
            if at == restart {
                other = restore(other.chunks()).unwrap();
            }
            let again = other.apply(command);
            prop_assert_eq!(outcome.is_ok(), again.is_ok());
            prop_assert_eq!(one.digest(), other.digest());
            prop_assert_eq!(one.stats(), other.stats());
            let quiet = outcome.is_err() && one.cluster_ms() == time;
            prop_assert_eq!(quiet && one.digest() != unchanged, false);
        }
        prop_assert_eq!(all(&one, &Key::root()), all(&other, &Key::root()));
        let chunks: Vec<_> = one.chunks().collect();
        prop_assert_eq!(chunks, other.chunks().collect::<Vec<_>>());
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(command) = Command::decode(&bytes) {
            prop_assert_eq!(Command::decode(&command.encode()), Ok(command));
        }
    }

    #[test]
    fn damaged_commands_do_not_panic(command in commands(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = command.encode();
        let at = at.index(bytes.len());
        prop_assert!(Command::decode(&bytes[..at]).is_err());
        bytes[at] = byte;
        drop(Command::decode(&bytes));
        let mut longer = command.encode();
        longer.push(byte);
        prop_assert!(Command::decode(&longer).is_err());
    }

    #[test]
    fn damaged_snapshots_are_refused(
        commands in prop::collection::vec(commands(), 1..40),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..=255,
    ) {
        let mut store = Store::new();
        for command in &commands {
            drop(store.apply(command));
        }
        let mut chunks: Vec<_> = store.chunks().collect();
        let last = chunks.len() - 1;
        let at = at.index(chunks[last].1.len());
        let mut short = chunks.clone();
        short[last].1.truncate(at);
        prop_assert!(restore(short).is_err());
        chunks[last].1[at] ^= flip;
        prop_assert!(restore(chunks).is_err());
    }
}
