//! What must hold.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use berth_exec::{ExecError, LaunchError};
use berth_plan::{
    Credentials, DeviceControl, DeviceKind, DeviceRule, HostMount, HostStep, MountFlags, Plan, StageStep,
    Stdin,
};

use crate::added;
use crate::world::{DEADLINE, World, address, leftovers, wait_for};

type Case = fn(&World);

pub(crate) const ALL: [(&str, Case); 25] = [
    ("output_reaches_the_log", output_reaches_the_log),
    ("exits", exits),
    ("namespaces_are_its_own", namespaces_are_its_own),
    ("files_of_the_kernel_are_covered", files_of_the_kernel_are_covered),
    ("nothing_of_the_host_is_open", nothing_of_the_host_is_open),
    ("rights", rights),
    ("system_call_filter", system_call_filter),
    ("second_version_of_cgroups", second_version),
    ("binds", binds),
    ("accounts_stay_inside", accounts_stay_inside),
    ("commands_that_cannot_be", commands_that_cannot_be),
    ("a_failing_step_is_named_and_nothing_stays", a_failing_step),
    ("input_once", input_once),
    ("input_stays_open", input_stays_open),
    ("a_slow_reader_holds_up_only_its_container", slow_reader),
    ("attached_before_the_start", attached_before),
    ("the_keeper_outlives_the_daemon", keeper_outlives),
    ("a_keeper_that_dies_is_replaced", keeper_dies),
    ("bridge", bridge),
    ("published_port", published_port),
    ("out_of_memory", out_of_memory),
    ("terminals", added::terminals),
    ("processes_are_added", added::processes_are_added),
    ("every_addition_is_answered", added::every_addition_is_answered),
    (
        "added_processes_end_with_their_container",
        added::added_end_with_their_container,
    ),
];

fn output_reaches_the_log(world: &World) {
    let (exit, log) = world.run("echo", &["echo", "hi"]);
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (0, None, false));
    assert_eq!(log, "hi\n");
    let (_, log) = world.run("both", &["sh", "-c", "echo out; echo err >&2; printf end"]);
    assert_eq!(log.len(), "out\nerr\nend".len());
    // More than a pipe holds, and said just before the end.
    let (_, log) = world.run(
        "much",
        &[
            "sh",
            "-c",
            "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done",
        ],
    );
    assert!(
        log.starts_with("line 0\n") && log.ends_with("line 19999\n"),
        "{} bytes",
        log.len()
    );
}

fn exits(world: &World) {
    assert_eq!(world.run("seven", &["sh", "-c", "exit 7"]).0.code, 7);
    let plan = world.plan("sleeper", &["sleep", "100"]);
    let started = world.start(&plan).unwrap();
    assert!(started.pid > 1);
    // The first process of a namespace ignores signals that it does not handle.
    world.with(|launcher| launcher.signal("sleeper", 15)).unwrap();
    world.with(|launcher| launcher.signal("sleeper", 9)).unwrap();
    let exit = world.exit_of("sleeper");
    assert_eq!((exit.code, exit.signal), (137, Some(9)));
    let error = world.with(|launcher| launcher.signal("sleeper", 9)).unwrap_err();
    assert!(matches!(error, ExecError::NotRunning { .. }), "{error}");
    world.finish(&plan);
}

fn namespaces_are_its_own(world: &World) {
    let kinds = ["mnt", "pid", "uts", "ipc", "net", "cgroup"];
    let script = kinds
        .map(|kind| format!("readlink /proc/self/ns/{kind}"))
        .join(";")
        + "; hostname; echo $$; readlink /proc/self; cat /proc/self/oom_score_adj; cat /proc/self/cgroup";
    let (_, log) = world.run("own", &["sh", "-c", &script]);
    let mut lines = log.lines();
    for kind in kinds {
        let host = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(lines.next().unwrap(), host.to_str().unwrap(), "{kind}");
    }
    assert_eq!(lines.next(), Some("host-own"));
    assert_eq!(lines.next(), Some("1"));
    assert!(lines.next().unwrap().parse::<u32>().unwrap() < 20);
    assert_eq!(lines.next(), Some("7"));
    let joined: Vec<_> = lines.collect();
    for (name, _) in &world.trees {
        assert!(
            joined
                .iter()
                .any(|line| line.contains(&format!("{name}:/")) && line.ends_with(":/")),
            "{name} in {joined:?}"
        );
    }
}

