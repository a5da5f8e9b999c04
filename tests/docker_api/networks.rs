//! Networks that users make: names, isolation, several at a time, while containers run and over restarts.

use std::net::UdpSocket;
use std::time::Duration;

use berth_harness::{DockerCli, until};
use serde_json::Value;

use crate::{Bench, skipped, with_each_client};

/// Longest wait for what a busy machine does.
const PATIENCE: Duration = Duration::from_secs(30);

/// A /24 that only this engine has, apart from its own.
pub(crate) fn subnet(bench: &Bench, number: u8) -> String {
    let own = bench.scratch.subnet();
    let parts: Vec<u8> = own.split('.').take(3).map(|part| part.parse().unwrap()).collect();
    format!("10.{}.{}.0/24", parts[1] + 8 * number, parts[2])
}

/// The address at a place of a subnet.
pub(crate) fn at(subnet: &str, place: u8) -> String {
    format!("{}.{place}", subnet.rsplit_once('.').unwrap().0)
}

fn make(bench: &Bench, name: &str, number: u8, extra: &[&str]) -> String {
    let subnet = subnet(bench, number);
    let words = [&["network", "create", "--subnet", &subnet], extra, &[name]].concat();
    bench.docker.ok(&words);
    subnet
}

fn serve(docker: &DockerCli, name: &str, words: &[&str]) {
    let all = [
        &["run", "-d", "--name", name],
        words,
        &[
            "app",
            "sh",
            "-c",
            "echo $HOSTNAME > /www/name; exec httpd -f -p 80 -h /www",
        ],
    ];
    docker.ok(&all.concat());
}

/// What a container gets from another one by this name or address; an empty text when it gets nothing.
fn fetch(docker: &DockerCli, from: &str, host: &str) -> String {
    let url = format!("http://{host}/index.html");
    docker
        .run(&[
            "exec", from, "busybox", "timeout", "2", "wget", "-q", "-O", "-", &url,
        ])
        .stdout
}

fn reaches(docker: &DockerCli, from: &str, host: &str) {
    until(&format!("{host} answers {from}"), PATIENCE, || {
        fetch(docker, from, host).contains("hello").then_some(())
    });
}

fn lookup(docker: &DockerCli, from: &str, name: &str) -> String {
    docker.run(&["exec", from, "busybox", "nslookup", name]).stdout
}

fn inspect(docker: &DockerCli, kind: &str, name: &str) -> Value {
    serde_json::from_str::<Value>(&docker.ok(&[kind, "inspect", name])).unwrap()[0].clone()
}

fn refused(docker: &DockerCli, words: &[&str], message: &str) {
    let finished = docker.run(words);
    assert_ne!(finished.code, 0, "{words:?}");
    assert!(
        finished.stderr.contains(message),
        "{words:?}: {}",
        finished.stderr
    );
}

#[test]
fn names_are_known_in_the_network_and_nowhere_else() {
    with_each_client(&[], |bench| {
        let front = make(bench, "front", 1, &["--label", "a=b"]);
        make(bench, "back", 2, &[]);
        let docker = &bench.docker;
        serve(docker, "web", &["--network", "front", "--network-alias", "www"]);
        serve(docker, "db", &["--network", "back"]);
        serve(docker, "lone", &[]);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "user",
            "--network",
            "front",
            "app",
            "sleep",
            "1000",
        ]);
        let short = docker.ok(&["ps", "-q", "--filter", "name=web"]);
        for name in ["web", "WEB", "www", "web.front", &short] {
            reaches(docker, "user", name);
        }
        let address = docker.ok(&[
            "inspect",
            "-f",
            "{{.NetworkSettings.Networks.front.IPAddress}}",
            "web",
        ]);
        assert!(
            address.starts_with(at(&front, 0).trim_end_matches('0')),
            "{address}"
        );
        assert!(lookup(docker, "user", &address).contains("web.front"));
        for name in ["db", "lone"] {
            assert_eq!(fetch(docker, "user", name), "", "{name} is in another network");
        }
        // Neither by its address.
        for other in ["db", "lone"] {
            let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
            let address = docker.ok(&["inspect", "-f", format, other]);
            assert_eq!(
                fetch(docker, "user", &address),
                "",
                "{address} is in another network"
            );
        }
        let resolver = docker.ok(&["exec", "user", "cat", "/etc/resolv.conf"]);
        assert!(
            resolver.contains("nameserver 127.0.0.11\n") && resolver.contains("ndots:0"),
            "{resolver}"
        );
        assert_eq!(
            docker.ok(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", "web"]),
            ""
        );
        let endpoint = &inspect(docker, "container", "web")["NetworkSettings"]["Networks"]["front"];
        assert_eq!(endpoint["Aliases"], serde_json::json!(["www", short]));
        let network = inspect(docker, "network", "front");
        assert_eq!(network["Labels"]["a"], "b");
        assert_eq!(network["Containers"].as_object().unwrap().len(), 2);
        if !bench
            .engine
            .differs("dockerd tells a gateway only if it was asked for")
        {
            let gateway = &network["IPAM"]["Config"][0]["Gateway"];
            assert_eq!(gateway.as_str().unwrap(), at(&front, 1));
        }
        refused(docker, &["network", "rm", "front"], "has active endpoints");
    });
}

