//! What goes over the connection itself: bytes are written as they stand, answers are read one after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use berth_harness::{Response, request};

use crate::cases::fits;
use crate::{Member, Program, on_berth, on_both, tell};

/// Longest wait for the next byte.
const PATIENCE: Duration = Duration::from_secs(20);
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

/// One connection. etcd looks at the first bytes of each to tell its protocols apart, so a plain request goes first.
pub(crate) struct Wire(BufReader<TcpStream>);

impl Wire {
    fn cold(member: &Member) -> Self {
        let socket = TcpStream::connect(member.address()).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(socket))
    }

    pub(crate) fn open(member: &Member) -> Self {
        let mut wire = Self::cold(member);
        wire.send("GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(wire.answer("GET").unwrap().status, 200);
        wire
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// The status line and the lines of the head.
    fn head(&mut self) -> Option<(String, Vec<String>)> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                let status = lines.remove(0);
                return Some((status, lines));
            }
            lines.push(line);
        }
    }

    /// The next answer; `None` if the connection is over.
    pub(crate) fn answer(&mut self, method: &str) -> Option<Response> {
        let (status, lines) = self.head()?;
        let status = status.split(' ').nth(1)?.parse().ok()?;
        let headers = lines
            .iter()
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        if method == "HEAD" || matches!(status, 100 | 204 | 304) {
            return Some(response);
        }
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                response.body.extend(chunk);
            }
        } else if let Some(length) = response.header("content-length") {
            let mut body = vec![0; length.parse().ok()?];
            self.0.read_exact(&mut body).ok()?;
            response.body = body;
        } else {
            self.0.read_to_end(&mut response.body).ok()?;
        }
        Some(response)
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.0.read_line(&mut size).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let mut data = vec![0; size + 2];
        self.0.read_exact(&mut data).ok()?;
        data.truncate(size);
        (size > 0).then_some(data)
    }
}

/// Bytes to send on one connection, and the answers in order, each as method of its request and `STATUS BODY`. At the
/// end the connection must be over, or go on.
struct Exchange {
    what: &'static str,
    send: String,
    answers: Vec<(&'static str, &'static str)>,
    ends: bool,
}

fn exchange(
    what: &'static str,
    send: impl Into<String>,
    answers: &[(&'static str, &'static str)],
) -> Exchange {
    Exchange {
        what,
        send: send.into(),
        answers: answers.to_vec(),
        ends: false,
    }
}

fn last(exchange: Exchange) -> Exchange {
    Exchange {
        ends: true,
        ..exchange
    }
}

fn check(member: &Member, exchange: &Exchange) -> Vec<String> {
    let mut wire = Wire::open(member);
    wire.send(&exchange.send);
    let mut wrong = Vec::new();
    for (method, expected) in &exchange.answers {
        let seen = match wire.answer(method) {
            Some(answer) => format!("{} {}", answer.status, answer.text().trim_end()),
            None => "(over)".to_owned(),
        };
        if !fits(expected, seen.trim_end()) {
            wrong.push(format!(
                "{}\n  expected {expected}\n  got      {seen}",
                exchange.what
            ));
        }
    }
    let over = if exchange.ends {
        wire.answer("GET").is_none()
    } else {
        // Writing fails if the connection is over.
        let _ = wire
            .0
            .get_mut()
            .write_all(b"GET /version HTTP/1.1\r\nHost: a\r\n\r\n");
        wire.answer("GET").is_none_or(|answer| answer.status != 200)
    };
    if over != exchange.ends {
        wrong.push(format!("{}\n  the connection is over: {over}", exchange.what));
    }
    wrong
}

fn check_all(exchanges: &[Exchange]) {
    on_both(|member| {
        let wrong: Vec<String> = exchanges
            .iter()
            .flat_map(|exchange| check(member, exchange))
            .collect();
        let count = exchanges.len();
        tell(&format!(
            "{count} exchanges against {}, {} wrong",
            member.name(),
            wrong.len()
        ));
        assert!(wrong.is_empty(), "on {}\n{}", member.name(), wrong.join("\n"));
    });
}

