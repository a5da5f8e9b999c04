//! Terminals, and further processes in running containers.

use std::io::Write;
use std::process::Stdio;

use berth_harness::{request_unix, until};

use crate::typed::{PATIENCE, Typed};
use crate::{Bench, with_each_client};

fn typed(bench: &Bench, arguments: &[&str]) -> Typed {
    Typed::start(&bench.docker.command(arguments))
}

fn running(bench: &Bench, name: &str, flags: &[&str]) {
    let line = [&["run", "-d", "--name", name], flags, &["app", "sleep", "1000"]].concat();
    bench.docker.ok(&line);
}

fn kill(bench: &Bench, name: &str) {
    bench.docker.ok(&["rm", "-f", name]);
}

#[test]
fn a_container_may_have_a_terminal() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        // Without a terminal of the client's own it is a stream like any other.
        let output = docker.ok(&[
            "run",
            "--name",
            "plain",
            "-t",
            "app",
            "sh",
            "-c",
            "echo $TERM; ls /dev/console; test -t 1 && echo tty",
        ]);
        assert_eq!(output, "xterm\r\n/dev/console\r\ntty\r");
        assert_eq!(docker.ok(&["logs", "plain"]), output);
        let mut shell = typed(bench, &["run", "--rm", "-it", "--name", "shell", "app", "sh"]);
        shell.shows("#");
        shell.types("stty() { busybox stty \"$@\"; }; echo size: $(busybox stty size) on $(busybox tty)\r");
        shell.shows("size: 31 97 on /dev/pts/0\r");
        shell.types("echo go; sleep 100\r");
        shell.shows("\r\ngo\r");
        shell.types("\u{3}");
        shell.types("echo $((40+2))\r");
        shell.shows("\r\n42\r");
        shell.types("exit 7\r");
        assert_eq!(shell.code(), 7);
        docker.ok(&[
            "run",
            "-dt",
            "--name",
            "quiet",
            "app",
            "sh",
            "-c",
            "test -t 0 && echo still; sleep 1000",
        ]);
        until("the log", PATIENCE, || {
            (docker.ok(&["logs", "quiet"]) == "still\r").then_some(())
        });
        kill(bench, "quiet");
        kill(bench, "plain");
    });
}

#[test]
fn a_terminal_can_be_left_and_changes_its_size() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let mut shell = typed(bench, &["run", "-it", "--name", "shell", "app", "sh"]);
        shell.shows("#");
        shell.types("\u{10}\u{11}");
        assert_eq!(shell.code(), 0);
        let state = ["inspect", "--format", "{{.State.Running}}", "shell"];
        assert_eq!(docker.ok(&state), "true");
        let resized = request_unix(
            &bench.engine.socket(),
            "POST",
            "/containers/shell/resize?h=12&w=34",
            &[],
            b"",
        );
        assert_eq!(resized.unwrap().status, 200);
        let size = docker.ok(&["exec", "shell", "sh", "-c", "busybox stty size < /proc/1/fd/0"]);
        assert_eq!(size, "12 34");
        let mut again = typed(bench, &["attach", "--detach-keys", "ctrl-a", "shell"]);
        again.types("echo $((40+2))\r");
        again.shows("\r\n42\r");
        again.types("exit 3\r");
        assert_eq!(again.code(), 3);
        kill(bench, "shell");
        running(bench, "none", &[]);
        for (target, status) in [
            ("/containers/none/resize?h=1&w=1", 200),
            ("/containers/none/resize?h=x&w=1", 400),
            ("/containers/nobody/resize?h=1&w=1", 404),
            ("/exec/nothing/resize?h=1&w=1", 404),
        ] {
            let answer = request_unix(&bench.engine.socket(), "POST", target, &[], b"").unwrap();
            assert_eq!(answer.status, status, "{target}: {}", answer.text());
        }
        kill(bench, "none");
    });
}

#[test]
fn another_process_runs_with_the_rights_of_its_container() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        running(
            bench,
            "box",
            &["-e", "A=1", "-e", "B=2", "-w", "/www", "--ulimit", "nofile=77:88"],
        );
        let sh = |flags: &[&str], script: &str| {
            docker.ok(&[&["exec"], flags, &["box", "sh", "-c", script]].concat())
        };
        assert_eq!(sh(&[], "pwd; echo $A $B $HOME $TERM"), "/www\n1 2 /root");
        assert_eq!(
            sh(&["-e", "B=3", "-w", "/tmp"], "pwd; echo $A $B; ulimit -n"),
            "/tmp\n1 3\n77"
        );
        assert_eq!(
            sh(&["-u", "app"], "id; echo $HOME"),
            "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)\n/tmp"
        );
        let first = docker.ok(&["exec", "box", "cat", "/proc/1/status"]);
        let mine = docker.ok(&["exec", "box", "cat", "/proc/self/status"]);
        for key in [
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
            "Seccomp_filters",
        ] {
            let line = |status: &str| {
                let found = status.lines().find(|line| line.starts_with(&format!("{key}:")));
                found.unwrap_or_default().to_owned()
            };
            assert_eq!(line(&first), line(&mine), "{key}");
        }
        for kind in ["pid", "mnt", "net", "uts", "ipc", "cgroup"] {
            let script = format!(
                "test $(busybox readlink /proc/1/ns/{kind}) = $(busybox readlink /proc/self/ns/{kind}) && echo same"
            );
            assert_eq!(sh(&[], &script), "same", "{kind}");
        }
        assert_eq!(
            sh(
                &[],
                "cat /proc/1/cgroup > /tmp/1; cat /proc/self/cgroup | busybox cmp - /tmp/1 && echo same"
            ),
            "same"
        );
        // Nothing but its streams is open (and the directory that is listed), and its parent is nobody that it can see.
        let listed = docker.ok(&["exec", "box", "ls", "/proc/self/fd"]);
        assert_eq!(listed, "0\n1\n2\n3");
        let parent = docker.ok(&["exec", "box", "grep", "PPid", "/proc/self/status"]);
        assert_eq!(parent, "PPid:\t0");
        let dropped = sh(&["-u", "1000"], "grep CapEff /proc/self/status");
        assert_eq!(dropped, "CapEff:\t0000000000000000");
        kill(bench, "box");
    });
}

