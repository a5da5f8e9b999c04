//! Paths, forms and whole requests that nobody meant, held against slow and simple readers of the same.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

use crate::http::direct::head::{self, Head, Parsed};
use crate::http::form::{self, Form, MAX_FIELDS};
use crate::http::keys_parse::{self, Wanted};
use crate::http::keys_render;
use crate::http::path::{self, Path};
use crate::mutate::{Mutator, Naming, ROUNDS, rounds};
use berth_store::{Command, Kind, Put, code};
use http::Method;
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::collections::BTreeMap;

const WORDS: &[&[u8]] = &[
    b"%2F",
    b"%2e%2E",
    b"%00",
    b"%",
    b"%f",
    b"%zz",
    b"/",
    b"//",
    b"/./",
    b"/../",
    b"..",
    b"&",
    b"=",
    b";",
    b"+",
    b"value=",
    b"ttl=",
    b"dir=true",
    b"prevExist=",
    b"prevIndex=",
    b"prevValue=",
    b"refresh=true",
    b"wait=true",
    b"waitIndex=",
    b"recursive=TRUE",
    b"quorum=1",
    b"stream=T",
    b"sorted=f",
    b"noValueOnSuccess=true",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-1",
    b"\xff",
    b"\xc3\xa9",
];

/// Whether each percent sign has its two digits.
fn is_escaped(text: &[u8]) -> bool {
    (0..text.len()).filter(|at| text[*at] == b'%').all(|at| {
        let digits = text.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Go's cleaning of a path, one rewriting at a time.
fn slow_clean(path: &[u8]) -> Vec<u8> {
    let slash = path.ends_with(b"/");
    let mut text = [b"/", path, b"/"].concat();
    loop {
        let spot = |what: &[u8]| text.windows(what.len()).position(|window| window == what);
        if let Some(at) = spot(b"//") {
            text.remove(at);
        } else if let Some(at) = spot(b"/./") {
            text.drain(at..at + 2);
        } else if let Some(at) = spot(b"/../") {
            let parent = text[..at].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            text.drain(parent..at + 3);
        } else {
            break;
        }
    }
    if text.len() > 1 && !slash {
        text.pop();
    }
    text
}

#[test]
fn paths_are_read_as_by_a_slow_reference() {
    let mut inputs = Mutator::new("path", Vec::new(), WORDS, 4 << 10);
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let raw = String::from_utf8_lossy(&input);
        let decoded: Vec<u8> = percent_decode(raw.as_bytes()).collect();
        let clean = slow_clean(&decoded);
        match path::read(&raw) {
            Path::Malformed => assert!(!is_escaped(raw.as_bytes())),
            Path::Clean(path) => {
                assert!(is_escaped(raw.as_bytes()) && clean == decoded);
                assert_eq!(*path, decoded);
            }
            Path::Elsewhere(to) => {
                assert!(is_escaped(raw.as_bytes()) && clean != decoded);
                // Whoever follows is not sent on again, and cannot be led to another line of the head.
                assert!(to.bytes().all(|byte| byte.is_ascii_graphic()));
                assert_eq!(path::read(&to), Path::Clean(Cow::Borrowed(&clean[..])));
            }
        }
    }
}

/// Fields by name, the first of each; or what is wrong, as the first word of the message.
fn slow_form(body: Option<&[u8]>, query: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, &'static str> {
    let mut fields = BTreeMap::new();
    let whole = [body.unwrap_or_default(), b"&", query].concat();
    let parts = whole.split(|byte| *byte == b'&').filter(|part| !part.is_empty());
    for (number, part) in parts.enumerate() {
        if number == MAX_FIELDS {
            return Err("more than");
        }
        if part.contains(&b';') {
            return Err("invalid semicolon");
        }
        if !is_escaped(part) {
            return Err("invalid URL escape");
        }
        let end = part.iter().position(|byte| *byte == b'=').unwrap_or(part.len());
        let read = |text: &[u8]| {
            let spaced: Vec<u8> = text
                .iter()
                .map(|byte| if *byte == b'+' { b' ' } else { *byte })
                .collect();
            percent_decode(&spaced).collect::<Vec<u8>>()
        };
        let value = part.get(end + 1..).unwrap_or_default();
        fields.entry(read(&part[..end])).or_insert_with(|| read(value));
    }
    Ok(fields)
}

fn named<'a>(form: &'a Form<'_>) -> [(&'static str, &'a Option<Cow<'a, [u8]>>); 14] {
    [
        ("value", &form.value),
        ("ttl", &form.ttl),
        ("dir", &form.dir),
        ("prevExist", &form.prev_exist),
        ("prevValue", &form.prev_value),
        ("prevIndex", &form.prev_index),
        ("recursive", &form.recursive),
        ("sorted", &form.sorted),
        ("quorum", &form.quorum),
        ("wait", &form.wait),
        ("waitIndex", &form.wait_index),
        ("stream", &form.stream),
        ("refresh", &form.refresh),
        ("noValueOnSuccess", &form.no_value_on_success),
    ]
}

