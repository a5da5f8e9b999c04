//! Text and numbers in JSON as Go writes them, straight into the answer's buffer.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A string with its quotes. Bytes that are no UTF-8 show as U+FFFD, one for each.
pub(crate) fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    match str::from_utf8(bytes) {
        Ok(text) => valid(out, text.as_bytes()),
        Err(_) => mended(out, bytes),
    }
    out.push(b'"');
}

fn mended(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        valid(out, chunk.valid().as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// Copies runs of plain bytes at a time.
fn valid(out: &mut Vec<u8>, bytes: &[u8]) {
    let mut start = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let (length, short) = match byte {
            b'"' | b'\\' => (1, Some(byte)),
            b'\n' => (1, Some(b'n')),
            b'\r' => (1, Some(b'r')),
            b'\t' => (1, Some(b't')),
            0..0x20 | b'<' | b'>' | b'&' => (1, None),
            0xe2 if matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) => (3, None),
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[start..at]);
        match (short, length) {
            (Some(letter), _) => out.extend_from_slice(&[b'\\', letter]),
            // U+2028 and U+2029 end a line in JavaScript.
            (None, 3) => {
                out.extend_from_slice(b"\\u202");
                out.push(HEX[usize::from(bytes[at + 2] & 0xf)]);
            }
            (None, _) => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 0xf)]);
            }
        }
        at += length;
        start = at;
    }
    out.extend_from_slice(&bytes[start..]);
}

/// A number.
pub(crate) fn number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10).to_le_bytes()[0];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A number that may be negative.
pub(crate) fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    number(out, value.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::{number, signed, text};

    #[test]
    fn text_is_escaped_as_by_go() {
        for (raw, shown) in [
            (&b"plain"[..], r#""plain""#),
            (b"", r#""""#),
            (b"a&b<c>\"\\\n\td\re", r#""a\u0026b\u003cc\u003e\"\\\n\td\re""#),
            (b"\x00\x08\x0c\x1f\x7f", "\"\\u0000\\u0008\\u000c\\u001f\x7f\""),
            (
                "caf\u{e9} \u{2028}\u{2029}\u{2027}".as_bytes(),
                "\"caf\u{e9} \\u2028\\u2029\u{2027}\"",
            ),
            (b"a\xff\xfeb", r#""a\ufffd\ufffdb""#),
            ("\u{1f600}/".as_bytes(), "\"\u{1f600}/\""),
        ] {
            let mut out = Vec::new();
            text(&mut out, raw);
            assert_eq!(String::from_utf8(out).unwrap(), shown);
        }
    }

    #[test]
    fn numbers_are_decimal() {
        let mut out = Vec::new();
        for value in [0, 9, 10, 1_234_567, u64::MAX] {
            number(&mut out, value);
            out.push(b' ');
        }
        for value in [0, -1, i64::MIN] {
            signed(&mut out, value);
            out.push(b' ');
        }
        let expected = "0 9 10 1234567 18446744073709551615 0 -1 -9223372036854775808 ";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
