//! Bytes: out of containers into their logs and back, and through published ports.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use berth_harness::{Process, Scratch, request_unix_within};
use nix::sched::{CloneFlags, setns, unshare};

use crate::containers::{Daemon, dockerd};
use crate::figures::table;

/// Bytes that a container writes.
const WRITTEN: usize = 32 << 20;
/// A line of what it writes, without its end.
const LINE: &str = "a line of a log as programs write them: time, level, place, and what has happened to it";
/// Bytes through a port.
const SENT: usize = 1 << 30;
/// What a program hands to the kernel at a time.
const PIECE: usize = 256 << 10;
/// Longest wait for any of it.
const PATIENCE: Duration = Duration::from_secs(60);

#[allow(clippy::cast_precision_loss, reason = "a figure to print")]
fn megabytes_per_second(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

/// MB/s of a container that writes as fast as it can, and of reading all of it back.
fn logs(daemon: &Daemon) -> anyhow::Result<[f64; 2]> {
    let script = format!("busybox yes '{LINE}' | head -c {WRITTEN}");
    let begun = Instant::now();
    let id = daemon.start(&["sh", "-c", &script], "")?;
    daemon.ask_long("POST", &format!("/v1.41/containers/{id}/wait"), "", 200)?;
    let written = begun.elapsed();
    let begun = Instant::now();
    let target = format!("/v1.41/containers/{id}/logs?stdout=1");
    let answer = request_unix_within(&daemon.socket, "GET", &target, &[], b"", PATIENCE)?;
    let read = begun.elapsed();
    // Each piece has a header of 8 bytes that ends in its length.
    let (mut rest, mut kept) = (answer.body.as_slice(), 0);
    while let Some((header, body)) = rest.split_at_checked(8) {
        let length = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let length = usize::try_from(length)?;
        kept += length;
        rest = body.get(length..).context("a piece of the log is cut")?;
    }
    ensure!(
        kept == WRITTEN,
        "{}: {kept} of {WRITTEN} bytes are in the log",
        daemon.name
    );
    daemon.remove(&id)?;
    Ok([
        megabytes_per_second(WRITTEN, written),
        megabytes_per_second(WRITTEN, read),
    ])
}

/// MB/s from inside of a container to a client at its published port. Both ends are this program's, so that the way
/// between them is what is measured.
fn port(daemon: &Daemon) -> anyhow::Result<f64> {
    let binding = r#","PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"0"}]}"#;
    let id = daemon.start(&["sleep", "1000"], binding)?;
    let found = daemon.ask_long("GET", &format!("/v1.41/containers/{id}/json"), "", 200)?;
    let port = found["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].as_str();
    let port: u16 = port.context("no port")?.parse()?;
    let inside = format!("/proc/{}/ns/net", found["State"]["Pid"]);
    let (ready, listening) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || -> anyhow::Result<()> {
        // Only this thread moves.
        setns(std::fs::File::open(inside)?, CloneFlags::CLONE_NEWNET)?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80))?;
        ready.send(())?;
        let (mut client, _) = listener.accept()?;
        let piece = vec![7; PIECE];
        for _ in 0..SENT / PIECE {
            client.write_all(&piece)?;
        }
        Ok(())
    });
    // Without a server its own error says more.
    if listening.recv_timeout(PATIENCE).is_err() {
        server.join().expect("it does not panic")?;
        anyhow::bail!("no server inside of the container");
    }
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    client.set_read_timeout(Some(PATIENCE))?;
    let (mut piece, mut got, begun) = (vec![0; PIECE], 0, Instant::now());
    loop {
        match client.read(&mut piece)? {
            0 => break,
            count => got += count,
        }
    }
    let time = begun.elapsed();
    server.join().expect("it does not panic")?;
    ensure!(got == SENT, "{}: {got} of {SENT} bytes came", daemon.name);
    daemon.remove(&id)?;
    Ok(megabytes_per_second(SENT, time))
}

/// The same of docker, whose bridge and firewall are in a network namespace that goes with this thread.
fn docker_port(rootfs: &Path) -> anyhow::Result<f64> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status()?;
    ensure!(up.success(), "the loopback interface does not come up");
    let scratch = Scratch::new();
    let flags = ["--userland-proxy=false", "--log-level=error"];
    let (mut process, socket): (Process, _) = dockerd(&scratch, rootfs, &flags)?;
    let daemon = Daemon {
        socket,
        name: "docker, bridge",
        network: "bridge",
    };
    let figure = port(&daemon);
    process.stop();
    figure
}

/// Measures logs of two daemons, and ports of Berth and of a docker of its own.
pub(crate) fn run(berth: &Daemon, docker: &Daemon, bridged: &Daemon, rootfs: &Path) -> anyhow::Result<()> {
    let [ours, theirs] = [logs(berth)?, logs(docker)?];
    let port = port(bridged)?;
    let rootfs = rootfs.to_path_buf();
    let docker_port = std::thread::spawn(move || docker_port(&rootfs)).join();
    let docker_port = docker_port.expect("it does not panic")?;
    let row = |what: &str, ours: f64, theirs: f64| {
        vec![
            what.to_owned(),
            format!("{ours:.0}"),
            format!("{theirs:.0}"),
            format!("{:.2}", ours / theirs),
        ]
    };
    table(
        &["bytes", "Berth MB/s", "docker MB/s", "ratio"],
        &[
            row("a container writes its log as fast as it can", ours[0], theirs[0]),
            row("all of the log is read", ours[1], theirs[1]),
            row(
                "through a published port of 127.0.0.1, docker without its proxy",
                port,
                docker_port,
            ),
        ],
    );
    Ok(())
}
