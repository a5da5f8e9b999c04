//! The commands of the introduction, as a person types them.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use berth_harness::{free_port, request, run, until};

use crate::{Bench, with_each_client};

fn page(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    Some(request(address, "GET", "/", &[], b"").ok()?.text())
}

#[test]
fn the_daily_commands_work() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let version = docker.ok(&["version", "--format", "{{.Server.APIVersion}} {{.Server.Os}}"]);
        let announced = version.strip_suffix(" linux");
        assert!(
            announced == Some("1.44")
                || announced == Some("1.41") && bench.engine.differs("dockerd 20.10 announces 1.41"),
            "{version}"
        );
        assert!(docker.ok(&["version"]).contains("Server:"));
        assert!(
            docker.ok(&["info"]).contains("Storage Driver: overlay"),
            "{}",
            docker.ok(&["info"])
        );
        let images = docker.ok(&["images"]);
        assert!(
            images
                .lines()
                .any(|line| line.starts_with("app ") && line.contains("latest")),
            "{images}"
        );
        assert_eq!(docker.ok(&["run", "--rm", "app", "echo", "hi"]), "hi");
        web_server(bench);
        let docker = &bench.docker;
        assert_eq!(
            docker.ok(&["rmi", "app"]).lines().next(),
            Some("Untagged: app:latest")
        );
        assert_eq!(docker.ok(&["images", "-q", "app"]), "");
    });
}

fn web_server(bench: &Bench) {
    let docker = &bench.docker;
    let port = free_port();
    let published = format!("127.0.0.1:{port}");
    let command = [
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        &format!("{port}:80"),
        "app",
        "httpd",
        "-f",
        "-v",
        "-p",
        "80",
        "-h",
        "/www",
    ];
    let id = docker.ok(&command);
    assert_eq!(id.len(), 64, "{id}");
    let listed = docker.ok(&["ps"]);
    assert!(
        listed.contains("web") && listed.contains(&format!("0.0.0.0:{port}->80/tcp")),
        "{listed}"
    );
    let text = until("the page", Duration::from_secs(5), || {
        page(&published).filter(|text| !text.is_empty())
    });
    assert_eq!(text, "hello from the container\n");
    let first = bench.address("web");
    assert_eq!(
        page(&format!("{first}:80")).as_deref(),
        Some("hello from the container\n")
    );
    until("the log", Duration::from_secs(5), || {
        let logs = docker.run(&["logs", "web"]);
        format!("{}{}", logs.stdout, logs.stderr)
            .contains("200")
            .then_some(())
    });
    assert_eq!(docker.ok(&["restart", "-t", "1", "web"]), "web");
    let second = bench.address("web");
    if !bench.engine.differs("dockerd may give the same address again") {
        assert_ne!(first, second, "a restart gives another address");
    }
    until("the page after the restart", Duration::from_secs(5), || {
        page(&published).filter(|text| !text.is_empty())
    });
    assert_eq!(docker.ok(&["stop", "-t", "1", "web"]), "web");
    assert_eq!(docker.ok(&["ps", "-q"]), "");
    assert!(
        docker.ok(&["ps", "-a"]).contains("Exited (137)"),
        "{}",
        docker.ok(&["ps", "-a"])
    );
    assert_eq!(docker.ok(&["rm", "web"]), "web");
    assert_eq!(docker.ok(&["ps", "-aq"]), "");
}

#[test]
fn exit_codes_reach_the_caller() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        assert_eq!(docker.run(&["run", "--rm", "app", "sh", "-c", "exit 3"]).code, 3);
        assert_eq!(
            docker
                .run(&["run", "--rm", "app", "sh", "-c", "kill -9 $$; sleep 9"])
                .code,
            0,
            "pid 1 is immune to itself"
        );
        let missing = docker.run(&["run", "--rm", "app", "nosuch"]);
        assert_eq!(missing.code, 127, "{}", missing.stderr);
        assert!(
            missing.stderr.contains("executable file not found"),
            "{}",
            missing.stderr
        );
        let folder = docker.run(&["run", "--rm", "app", "/www"]);
        assert_eq!(folder.code, 126, "{}", folder.stderr);
        assert_eq!(
            docker.ok(&["ps", "-aq"]),
            "",
            "--rm also removes what could not start"
        );
    });
}

#[test]
fn both_streams_arrive_whole_and_apart() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let out = docker.run(&["run", "--rm", "app", "sh", "-c", "echo out; echo err >&2; exit 5"]);
        assert_eq!(
            (out.code, out.stdout.as_str(), out.stderr.as_str()),
            (5, "out\n", "err\n")
        );
        let many = docker.ok(&["run", "--name", "many", "app", "seq", "1", "20000"]);
        assert_eq!(many.lines().count(), 20_000);
        assert_eq!(docker.ok(&["logs", "--tail", "2", "many"]), "19999\n20000");
        assert_eq!(docker.ok(&["logs", "many"]), many);
    });
}

#[test]
fn standard_input_reaches_the_process() {
    with_each_client(&[], |bench| {
        let mut command = Command::new("sh");
        let docker = format!(
            "{:?}",
            bench
                .docker
                .command(&["run", "--rm", "-i", "app", "sh", "-c", "cat; echo after"])
        );
        command.arg("-c").arg(format!("printf 'one\\ntwo\\n' | {docker}"));
        assert_eq!(run(&mut command, Duration::from_secs(30)).ok(), "one\ntwo\nafter");
    });
}

#[test]
fn logs_follow_until_the_end() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "slow",
            "app",
            "sh",
            "-c",
            "for i in 1 2 3; do echo $i; sleep 0.2; done",
        ]);
        assert_eq!(docker.ok(&["logs", "-f", "slow"]), "1\n2\n3");
        let stamped = docker.ok(&["logs", "-t", "--tail", "1", "slow"]);
        assert!(stamped.contains("Z 3") && stamped.starts_with("20"), "{stamped}");
        assert_eq!(docker.ok(&["wait", "slow"]), "0");
    });
}

#[test]
fn ps_shows_the_state_in_words_and_filters_by_it() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&["create", "--name", "made", "--label", "tier=web", "app", "true"]);
        docker.ok(&["run", "-d", "--name", "up", "app", "sleep", "1000"]);
        docker.ok(&["run", "--name", "done", "app", "true"]);
        let table = docker.ok(&["ps", "-a", "--format", "{{.Names}} {{.Status}}"]);
        assert!(
            table.contains("made Created") && table.contains("up Up "),
            "{table}"
        );
        assert!(table.contains("done Exited (0)"), "{table}");
        assert_eq!(
            docker.ok(&["ps", "-a", "--filter", "status=exited", "--format", "{{.Names}}"]),
            "done"
        );
        assert_eq!(
            docker.ok(&["ps", "-a", "--filter", "label=tier=web", "--format", "{{.Names}}"]),
            "made"
        );
        assert_eq!(
            docker.ok(&["ps", "--filter", "name=^up$", "--format", "{{.Names}}"]),
            "up"
        );
        let bad = docker.run(&["ps", "--filter", "nonsense=1"]);
        assert!(
            bad.code != 0 && bad.stderr.contains("nvalid filter"),
            "{}",
            bad.stderr
        );
    });
}
