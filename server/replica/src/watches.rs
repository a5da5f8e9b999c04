//! stand-in
use crate::effect::Effect;
use berth_store::*;
use std::collections::BTreeMap;
#[derive(Default)]
pub(crate) struct WatchTable {
    open: BTreeMap<WatchId, ()>,
}
impl WatchTable {
    pub(crate) fn open(
        &mut self,
        id: WatchId,
        _key: Key,
        _recursive: bool,
        _stream: bool,
        _since: Option<u64>,
        store: &Store,
        position: (u64, u64),
        effects: &mut Vec<Effect>,
    ) {
        self.open.insert(id, ());
        effects.push(Effect::WatchOpened {
            watch: id,
            index: store.index(),
            applied: position.0,
            term: position.1,
        });
    }
    pub(crate) fn close(&mut self, id: WatchId) {
        self.open.remove(&id);
    }
    pub(crate) fn notify(&mut self, applied: &Applied, effects: &mut Vec<Effect>) {
        for event in &applied.events {
            for id in self.open.keys() {
                effects.push(Effect::Notify {
                    watch: *id,
                    event: event.clone(),
                    last: false,
                });
            }
        }
    }
    pub(crate) fn jump(&mut self, _seen: u64, _store: &Store, _p: (u64, u64), _effects: &mut Vec<Effect>) {}
}
