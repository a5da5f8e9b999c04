//! Random requests in long rows: each is answered, no answer is a failure of the server, and the member goes on.

#[path = "../../../../tests/fuzz/mutate.rs"]
mod mutate;

use crate::client::{Answer, Client, PATIENCE, Server};
use mutate::{Mutator, Naming, Noise, rounds};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Requests made of valid parts. Each is several mutations: of method, path, and some parameters.
const REQUESTS: u64 = 24_000;
/// Heads of any bytes, each on a connection of its own.
const HEADS: u64 = 3_000;
/// Requests sent at a time.
const ROW: u64 = 48;
/// Connections at work.
const CLIENTS: u64 = 3;

/// No bad escape in a path: its answer ends the connection, and with it the row.
const PATHS: &[&str] = &[
    "",
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/d",
    "/d/x",
    "/_h",
    "/_h/x",
    "/q",
    "/%2e%2e",
    "/a/../d",
    "/a//b",
    "/a%2Fb",
    "/caf%C3%A9",
    "/%ff%fe",
    "/...",
    "/a;b",
    "/+",
    "/a%00",
];
const OTHERS: &[&str] = &[
    "/version",
    "/health",
    "/v2/members",
    "/v2/machines",
    "/v2/stats/self",
    "/v2/stats/leader",
    "/v2/stats/store",
    "/metrics",
    "/v2/keysx",
    "/v2",
    "/",
    "/favicon.ico",
    "/v2/members/x",
];
const METHODS: &[&str] = &[
    "GET", "GET", "PUT", "PUT", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH",
];
const NAMES: &[&str] = &[
    "value",
    "value",
    "ttl",
    "dir",
    "prevExist",
    "prevValue",
    "prevIndex",
    "recursive",
    "sorted",
    "quorum",
    "stream",
    "refresh",
    "noValueOnSuccess",
    "waitIndex",
    "unknown",
    "v%61lue",
    "",
];
const VALUES: &[&str] = &[
    "true",
    "false",
    "1",
    "0",
    "",
    "a",
    "b",
    "hello+world",
    "%ff",
    "%00",
    "%",
    "-1",
    "7",
    "100000",
    "9223372036",
    "9223372037",
    "18446744073709551615",
    "18446744073709551616",
    "x;y",
    "%E2%82%AC",
    "t",
    "TRUE",
    "maybe",
];

fn fields(noise: &mut Noise) -> String {
    let fields = (0..noise.below(5)).map(|_| format!("{}={}", noise.pick(NAMES), noise.pick(VALUES)));
    fields.collect::<Vec<_>>().join("&")
}

/// A request, and whether its answer has a head only.
fn compose(noise: &mut Noise) -> (String, bool) {
    let method = *noise.pick(METHODS);
    let path = if noise.once_in(12) {
        (*noise.pick(OTHERS)).to_owned()
    } else {
        format!("/v2/keys{}", noise.pick(PATHS))
    };
    let query = fields(noise);
    // Only a form that is read leaves the connection as it was.
    let odd = ["//", "..", "%2e", "%zz"].iter().any(|part| path.contains(part));
    let takes = path.starts_with("/v2/keys") && !odd && matches!(method, "PUT" | "POST") && !noise.once_in(4);
    let form = if takes { fields(noise) } else { String::new() };
    let kinds = ["", "text/plain; a=\"b", "x"];
    let form_kind = "application/x-www-form-urlencoded";
    let kind = if takes { form_kind } else { *noise.pick(&kinds) };
    let kind = format!("Content-Type: {kind}\r\n");
    let question = if query.is_empty() { "" } else { "?" };
    let length = form.len();
    let request = format!(
        "{method} {path}{question}{query} HTTP/1.1\r\nHost: t\r\n{kind}Content-Length: {length}\r\n\r\n{form}"
    );
    (request, method == "HEAD")
}

/// What may be answered: refusals that are documented, and never a failure of the server.
fn check(answer: &Answer, request: &str) {
    let known = [200, 201, 301, 307, 400, 401, 403, 404, 405, 412, 413, 414, 415];
    assert!(known.contains(&answer.status), "{answer:?} to {request}");
    // Only new members are told in a document whose kind matters.
    assert!(
        answer.status != 415 || request.contains("/v2/members"),
        "{answer:?}"
    );
    let is_json = answer
        .header("Content-Type")
        .is_some_and(|kind| kind.starts_with("application/json"));
    if is_json && !answer.body.is_empty() {
        answer.json();
    }
}

fn send_rows(address: SocketAddr, number: u64) -> BTreeMap<u16, u64> {
    let mut noise = Noise::new(&format!("requests {number}"));
    let mut client = Client::connect(address);
    let mut statuses = BTreeMap::new();
    for _ in 0..rounds(REQUESTS) / CLIENTS / ROW {
        let row: Vec<_> = (0..ROW).map(|_| compose(&mut noise)).collect();
        let bytes: String = row.iter().map(|(request, _)| request.as_str()).collect();
        client.send(bytes.as_bytes());
        for (round, (request, head_only)) in row.iter().enumerate() {
            let _naming = Naming {
                round: round as u64,
                input: request.as_bytes(),
            };
            let answer = client.answer(*head_only);
            check(&answer, request);
            *statuses.entry(answer.status).or_default() += 1;
        }
    }
    statuses
}

#[test]
fn every_request_of_a_long_row_is_answered() {
    let server = Server::start();
    let address = server.address();
    let rows: Vec<_> = (0..CLIENTS)
        .map(|number| std::thread::spawn(move || send_rows(address, number)))
        .collect();
    let mut all: BTreeMap<u16, u64> = BTreeMap::new();
    for row in rows {
        for (status, times) in row.join().unwrap() {
            *all.entry(status).or_default() += times;
        }
    }
    println!("{all:?}");
    for status in [200, 201, 307, 400, 403, 404, 405, 412] {
        assert!(
            all.get(&status).is_some_and(|times| *times > 5) || status == 307,
            "{status} in {all:?}"
        );
    }
    assert_eq!(server.ask("PUT", "/v2/keys/after", "value=1").status, 201);
    let before = server.ask("GET", "/v2/keys/?recursive=true&sorted=true", "").body;
    let dir = server.stop();
    let config = crate::client::config(dir.path());
    let again = Server::start_in(dir, config).unwrap();
    let after = again.ask("GET", "/v2/keys/?recursive=true&sorted=true", "").body;
    // Nothing of it is lost; only what the time to live was is less by now.
    let names = |body: &str| body.matches("\"key\":").count();
    assert!(names(&after) <= names(&before) && names(&after) > 0);
}

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
