//! What comes to a TLS port and is none, or no whole one.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use berth_harness::Scratch;

use crate::authority::{Authority, Pair};
use crate::member::{Member, PATIENCE, curl, flags, status};

/// Connections that never finish what they began.
const IDLERS: usize = 60;

struct World {
    _scratch: Scratch,
    authority: Authority,
    good: Pair,
    member: Member,
}

fn world() -> World {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let good = authority.good("good", "m0");
    let mut files = Vec::new();
    for before in ["", "peer-"] {
        let name = |name: &str| format!("{before}{name}");
        files.extend(flags(&[
            (&name("cert-file"), &good.cert),
            (&name("key-file"), &good.key),
            (&name("trusted-ca-file"), &authority.pem),
        ]));
        files.push(format!("--{before}client-cert-auth"));
    }
    let member = Member::start(&scratch, "m0", &files);
    World {
        _scratch: scratch,
        authority,
        good,
        member,
    }
}

impl World {
    fn ports(&self) -> [SocketAddr; 2] {
        [self.member.client, self.member.peer]
    }

    fn is_well(&self) {
        for (url, wanted) in [
            (self.member.url("/version"), "200"),
            (self.member.peer_url(), "501"),
        ] {
            let answer = curl(&self.authority.pem, Some(&self.good), &[&url]);
            assert_eq!(status(&answer), wanted, "{answer:?}");
        }
    }
}

fn open(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Everything until the end; a connection that is reset has ended, too.
fn rest(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Err(error) = socket.read_to_end(&mut bytes) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "not cut off");
    }
    bytes
}

#[test]
fn plain_http_is_told_what_is_wrong() {
    let world = world();
    for port in world.ports() {
        for request in [
            "GET /v2/keys HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            format!(
                "PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\nvalue={}",
                "x".repeat(8_994)
            ),
        ] {
            let mut socket = open(port);
            socket.write_all(request.as_bytes()).unwrap();
            let answer = String::from_utf8(rest(socket)).unwrap();
            assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
            assert!(
                answer.ends_with("\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"),
                "{answer}"
            );
        }
        let url = format!("http://{port}/v2/keys");
        assert_eq!(status(&curl(&world.authority.pem, None, &[&url])), "400");
    }
    world.is_well();
}

#[test]
fn slow_and_half_handshakes_end_and_hold_nobody_up() {
    let world = world();
    // The beginning of a hello that says it is longer.
    let half = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for port in world.ports() {
        let start = Instant::now();
        let idlers: Vec<TcpStream> = (0..IDLERS)
            .map(|at| {
                let mut socket = open(port);
                let sent = half.len() * (at % 3) / 2;
                socket.write_all(&half[..sent]).unwrap();
                socket
            })
            .collect();
        world.is_well();
        for idler in idlers {
            assert!(rest(idler).is_empty());
        }
        assert!(start.elapsed() >= Duration::from_secs(4), "they have a fair time");
    }
    world.is_well();
}

#[test]
fn random_bytes_do_no_harm() {
    let world = world();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..60_usize {
        for port in world.ports() {
            let mut bytes: Vec<u8> = (0..random() % 2_000).map(|_| random().to_le_bytes()[0]).collect();
            let head: &[u8] = match round % 4 {
                0 => &[],
                1 => &[0x16, 3, 1],
                2 => &[0x16, 3, 3, 0, 200, 1, 0, 0, 196, 3, 3],
                _ => &[0x15, 3, 3, 0, 2],
            };
            bytes.splice(0..0, head.iter().copied());
            let mut socket = open(port);
            // It may be cut off while it sends.
            drop(socket.write_all(&bytes));
            drop(socket.shutdown(std::net::Shutdown::Write));
            drop(rest(socket));
        }
    }
    world.is_well();
    assert!(!world.member.log().contains("panicked"), "{}", world.member.log());
}
