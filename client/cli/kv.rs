//! The commands on keys, under the name of berth and under etcdctl's: what they ask, what they print, how they end.

pub(crate) mod members;
mod session;
mod show;
pub(crate) mod tree;
pub(crate) mod users;
pub(crate) mod watch;
mod words;

use std::io::{self, Read};

use berth_sdk::KeysCall;
use berth_wire::etcd::Node;

use crate::args::{DirArgs, GetArgs, LsArgs, MkArgs, RmArgs, SetArgs, UpdateArgs};
use crate::exit::{Failure, Outcome};
use crate::terminal::print;

pub(crate) use session::{Connection, Session, Shape, Style};

/// What is to become of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirWish {
    /// It must not be there.
    Make,
    /// It, or a file in its place, may be there.
    Set,
    /// It must be there.
    Update,
}

pub(crate) async fn set(session: &Session, args: SetArgs) -> Outcome {
    let value = match args.value {
        Some(value) => value,
        None if args.dir || args.refresh => String::new(),
        None => read_value(session)?,
    };
    let prev_exist = match (args.create, args.update) {
        (true, _) => Some(false),
        (_, true) => Some(true),
        (false, false) => None,
    };
    let mut call = KeysCall::put(&args.key)
        .query_if("prevExist", prev_exist)
        .query_if("prevValue", args.swap_with_value)
        .query_if("prevIndex", args.swap_with_index)
        .query_if("dir", args.dir.then_some(true))
        .form_if("refresh", args.refresh.then_some(true))
        .form_if("ttl", args.ttl);
    if !args.refresh && !args.dir {
        call = call.form("value", value);
    }
    let answer = session.send(&call).await?;
    // There is no value to print for a directory, and none was given for a refreshed key.
    if answer.event.node.value.is_some() || !session.is_simple() {
        session.show(&answer)?;
    }
    Ok(0)
}

fn read_value(session: &Session) -> Result<String, Failure> {
    let mut value = Vec::new();
    io::stdin().lock().read_to_end(&mut value)?;
    if value.is_empty() {
        return Err(session.usage("value required"));
    }
    String::from_utf8(value).map_err(|_| session.usage("the value is not UTF-8"))
}

pub(crate) async fn mk(session: &Session, args: MkArgs) -> Outcome {
    let value = args.value.map_or_else(|| read_value(session), Ok)?;
    let answer = if args.in_order {
        let call = KeysCall::post(&args.key).form("value", value);
        session.send(&call.form_if("ttl", args.ttl)).await?
    } else {
        let call = KeysCall::put(&args.key)
            .query("prevExist", false)
            .form("value", value);
        session.send_once(&call.form_if("ttl", args.ttl)).await?
    };
    session.show(&answer)?;
    Ok(0)
}

pub(crate) async fn update(session: &Session, args: UpdateArgs) -> Outcome {
    let value = args.value.map_or_else(|| read_value(session), Ok)?;
    let call = KeysCall::put(&args.key)
        .query("prevExist", true)
        .form("value", value)
        .form_if("ttl", args.ttl);
    session.show(&session.send(&call).await?)?;
    Ok(0)
}

pub(crate) async fn dir(session: &Session, args: DirArgs, wish: DirWish) -> Outcome {
    let call = KeysCall::put(&args.key)
        .query("dir", true)
        .form_if("ttl", args.ttl);
    let answer = match wish {
        DirWish::Make => session.send_once(&call.query("prevExist", false)).await?,
        DirWish::Set => session.send(&call).await?,
        DirWish::Update => session.send(&call.query("prevExist", true)).await?,
    };
    if !session.is_simple() {
        session.show(&answer)?;
    }
    Ok(0)
}

pub(crate) async fn get(session: &Session, args: GetArgs) -> Outcome {
    let sorted = args.sort || session.style() == Style::Berth;
    let call = KeysCall::get(&args.key, false, sorted, args.quorum);
    let answer = session.send(&call).await?;
    if answer.event.node.dir {
        let key = &answer.event.node.key;
        return Err(Failure::usage(format!("{key}: is a directory")));
    }
    session.show(&answer)?;
    Ok(0)
}

pub(crate) async fn ls(session: &Session, args: LsArgs) -> Outcome {
    let sorted = args.sort || session.style() == Style::Berth;
    let call = KeysCall::get(&args.key, args.recursive, sorted, args.quorum);
    let answer = session.send(&call).await?;
    if session.is_simple() {
        print(&listing(&answer.event.node, args.slash))?;
    } else {
        session.show(&answer)?;
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

/// Whether a name given to `rm` is a key.
pub(crate) fn is_key(name: &str) -> bool {
    name.starts_with('/')
}

pub(crate) async fn remove(session: &Session, args: RmArgs) -> Outcome {
    if args.force || args.volumes {
        return Err(Failure::usage(
            "--force and --volumes are for containers, and a name with a slash in front is a key".to_owned(),
        ));
    }
    for key in &args.names {
        let call = KeysCall::delete(key)
            .query_if("dir", args.dir.then_some(true))
            .query_if("recursive", args.recursive.then_some(true))
            .query_if("prevValue", args.with_value.as_deref())
            .query_if("prevIndex", args.with_index);
        removed(session, &call).await?;
    }
    Ok(0)
}

pub(crate) async fn rmdir(session: &Session, key: &str) -> Outcome {
    removed(session, &KeysCall::delete(key).query("dir", true)).await?;
    Ok(0)
}

async fn removed(session: &Session, call: &KeysCall) -> Result<(), Failure> {
    let answer = session.send_once(call).await?;
    // A directory has no value to print.
    if !answer.event.node.dir || !session.is_simple() {
        session.show(&answer)?;
    }
    Ok(())
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
    fn keys_are_told_from_containers() {
        assert!(is_key("/message") && !is_key("web"));
    }
}
