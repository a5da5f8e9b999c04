//! Changes to an image's configuration, written as lines of a Dockerfile.

mod words;

use berth_wire::docker::{Empty, HealthConfig, ImageConfig, PathSet, Words};

use words::{Word, split};

/// The most ports that one range may name.
const RANGE_LIMIT: usize = 65_536;

/// The number of the last signal.
const LAST_SIGNAL: u8 = 64;

/// A change that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// No such instruction, or not one for a finished image.
    #[error("{0} is not a valid change command")]
    Unknown(String),
    /// The instruction's arguments are missing or wrong.
    #[error("{instruction}: {reason}: {text:?}")]
    Arguments {
        /// The instruction, in upper case.
        instruction: &'static str,
        /// What is wrong.
        reason: &'static str,
        /// What was given.
        text: String,
    },
}

/// Makes all changes, in order.
pub(crate) fn apply(config: &mut ImageConfig, changes: &[String]) -> Result<(), ChangeError> {
    for line in changes.iter().flat_map(|change| change.lines()) {
        let line = line.trim();
        if !line.is_empty() && !line.starts_with('#') {
            change(config, line)?;
        }
    }
    Ok(())
}

fn change(config: &mut ImageConfig, line: &str) -> Result<(), ChangeError> {
    let (name, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let text = text.trim();
    match name.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command("CMD", text)?),
        "ENTRYPOINT" => config.entrypoint = Some(command("ENTRYPOINT", text)?),
        "ENV" => {
            for (key, value) in pairs("ENV", text, &config.env)? {
                set_variable(&mut config.env, &key, &value);
            }
        }
        "LABEL" => config.labels.extend(pairs("LABEL", text, &config.env)?),
        "EXPOSE" => {
            for word in words_of("EXPOSE", text, &config.env)? {
                expose(&mut config.exposed_ports, &word)
                    .ok_or_else(|| wrong("EXPOSE", "not a port", &word))?;
            }
        }
        "VOLUME" => {
            let paths = match json_list(text) {
                Some(paths) => paths,
                None => words_of("VOLUME", text, &config.env)?,
            };
            for path in paths {
                if path.trim().is_empty() {
                    return Err(wrong("VOLUME", "an empty path", text));
                }
                config.volumes.insert(path, Empty);
            }
        }
        "USER" => config.user = one_word("USER", text, &config.env)?,
        "WORKDIR" => {
            let path = one_word("WORKDIR", text, &config.env)?;
            config.working_dir = joined(&config.working_dir, &path);
        }
        "STOPSIGNAL" => {
            let signal = one_word("STOPSIGNAL", text, &config.env)?;
            if !is_signal(&signal) {
                return Err(wrong("STOPSIGNAL", "not a signal", &signal));
            }
            config.stop_signal = signal;
        }
        "HEALTHCHECK" => config.healthcheck = Some(health_check(text)?),
        "ONBUILD" => on_build(config, text)?,
        _ => return Err(ChangeError::Unknown(name.to_ascii_lowercase())),
    }
    Ok(())
}

fn wrong(instruction: &'static str, reason: &'static str, text: &str) -> ChangeError {
    ChangeError::Arguments {
        instruction,
        reason,
        text: text.to_owned(),
    }
}

/// A list in JSON is the command itself; anything else goes to the shell.
fn command(instruction: &'static str, text: &str) -> Result<Words, ChangeError> {
    if text.is_empty() {
        return Err(wrong(instruction, "arguments are missing", text));
    }
    Ok(Words(json_list(text).unwrap_or_else(|| {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()]
    })))
}

fn json_list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[')
        .then(|| serde_json::from_str(text).ok())
        .flatten()
}

fn words(instruction: &'static str, text: &str, env: &[String]) -> Result<Vec<Word>, ChangeError> {
    let found = split(text, env).map_err(|reason| wrong(instruction, reason, text))?;
    if found.is_empty() {
        return Err(wrong(instruction, "arguments are missing", text));
    }
    Ok(found)
}

fn words_of(instruction: &'static str, text: &str, env: &[String]) -> Result<Vec<String>, ChangeError> {
    Ok(words(instruction, text, env)?
        .into_iter()
        .map(|word| word.text)
        .collect())
}

fn one_word(instruction: &'static str, text: &str, env: &[String]) -> Result<String, ChangeError> {
    match <[String; 1]>::try_from(words_of(instruction, text, env)?) {
        Ok([word]) if !word.is_empty() => Ok(word),
        Ok(_) | Err(_) => Err(wrong(instruction, "one argument is required", text)),
    }
}

