//! set, get, ls, watch and rm of keys; texts and exit codes are etcdctl's.

use std::io::Read;

use berth_sdk::{DeleteOptions, EtcdClient, GetOptions, KeyAnswer, SetOptions, WatchOptions};
use berth_wire::etcd::{Event, Node};

use crate::args::{GetArgs, Global, LsArgs, Output, RmArgs, SetArgs, WatchArgs};
use crate::exit::{self, Failure, Outcome};
use crate::terminal::{print, print_line};

/// The history of the store no longer reaches back to where a watch went on.
const HISTORY_CLEARED: u16 = 401;

fn client(global: &Global) -> Result<EtcdClient, Failure> {
    Ok(EtcdClient::from_list(&global.endpoints)?)
}

/// A key begins with a slash; what does not is taken below the root, as etcdctl does.
fn absolute(key: &str) -> String {
    format!("/{}", key.trim_start_matches('/'))
}

pub(crate) async fn set(global: &Global, args: SetArgs) -> Outcome {
    let value = match &args.value {
        Some(value) => value.clone(),
        None if args.dir || args.refresh => String::new(),
        None => read_value()?,
    };
    let options = SetOptions {
        ttl: args.ttl,
        dir: args.dir,
        prev_exist: match (args.create, args.update) {
            (true, _) => Some(false),
            (_, true) => Some(true),
            (false, false) => None,
        },
        prev_value: args.swap_with_value,
        prev_index: args.swap_with_index,
        refresh: args.refresh,
    };
    let answer = client(global)?
        .set(&absolute(&args.key), &value, &options)
        .await
        .map_err(exit::keys)?;
    match (global.output, &answer.event.node.value) {
        (Output::Json, _) => print_line(&answer.document)?,
        (Output::Text, Some(value)) => print_line(value)?,
        (Output::Text, None) => {}
    }
    Ok(0)
}

fn read_value() -> Result<String, Failure> {
    let mut value = String::new();
    std::io::stdin().lock().read_to_string(&mut value)?;
    if value.is_empty() {
        return Err(Failure::usage("a value is required".to_owned()));
    }
    Ok(value)
}

pub(crate) async fn get(global: &Global, args: GetArgs) -> Outcome {
    let options = GetOptions {
        recursive: false,
        quorum: args.quorum,
    };
    let key = absolute(&args.key);
    let answer = client(global)?.get(&key, options).await.map_err(exit::keys)?;
    match (global.output, &answer.event.node.value) {
        (Output::Json, _) => print_line(&answer.document)?,
        (Output::Text, Some(value)) => print_line(value)?,
        (Output::Text, None) => return Err(Failure::usage(format!("{key} is a directory"))),
    }
    Ok(0)
}

pub(crate) async fn ls(global: &Global, args: LsArgs) -> Outcome {
    let options = GetOptions {
        recursive: args.recursive,
        quorum: args.quorum,
    };
    let answer = client(global)?
        .get(&absolute(&args.key), options)
        .await
        .map_err(exit::keys)?;
    match global.output {
        Output::Json => print_line(&answer.document)?,
        Output::Text => print(&listing(&answer.event.node, args.slash))?,
    }
    Ok(0)
}

/// A key itself, or everything below a directory in the order of the store.
fn listing(node: &Node, slash: bool) -> String {
    fn list(nodes: &[Node], slash: bool, text: &mut String) {
        for node in nodes {
            text.push_str(&node.key);
            if node.dir && slash {
                text.push('/');
            }
            text.push('\n');
            list(&node.nodes, slash, text);
        }
    }
    let mut text = String::new();
    if node.dir {
        list(&node.nodes, slash, &mut text);
    } else {
        list(std::slice::from_ref(node), slash, &mut text);
    }
    text
}

