//! Who waits for which events: a registry and the rules of matching, no channels.

use crate::apply::{Applied, Store};
use crate::event::Event;
use crate::key::{Key, below};
use crate::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// The caller's name for a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// The open watches.
#[derive(Debug, Default)]
pub struct Watches {
    by_id: BTreeMap<WatchId, Watch>,
    by_key: BTreeMap<Key, BTreeSet<WatchId>>,
}

#[derive(Clone, Debug)]
struct Watch {
    key: Key,
    recursive: bool,
    stream: bool,
    /// Events below this index are passed over.
    since: u64,
}

/// What became of a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registered {
    /// The history has what was asked for. A stream gets all of it and stays open; any other watch gets the first
    /// event and is not open.
    Now(Vec<Arc<Event>>),
    /// Open, nothing to tell yet.
    Waiting,
    /// Not open: the history does not reach back so far. See [`crate::StoreError::history_cleared`].
    Cleared {
        /// The oldest index that is known.
        oldest: u64,
        /// The index that was asked for.
        asked: u64,
    },
}

/// An event for a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose.
    pub watch: WatchId,
    /// What happened.
    pub event: Arc<Event>,
    /// The watch is closed with this event.
    pub last: bool,
}

impl Watches {
    /// No watches.
    pub fn new() -> Watches {
        Watches::default()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Opens a watch on `key` for events with an index of at least `since` (0 and `None`: from now on), after a look into
    /// the history. An open watch with the same id is replaced.
    pub fn register(
        &mut self,
        id: WatchId,
        key: Key,
        recursive: bool,
        stream: bool,
        since: Option<u64>,
        store: &Store,
    ) -> Registered {
        self.unregister(id);
        let since = since.filter(|since| *since > 0).unwrap_or(store.index + 1);
        self.open(
            id,
            Watch {
                key,
                recursive,
                stream,
                since,
            },
            store,
        )
    }

    /// Whether the watch is open.
    pub fn is_open(&self, id: WatchId) -> bool {
        self.by_id.contains_key(&id)
    }

    /// Closes a watch; says whether it was open.
    pub fn unregister(&mut self, id: WatchId) -> bool {
        let Some(watch) = self.by_id.remove(&id) else {
            return false;
        };
        if let Some(ids) = self.by_key.get_mut(&watch.key) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_key.remove(&watch.key);
            }
        }
        true
    }

    /// The notices that a command causes. Watches that are no streams are closed with their first.
    pub fn hear(&mut self, applied: &Applied) -> Vec<Notice> {
        let mut notices = Vec::new();
        if self.is_empty() {
            return notices;
        }
        for event in &applied.events {
            for watch in self.matches(event, applied.before(event.index)) {
                let last = self.by_id.get(&watch).is_some_and(|watch| !watch.stream);
                if last {
                    self.unregister(watch);
                }
                notices.push(Notice {
                    watch,
                    event: Arc::clone(event),
                    last,
                });
            }
        }
        notices
    }

    /// After the state was replaced by a later one (`seen` was the index before): what each open watch missed. Watches for
    /// which nothing happened are not named.
    pub fn catch_up(&mut self, seen: u64, store: &Store) -> Vec<(WatchId, Registered)> {
        let mut outcomes = Vec::new();
        for id in self.by_id.keys().copied().collect::<Vec<_>>() {
            let Some(watch) = self.by_id.get(&id).cloned() else {
                continue;
            };
            self.unregister(id);
            let since = watch.since.max(seen + 1);
            match self.open(id, Watch { since, ..watch }, store) {
                Registered::Waiting => {}
                outcome @ (Registered::Now(_) | Registered::Cleared { .. }) => outcomes.push((id, outcome)),
            }
        }
        outcomes
    }

    fn open(&mut self, id: WatchId, watch: Watch, store: &Store) -> Registered {
        if let Some(oldest) = store
            .history
            .oldest_if_cut()
            .filter(|oldest| watch.since < *oldest)
        {
            return Registered::Cleared {
                oldest,
                asked: watch.since,
            };
        }
        let most = if watch.stream { usize::MAX } else { 1 };
        let found = store
            .history
            .since(watch.since)
            .filter(|event| watch.wants_past(event));
        let events: Vec<Arc<Event>> = found.take(most).cloned().collect();
        if watch.stream || events.is_empty() {
            self.by_key.entry(watch.key.clone()).or_default().insert(id);
            self.by_id.insert(id, watch);
        }
        if events.is_empty() {
            Registered::Waiting
        } else {
            Registered::Now(events)
        }
    }

    /// Which open watches want an event, in the order of their ids. `before` are the nodes before a removal of a
    /// directory: watches on what existed below it are told too.
    fn matches(&self, event: &Event, before: Option<&Tree>) -> BTreeSet<WatchId> {
        let mut wanted = BTreeSet::new();
        if event.refresh {
            return wanted;
        }
        let key = &event.node.key;
        let root = Some(1).filter(|_| !key.is_root());
        let prefixes = key.ancestor_ends().chain(root).chain([key.as_bytes().len()]);
        for end in prefixes {
            let ids = self.by_key.get(&key.as_bytes()[..end]).into_iter().flatten();
            wanted.extend(ids.filter(|id| self.by_id.get(id).is_some_and(|watch| watch.wants(event))));
        }
        if let Some(before) = before.filter(|_| event.removes_directory()) {
            let (from, to) = below(key.as_bytes());
            let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
            for (watched, ids) in self.by_key.range::<[u8], _>(range) {
                if before.contains(watched) {
                    let due =
                        |id: &&WatchId| self.by_id.get(id).is_some_and(|watch| event.index >= watch.since);
                    wanted.extend(ids.iter().filter(due));
                }
            }
        }
        wanted
    }
}

impl Watch {
    /// Whether it is told of a change of its own key, or of one below it.
    fn wants(&self, event: &Event) -> bool {
        let key = &event.node.key;
        !event.refresh
            && event.index >= self.since
            && (*key == self.key || self.recursive && self.key.is_above(key) && !is_hidden(&self.key, key))
    }

    /// The same for the history, where it is not known any more what existed below a removed directory.
    fn wants_past(&self, event: &Event) -> bool {
        self.wants(event)
            || event.index >= self.since && event.removes_directory() && event.node.key.is_above(&self.key)
    }
}

/// Whether a component of `key` after `watched`, which is above it, begins with an underscore.
fn is_hidden(watched: &Key, key: &Key) -> bool {
    let from = if watched.is_root() {
        0
    } else {
        watched.as_bytes().len()
    };
    key.as_bytes()[from..].windows(2).any(|pair| pair == b"/_")
}

#[cfg(test)]
mod tests {
    use super::is_hidden;
    use crate::Key;

    #[test]
    fn hidden_is_what_comes_after_the_watched_part() {
        let hidden = |a: &str, b: &str| is_hidden(&Key::parse(a).unwrap(), &Key::parse(b).unwrap());
        assert!(hidden("/", "/_foo") && hidden("/_foo", "/_foo/_foo") && hidden("/a", "/a/b/_c/d"));
        assert!(!hidden("/_foo", "/_foo") && !hidden("/_foo", "/_foo/foo") && !hidden("/", "/a_/b_"));
    }
}