fn files_of_the_kernel_are_covered(world: &World) {
    let script = "cat /proc/timer_list /proc/keys; ls /sys/firmware /proc/scsi; echo 1 > /proc/sys/net/ipv4/ip_forward; \
        echo x > /sys/x; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; cat /dev/zero | echo zero; \
        cat /proc/mounts | grep -c overlay; ls /home; pwd; ls /dev";
    let (_, log) = world.run("covered", &["sh", "-c", script]);
    assert!(log.contains("Read-only file system"), "{log}");
    let plain: Vec<_> = log
        .lines()
        .filter(|line| {
            !line.starts_with("sh:") && !line.starts_with("ls:") && !line.starts_with('/')
                || *line == "/home/here"
        })
        .collect();
    assert_eq!(
        plain,
        [
            "0",
            "zero",
            "1",
            "here",
            "/home/here",
            "fd",
            "mqueue",
            "null",
            "zero"
        ],
        "{log}"
    );
}

fn nothing_of_the_host_is_open(world: &World) {
    let (_, log) = world.run("fds", &["sh", "-c", "for f in /proc/self/fd/*; do echo $f $(readlink $f); done; ls /proc/1/fd; cat /proc/1/status | grep -E 'SigIgn|SigBlk'"]);
    // Standard streams, and what the shell opens by itself.
    for line in log.lines().filter(|line| line.starts_with("/proc")) {
        let what = line.split(' ').nth(1).unwrap_or_default();
        assert!(
            what.is_empty() || what.starts_with("pipe:") || what == "/dev/null" || what.starts_with("/proc"),
            "{log}"
        );
    }
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    assert!(log.contains("\n0\n1\n2\n"), "{log}");
}

fn rights(world: &World) {
    let show = [
        "sh",
        "-c",
        "cat /proc/self/status | grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs)'",
    ];
    let (_, log) = world.run("root", &show);
    for wanted in [
        "CapInh:\t0000000000000000",
        "CapPrm:\t00000000a80425fb",
        "CapEff:\t00000000a80425fb",
        "CapBnd:\t00000000a80425fb",
        "CapAmb:\t0000000000000000",
        "Groups:\t0 10 \n",
    ] {
        assert!(log.contains(wanted), "{wanted:?} in {log}");
    }
    let mut plan = world.plan(
        "user",
        &[
            "sh",
            "-c",
            "id -u; id -g; cat /proc/self/status | grep Cap; echo ok > /proc/self/fd/1",
        ],
    );
    for step in &mut plan.stage {
        if let StageStep::Credentials(who) = step {
            *who = Credentials {
                uid: 1000,
                gid: 1001,
                groups: vec![],
            };
        } else if let StageStep::Capabilities { permitted, effective } = step {
            (*permitted, *effective) = (0, 0);
        }
    }
    let place = plan.stage.len() - 4;
    plan.stage.insert(place, StageStep::NoNewPrivileges);
    let (_, log) = world.run_plan(&plan);
    assert!(
        log.starts_with("1000\n1001\n") && log.contains("CapEff:\t0000000000000000"),
        "{log}"
    );
    assert!(log.ends_with("ok\n"), "{log}");
}

fn system_call_filter(world: &World) {
    if !cfg!(target_arch = "x86_64") {
        println!("skipped: the filter of system_call_filter is for x86_64");
        return;
    }
    // Load the number; `mkdir` gets EPERM, everything else is allowed.
    let instruction = |code: u64, jt: u64, jf: u64, k: u64| code | jt << 16 | jf << 24 | k << 32;
    let program = vec![
        instruction(0x20, 0, 0, 0),
        instruction(0x15, 0, 1, 83),
        instruction(0x06, 0, 0, 0x0005_0001),
        instruction(0x06, 0, 0, 0x7fff_0000),
    ];
    let mut plan = world.plan(
        "filter",
        &["sh", "-c", "mkdir /tmp/a; cat /proc/self/status | grep Seccomp:"],
    );
    let place = plan.stage.len() - 4;
    plan.stage.insert(place, StageStep::Seccomp { program });
    let (_, log) = world.run_plan(&plan);
    assert!(
        log.contains("Operation not permitted") && log.contains("Seccomp:\t2"),
        "{log}"
    );
}

