//! `berth proxy` and `etcd --proxy`: a gateway in front of three members, of which some end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use berth_harness::{Cluster, Process, Response, Scratch, Stream, quiet_port, request, until};

use crate::{QUICK, berth, turn};

const LIMIT: Duration = Duration::from_secs(30);

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn put(at: SocketAddr, key: &str, form: &str) -> Response {
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    request(at, "PUT", &format!("/v2/keys{key}"), &kind, form.as_bytes()).unwrap()
}

fn endpoints(at: SocketAddr) -> Option<Vec<String>> {
    let answer = request(at, "GET", "/v2/config/local/proxy", &[], b"").ok()?;
    let mut urls: Vec<String> = answer.json()["endpoints"]
        .as_array()?
        .iter()
        .map(|url| url.as_str().unwrap().to_owned())
        .collect();
    urls.sort();
    Some(urls)
}

/// A gateway to these members, which looks at their list often.
fn gateway(scratch: &Scratch, endpoints: &str, more: &[&str]) -> (Process, SocketAddr) {
    let at = local(quiet_port());
    let mut command = berth().command(&["proxy", "--endpoints", endpoints]);
    command
        .args(["--listen-client", &at.to_string()])
        .args(["--refresh-interval", "300", "--failure-wait", "1000"])
        .args(more);
    let mut process = Process::start(&mut command, &scratch.join("gateway.log"));
    until("a gateway", LIMIT, || {
        assert_eq!(process.ended(), None, "{}", process.output());
        self::endpoints(at)
    });
    (process, at)
}

#[test]
fn a_gateway_learns_the_members_streams_watches_and_outlives_members() {
    let _turn = turn();
    let scratch = Scratch::new();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let (mut process, at) = gateway(&scratch, &format!("http://{}", cluster.client(0)), &[]);
    let mut all: Vec<String> = cluster
        .clients()
        .iter()
        .map(|at| format!("http://{at}"))
        .collect();
    all.sort();
    until("all members", LIMIT, || (endpoints(at)? == all).then_some(()));
    let made = put(at, "/k", "value=1");
    assert_eq!(made.status, 201, "{}", made.text());
    assert!(made.header("x-etcd-index").is_some() && made.header("x-raft-term").is_some());
    let read = request(at, "GET", "/v2/keys/k?quorum=true", &[], b"").unwrap();
    assert_eq!(read.json()["node"]["value"], "1");
    let missing = request(at, "GET", "/v2/keys/nope", &[], b"").unwrap();
    assert_eq!(
        (missing.status, missing.json()["errorCode"].as_u64()),
        (404, Some(100))
    );
    // The head of a watch comes before its first event.
    let mut stream = Stream::open(at, "/v2/keys/w?wait=true&stream=true&recursive=true");
    assert_eq!(stream.head.status, 200);
    for value in ["a", "b"] {
        put(at, "/w/x", &format!("value={value}"));
        let event = stream.chunk().unwrap();
        assert!(event.contains(&format!("\"value\":\"{value}\"")), "{event}");
    }
    drop(stream);
    for victim in [1, 0] {
        cluster.kill(victim);
        // Reads go on at once: a member that is gone is passed over.
        let read = request(at, "GET", "/v2/keys/k", &[], b"").unwrap();
        assert_eq!(read.json()["node"]["value"], "1", "{}", read.text());
        if victim == 1 {
            until("a write by the others", LIMIT, || {
                (put(at, "/k2", "value=2").status < 300).then_some(())
            });
        }
    }
    cluster.kill(2);
    until("nobody to be tried", LIMIT, || {
        let answer = request(at, "GET", "/v2/keys/k", &[], b"").unwrap();
        let message = answer.json()["message"].as_str()?.to_owned();
        match answer.status {
            502 => {
                assert!(
                    message.starts_with("proxy: unable to get response from "),
                    "{message}"
                );
                assert!(message.ends_with(" endpoint(s)"), "{message}");
                None
            }
            503 => {
                assert_eq!(message, "proxy: zero endpoints currently available");
                Some(())
            }
            other => panic!("{other}: {message}"),
        }
    });
    for at in 0..3 {
        cluster.restart(at);
    }
    until("the members again", LIMIT, || {
        let read = request(at, "GET", "/v2/keys/k?quorum=true", &[], b"").ok()?;
        (read.status == 200).then_some(())
    });
    assert!(process.stop().success());
}

/// A member that shows what it is sent, and answers with this.
fn upstream(answer: &'static str) -> (SocketAddr, mpsc::Receiver<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (sender, seen) = mpsc::channel();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let Ok(mut socket) = socket else { return };
            let lines = BufReader::new(socket.try_clone().unwrap()).lines();
            let head: Vec<String> = lines
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            // Looks at the list of members are no business of the test.
            if !head.is_empty() && !head[0].contains("/v2/members") && sender.send(head).is_err() {
                return;
            }
            drop(socket.write_all(answer.as_bytes()));
        }
    });
    (at, seen)
}