#[test]
fn a_running_container_comes_and_goes() {
    with_each_client(&[], |bench| {
        make(bench, "one", 1, &[]);
        let two = make(bench, "two", 2, &[]);
        let docker = &bench.docker;
        serve(docker, "web", &["--network", "one"]);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            "user",
            "--network",
            "two",
            "app",
            "sleep",
            "1000",
        ]);
        docker.ok(&["run", "-d", "--name", "old", "app", "sleep", "1000"]);
        assert_eq!(fetch(docker, "user", "web"), "");
        let wish = at(&two, 77);
        docker.ok(&[
            "network", "connect", "--ip", &wish, "--alias", "shop", "two", "web",
        ]);
        reaches(docker, "user", "shop");
        reaches(docker, "user", &wish);
        let hosts = docker.ok(&["exec", "web", "cat", "/etc/hosts"]);
        assert!(hosts.contains(&wish), "{hosts}");
        refused(
            docker,
            &["network", "connect", "two", "web"],
            "endpoint with name web already exists in network two",
        );
        refused(
            docker,
            &["network", "connect", "--ip", &wish, "two", "old"],
            "Address already in use",
        );
        // One of the default network gets a resolver with its first other one.
        docker.ok(&["network", "connect", "two", "old"]);
        reaches(docker, "old", "web");
        docker.ok(&["network", "disconnect", "two", "web"]);
        until("the end of the name", PATIENCE, || {
            (!lookup(docker, "user", "shop").contains(&wish)).then_some(())
        });
        assert_eq!(fetch(docker, "user", &wish), "");
        // The route through what was left is another one's now.
        docker.ok(&["network", "connect", "two", "web"]);
        docker.ok(&["network", "disconnect", "one", "web"]);
        let routes = docker.ok(&["exec", "web", "ip", "route"]);
        assert!(
            routes.contains(&format!("default via {}", at(&two, 1))),
            "{routes}"
        );
        refused(
            docker,
            &["network", "disconnect", "one", "web"],
            "is not connected to network one",
        );
        docker.ok(&["network", "rm", "one"]);
        refused(
            docker,
            &["network", "connect", "one", "web"],
            "network one not found",
        );
        // Both networks over the next start.
        docker.ok(&["restart", "-t", "0", "old"]);
        reaches(docker, "old", "web");
        let networks = inspect(docker, "container", "old")["NetworkSettings"]["Networks"].clone();
        assert_eq!(
            networks.as_object().unwrap().keys().collect::<Vec<_>>(),
            ["bridge", "two"]
        );
        events_tell_of_it(docker);
    });
}

fn events_tell_of_it(docker: &DockerCli) {
    let wanted = ["create one", "connect two", "disconnect one", "destroy one"];
    until("the events of networks", PATIENCE, || {
        // What is of this second is left out.
        let events = docker.ok(&[
            "events",
            "--since",
            "1",
            "--until",
            "0s",
            "--filter",
            "type=network",
            "--format",
            "{{.Action}} {{.Actor.Attributes.name}}",
        ]);
        let there = |event: &&str| events.lines().any(|line| line == *event);
        wanted.iter().all(there).then_some(())
    });
}

