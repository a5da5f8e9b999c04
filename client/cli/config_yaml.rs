//! etcd's file of settings: YAML, with the flags by their names, and those of TLS in two groups.
//!
//! Anchors and aliases are refused: no such file needs them, and with them a few lines could mean gigabytes.

use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use crate::config_file;

/// Groups of settings, and what is put before the names in them to get those of the flags.
const GROUPS: [(&str, &str); 2] = [
    ("client-transport-security", ""),
    ("peer-transport-security", "peer-"),
];

/// A setting of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setting {
    /// The flag's name.
    pub(crate) name: String,
    /// Its value as a flag would have it.
    pub(crate) value: String,
    /// File, line and key, for people.
    pub(crate) place: String,
}

/// Reads a file; the error names file, line and key.
pub(crate) fn load(file: &Path) -> Result<Vec<Setting>, String> {
    let text = config_file::read(file)?;
    let mut reader = Reader {
        file,
        events: Parser::new_from_str(&text),
        line: 1,
        found: Vec::new(),
    };
    reader.document()?;
    Ok(reader.found)
}

/// What the reader goes by.
#[derive(Debug)]
enum Token {
    /// A text; none for the empty value.
    Text(Option<String>),
    /// A list begins.
    List,
    /// A mapping begins.
    Mapping,
    /// A list or a mapping ends.
    Close,
    /// A document begins.
    Document,
    /// Nothing comes any more.
    End,
}

struct Reader<'a, E> {
    file: &'a Path,
    events: E,
    /// Where the last event was.
    line: usize,
    found: Vec<Setting>,
}

