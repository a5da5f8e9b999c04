//! The documents that the members API takes, refused in the words of etcd.

use crate::http::error::Refused;
use crate::http::members::syntax;
use axum::extract::Request;
use http::header;
use serde_json::Value;
use std::time::Duration;

/// Far more than the longest URLs of a member take; a longer document is refused.
const MAX_DOCUMENT_BYTES: usize = 64 << 10;
/// For the document to come.
const DOCUMENT_TIME: Duration = Duration::from_secs(5);
/// A member has no more URLs, and none is longer: the replicated state takes no more.
const MAX_URLS: usize = 8;
const MAX_URL_BYTES: usize = 512;

const JSON: &str = "application/json";
const SCHEMES: [&str; 4] = ["http", "https", "unix", "unixs"];

/// The URLs of a member to be added, or to be reached elsewhere; sorted.
pub(super) async fn peer_urls(request: Request) -> Result<Vec<String>, Refused> {
    urls_of(&document(request).await?).map_err(Refused::Document)
}

/// The id of the member that is to lead; none if any other may.
pub(super) async fn next_leader(request: Request) -> Result<Option<String>, Refused> {
    leader_of(&document(request).await?).map_err(Refused::Document)
}

async fn document(request: Request) -> Result<Vec<u8>, Refused> {
    let header = request.headers().get(header::CONTENT_TYPE);
    let kind = header
        .map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned())
        .unwrap_or_default();
    // As in Go, the type is what stands before the parameters, and its case does not count where it is compared.
    if kind.split(';').next().map(str::trim) != Some(JSON) {
        return Err(Refused::ContentType(kind));
    }
    let body = axum::body::to_bytes(request.into_body(), MAX_DOCUMENT_BYTES);
    match tokio::time::timeout(DOCUMENT_TIME, body).await {
        Ok(Ok(bytes)) => Ok(bytes.to_vec()),
        Ok(Err(_)) | Err(_) => Err(Refused::Document(
            "the document is too long, or was cut".to_owned(),
        )),
    }
}

/// The document as values. Bytes that are no UTF-8 are replaced, as in Go.
fn values(document: &[u8]) -> Result<Value, String> {
    syntax::check(document)?;
    serde_json::from_str(&String::from_utf8_lossy(document)).map_err(|error| error.to_string())
}

/// A field by its name in any case; the exact one goes first.
fn field<'a>(document: &'a Value, name: &str) -> Option<&'a Value> {
    let fields = document.as_object()?;
    let like = || fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
    fields.get(name).or_else(|| like().map(|(_, value)| value))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn leader_of(document: &[u8]) -> Result<Option<String>, String> {
    let document = values(document)?;
    match field(&document, "id") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) if id.is_empty() => Ok(None),
        Some(Value::String(id)) => Ok(Some(id.clone())),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_))) => {
            Err(format!("id must be a string, not {}", kind(other)))
        }
    }
}

fn urls_of(document: &[u8]) -> Result<Vec<String>, String> {
    let document = values(document)?;
    if !document.is_object() && !document.is_null() {
        return Err(format!(
            "json: cannot unmarshal {} into Go value of type struct {{ PeerURLs []string \"json:\\\"peerURLs\\\"\" }}",
            kind(&document)
        ));
    }
    let misfit = |value: &Value, wanted| {
        let found = kind(value);
        format!("json: cannot unmarshal {found} into Go struct field .peerURLs of type {wanted}")
    };
    let list = match field(&document, "peerURLs") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(list)) => list.as_slice(),
        Some(other @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_))) => {
            return Err(misfit(other, "[]string"));
        }
    };
    let mut texts = Vec::new();
    for value in list {
        match value {
            Value::String(text) => texts.push(text.trim()),
            Value::Null => texts.push(""),
            Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(misfit(value, "string"));
            }
        }
    }
    if texts.is_empty() {
        return Err("no valid URLs given".to_owned());
    }
    let mut urls = Vec::new();
    for text in texts {
        check_url(text)?;
        // As Go writes it again.
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        urls.push(format!("{}://{rest}", scheme.to_ascii_lowercase()));
    }
    if urls.len() > MAX_URLS {
        return Err(format!("more than {MAX_URLS} URLs given"));
    }
    urls.sort();
    Ok(urls)
}

