//! Reading a state that stands still.

use crate::auth::Auth;
use crate::error::{StoreError, code};
use crate::event::remaining_seconds;
use crate::key::{Key, Value, below};
use crate::stats::Stats;
use crate::tree::{Node, Spot, Tree};

/// The keyspace at one point of the log, for readers: cheap to clone, never changing.
#[derive(Clone, Debug, Default)]
pub struct View {
    tree: Tree,
    index: u64,
    cluster_ms: u64,
    stats: Stats,
    auth: Auth,
}

/// A node as a get shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// Its key.
    pub key: Key,
    /// The value of a file.
    pub value: Option<Value>,
    /// Whether it is a directory.
    pub dir: bool,
    /// When it expires, in milliseconds of cluster time.
    pub deadline: Option<u64>,
    /// `modifiedIndex`; 0 for the root.
    pub modified: u64,
    /// `createdIndex`; 0 for the root.
    pub created: u64,
    /// The visible children, sorted by key; always empty where the get does not reach.
    pub nodes: Vec<NodeView>,
}

impl NodeView {
    /// The `ttl` field at a moment of cluster time.
    pub fn ttl(&self, cluster_ms: u64) -> Option<i64> {
        Some(remaining_seconds(self.deadline?, cluster_ms)).filter(|seconds| *seconds != 0)
    }

    fn new(key: &Key, node: &Node) -> NodeView {
        NodeView {
            key: key.clone(),
            value: node.value.clone(),
            dir: node.is_dir(),
            deadline: node.deadline,
            modified: node.modified,
            created: node.created,
            nodes: Vec::new(),
        }
    }
}

impl View {
    pub(crate) fn new(tree: Tree, index: u64, cluster_ms: u64, stats: Stats, auth: Auth) -> View {
        View {
            tree,
            index,
            cluster_ms,
            stats,
            auth,
        }
    }

    /// The index of the last change in it.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its cluster time in milliseconds: that of the last command, so it can lie behind the leader's.
    pub fn cluster_ms(&self) -> u64 {
        self.cluster_ms
    }

    /// Counters of writes.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Users and roles.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// How many nodes there are, hidden ones included.
    pub fn len(&self) -> usize {
        self.tree.len()
    }

    /// Whether there is no node but the root.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A node; a directory with its visible children, and with `recursive` all below. Children are always sorted.
    pub fn get(&self, key: &Key, recursive: bool) -> Result<NodeView, StoreError> {
        let refuse = |code, end| Err(StoreError::new(code, key.prefix(end), self.index));
        match self.tree.locate(key) {
            Spot::Root => Ok(NodeView {
                key: key.clone(),
                value: None,
                dir: true,
                deadline: None,
                modified: 0,
                created: 0,
                nodes: self.children(key, recursive),
            }),
            Spot::Found(node) if node.is_dir() => Ok(NodeView {
                nodes: self.children(key, recursive),
                ..NodeView::new(key, &node)
            }),
            Spot::Found(node) => Ok(NodeView::new(key, &node)),
            Spot::Missing { first } => refuse(code::KEY_NOT_FOUND, first),
            Spot::Blocked { file } => refuse(code::NOT_A_DIRECTORY, file),
        }
    }

    /// The recursion is as deep as the deepest key, which has a bound.
    fn children(&self, parent: &Key, recursive: bool) -> Vec<NodeView> {
        let mut children = Vec::new();
        let (mut from, to) = below(parent.as_bytes());
        let start = from.len();
        'seek: loop {
            for (key, node) in self.tree.between(&from, &to) {
                let name = &key.as_bytes()[start..];
                if let Some(end) = name.iter().position(|byte| *byte == b'/') {
                    // Below a child: go on behind everything below that child.
                    from = below(&key.as_bytes()[..start + end]).1;
                    continue 'seek;
                }
                if name.first() == Some(&b'_') {
                    continue;
                }
                let mut child = NodeView::new(key, node);
                if recursive && child.dir {
                    child.nodes = self.children(key, recursive);
                }
                children.push(child);
            }
            return children;
        }
    }
}
