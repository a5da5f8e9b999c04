//! The command line of etcdctl's v2 API: what a script written for it says is done in the same words, with the same
//! output and the same exit codes.

mod flags;
mod table;
mod users;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use berth_sdk::TlsFiles;
use tokio::runtime::Builder;

use self::flags::{Given, parse, reorder};
use self::table::{ABSENT, GLOBAL, Word, help, word, word_help};
use crate::args::{
    DirArgs, ExecWatchArgs, GetArgs, HealthArgs, LsArgs, MemberCommand, MkArgs, RmArgs, SetArgs, UpdateArgs,
    WatchArgs,
};
use crate::discover;
use crate::exit::{Failure, Outcome};
use crate::kv::{self, Connection, DirWish, Session, Shape};
use crate::terminal::{note, print};

/// The etcdctl that this one follows. Scripts look at it to choose flags.
const VERSION: &str = "3.4.23";

/// Exit code of a command that does not exist.
const NO_SUCH_COMMAND: u8 = 3;

/// Longest wait for one member, as etcdctl has it.
const LIMIT: Duration = Duration::from_secs(2);

/// Longest wait for a command other than a watch, as etcdctl has it.
const TOTAL_LIMIT: Duration = Duration::from_secs(5);

const ENDPOINTS: &str = "http://127.0.0.1:2379,http://127.0.0.1:4001";

