//! berth under the name etcd: command lines that are known from units and compose files, Debian's etcdctl against it, and
//! what is refused; the lock module of a store under `berth lock`.

use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use berth_harness::{Finished, Process, Scratch, Store, free_port, request, run, until};

use crate::berth;

/// From exec to the first answer.
const LONGEST_START: Duration = Duration::from_secs(2);
/// Longest time of anything else.
const LIMIT: Duration = Duration::from_secs(30);

/// berth in a directory of its own, called etcd.
struct Named {
    scratch: Scratch,
    program: PathBuf,
}

impl Named {
    fn new() -> Self {
        let scratch = Scratch::new();
        let program = scratch.join("etcd");
        symlink(berth().program(), &program).unwrap();
        Self { scratch, program }
    }

    /// A command line with none of the caller's settings; `$NAME=VALUE` is a variable.
    fn command(&self, words: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.scratch.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            if ["ETCD_", "BERTH_", "NOTIFY_SOCKET"]
                .iter()
                .any(|own| name.starts_with(own))
            {
                command.env_remove(name);
            }
        }
        for word in words.split_whitespace() {
            match word.strip_prefix('$').and_then(|word| word.split_once('=')) {
                Some((name, value)) => command.env(name, value),
                None => command.arg(word),
            };
        }
        command
    }

    fn run(&self, words: &str) -> Finished {
        run(&mut self.command(words), LIMIT)
    }

    /// Starts it, and waits until it is healthy.
    fn start(&self, words: &str, client: u16) -> Process {
        let begun = Instant::now();
        let mut process = Process::start(&mut self.command(words), &self.scratch.join("log"));
        until(words, LIMIT, || {
            assert_eq!(process.ended(), None, "{words}: {}", process.output());
            healthy(client).then_some(())
        });
        let took = begun.elapsed();
        assert!(took < LONGEST_START, "ready after {took:?}: {words}");
        process
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn healthy(port: u16) -> bool {
    request(local(port), "GET", "/health", &[], b"").is_ok_and(|answer| answer.text().contains("true"))
}

/// Command lines with `C` for the client's port and `P` for the other one, and the directory of their data.
const STARTS: [(&str, &str); 6] = [
    (
        "--name m0 --data-dir data --listen-client-urls http://127.0.0.1:C --advertise-client-urls http://127.0.0.1:C \
         --listen-peer-urls http://127.0.0.1:P --initial-advertise-peer-urls http://127.0.0.1:P --initial-cluster \
         m0=http://127.0.0.1:P --initial-cluster-token t --initial-cluster-state new",
        "data",
    ),
    (
        "-name=node1 -listen-client-urls=http://127.0.0.1:C -advertise-client-urls=http://127.0.0.1:C \
         -listen-peer-urls=http://127.0.0.1:P",
        "node1.etcd",
    ),
    (
        "-name old -addr 127.0.0.1:C -peer-addr 127.0.0.1:P -snapshot -cluster-active-size=3 -vv -data-dir=old",
        "old",
    ),
    (
        "-addr=localhost:C -bind-addr=127.0.0.1 -peer-addr=localhost:P -peer-bind-addr=127.0.0.1 -snapshot-count=100",
        "default.etcd",
    ),
    (
        "$ETCD_NAME=env $ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:C $ETCD_ADVERTISE_CLIENT_URLS=http://127.0.0.1:C \
         $ETCD_LISTEN_PEER_URLS=http://127.0.0.1:P $ETCD_DATA_DIR=of-env $ETCD_ENABLE_V2=true $ETCD_VERSION=v3.4.23",
        "of-env",
    ),
    (
        "$ETCD_DATA_DIR=lost --data-dir won --enable-v2=true --logger=zap --log-level=error --heartbeat-interval=50 \
         --election-timeout=500 --cors=* --auto-compaction-retention=1 --listen-client-urls=http://127.0.0.1:C \
         --advertise-client-urls=http://127.0.0.1:C --listen-peer-urls=http://127.0.0.1:P",
        "won",
    ),
];

#[test]
fn known_command_lines_start_a_member_that_etcdctl_can_use() {
    for (words, data) in STARTS {
        let named = Named::new();
        let (client, peer) = (free_port(), free_port());
        let words = words
            .replace(":C", &format!(":{client}"))
            .replace(":P", &format!(":{peer}"));
        let mut process = named.start(&words, client);
        assert!(
            named.scratch.join(data).join("member").is_file(),
            "{data}: {words}"
        );
        let ctl = |line: &str| {
            let mut command = Command::new("/usr/bin/etcdctl");
            let url = format!("http://127.0.0.1:{client}");
            command.args(["--endpoints", &url]).args(line.split(' '));
            run(command.env("ETCDCTL_API", "2").stdin(Stdio::null()), LIMIT)
        };
        assert_eq!(ctl("set /message Hello").ok(), "Hello");
        assert_eq!(ctl("get /message").ok(), "Hello");
        let listed = ctl("member list");
        assert!(
            listed.ok().contains(&format!(":{client} isLeader=true")),
            "{}",
            listed.stdout
        );
        assert!(process.stop().success(), "{}", process.output());
    }
}

#[test]
fn a_second_start_goes_on_where_it_was_whatever_the_bootstrap_flags_say() {
    let named = Named::new();
    let (client, peer) = (free_port(), free_port());
    let urls = format!(
        "--listen-client-urls http://127.0.0.1:{client} --advertise-client-urls http://127.0.0.1:{client} \
         --listen-peer-urls http://127.0.0.1:{peer}"
    );
    let mut process = named.start(&urls, client);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    request(local(client), "PUT", "/v2/keys/k", &form, b"value=kept").unwrap();
    assert!(process.stop().success());
    let again =
        format!("{urls} --initial-cluster-state existing --initial-cluster a=http://h:1,b=http://i:1");
    let mut process = named.start(&again, client);
    let kept = request(local(client), "GET", "/v2/keys/k", &[], b"").unwrap();
    assert!(kept.text().contains("\"kept\""), "{}", kept.text());
    assert!(process.stop().success());
}

#[test]
fn what_cannot_be_done_is_refused_before_a_port_is_bound() {
    let named = Named::new();
    std::fs::create_dir_all(named.scratch.join("real/member/wal")).unwrap();
    for (words, code, text) in [
        ("--nonsense", 2, "flag provided but not defined: -nonsense"),
        ("help", 2, "'help' is not a valid flag"),
        ("--name", 2, "flag needs an argument: -name"),
        ("--snapshot-count x", 2, "-snapshot-count"),
        ("--initial-cluster-state odd", 2, "-initial-cluster-state"),
        (
            "--listen-client-urls http://127.0.0.1:1",
            1,
            "--advertise-client-urls is required",
        ),
        ("--election-timeout 100", 1, "--election-timeout[100ms]"),
        ("--election-timeout 60000", 1, "too long"),
        (
            "--cert-file c --key-file k",
            1,
            "--cert-file: given, but none of the addresses for clients is https",
        ),
        (
            "--peer-client-cert-auth",
            1,
            "--peer-client-cert-auth: it has no effect without --peer-cert-file",
        ),
        ("--proxy readonly", 1, "--proxy"),
        (
            "--discovery-srv example.org --initial-cluster default=http://localhost:2380,b=http://h:1",
            1,
            "--discovery-srv: not together with --initial-cluster",
        ),
        ("--config-file c.yml", 1, "c.yml: No such file"),
        ("-peers 127.0.0.1:7001", 1, "--initial-cluster"),
        (
            "--name a --initial-cluster b=http://127.0.0.1:2380",
            1,
            "--initial-cluster",
        ),
        (
            "--initial-cluster-state existing",
            1,
            "--initial-cluster-state existing",
        ),
        (
            "--data-dir real",
            1,
            "--data-dir real: it holds the data of etcd itself",
        ),
        ("$ETCD_PROXY=on", 1, "--proxy"),
    ] {
        let refused = named.run(words);
        assert_eq!(refused.code, code, "{words}: {}", refused.stderr);
        assert!(refused.stderr.contains(text), "{words}: {}", refused.stderr);
    }
    assert!(!named.scratch.join("default.etcd").exists());
}

#[test]
fn version_and_help_are_told() {
    let named = Named::new();
    for words in ["--version", "-version"] {
        let told = named.run(words);
        let lines: Vec<&str> = told.ok().lines().collect();
        assert!(lines[0].starts_with("etcd Version: 3.4."), "{lines:?}");
        let names = lines[1..].iter().map(|line| line.split(": ").next().unwrap());
        assert!(names.eq(["Git SHA", "Go Version", "Go OS/Arch"]), "{lines:?}");
    }
    assert!(named.run("-h").ok().contains("--listen-client-urls"));
}

#[test]
fn a_service_manager_is_told_when_it_is_ready() {
    let named = Named::new();
    let socket = named.scratch.join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(LIMIT)).unwrap();
    let (client, peer) = (free_port(), free_port());
    let words = format!(
        "$NOTIFY_SOCKET={} -addr 127.0.0.1:{client} -peer-addr 127.0.0.1:{peer}",
        socket.display()
    );
    let process = Process::start(&mut named.command(&words), &named.scratch.join("log"));
    let mut message = [0; 32];
    let length = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..length], b"READY=1\n");
    assert!(healthy(client), "{}", process.output());
}

