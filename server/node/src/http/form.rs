//! The parameters of a request: query and form, read by the rules of Go's server.

use crate::http::path::digit;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// The most fields of query and body together; some twenty mean something. One more is refused.
pub(crate) const MAX_FIELDS: usize = 32;

/// The parameters that are known; others are ignored. Of repeated ones the first counts, the body's before the query's.
#[derive(Debug, Default)]
pub(crate) struct Form<'a> {
    pub(crate) value: Option<Cow<'a, [u8]>>,
    pub(crate) ttl: Option<Cow<'a, [u8]>>,
    pub(crate) dir: Option<Cow<'a, [u8]>>,
    pub(crate) prev_exist: Option<Cow<'a, [u8]>>,
    pub(crate) prev_value: Option<Cow<'a, [u8]>>,
    pub(crate) prev_index: Option<Cow<'a, [u8]>>,
    pub(crate) recursive: Option<Cow<'a, [u8]>>,
    pub(crate) sorted: Option<Cow<'a, [u8]>>,
    pub(crate) quorum: Option<Cow<'a, [u8]>>,
    pub(crate) wait: Option<Cow<'a, [u8]>>,
    pub(crate) wait_index: Option<Cow<'a, [u8]>>,
    pub(crate) stream: Option<Cow<'a, [u8]>>,
    pub(crate) refresh: Option<Cow<'a, [u8]>>,
    pub(crate) no_value_on_success: Option<Cow<'a, [u8]>>,
}

/// Reads body and query. The error is the first one found, in Go's words.
pub(crate) fn read<'a>(body: Option<&'a [u8]>, query: &'a [u8]) -> Result<Form<'a>, String> {
    let mut form = Form::default();
    pairs(body, query, |name, value| form.take(name, value))?;
    Ok(form)
}

/// Gives all names and values to `take`, the body's before the query's. The error is the first one found, in Go's words.
pub(crate) fn pairs<'a>(
    body: Option<&'a [u8]>,
    query: &'a [u8],
    mut take: impl FnMut(&[u8], Cow<'a, [u8]>),
) -> Result<(), String> {
    let mut fields = 0;
    for part in body.into_iter().chain([query]) {
        for field in part.split(|byte| *byte == b'&') {
            if field.is_empty() {
                continue;
            }
            fields += 1;
            if fields > MAX_FIELDS {
                return Err(format!("more than {MAX_FIELDS} fields"));
            }
            if field.contains(&b';') {
                return Err("invalid semicolon separator in query".to_owned());
            }
            let at = field.iter().position(|byte| *byte == b'=');
            let (name, value) = match at {
                Some(at) => (&field[..at], &field[at + 1..]),
                None => (field, &field[field.len()..]),
            };
            take(&unescape(name)?, unescape(value)?);
        }
    }
    Ok(())
}

impl<'a> Form<'a> {
    fn take(&mut self, name: &[u8], value: Cow<'a, [u8]>) {
        let place = match name {
            b"value" => &mut self.value,
            b"ttl" => &mut self.ttl,
            b"dir" => &mut self.dir,
            b"prevExist" => &mut self.prev_exist,
            b"prevValue" => &mut self.prev_value,
            b"prevIndex" => &mut self.prev_index,
            b"recursive" => &mut self.recursive,
            b"sorted" => &mut self.sorted,
            b"quorum" => &mut self.quorum,
            b"wait" => &mut self.wait,
            b"waitIndex" => &mut self.wait_index,
            b"stream" => &mut self.stream,
            b"refresh" => &mut self.refresh,
            b"noValueOnSuccess" => &mut self.no_value_on_success,
            _ => return,
        };
        place.get_or_insert(value);
    }
}

/// Replaces `+` and `%XX`.
fn unescape(text: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = text.get(at + 1).copied().and_then(digit);
                let Some((high, low)) = digits.zip(text.get(at + 2).copied().and_then(digit)) else {
                    let end = text.len().min(at + 3);
                    return Err(format!("invalid URL escape {}", quoted(&text[at..end])));
                };
                bytes.push(high << 4 | low);
                at += 2;
            }
            other => bytes.push(other),
        }
        at += 1;
    }
    Ok(Cow::Owned(bytes))
}

/// A text in quotes, unprintable bytes escaped.
fn quoted(text: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in text.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '"' | '\\' => out.extend(['\\', letter]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                // Writing to a string does not fail.
                control if control.is_control() => {
                    let _ = write!(out, "\\x{:02x}", u32::from(control));
                }
                plain => out.push(plain),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out.push('"');
    out
}

/// Whether a `Content-Type` says that the body is a form; an error, in Go's words, if it cannot be read.
pub(crate) fn is_form(content_type: Option<&[u8]>) -> Result<bool, &'static str> {
    let Some(text) = content_type.filter(|text| !text.is_empty()) else {
        return Ok(false);
    };
    let mut parts = text.split(|byte| *byte == b';');
    let kind = parts.next().unwrap_or_default().trim_ascii();
    check_kind(kind)?;
    let form = kind.eq_ignore_ascii_case(b"application/x-www-form-urlencoded");
    // A semicolon at the end is fine.
    let rest = &text[text.iter().position(|byte| *byte == b';').unwrap_or(text.len())..];
    if !rest
        .trim_ascii_end()
        .strip_prefix(b";")
        .unwrap_or_default()
        .is_empty()
    {
        check_parameters(rest)?;
    }
    Ok(form)
}

