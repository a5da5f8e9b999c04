//! The first command of the README.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use berth_harness::{Leftovers, Process, Scratch, need_root, run, until};
use nix::sys::signal::Signal;

use crate::berth;

/// Longest a demo may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The interfaces that a demo leaves are told by their names: two demos at a time would see each other's.
fn alone() -> MutexGuard<'static, ()> {
    static DEMO: Mutex<()> = Mutex::new(());
    DEMO.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The demo's temporary directory is made below this one, so that leftovers can be told from others'.
fn demo(scratch: &Scratch, flags: &[&str]) -> Command {
    let mut command = berth().command(&[&["demo"], flags].concat());
    command.env("TMPDIR", scratch.path());
    command
}

fn expect_clean(scratch: &Scratch) {
    until(
        "the end of everything the demo made",
        Duration::from_secs(60),
        || {
            Leftovers::of(&[&scratch.path().to_string_lossy()])
                .0
                .is_empty()
                .then_some(())
        },
    );
    until("the end of its files", Duration::from_secs(60), || {
        std::fs::read_dir(scratch.path())
            .unwrap()
            .all(|entry| entry.unwrap().path().ends_with("demo.log"))
            .then_some(())
    });
}

#[test]
fn the_demo_shows_every_step_and_leaves_nothing() {
    need_root();
    let _alone = alone();
    let scratch = Scratch::new();
    let before = network();
    let finished = run(&mut demo(&scratch, &["--ttl", "3"]), PATIENCE);
    let text = format!("{}{}", finished.stdout, finished.stderr);
    assert_eq!(finished.code, 0, "{text}");
    for words in ["curl ", "/v2/keys/services/", "kill -9"] {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
    expect_clean(&scratch);
    assert_eq!(network(), before);
}

#[test]
fn an_interrupted_demo_leaves_nothing() {
    need_root();
    let _alone = alone();
    let scratch = Scratch::new();
    let before = network();
    let mut process = Process::start(&mut demo(&scratch, &["--keep"]), &scratch.join("demo.log"));
    until("the demo's last step", PATIENCE, || {
        assert!(
            process.ended().is_none(),
            "the demo ended early:\n{}",
            process.output()
        );
        process.output().contains("Ctrl-C").then_some(())
    });
    process.signal(Signal::SIGINT);
    process.wait(Duration::from_secs(40));
    expect_clean(&scratch);
    assert_eq!(network(), before);
}

/// SIGKILL of the demo itself, at moments spread over its whole run: what it had started goes all the same.
#[test]
fn a_killed_demo_leaves_nothing() {
    need_root();
    let _alone = alone();
    for moment in [30, 120, 250, 500, 900, 1_600, 3_000] {
        let scratch = Scratch::new();
        let before = network();
        let mut process = Process::start(&mut demo(&scratch, &["--ttl", "2"]), &scratch.join("demo.log"));
        let deadline = Instant::now() + Duration::from_millis(moment);
        until("the moment of the kill", PATIENCE, || {
            (Instant::now() >= deadline).then_some(())
        });
        process.kill();
        expect_clean(&scratch);
        until(
            "the end of the demo's interfaces",
            Duration::from_secs(10),
            || (network() == before).then_some(()),
        );
    }
}

/// The interfaces of the host whose names begin as the demo's do.
fn network() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with("bdemo"))
        .collect();
    names.sort();
    names
}
