//! The same semantics written the obvious way: a nested tree, whole copies, linear scans.

use berth_store::{Action, Command, Condition, Event, EventNode, Key, Kind, NodeView, Put, Value};
use std::collections::BTreeMap;

pub(crate) type Refusal = (u16, String);

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// `None` is a directory.
    value: Option<Value>,
    children: BTreeMap<String, Entry>,
    created: u64,
    modified: u64,
    deadline: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Naive {
    root: Entry,
    pub(crate) index: u64,
    pub(crate) now: u64,
    pub(crate) events: Vec<Event>,
}

impl Default for Naive {
    fn default() -> Naive {
        Naive {
            root: directory(0),
            index: 0,
            now: 0,
            events: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveWatch {
    pub(crate) path: Vec<String>,
    pub(crate) recursive: bool,
    pub(crate) stream: bool,
    pub(crate) since: u64,
}

pub(crate) fn path(key: &Key) -> Vec<String> {
    key.to_string()
        .split('/')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn text(path: &[String]) -> String {
    format!("/{}", path.join("/"))
}

fn directory(index: u64) -> Entry {
    Entry {
        value: None,
        children: BTreeMap::new(),
        created: index,
        modified: index,
        deadline: None,
    }
}

impl Entry {
    fn find(&self, path: &[String]) -> Result<&Entry, Refusal> {
        let mut entry = self;
        for (depth, name) in path.iter().enumerate() {
            if entry.value.is_some() {
                return Err((104, text(&path[..depth])));
            }
            entry = entry.children.get(name).ok_or((100, text(&path[..=depth])))?;
        }
        Ok(entry)
    }

    fn parent_of(&mut self, path: &[String], index: u64) -> &mut Entry {
        let mut entry = self;
        for name in &path[..path.len() - 1] {
            entry = entry
                .children
                .entry(name.clone())
                .or_insert_with(|| directory(index));
        }
        entry
    }

    fn shown(&self, path: &[String]) -> EventNode {
        EventNode {
            key: Key::parse(text(path)).unwrap(),
            value: self.value.clone(),
            dir: self.value.is_none(),
            deadline: self.deadline,
            modified: self.modified,
            created: self.created,
        }
    }

    fn view(&self, path: &[String], levels: usize) -> NodeView {
        let mut nodes = Vec::new();
        for (name, child) in &self.children {
            if levels > 0 && !name.starts_with('_') {
                nodes.push(child.view(&[path, std::slice::from_ref(name)].concat(), levels - 1));
            }
        }
        let EventNode {
            key,
            value,
            dir,
            deadline,
            modified,
            created,
        } = self.shown(path);
        NodeView {
            key,
            value,
            dir,
            deadline,
            modified,
            created,
            nodes,
        }
    }

    fn deadlines(&self, path: &[String], all: &mut Vec<(u64, Vec<String>)>) {
        all.extend(self.deadline.map(|deadline| (deadline, path.to_vec())));
        for (name, child) in &self.children {
            child.deadlines(&[path, std::slice::from_ref(name)].concat(), all);
        }
    }
}

impl Naive {
    /// The events, each with the tree before it.
    pub(crate) fn apply(&mut self, command: &Command) -> Result<Vec<(Event, Entry)>, Refusal> {
        self.now = self.now.max(command.cluster_ms);
        let before = self.root.clone();
        let event = match &command.kind {
            Kind::Set(put) => self.set(put)?,
            Kind::Create(put) => self.create(path(&put.key), put)?,
            Kind::CreateInOrder(put) => {
                let mut path = path(&put.key);
                path.push(format!("{:020}", self.index + 1));
                self.create(path, put)?
            }
            Kind::Update(put) => self.update(Action::Update, put, None)?,
            Kind::CompareAndSwap(put, condition) => {
                self.update(Action::CompareAndSwap, put, Some(condition))?
            }
            Kind::Delete { key, dir, recursive } => self.delete(&path(key), *dir, *recursive)?,
            Kind::CompareAndDelete { key, condition } => self.compare_and_delete(&path(key), condition)?,
            Kind::Tick => return Ok(self.tick()),
            Kind::Bump => {
                self.index += 1;
                return Ok(Vec::new());
            }
            // Users and roles have tests of their own.
            Kind::Auth(_) => return Ok(Vec::new()),
        };
        self.events.push(event.clone());
        Ok(vec![(event, before)])
    }

    pub(crate) fn get(&self, key: &Key, recursive: bool) -> Result<NodeView, Refusal> {
        let path = path(key);
        Ok(self
            .root
            .find(&path)?
            .view(&path, if recursive { usize::MAX } else { 1 }))
    }

    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.all_deadlines().first().map(|(deadline, _)| *deadline)
    }

    fn all_deadlines(&self) -> Vec<(u64, Vec<String>)> {
        let mut all = Vec::new();
        self.root.deadlines(&[], &mut all);
        all.sort_by_key(|(deadline, path)| (*deadline, text(path)));
        all
    }

    fn set(&mut self, put: &Put) -> Result<Event, Refusal> {
        let path = path(&put.key);
        if path.is_empty() {
            return Err((107, "/".to_owned()));
        }
        let old = match self.root.find(&path).cloned() {
            Ok(old) if old.value.is_none() => return Err((102, text(&path))),
            Ok(old) => Some(old),
            Err((100, _)) if !put.refresh => None,
            Err(refusal) => return Err(refusal),
        };
        let value = match &old {
            Some(old) if put.refresh => old.value.clone().unwrap(),
            _ => put.value.clone(),
        };
        Ok(self.place(Action::Set, path, put, value, old, put.refresh))
    }

    fn create(&mut self, path: Vec<String>, put: &Put) -> Result<Event, Refusal> {
        if path.is_empty() {
            return Err((107, "/".to_owned()));
        }
        match self.root.find(&path) {
            Ok(_) => return Err((105, text(&path))),
            Err((100, _)) => {}
            Err(refusal) => return Err(refusal),
        }
        Ok(self.place(Action::Create, path, put, put.value.clone(), None, false))
    }

    fn place(
        &mut self,
        action: Action,
        path: Vec<String>,
        put: &Put,
        value: Value,
        old: Option<Entry>,
        refresh: bool,
    ) -> Event {
        self.index += 1;
        let mut entry = directory(self.index);
        entry.value = (!put.dir).then_some(value);
        entry.deadline = put.ttl.map(|ttl| self.now + 1000 * ttl);
        let node = entry.shown(&path);
        let name = path.last().unwrap().clone();
        self.root
            .parent_of(&path, self.index)
            .children
            .insert(name, entry);
        let prev = old.map(|old| old.shown(&path));
        Event {
            action,
            index: self.index,
            cluster_ms: self.now,
            node,
            prev,
            refresh,
        }
    }

    fn update(&mut self, action: Action, put: &Put, condition: Option<&Condition>) -> Result<Event, Refusal> {
        let path = path(&put.key);
        if path.is_empty() {
            return Err((107, "/".to_owned()));
        }
        let old = self.root.find(&path)?.clone();
        match (condition, &old.value) {
            (Some(_), None) => return Err((102, text(&path))),
            (Some(condition), Some(value)) => compare(condition, value, old.modified)?,
            (None, None) if !put.value.is_empty() => return Err((102, text(&path))),
            (None, _) => {}
        }
        self.index += 1;
        let name = path.last().unwrap();
        let entry = self
            .root
            .parent_of(&path, self.index)
            .children
            .get_mut(name)
            .unwrap();
        if let Some(value) = &mut entry.value {
            entry.modified = self.index;
            if !put.refresh {
                *value = put.value.clone();
            }
        }
        entry.deadline = put.ttl.map(|ttl| self.now + 1000 * ttl);
        let node = EventNode {
            modified: self.index,
            ..entry.shown(&path)
        };
        let prev = Some(old.shown(&path));
        Ok(Event {
            action,
            index: self.index,
            cluster_ms: self.now,
            node,
            prev,
            refresh: put.refresh,
        })
    }

    fn delete(&mut self, path: &[String], dir: bool, recursive: bool) -> Result<Event, Refusal> {
        if path.is_empty() {
            return Err((107, "/".to_owned()));
        }
        let old = self.root.find(path)?;
        if old.value.is_none() && !recursive {
            if !dir {
                return Err((102, text(path)));
            }
            if !old.children.is_empty() {
                return Err((108, text(path)));
            }
        }
        Ok(self.remove(Action::Delete, path))
    }

    fn compare_and_delete(&mut self, path: &[String], condition: &Condition) -> Result<Event, Refusal> {
        let old = self.root.find(path)?;
        let Some(value) = &old.value else {
            let cause = if path.is_empty() {
                String::new()
            } else {
                text(path)
            };
            return Err((102, cause));
        };
        compare(condition, value, old.modified)?;
        Ok(self.remove(Action::CompareAndDelete, path))
    }

    fn remove(&mut self, action: Action, path: &[String]) -> Event {
        self.index += 1;
        let old = self
            .root
            .parent_of(path, 0)
            .children
            .remove(path.last().unwrap())
            .unwrap();
        let prev = old.shown(path);
        let node = EventNode {
            value: None,
            deadline: None,
            modified: self.index,
            ..prev.clone()
        };
        Event {
            action,
            index: self.index,
            cluster_ms: self.now,
            node,
            prev: Some(prev),
            refresh: false,
        }
    }

    fn tick(&mut self) -> Vec<(Event, Entry)> {
        let mut expired = Vec::new();
        while let Some((_, path)) = self
            .all_deadlines()
            .first()
            .filter(|(deadline, _)| *deadline <= self.now)
        {
            let before = self.root.clone();
            let event = self.remove(Action::Expire, path);
            self.events.push(event.clone());
            expired.push((event, before));
        }
        expired
    }
}

fn compare(condition: &Condition, value: &Value, modified: u64) -> Result<(), Refusal> {
    let wanted = condition.prev_value.as_deref().unwrap_or_default();
    let value_wrong = !wanted.is_empty() && wanted != &value[..];
    let index_wrong = condition.prev_index != 0 && condition.prev_index != modified;
    let [wanted, found] = [wanted, &value[..]].map(String::from_utf8_lossy);
    let index = condition.prev_index;
    match (value_wrong, index_wrong) {
        (false, false) => Ok(()),
        (true, false) => Err((101, format!("[{wanted} != {found}]"))),
        (false, true) => Err((101, format!("[{index} != {modified}]"))),
        (true, true) => Err((101, format!("[{wanted} != {found}] [{index} != {modified}]"))),
    }
}

impl NaiveWatch {
    /// Whether an event in the history is for this watch.
    pub(crate) fn finds(&self, event: &Event) -> bool {
        self.concerns(event, true)
    }

    /// Whether an event is for this watch, given the tree before it.
    pub(crate) fn hears(&self, event: &Event, before: &Entry) -> bool {
        self.concerns(event, before.find(&self.path).is_ok())
    }

    fn concerns(&self, event: &Event, existed: bool) -> bool {
        let key = path(&event.node.key);
        let removes = matches!(event.action, Action::Delete | Action::Expire) && event.node.dir;
        let own = key == self.path;
        let below = key.len() > self.path.len() && key.starts_with(&self.path);
        let visible = below && !key[self.path.len()..].iter().any(|name| name.starts_with('_'));
        let above = self.path.len() > key.len() && self.path.starts_with(&key);
        let wanted = own || self.recursive && visible || above && removes && existed;
        wanted && event.index >= self.since && !event.refresh
    }
}