#[test]
fn pages_may_read_answers_and_the_level_of_the_log_changes() {
    let scratch = Scratch::new();
    let store = Store::start_in(&berth(), &scratch.join("store"), &["--cors", "http://a.b"]);
    let page = [("Origin", "http://a.b")];
    let answer = request(store.address(), "GET", "/version", &page, b"").unwrap();
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://a.b"));
    assert!(!store.log().contains("DEBUG"), "{}", store.log());
    let level = br#"{"Level":"DEBUG"}"#;
    let changed = request(store.address(), "PUT", "/config/local/log", &[], level).unwrap();
    assert_eq!(changed.status, 204);
    // A connection that is cut off is told of at this level.
    until("a line at the new level", LIMIT, || {
        drop(
            std::net::TcpStream::connect(store.address())
                .map(|mut socket| std::io::Write::write_all(&mut socket, b"nonsense\r\n\r\n")),
        );
        store.log().contains("DEBUG").then_some(())
    });
    for (flag, value) in [
        ("--election-timeout", "100"),
        ("--heartbeat-interval", "0"),
        ("--cors", "a.b"),
    ] {
        let refused = berth().run(&["store", "--data-dir", "/nonexistent/x", flag, value]);
        assert!(
            refused.code != 0 && refused.stderr.contains(flag),
            "{flag}: {}",
            refused.stderr
        );
    }
}