fn put(key: &str, form: &str) -> String {
    let length = form.len();
    format!("PUT /v2/keys/{key} HTTP/1.1\r\nHost: a\r\n{FORM}Content-Length: {length}\r\n\r\n{form}")
}

fn get(target: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")
}

#[test]
fn connections_are_kept_and_pipelined() {
    check_all(&[
        exchange(
            "a write on a kept connection",
            put("a", "value=1"),
            &[("PUT", "201 …\"value\":\"1\"…")],
        ),
        exchange(
            "three requests at once, answered in order",
            [put("p", "value=1"), put("p", "value=2"), get("/v2/keys/p")].concat(),
            &[
                ("PUT", "201 …\"value\":\"1\"…"),
                ("PUT", "200 …\"value\":\"2\"…prevNode…"),
                ("GET", "200 …\"value\":\"2\"…"),
            ],
        ),
        exchange(
            "a hundred requests at once",
            get("/v2/keys/p").repeat(100),
            &[("GET", "200 …\"value\":\"2\"…"); 100],
        ),
        exchange(
            "errors do not end a connection",
            [
                get("/v2/keys/none"),
                get("/nothing"),
                get("/v2/keys/a?recursive=bad"),
                put("", "value=1"),
                get("/v2/keys//a"),
            ]
            .concat(),
            &[
                ("GET", "404 {\"errorCode\":100…"),
                ("GET", "404 404 page not found"),
                ("GET", "400 {\"errorCode\":209…"),
                ("PUT", "400 {\"errorCode\":107…"),
                ("GET", "301 …"),
            ],
        ),
        last(exchange(
            "the client asks for the end",
            "GET /v2/keys/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            &[("GET", "200 …")],
        )),
    ]);
}

#[test]
fn bodies_that_do_not_count_are_passed_over() {
    let behind = get("/v2/keys/none");
    let with_body = |line: &str, body: &str| {
        let length = body.len();
        format!("{line} HTTP/1.1\r\nHost: a\r\n{FORM}Content-Length: {length}\r\n\r\n{body}{behind}")
    };
    let none = ("GET", "404 {\"errorCode\":100…");
    check_all(&[
        exchange(
            "of GET",
            with_body("GET /v2/keys", "recursive=bad"),
            &[("GET", "200 …"), none],
        ),
        exchange(
            "of DELETE",
            with_body("DELETE /v2/keys/x", "recursive=bad"),
            &[("DELETE", "404 …"), none],
        ),
        exchange(
            "of HEAD",
            with_body("HEAD /v2/keys", "recursive=bad"),
            &[("HEAD", "200"), none],
        ),
        exchange(
            "of a redirect",
            with_body("PUT /v2/keys//x", "value=1"),
            &[("PUT", "301"), none],
        ),
        exchange(
            "of a refused method",
            with_body("PATCH /v2/keys/x", "value=1"),
            &[("PATCH", "405 …"), none],
        ),
        exchange(
            "of a route that is none",
            with_body("PUT /nothing", "value=1"),
            &[("PUT", "404 …"), none],
        ),
        exchange(
            "of OPTIONS",
            with_body("OPTIONS /v2/keys/x", "value=1"),
            &[("OPTIONS", "200"), none],
        ),
        exchange(
            "of a wrong form",
            with_body("PUT /v2/keys/x?ttl=bad", "value=%zz"),
            &[("PUT", "400 …"), none],
        ),
    ]);
}

fn chunked(headers: &str, body: &str) -> String {
    format!("PUT /v2/keys/c HTTP/1.1\r\nHost: a\r\n{FORM}Transfer-Encoding: chunked\r\n{headers}\r\n{body}")
}

