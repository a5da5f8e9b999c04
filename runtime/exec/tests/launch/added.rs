//! Terminals, and processes that are added to containers.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use berth_exec::{Attach, ExecError, LaunchError};
use berth_plan::{
    Credentials, MountFlags, MountOption, NewMount, PLAN_VERSION, Plan, StageStep, Stdin, TerminalSize,
};

use crate::world::{CAPABILITIES, DEADLINE, World, exec, wait_for};

/// Reads until the text is there.
fn read_until(client: &mut UnixStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(wanted) {
        let count = client.read(&mut buffer).expect("more output");
        assert_ne!(count, 0, "{wanted:?} is missing in {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

fn raw(world: &World, id: &str) -> UnixStream {
    let attach = Attach {
        stdin: true,
        stdout: true,
        stderr: false,
        raw: true,
    };
    let socket = world.with(|launcher| launcher.attach(id, attach)).unwrap();
    let socket = UnixStream::from(socket);
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// Gives a plan a devpts and a terminal.
fn on_terminal(mut plan: Plan) -> Plan {
    let place = |wanted: fn(&StageStep) -> bool| plan.stage.iter().position(wanted);
    let pivot = place(|step| *step == StageStep::PivotRoot).unwrap();
    let null = place(|step| *step == StageStep::NullInput).unwrap();
    plan.stage[null] = terminal(true);
    let pts = NewMount {
        kind: "devpts".to_owned(),
        source: "devpts".to_owned(),
        target: "/dev/pts".into(),
        strict: true,
        flags: MountFlags::default(),
        options: vec![
            MountOption::flag("newinstance"),
            MountOption::new("ptmxmode", "0666"),
        ],
    };
    plan.stage.insert(pivot, StageStep::Mount(pts));
    plan.stdin = Stdin::Open;
    plan
}

fn terminal(console: bool) -> StageStep {
    StageStep::Terminal {
        size: TerminalSize {
            rows: 20,
            columns: 30,
        },
        console,
    }
}

/// A process in the container `inside`.
pub(crate) fn added(world: &World, id: &str, inside: &str, command: &[&str]) -> Plan {
    let tasks = |mount: &std::path::Path| mount.join(&world.tag).join(inside).join("tasks");
    let joins = world
        .trees
        .iter()
        .map(|(_, mount)| StageStep::JoinCgroup { tasks: tasks(mount) });
    let mut stage: Vec<StageStep> = joins.collect();
    stage.extend([
        StageStep::OomScoreAdj { value: 9 },
        StageStep::EnterContainer {
            id: inside.to_owned(),
        },
        StageStep::NullInput,
        StageStep::SessionKeyring {
            name: inside.to_owned(),
        },
        StageStep::Umask { mode: 0o22 },
        StageStep::WorkingDirectory {
            path: "/home/here".into(),
            existing: true,
        },
        StageStep::DropBounding { keep: CAPABILITIES },
        StageStep::Credentials(Credentials {
            uid: 0,
            gid: 0,
            groups: vec![0],
        }),
        StageStep::Capabilities {
            permitted: CAPABILITIES,
            effective: CAPABILITIES,
        },
        exec(command),
    ]);
    Plan {
        version: PLAN_VERSION,
        id: id.to_owned(),
        log_path: None,
        log_limit: None,
        stdin: Stdin::Null,
        born_in: None,
        oom_counter: None,
        host: Vec::new(),
        stage,
    }
}

pub(crate) fn terminals(world: &World) {
    let mut client = raw(world, "tty");
    let plan = on_terminal(world.plan("tty", &["sh"]));
    world.start(&plan).unwrap();
    client.write_all(b"busybox stty size; echo 1$((1+1))3\n").unwrap();
    let text = read_until(&mut client, "\r\n123\r\n");
    assert!(text.contains("20 30\r\n"), "{text}");
    world.with(|launcher| launcher.resize("tty", 5, 6)).unwrap();
    client
        .write_all(b"busybox stty size; busybox tty; ls -l /dev/console; exit 4\n")
        .unwrap();
    let text = read_until(&mut client, "console\r\n");
    assert!(text.contains("5 6\r\n") && text.contains("/dev/pts/0"), "{text}");
    assert_eq!(world.exit_of("tty").code, 4);
    assert!(world.log("tty").contains("20 30\r\n"));
    world.finish(&plan);
    let none = world.with(|launcher| launcher.resize("tty", 1, 1)).unwrap_err();
    assert!(matches!(none, ExecError::NotRunning { .. }), "{none}");
}

pub(crate) fn processes_are_added(world: &World) {
    let plan = world.plan("base", &["sleep", "100"]);
    world.start(&plan).unwrap();
    let script = "for n in mnt pid uts ipc net cgroup; do test $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) \
        || echo differs $n; done; cat /proc/1/cgroup > /tmp/1; cat /proc/self/cgroup > /tmp/2; busybox cmp /tmp/1 /tmp/2; \
        cat /proc/self/oom_score_adj; pwd; ls /proc/$$/fd; grep CapBnd /proc/self/status; exit 6";
    let mut client = world.attach("more", false);
    let more = added(world, "more", "base", &["sh", "-c", script]);
    let started = world.with(|launcher| launcher.add(&more)).unwrap();
    assert!(started.pid > 1);
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(!text.contains("differs"), "{text}");
    for word in ["9\n", "/home/here\n", "CapBnd:\t00000000a80425fb\n"] {
        assert!(text.contains(word), "{word:?} in {text:?}");
    }
    assert_eq!(world.exit_of("more").code, 6);
    world.with(|launcher| launcher.forget("more")).unwrap();
    let missing = added(world, "more", "base", &["nothing"]);
    let error = world.with(|launcher| launcher.add(&missing)).unwrap_err();
    assert!(matches!(error, LaunchError::NotFound(_)), "{error}");
    let mut elsewhere = added(world, "more", "base", &["true"]);
    for step in &mut elsewhere.stage {
        if let StageStep::WorkingDirectory { path, .. } = step {
            *path = "/proc/self/fd/4".into();
        }
    }
    let error = world.with(|launcher| launcher.add(&elsewhere)).unwrap_err();
    assert!(error.to_string().contains("working directory"), "{error}");
    let nobody = added(world, "more", "nobody", &["true"]);
    world.with(|launcher| launcher.add(&nobody)).unwrap_err();
    world.with(|launcher| launcher.signal("base", 9)).unwrap();
    assert_eq!(world.exit_of("base").code, 137);
    let error = world.with(|launcher| launcher.add(&missing)).unwrap_err();
    assert!(
        matches!(
            error,
            LaunchError::Keeper(ExecError::NotRunning { .. }) | LaunchError::Stage { .. }
        ),
        "{error}"
    );
    world.finish(&plan);
}

/// Threads that add processes at the same time, and how often each does so.
const ADDERS: usize = 8;
const ADDITIONS: usize = 40;

/// A process that ends at once may end before the one that it took over from does: that must not hide what it said.
pub(crate) fn every_addition_is_answered(world: &World) {
    let plan = world.plan("base", &["sleep", "1000"]);
    world.start(&plan).unwrap();
    let added_to = |id: &str, directory: &str, command: &str| {
        let mut plan = added(world, id, "base", &[command]);
        for step in &mut plan.stage {
            if let StageStep::WorkingDirectory { path, .. } = step {
                *path = directory.into();
            }
        }
        plan
    };
    let added_to = &added_to;
    world.with(|launcher| {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for adder in 0..ADDERS {
                let tell = tell.clone();
                scope.spawn(move || {
                    for round in 0..ADDITIONS {
                        let id = format!("more{adder}-{round}");
                        let fails = round % 2 == 0;
                        let directory = if fails { "/proc/self/fd/9" } else { "/" };
                        let outcome = launcher.add(&added_to(&id, directory, "true"));
                        tell.send((fails, outcome)).unwrap();
                    }
                });
            }
            for _ in 0..ADDERS * ADDITIONS {
                let answer = told.recv_timeout(DEADLINE);
                let Ok((fails, outcome)) = answer else {
                    // A thread that waits for ever could not be joined.
                    launcher.shutdown(false).unwrap();
                    panic!("an addition was not answered");
                };
                assert_eq!(outcome.is_err(), fails, "{outcome:?}");
            }
        });
    });
    for _ in 0..ADDERS * ADDITIONS / 2 {
        let (id, exit) = world.next_exit();
        assert_eq!(exit.code, 0, "{id}");
        world.with(|launcher| launcher.forget(&id)).unwrap();
    }
    world.with(|launcher| launcher.signal("base", 9)).unwrap();
    assert_eq!(world.exit_of("base").code, 137);
    world.finish(&plan);
}

pub(crate) fn added_end_with_their_container(world: &World) {
    let plan = world.plan("base", &["sleep", "100"]);
    world.start(&plan).unwrap();
    let more = added(world, "more", "base", &["sleep", "100"]);
    let started = world.with(|launcher| launcher.add(&more)).unwrap();
    // The next daemon is told where it belongs.
    world.crash();
    let adopted = world.open();
    let found = adopted.iter().find(|one| one.id == "more").expect("known");
    assert_eq!((found.pid, found.inside.as_deref()), (started.pid, Some("base")));
    world.with(|launcher| launcher.signal("base", 9)).unwrap();
    // A container ends when everything in it has.
    assert_eq!(world.exit_of("more").code, 137);
    assert_eq!(world.exit_of("base").code, 137);
    world.with(|launcher| launcher.forget("more")).unwrap();
    world.finish(&plan);
    wait_for("the process to be gone", || {
        fs::metadata(format!("/proc/{}", started.pid)).is_err()
    });
}

/// How long it takes until a process that is added runs, and until its end is known.
pub(crate) fn measure(world: &World, rounds: u8) -> Vec<(Duration, Duration)> {
    let plan = world.plan("base", &["sleep", "100"]);
    world.start(&plan).unwrap();
    let times = (0..rounds).map(|round| {
        let id = format!("more{round}");
        let more = added(world, &id, "base", &["true"]);
        let begun = Instant::now();
        world.with(|launcher| launcher.add(&more)).unwrap();
        let started = begun.elapsed();
        world.exit_of(&id);
        let ended = begun.elapsed();
        world.with(|launcher| launcher.forget(&id)).unwrap();
        (started, ended)
    });
    let times = times.collect();
    world.with(|launcher| launcher.signal("base", 9)).unwrap();
    world.exit_of("base");
    world.finish(&plan);
    times
}
