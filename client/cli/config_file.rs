//! `--config FILE`: the flags of a server from a TOML file. A flag counts before a variable, and a variable before the file.
//!
//! The keys are the names of the flags, all on one level: `listen-client = ["127.0.0.1:2379"]`.

use std::ffi::OsString;
use std::ops::Range;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::de::{DeTable, DeValue};

use crate::args::{self, Cli};

/// The longest file that is read; one with every flag stays far below.
pub(crate) const LONGEST_FILE: u64 = 1 << 20;

/// Flags that make no sense in a file.
const ONLY_WORDS: [&str; 3] = ["config", "help", "version"];

/// Why there is nothing to do.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The words make no sense, or ask for help.
    Words(clap::Error),
    /// The file cannot be used; the text names file, line and key.
    File(String),
}

impl From<clap::Error> for Unread {
    fn from(error: clap::Error) -> Self {
        Self::Words(error)
    }
}

/// Reads the words, the environment and the file that they name.
pub(crate) fn parse(words: &[OsString]) -> Result<Cli, Unread> {
    let cli = with_sources(Cli::command().try_get_matches_from(words)?)?;
    let Some((server, file)) = named(&cli) else {
        return Ok(cli);
    };
    let text = read(file).map_err(Unread::File)?;
    let mut command = Cli::command();
    let settings = settings(&command, server, file, &text).map_err(Unread::File)?;
    command = command.mut_subcommand(server, |mut command| {
        for (id, value) in settings {
            command = command.mut_arg(id, |arg| with_default(arg, value));
        }
        command
    });
    Ok(with_sources(command.try_get_matches_from(words)?)?)
}

/// The words, and whether those that mean two things were typed: a variable for clients moves no server.
fn with_sources(matches: ArgMatches) -> Result<Cli, clap::Error> {
    let mut cli = Cli::from_arg_matches(&matches)?;
    cli.global.host_typed = matches.value_source("host") == Some(ValueSource::CommandLine);
    Ok(cli)
}

/// The server that is started, and its file.
fn named(cli: &Cli) -> Option<(&'static str, &Path)> {
    let (server, file) = if let args::Command::Dev(args) = &cli.command {
        ("dev", &args.config)
    } else if let args::Command::Store(args) = &cli.command {
        ("store", &args.config)
    } else if let args::Command::Engine(args) = &cli.command {
        ("engine", &args.config)
    } else {
        return None;
    };
    Some((server, file.as_deref()?))
}

/// A file of settings as text.
pub(crate) fn read(file: &Path) -> Result<String, String> {
    let said = |error: std::io::Error| format!("{}: {error}", file.display());
    let length = std::fs::metadata(file).map_err(said)?.len();
    if length > LONGEST_FILE {
        return Err(format!(
            "{}: it is longer than any file of settings",
            file.display()
        ));
    }
    std::fs::read_to_string(file).map_err(said)
}

/// The value of the file stands in where neither a flag nor a variable is given. clap keeps defaults for as long as the
/// process runs, and this is done once in it.
fn with_default(arg: Arg, value: String) -> Arg {
    let value: &'static str = value.leak();
    arg.default_value(value)
}

/// The flags that a file sets, by their ids, with their values as a flag would have them.
fn settings(
    command: &Command,
    server: &str,
    file: &Path,
    text: &str,
) -> Result<Vec<(String, String)>, String> {
    let at = |span: Range<usize>, what: &str| {
        let before = text.get(..span.start).unwrap_or(text);
        let line = before.matches('\n').count() + 1;
        format!("{} line {line}: {what}", file.display())
    };
    let table = DeTable::parse(text).map_err(|error| {
        let message = error.message().to_owned();
        at(error.span().unwrap_or_default(), &message)
    })?;
    let server_command = command.find_subcommand(server);
    let mut found = Vec::new();
    for (key, value) in table.get_ref() {
        let name: &str = key.get_ref();
        let arg = server_command.and_then(|command| {
            let mut args = command.get_arguments();
            args.find(|arg| arg.get_long() == Some(name) && !arg.is_hide_set())
        });
        let arg = arg.filter(|_| !ONLY_WORDS.contains(&name));
        let arg =
            arg.ok_or_else(|| at(key.span(), &format!("{name}: berth {server} has no such setting")))?;
        let wrong = |why: &str| at(value.span(), &format!("{name}: {why}"));
        let value = word(value.get_ref(), arg).map_err(wrong)?;
        check(arg, &value).map_err(|why| wrong(&why))?;
        found.push((arg.get_id().to_string(), value));
    }
    Ok(found)
}

