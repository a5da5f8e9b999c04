//! From a request's path to the bytes it means, by the rules of Go's server: decoded once, and clean or redirected.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::borrow::Cow;

/// What Go leaves as it is in a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// What a path is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Path<'a> {
    /// In its clean form; decoded.
    Clean(Cow<'a, [u8]>),
    /// To be asked for in another form, which is this, encoded.
    Elsewhere(String),
    /// A percent sign without two hexadecimal digits.
    Malformed,
}

/// Reads the path of a request target.
pub(crate) fn read(raw: &str) -> Path<'_> {
    let Some(decoded) = decode(raw.as_bytes()) else {
        return Path::Malformed;
    };
    if is_clean(&decoded) {
        return Path::Clean(decoded);
    }
    Path::Elsewhere(percent_encode(&clean(&decoded), ESCAPED).to_string())
}

/// Replaces `%XX`; `None` if a percent sign is followed by anything else. A plus is a plus.
fn decode(raw: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !raw.contains(&b'%') {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (digit(*rest.next()?)?, digit(*rest.next()?)?);
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    Some(Cow::Owned(bytes))
}

/// The value of a hexadecimal digit.
pub(crate) fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn is_clean(path: &[u8]) -> bool {
    let Some((b'/', rest)) = path.split_first() else {
        return false;
    };
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    path == b"/"
        || !rest
            .split(|byte| *byte == b'/')
            .any(|part| matches!(part, b"" | b"." | b".."))
}

/// The clean form; a slash at the end is kept.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    let mut clean = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        clean.push(b'/');
        clean.extend_from_slice(part);
    }
    if parts.is_empty() || path.ends_with(b"/") {
        clean.push(b'/');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::{Path, read};

    #[test]
    fn paths_are_decoded_and_cleaned_as_by_go() {
        let check = |raw: &str, expected: &str| {
            let seen = match read(raw) {
                Path::Clean(path) => format!("= {}", String::from_utf8_lossy(&path)),
                Path::Elsewhere(path) => format!("> {path}"),
                Path::Malformed => "!".to_owned(),
            };
            assert_eq!(seen, expected, "{raw}");
        };
        for (raw, expected) in [
            ("/", "= /"),
            ("/v2/keys", "= /v2/keys"),
            ("/v2/keys/", "= /v2/keys/"),
            ("/v2/keys/a%20b+c", "= /v2/keys/a b+c"),
            ("/v2/keys/a%2Fb", "= /v2/keys/a/b"),
            ("/v2/keys/...", "= /v2/keys/..."),
            ("/v2/keys/..a", "= /v2/keys/..a"),
            ("/v2/keys//a", "> /v2/keys/a"),
            ("/v2/keys/a%2F%2Fb/", "> /v2/keys/a/b/"),
            ("/v2/keys/a/../b", "> /v2/keys/b"),
            ("/v2/keys/a/%2e%2E/b", "> /v2/keys/b"),
            ("/v2/keys/./a", "> /v2/keys/a"),
            ("/v2/keys/../../../x", "> /x"),
            ("/v2/keys/..", "> /v2"),
            ("//", "> /"),
            ("/a//%C3%A9 %3f", "> /a/%C3%A9%20%3F"),
            ("/v2/keys/%zz", "!"),
            ("/v2/keys/%4", "!"),
        ] {
            check(raw, expected);
        }
    }
}