#[test]
fn bodies_come_in_chunks() {
    check_all(&[
        exchange(
            "in one",
            chunked("", "7\r\nvalue=1\r\n0\r\n\r\n"),
            &[("PUT", "201 …\"value\":\"1\"…")],
        ),
        exchange(
            "in many",
            chunked(
                "",
                "1\r\nv\r\n2\r\nal\r\n3\r\nue=\r\n00A\r\n0123456789\r\n0\r\n\r\n",
            ),
            &[("PUT", "200 …\"value\":\"0123456789\"…")],
        ),
        exchange(
            "with extensions and trailers",
            chunked(
                "Trailer: X-Sum\r\n",
                "7;name=text\r\nvalue=3\r\n0\r\nX-Sum: 1\r\n\r\n",
            ),
            &[("PUT", "200 …\"value\":\"3\"…")],
        ),
        exchange(
            "in none",
            chunked("", "0\r\n\r\n"),
            &[("PUT", "200 …\"value\":\"\"…")],
        ),
        exchange(
            "and the next request with it",
            chunked("", "7\r\nvalue=4\r\n0\r\n\r\n") + &get("/v2/keys/c"),
            &[("PUT", "200 …"), ("GET", "200 …\"value\":\"4\"…")],
        ),
        last(exchange(
            "of no length",
            chunked("", "zz\r\nvalue=1\r\n0\r\n\r\n"),
            &[("PUT", "400 …")],
        )),
    ]);
}

#[test]
fn bodies_have_lengths() {
    let of =
        |length: &str, body: &str| format!("PUT /v2/keys/k HTTP/1.1\r\nHost: a\r\n{FORM}{length}\r\n{body}");
    check_all(&[
        exchange(
            "with leave to send",
            of("Content-Length: 7\r\nExpect: 100-continue\r\n", "value=5"),
            &[("PUT", "100"), ("PUT", "201 …\"value\":\"5\"…")],
        ),
        exchange(
            "no body and no length",
            "PUT /v2/keys/none HTTP/1.1\r\nHost: a\r\n\r\n",
            &[("PUT", "201 …\"value\":\"\"…")],
        ),
        exchange(
            "no body but a form's type",
            of("", ""),
            &[("PUT", "200 …\"value\":\"\"…")],
        ),
        exchange(
            "names in small letters and odd blanks",
            "PUT /v2/keys/t HTTP/1.1\r\nhost:a\r\ncontent-type:   application/x-www-form-urlencoded   \r\n\
             content-length: 7\r\n\r\nvalue=1",
            &[("PUT", "201 …\"value\":\"1\"…")],
        ),
        exchange(
            "zeros in front",
            of("Content-Length: 0000000000007\r\n", "value=6"),
            &[("PUT", "200 …\"6\"…")],
        ),
        last(exchange(
            "a word",
            of("Content-Length: seven\r\n", "value=1"),
            &[("PUT", "400…")],
        )),
        last(exchange(
            "below nothing",
            of("Content-Length: -7\r\n", "value=1"),
            &[("PUT", "400…")],
        )),
        last(exchange(
            "with a sign",
            of("Content-Length: +7\r\n", "value=1"),
            &[("PUT", "400…")],
        )),
        last(exchange(
            "two that differ",
            of("Content-Length: 7\r\nContent-Length: 8\r\n", "value=1x"),
            &[("PUT", "400…")],
        )),
    ]);
}

#[test]
fn the_version_before_is_spoken_too() {
    check_all(&[
        last(exchange(
            "it ends after the answer",
            "GET /v2/keys HTTP/1.0\r\n\r\n",
            &[("GET", "200 {\"action\":\"get\"…")],
        )),
        exchange(
            "unless it asks to be kept",
            "GET /v2/keys HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            &[("GET", "200 {\"action\":\"get\"…")],
        ),
        last(exchange(
            "a write",
            format!("PUT /v2/keys/old HTTP/1.0\r\n{FORM}Content-Length: 7\r\n\r\nvalue=1"),
            &[("PUT", "201 {\"action\":\"set\"…")],
        )),
        last(exchange(
            "a watch, to the end of the connection",
            "GET /v2/keys/old?wait=true&waitIndex=4 HTTP/1.0\r\n\r\n",
            &[("GET", "200 {\"action\":\"set\"…")],
        )),
    ]);
}

