//! Command-line flags by the rules of etcdctl: Go's flags, moved in front of the other words of a command. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::args::duration;

/// What a flag holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Text,
    Number,
    Time,
    /// A text, any number of times.
    List,
}

/// What is between the texts of a list: no word has it.
const BETWEEN: char = '\0';

/// A flag of a command: its names, long one first, and what the help says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    pub(super) names: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// The flags that were given, under their long names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Given(BTreeMap<&'static str, String>);

impl Given {
    pub(super) fn is(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value == "true")
    }

    /// A text that is not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// All texts of a list, empty ones too.
    pub(super) fn list(&self, name: &str) -> Vec<String> {
        let texts = self.0.get(name).map(|texts| texts.split(BETWEEN));
        texts.into_iter().flatten().map(str::to_owned).collect()
    }

    pub(super) fn number(&self, name: &str) -> i64 {
        self.0.get(name).and_then(|value| whole(value).ok()).unwrap_or(0)
    }

    /// A number above zero.
    pub(super) fn count(&self, name: &str) -> Option<u64> {
        u64::try_from(self.number(name)).ok().filter(|count| *count > 0)
    }

    pub(super) fn time(&self, name: &str) -> Option<Duration> {
        duration(self.0.get(name)?).ok()
    }
}

/// Moves the flags of a command, with their values, in front of its other words. What follows `--` stays.
pub(super) fn reorder(flags: &[Flag], words: &[String]) -> Vec<String> {
    let (mut front, mut rest) = (Vec::new(), Vec::new());
    // Whether a flag was seen that could not be told from one that takes a value.
    let mut value_next = false;
    for (at, word) in words.iter().enumerate() {
        let known = is_flag(flags, word);
        if value_next && !known {
            value_next = false;
            front.push(word.clone());
        } else if word == "--" {
            rest.insert(0, word.clone());
            rest.extend_from_slice(&words[at + 1..]);
            break;
        } else if known {
            front.push(word.clone());
            value_next = !word.contains('=');
        } else {
            rest.push(word.clone());
        }
    }
    front.append(&mut rest);
    front
}

fn is_flag(flags: &[Flag], word: &str) -> bool {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    let name = name.map(|name| name.split('=').next().unwrap_or_default());
    name.is_some_and(|name| find(flags, name).is_some())
}

fn find<'a>(flags: &'a [Flag], name: &str) -> Option<&'a Flag> {
    flags.iter().find(|flag| flag.names.contains(&name))
}

/// Reads flags up to the first word that is none; returns them and the other words.
pub(super) fn parse(flags: &[Flag], words: &[String]) -> Result<(Given, Vec<String>), String> {
    let mut given = Given::default();
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            break;
        };
        at += 1;
        let name = name.strip_prefix('-').unwrap_or(name);
        if name.is_empty() {
            break;
        }
        if name.starts_with(['-', '=']) {
            return Err(format!("bad flag syntax: {word}"));
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        let flag = find(flags, name).ok_or_else(|| format!("flag provided but not defined: -{name}"))?;
        let value = match (value, flag.kind) {
            (Some(value), _) => value.to_owned(),
            (None, Kind::Bool) => "true".to_owned(),
            (None, Kind::Text | Kind::Number | Kind::Time | Kind::List) => {
                let value = words.get(at);
                at += 1;
                value
                    .ok_or_else(|| format!("flag needs an argument: -{name}"))?
                    .clone()
            }
        };
        let mut value = checked(flag.kind, name, &value)?;
        if let Some(before) = given.0.get(flag.names[0]).filter(|_| flag.kind == Kind::List) {
            value = format!("{before}{BETWEEN}{value}");
        }
        given.0.insert(flag.names[0], value);
    }
    Ok((given, words.get(at..).unwrap_or_default().to_vec()))
}

