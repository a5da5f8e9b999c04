//! The watches that clients hold open, and whether each hears exactly what it should.

use crate::invariants::{Checked, Invariant, Oracle, require};
use berth_store::{Event, Key, WatchId};
use std::collections::BTreeMap;

/// One open watch, as its client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) member: u64,
    pub(crate) key: Key,
    pub(crate) recursive: bool,
    pub(crate) stream: bool,
    pub(crate) since: Option<u64>,
    /// Once it is open: the first index that it has not heard of, one way or the other.
    next: Option<u64>,
}

/// All of them; an id is never used again.
#[derive(Debug, Default)]
pub(crate) struct WatchBook {
    last: u64,
    open: BTreeMap<WatchId, Watch>,
}

impl Watch {
    pub(crate) fn new(member: u64, key: Key, recursive: bool, stream: bool, since: Option<u64>) -> Watch {
        Watch {
            member,
            key,
            recursive,
            stream,
            since,
            next: None,
        }
    }

    fn wants(&self, event: &Event) -> bool {
        let key = &event.node.key;
        !event.refresh && (*key == self.key || self.recursive && self.key.is_above(key))
    }

    /// Nothing of interest has happened from what it last heard up to before `until`.
    fn missed_nothing(&self, id: WatchId, until: u64, oracle: &Oracle) -> Checked {
        let missed = (self.next.unwrap_or(until)..until)
            .filter_map(|index| oracle.event(index))
            .find(|event| self.wants(event));
        require(missed.is_none(), Invariant::Watch, || {
            format!("{id:?} {self:?} missed {missed:?}")
        })
    }
}

impl WatchBook {
    pub(crate) fn add(&mut self, watch: Watch) -> WatchId {
        self.last += 1;
        let id = WatchId(self.last);
        self.open.insert(id, watch);
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    /// One of the open watches of a member.
    pub(crate) fn nth_of(&self, member: u64, draw: u64) -> Option<WatchId> {
        let own: Vec<WatchId> = self
            .open
            .iter()
            .filter(|(_, watch)| watch.member == member)
            .map(|(id, _)| *id)
            .collect();
        let at = usize::try_from(draw % (own.len() as u64).max(1)).ok()?;
        own.get(at).copied()
    }

    pub(crate) fn remove(&mut self, id: WatchId) {
        self.open.remove(&id);
    }

    /// The member is gone, and all its connections with it.
    pub(crate) fn crash(&mut self, member: u64) {
        self.open.retain(|_, watch| watch.member != member);
    }

    pub(crate) fn opened(&mut self, id: WatchId, index: u64) -> Checked {
        let watch = self.open.get_mut(&id);
        let fresh = watch.as_ref().is_some_and(|watch| watch.next.is_none());
        require(fresh, Invariant::Watch, || format!("{id:?} opened twice"))?;
        if let Some(watch) = watch {
            watch.next = Some(watch.since.filter(|since| *since > 0).unwrap_or(index + 1));
        }
        Ok(())
    }

    pub(crate) fn notified(&mut self, id: WatchId, event: &Event, last: bool, oracle: &Oracle) -> Checked {
        let Some(watch) = self.open.get_mut(&id) else {
            return require(false, Invariant::Watch, || {
                format!("{id:?} is closed and hears of {}", event.index)
            });
        };
        let next = watch.next.unwrap_or(u64::MAX);
        require(event.index >= next, Invariant::Watch, || {
            format!("{id:?} hears of {} instead of {next} or later", event.index)
        })?;
        watch.missed_nothing(id, event.index, oracle)?;
        let same = oracle.event(event.index).is_some_and(|known| **known == *event);
        require(same && watch.wants(event), Invariant::Watch, || {
            format!("{id:?} {watch:?} hears {event:?}")
        })?;
        require(last != watch.stream, Invariant::Watch, || {
            format!("{id:?} {watch:?}: last is {last}")
        })?;
        watch.next = Some(event.index + 1);
        if last {
            self.open.remove(&id);
        }
        Ok(())
    }

    /// The history does not reach back to `asked`; everything before must have been heard.
    pub(crate) fn cleared(&mut self, id: WatchId, oldest: u64, asked: u64, oracle: &Oracle) -> Checked {
        let watch = self.open.remove(&id);
        require(watch.is_some() && asked < oldest, Invariant::Watch, || {
            format!("{id:?} is cleared: asked for {asked}, oldest is {oldest}")
        })?;
        watch.map_or(Ok(()), |watch| watch.missed_nothing(id, asked, oracle))
    }

    /// At rest each open watch of a member has heard of everything up to the member's index.
    pub(crate) fn check(&self, member: u64, index: u64, oracle: &Oracle) -> Checked {
        let own = self.open.iter().filter(|(_, watch)| watch.member == member);
        for (id, watch) in own {
            require(watch.next.is_some(), Invariant::Watch, || {
                format!("{id:?} was never opened")
            })?;
            watch.missed_nothing(*id, index + 1, oracle)?;
        }
        Ok(())
    }
}
