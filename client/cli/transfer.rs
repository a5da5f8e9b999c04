//! `berth export` and `berth import --keys`: keys as JSON lines, from and to any server of the v2 API. Neither holds
//! more in memory than one directory's listing or a few lines.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::time::Duration;

use berth_sdk::{Failures, KeysCall};
use berth_wire::etcd::Node;
use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::args::{ExportArgs, ImportWords};
use crate::exit::{FAILED, Failure, Outcome};
use crate::kv::Session;
use crate::terminal::note;

const KEY_NOT_FOUND: u16 = 100;
const KEY_EXISTS: u16 = 105;

/// Longest line that is read. The rest of a longer one is skipped, and the line is reported as bad.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// Keys that are being written at the same time. At the bound the next line waits for one of them.
const MOST_WRITES: usize = 32;

/// Bad lines that are named one by one; the sum at the end counts all of them.
const MOST_NAMED: usize = 1000;

/// One key or directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Line {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dir: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl: Option<u64>,
    #[serde(default)]
    created_index: u64,
    #[serde(default)]
    modified_index: u64,
}

impl Line {
    fn of(node: &Node) -> Self {
        Self {
            key: node.key.clone(),
            value: if node.dir { None } else { node.value.clone() },
            dir: node.dir,
            // What is about to go has a second left: no TTL would mean for ever.
            ttl: node.ttl.map(|ttl| u64::try_from(ttl).unwrap_or(1).max(1)),
            created_index: node.created_index,
            modified_index: node.modified_index,
        }
    }

    /// Reads a line, with every key below `prefix`.
    fn parse(text: &str, prefix: &str) -> Result<Self, String> {
        let mut line: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if !line.key.starts_with('/') || line.key.trim_matches('/').is_empty() {
            return Err(format!("key {:?} is not below /", line.key));
        }
        match (&line.value, line.dir) {
            (None, false) => return Err(format!("key {:?} has neither a value nor dir", line.key)),
            (Some(_), true) => return Err(format!("key {:?} has a value and dir", line.key)),
            (Some(_), false) | (None, true) => {}
        }
        if line.ttl == Some(0) {
            return Err(format!("key {:?} has a ttl of 0", line.key));
        }
        let prefix = prefix.trim_matches('/');
        if !prefix.is_empty() {
            line.key = format!("/{prefix}{}", line.key);
        }
        Ok(line)
    }
}

fn bar() -> ProgressBar {
    // indicatif draws on standard error, and only when that is a terminal.
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} lines {elapsed} {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

pub(crate) async fn export(session: &Session, args: ExportArgs) -> Outcome {
    if let Some(name) = args.keys.iter().find(|key| !key.starts_with('/')) {
        return Err(Failure::usage(format!("{name:?}: a key begins with a slash")));
    }
    let out: Box<dyn Write> = match &args.file {
        Some(path) => Box::new(File::create(path).map_err(|error| named(path, error))?),
        None => Box::new(io::stdout().lock()),
    };
    let mut export = Export {
        session,
        out: BufWriter::new(out),
        bar: bar(),
        count: 0,
        gone: 0,
    };
    for key in &args.keys {
        export.below(key).await?;
    }
    export.out.flush()?;
    export.bar.finish_and_clear();
    if export.gone > 0 {
        note(&format!(
            "berth: {} directories were removed while they were exported",
            export.gone
        ));
    }
    Ok(0)
}

fn named(path: &Path, error: io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

struct Export<'a> {
    session: &'a Session,
    out: BufWriter<Box<dyn Write>>,
    bar: ProgressBar,
    count: u64,
    gone: u64,
}

impl Export<'_> {
    /// Writes a key with everything below it, parents in front of their children.
    async fn below(&mut self, key: &str) -> Result<(), Failure> {
        let root = self
            .list(key)
            .await
            .map_err(|failures| self.session.failed(failures, false))?;
        if !root.key.trim_matches('/').is_empty() {
            self.write(&root)?;
        }
        // Directories that are still to be listed, the next one last.
        let mut waiting = self.level(root.nodes)?;
        while let Some(key) = waiting.pop() {
            match self.list(&key).await {
                Ok(node) => {
                    let mut inner = self.level(node.nodes)?;
                    waiting.append(&mut inner);
                }
                Err(failures) if code(&failures) == Some(KEY_NOT_FOUND) => self.gone += 1,
                Err(failures) => return Err(self.session.failed(failures, false)),
            }
        }
        Ok(())
    }

    async fn list(&self, key: &str) -> Result<Node, Failures> {
        let call = KeysCall::get(key, false, true, true);
        Ok(self.session.client().send(&call).await?.event.node)
    }

    /// Writes the nodes of one listing and returns the directories among them, the first one last.
    fn level(&mut self, nodes: Vec<Node>) -> Result<Vec<String>, Failure> {
        let mut directories = Vec::new();
        for node in nodes {
            self.write(&node)?;
            if node.dir {
                directories.push(node.key);
            }
        }
        directories.reverse();
        Ok(directories)
    }

    fn write(&mut self, node: &Node) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, &Line::of(node)).map_err(io::Error::from)?;
        self.out.write_all(b"\n")?;
        self.count += 1;
        self.bar.set_position(self.count);
        Ok(())
    }
}