/// Where version 2 is mounted, here or beside version 1.
fn unified() -> Option<std::path::PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    line.split(' ').nth(4).map(Into::into)
}

/// Birth into a directory, a device program, and the end by `cgroup.kill`.
fn second_version(world: &World) {
    let Some(unified) = unified() else {
        println!("skipped: second_version_of_cgroups needs cgroup2 to be mounted");
        return;
    };
    let own = unified.join(format!("{}-two", world.tag));
    let mut plan = world.plan(
        "two",
        &[
            "sh",
            "-c",
            "cat /dev/null; cat /dev/zero; cat /proc/self/cgroup; sleep 100",
        ],
    );
    plan.host.push(HostStep::MakeCgroup {
        path: own.clone(),
        shared: false,
    });
    plan.host.push(HostStep::DeviceRules {
        path: own.clone(),
        by: DeviceControl::V2Program,
        rules: vec![DeviceRule {
            kind: DeviceKind::Character,
            major: Some(1),
            minor: Some(3),
            read: true,
            write: true,
            mknod: false,
        }],
    });
    plan.born_in = Some(own.clone());
    // Nodes are made before the command runs, by a process of the same cgroup: that has to be allowed as well.
    let nodes = |step: &StageStep| matches!(step, StageStep::MakeNode(_));
    let HostStep::DeviceRules { rules, .. } = plan.host.last_mut().unwrap() else {
        panic!("the last step");
    };
    assert!(plan.stage.iter().any(nodes));
    rules.push(DeviceRule {
        kind: DeviceKind::Character,
        major: None,
        minor: None,
        read: false,
        write: false,
        mknod: true,
    });
    world.start(&plan).unwrap();
    wait_for("the container's words", || world.log("two").contains("0::/\n"));
    let log = world.log("two");
    assert!(
        log.contains("/dev/zero: Operation not permitted")
            || log.contains("'/dev/zero': Operation not permitted"),
        "{log}"
    );
    assert!(!log.contains("/dev/null"), "{log}");
    let list = fs::read_to_string(own.join("cgroup.procs")).unwrap();
    assert!(list.lines().count() > 0, "it was born there");
    world.with(|launcher| launcher.cleanup(&plan)).unwrap();
    assert!(!own.exists());
    assert_eq!(world.exit_of("two").code, 137);
    world.finish(&plan);
}

fn binds(world: &World) {
    let source = world.directory.join("volume");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "content").unwrap();
    let mut plan = world.plan(
        "binds",
        &[
            "sh",
            "-c",
            "cat /mnt/a/file /etc/one; echo x > /mnt/a/new; echo x > /etc/one",
        ],
    );
    let bind = |source: std::path::PathBuf, target: &str, read_only| {
        StageStep::Bind(HostMount {
            source,
            target: target.into(),
            recursive: true,
            flags: MountFlags {
                read_only,
                ..MountFlags::default()
            },
            propagation: berth_plan::Propagation::Private,
            top_only: false,
        })
    };
    let place = plan
        .stage
        .iter()
        .position(|step| *step == StageStep::PivotRoot)
        .unwrap();
    plan.stage
        .insert(place, bind(source.join("file"), "/etc/one", false));
    plan.stage.insert(place, bind(source.clone(), "/mnt/a", true));
    let (_, log) = world.run_plan(&plan);
    assert!(
        log.contains("contentcontent") && log.contains("Read-only file system"),
        "{log}"
    );
    assert_eq!(fs::read_to_string(source.join("file")).unwrap(), "x\n");
    assert!(!source.join("new").exists());
}

fn accounts_stay_inside(world: &World) {
    let root = world.root("accounts");
    let accounts = root.account_files().unwrap();
    assert_eq!(
        (accounts.passwd.as_str(), accounts.group.as_str()),
        ("root:x:0:0::/:/bin/sh\n", "")
    );
}

