//! Case files: each begins on a fresh member, `> METHOD TARGET [FORM]` asks, `< STATUS BODY` is the whole answer and
//! `< Name: value` one of its headers. In an answer `…` stands for any text. `<berth` and `<etcd` lines hold for one
//! of the two programs only; docs/COMPATIBILITY.md lists those deviations.

use std::path::Path;

use crate::Member;

struct Case {
    line: usize,
    request: Vec<String>,
    expected: Vec<String>,
}

fn parse(text: &str, program: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        match mark {
            ">" => {
                let request = rest.splitn(3, ' ').map(str::to_owned).collect();
                cases.push(Case {
                    line: number + 1,
                    request,
                    expected: Vec::new(),
                });
            }
            "<" => cases.last_mut().unwrap().expected.push(rest.to_owned()),
            "<berth" | "<etcd" if mark[1..] == *program => {
                cases.last_mut().unwrap().expected.push(rest.to_owned())
            }
            "<berth" | "<etcd" | "" | "#" => {}
            _ => panic!("line {}: not a case line: {line}", number + 1),
        }
    }
    cases
}

/// Whether `text` fits `pattern`, in which `…` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
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

fn run(file: &Path, member: &Member, program: &str) -> Vec<String> {
    let cases = parse(&std::fs::read_to_string(file).unwrap(), program);
    assert!(!cases.is_empty());
    let mut wrong = Vec::new();
    for case in &cases {
        assert!(
            !case.expected.is_empty(),
            "{}:{} expects nothing",
            file.display(),
            case.line
        );
        let field = |at: usize| case.request.get(at).map(String::as_str).unwrap_or_default();
        let answer = member.ask(field(0), field(1), field(2));
        let whole = format!("{} {}", answer.status, answer.text().trim_end_matches('\n'));
        for expected in &case.expected {
            let header = expected
                .split_once(": ")
                .filter(|(name, _)| !name.contains([' ', '{']));
            let (seen, good) = match header {
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
                wrong.push(format!(
                    "{}:{} {:?} on {program}\n  expected {expected}\n  got      {seen}",
                    file.display(),
                    case.line,
                    case.request
                ));
            }
        }
    }
    wrong
}

fn run_all(program: &str, fresh: impl Fn() -> Member) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/etcd_api/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 6, "case files are missing: {files:?}");
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|file| run(file, &fresh(), program))
        .collect();
    assert!(
        wrong.is_empty(),
        "{} wrong answers\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn berth_answers_every_case() {
    run_all("berth", Member::berth);
}

#[test]
fn etcd_answers_every_case() {
    run_all("etcd", Member::etcd);
}

#[test]
fn the_pattern_language_can_say_no() {
    assert!(fits("a…c", "abbbc") && fits("…", "") && fits("a…", "a") && fits("abc", "abc"));
    assert!(!fits("abc", "abcd") && !fits("a…c", "abd") && !fits("a…c", "xabc"));
}