#[test]
fn networks_and_names_outlive_the_engine() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    make(&bench, "front", 1, &["--label", "keep"]);
    let docker = bench.docker.clone();
    serve(&docker, "web", &["--network", "front", "-p", "127.0.0.1::80"]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "user",
        "--network",
        "front",
        "app",
        "sleep",
        "1000",
    ]);
    reaches(&docker, "user", "web");
    let before = inspect(&docker, "network", "front");
    bench.engine.kill();
    bench.engine.restart();
    assert_eq!(inspect(&docker, "network", "front"), before);
    reaches(&docker, "user", "web");
    // The address of a running container is nobody else's.
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "third",
        "--network",
        "front",
        "app",
        "sleep",
        "1000",
    ]);
    let format = "{{.NetworkSettings.Networks.front.IPAddress}}";
    let addresses = ["web", "user", "third"].map(|name| docker.ok(&["inspect", "-f", format, name]));
    let different: std::collections::BTreeSet<_> = addresses.iter().collect();
    assert_eq!(different.len(), 3, "{addresses:?}");
    docker.ok(&["rm", "-f", "web", "user", "third"]);
    docker.ok(&["network", "rm", "front"]);
    bench.engine.kill();
    bench.engine.restart();
    let names = docker.ok(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
    assert_eq!(names, "bridge bridge\nhost host\nnone null");
    bench.finish();
}

/// Answers every question for one name with an address, on a loopback address of the test's own.
fn name_server(address: String) {
    let socket = UdpSocket::bind((address, 53)).unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let mut answer = buffer[..length].to_vec();
            // An answer with one record: the name asked for, A, IN, 60 seconds, 203.0.113.9; none for AAAA.
            let is_a = answer[length - 3] == 1 || answer.windows(4).any(|part| part == [0, 1, 0, 1]);
            answer[2] = 0x81;
            answer[3] = 0x80;
            answer[7] = u8::from(is_a);
            answer[10] = 0;
            answer[11] = 0;
            let question = 12 + answer[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
            answer.truncate(question);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 9]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
}

#[test]
fn other_names_are_asked_of_the_servers_of_the_container() {
    let bench = Bench::new();
    let front = make(&bench, "front", 1, &[]);
    make(&bench, "inner", 2, &["--internal"]);
    let docker = &bench.docker;
    let server = at(&front, 53).replacen("10.", "127.", 1);
    name_server(server.clone());
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "user",
        "--network",
        "front",
        "--dns",
        &server,
        "app",
        "sleep",
        "1000",
    ]);
    if !bench
        .engine
        .differs("dockerd asks a server on loopback from within the container")
    {
        assert!(lookup(docker, "user", "else.where").contains("203.0.113.9"));
    }
    // What leads nowhere asks nobody, and lets nobody through.
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "closed",
        "--network",
        "inner",
        "--dns",
        &server,
        "app",
        "sleep",
        "1000",
    ]);
    assert!(!lookup(docker, "closed", "else.where").contains("203.0.113.9"));
    serve(docker, "web", &["--network", "inner"]);
    reaches(docker, "closed", "web");
    let routes = docker.ok(&["exec", "closed", "ip", "route"]);
    if !bench
        .engine
        .differs("a closed network of dockerd 20.10 has a route that leads nowhere")
    {
        assert!(!routes.contains("default"), "{routes}");
    }
    bench.finish();
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    let bench = Bench::new();
    let front = make(&bench, "front", 1, &[]);
    let docker = &bench.docker;
    for (words, message) in [
        (
            &["network", "create", "front"][..],
            "network with name front already exists",
        ),
        (
            &["network", "create", "--subnet", &front, "other"],
            "Pool overlaps with other one on this address space",
        ),
        (
            &["network", "create", "--subnet", &bench.scratch.subnet(), "other"],
            "Pool overlaps",
        ),
        (
            &["network", "create", "-d", "nonsense", "other"],
            "plugin \"nonsense\" not found",
        ),
        (
            &["network", "create", "host"],
            "operation is not permitted on predefined host network",
        ),
        (
            &["network", "rm", "bridge"],
            "bridge is a pre-defined network and cannot be removed",
        ),
        (
            &["run", "--rm", "--network", "nothing", "app", "true"],
            "network nothing not found",
        ),
        (
            &[
                "run",
                "--rm",
                "--network",
                "front",
                "--ip",
                "10.1.2.3",
                "app",
                "true",
            ],
            "does not belong to any of this network's subnets",
        ),
        (
            &["network", "connect", "front", "nothing"],
            "No such container: nothing",
        ),
    ] {
        refused(docker, words, message);
    }
    docker.ok(&["create", "--name", "mover", "--network", "front", "app", "true"]);
    refused(
        docker,
        &["network", "connect", "host", "mover"],
        "cannot be disconnected from host network or connected to host network",
    );
    bench.finish();
}

