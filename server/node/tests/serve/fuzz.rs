//! Heads of any bytes: answered or closed, never a failure of the server, and the member goes on.

#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;

use crate::client::{PATIENCE, Server};
use mutate::{Mutator, Naming, rounds};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Heads, each on a connection of its own.
const HEADS: u64 = 3_000;

/// The status of the first answer on a connection that sends some bytes and then nothing more.
fn first_status(address: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may answer and close before it has read all.
    let _ = socket
        .write_all(bytes)
        .and_then(|()| socket.shutdown(std::net::Shutdown::Write));
    let mut first = [0; 12];
    socket.read_exact(&mut first).ok()?;
    assert!(
        first.starts_with(b"HTTP/1.1 ") || first.starts_with(b"HTTP/1.0 "),
        "{}",
        first.escape_ascii()
    );
    str::from_utf8(&first[9..]).unwrap().parse().ok()
}

#[test]
fn heads_of_any_bytes_harm_nobody() {
    let server = Server::start();
    let seeds = [
        "GET /v2/keys/a HTTP/1.1\r\nHost: t\r\n\r\n",
        "PUT /v2/keys/a HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1",
        "PUT /v2/keys/a HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nvalue=1\r\n0\r\n\r\n",
        "GET http://t/v2/keys HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: t\r\n\r\n",
        "GET /version HTTP/1.0\r\n\r\n",
    ];
    let seeds = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b" ",
        b":",
        b"Content-Length: 18446744073709551616\r\n",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"ffffffffffffffff\r\n",
        b"Expect: 100-continue\r\n",
        b"\0",
        b"Upgrade: h2c\r\nConnection: Upgrade\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
    ];
    let mut inputs = Mutator::new("head", seeds, words, 4 << 10);
    let mut statuses: BTreeMap<Option<u16>, u64> = BTreeMap::new();
    let address = server.address();
    for round in 0..rounds(HEADS).min(10 * HEADS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let status = first_status(address, &input);
        assert!(status.is_none_or(|status| status < 500), "{status:?}");
        *statuses.entry(status).or_default() += 1;
    }
    println!("{statuses:?}");
    assert!(statuses.get(&Some(400)).is_some_and(|times| *times > HEADS / 20));
    assert_eq!(server.ask("PUT", "/v2/keys/after", "value=1").status, 201);
}
