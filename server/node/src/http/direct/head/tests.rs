//! What is a plain request, and what is not.

use super::{Parsed, parse};

const PUT: &str = "PUT /v2/keys/a/b%20c?prevExist=true HTTP/1.1\r\nHost: x:1\r\ncontent-type:  text/plain \r\n\
                   Content-Length: 7\r\nConnection: Keep-Alive\r\nX-A:\r\n\r\n";

fn verdict(text: &[u8]) -> &'static str {
    match parse(text) {
        Parsed::Whole(_) => "whole",
        Parsed::Part => "part",
        Parsed::Other => "other",
    }
}

#[test]
fn a_plain_request_is_read() {
    let bytes = [PUT.as_bytes(), b"value=xGET /v2"].concat();
    let Parsed::Whole(head) = parse(&bytes) else {
        panic!("{:?}", parse(&bytes));
    };
    assert_eq!(head.method, http::Method::PUT);
    assert_eq!(
        (head.path, head.query),
        ("/v2/keys/a/b%20c", &b"prevExist=true"[..])
    );
    assert_eq!(head.content_type, Some(&b"text/plain"[..]));
    assert_eq!((head.body, head.length), (7, PUT.len()));
}

#[test]
fn every_beginning_of_a_plain_request_is_a_part_of_one() {
    for end in 0..PUT.len() {
        assert_eq!(verdict(&PUT.as_bytes()[..end]), "part", "{end}");
    }
    assert_eq!(verdict(PUT.as_bytes()), "whole");
}

#[test]
fn whatever_else_there_is_in_http_is_not_plain() {
    let with = |header: &str| format!("PUT /v2/keys/a HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n");
    let mut cases: Vec<String> = [
        "Transfer-Encoding: chunked",
        "transfer-encoding:identity",
        "Expect: 100-continue",
        "Upgrade: h2c",
        "Connection: close",
        "Connection: keep-alive, upgrade",
        "Authorization: Basic cm9vdDpyb290",
        "Origin: http://page",
        "Host: x",
        "TE: trailers",
        "Trailer: x",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: ",
        "Content-Length: 0000000001",
        "Content-Length: 0x1",
        "Content-Type: a/b\r\nContent-Type: a/b",
        "Content-Length : 1",
        " folded: 1",
        "\tfolded",
        "no colon",
        ": nothing",
        "X-A: \x01",
        "X-A: \u{e9}",
        "X-A: a\rb",
    ]
    .map(with)
    .to_vec();
    cases.push(with(&["X-A: 1"; 40].join("\r\n")));
    for text in [
        "GET /v2/keys HTTP/1.0\r\nHost: x\r\n\r\n",
        "GET /v2/keys HTTP/1.1\r\n\r\n",
        "GET /v2/keys HTTP/1.1\n\n",
        "GET /v2/keys  HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /v2/keys#x HTTP/1.1\r\n\r\n",
        "GET /v2/keys/\u{e9} HTTP/1.1\r\n\r\n",
        "GET /v2/keys/\" HTTP/1.1\r\n\r\n",
        "GET http://x/v2/keys HTTP/1.1\r\n\r\n",
        "GET /version HTTP/1.1\r\n\r\n",
        "HEAD /v2/keys HTTP/1.1\r\n\r\n",
        "OPTIONS /v2/keys HTTP/1.1\r\n\r\n",
        "get /v2/keys HTTP/1.1\r\n\r\n",
        "\r\nGET /v2/keys HTTP/1.1\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "\x16\x03\x01\x02",
    ] {
        cases.push(text.to_owned());
    }
    for text in cases {
        assert_eq!(verdict(text.as_bytes()), "other", "{text:?}");
    }
}

/// Bytes changed at random: nothing panics, lengths stay inside, and more bytes never make another request of the same.
#[test]
fn damaged_heads_do_no_harm() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    let letters = b"\r\n :?/%\0\xff0aG-\t";
    for _ in 0..50_000 {
        let mut bytes = PUT.as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = letters[random(letters.len())],
                1 => bytes.insert(at, letters[random(letters.len())]),
                _ => drop(bytes.remove(at)),
            }
        }
        let Parsed::Whole(head) = parse(&bytes) else {
            continue;
        };
        assert!(head.length <= bytes.len() && bytes[..head.length].ends_with(b"\r\n\r\n"));
        assert_eq!(verdict(&bytes[..head.length - 1]), "part");
        let longer = [&bytes[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(&longer), Parsed::Whole(head));
    }
}
