//! Long polls and streams.

use crate::client::{Client, Server, until};

fn watch(server: &Server, target: &str) -> Client {
    let mut client = server.client();
    client.send(format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes());
    client
}

#[test]
fn a_long_poll_has_its_head_at_once_and_one_event() {
    let server = Server::start();
    server.ask("PUT", "/v2/keys/before", "value=1");
    let mut poll = watch(&server, "/v2/keys/w?wait=true");
    let head = poll.head();
    assert_eq!((head.status, head.header("X-Etcd-Index")), (200, Some("4")));
    server.ask("PUT", "/v2/keys/other", "value=1");
    server.ask("PUT", "/v2/keys/w", "value=seen");
    server.ask("PUT", "/v2/keys/w", "value=unseen");
    let event = poll.event().unwrap();
    assert_eq!(
        (
            event["node"]["value"].as_str(),
            event["node"]["modifiedIndex"].as_u64()
        ),
        (Some("seen"), Some(6))
    );
    assert!(poll.event().is_none());
    let again = poll.ask("GET", "/v2/keys/w", "");
    assert_eq!(again.json()["node"]["value"], "unseen", "the connection goes on");
}

#[test]
fn a_stream_from_the_past_goes_on_with_the_present() {
    let server = Server::start();
    for number in 1..=300 {
        server.ask("PUT", "/v2/keys/k", &format!("value={number}"));
    }
    let mut stream = watch(&server, "/v2/keys/k?wait=true&stream=true&waitIndex=5");
    assert_eq!(stream.head().status, 200);
    server.ask("PUT", "/v2/keys/k", "value=301");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|value| value != "301") {
        seen.push(
            stream.event().unwrap()["node"]["value"]
                .as_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(
        seen,
        (2..=301)
            .map(|number: u32| number.to_string())
            .collect::<Vec<_>>()
    );
}

#[test]
fn recursive_watches_hear_what_is_below() {
    let server = Server::start();
    let mut stream = watch(&server, "/v2/keys/a?wait=true&recursive=true&stream=true");
    stream.head();
    for (method, target, form) in [
        ("PUT", "/v2/keys/ab", "value=1"),
        ("PUT", "/v2/keys/a/_hidden", "value=1"),
        ("PUT", "/v2/keys/a/b/c", "value=1"),
        ("DELETE", "/v2/keys/a?recursive=true", ""),
    ] {
        assert!(server.ask(method, target, form).status < 300);
    }
    assert_eq!(stream.event().unwrap()["node"]["key"], "/a/b/c");
    let removal = stream.event().unwrap();
    assert_eq!(
        (removal["action"].as_str(), removal["node"]["key"].as_str()),
        (Some("delete"), Some("/a"))
    );
}

#[test]
fn history_that_is_gone_is_401_with_the_current_index() {
    let server = Server::start();
    let mut client = server.client();
    for number in 0..1_010 {
        client.ask("PUT", "/v2/keys/many", &format!("value={number}"));
    }
    let answer = client.ask("GET", "/v2/keys/many?wait=true&waitIndex=5", "");
    let body = answer.json();
    assert_eq!(
        (answer.status, body["errorCode"].as_u64(), body["index"].as_u64()),
        (400, Some(401), Some(1_013))
    );
    assert_eq!(body["cause"], "the requested history has been cleared [14/5]");
    let kept = client.ask("GET", "/v2/keys/many?wait=true&waitIndex=14", "");
    assert_eq!(kept.json()["node"]["modifiedIndex"], 14);
}

#[test]
fn a_client_that_leaves_lets_go_of_its_watch() {
    let server = Server::start();
    let watchers = |server: &Server| server.ask("GET", "/v2/stats/store", "").json()["watchers"].as_u64();
    let polls: Vec<Client> = (0..10)
        .map(|number| {
            let mut poll = watch(&server, &format!("/v2/keys/quiet{number}?wait=true"));
            poll.head();
            poll
        })
        .collect();
    assert_eq!(watchers(&server), Some(10));
    drop(polls);
    until("the end of the watches", || {
        (watchers(&server) == Some(0)).then_some(())
    });
}

#[test]
fn a_stream_that_nobody_reads_is_ended() {
    let server = Server::start();
    let mut stream = watch(&server, "/v2/keys/big?wait=true&stream=true");
    stream.head();
    let form = format!("value={}", "x".repeat(1 << 20));
    let mut client = server.client();
    // The sockets take a few of these, the buffer 128; the watch must be gone soon after.
    let ended = (0..200).any(|_| {
        client.ask("PUT", "/v2/keys/big", &form);
        client.ask("GET", "/v2/stats/store", "").json()["watchers"] == 0
    });
    assert!(ended, "the watch is still open");
    let mut last = 0;
    while let Some(event) = stream.event() {
        let index = event["node"]["modifiedIndex"].as_u64().unwrap();
        assert!(last == 0 || index == last + 1, "{index} follows {last}");
        last = index;
    }
    assert!(last > 0);
}

#[test]
fn requests_may_be_sent_ahead_around_a_watch() {
    let server = Server::start();
    let mut client = server.client();
    client.send(
        b"PUT /v2/keys/a?value=1 HTTP/1.1\r\nHost: t\r\n\r\nGET /v2/keys/w?wait=true HTTP/1.1\r\nHost: t\r\n\r\n\
          GET /v2/keys/a HTTP/1.1\r\nHost: t\r\n\r\nGET /v2/ke",
    );
    assert_eq!(client.answer(false).status, 201);
    assert_eq!(client.head().status, 200);
    client.send(b"ys/none HTTP/1.1\r\nHost: t\r\n\r\n");
    server.ask("PUT", "/v2/keys/w", "value=1");
    assert_eq!(client.event().unwrap()["node"]["key"], "/w");
    assert!(client.event().is_none());
    assert_eq!(client.answer(false).json()["node"]["value"], "1");
    assert_eq!(client.answer(false).status, 404);
}

#[test]
fn watches_work_for_old_clients_and_with_bodies() {
    let server = Server::start();
    for request in [
        "GET /v2/keys/w?wait=true HTTP/1.0\r\n\r\n",
        "GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
        "GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc",
    ] {
        let mut client = server.client();
        client.send(request.as_bytes());
        let head = client.head();
        assert_eq!(head.status, 200, "{request}");
        server.ask("PUT", "/v2/keys/w", "value=1");
        if head.header("Transfer-Encoding").is_some() {
            assert_eq!(client.event().unwrap()["node"]["key"], "/w", "{request}");
            assert!(client.event().is_none());
        } else {
            let mut rest = String::new();
            std::io::Read::read_to_string(&mut client.reader, &mut rest).unwrap();
            assert!(
                rest.starts_with("{\"action\":\"set\"") && rest.ends_with("}\n"),
                "{rest}"
            );
        }
    }
}
