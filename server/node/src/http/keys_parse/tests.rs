//! Tables: request to what it asks for, request to what is wrong with it.

use super::parse;
use http::Method;

/// `METHOD PATH?QUERY [BODY]` as what was understood, or code and cause.
fn seen(line: &str) -> String {
    let mut words = line.splitn(3, ' ');
    let method: Method = words.next().unwrap().parse().unwrap();
    let target = words.next().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match parse(
        &method,
        path.as_bytes(),
        query.as_bytes(),
        words.next().map(str::as_bytes),
    ) {
        Ok(wanted) => format!("{wanted:?}"),
        Err(error) => {
            assert_eq!(error.index, 0);
            format!("{} {}", error.code, error.cause)
        }
    }
}

const ACTIONS: &[(&str, &str, &str)] = &[
    ("GET /a", "Get {", "recursive: false, quorum: false"),
    (
        "GET /a/?recursive=true&sorted=1",
        "Get { key: \"/a\"",
        "recursive: true",
    ),
    ("GET ?quorum=true&wait=true", "Get { key: \"/\"", "quorum: true"),
    ("HEAD /a?quorum=true", "Get {", "quorum: false"),
    (
        "GET /a?wait=true&waitIndex=7&stream=T",
        "Watch {",
        "recursive: false, stream: true, since: Some(7)",
    ),
    ("GET /a?stream=true&waitIndex=3", "Get {", ""),
    (
        "GET /a?wait=1&recursive=1",
        "Watch {",
        "recursive: true, stream: false, since: None",
    ),
    (
        "PUT /a value=1&ttl=5",
        "Write { kind: Set(",
        "ttl: Some(5), refresh: false",
    ),
    ("PUT /a ttl=", "Write { kind: Set(", "ttl: None"),
    ("PUT /a?prevIndex=0 value=1", "Write { kind: Set(", ""),
    ("PUT /a dir=true", "Write { kind: Set(", "dir: true"),
    (
        "PUT /a?prevExist=false&prevValue=x value=1",
        "Write { kind: Create(",
        "",
    ),
    ("PUT /a?prevExist=true value=1", "Write { kind: Update(", ""),
    (
        "PUT /a?prevExist=true&prevIndex=4 value=1",
        "Write { kind: CompareAndSwap(",
        "prev_index: 4",
    ),
    (
        "PUT /a?prevValue=x value=1",
        "Write { kind: CompareAndSwap(",
        "prev_value: Some([120])",
    ),
    (
        "PUT /a?prevIndex=00006 value=1",
        "Write { kind: CompareAndSwap(",
        "prev_index: 6",
    ),
    (
        "PUT /a refresh=true&ttl=0",
        "Write { kind: Set(",
        "ttl: Some(0), refresh: true",
    ),
    (
        "PUT /a noValueOnSuccess=true",
        "Write { kind: Set(",
        "brief: true",
    ),
    (
        "PUT /a?ttl=9223372036",
        "Write { kind: Set(",
        "ttl: Some(9223372036)",
    ),
    (
        "POST /a?prevExist=true&prevValue=z value=1",
        "Write { kind: CreateInOrder(",
        "value: [49]",
    ),
    (
        "DELETE /a?dir=true",
        "Write { kind: Delete {",
        "dir: true, recursive: false",
    ),
    (
        "DELETE /a?recursive=true&noValueOnSuccess=1",
        "Write { kind: Delete {",
        "brief: false",
    ),
    (
        "DELETE /a?prevIndex=3&recursive=true",
        "Write { kind: CompareAndDelete {",
        "prev_index: 3",
    ),
    (
        "PUT /a?sorted=true&recursive=T&quorum=1 value=3",
        "Write { kind: Set(",
        "",
    ),
];

#[test]
fn requests_become_actions() {
    for (line, start, parts) in ACTIONS {
        let seen = seen(line);
        assert!(seen.starts_with(start) && seen.contains(parts), "{line}: {seen}");
    }
}

const WRONG: &[(&str, &str)] = &[
    (
        "PUT /a?prevIndex=bad&ttl=bad value=%zz",
        "210 invalid URL escape \"%zz\"",
    ),
    (
        "GET /a?prevIndex=bad&ttl=bad",
        "203 invalid value for \"prevIndex\"",
    ),
    ("GET /a?prevIndex=", "203 invalid value for \"prevIndex\""),
    ("GET /a?prevIndex=%2B1", "203 invalid value for \"prevIndex\""),
    (
        "GET /a?prevIndex=18446744073709551616",
        "203 invalid value for \"prevIndex\"",
    ),
    (
        "GET /a?waitIndex=1.5&recursive=x",
        "203 invalid value for \"waitIndex\"",
    ),
    ("GET /a?recursive=hahaha", "209 invalid value for \"recursive\""),
    ("GET /a?recursive", "209 invalid value for \"recursive\""),
    ("GET /a?sorted=tRUE", "209 invalid value for \"sorted\""),
    ("GET /a?wait=yes", "209 invalid value for \"wait\""),
    ("DELETE /a?dir=no", "209 invalid value for \"dir\""),
    ("HEAD /a?quorum=no", "209 invalid value for \"quorum\""),
    ("GET /a?stream=zzz", "209 invalid value for \"stream\""),
    (
        "HEAD /a?wait=true",
        "209 \"wait\" can only be used with GET requests",
    ),
    (
        "PUT /a?wait=true&prevValue= value=1",
        "209 \"wait\" can only be used with GET requests",
    ),
    (
        "DELETE /a?prevValue=&noValueOnSuccess=x",
        "201 \"prevValue\" cannot be empty",
    ),
    (
        "GET /a?noValueOnSuccess=maybe&ttl=x",
        "209 invalid value for \"noValueOnSuccess\"",
    ),
    ("PUT /a?ttl=5 ttl=x", "202 invalid value for \"ttl\""),
    ("PUT /a ttl=-1", "202 invalid value for \"ttl\""),
    ("PUT /a ttl=9223372037", "202 invalid value for \"ttl\""),
    ("PUT /a prevExist=yes", "209 invalid value for prevExist"),
    ("PUT /a refresh=maybe", "209 invalid value for refresh"),
    (
        "PUT /a refresh=true&value=x",
        "211 A value was provided on a refresh",
    ),
    ("PUT /a refresh=true&ttl=", "212 No TTL value set"),
];

#[test]
fn what_is_wrong_is_told_in_order() {
    for (line, expected) in WRONG {
        assert_eq!(seen(line), *expected, "{line}");
    }
}

#[test]
fn a_key_beyond_the_limits_is_refused() {
    let deep = "/a".repeat(berth_store::MAX_DEPTH + 1);
    assert!(
        seen(&format!("GET {deep}")).starts_with("209 "),
        "{}",
        seen(&format!("GET {deep}"))
    );
    let fits = "/a".repeat(berth_store::MAX_DEPTH);
    assert!(seen(&format!("GET {fits}")).starts_with("Get"));
}