#[test]
fn targets_and_methods_of_all_kinds() {
    check_all(&[
        exchange(
            "an absolute target",
            "GET http://elsewhere.example:99/v2/keys?recursive=false HTTP/1.1\r\nHost: a\r\n\r\n",
            &[("GET", "200 {\"action\":\"get\"…")],
        ),
        exchange(
            "a method of one's own",
            "FOO /v2/keys/old HTTP/1.1\r\nHost: a\r\n\r\n",
            &[("FOO", "405 Method Not Allowed")],
        ),
        exchange(
            "a key of four KiB",
            format!("PUT /v2/keys/{} HTTP/1.1\r\nHost: a\r\n\r\n", "k".repeat(4096)),
            &[("PUT", "201 …")],
        ),
        exchange(
            "an asterisk",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            &[("OPTIONS", "200")],
        ),
        last(exchange(
            "a bad escape ends the connection",
            get("/v2/keys/%zz"),
            &[("GET", "400 400 Bad Request")],
        )),
    ]);
}

#[test]
fn what_is_no_request_ends_the_connection() {
    let with = |headers: &str| format!("GET /v2/keys HTTP/1.1\r\n{headers}\r\n");
    let refused = &[("GET", "400…")];
    check_all(&[
        last(exchange(
            "no host",
            with(""),
            &[("GET", "400 400 Bad Request: missing required Host header")],
        )),
        last(exchange(
            "two hosts",
            with("Host: a\r\nHost: a\r\n"),
            &[("GET", "400 400 Bad Request")],
        )),
        exchange("an empty host", with("Host:\r\n"), &[("GET", "200 …")]),
        last(exchange("a word", "hello\r\n\r\n", refused)),
        last(exchange(
            "a header without a colon",
            with("Host: a\r\nnonsense\r\n"),
            refused,
        )),
        last(exchange(
            "a blank before a colon",
            with("Host: a\r\nX : x\r\n"),
            refused,
        )),
        last(exchange("a blank in the target", get("/v2/keys/a b"), refused)),
        last(exchange(
            "a control character in the target",
            get("/v2/keys/a\u{1}b"),
            refused,
        )),
    ]);
}

#[test]
fn connections_go_on_after_a_watch() {
    let wait = "/v2/keys/w?wait=true&waitIndex=4";
    let answers = [
        ("GET", "200 {\"action\":\"set\"…\"value\":\"seen\"…"),
        ("GET", "200 {\"action\":\"get\"…\"value\":\"seen\"…"),
    ];
    check_all(&[
        exchange("a first write", put("w", "value=seen"), &[("PUT", "201 …")]),
        exchange(
            "a watch that history answers, then a read",
            get(wait) + &get("/v2/keys/w"),
            &answers,
        ),
        exchange(
            "a watch with a body",
            format!(
                "GET {wait} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=b{}",
                get("/v2/keys/w")
            ),
            &answers,
        ),
        exchange(
            "a watch with a chunked body",
            format!(
                "GET {wait} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n{}",
                get("/v2/keys/w")
            ),
            &answers,
        ),
        exchange("three watches", get(wait).repeat(3), &[answers[0]; 3]),
    ]);
}

#[test]
fn leave_to_send_is_given_before_the_body() {
    on_both(|member| {
        let mut wire = Wire::open(member);
        wire.send(format!(
            "PUT /v2/keys/k HTTP/1.1\r\nHost: a\r\n{FORM}Content-Length: 7\r\nExpect: 100-continue\r\n\r\n"
        ));
        assert_eq!(wire.answer("PUT").unwrap().status, 100);
        wire.send("value=1");
        assert_eq!(wire.answer("PUT").unwrap().status, 201);
    });
}