#[test]
fn what_a_container_of_another_network_cannot_have_is_refused() {
    let bench = Bench::new();
    make(&bench, "front", 1, &[]);
    let docker = &bench.docker;
    docker.ok(&["create", "--name", "mover", "--network", "front", "app", "true"]);
    for (flag, word, message) in [
        (
            "--ip",
            "10.1.2.3",
            "user specified IP address is supported on user defined networks only",
        ),
        (
            "--alias",
            "x",
            "network-scoped alias is supported only for containers in user defined networks",
        ),
    ] {
        refused(
            docker,
            &["network", "connect", flag, word, "bridge", "mover"],
            message,
        );
    }
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "cc",
        "--network",
        "none",
        "app",
        "sleep",
        "1000",
    ]);
    refused(
        docker,
        &["network", "connect", "front", "cc"],
        "cannot be connected to",
    );
    bench.finish();
}

#[test]
fn addresses_are_chosen_and_kept() {
    let bench = Bench::new();
    let subnet = subnet(&bench, 1);
    let docker = &bench.docker;
    docker.ok(&[
        "network",
        "create",
        "--subnet",
        &subnet,
        "--gateway",
        &at(&subnet, 254),
        "--ip-range",
        &format!("{}/30", at(&subnet, 16)),
        "--aux-address",
        &format!("printer={}", at(&subnet, 17)),
        "net",
    ]);
    let config = inspect(docker, "network", "net")["IPAM"]["Config"][0].clone();
    assert_eq!(
        config["IPRange"].as_str().unwrap(),
        format!("{}/30", at(&subnet, 16))
    );
    assert_eq!(
        config["AuxiliaryAddresses"]["printer"].as_str().unwrap(),
        at(&subnet, 17)
    );
    let format = "{{.NetworkSettings.Networks.net.IPAddress}} {{.NetworkSettings.Networks.net.MacAddress}}";
    let address = |name: &str| docker.ok(&["inspect", "-f", format, name]);
    let words = ["-d", "--network", "net", "--name"];
    let run = |name: &str, more: &[&str]| {
        docker.run(&[&["run"], &words[..], &[name], more, &["app", "sleep", "1000"]].concat())
    };
    let mac = "02:42:0a:0b:0c:0d";
    assert_eq!(run("ca", &["--mac-address", mac]).code, 0);
    assert_eq!(address("ca"), format!("{} {mac}", at(&subnet, 16)));
    assert!(
        docker
            .ok(&["exec", "ca", "ip", "link", "show", "eth0"])
            .contains(mac)
    );
    assert_eq!(run("cb", &["--ip", &at(&subnet, 99)]).code, 0);
    assert!(address("cb").starts_with(&at(&subnet, 99)));
    for (name, place) in [("cc", 18), ("cd", 19)] {
        assert_eq!(run(name, &[]).code, 0);
        assert!(address(name).starts_with(&at(&subnet, place)), "{name}");
    }
    let full = run("ce", &[]);
    assert!(
        full.stderr.contains("no available IPv4 addresses"),
        "{}",
        full.stderr
    );
    // A chosen address is there again after a restart.
    docker.ok(&["restart", "-t", "0", "cb"]);
    assert!(address("cb").starts_with(&at(&subnet, 99)));
    bench.finish();
}

