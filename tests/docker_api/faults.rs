//! Bad input and faults: a clear message that names the thing, the right status, nothing lost, nothing left.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use berth_harness::{Engine, Scratch, request_unix, until};

use crate::{Bench, berth, skipped};

fn refused(bench: &Bench, arguments: &[&str], code: i32, words: &str) {
    let finished = bench.docker.run(arguments);
    assert_eq!(
        finished.code, code,
        "{arguments:?}: {}{}",
        finished.stdout, finished.stderr
    );
    assert!(
        finished.stderr.contains(words),
        "{arguments:?}: {words:?} is missing in {}",
        finished.stderr
    );
}

#[test]
fn what_is_not_there_is_named() {
    let bench = Bench::new();
    refused(
        &bench,
        &["run", "--pull", "never", "nosuch:1", "true"],
        125,
        "nosuch:1",
    );
    for command in ["start", "stop", "restart", "logs", "wait", "inspect", "rm"] {
        refused(&bench, &[command, "ghost"], 1, "ghost");
    }
    refused(&bench, &["rmi", "nosuch"], 1, "nosuch");
    bench.finish();
}

#[test]
fn what_is_taken_is_named() {
    let bench = Bench::new();
    bench.docker.ok(&[
        "run",
        "-d",
        "--name",
        "old-web",
        "-p",
        "127.0.0.1::80",
        "app",
        "sleep",
        "1000",
    ]);
    let port = bench.docker.ok(&["port", "old-web", "80"]);
    refused(
        &bench,
        &["run", "--name", "old-web", "app", "true"],
        125,
        "/old-web",
    );
    let taken = format!("{port}:80");
    refused(
        &bench,
        &["run", "--name", "second", "-p", &taken, "app", "true"],
        125,
        "port is already allocated",
    );
    let other = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let held = format!("{}:80", other.local_addr().unwrap());
    // Held by another program and not by a container, dockerd says: address already in use.
    refused(
        &bench,
        &["run", "--name", "third", "-p", &held, "app", "true"],
        125,
        "already",
    );
    refused(&bench, &["rm", "old-web"], 1, "running container");
    assert_eq!(
        bench.docker.ok(&["ps", "--format", "{{.Names}}"]),
        "old-web",
        "the first one is unharmed"
    );
    bench.finish();
}

#[test]
fn what_is_not_supported_is_refused_and_named() {
    let bench = Bench::new();
    for (flags, words) in [
        (&["--volumes-from", "nobody"][..], "nobody"),
        (&["--device", "/dev/not-there"][..], "/dev/not-there"),
        (&["--runtime", "other"][..], "runtime"),
        (&["--cap-add", "NONSENSE"][..], "NONSENSE"),
        (&["--security-opt", "foo=bar"][..], "foo=bar"),
        (&["--log-driver", "nonsense"][..], "nonsense"),
        (&["--sysctl", "kernel.core_pattern=x"][..], "kernel.core_pattern"),
        (&["--workdir", "relative"][..], "relative"),
        (&["--user", "nobody-here"][..], "nobody-here"),
        (&["--network", "nosuch"][..], "nosuch"),
    ] {
        let line = [&["run", "--rm"], flags, &["app", "true"]].concat();
        let finished = bench.docker.run(&line);
        // The client makes its code from the words: a file that is not there gives 127.
        let code = if flags[0] == "--device" { 127 } else { 125 };
        assert_eq!(finished.code, code, "{flags:?}: {}", finished.stderr);
        assert!(
            finished.stderr.to_lowercase().contains(&words.to_lowercase()),
            "{flags:?}: {}",
            finished.stderr
        );
    }
    assert_eq!(bench.docker.ok(&["ps", "-aq"]), "");
    if !bench.engine.differs("dockerd knows parents of control groups") {
        refused(
            &bench,
            &["create", "--cgroup-parent", "/x", "app", "true"],
            1,
            "CgroupParent",
        );
    }
    bench.finish();
}

#[test]
fn malformed_requests_are_answered_not_dropped() {
    let bench = Bench::new();
    let socket = bench.engine.socket();
    let json = [("Content-Type", "application/json")];
    for (method, target, body, status) in [
        ("POST", "/v1.41/containers/create", &b"{not json"[..], 400),
        ("POST", "/v1.41/containers/create", b"{}", 400),
        (
            "POST",
            "/v1.41/containers/create?name=a",
            b"{\"Image\":\"app\",\"Cmd\":[\"true\"]}",
            400,
        ),
        (
            "POST",
            "/v1.41/containers/create?name=../x",
            b"{\"Image\":\"app\",\"Cmd\":[\"true\"]}",
            400,
        ),
        ("GET", "/v1.99/containers/json", b"", 400),
        ("GET", "/v1.41/containers/json?filters=nonsense", b"", 400),
        ("GET", "/v1.41/nosuch", b"", 404),
        ("GET", "/v1.41/containers/x%00y/json", b"", 404),
        (
            "POST",
            "/v1.41/images/create?fromSrc=-&repo=Bad!Name",
            b"junk",
            400,
        ),
    ] {
        let answer = request_unix(&socket, method, target, &json, body).unwrap();
        let unclassified =
            answer.status == 500 && bench.engine.differs("dockerd says 500 of malformed requests");
        assert!(
            answer.status == status || unclassified,
            "{method} {target}: {} {}",
            answer.status,
            answer.text()
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{method} {target}"
        );
        assert!(
            !answer.json()["message"].as_str().unwrap().is_empty(),
            "{method} {target}"
        );
    }
    bench.finish();
}

