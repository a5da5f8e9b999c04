//! `berth tree`: a directory with everything below it, drawn.

use berth_sdk::KeysCall;
use berth_wire::etcd::Node;

use super::Session;
use crate::args::TreeArgs;
use crate::exit::Outcome;
use crate::terminal::print;

pub(crate) async fn run(session: &Session, args: TreeArgs) -> Outcome {
    let call = KeysCall::get(&args.key, true, true, args.quorum);
    let answer = session.send(&call).await?;
    if session.is_simple() {
        print(&draw(&answer.event.node, args.values))?;
    } else {
        session.show(&answer)?;
    }
    Ok(0)
}

/// The tree and how much is in it.
fn draw(root: &Node, values: bool) -> String {
    let mut drawing = Drawing {
        text: String::new(),
        directories: 0,
        keys: 0,
        values,
    };
    let name = if root.key.is_empty() { "/" } else { &root.key };
    drawing.label(name, root);
    drawing.below(&root.nodes, "");
    if !root.dir {
        drawing.keys = 1;
    }
    let count = |number: usize, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{number} {many}"),
    };
    let directories = count(drawing.directories, "directory", "directories");
    let keys = count(drawing.keys, "key", "keys");
    format!("{}\n{directories}, {keys}\n", drawing.text)
}

struct Drawing {
    text: String,
    directories: usize,
    keys: usize,
    values: bool,
}

impl Drawing {
    fn label(&mut self, name: &str, node: &Node) {
        self.text.push_str(name);
        match &node.value {
            Some(value) if self.values && !node.dir => self.text.push_str(&format!(" = {value:?}")),
            _ if node.dir && !name.ends_with('/') => self.text.push('/'),
            _ => {}
        }
        self.text.push('\n');
    }

    fn below(&mut self, nodes: &[Node], indent: &str) {
        for (at, node) in nodes.iter().enumerate() {
            let last = at + 1 == nodes.len();
            self.text.push_str(indent);
            self.text.push_str(if last { "└── " } else { "├── " });
            let name = node.key.rsplit('/').next().unwrap_or_default();
            self.label(name, node);
            if node.dir {
                self.directories += 1;
                let indent = format!("{indent}{}", if last { "    " } else { "│   " });
                self.below(&node.nodes, &indent);
            } else {
                self.keys += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees() {
        let root: Node = serde_json::from_str(
            r#"{"dir":true,"nodes":[{"key":"/d","dir":true,"nodes":[{"key":"/d/x","value":"1"},{"key":"/d/y","value":""}]},{"key":"/f","value":"a\nb"}]}"#,
        )
        .expect("a node");
        assert_eq!(
            draw(&root, false),
            "/\n├── d/\n│   ├── x\n│   └── y\n└── f\n\n1 directory, 3 keys\n"
        );
        assert!(draw(&root, true).contains("└── f = \"a\\nb\"\n"));
        let one: Node = serde_json::from_str(r#"{"key":"/f","value":"1"}"#).expect("a node");
        assert_eq!(draw(&one, false), "/f\n\n0 directories, 1 key\n");
    }
}