fn check_kind(kind: &[u8]) -> Result<(), &'static str> {
    let rest = after_token(kind).ok_or("mime: no media type")?;
    if rest.is_empty() {
        return Ok(());
    }
    let rest = rest
        .strip_prefix(b"/")
        .ok_or("mime: expected slash after first token")?;
    let rest = after_token(rest).ok_or("mime: expected token after slash")?;
    if !rest.is_empty() {
        return Err("mime: unexpected content after media subtype");
    }
    Ok(())
}

/// Parameters are `; name=token` or `; name="text"`, each name once, whatever its case.
fn check_parameters(mut rest: &[u8]) -> Result<(), &'static str> {
    const INVALID: &str = "mime: invalid media parameter";
    let mut names = BTreeSet::new();
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Ok(());
        }
        rest = rest.strip_prefix(b";").ok_or(INVALID)?.trim_ascii_start();
        if rest.is_empty() {
            return Ok(());
        }
        let after = after_token(rest).ok_or(INVALID)?;
        let name = &rest[..rest.len() - after.len()];
        rest = after.trim_ascii_start();
        rest = rest.strip_prefix(b"=").ok_or(INVALID)?.trim_ascii_start();
        rest = match rest.strip_prefix(b"\"") {
            Some(quoted) => after_quoted(quoted).ok_or(INVALID)?,
            None => after_token(rest).ok_or(INVALID)?,
        };
        if !names.insert(name.to_ascii_lowercase()) {
            return Err("mime: duplicate parameter name");
        }
    }
}

fn after_token(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| &text[end..])
}

fn after_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return text.get(at + 1..),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(byte)
}

#[cfg(test)]
mod tests {
    use super::{is_form, read};

    #[test]
    fn the_first_value_counts_and_the_body_comes_first() {
        let form = read(
            Some(b"value=body&&ttl=&x=y&a"),
            b"value=query&ttl=5&recursive&dir=t%72ue",
        )
        .unwrap();
        assert_eq!(form.value.as_deref(), Some(&b"body"[..]));
        assert_eq!(form.ttl.as_deref(), Some(&b""[..]));
        assert_eq!(form.recursive.as_deref(), Some(&b""[..]));
        assert_eq!(form.dir.as_deref(), Some(&b"true"[..]));
        assert!(form.sorted.is_none());
        let form = read(Some(b"v%61lue=a+b%2b%26=c%ff"), b"").unwrap();
        assert_eq!(form.value.as_deref(), Some(&b"a b+&=c\xff"[..]));
    }

    #[test]
    fn bad_escapes_are_named() {
        for (form, error) in [
            ("value=%zz", r#"invalid URL escape "%zz""#),
            ("value=%", r#"invalid URL escape "%""#),
            ("value=%4", r#"invalid URL escape "%4""#),
            ("unknown=%zzz", r#"invalid URL escape "%zz""#),
            ("value=%\"x", r#"invalid URL escape "%\"x""#),
            ("value=a;b=c", "invalid semicolon separator in query"),
        ] {
            assert_eq!(read(None, form.as_bytes()).unwrap_err(), error, "{form}");
            assert_eq!(read(Some(form.as_bytes()), b"").unwrap_err(), error, "{form}");
        }
    }

    #[test]
    fn content_types_are_read_as_by_go() {
        for (text, expected) in [
            ("", Ok(false)),
            ("application/x-www-form-urlencoded", Ok(true)),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", Ok(true)),
            ("application/x-www-form-urlencoded;", Ok(true)),
            ("application/x-www-form-urlencoded; a=\"b;\\\"c\"; d=e", Ok(true)),
            ("application/json", Ok(false)),
            ("text", Ok(false)),
            (
                "application/x-www-form-urlencoded; =",
                Err("mime: invalid media parameter"),
            ),
            ("application/", Err("mime: expected token after slash")),
            ("a b/c", Err("mime: expected slash after first token")),
            (" ;a=b", Err("mime: no media type")),
            ("/form", Err("mime: no media type")),
            (
                "application/x-www-form-urlencoded; a=1; A=1",
                Err("mime: duplicate parameter name"),
            ),
        ] {
            assert_eq!(is_form(Some(text.as_bytes())), expected, "{text}");
        }
        assert_eq!(is_form(None), Ok(false));
    }
}