impl<'i, E: Iterator<Item = Result<(Event<'i>, Span), ScanError>>> Reader<'_, E> {
    fn wrong<T>(&self, what: &str) -> Result<T, String> {
        Err(format!("{} line {}: {what}", self.file.display(), self.line))
    }

    fn next(&mut self) -> Result<Token, String> {
        loop {
            let Some(event) = self.events.next() else {
                return Ok(Token::End);
            };
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => {
                    self.line = error.marker().line();
                    return self.wrong(error.info());
                }
            };
            self.line = span.start.line();
            let (token, anchor) = match event {
                Event::Scalar(text, style, anchor, _) => {
                    let null = style == ScalarStyle::Plain && is_null(&text);
                    (Token::Text((!null).then(|| text.into_owned())), anchor)
                }
                Event::SequenceStart(anchor, _) => (Token::List, anchor),
                Event::MappingStart(anchor, _) => (Token::Mapping, anchor),
                Event::Alias(_) => (Token::List, 1),
                Event::SequenceEnd | Event::MappingEnd => (Token::Close, 0),
                Event::DocumentStart(_) => (Token::Document, 0),
                Event::StreamEnd => (Token::End, 0),
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => continue,
            };
            if anchor != 0 {
                return self.wrong("anchors and aliases are not supported");
            }
            return Ok(token);
        }
    }

    /// The only document, which is empty or a mapping.
    fn document(&mut self) -> Result<(), String> {
        loop {
            match self.next()? {
                Token::End => return Ok(()),
                Token::Mapping => break,
                Token::Document | Token::Text(None) => {}
                Token::Text(Some(_)) | Token::List | Token::Close => {
                    return self.wrong("settings are lines of NAME: VALUE");
                }
            }
        }
        self.mapping(None)?;
        match self.next()? {
            Token::End => Ok(()),
            Token::Document | Token::Text(_) | Token::List | Token::Mapping | Token::Close => {
                self.wrong("a second document begins")
            }
        }
    }

    /// The settings of a mapping that has begun; of a group, with what is put before their names.
    fn mapping(&mut self, group: Option<(&str, &str)>) -> Result<(), String> {
        loop {
            let key = match self.next()? {
                Token::Close => return Ok(()),
                Token::Text(Some(key)) => key,
                Token::Text(None) | Token::List | Token::Mapping | Token::Document | Token::End => {
                    return self.wrong("a name belongs there");
                }
            };
            let place = match group {
                Some((group, _)) => format!("{} line {}: {group}: {key}", self.file.display(), self.line),
                None => format!("{} line {}: {key}", self.file.display(), self.line),
            };
            let value = match self.next()? {
                Token::Text(None) => continue,
                Token::Text(Some(value)) => value,
                Token::List => self.list(&key)?,
                Token::Mapping if group.is_none() => {
                    let Some(group) = GROUPS.into_iter().find(|(name, _)| *name == key) else {
                        return self.wrong(&format!("{key}: there is no such group of settings"));
                    };
                    self.mapping(Some(group))?;
                    continue;
                }
                Token::Mapping | Token::Close | Token::Document | Token::End => {
                    return self.wrong(&format!("{key}: a text, a number or a list belongs there"));
                }
            };
            let name = format!("{}{key}", group.map_or("", |(_, before)| before));
            if self.found.iter().any(|setting| setting.name == name) {
                return self.wrong(&format!("{key}: it is given twice"));
            }
            self.found.push(Setting { name, value, place });
        }
    }

    /// The texts of a list that has begun, separated by commas.
    fn list(&mut self, key: &str) -> Result<String, String> {
        let mut texts: Vec<String> = Vec::new();
        loop {
            match self.next()? {
                Token::Close => return Ok(texts.join(",")),
                Token::Text(text) => texts.extend(text),
                Token::List | Token::Mapping | Token::Document | Token::End => {
                    return self.wrong(&format!("{key}: a list of texts belongs there"));
                }
            }
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let mut reader = Reader {
            file: Path::new("f"),
            events: Parser::new_from_str(text),
            line: 1,
            found: Vec::new(),
        };
        match reader.document() {
            Err(error) => error,
            Ok(()) => {
                let pair = |setting: &Setting| format!("{}={}", setting.name, setting.value);
                reader.found.iter().map(pair).collect::<Vec<_>>().join(" ")
            }
        }
    }

    #[test]
    fn etcds_own_sample_is_read() {
        let text = "# This is the configuration file for the etcd server.\n\n# Human-readable name for this member.\n\
                    name: 'default'\ndata-dir:\nsnapshot-count: 10000\n\
                    listen-client-urls: http://localhost:2379\ncors:\nenable-v2: true\n\
                    client-transport-security:\n  # Path to the client server TLS cert file.\n  cert-file:\n  \
                    client-cert-auth: false\npeer-transport-security:\n  key-file: /k\n  client-cert-auth: true\n\
                    log-outputs: [stderr]\ninitial-cluster: \"a=http://h:1,b=http://h:2\"\n";
        assert_eq!(
            read(text),
            "name=default snapshot-count=10000 listen-client-urls=http://localhost:2379 enable-v2=true \
             client-cert-auth=false peer-key-file=/k peer-client-cert-auth=true log-outputs=stderr \
             initial-cluster=a=http://h:1,b=http://h:2"
        );
        assert_eq!((read(""), read("---\n...\n")), (String::new(), String::new()));
        assert_eq!(read("wal-dir: ''"), "wal-dir=");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, wanted) in [
            ("name: a\nname: b", "f line 2: name: it is given twice"),
            (
                "a: &x 1\nb: *x",
                "f line 1: anchors and aliases are not supported",
            ),
            ("- a", "f line 1: settings are lines of NAME: VALUE"),
            ("just text", "f line 1: settings are lines of NAME: VALUE"),
            ("x:\n  y: 1", "f line 2: x: there is no such group of settings"),
            ("name: [[a]]", "f line 1: name: a list of texts belongs there"),
            ("name: a\n---\nname: b", "f line 2: a second document begins"),
            ("[a]: b", "f line 1: a name belongs there"),
        ] {
            assert_eq!(read(text), wanted, "{text}");
        }
        assert!(read("name: \"a\n").starts_with("f line "));
    }

    #[test]
    fn nothing_makes_it_panic() {
        let sample =
            "name: 'a'\nlist: [x, \"y\", {z: 1}]\nclient-transport-security:\n  - a\n? b\n: &c !t |\n  d\n";
        for start in 0..sample.len() {
            for end in start..=sample.len() {
                drop(read(&sample[start..end]));
            }
        }
        let deep = "[".repeat(20_000);
        drop(read(&format!("name: {deep}")));
    }
}