#[test]
fn names_of_the_users_own_are_in_the_files() {
    with_each_client(&[], |bench| {
        if bench.docker.version.starts_with("28") && bench.engine.differs("the client asks for version 1.44")
        {
            return;
        }
        let docker = &bench.docker;
        let printed = docker.ok(&[
            "run",
            "--rm",
            "-h",
            "ship",
            "--domainname",
            "sea",
            "--add-host",
            "pier:192.0.2.7",
            "--add-host",
            "outside:host-gateway",
            "--dns",
            "192.0.2.53",
            "--dns-search",
            "corp.test",
            "--dns-option",
            "timeout:3",
            "--mac-address",
            "02:42:0a:0b:0c:0e",
            "app",
            "sh",
            "-c",
            "cat /etc/hosts /etc/resolv.conf; hostname; ip link show eth0; ip route",
        ]);
        let own = at(&bench.scratch.subnet(), 1);
        for part in [
            "192.0.2.7\tpier\n",
            &format!("{own}\toutside\n"),
            "\tship.sea ship\n",
            "nameserver 192.0.2.53\n",
            "search corp.test\n",
            "options timeout:3\n",
            "\nship\n",
            "02:42:0a:0b:0c:0e",
            &format!("default via {own}"),
        ] {
            assert!(printed.contains(part), "{part:?} in {printed}");
        }
    });
}

#[test]
fn unused_networks_are_pruned() {
    let bench = Bench::new();
    let docker = &bench.docker;
    make(&bench, "used", 1, &[]);
    make(&bench, "kept", 2, &["--label", "keep=1"]);
    make(&bench, "gone", 3, &[]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "cc",
        "--network",
        "used",
        "app",
        "sleep",
        "1000",
    ]);
    let pruned = docker.ok(&["network", "prune", "-f", "--filter", "label!=keep"]);
    assert_eq!(pruned.lines().collect::<Vec<_>>(), ["Deleted Networks:", "gone"]);
    let listed = |filter: &str| docker.ok(&["network", "ls", "--filter", filter, "--format", "{{.Name}}"]);
    assert_eq!(listed("type=custom"), "kept\nused");
    assert_eq!(listed("type=builtin"), "bridge\nhost\nnone");
    if !bench
        .engine
        .differs("dockerd takes every network of a user for a dangling one")
    {
        assert_eq!(listed("dangling=true"), "kept");
    }
    assert_eq!(listed("label=keep=1"), "kept");
    assert_eq!(listed("name=us"), "used");
    assert_eq!(
        docker.ok(&["ps", "--filter", "network=used", "--format", "{{.Names}}"]),
        "cc"
    );
    bench.finish();
}

#[test]
fn subnets_are_chosen_apart() {
    let bench = Bench::new();
    let docker = &bench.docker;
    for name in ["one", "two"] {
        docker.ok(&["network", "create", name]);
        serve(docker, &format!("web-{name}"), &["--network", name]);
        docker.ok(&[
            "run",
            "-d",
            "--name",
            &format!("user-{name}"),
            "--network",
            name,
            "app",
            "sleep",
            "1000",
        ]);
        reaches(docker, &format!("user-{name}"), &format!("web-{name}"));
    }
    let subnets =
        ["one", "two"].map(|name| inspect(docker, "network", name)["IPAM"]["Config"][0]["Subnet"].clone());
    assert_ne!(subnets[0], subnets[1]);
    bench.finish();
}

#[test]
fn a_network_has_ipv6_when_asked_for() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let subnet = subnet(&bench, 1);
    let parts: Vec<&str> = subnet.split('.').collect();
    let six = format!("fd00:be:{}:{}::/64", parts[1], parts[2]);
    let made = docker.run(&[
        "network", "create", "--ipv6", "--subnet", &subnet, "--subnet", &six, "six",
    ]);
    if !std::path::Path::new("/proc/sys/net/ipv6").exists() {
        assert!(
            made.stderr.contains("the kernel of this host has no IPv6"),
            "{}",
            made.stderr
        );
        return bench.finish();
    }
    assert_eq!(made.code, 0, "{}", made.stderr);
    serve(docker, "web", &["--network", "six"]);
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "user",
        "--network",
        "six",
        "app",
        "sleep",
        "1000",
    ]);
    let address = docker.ok(&[
        "inspect",
        "-f",
        "{{.NetworkSettings.Networks.six.GlobalIPv6Address}}",
        "web",
    ]);
    assert!(address.starts_with(six.trim_end_matches("::/64")), "{address}");
    reaches(docker, "user", &format!("[{address}]"));
    assert!(lookup(docker, "user", "web").contains(&address));
    // A network without it has none.
    docker.ok(&[
        "run",
        "--rm",
        "--name",
        "plain",
        "app",
        "sh",
        "-c",
        "test -z \"$(cat /proc/net/if_inet6 | grep -v ' lo$')\"",
    ]);
    bench.finish();
}
