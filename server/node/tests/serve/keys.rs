//! Reads and writes of keys.

use crate::client::{Server, until};
use std::time::{Duration, Instant};

#[test]
fn a_key_is_set_read_changed_and_deleted() {
    let server = Server::start();
    let mut client = server.client();
    let answer = client.ask("GET", "/v2/keys", "");
    assert_eq!(answer.body, "{\"action\":\"get\",\"node\":{\"dir\":true}}\n");
    assert_eq!(answer.header("X-Etcd-Index"), Some("3"));
    let answer = client.ask("PUT", "/v2/keys/message", "value=Hello");
    assert_eq!(answer.status, 201);
    assert_eq!(
        answer.body,
        "{\"action\":\"set\",\"node\":{\"key\":\"/message\",\"value\":\"Hello\",\"modifiedIndex\":4,\"createdIndex\":4}}\n"
    );
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("X-Etcd-Index", "4"),
        ("X-Raft-Term", "1"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert!(answer.header("X-Raft-Index").unwrap().parse::<u64>().unwrap() >= 4);
    assert!(u64::from_str_radix(answer.header("X-Etcd-Cluster-Id").unwrap(), 16).is_ok());
    let answer = client.ask("GET", "/v2/keys/message", "");
    assert_eq!(
        (answer.status, answer.json()["node"]["value"].as_str()),
        (200, Some("Hello"))
    );
    let answer = client.ask("GET", "/v2/keys/message?quorum=true", "");
    assert_eq!(answer.json()["node"]["value"], "Hello");
    let answer = client.ask("PUT", "/v2/keys/message?prevValue=Hello", "value=World");
    assert_eq!(
        (answer.status, answer.json()["action"].as_str()),
        (200, Some("compareAndSwap"))
    );
    let answer = client.ask("PUT", "/v2/keys/message?prevIndex=4", "value=x");
    assert_eq!(answer.status, 412);
    assert_eq!(
        answer.body,
        "{\"errorCode\":101,\"message\":\"Compare failed\",\"cause\":\"[4 != 5]\",\"index\":5}\n"
    );
    assert_eq!(answer.header("X-Raft-Index"), None);
    assert_eq!(client.ask("DELETE", "/v2/keys/message", "").status, 200);
    let answer = client.ask("GET", "/v2/keys/message", "");
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.body,
        "{\"errorCode\":100,\"message\":\"Key not found\",\"cause\":\"/message\",\"index\":6}\n"
    );
    assert_eq!(answer.header("X-Etcd-Index"), Some("6"));
    server.stop();
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start();
    let mut client = server.client();
    for status in [404, 200] {
        let whole = client.ask("GET", "/v2/keys/k", "");
        let head = client.ask("HEAD", "/v2/keys/k", "");
        assert_eq!((head.status, whole.status), (status, status));
        assert_eq!(
            head.header("Content-Length"),
            Some(whole.body.len().to_string().as_str())
        );
        assert_eq!(head.header("X-Etcd-Index"), whole.header("X-Etcd-Index"));
        client.ask("PUT", "/v2/keys/k", "value=1");
    }
}

#[test]
fn in_order_keys_are_named_by_the_index_also_by_many_at_once() {
    let server = Server::start();
    let answer = server.ask("POST", "/v2/keys/queue", "value=a");
    assert_eq!(
        (answer.status, answer.json()["node"]["key"].as_str()),
        (201, Some("/queue/00000000000000000004"))
    );
    std::thread::scope(|scope| {
        for number in 0..32 {
            let server = &server;
            scope.spawn(move || server.ask("POST", "/v2/keys/queue", &format!("value={number}")));
        }
    });
    let listed = server.ask("GET", "/v2/keys/queue?sorted=true", "").json();
    let keys: Vec<String> = listed["node"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["key"].as_str().unwrap().to_owned())
        .collect();
    let expected: Vec<String> = (4..37).map(|index| format!("/queue/{index:020}")).collect();
    assert_eq!(keys, expected);
}

#[test]
fn of_concurrent_swaps_one_wins() {
    let server = Server::start();
    server.ask("PUT", "/v2/keys/k", "value=0");
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..16)
            .map(|number| {
                let server = &server;
                scope.spawn(move || {
                    server
                        .ask("PUT", "/v2/keys/k?prevIndex=4", &format!("value={number}"))
                        .status
                })
            })
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(
        statuses.iter().filter(|status| **status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|status| **status == 412).count(),
        15,
        "{statuses:?}"
    );
}

#[test]
fn a_key_ends_by_its_ttl_and_not_before() {
    let server = Server::start();
    let begun = Instant::now();
    let set = server.ask("PUT", "/v2/keys/t", "value=x&ttl=1").json();
    assert_eq!(set["node"]["ttl"], 1);
    let got = server.ask("GET", "/v2/keys/t", "").json();
    assert_eq!(got["node"]["expiration"], set["node"]["expiration"]);
    until("the end of the key", || {
        (server.ask("GET", "/v2/keys/t", "").status == 404).then_some(())
    });
    let lived = begun.elapsed();
    assert!(
        lived >= Duration::from_secs(1) && lived < Duration::from_secs(3),
        "{lived:?}"
    );
    assert_eq!(server.ask("GET", "/v2/stats/store", "").json()["expireCount"], 1);
}

#[test]
fn only_a_form_is_read_and_only_of_writes() {
    let server = Server::start();
    let mut client = server.client();
    client.send(b"PUT /v2/keys/k HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\nvalue=x");
    assert_eq!(client.answer(false).json()["node"]["value"], "");
    client.send(b"PUT /v2/keys/k HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_eq!(client.answer(false).json()["node"]["value"], "");
    client.send(
        b"PUT /v2/keys/k HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded; =\r\nContent-Length: 7\r\n\r\nvalue=x",
    );
    let refused = client.answer(false);
    assert_eq!(
        (refused.status, refused.json()["errorCode"].as_u64()),
        (400, Some(210))
    );
    let mut client = server.client();
    client.send(
        b"PUT /v2/keys/k HTTP/1.1\r\nHost: t\r\nContent-Type: APPLICATION/x-www-form-urlencoded; charset=utf-8\r\n\
          Transfer-Encoding: chunked\r\n\r\n6\r\nvalue=\r\n4\r\nab%2\r\n1\r\n0\r\n0\r\n\r\n",
    );
    assert_eq!(client.answer(false).json()["node"]["value"], "ab ");
}

#[test]
fn refresh_and_brief_answers() {
    let server = Server::start();
    server.ask("PUT", "/v2/keys/k", "value=kept&ttl=100");
    let refreshed = server
        .ask("PUT", "/v2/keys/k", "refresh=true&ttl=50&prevExist=true")
        .json();
    assert_eq!(
        (
            refreshed["node"]["value"].as_str(),
            refreshed["node"]["ttl"].as_u64()
        ),
        (Some("kept"), Some(50))
    );
    let answer = server.ask("PUT", "/v2/keys/new", "value=1&noValueOnSuccess=true");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (201, "{\"action\":\"set\"}\n")
    );
}