/// The value as a flag would have it.
fn word(value: &DeValue<'_>, arg: &Arg) -> Result<String, &'static str> {
    let switch = matches!(arg.get_action(), ArgAction::SetTrue);
    match value {
        DeValue::Boolean(value) if switch => Ok(value.to_string()),
        _ if switch => Err("it must be true or false"),
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        DeValue::Array(list) => {
            let words = list.iter().map(|item| {
                let text = item.get_ref().as_str().filter(|text| !text.contains(','));
                let text = text.ok_or("it must be a list of texts without commas")?;
                Ok(text.to_owned())
            });
            Ok(words.collect::<Result<Vec<_>, &str>>()?.join(","))
        }
        DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => Err("it must be a text, a number, or a list of texts"),
    }
}

/// What the flag itself says to the value.
fn check(arg: &Arg, value: &str) -> Result<(), String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return Ok(());
    }
    let alone = Command::new("setting").no_binary_name(true).arg(arg.clone());
    let word = format!("--{}={value}", arg.get_long().unwrap_or_default());
    let checked = alone.try_get_matches_from([word]);
    checked.map(drop).map_err(|error| {
        let text = error.render().to_string();
        let first = text.lines().next().unwrap_or_default();
        first.strip_prefix("error: ").unwrap_or(first).to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(server: &str, text: &str) -> String {
        match settings(&Cli::command(), server, Path::new("f"), text) {
            Ok(found) => found
                .into_iter()
                .map(|(id, value)| format!("{id}={value}"))
                .collect::<Vec<_>>()
                .join(" "),
            Err(error) => error,
        }
    }

    #[test]
    fn settings_are_the_flags_of_the_server() {
        let text = "name = \"a\"\nlisten-client = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\nsnapshot-count = 7\n";
        assert_eq!(
            found("store", text),
            "listen_client=127.0.0.1:1,127.0.0.1:2 name=a snapshot_count=7"
        );
        assert_eq!(found("engine", "stop-containers = true"), "stop_containers=true");
        assert_eq!(found("dev", "ttl = 5\nname = \"x\""), "name=x ttl=5");
        assert_eq!(found("store", "# nothing\n"), "");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (server, text, wanted) in [
            (
                "store",
                "\nnam = \"a\"",
                "f line 2: nam: berth store has no such setting",
            ),
            (
                "store",
                "ttl = 5",
                "f line 1: ttl: berth store has no such setting",
            ),
            (
                "store",
                "config = \"x\"",
                "f line 1: config: berth store has no such setting",
            ),
            (
                "store",
                "until-stdin-ends = true",
                "f line 1: until-stdin-ends: berth store has no such setting",
            ),
            (
                "store",
                "name = 1.5",
                "f line 1: name: it must be a text, a number, or a list of texts",
            ),
            (
                "store",
                "[store]\nname = \"a\"",
                "f line 1: store: berth store has no such setting",
            ),
            (
                "engine",
                "stop-containers = 1",
                "f line 1: stop-containers: it must be true or false",
            ),
            (
                "store",
                "listen-client = [1]",
                "f line 1: listen-client: it must be a list of texts without commas",
            ),
        ] {
            assert_eq!(found(server, text), wanted);
        }
        let number = found("store", "snapshot-count = 0");
        assert!(
            number.starts_with("f line 1: snapshot-count: ") && number.contains("'0'"),
            "{number}"
        );
        let broken = found("store", "name = \"a\"\nname = \n");
        assert!(broken.starts_with("f line 2: "), "{broken}");
    }
}