fn checked(kind: Kind, name: &str, value: &str) -> Result<String, String> {
    match kind {
        Kind::Text | Kind::List => Ok(value.to_owned()),
        Kind::Bool => match value {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true".to_owned()),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false".to_owned()),
            _ => Err(format!(
                "invalid boolean value {value:?} for -{name}: parse error"
            )),
        },
        Kind::Number => whole(value)
            .map(|_| value.to_owned())
            .map_err(|why| format!("invalid value {value:?} for flag -{name}: {why}")),
        Kind::Time => duration(value)
            .map(|_| value.to_owned())
            .map_err(|_| format!("invalid value {value:?} for flag -{name}: parse error")),
    }
}

/// A whole number as Go reads it: decimal, or with 0x, 0o, 0b or a leading 0.
fn whole(text: &str) -> Result<i64, &'static str> {
    const WRONG: &str = "parse error";
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some(_) if lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(WRONG);
    }
    let signed = if negative {
        format!("-{digits}")
    } else {
        digits.to_owned()
    };
    i64::from_str_radix(&signed, radix).map_err(|_| "value out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: &[Flag] = &[
        Flag {
            names: &["in-order"],
            kind: Kind::Bool,
            help: "",
        },
        Flag {
            names: &["recursive", "r"],
            kind: Kind::Bool,
            help: "",
        },
        Flag {
            names: &["ttl"],
            kind: Kind::Number,
            help: "",
        },
        Flag {
            names: &["with"],
            kind: Kind::Text,
            help: "",
        },
        Flag {
            names: &["timeout"],
            kind: Kind::Time,
            help: "",
        },
    ];

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_move_to_the_front() {
        for (line, wanted) in [
            ("/a 2 --ttl 100", "--ttl 100 /a 2"),
            ("/a --ttl=100 2", "--ttl=100 /a 2"),
            // What follows a switch is taken for its value: the words change places, as they do in etcdctl.
            ("--in-order /q 2 --ttl 40", "--in-order /q --ttl 40 2"),
            ("--with -x /a 3", "--with -x /a 3"),
            ("/a -x", "/a -x"),
            ("/a -- -x", "-- /a -x"),
            ("/a - --ttl 5", "--ttl 5 /a -"),
            ("-r / -- env", "-r / -- env"),
        ] {
            assert_eq!(reorder(FLAGS, &words(line)).join(" "), wanted, "{line}");
        }
    }

    #[test]
    fn flags_are_read() {
        let check = |line: &str| match parse(FLAGS, &words(line)) {
            Ok((given, rest)) => format!("{:?} {}", given.0, rest.join(" ")),
            Err(why) => why,
        };
        for (line, wanted) in [
            ("--ttl 5 /a b", r#"{"ttl": "5"} /a b"#),
            ("-ttl=0x10 -r /a", r#"{"recursive": "true", "ttl": "0x10"} /a"#),
            ("-- -r", "{} -r"),
            ("- -r", "{} - -r"),
            ("--with -r /a", r#"{"with": "-r"} /a"#),
            ("--recursive=false", r#"{"recursive": "false"} "#),
            ("--ttl 5x", r#"invalid value "5x" for flag -ttl: parse error"#),
            (
                "--ttl 99999999999999999999",
                r#"invalid value "99999999999999999999" for flag -ttl: value out of range"#,
            ),
            ("--ttl", "flag needs an argument: -ttl"),
            ("-x", "flag provided but not defined: -x"),
            ("---x", "bad flag syntax: ---x"),
            ("-r=maybe", r#"invalid boolean value "maybe" for -r: parse error"#),
            (
                "--timeout 1x",
                r#"invalid value "1x" for flag -timeout: parse error"#,
            ),
        ] {
            assert_eq!(check(line), wanted, "{line}");
        }
    }

    #[test]
    fn numbers() {
        for (text, wanted) in [
            ("0", Ok(0)),
            ("-1", Ok(-1)),
            ("+7", Ok(7)),
            ("010", Ok(8)),
            ("0b11", Ok(3)),
            ("", Err("parse error")),
            ("-", Err("parse error")),
            ("--1", Err("parse error")),
            ("0x", Err("parse error")),
        ] {
            assert_eq!(whole(text), wanted, "{text}");
        }
    }
}
