//! The commands of etcdctl that berth answers to, their flags and their help.

use super::flags::{Flag, Kind};

/// A command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) usage: &'static str,
    pub(super) flags: &'static [Flag],
}

const fn flag(names: &'static [&'static str], kind: Kind, help: &'static str) -> Flag {
    Flag { names, kind, help }
}

const HELP: Flag = flag(&["help", "h"], Kind::Bool, "show help");
const QUORUM: Flag = flag(&["quorum", "q"], Kind::Bool, "ask a majority of the members");
const SORT: Flag = flag(&["sort"], Kind::Bool, "sort the listing");
const TTL: Flag = flag(&["ttl"], Kind::Number, "seconds until it goes by itself");
const AFTER: Flag = flag(&["after-index"], Kind::Number, "begin after this index");

/// What stands in front of a command.
pub(super) const GLOBAL: &[Flag] = &[
    flag(
        &["debug"],
        Kind::Bool,
        "print every request as a curl command line",
    ),
    flag(&["no-sync"], Kind::Bool, "ask only the members that are given"),
    flag(&["output", "o"], Kind::Text, "simple, extended or json"),
    flag(
        &["discovery-srv", "D"],
        Kind::Text,
        "domain name to query for SRV records describing cluster endpoints",
    ),
    flag(&["insecure-discovery"], Kind::Bool, "not supported"),
    flag(&["peers", "C"], Kind::Text, "as --endpoints"),
    flag(&["endpoint"], Kind::Text, "as --endpoints"),
    flag(
        &["endpoints"],
        Kind::Text,
        "members of the store, separated by commas (default: \"http://127.0.0.1:2379,http://127.0.0.1:4001\")",
    ),
    flag(
        &["cert-file"],
        Kind::Text,
        "certificate that is shown to https members, PEM",
    ),
    flag(&["key-file"], Kind::Text, "private key of --cert-file, PEM"),
    flag(
        &["ca-file"],
        Kind::Text,
        "authorities of the members' certificates, PEM",
    ),
    flag(
        &["username", "u"],
        Kind::Text,
        "user and password, with a colon between them",
    ),
    flag(
        &["timeout"],
        Kind::Time,
        "longest wait for one member (default: 2s)",
    ),
    flag(
        &["total-timeout"],
        Kind::Time,
        "longest wait for a command other than a watch (default: 5s)",
    ),
    HELP,
    flag(&["version", "v"], Kind::Bool, "print the version"),
];

