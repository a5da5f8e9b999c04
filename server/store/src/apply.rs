//! The state, and the one way to change it.

use crate::auth::{Auth, AuthOutcome};
use crate::command::{Command, Kind};
use crate::digest::mix;
use crate::error::{StoreError, code};
use crate::event::Event;
use crate::history::History;
use crate::key::Key;
use crate::read::View;
use crate::stats::Stats;
use crate::tree::{Node, Tree};
use crate::ttl::Deadlines;
use std::fmt;
use std::sync::Arc;

/// The most nodes that one `Tick` expires, so that it cannot stop the log for long; [`Applied::more_due`] tells of the rest.
pub const EXPIRIES_PER_TICK: usize = 1000;

/// Longer times to live are cut to this: about 292 years, where etcd's nanoseconds overflow.
pub const MAX_TTL_SECONDS: u64 = 9_223_372_036;

/// The keyspace at one point of the log. A clone is cheap: nodes are shared.
#[derive(Clone, Default)]
pub struct Store {
    pub(crate) tree: Tree,
    pub(crate) deadlines: Deadlines,
    pub(crate) history: History,
    pub(crate) index: u64,
    pub(crate) cluster_ms: u64,
    pub(crate) stats: Stats,
    pub(crate) auth: Auth,
}

/// What a command did.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The events, in the order of their indexes: one for a write, any number for a `Tick`, none for a `Bump`.
    pub events: Vec<Arc<Event>>,
    /// More nodes are due than one `Tick` expires: propose another.
    pub more_due: bool,
    /// What a change of users and roles came to.
    pub auth: Option<AuthOutcome>,
    /// For each event that removed a directory which was not empty: its index, and the nodes just before it.
    pub(crate) removals: Vec<(u64, Tree)>,
}

impl Applied {
    /// The one event of a write.
    pub fn event(&self) -> Option<&Arc<Event>> {
        self.events.first()
    }

    /// The nodes as they were just before the event with this index, if it removed more than one node.
    pub(crate) fn before(&self, index: u64) -> Option<&Tree> {
        self.removals
            .iter()
            .find(|(at, _)| *at == index)
            .map(|(_, tree)| tree)
    }
}

impl Store {
    /// The empty keyspace, with index 0.
    pub fn new() -> Store {
        Store::default()
    }

    /// The index of the last change.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Cluster time in milliseconds, as far as commands have moved it.
    pub fn cluster_ms(&self) -> u64 {
        self.cluster_ms
    }

    /// When the next node is due, in milliseconds of cluster time.
    pub fn next_deadline(&self) -> Option<u64> {
        self.deadlines.soonest()
    }

    /// Counters of writes.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Users and roles.
    pub fn auth(&self) -> &Auth {
        &self.auth
    }

    /// What readers may keep while the store goes on.
    pub fn view(&self) -> View {
        View::new(
            self.tree.clone(),
            self.index,
            self.cluster_ms,
            self.stats,
            self.auth.clone(),
        )
    }

    /// Equal for equal sequences of commands, and different, all but certainly, for different states or histories.
    pub fn digest(&self) -> u64 {
        let hash = mix(mix(self.tree.hash(), self.history.hash()), self.index);
        self.auth.mix_into(mix(hash, self.cluster_ms))
    }

    /// Carries out one command. A refused one changes nothing but cluster time and the counters.
    pub fn apply(&mut self, command: &Command) -> Result<Applied, StoreError> {
        self.cluster_ms = self.cluster_ms.max(command.cluster_ms);
        let result = match &command.kind {
            Kind::Set(put) => self.set(put),
            Kind::Create(put) => self.create(put),
            Kind::Update(put) => self.update(put),
            Kind::CompareAndSwap(put, condition) => self.compare_and_swap(put, condition),
            Kind::CreateInOrder(put) => self.create_in_order(put),
            Kind::Delete { key, dir, recursive } => self.delete(key, *dir, *recursive),
            Kind::CompareAndDelete { key, condition } => self.compare_and_delete(key, condition),
            Kind::Tick => Ok(self.expire()),
            Kind::Bump => Ok(self.bump()),
            Kind::Auth(change) => self.change_auth(change),
        };
        self.count(&command.kind, result.is_ok());
        result
    }

    pub(crate) fn bump(&mut self) -> Applied {
        self.index += 1;
        self.history.push(None);
        Applied::default()
    }

    fn count(&mut self, kind: &Kind, success: bool) {
        let count = match kind {
            Kind::Set(_) => &mut self.stats.sets,
            Kind::Create(_) | Kind::CreateInOrder(_) => &mut self.stats.creates,
            Kind::Update(_) => &mut self.stats.updates,
            Kind::CompareAndSwap(..) => &mut self.stats.swaps,
            Kind::Delete { .. } => &mut self.stats.deletes,
            Kind::CompareAndDelete { .. } => &mut self.stats.compare_deletes,
            Kind::Tick | Kind::Bump | Kind::Auth(_) => return,
        };
        count.add(success);
    }

    /// Makes an event part of the state. It must have the next index.
    pub(crate) fn record(&mut self, event: Event) -> Arc<Event> {
        debug_assert_eq!(event.index, self.index + 1, "indexes are consecutive");
        self.index = event.index;
        let event = Arc::new(event);
        self.history.push(Some(Arc::clone(&event)));
        event
    }

    pub(crate) fn put_node(&mut self, key: &Key, node: Node) {
        let deadline = node.deadline;
        let old = self.tree.insert(key, node);
        self.deadlines.cancel(old.and_then(|old| old.deadline), key);
        self.deadlines.add(deadline, key);
    }

    pub(crate) fn take_node(&mut self, key: &Key) {
        if let Some(old) = self.tree.remove(key) {
            self.deadlines.cancel(old.deadline, key);
        }
    }

    /// When something ends that is written now.
    pub(crate) fn deadline(&self, ttl: Option<u64>) -> Option<u64> {
        ttl.map(|seconds| {
            self.cluster_ms
                .saturating_add(seconds.min(MAX_TTL_SECONDS) * 1000)
        })
    }

    pub(crate) fn refuse<T>(&self, code: u16, cause: impl fmt::Display) -> Result<T, StoreError> {
        Err(StoreError::new(code, cause, self.index))
    }

    pub(crate) fn refuse_root<T>(&self) -> Result<T, StoreError> {
        self.refuse(code::ROOT_READ_ONLY, "/")
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("index", &self.index)
            .field("cluster_ms", &self.cluster_ms)
            .field("nodes", &self.tree.len())
            .finish_non_exhaustive()
    }
}
