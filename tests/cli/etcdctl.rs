//! berth under the name etcdctl, line by line beside Debian's etcdctl, both against the same etcd; and the key commands
//! that etcdctl does not have.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_harness::{Etcd, Finished, Process, Scratch, run, until};

use crate::berth;

/// The reference.
pub(crate) const REAL: &str = "/usr/bin/etcdctl";

/// Longest time of one command.
const LIMIT: Duration = Duration::from_secs(30);

/// Command lines in the order in which they run. `@` is a directory of its own for each program, `^` the index at which
/// the program's run begins. A line in front of which `TEXT |` stands gets the text on standard input.
const TABLE: &str = include_str!("etcdctl/table.txt");

pub(crate) struct Ctl {
    pub(crate) program: PathBuf,
    pub(crate) prefix: &'static str,
    pub(crate) base: u64,
}

impl Ctl {
    pub(crate) fn run(&self, url: &str, line: &str) -> Finished {
        let (input, line) = match line.split_once(" | ") {
            Some((input, line)) => (Some(input.replace("\\n", "\n")), line),
            None => (None, line),
        };
        let line = line
            .replace('@', self.prefix)
            .replace('^', &self.base.to_string());
        let mut words: Vec<&str> = line
            .split(' ')
            .map(|word| if word == "''" { "" } else { word })
            .collect();
        if !words.iter().any(|word| word.starts_with("--endpoint")) {
            words.splice(0..0, ["--endpoints", url]);
        }
        let mut command = Command::new(&self.program);
        command.args(words).env("ETCDCTL_API", "2").stdin(Stdio::null());
        let scratch = Scratch::new();
        if let Some(input) = input {
            std::fs::write(scratch.join("input"), input).unwrap();
            command.stdin(std::fs::File::open(scratch.join("input")).unwrap());
        }
        run(&mut command, LIMIT)
    }

    /// What is to be the same: names, indexes and times of the run are taken out, and of a help only the first line
    /// counts, for its sentences are berth's own.
    pub(crate) fn normal(&self, finished: &Finished) -> (i32, String, String) {
        let stdout = if finished.stdout.starts_with("Incorrect Usage") || finished.stdout.starts_with("NAME:")
        {
            finished.stdout.lines().next().unwrap_or_default()
        } else {
            &finished.stdout
        };
        (finished.code, self.plain(stdout), self.plain(&finished.stderr))
    }

    fn plain(&self, text: &str) -> String {
        let text = text.replace(self.prefix, "@");
        let mut plain = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            plain.push_str(&rest[..at]);
            rest = &rest[at..];
            let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let number: u64 = rest[..end].parse().unwrap_or(0);
            // A year, and with it the rest of a time.
            if end == 4 && rest[end..].starts_with('-') {
                plain.push_str("TIME");
                rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || "-:.TZ".contains(c));
                continue;
            }
            // A number that is a part of a member's id is no index, and neither is a port.
            let alone = !plain.ends_with(|c: char| c.is_ascii_alphanumeric())
                && !rest[end..].starts_with(|c: char| c.is_ascii_alphanumeric());
            let index = end < 5 || end == 20 && rest.starts_with('0');
            if alone && index && number >= self.base {
                plain.push_str(&format!("+{}", number - self.base));
            } else {
                plain.push_str(&rest[..end]);
            }
            rest = &rest[end..];
        }
        plain + rest
    }
}

fn index(etcd: &Etcd) -> u64 {
    let answer = berth_harness::request(etcd.address(), "GET", "/v2/keys/", &[], b"").unwrap();
    answer.header("x-etcd-index").unwrap().parse().unwrap()
}

pub(crate) fn named_etcdctl(folder: &Path) -> PathBuf {
    let link = folder.join("etcdctl");
    symlink(berth().program(), &link).unwrap();
    link
}

