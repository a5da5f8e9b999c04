//! Command lines of docker's client whose code, output and messages must be those of the real dockerd, recorded in
//! `cases/`. With `REFERENCE` the records are checked against dockerd itself, with `RECORD` they are written anew.
//!
//! A case is a line for the shell after `$ `, then `= CODE` unless it is 0, then each line of standard output after
//! `> ` and of standard error after `! `. Where Berth differs on purpose, `~ WHY` and Berth's own answer follow; after
//! `~ not supported yet` there is none, and Berth either says so or answers as dockerd does.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_harness::{own_network, run};

use crate::Bench;

/// Longest a line may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
struct Case {
    /// Remarks before it.
    remarks: String,
    line: String,
    /// What dockerd answers.
    answer: String,
    /// Why Berth answers otherwise, and what.
    other: Option<(String, String)>,
}

/// What Berth says of what it does not do yet.
const PENDING: &str = "is not supported yet";

/// Stands for a reason that somebody has to write.
const UNEXPLAINED: &str = "not explained";

impl Case {
    /// Whether Berth may refuse it; what it does instead must be what dockerd does.
    fn is_pending(&self) -> bool {
        self.other
            .as_ref()
            .is_some_and(|(why, _)| why == "not supported yet")
    }
}

fn complain(wrong: &mut String, line: &str, wanted: &str, seen: &str) {
    write!(wrong, "$ {line}\n--- wanted\n{wanted}--- answered\n{seen}\n").unwrap();
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut remarks = String::new();
    for line in text.lines() {
        if line.starts_with('#') || line.is_empty() {
            remarks.push_str(line);
            remarks.push('\n');
        } else if let Some(line) = line.strip_prefix("$ ") {
            cases.push(Case {
                remarks: std::mem::take(&mut remarks),
                line: line.to_owned(),
                ..Case::default()
            });
        } else {
            let case = cases.last_mut().expect("a case begins with its command line");
            if let Some(why) = line.strip_prefix("~ ") {
                case.other = Some((why.to_owned(), String::new()));
                continue;
            }
            let answer = case.other.as_mut().map_or(&mut case.answer, |(_, answer)| answer);
            answer.push_str(line);
            answer.push('\n');
        }
    }
    cases
}

fn render(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        write!(text, "{}$ {}\n{}", case.remarks, case.line, case.answer).unwrap();
        if let Some((why, answer)) = &case.other {
            write!(text, "~ {why}\n{answer}").unwrap();
        }
    }
    text
}

/// Runs one line in the bench's directory, where `docker` is the client on the daemon under test.
fn answer(bench: &Bench, line: &str) -> String {
    let scratch = bench.scratch.path().to_string_lossy().into_owned();
    let mut command = Command::new("sh");
    command
        .args(["-c", line])
        .env("PATH", format!("{scratch}/bin:/usr/bin:/bin:/usr/sbin:/sbin"))
        .env("S", &scratch)
        .env("LC_ALL", "C")
        .current_dir(bench.scratch.path())
        .stdin(Stdio::null());
    let finished = run(&mut command, PATIENCE);
    let mut text = String::new();
    if finished.code != 0 {
        writeln!(text, "= {}", finished.code).unwrap();
    }
    for (mark, output) in [('>', &finished.stdout), ('!', &finished.stderr)] {
        for line in normal(&output.replace(&scratch, "SCRATCH")).lines() {
            writeln!(text, "{mark} {line}").unwrap();
        }
    }
    text
}

/// The text without what differs from run to run: ids, times, ages, addresses, ports, runs of blanks.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        let mut before = ' ';
        let mut plain = String::new();
        while let Some(first) = rest.chars().next() {
            let word = before.is_ascii_alphanumeric();
            let found = if word { None } else { variable(rest) };
            let (taken, shown) = found.unwrap_or((first.len_utf8(), ""));
            before = rest[..taken].chars().last().unwrap_or(' ');
            plain.push_str(if found.is_some() { shown } else { &rest[..taken] });
            rest = &rest[taken..];
        }
        // A race inside of the client.
        if plain.ends_with("msg=\"error waiting for container: context canceled\"") {
            continue;
        }
        let plain = without_runc(&plain);
        let words: Vec<&str> = plain
            .split("  ")
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect();
        writeln!(out, "{}", words.join("  ")).unwrap();
    }
    out
}

/// The message without what says only that runc was called.
fn without_runc(line: &str) -> String {
    let mut line = line.to_owned();
    for words in [
        "failed to create shim task: ",
        "OCI runtime create failed: ",
        "runc create failed: ",
        "OCI runtime exec failed: ",
        "exec failed: ",
        "unable to start container process: ",
        ": unknown",
    ] {
        line = line.replace(words, "");
    }
    line
}

/// Something at the beginning of the text that is another in each run: its length, and what stands for it.
fn variable(text: &str) -> Option<(usize, &'static str)> {
    for (words, shown) in [("Less than a second", "AGE"), ("About a minute", "AGE")] {
        if text.starts_with(words) {
            return Some((words.len(), shown));
        }
    }
    let hex = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte))
        .count();
    let after = text[hex..].bytes().next().unwrap_or(b' ');
    if !after.is_ascii_alphanumeric() && (hex == 64 || hex == 12) {
        return Some((hex, if hex == 64 { "ID64" } else { "ID12" }));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return None;
    }
    for unit in [" seconds", " second", " minutes", " minute"] {
        if text[digits..].starts_with(unit) {
            return Some((digits + unit.len(), "AGE"));
        }
    }
    time(text).or_else(|| address(text)).or_else(|| {
        let number: u32 = text[..digits].parse().ok()?;
        // Those that the daemon chooses.
        (digits == 5 && (32_768..=65_535).contains(&number) && !text[digits..].starts_with('.'))
            .then_some((5, "PORT"))
    })
}