#[test]
fn exit_codes_and_messages_of_exec() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        running(bench, "box", &[]);
        let said = |arguments: &[&str]| {
            let finished = docker.run(&[&["exec"], arguments].concat());
            (finished.code, finished.stdout + &finished.stderr)
        };
        assert_eq!(
            said(&["box", "sh", "-c", "echo out; echo err >&2; exit 5"]),
            (5, "out\nerr\n".to_owned())
        );
        let (code, text) = said(&["box", "nosuch"]);
        assert!(
            (code == 127 || code == 126 && bench.engine.differs("dockerd 20.10 says 126"))
                && text.contains("executable file not found in $PATH"),
            "{code} {text}"
        );
        let (code, text) = said(&["box", "/etc/passwd"]);
        assert!(code == 126 && text.contains("permission denied"), "{code} {text}");
        let (code, text) = said(&["-w", "/not/there", "box", "true"]);
        assert!(code == 126 && text.contains("/not/there"), "{code} {text}");
        let (code, text) = said(&["-u", "nobody", "box", "true"]);
        assert!(
            code == 126 && text.contains("unable to find user nobody"),
            "{code} {text}"
        );
        let (code, text) = said(&["nobody", "true"]);
        assert!(
            code == 1 && text.contains("No such container: nobody"),
            "{code} {text}"
        );
        docker.ok(&["kill", "box"]);
        until("the end", PATIENCE, || {
            (docker.ok(&["ps", "-q"]).is_empty()).then_some(())
        });
        let (code, text) = said(&["box", "true"]);
        assert!(code == 1 && text.contains("is not running"), "{code} {text}");
        kill(bench, "box");
    });
}

#[test]
fn input_terminals_and_detached_processes_of_exec() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        running(bench, "box", &[]);
        let mut cat = docker.command(&["exec", "-i", "box", "cat"]);
        let mut child = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&[b'x'; 300_000]).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout.len(), 300_000);
        let mut shell = typed(bench, &["exec", "-it", "box", "sh"]);
        shell.shows("#");
        shell.types("echo size: $(busybox stty size) on $(busybox tty) $TERM\r");
        shell.shows("size: 31 97 on /dev/pts/0 xterm\r");
        shell.types("exit 9\r");
        assert_eq!(shell.code(), 9);
        assert_eq!(
            docker.ok(&["exec", "-d", "box", "sh", "-c", "echo $$ > /tmp/pid; sleep 1000"]),
            ""
        );
        let listed = until("the process", PATIENCE, || {
            let ids = docker.ok(&["inspect", "--format", "{{len .ExecIDs}}", "box"]);
            let pid = docker.run(&["exec", "box", "cat", "/tmp/pid"]);
            (pid.code == 0 && !pid.stdout.is_empty()).then_some(ids)
        });
        assert_eq!(listed, "1");
        // It ends with its container, and nothing stays.
        kill(bench, "box");
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let until = (now.as_secs() + 1).to_string();
        let filter = ["--filter", "container=box"];
        let events = docker.ok(&[&["events", "--since", "1", "--until", &until], filter.as_slice()].concat());
        for word in ["exec_create: sh -c", "exec_start: sh -c", "exec_die"] {
            assert!(events.contains(word), "{word} in {events}");
        }
    });
}

#[test]
fn ways_out_through_exec_are_closed() {
    let bench = Bench::new();
    running(&bench, "box", &[]);
    for number in 3..12 {
        let directory = format!("/proc/self/fd/{number}");
        let finished = bench
            .docker
            .run(&["exec", "-w", &directory, "box", "ls", "../../.."]);
        assert_ne!(finished.code, 0, "{directory}: {}", finished.stdout);
    }
    // The program behind a process that enters must not be reached by what runs inside.
    let watch = "while :; do for p in /proc/[0-9]*; do test $p = /proc/1 || test $p = /proc/$$ || \
        { busybox readlink $p/exe; busybox ls $p/fd; }; done; done > /tmp/seen 2>/dev/null";
    bench.docker.ok(&["exec", "-d", "box", "sh", "-c", watch]);
    for _ in 0..20 {
        bench.docker.ok(&["exec", "box", "true"]);
    }
    let seen = bench
        .docker
        .ok(&["exec", "box", "sh", "-c", "busybox sort -u /tmp/seen"]);
    assert!(
        !seen.contains("memfd") && !seen.contains("keeper") && !seen.contains("berth"),
        "{seen}"
    );
    kill(&bench, "box");
    bench.finish();
}
