//! Both clients against servers that say what a test wants them to say.

use std::net::SocketAddr;

use berth_sdk::{
    AttachStreams, Endpoint, EngineClient, EtcdClient, GetOptions, ImportOptions, LogsOptions, SdkError,
    SetOptions, WaitCondition, WatchOptions,
};
use berth_wire::docker::{Stream, encode_frame};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Answers one connection after the other with these texts and returns the requests.
async fn server(answers: Vec<Vec<u8>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let served = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut stream = BufReader::new(stream);
            requests.push(request(&mut stream).await);
            stream.write_all(&answer).await.expect("an answer");
            stream.shutdown().await.expect("an end");
        }
        requests
    });
    (address, served)
}

/// The head and the body of a request; chunks are joined.
async fn request(stream: &mut BufReader<TcpStream>) -> String {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(
            stream.read_line(&mut head).await.expect("a line") > 0,
            "cut off: {head}"
        );
    }
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = Vec::new();
    if let Some(length) = length {
        body.resize(length.parse().expect("a number"), 0);
        stream.read_exact(&mut body).await.expect("a body");
    } else if lower.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).await.expect("a size");
            let size = usize::from_str_radix(size.trim(), 16).expect("hexadecimal digits");
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.expect("a chunk");
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    format!(
        "{}\n{}",
        head.lines().next().unwrap_or_default(),
        String::from_utf8_lossy(&body)
    )
}

