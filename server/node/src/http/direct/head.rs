//! The head of a plain request. The grammar is narrower than HTTP's on purpose: what is not certainly plain is somebody
//! else's, so nothing can be understood here in another way than by a complete parser.

use http::Method;

/// More headers than this, and the request is not plain.
const MAX_HEADERS: usize = 32;

/// A plain request: HTTP/1.1 to `/v2/keys` with one `Host`, without an encoding, an upgrade, an expectation or credentials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) method: Method,
    pub(crate) path: &'a str,
    pub(crate) query: &'a [u8],
    pub(crate) content_type: Option<&'a [u8]>,
    /// Bytes of the body, which follows.
    pub(crate) body: usize,
    /// Bytes of the head.
    pub(crate) length: usize,
}

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// The head of a plain request.
    Whole(Head<'a>),
    /// What may become one.
    Part,
    /// What will not.
    Other,
}

const METHODS: [(&[u8], Method); 4] = [
    (b"GET ", Method::GET),
    (b"PUT ", Method::PUT),
    (b"POST ", Method::POST),
    (b"DELETE ", Method::DELETE),
];
const PREFIX: &[u8] = b"/v2/keys";

/// Reads a head.
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let Some((method, target)) = METHODS.iter().find_map(|(word, method)| {
        let rest = bytes.strip_prefix(*word)?;
        Some((method, rest))
    }) else {
        let begins = METHODS.iter().any(|(word, _)| word.starts_with(bytes));
        return if begins { Parsed::Part } else { Parsed::Other };
    };
    if !target.starts_with(PREFIX) {
        let begins = PREFIX.starts_with(target);
        return if begins { Parsed::Part } else { Parsed::Other };
    }
    let Some(end) = target.iter().position(|byte| !is_target(*byte)) else {
        return Parsed::Part;
    };
    let (target, rest) = target.split_at(end);
    const VERSION: &[u8] = b" HTTP/1.1\r\n";
    let Some(rest) = rest.strip_prefix(VERSION) else {
        let begins = VERSION.starts_with(rest);
        return if begins { Parsed::Part } else { Parsed::Other };
    };
    let Ok(target) = str::from_utf8(target) else {
        return Parsed::Other;
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut head = Head {
        method: method.clone(),
        path,
        query: query.as_bytes(),
        content_type: None,
        body: 0,
        length: 0,
    };
    match fields(rest, &mut head) {
        Ok(Some(left)) => {
            head.length = bytes.len() - left;
            Parsed::Whole(head)
        }
        Ok(None) => Parsed::Part,
        Err(NotPlain) => Parsed::Other,
    }
}

struct NotPlain;

/// Headers that may come once.
#[derive(Default)]
struct Seen {
    host: bool,
    length: Option<usize>,
}

/// Reads the headers; gives how many bytes come behind them, or nothing if they are not all there.
fn fields<'a>(mut rest: &'a [u8], head: &mut Head<'a>) -> Result<Option<usize>, NotPlain> {
    let mut seen = Seen::default();
    for _ in 0..=MAX_HEADERS {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let (line, behind) = (&rest[..end], &rest[end + 1..]);
        let line = line.strip_suffix(b"\r").ok_or(NotPlain)?;
        if line.is_empty() {
            head.body = seen.length.unwrap_or(0);
            if !seen.host {
                return Err(NotPlain);
            }
            return Ok(Some(behind.len()));
        }
        let colon = line.iter().position(|byte| !is_name(*byte)).ok_or(NotPlain)?;
        let (name, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").ok_or(NotPlain)?;
        if name.is_empty() || !value.iter().all(|byte| is_value(*byte)) {
            return Err(NotPlain);
        }
        field(name, value.trim_ascii(), head, &mut seen)?;
        rest = behind;
    }
    Err(NotPlain)
}

fn field<'a>(name: &[u8], value: &'a [u8], head: &mut Head<'a>, seen: &mut Seen) -> Result<(), NotPlain> {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    match name.len() {
        4 if is(b"host") && std::mem::replace(&mut seen.host, true) => return Err(NotPlain),
        2 if is(b"te") => return Err(NotPlain),
        // Which pages may read an answer is decided elsewhere, too.
        6 if is(b"expect") || is(b"origin") => return Err(NotPlain),
        7 if is(b"upgrade") || is(b"trailer") => return Err(NotPlain),
        10 if is(b"connection") && !value.eq_ignore_ascii_case(b"keep-alive") => return Err(NotPlain),
        // What credentials mean is decided where all requests with credentials go.
        13 if is(b"authorization") => return Err(NotPlain),
        17 if is(b"transfer-encoding") => return Err(NotPlain),
        12 if is(b"content-type") && head.content_type.replace(value).is_some() => return Err(NotPlain),
        14 if is(b"content-length") => {
            // So many digits cannot overflow; more are no plain request's.
            let digits = (1..=9).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
            let number = str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            let number = number.filter(|_| digits).ok_or(NotPlain)?;
            if seen.length.replace(number).is_some() {
                return Err(NotPlain);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The bytes of targets that mean the same to everybody.
const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut letters: &[u8] =
        b"/-_.~%?=&+,:;@!$'()*0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    while let [letter, rest @ ..] = letters {
        table[*letter as usize] = true;
        letters = rest;
    }
    table
};

fn is_target(byte: u8) -> bool {
    TARGET[usize::from(byte)]
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_".contains(&byte)
}

fn is_value(byte: u8) -> bool {
    byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()
}

#[cfg(test)]
mod tests;