/// Does what a command line of etcdctl says; returns the exit code.
pub(crate) fn run(words: &[OsString]) -> u8 {
    carry_out(words).unwrap_or_else(|Failure { code, error }| {
        if let Some(error) = error {
            // The words are etcdctl's, and those have no name in front.
            note(&format!("{error:#}"));
        }
        code
    })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn carry_out(words: &[OsString]) -> Outcome {
    if let Some(api) = variable("ETCDCTL_API").filter(|api| api != "2") {
        return Err(Failure::usage(format!(
            "ETCDCTL_API={api} is not supported: berth is etcdctl for the v2 API, ETCDCTL_API=2"
        )));
    }
    let mut texts = Vec::new();
    for word in words.iter().skip(1) {
        let text = word.to_str();
        texts.push(
            text.ok_or_else(|| Failure::usage(format!("{word:?} is not UTF-8")))?
                .to_owned(),
        );
    }
    let (global, rest) = match parse(GLOBAL, &texts) {
        Ok(parsed) => parsed,
        Err(why) => {
            print(&format!("Incorrect Usage. {why}\n\n{}", help()))?;
            return Err(Failure::usage(why));
        }
    };
    if global.is("version") {
        print(&format!("etcdctl version: {VERSION}\nAPI version: 2\n"))?;
        return Ok(0);
    }
    match rest.split_first() {
        Some((name, rest)) if !global.is("help") => command(&global, name, rest),
        Some(_) | None => {
            print(&help())?;
            Ok(0)
        }
    }
}

fn no_such(name: &str) -> Failure {
    let text = if ABSENT.contains(&name) {
        format!("etcdctl {name} is not supported by berth")
    } else {
        format!("No help topic for '{name}'")
    };
    Failure::new(NO_SUCH_COMMAND, anyhow::Error::msg(text))
}

fn command(global: &Given, name: &str, rest: &[String]) -> Outcome {
    if matches!(name, "help" | "h") {
        let text = match rest.first() {
            None => help(),
            Some(name) => word_help(word(name).ok_or_else(|| no_such(name))?),
        };
        print(&text)?;
        return Ok(0);
    }
    let word = word(name).ok_or_else(|| no_such(name))?;
    let (given, args) = match parse(word.flags, &reorder(word.flags, rest)) {
        Ok(parsed) => parsed,
        Err(why) => {
            print(&format!("Incorrect Usage: {why}\n\n{}", word_help(word)))?;
            return Err(Failure::usage(why));
        }
    };
    if given.is("help") {
        print(&word_help(word))?;
        return Ok(0);
    }
    let wish = Wish { word, given, args };
    let session = session(global)?;
    let sync = !global.is("no-sync");
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(wish.carry_out(session, sync))
}

/// The connection that the flags and the environment ask for.
fn session(global: &Given) -> Result<Session, Failure> {
    let domain = global
        .text("discovery-srv")
        .or_else(|| variable("ETCDCTL_DISCOVERY_SRV"));
    let found = domain.map(|domain| {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let dns_server = variable("BERTH_DNS_SERVER").and_then(|server| server.parse().ok());
        discover::endpoints(&runtime, domain, dns_server)
    });
    let file = |flag, name| global.text(flag).or_else(|| variable(name)).map(PathBuf::from);
    let endpoints = global
        .text("endpoints")
        .or_else(|| variable("ETCDCTL_ENDPOINTS"))
        .or_else(|| global.text("endpoint"))
        .or_else(|| variable("ETCDCTL_ENDPOINT"))
        .or_else(|| global.text("peers"))
        .or_else(|| variable("ETCDCTL_PEERS"));
    let endpoints = match found.transpose()? {
        Some(found) => found,
        None => endpoints.unwrap_or_else(|| ENDPOINTS.to_owned()),
    };
    let connection = Connection {
        endpoints,
        limit: Some(global.time("timeout").unwrap_or(LIMIT)),
        total: Some(global.time("total-timeout").unwrap_or(TOTAL_LIMIT)),
        debug: global.is("debug"),
        user: global.text("username").or_else(|| variable("ETCDCTL_USERNAME")),
        tls: TlsFiles {
            ca: file("ca-file", "ETCDCTL_CA_FILE"),
            cert: file("cert-file", "ETCDCTL_CERT_FILE"),
            key: file("key-file", "ETCDCTL_KEY_FILE"),
            insecure: false,
        },
    };
    let shape = match global.text("output").as_deref() {
        None | Some("simple") => Shape::Simple,
        Some("extended") => Shape::Extended,
        Some("json") => Shape::Json,
        Some(name) => Shape::Unknown(name.to_owned()),
    };
    Session::of_etcdctl(connection, shape)
}

/// A command with its flags and its other words.
struct Wish {
    word: &'static Word,
    given: Given,
    args: Vec<String>,
}

impl Wish {
    async fn carry_out(self, mut session: Session, sync: bool) -> Outcome {
        if matches!(self.word.name, "user" | "role" | "auth") {
            return users::carry_out(self, session, sync).await;
        }
        if self.word.name == "member" {
            return self.member(session, sync).await;
        }
        // The health is that of the members, and asking one of them for the list is part of it.
        if sync && self.word.name != "cluster-health" {
            session.sync().await?;
        }
        session.announce();
        match self.word.name {
            "cluster-health" => {
                let forever = self.given.is("forever");
                kv::members::health(&session, HealthArgs { forever }).await
            }
            "watch" | "exec-watch" => self.watch(&session).await,
            "get" | "ls" => self.read(&session).await,
            _ => self.write(&session).await,
        }
    }

    fn key(&self, session: &Session) -> Result<String, Failure> {
        let key = self.args.first().cloned();
        key.ok_or_else(|| session.usage("key required"))
    }

    fn ttl(&self) -> Option<u64> {
        self.given.count("ttl")
    }

    /// An index that a key must have; 0 is none, and a negative one wraps around, as etcdctl has it.
    fn index(&self, flag: &str) -> Option<u64> {
        let index = self.given.number(flag).cast_unsigned();
        (index != 0).then_some(index)
    }

    async fn read(&self, session: &Session) -> Outcome {
        let sort = self.given.is("sort");
        let quorum = self.given.is("quorum");
        if self.word.name == "get" {
            let key = self.key(session)?;
            return kv::get(session, GetArgs { key, sort, quorum }).await;
        }
        let args = LsArgs {
            key: self.args.first().cloned().unwrap_or_else(|| "/".to_owned()),
            sort,
            recursive: self.given.is("recursive"),
            slash: self.given.is("p"),
            quorum,
        };
        kv::ls(session, args).await
    }

    async fn write(&self, session: &Session) -> Outcome {
        let key = self.key(session)?;
        let value = self.args.get(1).cloned();
        let ttl = self.ttl();
        match self.word.name {
            "set" => {
                let args = SetArgs {
                    key,
                    value,
                    ttl,
                    create: false,
                    update: false,
                    dir: false,
                    refresh: false,
                    swap_with_value: self.given.text("swap-with-value"),
                    swap_with_index: self.index("swap-with-index"),
                };
                kv::set(session, args).await
            }
            "mk" => {
                let in_order = self.given.is("in-order");
                let args = MkArgs {
                    key,
                    value,
                    in_order,
                    ttl,
                };
                kv::mk(session, args).await
            }
            "update" => kv::update(session, UpdateArgs { key, value, ttl }).await,
            "mkdir" => kv::dir(session, DirArgs { key, ttl }, DirWish::Make).await,
            "setdir" => kv::dir(session, DirArgs { key, ttl }, DirWish::Set).await,
            "updatedir" => kv::dir(session, DirArgs { key, ttl }, DirWish::Update).await,
            "rmdir" => kv::rmdir(session, &key).await,
            _ => self.remove(session, key).await,
        }
    }

    async fn remove(&self, session: &Session, key: String) -> Outcome {
        let args = RmArgs {
            names: vec![key],
            force: false,
            volumes: false,
            recursive: self.given.is("recursive"),
            dir: self.given.is("dir"),
            with_value: self.given.text("with-value"),
            with_index: self.index("with-index"),
        };
        kv::remove(session, args).await
    }

    async fn watch(&self, session: &Session) -> Outcome {
        let recursive = self.given.is("recursive");
        let after_index = self.given.count("after-index");
        if self.word.name == "watch" {
            let args = WatchArgs {
                key: self.key(session)?,
                recursive,
                forever: self.given.is("forever"),
                after_index,
            };
            return kv::watch::watch(session, args).await;
        }
        let mut words = self.args.iter().filter(|word| *word != "--").cloned();
        let (Some(key), true) = (words.next(), self.args.len() > 1) else {
            return Err(session.usage("key and command to exec required"));
        };
        let args = ExecWatchArgs {
            key,
            recursive,
            after_index,
            command: words.map(OsString::from).collect(),
        };
        kv::watch::exec_watch(session, args).await
    }

    async fn member(&self, mut session: Session, sync: bool) -> Outcome {
        let words: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let asks = |text: &str| Err(Failure::usage(text.to_owned()));
        let command = match words.as_slice() {
            [] => {
                print(&word_help(self.word))?;
                return Ok(0);
            }
            ["list"] => MemberCommand::List,
            ["list", ..] => return asks("No arguments accepted"),
            ["add", name, peer_url] => MemberCommand::Add {
                name: (*name).to_owned(),
                peer_url: (*peer_url).to_owned(),
            },
            ["add", ..] => return asks("Provide a name and a single member peerURL"),
            ["remove", id] => MemberCommand::Remove { id: (*id).to_owned() },
            ["remove", ..] => return asks("Provide a single member ID"),
            ["update", id, peer_urls] => MemberCommand::Update {
                id: (*id).to_owned(),
                peer_urls: (*peer_urls).to_owned(),
            },
            ["update", ..] => {
                return asks(
                    "Provide an ID and a list of comma separated peerURL (0xabcd http://example.com,http://example1.com)",
                );
            }
            [name, ..] => return Err(no_such(name)),
        };
        if sync {
            session.sync().await?;
        }
        session.announce();
        kv::members::member(&session, command).await
    }
}
