//! Case files: each begins on a fresh member and is read line by line. In what is expected, `…` stands for any text.
//!
//! ```text
//! > METHOD TARGET [FORM]      asks; each such line is a case
//! + Name: value               a header of the request above; a form without a Content-Type of its own gets curl's,
//!                             `(none)` leaves it out
//! < STATUS BODY               the whole answer
//! < Name: value               one of its headers; `(missing)` if it must not be there
//! w NAME TARGET               opens a watch and keeps it; `<` lines tell its head; each such line is a case
//! e NAME EVENT                the watch's next event; `(end)` for the end of the answer
//! x NAME                      the client leaves the watch
//! ```
//!
//! `<berth` and `<etcd` lines hold for one of the two programs only; docs/COMPATIBILITY.md lists those deviations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_harness::{Response, Stream, request};

use crate::wire::Wire;
use crate::{Member, reference_alone, tell};

/// The fewest cases there may be: a suite that lost its files must not pass.
const FEWEST: usize = 800;

/// One line of a case file that makes something happen.
#[derive(Debug)]
enum Doing {
    Ask {
        request: Vec<String>,
        headers: Vec<(String, String)>,
    },
    Watch {
        name: String,
        target: String,
    },
    Event {
        name: String,
        pattern: String,
    },
    Leave {
        name: String,
    },
}

#[derive(Debug)]
struct Step {
    line: usize,
    doing: Doing,
    expected: Vec<String>,
}

impl Step {
    fn is_case(&self) -> bool {
        matches!(self.doing, Doing::Ask { .. } | Doing::Watch { .. })
    }
}

fn parse(text: &str, program: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let two = |rest: &str| {
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        (first.to_owned(), second.to_owned())
    };
    for (number, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        let doing = match mark {
            ">" => Doing::Ask {
                request: rest.splitn(3, ' ').map(str::to_owned).collect(),
                headers: Vec::new(),
            },
            "w" => {
                let (name, target) = two(rest);
                Doing::Watch { name, target }
            }
            "e" => {
                let (name, pattern) = two(rest);
                Doing::Event { name, pattern }
            }
            "x" => Doing::Leave {
                name: rest.to_owned(),
            },
            "+" => {
                let (name, value) = rest.split_once(": ").unwrap();
                let Some(Doing::Ask { headers, .. }) = steps.last_mut().map(|step| &mut step.doing) else {
                    panic!("line {}: a header without a request", number + 1);
                };
                headers.push((name.to_owned(), value.to_owned()));
                continue;
            }
            "<" => {
                steps.last_mut().unwrap().expected.push(rest.to_owned());
                continue;
            }
            "<berth" | "<etcd" => {
                if mark[1..] == *program {
                    steps.last_mut().unwrap().expected.push(rest.to_owned());
                }
                continue;
            }
            "" | "#" => continue,
            _ => panic!("line {}: not a case line: {line}", number + 1),
        };
        steps.push(Step {
            line: number + 1,
            doing,
            expected: Vec::new(),
        });
    }
    steps
}

/// Whether `text` fits `pattern`, in which `…` stands for anything.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut open_end = false;
    for piece in pieces {
        open_end = piece.is_empty();
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    open_end || rest.is_empty()
}

/// The first line is that of the status, the rest are headers.
fn is_header(expected: &str) -> Option<(&str, &str)> {
    expected
        .split_once(": ")
        .filter(|(name, _)| !name.contains([' ', '{']))
}

/// What was seen where something else was expected.
fn differences(expected: &[String], answer: &Response) -> Vec<String> {
    let whole = format!("{} {}", answer.status, answer.text().trim_end_matches('\n'));
    let mut wrong = Vec::new();
    for expected in expected {
        let (seen, good) = match is_header(expected) {
            Some((name, value)) => {
                let seen = answer
                    .header(&name.to_ascii_lowercase())
                    .unwrap_or("(missing)")
                    .to_owned();
                let good = fits(value, &seen);
                (format!("{name}: {seen}"), good)
            }
            None => (whole.clone(), fits(expected.trim_end(), whole.trim_end())),
        };
        if !good {
            wrong.push(format!("  expected {expected}\n  got      {seen}"));
        }
    }
    wrong
}

/// How the requests of a file travel: each on a connection of its own, which it asks to close, or all on one that is
/// kept. Servers may well have two ways through their code for these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Travel {
    Alone,
    Together,
}

/// The client of one file.
struct Client<'a> {
    member: &'a Member,
    kept: Option<Wire>,
    watches: BTreeMap<String, Stream>,
}