/// `KEY=VALUE …`, or the old form `KEY VALUE` where the value is the rest of the line.
fn pairs(
    instruction: &'static str,
    text: &str,
    env: &[String],
) -> Result<Vec<(String, String)>, ChangeError> {
    let found = words(instruction, text, env)?;
    if found[0].equals.is_none() {
        let (key, value) = text
            .split_once(char::is_whitespace)
            .ok_or_else(|| wrong(instruction, "KEY=VALUE is required", text))?;
        let value = split(&format!("\"{}\"", value.trim().replace('"', "\\\"")), env)
            .map_err(|reason| wrong(instruction, reason, text))?;
        let value = value.into_iter().next().map(|word| word.text).unwrap_or_default();
        return Ok(vec![(key.to_owned(), value)]);
    }
    found
        .into_iter()
        .map(|word| match word.equals {
            Some(at) if at > 0 => Ok((word.text[..at].to_owned(), word.text[at + 1..].to_owned())),
            Some(_) | None => Err(wrong(instruction, "KEY=VALUE is required", &word.text)),
        })
        .collect()
}

fn set_variable(env: &mut Vec<String>, key: &str, value: &str) {
    let entry = format!("{key}={value}");
    let same = |other: &&mut String| other.split_once('=').is_some_and(|(other, _)| other == key);
    match env.iter_mut().find(same) {
        Some(other) => *other = entry,
        None => env.push(entry),
    }
}

/// `80`, `53/udp`, `8000-8010/tcp`.
fn expose(ports: &mut PathSet, word: &str) -> Option<()> {
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return None;
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| {
        let valid = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        valid
            .then(|| text.parse::<u16>().ok())
            .flatten()
            .filter(|port| *port != 0)
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return None;
    }
    for port in (first..=last).take(RANGE_LIMIT) {
        ports.insert(format!("{port}/{protocol}"), Empty);
    }
    Some(())
}

/// A relative path goes on from the one before; `.` and `..` are worked out.
fn joined(before: &str, path: &str) -> String {
    let whole = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{before}/{path}")
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn is_signal(text: &str) -> bool {
    let number = text
        .parse::<u8>()
        .is_ok_and(|number| (1..=LAST_SIGNAL).contains(&number));
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let is_name = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name
            .chars()
            .all(|char| char.is_ascii_uppercase() || char.is_ascii_digit() || matches!(char, '+' | '-'));
    number || is_name
}

fn on_build(config: &mut ImageConfig, text: &str) -> Result<(), ChangeError> {
    let trigger = text
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_ascii_uppercase();
    match trigger.as_str() {
        "" => Err(wrong("ONBUILD", "arguments are missing", text)),
        "ONBUILD" | "FROM" | "MAINTAINER" => Err(wrong("ONBUILD", "not allowed as a trigger", text)),
        _ => {
            config.on_build.get_or_insert_default().push(text.to_owned());
            Ok(())
        }
    }
}

/// `NONE`, or `[--OPTION=VALUE …] CMD command`.
fn health_check(text: &str) -> Result<HealthConfig, ChangeError> {
    let mut check = HealthConfig::default();
    let mut rest = text;
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let bad = || wrong("HEALTHCHECK", "not an option", option);
        let (name, value) = option.split_once('=').ok_or_else(bad)?;
        match name {
            "interval" => check.interval = duration(value).ok_or_else(bad)?,
            "timeout" => check.timeout = duration(value).ok_or_else(bad)?,
            "start-period" => check.start_period = duration(value).ok_or_else(bad)?,
            "start-interval" => check.start_interval = duration(value).ok_or_else(bad)?,
            "retries" => check.retries = value.parse::<u32>().map(i64::from).map_err(|_| bad())?,
            _ => return Err(bad()),
        }
        rest = after.trim_start();
    }
    let (kind, arguments) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let arguments = arguments.trim();
    match (kind.to_ascii_uppercase().as_str(), arguments) {
        ("NONE", "") => check.test = vec!["NONE".to_owned()],
        ("CMD", arguments) if !arguments.is_empty() => {
            check.test = match json_list(arguments) {
                Some(list) => std::iter::once("CMD".to_owned()).chain(list).collect(),
                None => vec!["CMD-SHELL".to_owned(), arguments.to_owned()],
            };
        }
        _ => return Err(wrong("HEALTHCHECK", "NONE or CMD is required", text)),
    }
    Ok(check)
}

/// `1m30s`, `500ms`, in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        let after = &rest[digits..];
        let end = after
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(after.len());
        let nanos: i64 = match &after[..end] {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(nanos)?)?;
        rest = &after[end..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests;
