//! The open watches of this member: what the keyspace's registry says, as effects.

use crate::effect::Effect;
use berth_store::{Applied, Key, Registered, Store, WatchId, Watches};

/// Where answers stand in the log.
#[derive(Clone, Copy)]
pub(crate) struct Position {
    pub(crate) applied: u64,
    pub(crate) term: u64,
}

/// What a client wants to watch.
pub(crate) struct Wish {
    pub(crate) id: WatchId,
    pub(crate) key: Key,
    pub(crate) recursive: bool,
    pub(crate) stream: bool,
    pub(crate) since: Option<u64>,
}

#[derive(Default)]
pub(crate) struct WatchTable {
    open: Watches,
}

impl WatchTable {
    /// Scans the history and registers in one step, so that no event falls between.
    pub(crate) fn open(&mut self, wish: Wish, store: &Store, at: Position, effects: &mut Vec<Effect>) {
        let Wish {
            id,
            key,
            recursive,
            stream,
            since,
        } = wish;
        let registered = self.open.register(id, key, recursive, stream, since, store);
        if !matches!(registered, Registered::Cleared { .. }) {
            effects.push(Effect::WatchOpened {
                watch: id,
                index: store.index(),
                applied: at.applied,
                term: at.term,
            });
        }
        self.tell(id, registered, store, effects);
    }

    pub(crate) fn close(&mut self, id: WatchId) {
        self.open.unregister(id);
    }

    pub(crate) fn notify(&mut self, applied: &Applied, effects: &mut Vec<Effect>) {
        let notices = self.open.hear(applied);
        effects.extend(notices.into_iter().map(|notice| Effect::Notify {
            watch: notice.watch,
            event: notice.event,
            last: notice.last,
        }));
    }

    /// After the state jumped ahead (`seen` was its index before): what each watch missed, or that it cannot be known.
    pub(crate) fn jump(&mut self, seen: u64, store: &Store, effects: &mut Vec<Effect>) {
        for (id, outcome) in self.open.catch_up(seen, store) {
            self.tell(id, outcome, store, effects);
        }
    }

    fn tell(&self, id: WatchId, registered: Registered, store: &Store, effects: &mut Vec<Effect>) {
        match registered {
            Registered::Waiting => {}
            Registered::Now(events) => {
                let last = !self.open.is_open(id);
                effects.extend(events.into_iter().map(|event| Effect::Notify {
                    watch: id,
                    event,
                    last,
                }));
            }
            Registered::Cleared { oldest, asked } => {
                effects.push(Effect::WatchCleared {
                    watch: id,
                    oldest,
                    asked,
                    index: store.index(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Position, WatchTable, Wish};
    use crate::effect::Effect;
    use berth_store::{Key, Store, WatchId};

    #[test]
    fn a_watch_opens_at_the_present_and_is_told_so() {
        let (mut table, store, mut effects) = (WatchTable::default(), Store::new(), Vec::new());
        let wish = Wish {
            id: WatchId(1),
            key: Key::parse("/a").unwrap(),
            recursive: true,
            stream: false,
            since: None,
        };
        table.open(wish, &store, Position { applied: 7, term: 2 }, &mut effects);
        let [
            Effect::WatchOpened {
                watch: WatchId(1),
                index,
                applied: 7,
                term: 2,
            },
        ] = effects.as_slice()
        else {
            panic!("{effects:?}");
        };
        assert_eq!(*index, store.index());
        table.jump(store.index(), &store, &mut effects);
        assert_eq!(effects.len(), 1);
    }
}
