//! What is too large, too long or too slow.

use crate::client::{PATIENCE, Server};
use std::io::Write;
use std::time::{Duration, Instant};

const FORM: usize = 3 << 19;

#[test]
fn a_form_may_have_a_megabyte_and_a_half() {
    let server = Server::start();
    let mut client = server.client();
    let form = |bytes: usize| format!("value={}", "x".repeat(bytes - 6));
    assert_eq!(client.ask("PUT", "/v2/keys/k", &form(FORM - 1)).status, 201);
    assert_eq!(client.ask("PUT", "/v2/keys/k", &form(FORM)).status, 200);
    let answer = client.ask("PUT", "/v2/keys/k", &form(FORM + 1));
    assert_eq!(
        (answer.status, answer.json()["errorCode"].as_u64()),
        (413, Some(210))
    );
    let index = server
        .ask("GET", "/v2/keys/k", "")
        .header("X-Etcd-Index")
        .unwrap()
        .to_owned();
    assert_eq!(index, "5", "nothing was written");
    let mut chunked = server.client();
    chunked.send(
        b"PUT /v2/keys/k HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\n\
          Transfer-Encoding: chunked\r\n\r\n",
    );
    for _ in 0..7 {
        chunked.send(format!("40000\r\n{}\r\n", "x".repeat(0x40000)).as_bytes());
    }
    chunked.send(b"0\r\n\r\n");
    assert_eq!(chunked.answer(false).status, 413);
    let mut asking = server.client();
    asking.send(
        b"PUT /v2/keys/k HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\n\
          Content-Length: 99999999\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(asking.answer(false).status, 413, "without leave to send it all");
}

#[test]
fn a_target_may_have_eight_kilobytes() {
    let server = Server::start();
    let target = |bytes: usize| {
        let start = "/v2/keys/k?x=";
        format!("{start}{}", "y".repeat(bytes - start.len()))
    };
    assert_eq!(server.ask("GET", &target((8 << 10) - 1), "").status, 404);
    assert_eq!(server.ask("GET", &target(8 << 10), "").status, 404);
    assert_eq!(server.ask("GET", &target((8 << 10) + 1), "").status, 414);
}

#[test]
fn a_head_may_have_forty_kilobytes() {
    let server = Server::start();
    let ask = |bytes: usize| {
        let mut client = server.client();
        let head = format!(
            "GET /v2/keys HTTP/1.1\r\nHost: t\r\nX-Filler: {}\r\n\r\n",
            "y".repeat(bytes)
        );
        client.send(head.as_bytes());
        client.answer(false).status
    };
    assert_eq!(ask(30 << 10), 200);
    assert_eq!(ask(50 << 10), 431);
}

#[test]
fn a_slow_head_is_cut_while_others_are_served() {
    let server = Server::start();
    let begun = Instant::now();
    let mut slow = server.client();
    slow.send(b"GET /v2/keys HTTP/1.1\r\nHost: t\r\nX-Slow: ");
    let mut silent = server.client();
    let mut late = server.client();
    assert_eq!(late.ask("GET", "/v2/keys", "").status, 200);
    late.send(b"GET");
    let dripping = slow.reader.get_ref().try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        let mut socket = dripping;
        while begun.elapsed() < PATIENCE && socket.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    assert!(slow.is_closed_within(PATIENCE));
    let cut = begun.elapsed();
    assert!(
        cut >= Duration::from_millis(4_900) && cut < Duration::from_secs(10),
        "{cut:?}"
    );
    assert!(silent.is_closed_within(PATIENCE) && late.is_closed_within(PATIENCE));
    assert_eq!(server.ask("GET", "/v2/keys", "").status, 200);
    drip.join().unwrap();
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.client();
    client.send(
        b"PUT /v2/keys/a?value=1 HTTP/1.1\r\nHost: t\r\n\r\nGET /v2/keys/a HTTP/1.1\r\nHost: t\r\n\r\n\
          DELETE /v2/keys/a HTTP/1.1\r\nHost: t\r\n\r\nGET /v2/keys/a HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    let statuses: Vec<u16> = (0..4).map(|_| client.answer(false).status).collect();
    assert_eq!(statuses, [201, 200, 200, 404]);
}