#[test]
fn a_body_that_is_cut_is_no_form() {
    on_both(|member| {
        let mut wire = Wire::open(member);
        wire.send(format!(
            "PUT /v2/keys/k HTTP/1.1\r\nHost: a\r\n{FORM}Content-Length: 100\r\n\r\nvalue=1"
        ));
        wire.0.get_mut().shutdown(Shutdown::Write).unwrap();
        // Whether there is still somebody to tell is left to the server; nothing may be written.
        if let Some(answer) = wire.answer("PUT") {
            assert_eq!(answer.status, 400);
            assert!(
                answer.body.is_empty() || answer.text().contains("unexpected EOF"),
                "{}",
                answer.text()
            );
        }
        assert_eq!(member.ask("GET", "/v2/keys/k", "").status, 404);
    });
}

#[test]
fn header_names_are_written_as_by_go() {
    on_both(|member| {
        let mut wire = Wire::open(member);
        let mut look = |request: &str, names: &[&str]| {
            wire.send(request);
            let (status, lines) = wire.head().unwrap();
            assert!(status.starts_with("HTTP/1.1 200 OK"), "{status}");
            for name in names {
                assert!(
                    lines.iter().any(|line| line.starts_with(&format!("{name}: "))),
                    "{name} is missing in {lines:?}"
                );
            }
        };
        let names = [
            "Content-Type",
            "X-Etcd-Cluster-Id",
            "X-Etcd-Index",
            "X-Raft-Index",
            "X-Raft-Term",
            "Date",
        ];
        look(
            "HEAD /v2/keys HTTP/1.1\r\nHost: a\r\n\r\n",
            &[&names[..], &["Content-Length"]].concat(),
        );
        look(
            &get("/v2/keys/k?wait=true"),
            &[&names[..], &["Transfer-Encoding"]].concat(),
        );
    });
}

/// etcd takes 10 MiB. Berth takes 1.5 MiB, and says 413 above.
#[test]
fn the_largest_form_is_exact() {
    on_both(|member| {
        let (limit, status) = match member.program {
            Program::Etcd(_) => (10 << 20, 400),
            Program::Berth(_) => (3 << 19, 413),
        };
        let form = |size: usize| {
            let headers = [("Content-Type", "application/x-www-form-urlencoded")];
            let body = "value=".to_owned() + &"v".repeat(size - 6);
            request(
                member.address(),
                "PUT",
                "/v2/keys/large?noValueOnSuccess=true",
                &headers,
                body.as_bytes(),
            )
        };
        assert_eq!(form(limit - 1).unwrap().status, 201);
        assert_eq!(form(limit).unwrap().status, 200);
        // The server may close before the body has been sent.
        if let Ok(answer) = form(limit + 1) {
            assert_eq!(answer.status, status);
            assert_eq!(answer.json()["errorCode"], 210);
            assert_eq!(answer.json()["cause"], "http: POST too large");
        } else {
            assert!(
                matches!(member.program, Program::Etcd(_)),
                "Berth lets its answer be read"
            );
        }
        let stored = member.ask("GET", "/v2/keys/large", "").json();
        assert_eq!(stored["node"]["value"].as_str().unwrap().len(), limit - 6);
    });
}

/// etcd resets a connection whose first request line is longer than 4 KiB.
#[test]
fn a_long_first_line_is_served() {
    on_berth(|member| {
        let mut wire = Wire::cold(member);
        wire.send(format!(
            "PUT /v2/keys/{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "k".repeat(6000)
        ));
        assert_eq!(wire.answer("PUT").unwrap().status, 201);
        wire.send(get(&format!("/v2/keys/{}", "k".repeat(9000))));
        assert_eq!(wire.answer("GET").unwrap().status, 414);
    });
}
