//! The last events of the whole store, for watches that begin in the past.

use crate::digest::mix;
use crate::event::Event;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many indexes the history reaches back. Clients count on the number; older events are forgotten.
pub const HISTORY_EVENTS: usize = 1000;

/// One slot for each index up to the newest: an index without a visible event has an empty one.
#[derive(Clone, Default)]
pub(crate) struct History {
    slots: VecDeque<Option<Arc<Event>>>,
    /// The index of the last slot.
    newest: u64,
    /// Over all events so far.
    hash: u64,
}

impl History {
    /// Continues a history whose newest index and hash are known; the slots are pushed afterwards.
    pub(crate) fn restored(slots: VecDeque<Option<Arc<Event>>>, newest: u64, hash: u64) -> History {
        History { slots, newest, hash }
    }

    pub(crate) fn push(&mut self, event: Option<Arc<Event>>) {
        self.hash = match &event {
            Some(event) => event.mix_into(self.hash),
            None => mix(self.hash, 0),
        };
        if self.slots.len() == HISTORY_EVENTS {
            self.slots.pop_front();
        }
        self.slots.push_back(event);
        self.newest += 1;
    }

    /// The oldest index that is still known, if older ones are not.
    pub(crate) fn oldest_if_cut(&self) -> Option<u64> {
        let oldest = self.newest - self.slots.len() as u64 + 1;
        (oldest > 1).then_some(oldest)
    }

    /// Visible events with an index of at least `since`, oldest first.
    pub(crate) fn since(&self, since: u64) -> impl Iterator<Item = &Arc<Event>> {
        let first = self.newest - self.slots.len() as u64 + 1;
        let skip = usize::try_from(since.saturating_sub(first)).unwrap_or(usize::MAX);
        self.slots.range(skip.min(self.slots.len())..).flatten()
    }

    pub(crate) fn slots(&self) -> &VecDeque<Option<Arc<Event>>> {
        &self.slots
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}
