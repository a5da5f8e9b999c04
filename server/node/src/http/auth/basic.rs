//! HTTP's Basic credentials, read as Go reads them.

use http::{HeaderMap, HeaderValue, header};

/// What a request shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// No header, or an empty one.
    Nothing,
    /// One that names nobody.
    Malformed,
    /// A name and a password.
    Pair { name: Vec<u8>, password: Vec<u8> },
}

const SCHEME: &[u8] = b"Basic ";

/// Reads the first header; the size of heads bounds it.
pub(super) fn read(headers: &HeaderMap) -> Shown {
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Shown::Nothing;
    };
    let code = value
        .split_at_checked(SCHEME.len())
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME));
    let pair = code.and_then(|(_, code)| decode(code));
    let Some(pair) = pair else {
        return Shown::Malformed;
    };
    match pair.iter().position(|byte| *byte == b':') {
        Some(at) => Shown::Pair {
            name: pair[..at].to_vec(),
            password: pair[at + 1..].to_vec(),
        },
        None => Shown::Malformed,
    }
}

/// Base 64 with the usual letters and padding, and nothing else.
fn decode(code: &[u8]) -> Option<Vec<u8>> {
    let (groups, []) = code.as_chunks::<4>() else {
        return None;
    };
    let mut bytes = Vec::with_capacity(groups.len() * 3);
    for (at, group) in groups.iter().enumerate() {
        let letters = group.iter().take_while(|letter| **letter != b'=').count();
        let padded = group[letters..].iter().all(|letter| *letter == b'=');
        if letters < 2 || !padded || letters < 4 && at + 1 < groups.len() {
            return None;
        }
        let mut bits = 0_u32;
        for letter in &group[..letters] {
            bits = bits << 6 | sextet(*letter)?;
        }
        bits <<= 6 * (4 - letters);
        bytes.extend_from_slice(&bits.to_be_bytes()[1..letters]);
    }
    Some(bytes)
}

fn sextet(letter: u8) -> Option<u32> {
    Some(u32::from(match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}
