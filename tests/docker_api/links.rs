//! Links of the default network: names in the hosts file, variables, and what follows a restart.

use std::time::Duration;

use berth_harness::{DockerCli, Finished, until};

use crate::{Bench, with_each_client};

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_linked_container_is_known_by_name_and_by_variables() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "db",
            "-h",
            "data",
            "-e",
            "SECRET=x=y",
            "--expose",
            "5432",
            "--expose",
            "53/udp",
            "app",
            "httpd",
            "-f",
            "-p",
            "5432",
            "-h",
            "/www",
        ]);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "web",
            "--link",
            "db:my-db",
            "-e",
            "MY_DB_ENV_SECRET2=own",
            "app",
            "sleep",
            "1000",
        ]);
        let address = bench.address("db");
        let hosts = docker.ok(&["exec", "web", "cat", "/etc/hosts"]);
        assert!(
            hosts
                .lines()
                .any(|line| line == format!("{address}\tmy-db data db")),
            "{hosts}"
        );
        variables_tell_of_the_link(bench, &address);
        assert!(fetch(docker, "my-db").stdout.contains("hello"));
        assert_eq!(
            docker.ok(&["inspect", "-f", "{{.HostConfig.Links}}", "web"]),
            "[/db:/web/my-db]"
        );
        let names = docker.ok(&[
            "ps",
            "--filter",
            "name=db",
            "--no-trunc",
            "--format",
            "{{.Names}}",
        ]);
        assert!(names.contains("web/my-db"), "{names}");
        follows_a_restart(bench, &address);
    });
}

fn fetch(docker: &DockerCli, name: &str) -> Finished {
    let address = format!("http://{name}:5432/index.html");
    let words = ["exec", "web", "busybox", "timeout", "5", "wget", "-q", "-O", "-"];
    docker.run(&[&words[..], &[&address]].concat())
}

fn variables_tell_of_the_link(bench: &Bench, address: &str) {
    let docker = &bench.docker;
    let environment = docker.ok(&["exec", "web", "sh", "-c", "tr '\\0' '\\n' < /proc/1/environ"]);
    let mut of_link: Vec<&str> = environment
        .lines()
        .filter(|line| line.starts_with("MY_DB_"))
        .collect();
    // Their order is nobody's business.
    of_link.sort_unstable_by_key(|line| !line.contains("SECRET2"));
    assert_eq!(
        of_link,
        [
            "MY_DB_ENV_SECRET2=own",
            &format!("MY_DB_PORT=udp://{address}:53"),
            &format!("MY_DB_PORT_53_UDP=udp://{address}:53"),
            &format!("MY_DB_PORT_53_UDP_ADDR={address}"),
            "MY_DB_PORT_53_UDP_PORT=53",
            "MY_DB_PORT_53_UDP_PROTO=udp",
            &format!("MY_DB_PORT_5432_TCP=tcp://{address}:5432"),
            &format!("MY_DB_PORT_5432_TCP_ADDR={address}"),
            "MY_DB_PORT_5432_TCP_PORT=5432",
            "MY_DB_PORT_5432_TCP_PROTO=tcp",
            "MY_DB_NAME=/web/my-db",
            "MY_DB_ENV_SECRET=x=y",
        ]
    );
    let added = docker.ok(&["exec", "web", "env"]);
    assert!(added.contains("MY_DB_NAME=/web/my-db"), "{added}");
}

fn follows_a_restart(bench: &Bench, address: &str) {
    let docker = &bench.docker;
    // A restart gives another address, and the hosts file follows.
    docker.ok(&["restart", "-t", "0", "db"]);
    let second = bench.address("db");
    if bench.engine.differs("dockerd may give the same address again") {
        return;
    }
    assert_ne!(*address, second);
    until("the new address in the hosts file", PATIENCE, || {
        let hosts = docker.ok(&["exec", "web", "cat", "/etc/hosts"]);
        (hosts.contains(&format!("{second}\tmy-db")) && !hosts.contains(&format!("{address}\t")))
            .then_some(())
    });
    assert!(fetch(docker, "db").stdout.contains("hello"));
    docker.ok(&["rm", "--link", "/web/my-db"]);
    assert_eq!(
        docker.ok(&["inspect", "-f", "{{.HostConfig.Links}}", "web"]),
        "[]"
    );
    assert_eq!(
        docker.ok(&["ps", "-q"]).lines().count(),
        2,
        "both are still there"
    );
}

#[test]
fn a_link_needs_a_running_container() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let refused = |words: &[&str], message: &str| {
        let finished = docker.run(words);
        assert_ne!(finished.code, 0);
        assert!(finished.stderr.contains(message), "{}", finished.stderr);
    };
    refused(
        &["run", "--link", "nothing:x", "app", "true"],
        "could not get container for nothing: No such container: nothing",
    );
    docker.ok(&["create", "--name", "db", "app", "sleep", "1000"]);
    refused(
        &["run", "--name", "web", "--link", "db", "app", "true"],
        "Cannot link to a non running container: /db AS /web/db",
    );
    docker.ok(&["start", "db"]);
    docker.ok(&["start", "-a", "web"]);
    refused(
        &["run", "--network", "host", "--link", "db", "app", "true"],
        "links",
    );
    bench.finish();
}

#[test]
fn a_link_in_a_network_of_users_is_a_name() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let subnet = crate::networks::subnet(&bench, 1);
    docker.ok(&["network", "create", "--subnet", &subnet, "net"]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "db",
        "--network",
        "net",
        "app",
        "httpd",
        "-f",
        "-p",
        "80",
        "-h",
        "/www",
    ]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "--network",
        "net",
        "--link",
        "db:data",
        "app",
        "sleep",
        "1000",
    ]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "other",
        "--network",
        "net",
        "app",
        "sleep",
        "1000",
    ]);
    let fetch = |from: &str| {
        docker
            .run(&[
                "exec",
                from,
                "busybox",
                "timeout",
                "2",
                "wget",
                "-q",
                "-O",
                "-",
                "http://data/index.html",
            ])
            .stdout
    };
    until("the alias", PATIENCE, || {
        fetch("web").contains("hello").then_some(())
    });
    assert_eq!(fetch("other"), "", "the alias is the other's own");
    bench.finish();
}