#[test]
fn every_line_does_what_it_does_under_the_real_etcdctl() {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let url = format!("http://{}", etcd.address());
    let programs = [
        (PathBuf::from(REAL), "/table-r"),
        (named_etcdctl(scratch.path()), "/table-b"),
    ];
    // Indexes begin above every number that stands in the table for itself.
    until("an index above 500", LIMIT, || {
        for _ in 0..50 {
            berth_harness::request(etcd.address(), "PUT", "/v2/keys/pad?value=1", &[], b"").unwrap();
        }
        (index(&etcd) > 500).then_some(())
    });
    let lines = || {
        TABLE
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    };
    let [real, ours] = programs.map(|(program, prefix)| {
        let ctl = Ctl {
            program,
            prefix,
            base: index(&etcd),
        };
        lines()
            .map(|line| ctl.normal(&ctl.run(&url, line)))
            .collect::<Vec<_>>()
    });
    let mut differences = String::new();
    for ((line, real), ours) in lines().zip(&real).zip(&ours) {
        if real != ours {
            differences.push_str(&format!("etcdctl {line}\n  real {real:?}\n  ours {ours:?}\n"));
        }
    }
    assert!(real.len() > 150, "only {} lines", real.len());
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn what_berth_is_not_is_refused_by_name() {
    let scratch = Scratch::new();
    let link = named_etcdctl(scratch.path());
    let refused = |variable: (&str, &str), words: &[&str]| {
        let mut command = Command::new(&link);
        command
            .args(words)
            .env(variable.0, variable.1)
            .stdin(Stdio::null());
        run(&mut command, LIMIT)
    };
    let api = refused(("ETCDCTL_API", "3"), &["get", "/a"]);
    assert!(
        api.code == 1 && api.stderr.contains("ETCDCTL_API=3"),
        "{}",
        api.stderr
    );
    let file = refused(("ETCDCTL_API", "2"), &["--ca-file", "x", "get", "/a"]);
    assert!(
        file.code == 1 && file.stderr.contains("--ca-file"),
        "{}",
        file.stderr
    );
    let file = refused(("ETCDCTL_CERT_FILE", "x"), &["get", "/a"]);
    assert!(
        file.code == 1 && file.stderr.contains("--cert-file"),
        "{}",
        file.stderr
    );
    let backup = refused(("ETCDCTL_API", "2"), &["backup"]);
    assert!(
        backup.code == 3 && backup.stderr.contains("etcdctl backup"),
        "{}",
        backup.stderr
    );
}

#[test]
fn the_environment_names_the_endpoints() {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let link = named_etcdctl(scratch.path());
    for name in ["ETCDCTL_ENDPOINTS", "ETCDCTL_ENDPOINT", "ETCDCTL_PEERS"] {
        let mut command = Command::new(&link);
        command
            .args(["set", "/e", name])
            .env(name, format!("http://{}", etcd.address()));
        assert_eq!(run(&mut command, LIMIT).ok(), name);
    }
}

#[test]
fn a_watch_runs_a_command_and_ends_with_an_interrupt() {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let url = format!("http://{}", etcd.address());
    let words = [
        "--endpoints",
        &url,
        "exec-watch",
        "--after-index",
        "1",
        "-r",
        "/w",
        "--",
        "sh",
        "-c",
    ];
    let script = "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE";
    let mut watch = Process::start(
        &mut berth().command(&[&words[..], &[script]].concat()),
        &scratch.join("watch.out"),
    );
    berth().run(&["--endpoints", &url, "set", "/w/k", "seen"]).ok();
    until("the command's output", LIMIT, || {
        watch.output().contains("set /w/k seen").then_some(())
    });
    watch.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(watch.wait(LIMIT).code(), Some(0));
}

#[test]
fn what_is_exported_can_be_imported() {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let url = format!("http://{}", etcd.address());
    let run = |words: &[&str]| berth().run(&[&["--endpoints", &url], words].concat());
    run(&["set", "/x/a", "line\nand <markup> \"é\""]).ok();
    run(&["set", "--ttl", "1000", "/x/d/t", "-"]).ok();
    run(&["mkdir", "--ttl", "2000", "/x/empty"]).ok();
    let file = scratch.join("dump");
    let file = file.to_str().unwrap();
    run(&["export", "--file", file, "/x"]).ok();
    run(&["import", "--keys", "--prefix", "/copy", file]).ok();
    let picture = |key: &str| run(&["tree", "--values", key]).ok().replace(key, "");
    assert_eq!(picture("/copy/x"), picture("/x"));
    let lines = |key: &str| -> Vec<(serde_json::Value, bool)> {
        let exported = run(&["export", key]);
        let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        exported
            .ok()
            .lines()
            .map(line)
            .map(|line| (line["value"].clone(), line["ttl"].is_u64()))
            .collect()
    };
    assert_eq!(lines("/copy/x"), lines("/x"));
    run(&["set", "/copy/x/a", "mine"]).ok();
    run(&["import", "--keys", "--skip-existing", "--prefix", "/copy", file]).ok();
    assert_eq!(run(&["get", "/copy/x/a"]).ok(), "mine");

    std::fs::write(
        scratch.join("bad"),
        "{\"key\":\"/x/b\",\"value\":\"1\"}\n\nnonsense\n{\"key\":\"/x/c\"}\n",
    )
    .unwrap();
    let bad = run(&["import", "--keys", scratch.join("bad").to_str().unwrap()]);
    assert_eq!(bad.code, 1, "{}", bad.stderr);
    assert!(
        bad.stderr.contains("line 3") && bad.stderr.contains("line 4"),
        "{}",
        bad.stderr
    );
    assert_eq!(run(&["get", "/x/b"]).ok(), "1");
}

#[test]
fn holders_of_a_lock_take_turns() {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let url = format!("http://{}", etcd.address());
    let lock = |name: &str, script: &str| {
        let words = [
            "--endpoints",
            &url,
            "lock",
            "--ttl",
            "5",
            "/lock",
            "sh",
            "-c",
            script,
        ];
        Process::start(&mut berth().command(&words), &scratch.join(name))
    };
    let (log, go) = (scratch.join("log"), scratch.join("go"));
    let (log, go) = (log.to_str().unwrap(), go.to_str().unwrap());
    let mut first = lock(
        "first",
        &format!("echo in >>{log}; while ! [ -e {go} ]; do sleep 0.05; done; echo out >>{log}; exit 7"),
    );
    until("the first holder", LIMIT, || std::fs::read_to_string(log).ok());
    let mut second = lock("second", &format!("echo next >>{log}"));
    until("the second place", LIMIT, || {
        let listed = berth().run(&["--endpoints", &url, "ls", "/lock"]);
        (listed.ok().lines().count() == 2).then_some(())
    });
    std::fs::write(go, "").unwrap();
    assert_eq!(first.wait(LIMIT).code(), Some(7));
    assert_eq!(second.wait(LIMIT).code(), Some(0));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "in\nout\nnext\n");
    assert_eq!(berth().run(&["--endpoints", &url, "ls", "/lock"]).ok(), "");
}

#[test]
fn the_next_one_leads_when_the_leader_is_killed() {
    let scratch = Scratch::new();
    let etcd = Etcd::start(&scratch);
    let url = format!("http://{}", etcd.address());
    let stand = |name: &str| {
        let words = ["--endpoints", &url, "elect", "--ttl", "2", "/leader", name];
        Process::start(&mut berth().command(&words), &scratch.join(name))
    };
    let leads = |name: &str| {
        until(name, LIMIT, || {
            let leader = berth().run(&["--endpoints", &url, "get", "/leader"]);
            (leader.stdout.trim() == name).then_some(())
        });
    };
    let mut one = stand("one");
    leads("one");
    let mut two = stand("two");
    until("two sees one", LIMIT, || {
        two.output().contains("one").then_some(())
    });
    one.kill();
    leads("two");
    two.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(two.wait(LIMIT).code(), Some(0));
    let gone = berth().run(&["--endpoints", &url, "get", "/leader"]);
    assert_eq!(gone.code, 4, "the key goes with its leader: {}", gone.stderr);
}