/// Whether it is `http://HOST:PORT`, or with `https`.
fn check_url(url: &str) -> Result<(), String> {
    let shape = || format!("URL address does not have the form \"host:port\": {url}");
    let parse = |why: String| format!("parse {url:?}: {why}");
    let known = url
        .split_once("://")
        .map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest))
        .filter(|(scheme, _)| SCHEMES.contains(&scheme.as_str()));
    let Some((scheme, rest)) = known else {
        let scheme = "URL scheme must be http, https, unix, or unixs";
        return Err(format!("{scheme}: {url}"));
    };
    if scheme.starts_with("unix") {
        return Err(format!("URL scheme must be http or https: {url}"));
    }
    if url.len() > MAX_URL_BYTES {
        return Err(format!("URL is longer than {MAX_URL_BYTES} bytes"));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    if let Some(odd) = place
        .chars()
        .find(|odd| odd.is_whitespace() || "\"<>\\^`{|}".contains(*odd))
    {
        return Err(parse(format!(
            "invalid character {:?} in host name",
            odd.to_string()
        )));
    }
    let Some((host, port)) = place.rsplit_once(':').filter(|(host, _)| is_host(host)) else {
        return Err(shape());
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(parse(format!("invalid port {:?} after host", format!(":{port}"))));
    }
    if path.starts_with('/') {
        return Err(format!("URL must not contain a path: {url}"));
    }
    let usable = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    // Nothing else can be said to a member.
    if usable && path.is_empty() && !place.contains('@') {
        Ok(())
    } else {
        Err(shape())
    }
}

/// Colons belong into brackets.
fn is_host(host: &str) -> bool {
    let bracketed = host.starts_with('[') && host.ends_with(']');
    bracketed || !host.contains(':')
}

#[cfg(test)]
mod tests {
    use super::{leader_of, urls_of};
    use crate::mutate::{Mutator, Naming, ROUNDS, rounds};

    #[test]
    fn urls_are_cut_and_sorted() {
        let urls = |text: &str| urls_of(text.as_bytes());
        let two = r#"{"PEERURLS":[" HTTP://b:2 ","https://[::1]:1","http://b:2"],"name":"x"}"#;
        let sorted = ["http://b:2", "http://b:2", "https://[::1]:1"];
        assert_eq!(urls(two), Ok(sorted.map(str::to_owned).to_vec()));
        for (text, said) in [
            ("null", "no valid URLs given"),
            (r#"{"peerURLs":null}"#, "no valid URLs given"),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type struct { PeerURLs []string \"json:\\\"peerURLs\\\"\" }",
            ),
            (
                r#"{"peerURLs":"x"}"#,
                "json: cannot unmarshal string into Go struct field .peerURLs of type []string",
            ),
            (
                r#"{"peerURLs":[1]}"#,
                "json: cannot unmarshal number into Go struct field .peerURLs of type string",
            ),
            (
                r#"{"peerURLs":[null]}"#,
                "URL scheme must be http, https, unix, or unixs: ",
            ),
            (
                r#"{"peerURLs":["http://a"]}"#,
                "URL address does not have the form \"host:port\": http://a",
            ),
            (
                r#"{"peerURLs":["http://a:1/x"]}"#,
                "URL must not contain a path: http://a:1/x",
            ),
            (
                r#"{"peerURLs":["http://a:b"]}"#,
                "parse \"http://a:b\": invalid port \":b\" after host",
            ),
            (
                r#"{"peerURLs":["http://a b:1"]}"#,
                "parse \"http://a b:1\": invalid character \" \" in host name",
            ),
            (
                r#"{"peerURLs":["http://a:0"]}"#,
                "URL address does not have the form \"host:port\": http://a:0",
            ),
        ] {
            assert_eq!(urls(text), Err(said.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_leader_is_named_by_a_string_or_not_at_all() {
        let leader = |text: &str| leader_of(text.as_bytes());
        assert_eq!(leader("{}"), Ok(None));
        assert_eq!(leader(r#"{"ID":"1f"}"#), Ok(Some("1f".to_owned())));
        assert!(leader(r#"{"id":31}"#).is_err());
        assert!(leader("").is_err());
    }

    const WORDS: &[&[u8]] = &[
        b"\"peerURLs\":",
        b"\"id\":",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b"null",
        b"true",
        b"-1.5e+3",
        b"\\u00e9",
        b"\\ud800",
        b"\"http://127.0.0.1:2380\"",
        b"http://[::1]:1",
        b"\xff",
    ];

    #[test]
    fn what_the_scanner_refuses_is_no_json_and_nothing_ends_the_parser() {
        let mut inputs = Mutator::new("members", Vec::new(), WORDS, 4 << 10);
        let mut read = 0;
        for round in 0..rounds(ROUNDS) {
            let input = inputs.next();
            let _naming = Naming { round, input: &input };
            let text = String::from_utf8_lossy(&input);
            let known = serde_json::from_str::<serde_json::Value>(&text);
            match super::syntax::check(&input) {
                Ok(()) => {
                    // Too deep, too large a number, half a character: Go goes on there.
                    let excused = text.contains(['e', 'E', '[', '{']) || text.contains("\\u");
                    assert!(known.is_ok() || excused, "{known:?}");
                }
                Err(said) => assert!(known.is_err(), "{said}"),
            }
            let _ = leader_of(&input);
            if let Ok(urls) = urls_of(&input) {
                read += 1;
                assert!(urls.is_sorted() && !urls.is_empty());
                assert!(urls.iter().all(|url| url.starts_with("http")));
            }
        }
        assert!(read > 0, "no document was read");
    }
}
