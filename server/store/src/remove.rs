//! The writes that remove: delete, compare-and-delete, expiry.

use crate::apply::{Applied, EXPIRIES_PER_TICK, Store};
use crate::command::Condition;
use crate::error::{StoreError, code};
use crate::event::{Action, Event, EventNode};
use crate::key::Key;
use crate::tree::Node;

impl Store {
    pub(crate) fn delete(&mut self, key: &Key, dir: bool, recursive: bool) -> Result<Applied, StoreError> {
        let node = self.existing(key)?;
        if node.is_dir() && !recursive {
            if !dir {
                return self.refuse(code::NOT_A_FILE, key);
            }
            if self.tree.descendants(key.as_bytes()).next().is_some() {
                return self.refuse(code::DIRECTORY_NOT_EMPTY, key);
            }
        }
        let mut applied = Applied::default();
        self.remove(Action::Delete, key, &node, &mut applied);
        Ok(applied)
    }

    pub(crate) fn compare_and_delete(
        &mut self,
        key: &Key,
        condition: &Condition,
    ) -> Result<Applied, StoreError> {
        if key.is_root() {
            // This one refusal of etcd names no key.
            return self.refuse(code::NOT_A_FILE, "");
        }
        let node = self.existing(key)?;
        let Some(value) = &node.value else {
            return self.refuse(code::NOT_A_FILE, key);
        };
        self.compare(condition, value, node.modified)?;
        let mut applied = Applied::default();
        self.remove(Action::CompareAndDelete, key, &node, &mut applied);
        Ok(applied)
    }

    /// Removes what is due, in the order of time.
    pub(crate) fn expire(&mut self) -> Applied {
        let mut applied = Applied::default();
        while applied.events.len() < EXPIRIES_PER_TICK {
            let Some(key) = self.deadlines.due(self.cluster_ms) else {
                return applied;
            };
            let Some(node) = self.tree.get(&key).cloned() else {
                unreachable!("a deadline without a node: {key}");
            };
            self.remove(Action::Expire, &key, &node, &mut applied);
            self.stats.expired += 1;
        }
        applied.more_due = self.deadlines.due(self.cluster_ms).is_some();
        applied
    }

    /// Removes a node with all below it, in one event.
    fn remove(&mut self, action: Action, key: &Key, node: &Node, applied: &mut Applied) {
        let index = self.index + 1;
        let below: Vec<Key> = match node.is_dir() {
            true => self
                .tree
                .descendants(key.as_bytes())
                .map(|(key, _)| key.clone())
                .collect(),
            false => Vec::new(),
        };
        if !below.is_empty() {
            applied.removals.push((index, self.tree.clone()));
        }
        for key in below.iter().rev().chain([key]) {
            self.take_node(key);
        }
        let event = Event {
            action,
            index,
            cluster_ms: self.cluster_ms,
            node: EventNode::removed(key, node, index),
            prev: Some(EventNode::of(key, node)),
            refresh: false,
        };
        applied.events.push(self.record(event));
    }
}