fn answer(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nX-Etcd-Index: 7\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const HELLO: &str =
    r#"{"action":"get","node":{"key":"/m","value":"Hello","modifiedIndex":4,"createdIndex":4}}"#;

#[tokio::test]
async fn a_value_is_read_and_written() {
    let (address, served) = server(vec![answer("200 OK", HELLO), answer("201 Created", HELLO)]).await;
    let client = EtcdClient::from_list(&address.to_string()).expect("a client");
    let seen = client.get("/m", GetOptions::default()).await.expect("an answer");
    assert_eq!((seen.event.node.value.as_deref(), seen.index), (Some("Hello"), 7));
    assert_eq!(seen.document, HELLO);
    let options = SetOptions {
        ttl: Some(5),
        prev_exist: Some(false),
        ..SetOptions::default()
    };
    client.set("/a b", "x&y", &options).await.expect("an answer");
    let requests = served.await.expect("requests");
    assert_eq!(requests[0], "GET /v2/keys/m?sorted=true HTTP/1.1\n");
    assert_eq!(
        requests[1],
        "PUT /v2/keys/a%20b?prevExist=false HTTP/1.1\nttl=5&value=x%26y"
    );
}

#[tokio::test]
async fn a_refusal_carries_the_number_of_the_store() {
    let body = r#"{"errorCode":100,"message":"Key not found","cause":"/nope","index":3}"#;
    let (address, _served) = server(vec![answer("404 Not Found", body)]).await;
    let client = EtcdClient::from_list(&address.to_string()).expect("a client");
    let error = client
        .get("/nope", GetOptions::default())
        .await
        .expect_err("a refusal");
    assert_eq!(error.store_code(), Some(100));
    assert_eq!(error.to_string(), "100: Key not found (/nope) [3]");
}

#[tokio::test]
async fn the_next_member_answers_for_one_that_is_down() {
    let down = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = down.local_addr().expect("an address");
    drop(down);
    let (address, _served) = server(vec![answer("200 OK", HELLO)]).await;
    let client = EtcdClient::from_list(&format!("{nobody},{address}")).expect("a client");
    client
        .get("/m", GetOptions::default())
        .await
        .expect("the second one's answer");
    let alone = EtcdClient::from_list(&nobody.to_string()).expect("a client");
    let error = alone.get("/m", GetOptions::default()).await.expect_err("nobody");
    assert!(
        error.is_connection() && error.to_string().contains(&nobody.to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_write_is_not_sent_twice() {
    // The first member takes the write and says nothing: it may have been carried out.
    let (silent, _first) = server(vec![Vec::new()]).await;
    let (second, _second) = server(vec![answer("200 OK", HELLO)]).await;
    let client = EtcdClient::from_list(&format!("{silent},{second}")).expect("a client");
    let error = client
        .set("/m", "x", &SetOptions::default())
        .await
        .expect_err("an unknown fate");
    assert!(matches!(error, SdkError::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn an_empty_answer_of_a_watch_is_asked_again() {
    let (address, served) = server(vec![answer("200 OK", ""), answer("200 OK", HELLO)]).await;
    let client = EtcdClient::from_list(&address.to_string()).expect("a client");
    let options = WatchOptions {
        recursive: true,
        wait_index: Some(4),
    };
    let seen = client.watch("/m", options).await.expect("an event");
    assert_eq!(seen.event.node.modified_index, 4);
    let requests = served.await.expect("requests");
    assert_eq!(
        requests,
        ["GET /v2/keys/m?recursive=true&wait=true&waitIndex=4 HTTP/1.1\n"; 2]
    );
}

fn engine(address: SocketAddr) -> EngineClient {
    EngineClient::new(Endpoint::parse(&address.to_string(), None).expect("an address"))
}

#[tokio::test]
async fn a_refusal_of_the_engine_carries_its_words() {
    let (address, _served) = server(vec![
        answer("404 Not Found", r#"{"message":"No such container: web"}"#),
        answer("400 Bad Request", "client version 1.11 is too old\n"),
        answer("304 Not Modified", ""),
    ])
    .await;
    let error = engine(address).inspect("web").await.expect_err("a refusal");
    assert_eq!(
        (error.engine_status(), error.to_string().as_str()),
        (Some(404), "No such container: web")
    );
    let error = engine(address).version().await.expect_err("a refusal");
    assert_eq!(error.to_string(), "client version 1.11 is too old");
    engine(address).start("web").await.expect("it runs already");
}

#[tokio::test]
async fn an_archive_is_sent_and_its_failure_is_told() {
    let (address, served) = server(vec![
        answer("200 OK", "{\"status\":\"sha256:12\"}\r\n"),
        answer(
            "200 OK",
            "{\"status\":\"half\"}\r\n{\"errorDetail\":{\"message\":\"m\"},\"error\":\"no tar\"}\r\n",
        ),
    ])
    .await;
    let options = ImportOptions {
        reference: Some("app:1".to_owned()),
        changes: vec!["CMD a b".to_owned()],
        message: None,
    };
    let id = engine(address)
        .import(&b"archive"[..], &options)
        .await
        .expect("an id");
    assert_eq!(id, "sha256:12");
    let error = engine(address).import(&b"x"[..], &ImportOptions::default()).await;
    assert_eq!(error.expect_err("a failure").to_string(), "no tar");
    let requests = served.await.expect("requests");
    assert_eq!(
        requests[0],
        "POST /v1.44/images/create?fromSrc=-&repo=app%3A1&changes=CMD%20a%20b HTTP/1.1\narchive"
    );
}

#[tokio::test]
async fn logs_are_cut_into_frames() {
    let mut body = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    encode_frame(Stream::Stdout, b"out\n", &mut body);
    encode_frame(Stream::Stderr, b"err\n", &mut body);
    let (address, _served) = server(vec![body]).await;
    let mut frames = engine(address)
        .logs("web", &LogsOptions::default())
        .await
        .expect("logs");
    let first = frames.next().await.expect("bytes").expect("a frame");
    let second = frames.next().await.expect("bytes").expect("a frame");
    assert_eq!(
        (first.stream, first.payload.as_slice()),
        (Stream::Stdout, &b"out\n"[..])
    );
    assert_eq!(
        (second.stream, second.payload.as_slice()),
        (Stream::Stderr, &b"err\n"[..])
    );
    assert!(frames.next().await.expect("the end").is_none());
}

#[tokio::test]
async fn a_wait_gives_the_exit_code() {
    let (address, _served) = server(vec![answer("200 OK", r#"{"StatusCode":3}"#)]).await;
    let wait = engine(address)
        .wait("web", WaitCondition::NextExit)
        .await
        .expect("a wait");
    assert_eq!(wait.code().await.expect("a code"), 3);
}

#[tokio::test]
async fn input_goes_to_the_container_and_output_comes_after_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let container = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = BufReader::new(stream);
        request(&mut stream).await;
        let head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
        stream.write_all(head).await.expect("a head");
        let mut input = Vec::new();
        stream
            .read_to_end(&mut input)
            .await
            .expect("input up to the half close");
        let mut output = Vec::new();
        encode_frame(Stream::Stdout, &input, &mut output);
        stream.write_all(&output).await.expect("output");
    });
    let streams = AttachStreams {
        stdin: true,
        stdout: true,
        stderr: true,
    };
    let mut attached = engine(address)
        .attach("web", streams, None)
        .await
        .expect("an attach");
    let mut input = attached.take_input().expect("the input");
    input.write_all(b"piped").await.expect("a write");
    input.shutdown().await.expect("a half close");
    let frame = attached.next().await.expect("output").expect("a frame");
    assert_eq!(frame.payload, b"piped");
    assert!(attached.next().await.expect("the end").is_none());
    container.await.expect("a container");
}
