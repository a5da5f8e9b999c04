//! Calls in the form of etcd's client: what goes over the wire, and what comes of a round of members.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use berth_sdk::{EtcdClient, KeysCall, MembersError, SdkError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers one request after the other and returns them.
async fn server(answers: Vec<(&'static str, &'static str)>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut text = String::new();
            let mut piece = [0; 4096];
            while !text.contains("\r\n\r\n") {
                let count = stream.read(&mut piece).await.expect("a request");
                text.push_str(&String::from_utf8_lossy(&piece[..count]));
            }
            requests.push(text);
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.expect("an answer");
        }
        requests
    });
    (address, served)
}

fn client(addresses: &[SocketAddr]) -> EtcdClient {
    let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    EtcdClient::from_list(&list.join(",")).expect("a client")
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("an address")
}

const NODE: &str = r#"{"action":"set","node":{"key":"/a","value":"1","modifiedIndex":7,"createdIndex":7}}"#;

#[tokio::test]
async fn a_call_carries_the_user_and_is_shown_before_it_leaves() {
    let (address, served) = server(vec![("201 Created", NODE)]).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&seen);
    let client = client(&[address])
        .with_user("root", "x")
        .with_observer(move |method, url, form| {
            let line = format!("{method} {url} {}", form.unwrap_or_default());
            shown.lock().expect("a list").push(line);
        });
    let call = KeysCall::put("/a b")
        .query("prevExist", false)
        .form("value", "x y");
    let answer = client.send(&call).await.expect("an answer");
    assert_eq!(answer.event.node.modified_index, 7);
    let wanted = format!("PUT http://{address}/v2/keys/a%20b?prevExist=false value=x+y");
    assert_eq!(*seen.lock().expect("a list"), [wanted]);
    let request = served.await.expect("requests").remove(0).to_lowercase();
    assert!(
        request.contains("authorization: basic cm9vddp4"),
        "the credentials are missing: {request}"
    );
}

#[tokio::test]
async fn every_member_that_was_tried_is_reported() {
    let (one, two) = (nobody().await, nobody().await);
    let failures = client(&[one, two])
        .send(&KeysCall::get("/a", false, false, false))
        .await
        .expect_err("nobody listens");
    assert_eq!(failures.errors().len(), 2);
    assert!(failures.refusal().is_none());
    assert!(matches!(failures.into_error(), SdkError::NoEndpoint(texts) if texts.len() == 2));
}

#[tokio::test]
async fn a_refusal_is_final() {
    let body = r#"{"errorCode":105,"message":"Key already exists","cause":"/a","index":9}"#;
    let (address, _served) = server(vec![("412 Precondition Failed", body)]).await;
    let failures = client(&[address, nobody().await])
        .send(&KeysCall::put("/a").query("prevExist", false))
        .await
        .expect_err("a refusal");
    assert_eq!(failures.refusal().and_then(SdkError::store_code), Some(105));
    assert_eq!(failures.errors().len(), 1);
}

#[tokio::test]
async fn members_are_read_and_their_refusals_too() {
    let list =
        r#"{"members":[{"id":"a1","name":"one","peerURLs":["http://p:1"],"clientURLs":["http://c:1"]}]}"#;
    let refusal = r#"{"message":"No such member: zz"}"#;
    let (address, served) = server(vec![("200 OK", list), ("404 Not Found", refusal)]).await;
    let client = client(&[address]);
    let members = client.members().await.expect("members");
    assert_eq!(
        (members.len(), members[0].client_urls[0].as_str()),
        (1, "http://c:1")
    );
    let refused = client.remove_member("z/z").await.expect_err("a refusal");
    assert!(
        matches!(&refused, MembersError::Refused { status: 404, message } if message.contains("zz")),
        "{refused}"
    );
    let requests = served.await.expect("requests");
    assert!(
        requests[1].starts_with("DELETE /v2/members/z%2Fz "),
        "{}",
        requests[1]
    );
}

#[tokio::test]
async fn health_is_a_word_or_a_truth_value() {
    let answers = vec![
        ("200 OK", r#"{"health": "true"}"#),
        ("200 OK", r#"{"health":true}"#),
        ("503 Service Unavailable", r#"{"health":"false"}"#),
        ("200 OK", "fine"),
    ];
    let (address, _served) = server(answers).await;
    let client = client(&[address]);
    let endpoint = client.endpoints().next().expect("an endpoint").clone();
    assert!(client.health(&endpoint).await.expect("a word"));
    assert!(client.health(&endpoint).await.expect("a truth value"));
    assert!(!client.health(&endpoint).await.expect("a word"));
    assert!(client.health(&endpoint).await.is_err());
}
