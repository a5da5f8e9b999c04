//! The API's semantics as tables: requests, each followed by its answer and by what the watchers hear.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

use berth_store::{
    Applied, Command, Condition, Event, EventNode, Key, Kind, NodeView, Put, Registered, Stats, Store,
    StoreError, WatchId, Watches, restore,
};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[test]
fn actions() {
    check(include_str!("tables/actions.txt"));
}

#[test]
fn directories() {
    check(include_str!("tables/directories.txt"));
}

#[test]
fn times_to_live() {
    check(include_str!("tables/ttl.txt"));
}

#[test]
fn refreshes() {
    check(include_str!("tables/refresh.txt"));
}

#[test]
fn hidden_keys() {
    check(include_str!("tables/hidden.txt"));
}

#[test]
fn in_order_keys() {
    check(include_str!("tables/in_order.txt"));
}

#[test]
fn watches() {
    check(include_str!("tables/watches.txt"));
}

#[test]
fn the_past() {
    check(include_str!("tables/history.txt"));
}

#[test]
fn snapshots_and_counters() {
    check(include_str!("tables/snapshot.txt"));
}

/// Carries out the requests of a table (the lines that are not indented) and compares all that is answered.
fn check(table: &str) {
    let mut world = World::default();
    let mut actual = String::new();
    for line in table.lines().filter(|line| !line.starts_with(' ')) {
        writeln!(actual, "{line}").unwrap();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for answer in world.request(line) {
            writeln!(actual, "    {answer}").unwrap();
        }
    }
    assert!(actual == table, "the answers are:\n{actual}");
}

#[derive(Default)]
struct World {
    store: Store,
    cluster_ms: u64,
    watches: Watches,
    names: Vec<String>,
}

impl World {
    fn request(&mut self, line: &str) -> Vec<String> {
        let mut words = line.split(' ');
        let verb = words.next().unwrap();
        let first = words.next().unwrap_or_default().to_owned();
        let options: BTreeMap<&str, &str> = words
            .map(|word| word.split_once('=').unwrap_or((word, "true")))
            .collect();
        let is = |name: &str| options.get(name) == Some(&"true");
        match verb {
            "FRESH" => *self = World::default(),
            "TIME" => self.cluster_ms = first.parse().unwrap(),
            "BUMP" => {
                for _ in 0..first.parse().unwrap() {
                    self.store.apply(&Command::bump()).unwrap();
                }
            }
            "FILL" => {
                for number in 0..first.parse().unwrap() {
                    let put = Put::file(key("/fill"), number.to_string().into_bytes());
                    self.store.apply(&Kind::Set(put).into()).unwrap();
                }
            }
            "RESTORE" => {
                let digest = self.store.digest();
                self.store = restore(self.store.chunks()).unwrap();
                assert_eq!(self.store.digest(), digest);
            }
            "STATS" => return stats(self.store.stats()),
            "GET" => return got(self.store.view().get(&key(&first), is("recursive"))),
            "WATCH" => return self.watch(&first, &options),
            "UNWATCH" => {
                let id = self.names.iter().position(|name| *name == first).unwrap();
                assert!(self.watches.unregister(WatchId(id as u64)));
            }
            "PUT" | "POST" | "DELETE" | "TICK" => return self.write(kind(verb, &first, &options)),
            verb => panic!("unknown request {verb}"),
        }
        Vec::new()
    }