#[test]
fn forms_are_read_as_by_a_slow_reference() {
    let mut inputs = Mutator::new("form", Vec::new(), WORDS, 4 << 10);
    let mut good = 0;
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let cut = inputs.noise.below(input.len() + 1);
        let (body, query) = input.split_at(cut);
        let body = Some(body).filter(|_| !inputs.noise.once_in(4));
        match (form::read(body, query), slow_form(body, query)) {
            (Ok(form), Ok(fields)) => {
                good += 1;
                for (name, value) in named(&form) {
                    assert_eq!(
                        value.as_deref(),
                        fields.get(name.as_bytes()).map(Vec::as_slice),
                        "{name}"
                    );
                }
            }
            (Err(said), Err(expected)) => assert!(said.starts_with(expected), "{said}"),
            (read, expected) => panic!("{read:?}, not {expected:?}"),
        }
    }
    assert!(good > rounds(ROUNDS) / 5, "only {good} were right");
}

#[test]
fn fields_have_a_limit() {
    let fields = |count: usize| vec!["x=y"; count].join("&");
    for (body, query, fits) in [
        (MAX_FIELDS - 1, 0, true),
        (MAX_FIELDS, 0, true),
        (MAX_FIELDS + 1, 0, false),
        (MAX_FIELDS - 1, 1, true),
        (MAX_FIELDS - 1, 2, false),
        (0, MAX_FIELDS + 1, false),
    ] {
        let (form, target) = (fields(body), fields(query));
        let read = form::read(Some(form.as_bytes()), target.as_bytes());
        assert_eq!(read.is_ok(), fits, "{body} and {query}");
    }
    assert!(
        form::read(Some(&[b'&'; 5_000]), b"").is_ok(),
        "nothing is no field"
    );
}

/// What a kind writes, if it writes.
fn put_of(kind: &Kind) -> Option<&Put> {
    match kind {
        Kind::Set(put)
        | Kind::Create(put)
        | Kind::Update(put)
        | Kind::CompareAndSwap(put, _)
        | Kind::CreateInOrder(put) => Some(put),
        Kind::Delete { .. } | Kind::CompareAndDelete { .. } | Kind::Tick | Kind::Bump | Kind::Auth(_) => None,
    }
}

/// What was understood has to say the same as the fields, and has to come back from the log.
fn check_write(kind: &Kind, fields: &BTreeMap<Vec<u8>, Vec<u8>>) {
    let command = Command::from(kind.clone());
    assert_eq!(Command::decode(&command.encode()).unwrap(), command);
    let text = |name: &str| fields.get(name.as_bytes()).map(Vec::as_slice);
    let yes = |name: &str| {
        let words: [&[u8]; 6] = [b"1", b"t", b"T", b"TRUE", b"true", b"True"];
        text(name).is_some_and(|value| words.contains(&value))
    };
    let Some(put) = put_of(kind) else { return };
    assert_eq!(&*put.value, text("value").unwrap_or_default());
    assert_eq!((put.dir, put.refresh), (yes("dir"), yes("refresh")));
    let ttl = text("ttl").filter(|ttl| !ttl.is_empty());
    assert_eq!(
        put.ttl,
        ttl.map(|ttl| str::from_utf8(ttl).unwrap().parse().unwrap())
    );
    assert!(!put.refresh || (put.ttl.is_some() && put.value.is_empty()));
}

#[test]
fn whole_requests_are_understood_or_refused_with_a_code() {
    let codes = [
        code::INVALID_FORM,
        code::INVALID_FIELD,
        code::INDEX_NOT_A_NUMBER,
        code::TTL_NOT_A_NUMBER,
        code::PREV_VALUE_REQUIRED,
        code::REFRESH_WITH_VALUE,
        code::REFRESH_WITHOUT_TTL,
    ];
    let methods = [
        Method::GET,
        Method::PUT,
        Method::POST,
        Method::DELETE,
        Method::HEAD,
    ];
    let mut inputs = Mutator::new("request", Vec::new(), WORDS, 10 << 10);
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let (head, body) = input.split_at(
            input
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(input.len()),
        );
        let mut words = head.splitn(2, |byte| *byte == b' ');
        let method = Method::from_bytes(words.next().unwrap_or_default())
            .ok()
            .filter(|method| methods.contains(method));
        let method = method.unwrap_or_else(|| inputs.noise.pick(&methods).clone());
        let target = words.next().unwrap_or_default();
        let cut = target.iter().position(|byte| *byte == b'?');
        let (path, query) = target.split_at(cut.unwrap_or(target.len()));
        let query = query.strip_prefix(b"?").unwrap_or_default();
        let form =
            matches!(method, Method::PUT | Method::POST).then(|| body.strip_prefix(b"\n").unwrap_or(body));
        let what = match keys_parse::parse(&method, path, query, form) {
            Ok(Wanted::Write { kind, .. }) => {
                assert!(matches!(method, Method::PUT | Method::POST | Method::DELETE));
                check_write(&kind, &slow_form(form, query).unwrap());
                "write"
            }
            Ok(Wanted::Watch { .. }) => {
                assert_eq!(method, Method::GET);
                "watch"
            }
            Ok(Wanted::Get { .. }) => "get",
            Err(error) => {
                assert!(codes.contains(&error.code), "{error:?}");
                let told: serde_json::Value = serde_json::from_slice(&keys_render::error(&error)).unwrap();
                assert_eq!(told["errorCode"], error.code);
                "refused"
            }
        };
        *kinds.entry(what).or_default() += 1;
    }
    println!("{kinds:?}");
    assert!(
        kinds.len() == 4 && kinds.values().all(|times| *times > rounds(ROUNDS) / 200),
        "{kinds:?}"
    );
}

