//! What a write did, as its writer and the watchers are told.

use crate::digest::{mix, mix_bytes, mix_optional};
use crate::key::{Key, Value};
use crate::tree::Node;

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Created or replaced.
    Set,
    /// Created, also in order.
    Create,
    /// Changed.
    Update,
    /// Changed on a condition.
    CompareAndSwap,
    /// Removed.
    Delete,
    /// Removed on a condition.
    CompareAndDelete,
    /// Removed because its time was over.
    Expire,
}

impl Action {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Action::Set => "set",
            Action::Create => "create",
            Action::Update => "update",
            Action::CompareAndSwap => "compareAndSwap",
            Action::Delete => "delete",
            Action::CompareAndDelete => "compareAndDelete",
            Action::Expire => "expire",
        }
    }

    /// Whether the node is gone afterwards.
    pub fn removes(self) -> bool {
        match self {
            Action::Delete | Action::CompareAndDelete | Action::Expire => true,
            Action::Set | Action::Create | Action::Update | Action::CompareAndSwap => false,
        }
    }
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What was done.
    pub action: Action,
    /// The store's index with this change.
    pub index: u64,
    /// Cluster time when it was applied: what `ttl` fields count from.
    pub cluster_ms: u64,
    /// The node after the change. A removed node has no value, and this index as its `modified`.
    pub node: EventNode,
    /// The node before the change, if there was one.
    pub prev: Option<EventNode>,
    /// Only the time to live was renewed: watchers are not told.
    pub refresh: bool,
}

/// A node in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventNode {
    /// Its key.
    pub key: Key,
    /// Its value; absent for directories and removed nodes.
    pub value: Option<Value>,
    /// Whether it is a directory.
    pub dir: bool,
    /// When it expires, in milliseconds of cluster time.
    pub deadline: Option<u64>,
    /// `modifiedIndex`.
    pub modified: u64,
    /// `createdIndex`.
    pub created: u64,
}

impl EventNode {
    pub(crate) fn of(key: &Key, node: &Node) -> EventNode {
        EventNode {
            key: key.clone(),
            value: node.value.clone(),
            dir: node.is_dir(),
            deadline: node.deadline,
            modified: node.modified,
            created: node.created,
        }
    }

    /// How a node is shown by the event that removes it.
    pub(crate) fn removed(key: &Key, node: &Node, index: u64) -> EventNode {
        EventNode {
            key: key.clone(),
            value: None,
            dir: node.is_dir(),
            deadline: None,
            modified: index,
            created: node.created,
        }
    }

    fn mix_into(&self, hash: u64) -> u64 {
        let mut hash = mix_bytes(hash, self.key.as_bytes());
        hash = match &self.value {
            Some(value) => mix_bytes(mix(hash, 1), value),
            None => mix(hash, 0),
        };
        hash = mix_optional(mix(hash, u64::from(self.dir)), self.deadline);
        mix(mix(hash, self.modified), self.created)
    }
}

impl Event {
    /// Whether the change made a new node (status 201): a create, or a set of what was not there.
    pub fn is_new(&self) -> bool {
        match self.action {
            Action::Create => true,
            Action::Set => self.prev.is_none(),
            Action::Update
            | Action::CompareAndSwap
            | Action::Delete
            | Action::CompareAndDelete
            | Action::Expire => false,
        }
    }

    /// Whether it removed a directory, with all that was below it.
    pub fn removes_directory(&self) -> bool {
        self.action.removes() && self.node.dir
    }

    /// The `ttl` field of `node`.
    pub fn ttl(&self) -> Option<i64> {
        shown_seconds(self.node.deadline?, self.cluster_ms)
    }

    /// The `ttl` field of `prev`; an expired node has none.
    pub fn prev_ttl(&self) -> Option<i64> {
        if self.action == Action::Expire {
            return None;
        }
        shown_seconds(self.prev.as_ref()?.deadline?, self.cluster_ms)
    }

    pub(crate) fn mix_into(&self, hash: u64) -> u64 {
        let mut hash = mix_bytes(hash, self.action.name().as_bytes());
        hash = mix(mix(hash, self.index), self.cluster_ms);
        hash = self.node.mix_into(mix(hash, u64::from(self.refresh)));
        match &self.prev {
            Some(prev) => prev.mix_into(mix(hash, 1)),
            None => mix(hash, 0),
        }
    }
}

/// Seconds from `cluster_ms` to `deadline`, rounded up; negative when it is over.
pub fn remaining_seconds(deadline: u64, cluster_ms: u64) -> i64 {
    let (seconds, sign) = match deadline.checked_sub(cluster_ms) {
        Some(left) => (left.div_ceil(1000), 1),
        None => ((cluster_ms - deadline) / 1000, -1),
    };
    sign * i64::try_from(seconds).unwrap_or(i64::MAX)
}

/// The field is left out when it would be 0.
fn shown_seconds(deadline: u64, cluster_ms: u64) -> Option<i64> {
    Some(remaining_seconds(deadline, cluster_ms)).filter(|seconds| *seconds != 0)
}

#[cfg(test)]
mod tests {
    use super::remaining_seconds;

    #[test]
    fn seconds_are_rounded_up() {
        let of = |deadline| remaining_seconds(deadline, 10_000);
        let shown: Vec<i64> = [7_999, 8_000, 9_001, 10_000, 10_001, 11_000, 11_001]
            .map(of)
            .into();
        assert_eq!(shown, [-2, -2, 0, 0, 1, 1, 2]);
        assert_eq!(remaining_seconds(u64::MAX, 0), 18_446_744_073_709_552);
    }
}