fn commands_that_cannot_be(world: &World) {
    let start = |command: &str| {
        let plan = world.plan("never", &[command]);
        let error = world.start(&plan).unwrap_err();
        world.finish(&plan);
        error
    };
    let error = start("nope");
    assert!(matches!(error, LaunchError::NotFound(_)));
    assert_eq!(
        error.to_string(),
        "exec: \"nope\": executable file not found in $PATH"
    );
    let error = start("/nope");
    assert_eq!(
        error.to_string(),
        "exec: \"/nope\": stat /nope: no such file or directory"
    );
    for command in ["/etc/passwd", "/etc"] {
        let error = start(command);
        assert!(matches!(error, LaunchError::PermissionDenied(_)));
        assert_eq!(error.to_string(), format!("exec: {command:?}: permission denied"));
    }
}

fn a_failing_step(world: &World) {
    world.run("before", &["true"]);
    let before = leftovers();
    let fail = |change: fn(&mut Plan)| {
        let mut plan = world.plan("fails", &["true"]);
        world.connect(&mut plan, 9, Some((39_471, 80)));
        change(&mut plan);
        let error = world.start(&plan).unwrap_err();
        let table = berth_exec::nft::list_published(&world.tag).unwrap();
        assert!(table.is_empty(), "{table:?}");
        TcpListener::bind("0.0.0.0:39471").expect("the port is free again");
        wait_for("mounts, cgroups and interfaces to be gone", || {
            leftovers() == before
        });
        error
    };
    let error = fail(|plan| {
        let place = plan.stage.len() - 5;
        let sysctl = StageStep::Sysctl {
            name: "net/not/there".to_owned(),
            value: "1".to_owned(),
        };
        plan.stage.insert(place, sysctl);
    });
    assert!(matches!(error, LaunchError::Stage { .. }), "{error:?}");
    assert_eq!(error.to_string(), "set net/not/there to \"1\"");
    let error = fail(|plan| {
        plan.host.push(HostStep::WriteCgroup {
            path: "/nowhere".into(),
            value: "1".to_owned(),
        });
    });
    assert!(matches!(error, LaunchError::Host { .. }), "{error:?}");
    assert_eq!(error.to_string(), "write \"1\" to /nowhere");
    let error = fail(|plan| drop(plan.stage.pop()));
    assert!(matches!(error, LaunchError::Malformed { .. }), "{error:?}");
    let error = fail(|plan| {
        plan.stage.insert(0, StageStep::MaskPath { path: "../up".into() });
    });
    assert_eq!(
        error.to_string(),
        "hide ../up: the path is not absolute and clean"
    );
    // A sysctl cannot lead to another file.
    let error = fail(|plan| {
        let place = plan.stage.len() - 5;
        plan.stage.insert(
            place,
            StageStep::Sysctl {
                name: "../1/oom_score_adj".to_owned(),
                value: "1".to_owned(),
            },
        );
    });
    assert!(matches!(error, LaunchError::Malformed { .. }), "{error:?}");
}

fn with_input(world: &World, id: &str, stdin: Stdin, command: &[&str]) -> Plan {
    let mut plan = world.plan(id, command);
    plan.stdin = stdin;
    plan.stage.retain(|step| *step != StageStep::NullInput);
    plan
}

/// Reads one frame: its stream and content.
fn frame(socket: &mut impl Read) -> Option<(u8, String)> {
    let mut header = [0; 8];
    socket.read_exact(&mut header).ok()?;
    let [stream, 0, 0, 0, length @ ..] = header else {
        panic!("no frame: {header:?}");
    };
    let mut content = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    socket.read_exact(&mut content).unwrap();
    Some((stream, String::from_utf8(content).unwrap()))
}