    fn write(&mut self, kind: Kind) -> Vec<String> {
        let tick = kind == Kind::Tick;
        let command = Command {
            cluster_ms: self.cluster_ms,
            kind,
        };
        assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command));
        let applied = match self.store.apply(&command) {
            Ok(applied) => applied,
            Err(error) => return vec![refused(&error)],
        };
        assert!(tick || applied.events.len() == 1);
        let mut lines: Vec<String> = applied.events.iter().map(|event| told(event)).collect();
        lines.extend(self.hear(&applied));
        lines
    }

    fn hear(&mut self, applied: &Applied) -> Vec<String> {
        let notices = self.watches.hear(applied);
        let line = |notice: &berth_store::Notice| {
            let name = &self.names[usize::try_from(notice.watch.0).unwrap()];
            let end = if notice.last { ", ends" } else { "" };
            format!(
                "-> {name}: {} {}{end}",
                notice.event.action.name(),
                notice.event.node.key
            )
        };
        notices.iter().map(line).collect()
    }

    fn watch(&mut self, name: &str, options: &BTreeMap<&str, &str>) -> Vec<String> {
        let id = WatchId(self.names.len() as u64);
        self.names.push(name.to_owned());
        let (recursive, stream) = (options.contains_key("recursive"), options.contains_key("stream"));
        let since = options.get("since").map(|since| since.parse().unwrap());
        let watched = key(options["key"]);
        match self
            .watches
            .register(id, watched, recursive, stream, since, &self.store)
        {
            Registered::Now(events) => events
                .iter()
                .map(|event| format!("-> {name}: {} {}", event.index, told(event)))
                .collect(),
            Registered::Waiting => vec!["waits".to_owned()],
            Registered::Cleared { oldest, asked } => {
                vec![refused(&StoreError::history_cleared(
                    oldest,
                    asked,
                    self.store.index(),
                ))]
            }
        }
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

/// Which action a request is.
fn kind(verb: &str, path: &str, options: &BTreeMap<&str, &str>) -> Kind {
    let text = |name: &str| options.get(name).copied();
    let is = |name: &str| text(name) == Some("true");
    let condition = Condition {
        prev_value: text("prevValue").map(|value| value.as_bytes().into()),
        prev_index: text("prevIndex").map_or(0, |index| index.parse().unwrap()),
    };
    let compares = condition != Condition::default();
    if verb == "TICK" {
        return Kind::Tick;
    }
    let key = key(path);
    let put = Put {
        key: key.clone(),
        value: text("value").unwrap_or_default().as_bytes().into(),
        dir: is("dir"),
        ttl: text("ttl").map(|ttl| ttl.parse().unwrap()),
        refresh: is("refresh"),
    };
    match (verb, text("prevExist")) {
        ("POST", _) => Kind::CreateInOrder(put),
        ("DELETE", _) if compares => Kind::CompareAndDelete { key, condition },
        ("DELETE", _) => Kind::Delete {
            key,
            dir: is("dir"),
            recursive: is("recursive"),
        },
        (_, Some("false")) => Kind::Create(put),
        _ if compares => Kind::CompareAndSwap(put, condition),
        (_, Some(_)) => Kind::Update(put),
        (_, None) => Kind::Set(put),
    }
}

fn refused(error: &StoreError) -> String {
    format!(
        "{} {} ({}) index {}",
        error.code,
        error.message(),
        error.cause,
        error.index
    )
}

fn told(event: &Event) -> String {
    let status = if event.is_new() { 201 } else { 200 };
    let prev = event.prev.as_ref().map_or(String::new(), |prev| {
        assert_eq!(prev.key, event.node.key);
        format!(" was{}", shown(prev, event.prev_ttl()))
    });
    let node = &event.node;
    assert!(event.action.removes() || node.modified == event.index);
    format!(
        "{status} {} {}{}{prev}",
        event.action.name(),
        node.key,
        shown(node, event.ttl())
    )
}

fn shown(node: &EventNode, ttl: Option<i64>) -> String {
    attributes(
        node.value.as_deref(),
        node.dir,
        node.deadline,
        ttl,
        node.modified,
        node.created,
    )
}

fn attributes(
    value: Option<&[u8]>,
    dir: bool,
    deadline: Option<u64>,
    ttl: Option<i64>,
    modified: u64,
    created: u64,
) -> String {
    let mut text = String::new();
    if let Some(value) = value {
        write!(text, " {:?}", String::from_utf8_lossy(value)).unwrap();
    }
    if dir {
        text.push_str(" dir");
    }
    if let Some(deadline) = deadline {
        write!(text, " until {deadline}").unwrap();
    }
    if let Some(ttl) = ttl {
        write!(text, " ttl {ttl}").unwrap();
    }
    write!(text, " {modified}/{created}").unwrap();
    text
}

fn got(answer: Result<NodeView, StoreError>) -> Vec<String> {
    match answer {
        Ok(node) => {
            let mut lines = Vec::new();
            list(&node, 0, &mut lines);
            lines
        }
        Err(error) => vec![refused(&error)],
    }
}

fn list(node: &NodeView, depth: usize, lines: &mut Vec<String>) {
    let about = attributes(
        node.value.as_deref(),
        node.dir,
        node.deadline,
        None,
        node.modified,
        node.created,
    );
    lines.push(format!("{}{}{about}", "  ".repeat(depth), node.key));
    for child in &node.nodes {
        list(child, depth + 1, lines);
    }
}

fn stats(stats: Stats) -> Vec<String> {
    let Stats {
        sets,
        deletes,
        updates,
        creates,
        swaps,
        compare_deletes,
        expired,
    } = stats;
    let counts = [
        ("set", sets),
        ("delete", deletes),
        ("update", updates),
        ("create", creates),
        ("compareAndSwap", swaps),
        ("compareAndDelete", compare_deletes),
    ];
    let mut lines: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{name} {} {}", count.success, count.fail))
        .collect();
    lines.push(format!("expire {expired}"));
    lines
}