/// A date and time, with whatever belongs to it.
fn time(text: &str) -> Option<(usize, &'static str)> {
    const SHAPE: &[u8; 19] = b"dddd-dd-dd dd:dd:dd";
    let bytes = text.as_bytes();
    let fits = bytes.len() >= SHAPE.len()
        && bytes.iter().zip(SHAPE).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            b' ' => matches!(byte, b' ' | b'T'),
            _ => byte == shape,
        });
    // The time that stands for none is always the same.
    if !fits || text.starts_with("0001-") {
        return None;
    }
    let mut length = SHAPE.len();
    length += text[length..]
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    length += usize::from(text[length..].starts_with('Z'));
    for zone in [" +0000 UTC", " +0000"] {
        if text[length..].starts_with(zone) {
            length += zone.len();
        }
    }
    Some((length, "TIME"))
}

/// An address of the daemon's own bridge, or of a network card.
fn address(text: &str) -> Option<(usize, &'static str)> {
    if text.starts_with("02:42:") && text.len() >= 17 {
        return Some((17, "MAC"));
    }
    let length = text
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
        .count();
    let parts = text[..length].split('.').filter(|part| !part.is_empty()).count();
    let own =
        text.starts_with("172.") || (213..=220).any(|second| text.starts_with(&format!("10.{second}.")));
    (own && parts == 4).then_some((length, "ADDRESS"))
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/docker_api/cases")
        .join(format!("{name}.txt"))
}

/// Puts a `docker` into the bench's directory that is the client with its daemon.
fn wrapper(bench: &Bench) {
    let folder = bench.scratch.join("bin");
    std::fs::create_dir(&folder).unwrap();
    let client = bench.docker.command(&[]);
    let words: Vec<String> = std::iter::once(client.get_program())
        .chain(client.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let config = bench.scratch.join("docker-config");
    let script = format!(
        "#!/bin/sh\nDOCKER_CONFIG={} exec {} \"$@\"\n",
        config.display(),
        words.join(" ")
    );
    let path = folder.join("docker");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn check(name: &str) {
    // The ports and subnets of the cases are nobody else's in a network of their own.
    own_network();
    let bench = Bench::new();
    wrapper(&bench);
    // Berth's own, which is there from the start.
    bench.docker.run(&["rmi", "berth/hello"]);
    let path = file(name);
    let mut cases = parse(&std::fs::read_to_string(&path).unwrap());
    let (reference, record) = (bench.engine.is_reference(), std::env::var_os("RECORD").is_some());
    let mut wrong = String::new();
    for case in &mut cases {
        let seen = answer(&bench, &case.line);
        if reference {
            if record {
                case.answer = seen;
            } else if seen != case.answer {
                complain(&mut wrong, &case.line, &case.answer, &seen);
            }
            continue;
        }
        let wanted = case.other.as_ref().map_or(&case.answer, |(_, answer)| answer);
        if seen == *wanted || case.is_pending() && (seen == case.answer || seen.contains(PENDING)) {
            continue;
        }
        complain(&mut wrong, &case.line, wanted, &seen);
        if record {
            let why = case.other.take().map_or(UNEXPLAINED.to_owned(), |(why, _)| why);
            case.other = Some((why, seen)).filter(|(_, seen)| *seen != case.answer);
        }
    }
    if record {
        for case in cases.iter_mut().filter(|case| !case.is_pending()) {
            case.other = case.other.take().filter(|(_, answer)| *answer != case.answer);
        }
        std::fs::write(&path, render(&cases)).unwrap();
    }
    for case in cases.iter().filter(|case| !case.is_pending()) {
        if let Some((why, answer)) = &case.other {
            assert_ne!(why, UNEXPLAINED, "{}", case.line);
            assert_ne!(
                *answer, case.answer,
                "{}: no difference any more: {why}",
                case.line
            );
        }
    }
    assert!(wrong.is_empty() || record, "{name}:\n{wrong}");
    bench.finish();
}

#[test]
fn what_create_and_run_refuse() {
    check("create");
}

#[test]
fn the_life_of_containers_and_their_lists() {
    check("state");
}

#[test]
fn the_documents_of_containers() {
    check("inspect");
}

#[test]
fn images_and_their_names() {
    check("images");
}

#[test]
fn volumes_and_networks() {
    check("volumes");
}

#[test]
fn exec_logs_files_and_events() {
    check("exec");
}

#[test]
fn cases_are_written_as_they_are_read() {
    for name in ["create", "state", "inspect", "images", "volumes", "exec"] {
        let text = std::fs::read_to_string(file(name)).unwrap();
        assert_eq!(render(&parse(&text)), text, "{name}");
    }
    let id = "0123456789ab".repeat(6)[..64].to_owned();
    let line = format!(
        "sha256:{id}  {} 2026-01-02T03:04:05.6Z   up 5 seconds 172.17.0.2/16 a12 1.2.3.4",
        &id[..12]
    );
    assert_eq!(
        normal(&line),
        "sha256:ID64  ID12 TIME  up AGE ADDRESS/16 a12 1.2.3.4\n"
    );
}
