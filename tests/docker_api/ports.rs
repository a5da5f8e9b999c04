//! Published ports: every way to ask for them, who reaches them, and what is left of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use berth_harness::{free_port, until};

use crate::{Bench, skipped, with_each_client};

const PATIENCE: Duration = Duration::from_secs(30);

fn get(address: &str) -> String {
    until(&format!("an answer of {address}"), PATIENCE, || {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.contains("hello").then_some(text)
    })
}

fn port_of(bench: &Bench, name: &str, port: &str) -> String {
    let printed = bench.docker.ok(&["port", name, port]);
    printed.lines().next().unwrap().to_owned()
}

const SERVER: [&str; 7] = ["app", "httpd", "-f", "-p", "80", "-h", "/www"];

#[test]
fn every_form_is_reached_from_the_host() {
    with_each_client(&[], |bench| {
        let docker = &bench.docker;
        let fixed = free_port();
        let run = |name: &str, words: &[&str]| {
            docker.ok(&[&["run", "-d", "--name", name], words, &SERVER].concat());
        };
        run("fixed", &["-p", &format!("127.0.0.1:{fixed}:80")]);
        get(&format!("127.0.0.1:{fixed}"));
        assert_eq!(port_of(bench, "fixed", "80"), format!("127.0.0.1:{fixed}"));
        run("random", &["-p", "80", "-p", "90-92"]);
        let random = port_of(bench, "random", "80/tcp");
        let number: u16 = random.strip_prefix("0.0.0.0:").unwrap().parse().unwrap();
        assert!(number >= 1024);
        get(&format!("127.0.0.1:{number}"));
        // All published ports of the container, in order.
        let all = docker.ok(&["port", "random"]);
        for port in ["80/tcp", "90/tcp", "91/tcp", "92/tcp"] {
            assert!(all.contains(port), "{all}");
        }
        run("exposed", &["-P", "--expose", "80", "--expose", "53/udp"]);
        get(&port_of(bench, "exposed", "80/tcp").replace("0.0.0.0", "127.0.0.1"));
        assert!(port_of(bench, "exposed", "53/udp").starts_with("0.0.0.0:"));
        // Another container and the container itself, by an address of the host.
        let gateway = docker.ok(&["inspect", "-f", "{{.NetworkSettings.Gateway}}", "random"]);
        let url = format!("http://{gateway}:{number}/index.html");
        for from in ["exposed", "random"] {
            let text = docker.ok(&[
                "exec", from, "busybox", "timeout", "10", "wget", "-q", "-O", "-", &url,
            ]);
            assert!(text.contains("hello"), "{from}: {text}");
        }
    });
}

/// A socket in the network of a container: no applet of the test image listens to datagrams.
fn socket_inside(bench: &Bench, name: &str, port: u16) -> UdpSocket {
    let pid = bench.docker.ok(&["inspect", "-f", "{{.State.Pid}}", name]);
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
            nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            UdpSocket::bind(("0.0.0.0", port)).unwrap()
        });
        inside.join().unwrap()
    })
}

#[test]
fn datagrams_come_in_and_their_answers_go_back() {
    let bench = Bench::new();
    let docker = &bench.docker;
    docker.ok(&[
        "run",
        "-d",
        "--name",
        "sink",
        "-p",
        "127.0.0.1::7000/udp",
        "app",
        "sleep",
        "1000",
    ]);
    let address = port_of(&bench, "sink", "7000/udp");
    let inside = socket_inside(&bench, "sink", 7000);
    let outside = UdpSocket::bind("127.0.0.1:0").unwrap();
    outside.connect(&address).unwrap();
    for socket in [&inside, &outside] {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut buffer = [0; 16];
    outside.send(b"ping").unwrap();
    let (length, from) = inside.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"ping");
    inside.send_to(b"pong", from).unwrap();
    let length = outside.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"pong");
    drop(inside);
    bench.finish();
}

#[test]
fn a_port_has_one_owner() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let port = free_port();
    let publish = format!("{port}:80");
    docker.ok(&[&["run", "-d", "--name", "one", "-p", &publish], &SERVER[..]].concat());
    let second = docker.run(&[&["run", "-d", "--name", "two", "-p", &publish], &SERVER[..]].concat());
    let message = format!("Bind for 0.0.0.0:{port} failed: port is already allocated");
    assert!(second.stderr.contains(&message), "{}", second.stderr);
    // Nor does a program of the host get it.
    TcpListener::bind(("127.0.0.1", port)).unwrap_err();
    docker.ok(&["rm", "-f", "one"]);
    docker.ok(&["start", "two"]);
    get(&format!("127.0.0.1:{port}"));
    let used = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let number = used.local_addr().unwrap().port();
    let third = docker.run(&["run", "--rm", "-p", &format!("{number}:80"), "app", "true"]);
    // Held by a program and not by a container, dockerd says: address already in use.
    let named = third.stderr.contains(&format!("0.0.0.0:{number}"));
    assert!(named && third.stderr.contains("already"), "{}", third.stderr);
    bench.finish();
}

#[test]
fn ports_outlive_the_engine_and_not_the_container() {
    if skipped("a killed engine") {
        return;
    }
    let mut bench = Bench::new();
    let docker = bench.docker.clone();
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    docker.ok(&[
        &["run", "-d", "--name", "web", "-p", &format!("{port}:80")],
        &SERVER[..],
    ]
    .concat());
    get(&address);
    bench.engine.kill();
    // The kernel leads on.
    get(&address);
    bench.engine.restart();
    get(&address);
    let taken = docker.run(&["run", "--rm", "-p", &format!("{port}:80"), "app", "true"]);
    assert!(
        taken.stderr.contains("port is already allocated"),
        "{}",
        taken.stderr
    );
    docker.ok(&["rm", "-f", "web"]);
    until("the end of the port", PATIENCE, || {
        TcpListener::bind(&address).ok().map(drop)
    });
    bench.finish();
}

#[test]
fn ports_lead_into_a_network_of_users() {
    let bench = Bench::new();
    let docker = &bench.docker;
    let subnet = crate::networks::subnet(&bench, 1);
    docker.ok(&["network", "create", "--subnet", &subnet, "net"]);
    docker.ok(&[
        &["run", "-d", "--name", "web", "--network", "net", "-p", "80"],
        &SERVER[..],
    ]
    .concat());
    let address = port_of(&bench, "web", "80").replace("0.0.0.0", "127.0.0.1");
    get(&address);
    // Left with its network.
    docker.ok(&["network", "disconnect", "net", "web"]);
    assert_eq!(docker.ok(&["port", "web"]), "");
    TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(2)).unwrap_err();
    bench.finish();
}