#[test]
fn a_killed_engine_loses_no_container_no_log_line_and_no_exit_code() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    bench.docker.ok(&[
        "run",
        "-d",
        "--name",
        "counter",
        "app",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.25; done; exit 7",
    ]);
    bench
        .docker
        .ok(&["run", "-d", "--name", "stays", "app", "sleep", "1000"]);
    bench.engine.kill();
    bench.engine.restart();
    assert_eq!(bench.docker.ok(&["wait", "counter"]), "7");
    assert_eq!(bench.docker.ok(&["logs", "counter"]), "1\n2\n3\n4\n5\n6\n7\n8");
    assert_eq!(bench.docker.ok(&["ps", "--format", "{{.Names}}"]), "stays");
    bench.engine.kill();
    bench.engine.restart();
    assert_eq!(bench.docker.ok(&["stop", "-t", "1", "stays"]), "stays");
    bench.finish();
}

#[test]
fn the_socket_is_for_root_and_its_group() {
    if skipped("the command `berth`") {
        return;
    }
    let bench = Bench::new();
    let mode = std::fs::metadata(bench.engine.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let denied = berth_harness::run(
        std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(berth().program())
            .args(["--host", &bench.engine.host(), "ps"]),
        Duration::from_secs(20),
    );
    assert_ne!(denied.code, 0);
    assert!(
        denied.stderr.to_lowercase().contains("permission denied"),
        "{}",
        denied.stderr
    );
    bench.finish();
}

#[test]
fn a_second_engine_on_the_same_data_is_refused() {
    if skipped("Berth's data directory") {
        return;
    }
    let bench = Bench::new();
    let path = bench.scratch.path();
    let (data, run, socket) = (path.join("engine"), path.join("run2"), path.join("second.sock"));
    let finished = berth().run(&[
        "engine",
        "--data-dir",
        &data.to_string_lossy(),
        "--run-dir",
        &run.to_string_lossy(),
        "--socket",
        &socket.to_string_lossy(),
    ]);
    assert_ne!(finished.code, 0);
    assert!(finished.stderr.contains("in use"), "{}", finished.stderr);
    bench.finish();
}

#[test]
fn without_root_the_engine_says_so() {
    if skipped("the command `berth`") {
        return;
    }
    let scratch = Scratch::new();
    let data = scratch.join("engine");
    let mut command = std::process::Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(berth().program());
    command.args(["engine", "--data-dir", &data.to_string_lossy()]);
    let finished = berth_harness::run(&mut command, Duration::from_secs(20));
    assert_ne!(finished.code, 0);
    assert!(finished.stderr.contains("root"), "{}", finished.stderr);
}

#[test]
fn an_unknown_record_version_is_refused() {
    if skipped("Berth's data directory") {
        return;
    }
    let scratch = Scratch::new();
    let mut engine = Engine::start(&berth(), &scratch, &[]);
    engine.stop();
    let version = scratch.join("engine").join("version");
    assert!(version.exists(), "the engine's data directory has a version file");
    std::fs::write(&version, "99\n").unwrap();
    let finished = berth().run(&[
        "engine",
        "--data-dir",
        &scratch.join("engine").to_string_lossy(),
        "--run-dir",
        &scratch.join("run").to_string_lossy(),
        "--socket",
        &scratch.join("s.sock").to_string_lossy(),
    ]);
    assert_ne!(finished.code, 0);
    assert!(finished.stderr.contains("99"), "{}", finished.stderr);
}

#[test]
fn twenty_engine_kills_during_starts_leave_nothing() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    for round in 0..20 {
        let name = format!("round{round}");
        let mut start = bench
            .docker
            .command(&["run", "-d", "--name", &name, "app", "sleep", "1000"]);
        let mut child = start
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // The kill falls at another moment of the start in each round.
        let moment = std::time::Instant::now() + Duration::from_millis(5 * round);
        until("the moment of the kill", Duration::from_secs(2), || {
            (std::time::Instant::now() >= moment).then_some(())
        });
        bench.engine.kill();
        child.wait().unwrap();
        bench.engine.restart();
    }
    for name in bench.docker.ok(&["ps", "-aq"]).lines() {
        bench.docker.ok(&["rm", "-f", name]);
    }
    assert_eq!(
        bench.docker.ok(&["run", "--rm", "app", "echo", "still well"]),
        "still well"
    );
    bench.finish();
}
