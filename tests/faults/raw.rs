//! Connections whose bytes are written as they stand, crowds of them, and what the kernel says of a store that has them.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use berth_harness::{Berth, Scratch, Store, until};

use crate::berth;

pub(crate) const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Opens connections that each begin with some bytes.
pub(crate) fn crowd(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut socket = connect(address);
            socket.write_all(bytes).unwrap();
            socket
        })
        .collect()
}

/// Reads up to the end of a head; what follows is left where it is.
pub(crate) fn read_head(socket: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "closed within a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads one whole answer of a known length.
pub(crate) fn read_answer(socket: &mut impl Read) -> String {
    let head = read_head(socket);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.unwrap_or("0").trim().parse().unwrap()];
    socket.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// Whether the server has closed the connection; what it sent before is thrown away.
pub(crate) fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    let closed = loop {
        match socket.read(&mut bytes) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    socket.set_nonblocking(false).unwrap();
    closed
}

/// The resident memory of a process, in KiB.
pub(crate) fn resident(store: &Store) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", store.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The connections that a store holds. A line of the kernel's table without an inode is of a connection that nobody has
/// accepted yet, or that was let go of; no other descriptor of the store counts, and no earlier client. A table that changes
/// while it is read may miss a line or show one twice.
pub(crate) fn connections(store: &Store) -> usize {
    let std::net::IpAddr::V4(ip) = store.address().ip() else {
        panic!("{} is in another table", store.address());
    };
    let ours = format!(
        "{:08X}:{:04X}",
        u32::from_le_bytes(ip.octets()),
        store.address().port()
    );
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let theirs = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, state, ..] = words[..] else {
            return None;
        };
        let held = local == ours && state != "0A" && words.get(9).is_some_and(|inode| *inode != "0");
        held.then_some(remote.to_owned())
    });
    theirs.collect::<BTreeSet<String>>().len()
}

/// Waits until all connections are let go of.
pub(crate) fn expect_released(store: &Store, what: &str, limit: Duration) {
    until(what, limit, || (connections(store) == 0).then_some(()));
}

/// The 99th percentile of writes and reads by one client on one connection.
pub(crate) fn latency(address: SocketAddr) -> Duration {
    let mut socket = connect(address);
    let mut taken: Vec<Duration> = (0..200)
        .map(|number| {
            let text = if number % 2 == 0 {
                "PUT /v2/keys/healthy?value=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n"
            } else {
                "GET /v2/keys/healthy HTTP/1.1\r\nHost: t\r\n\r\n"
            };
            let begun = Instant::now();
            socket.write_all(text.as_bytes()).unwrap();
            let answer = read_answer(&mut socket);
            assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
            begun.elapsed()
        })
        .collect();
    taken.sort();
    taken[taken.len() * 99 / 100]
}

/// A healthy client is served fast; other programs on this machine may spoil a measurement, not several.
pub(crate) fn expect_fast(what: &str, address: SocketAddr) {
    let longest = Duration::from_millis(100);
    let seen = until(what, Duration::from_secs(20), || {
        Some(latency(address)).filter(|seen| *seen < longest)
    });
    println!("{what}: p99 {seen:?}");
}

/// A program that runs berth by way of a shell's line; `$B` is the real one.
pub(crate) fn wrapped(scratch: &Scratch, line: &str) -> Berth {
    use std::os::unix::fs::PermissionsExt as _;
    let path = scratch.join("wrapped");
    let text = format!("#!/bin/sh\nB={}\n{line}\n", berth().program().display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Berth::new(path)
}