impl Client<'_> {
    fn ask(&mut self, words: &[String], headers: &[(String, String)]) -> Response {
        let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
        let (method, target, form) = (word(0), word(1), word(2));
        let typed = headers.iter().any(|(name, _)| name == "Content-Type");
        let mut sent: Vec<(&str, &str)> = headers
            .iter()
            .filter(|(_, value)| value != "(none)")
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        if !typed && !form.is_empty() {
            sent.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        let Some(wire) = &mut self.kept else {
            return request(self.member.address(), method, target, &sent, form.as_bytes())
                .unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        };
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: test\r\n");
        for (name, value) in sent {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !form.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", form.len()));
        }
        wire.send(text + "\r\n" + form);
        let answer = wire
            .answer(method)
            .unwrap_or_else(|| panic!("{method} {target}: no answer"));
        if answer.header("connection") == Some("close") {
            *wire = Wire::open(self.member);
        }
        answer
    }
}

fn take(step: &Step, client: &mut Client<'_>) -> Vec<String> {
    match &step.doing {
        Doing::Ask { request, headers } => differences(&step.expected, &client.ask(request, headers)),
        Doing::Watch { name, target } => {
            let stream = Stream::open(client.member.address(), target);
            let wrong = differences(&step.expected, &stream.head);
            client.watches.insert(name.clone(), stream);
            wrong
        }
        Doing::Event { name, pattern } => {
            let seen = client.watches.get_mut(name).unwrap().chunk();
            let seen = seen.map_or("(end)".to_owned(), |event| event.trim_end().to_owned());
            match fits(pattern, &seen) {
                true => Vec::new(),
                false => vec![format!("  expected {pattern}\n  got      {seen}")],
            }
        }
        Doing::Leave { name } => {
            client.watches.remove(name).unwrap();
            Vec::new()
        }
    }
}

/// Runs one file; gives the number of its cases and what was wrong.
fn run(file: &Path, member: &Member, travel: Travel) -> (usize, Vec<String>) {
    let program = member.name();
    let steps = parse(&std::fs::read_to_string(file).unwrap(), program);
    let mut client = Client {
        member,
        kept: (travel == Travel::Together).then(|| Wire::open(member)),
        watches: BTreeMap::new(),
    };
    let mut wrong = Vec::new();
    for step in &steps {
        assert!(
            !step.is_case() || !step.expected.is_empty(),
            "{}:{} expects nothing",
            file.display(),
            step.line
        );
        for difference in take(step, &mut client) {
            wrong.push(format!(
                "{}:{} {:?} on {program}, {travel:?}\n{difference}",
                file.display(),
                step.line,
                step.doing
            ));
        }
    }
    (steps.iter().filter(|step| step.is_case()).count(), wrong)
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/etcd_api/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

fn run_all(travel: Travel, fresh: impl Fn() -> Member) {
    let files = files();
    let mut count = 0;
    let mut program = "";
    let mut wrong = Vec::new();
    for file in &files {
        let member = fresh();
        program = member.name();
        let (cases, differences) = run(file, &member, travel);
        assert!(cases > 0, "{} has no case", file.display());
        count += cases;
        wrong.extend(differences);
    }
    tell(&format!(
        "{count} cases in {} files against {program}, {travel:?}, {} wrong",
        files.len(),
        wrong.len()
    ));
    assert!(
        wrong.is_empty(),
        "{} wrong answers\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(count >= FEWEST, "only {count} cases: files are missing");
}

#[test]
fn berth_answers_every_case() {
    if !reference_alone() {
        run_all(Travel::Alone, Member::berth);
    }
}

#[test]
fn berth_answers_every_case_on_kept_connections() {
    if !reference_alone() {
        run_all(Travel::Together, Member::berth);
    }
}

#[test]
fn etcd_answers_every_case() {
    run_all(Travel::Alone, Member::etcd);
}

#[test]
fn etcd_answers_every_case_on_kept_connections() {
    run_all(Travel::Together, Member::etcd);
}

#[test]
fn the_pattern_language_can_say_no() {
    assert!(fits("a…c", "abbbc") && fits("…", "") && fits("a…", "a") && fits("abc", "abc"));
    assert!(!fits("abc", "abcd") && !fits("a…c", "abd") && !fits("a…c", "xabc"));
}

#[test]
fn the_case_language_can_say_no() {
    let answer = Response {
        status: 200,
        headers: vec![("x-etcd-index".to_owned(), "4".to_owned())],
        body: b"{}\n".to_vec(),
    };
    let say = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        differences(&lines, &answer).len()
    };
    assert_eq!(say(&["200 {}", "X-Etcd-Index: 4", "Allow: (missing)"]), 0);
    assert_eq!(
        say(&["200", "X-Etcd-Index: 5", "X-Etcd-Index: (missing)", "Allow: GET"]),
        4
    );
}