fn code(failures: &Failures) -> Option<u16> {
    failures.refusal()?.store_code()
}

pub(crate) async fn import(session: &Session, args: ImportWords) -> Outcome {
    let path = &args.image.archive;
    let input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(|error| named(path, error))?)
    };
    let mut import = Import {
        session,
        skip_existing: args.skip_existing,
        bar: bar(),
        writes: JoinSet::new(),
        busy: HashSet::new(),
        sums: Sums::default(),
    };
    let ended = import
        .all(BufReader::new(input), args.prefix.as_deref().unwrap_or(""))
        .await;
    import.bar.finish_and_clear();
    note(&import.sums.text());
    ended?;
    Ok(if import.sums.failed > 0 { FAILED } else { 0 })
}

/// What became of the lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sums {
    keys: u64,
    directories: u64,
    skipped: u64,
    failed: usize,
}

impl Sums {
    fn text(&self) -> String {
        format!(
            "berth: {} keys and {} directories written, {} left alone, {} lines failed",
            self.keys, self.directories, self.skipped, self.failed
        )
    }
}

/// What became of one line.
#[derive(Debug)]
enum Written {
    Yes,
    Skipped,
    Refused(String),
    Broken(Failures),
}

struct Import<'a> {
    session: &'a Session,
    skip_existing: bool,
    bar: ProgressBar,
    writes: JoinSet<(u64, String, Written)>,
    /// The keys of `writes`: two lines of one key keep their order.
    busy: HashSet<String>,
    sums: Sums,
}

