//! The keys with which a client leaves a terminal without ending what runs in it: both ends look for them.

/// ctrl-p, ctrl-q
const DEFAULT: [u8; 2] = [16, 17];

/// Keys of one sequence; more are refused.
const MAX_KEYS: usize = 64;

/// A text that is no list of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeysError(String);

impl std::fmt::Display for DetachKeysError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invalid detach keys ({}) provided", self.0)
    }
}

impl std::error::Error for DetachKeysError {}

/// Looks for a sequence of keys in what a client types.
#[derive(Debug, Clone)]
pub struct DetachKeys {
    keys: Vec<u8>,
    /// How many of them have been typed; held back meanwhile.
    typed: usize,
}

impl DetachKeys {
    /// Reads a list such as `ctrl-p,ctrl-q` or `a,b`; an empty one means the default.
    ///
    /// # Errors
    /// A text that is no such list.
    pub fn parse(text: &str) -> Result<Self, DetachKeysError> {
        let refused = || DetachKeysError(text.to_owned());
        let keys = match text {
            "" => DEFAULT.to_vec(),
            list => list
                .split(',')
                .map(key)
                .collect::<Option<Vec<u8>>>()
                .ok_or_else(refused)?,
        };
        if keys.len() > MAX_KEYS {
            return Err(refused());
        }
        Ok(Self { keys, typed: 0 })
    }

    /// Takes what was typed. Appends what goes on to the terminal; true when the sequence is complete, and nothing after
    /// it is taken then.
    pub fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> bool {
        for byte in input {
            if *byte != self.keys[self.typed] {
                out.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if *byte == self.keys[self.typed] {
                self.typed += 1;
                if self.typed == self.keys.len() {
                    return true;
                }
            } else {
                out.push(*byte);
            }
        }
        false
    }
}

/// One character, or `ctrl-` with a letter or one of `@[\]^_`.
fn key(text: &str) -> Option<u8> {
    match (text.strip_prefix("ctrl-"), text.as_bytes()) {
        (Some(rest), _) => match rest.as_bytes() {
            [letter @ (b'a'..=b'z')] => Some(letter - b'a' + 1),
            [b'@'] => Some(0),
            [sign @ b'['..=b'_'] => Some(sign - b'@'),
            _ => None,
        },
        (None, [byte]) => Some(*byte),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &str, input: &[&str]) -> (String, bool) {
        let mut keys = DetachKeys::parse(keys).expect("keys");
        let mut out = Vec::new();
        let found = input.iter().any(|piece| keys.take(piece.as_bytes(), &mut out));
        (String::from_utf8(out).expect("text"), found)
    }

    #[test]
    fn the_sequence_is_found_and_everything_else_passes() {
        for (keys, input, out, found) in [
            ("", vec!["a\x10\x11b"], "a", true),
            ("", vec!["a\x10", "\x11"], "a", true),
            ("", vec!["\x10\x10\x11"], "\x10", true),
            ("", vec!["\x10x\x11"], "\x10x\x11", false),
            ("", vec!["\x11\x10"], "\x11", false),
            ("ctrl-a", vec!["x\x01"], "x", true),
            ("a,b", vec!["aab"], "a", true),
            ("ctrl-@,ctrl-_", vec!["\0\x1f"], "", true),
        ] {
            assert_eq!(typed(keys, &input), (out.to_owned(), found), "{keys:?} {input:?}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["ctrl-", "ctrl-A", "ctrl-aa", "ab", ",", "a,,b"] {
            let error = DetachKeys::parse(text).expect_err(text);
            assert!(error.to_string().contains("detach keys"), "{error}");
        }
        DetachKeys::parse(&["a"; MAX_KEYS + 1].join(",")).expect_err("too many");
    }
}