#[test]
fn holders_of_a_lock_take_turns_in_the_lock_module() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let url = store.url();
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
    let places = || {
        let listed = berth().run(&["--endpoints", &url, "ls", "/_etcd/mod/lock/lock"]);
        listed.stdout.lines().count()
    };
    let (log, go) = (scratch.join("log"), scratch.join("go"));
    let (log, go) = (log.to_str().unwrap(), go.to_str().unwrap());
    let mut first = lock(
        "first",
        &format!("echo in >>{log}; while ! [ -e {go} ]; do sleep 0.05; done; echo out >>{log}; exit 7"),
    );
    until("the first holder", LIMIT, || std::fs::read_to_string(log).ok());
    let mut gone = lock("gone", &format!("echo never >>{log}"));
    until("the second place", LIMIT, || (places() == 2).then_some(()));
    let mut last = lock("last", &format!("echo next >>{log}"));
    until("the third place", LIMIT, || (places() == 3).then_some(()));
    gone.kill();
    until("the end of the second place", LIMIT, || {
        (places() == 2).then_some(())
    });
    std::fs::write(go, "").unwrap();
    assert_eq!(first.wait(LIMIT).code(), Some(7));
    assert_eq!(last.wait(LIMIT).code(), Some(0));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "in\nout\nnext\n");
    assert_eq!(places(), 0);
}