pub(crate) async fn watch(global: &Global, args: WatchArgs) -> Outcome {
    let client = client(global)?;
    let key = absolute(&args.key);
    let mut wait_index = args.after_index.map(|index| index.saturating_add(1));
    loop {
        let options = WatchOptions {
            recursive: args.recursive,
            wait_index,
        };
        let answer = match client.watch(&key, options).await {
            Ok(answer) => answer,
            // Nothing older can be had. What happened meanwhile is lost to this watch, which goes on from now.
            Err(error) if args.forever && error.store_code() == Some(HISTORY_CLEARED) => {
                crate::terminal::tell(&format!("changes were missed: {error}"));
                wait_index = None;
                continue;
            }
            Err(error) => return Err(exit::keys(error)),
        };
        show_change(global.output, &answer, args.recursive && args.forever)?;
        if !args.forever {
            return Ok(0);
        }
        wait_index = Some(answer.event.node.modified_index + 1);
    }
}

fn show_change(output: Output, answer: &KeyAnswer, with_key: bool) -> Result<(), Failure> {
    match output {
        Output::Json => print_line(&answer.document)?,
        Output::Text => {
            if with_key {
                print_line(&format!("[{}] {}", answer.event.action, answer.event.node.key))?;
            }
            print(&change(&answer.event))?;
        }
    }
    Ok(())
}

/// The new value, or the one that is gone.
fn change(event: &Event) -> String {
    match (&event.node.value, &event.prev_node) {
        (Some(value), _) => format!("{value}\n"),
        (
            None,
            Some(Node {
                value: Some(value), ..
            }),
        ) => format!("PrevNode.Value: {value}\n"),
        (None, _) => String::new(),
    }
}

/// Whether a name given to `rm` is a key.
pub(crate) fn is_key(name: &str) -> bool {
    name.starts_with('/')
}

pub(crate) async fn remove(global: &Global, args: RmArgs) -> Outcome {
    if args.force || args.volumes {
        return Err(Failure::usage(
            "--force and --volumes are for containers, and a name with a slash in front is a key".to_owned(),
        ));
    }
    let client = client(global)?;
    let options = DeleteOptions {
        dir: args.dir,
        recursive: args.recursive,
        prev_value: args.with_value,
        prev_index: args.with_index,
    };
    for key in &args.names {
        let answer = client.delete(key, &options).await.map_err(exit::keys)?;
        match global.output {
            Output::Json => print_line(&answer.document)?,
            Output::Text => print(&change(&answer.event))?,
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str) -> Node {
        serde_json::from_str(text).expect("a node")
    }

    #[test]
    fn listings() {
        let tree = node(
            r#"{"key":"/","dir":true,"nodes":[{"key":"/d","dir":true,"nodes":[{"key":"/d/x","value":"1"}]},{"key":"/f","value":""}]}"#,
        );
        assert_eq!(listing(&tree, false), "/d\n/d/x\n/f\n");
        assert_eq!(listing(&tree, true), "/d/\n/d/x\n/f\n");
        assert_eq!(listing(&node(r#"{"key":"/f","value":"1"}"#), false), "/f\n");
        assert_eq!(listing(&node(r#"{"dir":true}"#), false), "");
    }

    #[test]
    fn changes() {
        let check = |text: &str| change(&serde_json::from_str(text).expect("an event"));
        assert_eq!(
            check(r#"{"action":"set","node":{"key":"/a","value":"5"}}"#),
            "5\n"
        );
        assert_eq!(
            check(r#"{"action":"delete","node":{"key":"/a"},"prevNode":{"key":"/a","value":"5"}}"#),
            "PrevNode.Value: 5\n"
        );
        assert_eq!(
            check(r#"{"action":"delete","node":{"key":"/d","dir":true},"prevNode":{"key":"/d","dir":true}}"#),
            ""
        );
    }

    #[test]
    fn keys_are_told_from_containers() {
        assert!(is_key("/message") && !is_key("web"));
        assert_eq!(absolute("a/b"), "/a/b");
        assert_eq!(absolute("/"), "/");
    }
}