#[test]
fn content_types_are_read_without_end_or_panic() {
    let seeds = [
        "application/x-www-form-urlencoded; charset=\"utf\\\"8\"; a=b",
        "text/plain;",
        "a/b ; c = d",
    ];
    let seeds = seeds.map(|seed| seed.as_bytes().to_vec()).to_vec();
    let words: &[&[u8]] = &[
        b";",
        b"\"",
        b"\\",
        b"=",
        b"/",
        b" ",
        b"\t",
        b"application/x-www-form-urlencoded",
    ];
    let mut inputs = Mutator::new("form", seeds, words, 1 << 10);
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let kind = input.split(|byte| *byte == b';').next().unwrap_or_default();
        let named = kind
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
        if let Ok(is_form) = form::is_form(Some(&input)) {
            assert_eq!(is_form, named && !input.is_empty());
        }
    }
}

/// Method, target, length of the head, and the fields.
type SlowHead = (String, String, usize, Vec<(String, String)>);

/// A head by splitting it at its lines; what a plain one may not have is not looked for.
fn slow_head(bytes: &[u8]) -> Option<SlowHead> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let text = str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = text.split("\r\n");
    let (method, rest) = lines.next()?.split_once(' ')?;
    let target = rest.strip_suffix(" HTTP/1.1")?;
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((
            name.to_ascii_lowercase(),
            value.trim_matches([' ', '\t']).to_owned(),
        ))
    });
    Some((
        method.to_owned(),
        target.to_owned(),
        end + 4,
        headers.collect::<Option<_>>()?,
    ))
}

fn check_head(head: &Head<'_>, input: &[u8]) {
    let (method, target, length, headers) = slow_head(input).expect("a head that is not one was taken");
    assert_eq!((head.method.as_str(), head.length), (&*method, length));
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    assert_eq!((head.path, head.query), (path, query.as_bytes()));
    assert!(!target.contains([' ', '\r', '\n']));
    let all = |wanted: &str| -> Vec<&str> {
        let found = headers.iter().filter(|(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).collect()
    };
    for name in [
        "transfer-encoding",
        "upgrade",
        "expect",
        "te",
        "trailer",
        "authorization",
    ] {
        assert_eq!(all(name), [""; 0], "{name} makes a request other than plain");
    }
    let lengths = all("content-length");
    assert!(lengths.len() < 2 && all("content-type").len() < 2);
    assert_eq!(
        head.body,
        lengths.first().map_or(0, |length| length.parse().unwrap())
    );
    assert_eq!(
        head.content_type,
        all("content-type").first().map(|kind| kind.as_bytes())
    );
    assert!(
        all("connection")
            .iter()
            .all(|word| word.eq_ignore_ascii_case("keep-alive"))
    );
    assert!(
        headers
            .iter()
            .all(|(name, _)| !name.is_empty() && !name.contains([' ', '\t']))
    );
}

#[test]
fn plain_heads_are_read_as_by_a_slow_reference() {
    let seeds = [
        "GET /v2/keys/a?recursive=true HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
        "PUT /v2/keys/a%20b HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7\r\n\r\nvalue=1",
        "POST /v2/keys/q HTTP/1.1\r\nconnection: Keep-Alive\r\ncontent-length:3\r\nX-A:\t b \r\n\r\na=b",
        "DELETE /v2/keys HTTP/1.1\r\n\r\nGET /v2/keys HTTP/1.1\r\n\r\n",
    ];
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\r",
        b"\n",
        b" ",
        b"\t",
        b":",
        b"\r\n\r\n",
        b"\r\n ",
        b"Content-Length: 5\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"Upgrade: h2c\r\n",
        b" HTTP/1.0",
        b"\0",
        b"\xff",
        b"Content-Type: text/plain\r\n",
        b"Authorization: Basic x\r\n",
    ];
    let mut inputs = Mutator::new("head", seeds, words, 4 << 10);
    let mut whole = 0;
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        match head::parse(&input) {
            Parsed::Whole(head) => {
                whole += 1;
                check_head(&head, &input);
                let cut = inputs.noise.below(head.length);
                assert_eq!(head::parse(&input[..cut]), Parsed::Part, "cut at {cut}");
            }
            Parsed::Part => {
                let end = input.windows(4).any(|window| window == b"\r\n\r\n");
                assert!(!end, "a head that is there was waited for");
            }
            Parsed::Other => {}
        }
    }
    assert!(whole > rounds(ROUNDS) / 50, "only {whole} were plain");
}
