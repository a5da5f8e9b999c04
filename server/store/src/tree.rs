//! The nodes, in one flat ordered map: a directory's descendants are the keys that begin with it and a slash.
//!
//! Invariant: every proper prefix of a key in the map, but the root, is in the map as a directory.

use crate::digest::{mix, mix_bytes, mix_optional};
use crate::key::{Key, Value, below};
use imbl::OrdMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    /// Absent in a directory.
    pub(crate) value: Option<Value>,
    pub(crate) created: u64,
    pub(crate) modified: u64,
    /// In milliseconds of cluster time.
    pub(crate) deadline: Option<u64>,
}

impl Node {
    pub(crate) fn is_dir(&self) -> bool {
        self.value.is_none()
    }

    fn hash(&self, key: &Key) -> u64 {
        let mut hash = mix_bytes(0, key.as_bytes());
        hash = match &self.value {
            Some(value) => mix_bytes(mix(hash, 1), value),
            None => mix(hash, 0),
        };
        mix_optional(mix(mix(hash, self.created), self.modified), self.deadline)
    }
}

/// What is where a key points.
pub(crate) enum Spot {
    Root,
    Found(Arc<Node>),
    /// Nothing; the first so many bytes of the key are its first missing part.
    Missing {
        first: usize,
    },
    /// Nothing can be there, because the first so many bytes of the key name a file.
    Blocked {
        file: usize,
    },
}

/// A clone is cheap and shares everything.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    nodes: OrdMap<Key, Arc<Node>>,
    /// The sum of the hashes of all nodes, so it does not depend on the order of writes.
    hash: u64,
}

impl Tree {
    pub(crate) fn locate(&self, key: &Key) -> Spot {
        if key.is_root() {
            return Spot::Root;
        }
        if let Some(node) = self.nodes.get(key.as_bytes()) {
            return Spot::Found(Arc::clone(node));
        }
        for end in key.ancestor_ends() {
            match self.nodes.get(&key.as_bytes()[..end]) {
                Some(node) if node.is_dir() => {
                    return Spot::Missing {
                        first: key.next_end(end),
                    };
                }
                Some(_) => return Spot::Blocked { file: end },
                None => {}
            }
        }
        Spot::Missing {
            first: key.next_end(0),
        }
    }

    pub(crate) fn contains(&self, key: &Key) -> bool {
        key.is_root() || self.nodes.contains_key(key.as_bytes())
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<Node>> {
        self.nodes.get(key.as_bytes())
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn insert(&mut self, key: &Key, node: Node) -> Option<Arc<Node>> {
        self.hash = self.hash.wrapping_add(node.hash(key));
        let old = self.nodes.insert(key.clone(), Arc::new(node))?;
        self.hash = self.hash.wrapping_sub(old.hash(key));
        Some(old)
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Arc<Node>> {
        let old = self.nodes.remove(key.as_bytes())?;
        self.hash = self.hash.wrapping_sub(old.hash(key));
        Some(old)
    }

    /// Everything strictly below a key, in the order of bytes.
    pub(crate) fn descendants<'a>(
        &'a self,
        key: &[u8],
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Node>)> + use<'a> {
        let (from, to) = below(key);
        self.between(&from, &to)
    }

    /// The nodes with `from <= key < to`.
    pub(crate) fn between<'a>(
        &'a self,
        from: &[u8],
        to: &[u8],
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Node>)> + use<'a> {
        self.nodes
            .range::<_, [u8]>((Bound::Included(from), Bound::Excluded(to)))
    }

    /// The nodes after a key, in the order of bytes.
    pub(crate) fn after<'a>(
        &'a self,
        key: &[u8],
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Node>)> + use<'a> {
        self.nodes
            .range::<_, [u8]>((Bound::Excluded(key), Bound::Unbounded))
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} nodes)", self.nodes.len())
    }
}
