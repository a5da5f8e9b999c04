//! What Go's decoder says about a text that is no JSON, since clients of etcd show its words.

use std::mem;

/// As deep as Go's decoder goes.
const MAX_DEPTH: usize = 10_000;

#[derive(Clone, Copy)]
enum Step {
    Value,
    ValueOrEnd,
    Name,
    NameOrEnd,
    EndValue,
    EndTop,
    Text,
    Escape,
    Hex(u8),
    Minus,
    Whole,
    Zero,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Word(&'static str, usize),
}

#[derive(Clone, Copy)]
enum Within {
    Name,
    Member,
    Array,
}

struct Scanner {
    step: Step,
    within: Vec<Within>,
    ended: bool,
}

/// Whether the text is one JSON value; if not, what Go's decoder says.
pub(super) fn check(text: &[u8]) -> Result<(), String> {
    let mut scanner = Scanner {
        step: Step::Value,
        within: Vec::new(),
        ended: false,
    };
    for byte in text {
        scanner.take(*byte)?;
    }
    if !scanner.ended {
        // A number ends with what follows it.
        scanner.take(b' ')?;
    }
    if scanner.ended {
        Ok(())
    } else {
        Err("unexpected end of JSON input".to_owned())
    }
}

fn wrong(byte: u8, context: &str) -> Result<(), String> {
    let shown = match byte {
        b'\'' => r"\'".to_owned(),
        b'"' => "\"".to_owned(),
        b'\\' => r"\\".to_owned(),
        7 => r"\a".to_owned(),
        8 => r"\b".to_owned(),
        b'\t' => r"\t".to_owned(),
        b'\n' => r"\n".to_owned(),
        11 => r"\v".to_owned(),
        12 => r"\f".to_owned(),
        b'\r' => r"\r".to_owned(),
        0..0x20 | 0x7f => format!("\\x{byte:02x}"),
        0x80..0xa1 | 0xad => format!("\\u{byte:04x}"),
        _ => char::from(byte).to_string(),
    };
    Err(format!("invalid character '{shown}' {context}"))
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl Scanner {
    fn take(&mut self, byte: u8) -> Result<(), String> {
        match self.step {
            Step::Value | Step::ValueOrEnd | Step::Name | Step::NameOrEnd | Step::EndTop
                if is_space(byte) =>
            {
                Ok(())
            }
            Step::ValueOrEnd if byte == b']' => self.end_value(byte),
            Step::Value | Step::ValueOrEnd => self.value(byte),
            Step::NameOrEnd if byte == b'}' => {
                self.replace(Within::Member);
                self.end_value(byte)
            }
            Step::Name | Step::NameOrEnd if byte == b'"' => self.go(Step::Text),
            Step::Name | Step::NameOrEnd => wrong(byte, "looking for beginning of object key string"),
            Step::EndValue => self.end_value(byte),
            Step::EndTop => wrong(byte, "after top-level value"),
            Step::Text | Step::Escape | Step::Hex(_) => self.text(byte),
            Step::Minus
            | Step::Whole
            | Step::Zero
            | Step::Point
            | Step::Fraction
            | Step::Exponent
            | Step::ExponentSign
            | Step::ExponentDigits => self.number(byte),
            Step::Word(word, at) => match word.as_bytes().get(at) {
                Some(expected) if *expected == byte && at + 1 == word.len() => self.go(Step::EndValue),
                Some(expected) if *expected == byte => self.go(Step::Word(word, at + 1)),
                expected => {
                    let expected = char::from(expected.copied().unwrap_or(b' '));
                    wrong(byte, &format!("in literal {word} (expecting '{expected}')"))
                }
            },
        }
    }

    fn go(&mut self, step: Step) -> Result<(), String> {
        self.step = step;
        Ok(())
    }

    fn enter(&mut self, within: Within, step: Step) -> Result<(), String> {
        self.within.push(within);
        if self.within.len() > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        self.go(step)
    }

    fn replace(&mut self, within: Within) {
        if let Some(last) = self.within.last_mut() {
            let _ = mem::replace(last, within);
        }
    }

    fn value(&mut self, byte: u8) -> Result<(), String> {
        match byte {
            b'{' => self.enter(Within::Name, Step::NameOrEnd),
            b'[' => self.enter(Within::Array, Step::ValueOrEnd),
            b'"' => self.go(Step::Text),
            b'-' => self.go(Step::Minus),
            b'0' => self.go(Step::Zero),
            b'1'..=b'9' => self.go(Step::Whole),
            b't' => self.go(Step::Word("true", 1)),
            b'f' => self.go(Step::Word("false", 1)),
            b'n' => self.go(Step::Word("null", 1)),
            _ => wrong(byte, "looking for beginning of value"),
        }
    }

    fn end_value(&mut self, byte: u8) -> Result<(), String> {
        let Some(within) = self.within.last().copied() else {
            self.ended = true;
            self.step = Step::EndTop;
            return if is_space(byte) { Ok(()) } else { self.take(byte) };
        };
        match (within, byte) {
            _ if is_space(byte) => self.go(Step::EndValue),
            (Within::Name, b':') => {
                self.replace(Within::Member);
                self.go(Step::Value)
            }
            (Within::Name, _) => wrong(byte, "after object key"),
            (Within::Member, b',') => {
                self.replace(Within::Name);
                self.go(Step::Name)
            }
            (Within::Array, b',') => self.go(Step::Value),
            (Within::Member, b'}') | (Within::Array, b']') => {
                self.within.pop();
                self.ended = self.within.is_empty();
                self.go(if self.ended { Step::EndTop } else { Step::EndValue })
            }
            (Within::Member, _) => wrong(byte, "after object key:value pair"),
            (Within::Array, _) => wrong(byte, "after array element"),
        }
    }

    fn text(&mut self, byte: u8) -> Result<(), String> {
        match (self.step, byte) {
            (Step::Hex(left), _) if byte.is_ascii_hexdigit() => self.go(if left == 1 {
                Step::Text
            } else {
                Step::Hex(left - 1)
            }),
            (Step::Hex(_), _) => wrong(byte, "in \\u hexadecimal character escape"),
            (Step::Escape, b'u') => self.go(Step::Hex(4)),
            (Step::Escape, b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"') => self.go(Step::Text),
            (Step::Escape, _) => wrong(byte, "in string escape code"),
            (_, b'"') => self.go(Step::EndValue),
            (_, b'\\') => self.go(Step::Escape),
            (_, 0..0x20) => wrong(byte, "in string literal"),
            _ => Ok(()),
        }
    }

    fn number(&mut self, byte: u8) -> Result<(), String> {
        let digit = byte.is_ascii_digit();
        let exponent = matches!(byte, b'e' | b'E');
        match (self.step, byte) {
            (Step::Minus, b'0') => self.go(Step::Zero),
            (Step::Minus, _) if digit => self.go(Step::Whole),
            (Step::Minus, _) => wrong(byte, "in numeric literal"),
            (Step::Whole | Step::Fraction | Step::ExponentDigits, _) if digit => Ok(()),
            (Step::Whole | Step::Zero, b'.') => self.go(Step::Point),
            (Step::Whole | Step::Zero | Step::Fraction, _) if exponent => self.go(Step::Exponent),
            (Step::Point, _) if digit => self.go(Step::Fraction),
            (Step::Point, _) => wrong(byte, "after decimal point in numeric literal"),
            (Step::Exponent, b'+' | b'-') => self.go(Step::ExponentSign),
            (Step::Exponent | Step::ExponentSign, _) if digit => self.go(Step::ExponentDigits),
            (Step::Exponent | Step::ExponentSign, _) => wrong(byte, "in exponent of numeric literal"),
            _ => {
                self.step = Step::EndValue;
                self.end_value(byte)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn words_of_go() {
        for (text, said) in [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("\"a", "unexpected end of JSON input"),
            ("tru", "invalid character ' ' in literal true (expecting 'e')"),
            ("{}x", "invalid character 'x' after top-level value"),
            ("1 2", "invalid character '2' after top-level value"),
            (
                "{\"a\":[],}",
                "invalid character '}' looking for beginning of object key string",
            ),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            (
                "{x}",
                "invalid character 'x' looking for beginning of object key string",
            ),
            (
                "{\"a\":1 \"b\"}",
                "invalid character '\"' after object key:value pair",
            ),
            ("[1 2]", "invalid character '2' after array element"),
            ("[,]", "invalid character ',' looking for beginning of value"),
            ("{\"a\":01}", "invalid character '1' after object key:value pair"),
            ("{\"a\":\"\\q\"}", "invalid character 'q' in string escape code"),
            (
                "{\"a\":tx}",
                "invalid character 'x' in literal true (expecting 'r')",
            ),
            ("{\"a\":\"\n\"}", "invalid character '\\n' in string literal"),
            ("-", "invalid character ' ' in numeric literal"),
            (
                "[1.]",
                "invalid character ']' after decimal point in numeric literal",
            ),
            (
                "\"\\u12g4\"",
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            ("1e", "invalid character ' ' in exponent of numeric literal"),
        ] {
            assert_eq!(check(text.as_bytes()), Err(said.to_owned()), "{text}");
        }
        for text in [
            "{}",
            " [ ] ",
            "[1, -0.5e+3,\"\\u00e9\\\"\" ,null]",
            "true",
            "0",
            "{\"a\":{\"b\":[{}]}}",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
        let deep = "[".repeat(20_000);
        assert_eq!(check(deep.as_bytes()), Err("exceeded max depth".to_owned()));
    }
}