#[test]
fn headers_are_passed_on_but_for_those_of_a_connection_and_nothing_is_followed() {
    let scratch = Scratch::new();
    let (member, seen) = upstream(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/elsewhere\r\nX-Etcd-Index: 7\r\n\
         Keep-Alive: timeout=1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    );
    let (_process, at) = gateway(&scratch, &format!("http://{member}"), &[]);
    let headers = [
        ("X-Forwarded-For", "10.1.2.3"),
        ("TE", "trailers"),
        ("Proxy-Authorization", "Basic no"),
        ("Authorization", "Basic yes"),
        ("X-Own", "kept"),
    ];
    let answer = request(at, "GET", "/v2/keys/a%20b?wait=false", &headers, b"").unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(answer.header("location"), Some("http://127.0.0.1:1/elsewhere"));
    assert_eq!(answer.header("x-etcd-index"), Some("7"));
    assert_eq!(answer.header("keep-alive"), None);
    let head = seen.recv_timeout(LIMIT).unwrap();
    assert_eq!(head[0], "GET /v2/keys/a%20b?wait=false HTTP/1.1");
    let has = |wanted: &str| head.iter().any(|line| line.eq_ignore_ascii_case(wanted));
    assert!(has("X-Forwarded-For: 10.1.2.3, 127.0.0.1"), "{head:?}");
    assert!(
        has("Authorization: Basic yes") && has("X-Own: kept") && has("Host: test"),
        "{head:?}"
    );
    for gone in ["te:", "proxy-authorization:", "connection:"] {
        assert!(
            head.iter().all(|line| !line.to_lowercase().starts_with(gone)),
            "{head:?}"
        );
    }
}

#[test]
fn a_write_whose_fate_is_unknown_is_not_sent_to_another_member() {
    let scratch = Scratch::new();
    // Both take the request, and hang up without a word.
    let ((one, seen_one), (two, seen_two)) = (upstream(""), upstream(""));
    let (_process, at) = gateway(&scratch, &format!("http://{one},http://{two}"), &[]);
    let answer = put(at, "/k", "value=1");
    assert_eq!(answer.status, 502, "{}", answer.text());
    let count = seen_one.try_iter().count() + seen_two.try_iter().count();
    assert_eq!(count, 1, "the write was sent {count} times");
}

#[test]
fn readonly_lets_gets_through_and_wrong_words_are_refused() {
    let _turn = turn();
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let url = format!("http://{}", cluster.client(1));
    let (_process, at) = gateway(&scratch, &url, &["--read-only"]);
    assert_eq!(put(cluster.client(0), "/k", "value=1").status, 201);
    assert_eq!(
        request(at, "GET", "/v2/keys/k?quorum=true", &[], b"")
            .unwrap()
            .status,
        200
    );
    for method in ["PUT", "POST", "DELETE", "HEAD", "OPTIONS"] {
        let answer = request(at, method, "/v2/keys/k", &[], b"").unwrap();
        assert_eq!((answer.status, answer.body.len()), (501, 0), "{method}");
    }
    for (words, wanted) in [
        (&["--endpoints", "ftp://127.0.0.1:1"][..], "--endpoints"),
        (
            &["--endpoints", "http://127.0.0.1:2379"],
            "it is the gateway itself",
        ),
        (&["--initial-cluster", "nonsense"], "--initial-cluster"),
    ] {
        let refused = berth().run(&[&["proxy"], words].concat());
        assert!(
            refused.code != 0 && refused.stderr.contains(wanted),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn etcds_proxy_finds_members_by_their_peer_urls_and_remembers_them() {
    let _turn = turn();
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let program = scratch.join("etcd");
    symlink(berth().program(), &program).unwrap();
    let at = local(quiet_port());
    let listen = format!("http://{at}");
    let list: Vec<String> = cluster
        .members()
        .iter()
        .map(|member| format!("{}=http://{}", member.name, member.peer))
        .collect();
    let list = list.join(",");
    let start = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(scratch.path()).args(words);
        command.args(["--data-dir", "gw", "--listen-client-urls", &listen]);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCD_")) {
            command.env_remove(name);
        }
        Process::start(&mut command, &scratch.join("etcd.log"))
    };
    let first = ["--proxy", "on", "--initial-cluster", &list];
    // What was found counts at the next start, with other flags or none.
    for words in [
        &first[..],
        &["--proxy", "on", "--initial-cluster", "x=http://127.0.0.1:1"],
        &[],
    ] {
        let mut process = start(words);
        until("the members", LIMIT, || {
            assert_eq!(process.ended(), None, "{}", process.output());
            (endpoints(at)?.len() == 3).then_some(())
        });
        assert!(put(at, "/k", "value=1").status < 300);
        until("the members in a file", LIMIT, || {
            let kept = std::fs::read_to_string(scratch.join("gw/proxy/cluster")).ok()?;
            (kept.starts_with("{\"PeerURLs\":[") && kept.matches("http://").count() == 3).then_some(())
        });
        assert!(process.stop().success());
    }
    let mut process = start(&["--proxy", "sometimes"]);
    assert_eq!(process.wait(LIMIT).code(), Some(2), "{}", process.output());
}
