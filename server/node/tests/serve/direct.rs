//! Plain requests have a loop of their own: it answers as hyper does, and a connection may change from one to the other.

use crate::client::{Answer, Client, Server};

/// A header that makes a request none of the plain ones, and changes nothing else.
const NOT_PLAIN: &str = "TE: trailers\r\n";

fn request(method: &str, target: &str, extra: &str, form: &str) -> String {
    let length = form.len();
    format!(
        "{method} {target} HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         {extra}Content-Length: {length}\r\n\r\n{form}"
    )
}

/// The head, but for what differs between any two answers.
fn lasting(answer: &Answer) -> Vec<String> {
    let mut lines: Vec<String> = answer
        .head
        .lines()
        .filter(|line| {
            !["Date: ", "X-Raft-Index: "]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

#[test]
fn both_ways_give_the_same_answers() {
    let requests = [
        ("PUT", "/v2/keys/a", "value=1"),
        ("PUT", "/v2/keys/a?prevExist=false", "value=2"),
        ("PUT", "/v2/keys/a?prevValue=1", "value=2&ttl=100"),
        ("POST", "/v2/keys/queue", "value=%25+x"),
        ("GET", "/v2/keys/a", ""),
        ("GET", "/v2/keys/a?quorum=true", ""),
        ("GET", "/v2/keys/?recursive=true&sorted=true", ""),
        ("GET", "/v2/keys", ""),
        ("GET", "/v2/keys/missing", ""),
        ("GET", "/v2/keys/a%20b%2Fc?recursive=x", ""),
        ("GET", "/v2/keys/a//b", ""),
        ("GET", "/v2/keysx", ""),
        ("PUT", "/v2/keys/a", "value=%zz"),
        ("PUT", "/v2/keys/a/b", "value=1"),
        ("PUT", "/v2/keys/big", &format!("value={}", "x".repeat(20_000))),
        ("DELETE", "/v2/keys/a", ""),
        ("DELETE", "/v2/keys/queue?dir=true", ""),
        ("DELETE", "/v2/keys/queue?recursive=true", ""),
    ]
    .map(|(method, target, form)| (method, target, form.to_owned()));
    let ask = |extra: &str| {
        let server = Server::start();
        let answers = requests.each_ref().map(|(method, target, form)| {
            let mut client = server.client();
            client.send(request(method, target, extra, form).as_bytes());
            let answer = client.answer(false);
            let lines = lasting(&answer).into_iter();
            let own = lines.filter(|line| !line.starts_with("X-Etcd-Cluster-Id: "));
            let body = answer.body.split("\"expiration\"").next().unwrap_or_default();
            (own.collect::<Vec<_>>(), body.to_owned())
        });
        server.stop();
        answers
    };
    let (plain, hyper) = (ask(""), ask(NOT_PLAIN));
    for (request, (plain, hyper)) in requests.iter().zip(plain.into_iter().zip(hyper)) {
        assert_eq!(plain, hyper, "{} {}", request.0, request.1);
    }
}

fn statuses(client: &mut Client, count: usize) -> Vec<u16> {
    (0..count).map(|_| client.answer(false).status).collect()
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    let server = Server::start();
    let mut client = server.client();
    let row: String = [
        request("GET", "/v2/keys/k", "", ""),
        request("PUT", "/v2/keys/k", "", "value=1"),
        request("GET", "/v2/keys/k", "", ""),
        request("PUT", "/v2/keys/k", "", "value=2"),
        request("GET", "/v2/keys/k", NOT_PLAIN, ""),
        request("GET", "/v2/keys/k", "", ""),
    ]
    .concat();
    client.send(row.as_bytes());
    assert_eq!(statuses(&mut client, 6), [404, 201, 200, 200, 200, 200]);
}

#[test]
fn a_request_may_come_in_pieces() {
    let server = Server::start();
    let mut client = server.client();
    let whole = request("PUT", "/v2/keys/k", "", "value=pieces");
    client.reader.get_mut().set_nodelay(true).unwrap();
    for byte in whole.as_bytes().chunks(1) {
        client.send(byte);
    }
    assert_eq!(client.answer(false).json()["node"]["value"], "pieces");
}

#[test]
fn a_connection_goes_on_after_a_long_poll() {
    let server = Server::start();
    let mut client = server.client();
    client.send(request("GET", "/v2/keys/w?wait=true&waitIndex=5", "", "").as_bytes());
    let next = request("GET", "/v2/keys/w", "", "");
    client.send(next.as_bytes());
    assert_eq!(server.ask("PUT", "/v2/keys/w", "value=1").status, 201);
    assert_eq!(server.ask("PUT", "/v2/keys/w", "value=2").status, 200);
    let event = client.answer(false);
    assert!(event.body.contains("\"value\":\"2\""), "{event:?}");
    assert_eq!(client.answer(false).json()["node"]["value"], "2");
}