impl Import<'_> {
    async fn all(&mut self, mut input: impl BufRead, prefix: &str) -> Result<(), Failure> {
        let mut number = 0;
        while let Some(text) = next_line(&mut input)? {
            number += 1;
            self.bar.set_position(number);
            let line = match text {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => Line::parse(&text, prefix),
                Err(why) => Err(why.to_owned()),
            };
            match line {
                Ok(line) => self.put(number, line).await?,
                Err(why) => self.bad(number, &why),
            }
        }
        self.drain(0).await
    }

    fn bad(&mut self, number: u64, why: &str) {
        self.sums.failed += 1;
        if self.sums.failed <= MOST_NAMED {
            self.bar.suspend(|| note(&format!("berth: line {number}: {why}")));
        }
    }

    async fn put(&mut self, number: u64, line: Line) -> Result<(), Failure> {
        if line.dir {
            // The lines below it must find it there, with its TTL.
            self.drain(0).await?;
            let written = directory(self.session, &line, self.skip_existing).await;
            if matches!(written, Written::Yes) {
                self.sums.directories += 1;
            }
            return self.settle(number, &line.key, written);
        }
        if self.busy.contains(&line.key) {
            self.drain(0).await?;
        }
        self.drain(MOST_WRITES - 1).await?;
        self.busy.insert(line.key.clone());
        let (session, skip_existing) = (self.session.clone(), self.skip_existing);
        self.writes.spawn(async move {
            let written = file(&session, &line, skip_existing).await;
            (number, line.key, written)
        });
        Ok(())
    }

    /// Waits until no more than `left` writes are under way.
    async fn drain(&mut self, left: usize) -> Result<(), Failure> {
        while self.writes.len() > left {
            let Some(ended) = self.writes.join_next().await else {
                break;
            };
            let (number, key, written) = ended?;
            self.busy.remove(&key);
            if matches!(written, Written::Yes) {
                self.sums.keys += 1;
            }
            self.settle(number, &key, written)?;
        }
        Ok(())
    }

    fn settle(&mut self, number: u64, key: &str, written: Written) -> Result<(), Failure> {
        match written {
            Written::Yes => {}
            Written::Skipped => self.sums.skipped += 1,
            Written::Refused(why) => self.bad(number, &format!("key {key:?}: {why}")),
            Written::Broken(failures) => {
                self.bad(number, &format!("key {key:?} may or may not be written"));
                return Err(self.session.failed(failures, false));
            }
        }
        Ok(())
    }
}

/// The next line without its end, or why it cannot be read as one; `None` at the end of the input.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Result<String, &'static str>>> {
    let mut bytes = Vec::new();
    if input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes)? == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else if u64::try_from(bytes.len()).is_ok_and(|length| length >= LONGEST_LINE) {
        skip_line(input)?;
        return Ok(Some(Err("it is longer than 16 MiB")));
    }
    Ok(Some(String::from_utf8(bytes).map_err(|_| "it is not UTF-8")))
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let found = input.fill_buf()?;
        let (used, ended) = match found.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (found.len(), found.is_empty()),
        };
        input.consume(used);
        if ended {
            return Ok(());
        }
    }
}

async fn file(session: &Session, line: &Line, skip_existing: bool) -> Written {
    let call = KeysCall::put(&line.key)
        .query_if("prevExist", skip_existing.then_some(false))
        .form("value", line.value.as_deref().unwrap_or_default())
        .form_if("ttl", line.ttl);
    match session.client().send(&call).await {
        Ok(_) => Written::Yes,
        Err(failures) if skip_existing && code(&failures) == Some(KEY_EXISTS) => Written::Skipped,
        Err(failures) => not_written(failures),
    }
}

async fn directory(session: &Session, line: &Line, skip_existing: bool) -> Written {
    let call = KeysCall::put(&line.key)
        .query("dir", true)
        .form_if("ttl", line.ttl);
    match session
        .client()
        .send(&call.clone().query("prevExist", false))
        .await
    {
        Ok(_) => return Written::Yes,
        Err(failures) if code(&failures) == Some(KEY_EXISTS) => {}
        Err(failures) => return not_written(failures),
    }
    match session
        .client()
        .send(&KeysCall::get(&line.key, false, false, true))
        .await
    {
        Ok(answer) if !answer.event.node.dir => {
            return Written::Refused("a key is where the directory belongs".to_owned());
        }
        Ok(_) => {}
        Err(failures) => return not_written(failures),
    }
    // Without a TTL there is nothing to change in a directory that is there, unless it would go.
    if skip_existing {
        return Written::Skipped;
    }
    match session.client().send(&call.query("prevExist", true)).await {
        Ok(_) => Written::Yes,
        Err(failures) => not_written(failures),
    }
}

fn not_written(failures: Failures) -> Written {
    match failures.refusal() {
        Some(refusal) if refusal.is_store_refusal() => Written::Refused(refusal.to_string()),
        Some(_) | None => Written::Broken(failures),
    }
}

#[cfg(test)]
mod tests;