fn input_once(world: &World) {
    let plan = with_input(world, "once", Stdin::Once, &["cat"]);
    world.start(&plan).unwrap();
    let mut client = world.attach("once", true);
    client.write_all(b"hello\n").unwrap();
    assert_eq!(frame(&mut client), Some((1, "hello\n".to_owned())));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frame(&mut client), None);
    assert_eq!(world.exit_of("once").code, 0);
    world.finish(&plan);
    // Much more than pipe and socket hold, in both directions at once.
    let plan = with_input(world, "much", Stdin::Once, &["cat"]);
    world.start(&plan).unwrap();
    let mut client = world.attach("much", true);
    let mut writer = client.try_clone().unwrap();
    let wanted = 3_000_000;
    let feeder = thread::spawn(move || {
        writer.write_all(&b"x".repeat(wanted)).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut got = 0;
    while let Some((_, content)) = frame(&mut client) {
        got += content.len();
    }
    feeder.join().unwrap();
    assert_eq!(got, wanted);
    assert_eq!(world.exit_of("much").code, 0);
    world.finish(&plan);
}

fn input_stays_open(world: &World) {
    let plan = with_input(world, "open", Stdin::Open, &["cat"]);
    world.start(&plan).unwrap();
    let mut first = world.attach("open", true);
    first.write_all(b"a\n").unwrap();
    assert_eq!(frame(&mut first), Some((1, "a\n".to_owned())));
    drop(first);
    let mut second = world.attach("open", true);
    // Longer than a client that goes away may be taken for one that has ended the input.
    thread::sleep(Duration::from_millis(300));
    second.write_all(b"b\n").unwrap();
    assert_eq!(frame(&mut second), Some((1, "b\n".to_owned())));
    second.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frame(&mut second), None);
    assert_eq!(world.exit_of("open").code, 0);
    world.finish(&plan);
}

fn slow_reader(world: &World) {
    let script = "i=0; while [ $i -lt 100000 ]; do echo 0123456789 0123456789 0123456789; i=$((i+1)); done";
    let plan = world.plan("flood", &["sh", "-c", script]);
    world.start(&plan).unwrap();
    let mut client = world.attach("flood", false);
    // The flood waits for its reader; others do not.
    assert_eq!(world.run("other", &["echo", "quick"]).1, "quick\n");
    let mut got = 0;
    while let Some((_, content)) = frame(&mut client) {
        got += content.len();
    }
    assert!(got > 1_000_000, "{got}");
    assert_eq!(world.exit_of("flood").code, 0);
    world.finish(&plan);
    assert_eq!(world.log("flood").len(), 33 * 100_000);
    // One that reads nothing at all is cut off in the end.
    let plan = world.plan("deaf", &["sh", "-c", script]);
    world.start(&plan).unwrap();
    let client = world.attach("deaf", false);
    assert_eq!(world.exit_of("deaf").code, 0);
    drop(client);
    world.finish(&plan);
}

fn attached_before(world: &World) {
    let mut client = world.attach("later", false);
    let plan = world.plan("later", &["echo", "hi"]);
    world.start(&plan).unwrap();
    assert_eq!(frame(&mut client), Some((1, "hi\n".to_owned())));
    assert_eq!(frame(&mut client), None);
    world.exit_of("later");
    world.finish(&plan);
    let mut never = world.attach("never", false);
    world.with(|launcher| launcher.forget("never")).unwrap();
    assert_eq!(frame(&mut never), None);
}

fn keeper_outlives(world: &World) {
    let (runs, ends) = (
        world.plan("runs", &["sh", "-c", "while true; do echo on; sleep 0.1; done"]),
        world.plan("ends", &["sh", "-c", "sleep 0.3; exit 5"]),
    );
    let started = world.start(&runs).unwrap();
    world.start(&ends).unwrap();
    world.crash();
    let size = || world.log("runs").len();
    let before = size();
    wait_for("the log to grow without a daemon", || size() > before + 12);
    let mut adopted = world.open();
    wait_for("the exit to be known", || {
        if adopted.iter().all(|one| one.id != "ends" || one.exit.is_none()) {
            world.crash();
            adopted = world.open();
        }
        adopted.iter().any(|one| one.id == "ends" && one.exit.is_some())
    });
    assert_eq!(adopted.len(), 2);
    for one in &adopted {
        match &one.exit {
            Some(exit) => assert_eq!((one.id.as_str(), exit.code), ("ends", 5)),
            None => assert_eq!(
                (one.id.as_str(), one.pid, one.started_at),
                ("runs", started.pid, started.started_at)
            ),
        }
    }
    world.with(|launcher| launcher.readopt(&runs)).unwrap();
    world.finish(&ends);
    world.with(|launcher| launcher.signal("runs", 9)).unwrap();
    assert_eq!(world.exit_of("runs").code, 137);
    // Not confirmed: the next daemon is told again.
    world.crash();
    let adopted = world.open();
    assert!(adopted.len() == 1 && adopted[0].exit.as_ref().unwrap().code == 137);
    world.finish(&runs);
    world.crash();
    assert!(world.open().is_empty());
}