/// The commands in the order of the help.
pub(super) const WORDS: &[Word] = &[
    Word {
        name: "cluster-health",
        help: "ask every member for its health",
        usage: "[command options]",
        flags: &[
            flag(
                &["forever", "f"],
                Kind::Bool,
                "again every 10 seconds until Ctrl-C",
            ),
            HELP,
        ],
    },
    Word {
        name: "mk",
        help: "make a key that is not there",
        usage: "[command options] <key> <value>",
        flags: &[
            flag(&["in-order"], Kind::Bool, "let the store choose a name in order"),
            TTL,
            HELP,
        ],
    },
    Word {
        name: "mkdir",
        help: "make a directory",
        usage: "[command options] <key>",
        flags: &[TTL, HELP],
    },
    Word {
        name: "rm",
        help: "remove a key or a directory",
        usage: "[command options] <key>",
        flags: &[
            flag(&["dir"], Kind::Bool, "an empty directory too"),
            flag(
                &["recursive", "r"],
                Kind::Bool,
                "a directory with everything in it",
            ),
            flag(&["with-value"], Kind::Text, "only if it has this value"),
            flag(
                &["with-index"],
                Kind::Number,
                "only if it was last changed at this index",
            ),
            HELP,
        ],
    },
    Word {
        name: "rmdir",
        help: "remove a key or an empty directory",
        usage: "<key>",
        flags: &[HELP],
    },
    Word {
        name: "get",
        help: "print the value of a key",
        usage: "[command options] <key>",
        flags: &[SORT, QUORUM, HELP],
    },
    Word {
        name: "ls",
        help: "list a directory",
        usage: "[command options] [key]",
        flags: &[
            SORT,
            flag(&["recursive", "r"], Kind::Bool, "all levels"),
            flag(&["p"], Kind::Bool, "a slash after each directory"),
            QUORUM,
            HELP,
        ],
    },
    Word {
        name: "set",
        help: "write a key",
        usage: "[command options] <key> <value>",
        flags: &[
            TTL,
            flag(&["swap-with-value"], Kind::Text, "only if it has this value"),
            flag(
                &["swap-with-index"],
                Kind::Number,
                "only if it was last changed at this index",
            ),
            HELP,
        ],
    },
    Word {
        name: "setdir",
        help: "make a directory, or give the key a new time to live",
        usage: "[command options] <key>",
        flags: &[TTL, HELP],
    },
    Word {
        name: "update",
        help: "change a key that is there",
        usage: "[command options] <key> <value>",
        flags: &[TTL, HELP],
    },
    Word {
        name: "updatedir",
        help: "give a directory a new time to live",
        usage: "[command options] <key>",
        flags: &[TTL, HELP],
    },
    Word {
        name: "watch",
        help: "wait for a change of a key",
        usage: "[command options] <key>",
        flags: &[
            flag(&["forever", "f"], Kind::Bool, "every change until Ctrl-C"),
            AFTER,
            flag(&["recursive", "r"], Kind::Bool, "everything below the key too"),
            HELP,
        ],
    },
    Word {
        name: "exec-watch",
        help: "run a command at every change of a key",
        usage: "[command options] <key> <command> [args...]",
        flags: &[
            AFTER,
            flag(&["recursive", "r"], Kind::Bool, "everything below the key too"),
            HELP,
        ],
    },
    Word {
        name: "member",
        help: "list, add, remove and update members",
        usage: "list | add <name> <peerURL> | remove <id> | update <id> <peerURL,...>",
        flags: &[HELP],
    },
    Word {
        name: "user",
        help: "list, add, remove and change users",
        usage: "list | add <user>[:<password>] | get <user> | remove <user> | passwd <user> | \
                grant --roles <role> <user> | revoke --roles <role> <user>",
        flags: &[HELP],
    },
    Word {
        name: "role",
        help: "list, add, remove and change roles",
        usage: "list | add <role> | get <role> | remove <role> | \
                grant --path <key> --read|--write|--readwrite <role> | revoke --path <key> --read|--write|--readwrite <role>",
        flags: &[HELP],
    },
    Word {
        name: "auth",
        help: "let users and roles count, or not",
        usage: "enable | disable",
        flags: &[HELP],
    },
];

/// Commands of etcdctl that are not here, so that they can be refused by name.
pub(super) const ABSENT: [&str; 1] = ["backup"];

pub(super) fn word(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.name == name)
}

/// The help of the program.
pub(super) fn help() -> String {
    let mut text = String::from(
        "NAME:\n   etcdctl - the keys of an etcd v2 or Berth store (this is berth)\n\n\
         USAGE:\n   etcdctl [global options] command [command options] [arguments...]\n\n",
    );
    text.push_str(&format!("VERSION:\n   {}\n\nCOMMANDS:\n", super::VERSION));
    for word in WORDS {
        text.push_str(&format!("   {:<16}{}\n", word.name, word.help));
    }
    text.push_str("   help, h         show a list of commands or help for one of them\n\nGLOBAL OPTIONS:\n");
    text.push_str(&flag_lines(GLOBAL));
    text
}

/// The help of a command.
pub(super) fn word_help(word: &Word) -> String {
    let Word {
        name,
        help,
        usage,
        flags,
    } = word;
    let lines = flag_lines(flags);
    format!("NAME:\n   etcdctl {name} - {help}\n\nUSAGE:\n   etcdctl {name} {usage}\n\nOPTIONS:\n{lines}")
}

fn flag_lines(flags: &[Flag]) -> String {
    let mut lines = String::new();
    for flag in flags {
        let value = if flag.kind == Kind::Bool { "" } else { " value" };
        let names: Vec<String> = flag
            .names
            .iter()
            .map(|name| format!("{}{name}{value}", if name.len() == 1 { "-" } else { "--" }))
            .collect();
        lines.push_str(&format!("   {:<33}{}\n", names.join(", "), flag.help));
    }
    lines
}
