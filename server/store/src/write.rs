//! The writes that leave a node: set, create, create in order, update, compare-and-swap.

use crate::apply::{Applied, Store};
use crate::command::{Condition, Put};
use crate::error::{StoreError, code};
use crate::event::{Action, Event, EventNode};
use crate::key::{Key, Value, readable};
use crate::tree::{Node, Spot};
use std::sync::Arc;

impl Store {
    pub(crate) fn set(&mut self, put: &Put) -> Result<Applied, StoreError> {
        let key = &put.key;
        let old = match self.tree.locate(key) {
            Spot::Root => return self.refuse_root(),
            Spot::Blocked { file } => return self.refuse_blocked(key, file),
            Spot::Missing { first } if put.refresh => return self.refuse_missing(key, first),
            Spot::Missing { first } => {
                self.make_parents(key, first);
                None
            }
            Spot::Found(node) if node.is_dir() => return self.refuse(code::NOT_A_FILE, key),
            Spot::Found(node) => Some(node),
        };
        let kept = old
            .as_ref()
            .filter(|_| put.refresh)
            .and_then(|old| old.value.clone());
        let index = self.index + 1;
        let node = self.new_node(put, kept.unwrap_or_else(|| put.value.clone()), index);
        Ok(self.replace(Action::Set, key, node, old, put.refresh))
    }

    pub(crate) fn create(&mut self, put: &Put) -> Result<Applied, StoreError> {
        self.create_at(put, &put.key)
    }

    pub(crate) fn create_in_order(&mut self, put: &Put) -> Result<Applied, StoreError> {
        self.create_at(put, &put.key.in_order_child(self.index + 1))
    }

    fn create_at(&mut self, put: &Put, key: &Key) -> Result<Applied, StoreError> {
        match self.tree.locate(key) {
            Spot::Root => return self.refuse_root(),
            Spot::Blocked { file } => return self.refuse_blocked(key, file),
            Spot::Found(_) => return self.refuse(code::KEY_EXISTS, key),
            Spot::Missing { first } => self.make_parents(key, first),
        }
        let node = self.new_node(put, put.value.clone(), self.index + 1);
        Ok(self.replace(Action::Create, key, node, None, false))
    }

    pub(crate) fn update(&mut self, put: &Put) -> Result<Applied, StoreError> {
        let key = &put.key;
        let old = self.existing(key)?;
        if old.is_dir() && !put.value.is_empty() {
            return self.refuse(code::NOT_A_FILE, key);
        }
        Ok(self.change(Action::Update, put, old))
    }

    pub(crate) fn compare_and_swap(
        &mut self,
        put: &Put,
        condition: &Condition,
    ) -> Result<Applied, StoreError> {
        let old = self.existing(&put.key)?;
        let Some(value) = &old.value else {
            return self.refuse(code::NOT_A_FILE, &put.key);
        };
        self.compare(condition, value, old.modified)?;
        Ok(self.change(Action::CompareAndSwap, put, old))
    }

    /// A new value, a new deadline, the same creation.
    fn change(&mut self, action: Action, put: &Put, old: Arc<Node>) -> Applied {
        let value = old
            .value
            .as_ref()
            .map(|old| if put.refresh { old } else { &put.value })
            .cloned();
        let node = Node {
            value,
            created: old.created,
            modified: self.index + 1,
            deadline: self.deadline(put.ttl),
        };
        self.replace(action, &put.key, node, Some(old), put.refresh)
    }

    fn replace(
        &mut self,
        action: Action,
        key: &Key,
        mut node: Node,
        old: Option<Arc<Node>>,
        refresh: bool,
    ) -> Applied {
        let event = Event {
            action,
            index: self.index + 1,
            cluster_ms: self.cluster_ms,
            node: EventNode::of(key, &node),
            prev: old.as_ref().map(|old| EventNode::of(key, old)),
            refresh,
        };
        // The answer to an update of a directory shows the new index; the directory itself keeps its old one.
        if let (Action::Update, true, Some(old)) = (action, node.is_dir(), &old) {
            node.modified = old.modified;
        }
        self.put_node(key, node);
        Applied {
            events: vec![self.record(event)],
            ..Applied::default()
        }
    }

    fn new_node(&self, put: &Put, value: Value, index: u64) -> Node {
        let value = (!put.dir).then_some(value);
        Node {
            value,
            created: index,
            modified: index,
            deadline: self.deadline(put.ttl),
        }
    }

    /// Makes the directories from the first missing part of a key to its parent, with the index of this write.
    fn make_parents(&mut self, key: &Key, first: usize) {
        let index = self.index + 1;
        let mut end = first;
        while end < key.as_bytes().len() {
            let node = Node {
                value: None,
                created: index,
                modified: index,
                deadline: None,
            };
            self.put_node(&key.prefix(end), node);
            end = key.next_end(end);
        }
    }

    /// The node to change or remove.
    pub(crate) fn existing(&self, key: &Key) -> Result<Arc<Node>, StoreError> {
        match self.tree.locate(key) {
            Spot::Root => self.refuse_root(),
            Spot::Found(node) => Ok(node),
            Spot::Missing { first } => self.refuse_missing(key, first),
            Spot::Blocked { file } => self.refuse_blocked(key, file),
        }
    }

    /// Fails unless what is wanted is what there is; the cause names only what differs.
    pub(crate) fn compare(
        &self,
        condition: &Condition,
        value: &Value,
        modified: u64,
    ) -> Result<(), StoreError> {
        let mut differences = Vec::new();
        if let Some(wanted) = condition
            .prev_value
            .as_ref()
            .filter(|wanted| !wanted.is_empty() && *wanted != value)
        {
            let [wanted, found] = [wanted, value].map(|value| readable(value));
            differences.push(format!("[{wanted} != {found}]"));
        }
        if condition.prev_index != 0 && condition.prev_index != modified {
            differences.push(format!("[{} != {modified}]", condition.prev_index));
        }
        if differences.is_empty() {
            return Ok(());
        }
        self.refuse(code::COMPARE_FAILED, differences.join(" "))
    }

    fn refuse_missing<T>(&self, key: &Key, first: usize) -> Result<T, StoreError> {
        self.refuse(code::KEY_NOT_FOUND, key.prefix(first))
    }

    fn refuse_blocked<T>(&self, key: &Key, file: usize) -> Result<T, StoreError> {
        self.refuse(code::NOT_A_DIRECTORY, key.prefix(file))
    }
}