fn keeper_dies(world: &World) {
    let plan = world.plan("orphan", &["sleep", "100"]);
    let started = world.start(&plan).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", started.pid)).unwrap();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:\t"))
        .unwrap();
    let program = fs::read_link(format!("/proc/{parent}/exe")).unwrap();
    assert!(
        program.to_string_lossy().starts_with("/memfd:berth-keeper"),
        "{program:?}"
    );
    assert_eq!(fs::read(format!("/proc/{parent}/environ")).unwrap(), b"");
    let pid = nix::unistd::Pid::from_raw(parent.parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    // Nobody has seen its end; it is ended for certain before its record goes.
    assert_eq!(world.exit_of("orphan").code, 255);
    world.finish(&plan);
    // Whoever has inherited it may leave it unreaped for a while.
    let status = fs::read_to_string(format!("/proc/{}/status", started.pid)).unwrap_or_default();
    assert!(status.is_empty() || status.contains("State:\tZ"), "{status}");
    assert_eq!(world.run("next", &["echo", "on"]).1, "on\n");
}

fn bridge(world: &World) {
    let gateway = address(1);
    let listener = TcpListener::bind((gateway, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("ping -c 1 -W 5 {gateway} && echo question | nc -w 5 {gateway} {port}");
    let mut plan = world.plan("net", &["sh", "-c", &script]);
    let address = world.connect(&mut plan, 2, None);
    world.start(&plan).unwrap();
    let mut accepted = None;
    wait_for("the container's connection", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (mut stream, peer) = accepted.unwrap();
    assert_eq!(peer.ip(), address);
    stream.set_nonblocking(false).unwrap();
    let mut text = [0; 9];
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"question\n");
    stream.write_all(b"answer\n").unwrap();
    drop(stream);
    assert_eq!(world.exit_of("net").code, 0);
    assert!(
        world.log("net").contains(" 0% packet loss"),
        "{}",
        world.log("net")
    );
    world.finish(&plan);
}

fn published_port(world: &World) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let plan = {
        let mut plan = world.plan(
            "web",
            &["sh", "-c", "while true; do echo served | nc -l -p 80; done"],
        );
        world.connect(&mut plan, 3, Some((port, 80)));
        plan
    };
    world.start(&plan).unwrap();
    let ask = || {
        let mut text = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
        stream.shutdown(Shutdown::Write).ok()?;
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    };
    wait_for("an answer", || ask().as_deref() == Some("served\n"));
    let mut second = world.plan("second", &["true"]);
    world.connect(&mut second, 4, Some((port, 80)));
    let error = world.start(&second).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.ends_with("failed: port is already allocated"), "{cause}");
    // It goes on to answer after its daemon has come back.
    world.crash();
    assert_eq!(world.open().len(), 1);
    world.with(|launcher| launcher.readopt(&plan)).unwrap();
    TcpListener::bind(("0.0.0.0", port)).unwrap_err();
    wait_for("an answer", || ask().as_deref() == Some("served\n"));
    // Without being asked to end before.
    world.finish(&plan);
    assert_eq!(world.exit_of("web").code, 137);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

fn out_of_memory(world: &World) {
    let Some(tree) = world.tree("memory") else {
        println!("skipped: out_of_memory needs the memory controller of version 1");
        return;
    };
    let mut plan = world.plan("oom", &["sh", "-c", "x=0123456789; while true; do x=$x$x; done"]);
    let place = plan.host.len() - 1;
    let limit = HostStep::WriteCgroup {
        path: tree.join("oom/memory.limit_in_bytes"),
        value: (16 << 20).to_string(),
    };
    plan.host.insert(place, limit);
    let (exit, _) = world.run_plan(&plan);
    assert_eq!((exit.code, exit.signal, exit.oom_killed), (137, Some(9), true));
    // One that dies otherwise is not said to have died of this.
    let plan = world.plan("killed", &["sh", "-c", "kill -9 $$; sleep 100"]);
    world.start(&plan).unwrap();
    world.with(|launcher| launcher.signal("killed", 9)).unwrap();
    let exit = world.exit_of("killed");
    assert!(exit.code == 137 && !exit.oom_killed);
    world.finish(&plan);
}
