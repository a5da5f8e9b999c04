//! The command line and the environment of `etcd`: which flags there are, and how Go reads them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config_yaml::Setting;

/// The words cannot be read.
pub(crate) const UNREADABLE: u8 = 2;

/// The words can be read, but not carried out.
pub(crate) const CONTRADICTORY: u8 = 1;

/// What is in front of the name of each variable.
const PREFIX: &str = "ETCD_";

/// Why nothing is started: the exit code and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: u8,
    pub(crate) text: String,
}

/// A refusal of what can be read.
pub(crate) fn refuse(text: impl Into<String>) -> Refused {
    Refused {
        code: CONTRADICTORY,
        text: text.into(),
    }
}

fn unreadable(text: String) -> Refused {
    Refused {
        code: UNREADABLE,
        text,
    }
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Serve(Line),
    Version,
    Help,
}

/// Flags with their values, of the command line or of the environment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    given: BTreeMap<&'static str, String>,
    /// What was given and has no effect.
    pub(crate) warnings: Vec<String>,
}

impl Line {
    /// The value of a flag that was given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(String::as_str)
    }

    /// The value of a number; `default` if it was not given.
    pub(crate) fn number(&self, name: &str, default: u64) -> Result<u64, Refused> {
        let Some(text) = self.get(name) else {
            return Ok(default);
        };
        text.parse()
            .map_err(|_| unreadable(format!("invalid value {text:?} for flag -{name}: parse error")))
    }
}

/// How a flag is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With a value.
    Text,
    /// Without a value, or with `=true` and the like.
    Bool,
    /// With a value that has to be one of these: of the rest none is supported yet.
    Only(&'static [&'static str]),
    /// The same without a value.
    OnlyBool(&'static str),
    /// With a value that has no effect.
    Idle,
    /// Without a value, and without effect.
    IdleBool,
    /// Gone; the text says what takes its place.
    Gone(&'static str),
}

impl Kind {
    fn is_bool(self) -> bool {
        matches!(self, Kind::Bool | Kind::OnlyBool(_) | Kind::IdleBool)
    }
}

/// Nothing but the empty value.
const NOT_YET: Kind = Kind::Only(&[""]);
const NOT_YET_BOOL: Kind = Kind::OnlyBool("false");

/// Every flag, with its help if it does something.
const FLAGS: &[(&str, Kind, &str)] = &[
    ("name", Kind::Text, "the member's name (default)"),
    ("data-dir", Kind::Text, "directory of the data (NAME.etcd)"),
    (
        "listen-client-urls",
        Kind::Text,
        "where clients are served (http://localhost:2379,http://localhost:4001)",
    ),
    (
        "advertise-client-urls",
        Kind::Text,
        "what clients are told to use",
    ),
    (
        "listen-peer-urls",
        Kind::Text,
        "where other members would be served (http://localhost:2380)",
    ),
    (
        "initial-advertise-peer-urls",
        Kind::Text,
        "what other members are told to use",
    ),
    (
        "initial-cluster",
        Kind::Text,
        "NAME=URL of each member that forms the cluster, this one too",
    ),
    ("initial-cluster-state", Kind::Text, "new, or existing"),
    (
        "initial-cluster-token",
        Kind::Text,
        "tells clusters apart that are formed at the same URLs (etcd-cluster)",
    ),
    (
        "snapshot-count",
        Kind::Text,
        "log entries between two snapshots (10000)",
    ),
    (
        "heartbeat-interval",
        Kind::Text,
        "milliseconds between two heartbeats (100)",
    ),
    (
        "election-timeout",
        Kind::Text,
        "milliseconds without one to an election (1000)",
    ),
    (
        "cors",
        Kind::Text,
        "origins whose pages may read answers; * for all",
    ),
    (
        "log-level",
        Kind::Text,
        "debug, info, warn, error, panic or fatal (info)",
    ),
    ("debug", Kind::Bool, "the same as --log-level debug"),
    ("version", Kind::Bool, "print the version and end"),
    ("addr", Kind::Text, "HOST:PORT, of 0.4: --advertise-client-urls"),
    ("bind-addr", Kind::Text, "HOST:PORT, of 0.4: --listen-client-urls"),
    (
        "peer-addr",
        Kind::Text,
        "HOST:PORT, of 0.4: --initial-advertise-peer-urls",
    ),
    (
        "peer-bind-addr",
        Kind::Text,
        "HOST:PORT, of 0.4: --listen-peer-urls",
    ),
    ("enable-v2", Kind::OnlyBool("true"), ""),
    ("logger", Kind::Only(&["zap", "capnslog"]), ""),
    ("log-outputs", Kind::Only(&["default", "stderr"]), ""),
    ("log-output", Kind::Only(&["default", "stderr"]), ""),
    (
        "proxy",
        Kind::Text,
        "on, or readonly: a gateway to the members of --initial-cluster (off)",
    ),
    (
        "config-file",
        Kind::Text,
        "YAML file with flags by their names; all other flags and variables are ignored then",
    ),
    ("wal-dir", NOT_YET, ""),
    ("listen-metrics-urls", NOT_YET, ""),
    (
        "discovery",
        Kind::Text,
        "directory where the members that form the cluster find each other",
    ),
    (
        "discovery-srv",
        Kind::Text,
        "domain whose SRV records name the members that form the cluster",
    ),
    (
        "discovery-srv-name",
        Kind::Text,
        "of several clusters of the domain: _etcd-server-NAME._tcp",
    ),
    (
        "dns-server",
        Kind::Text,
        "IP:PORT that is asked for them, of berth (those of /etc/resolv.conf)",
    ),
    ("discovery-proxy", NOT_YET, ""),
    ("discovery-fallback", Kind::Only(&["", "exit"]), ""),
    (
        "proxy-failure-wait",
        Kind::Text,
        "milliseconds that a member which failed is not tried again (5000)",
    ),
    (
        "proxy-refresh-interval",
        Kind::Text,
        "milliseconds between two looks at the list of members (30000)",
    ),
    (
        "proxy-dial-timeout",
        Kind::Text,
        "milliseconds for a connection to a member (1000)",
    ),
    (
        "proxy-write-timeout",
        Kind::Text,
        "milliseconds in which what was sent has to arrive (5000; 0: no limit)",
    ),
    (
        "proxy-read-timeout",
        Kind::Text,
        "milliseconds in which an answer has to begin (0: no limit)",
    ),
    (
        "ca-file",
        Kind::Text,
        "the old name of --trusted-ca-file with --client-cert-auth",
    ),
    (
        "cert-file",
        Kind::Text,
        "certificate for clients, PEM; for https URLs",
    ),
    ("key-file", Kind::Text, "its private key, PEM"),
    (
        "trusted-ca-file",
        Kind::Text,
        "authorities of the clients' certificates, PEM; by itself it demands none",
    ),
    ("client-crl-file", Kind::Text, "revoked certificates of clients"),
    (
        "client-cert-allowed-hostname",
        Kind::Text,
        "names of which clients' certificates must have one",
    ),
    (
        "peer-ca-file",
        Kind::Text,
        "the old name of --peer-trusted-ca-file with --peer-client-cert-auth",
    ),
    (
        "peer-cert-file",
        Kind::Text,
        "certificate for the other members, PEM",
    ),
    ("peer-key-file", Kind::Text, "its private key, PEM"),
    (
        "peer-trusted-ca-file",
        Kind::Text,
        "authorities of the members' certificates, PEM",
    ),
    ("peer-crl-file", Kind::Text, "revoked certificates of members"),
    (
        "peer-cert-allowed-cn",
        Kind::Text,
        "common names of the members that are let in",
    ),
    (
        "peer-cert-allowed-hostname",
        Kind::Text,
        "names of which members' certificates must have one",
    ),
    ("cipher-suites", NOT_YET, ""),
    (
        "client-cert-auth",
        Kind::Bool,
        "demand a certificate of --trusted-ca-file from every client",
    ),
    (
        "auto-tls",
        Kind::Bool,
        "serve clients with a certificate that the member makes for itself",
    ),
    (
        "peer-client-cert-auth",
        Kind::Bool,
        "demand a certificate of --peer-trusted-ca-file from every member",
    ),
    (
        "peer-auto-tls",
        Kind::Bool,
        "speak to the other members with certificates of their own making",
    ),
    (
        "client-cert-allowed-cn",
        Kind::Text,
        "common names of the clients that are let in",
    ),
    (
        "experimental-peer-skip-client-san-verification",
        Kind::Bool,
        "let members call from addresses that their certificates do not name",
    ),
    ("force-new-cluster", NOT_YET_BOOL, ""),
    ("enable-pprof", NOT_YET_BOOL, ""),
    ("peers", Kind::Gone("name the members with --initial-cluster"), ""),
    (
        "peers-file",
        Kind::Gone("name the members with --initial-cluster"),
        "",
    ),
    // Of 0.4, which 2.x takes and ignores.
    ("cluster-active-size", Kind::Idle, ""),
    ("cluster-remove-delay", Kind::Idle, ""),
    ("cluster-sync-interval", Kind::Idle, ""),
    ("config", Kind::Idle, ""),
    ("max-result-buffer", Kind::Idle, ""),
    ("max-retry-attempts", Kind::Idle, ""),
    ("peer-heartbeat-interval", Kind::Idle, ""),
    ("peer-election-timeout", Kind::Idle, ""),
    ("retry-interval", Kind::Idle, ""),
    ("force", Kind::IdleBool, ""),
    ("snapshot", Kind::IdleBool, ""),
    ("v", Kind::IdleBool, ""),
    ("vv", Kind::IdleBool, ""),
    // For what works otherwise here: old files are removed, unsafe changes of the members are always refused, and there is no
    // v3 API.
    ("max-snapshots", Kind::Idle, ""),
    ("max-wals", Kind::Idle, ""),
    ("strict-reconfig-check", Kind::IdleBool, ""),
    ("log-package-levels", Kind::Idle, ""),
    ("metrics", Kind::Idle, ""),
    ("auto-compaction-retention", Kind::Idle, ""),
    ("auto-compaction-mode", Kind::Idle, ""),
    ("quota-backend-bytes", Kind::Idle, ""),
    ("backend-batch-interval", Kind::Idle, ""),
    ("backend-batch-limit", Kind::Idle, ""),
    ("max-txn-ops", Kind::Idle, ""),
    ("max-request-bytes", Kind::Idle, ""),
    ("grpc-keepalive-min-time", Kind::Idle, ""),
    ("grpc-keepalive-interval", Kind::Idle, ""),
    ("grpc-keepalive-timeout", Kind::Idle, ""),
    ("auth-token", Kind::Idle, ""),
    ("bcrypt-cost", Kind::Idle, ""),
    ("pre-vote", Kind::IdleBool, ""),
    ("initial-election-tick-advance", Kind::IdleBool, ""),
];

/// The flags that do something, for the help.
pub(crate) fn described() -> impl Iterator<Item = (&'static str, &'static str)> {
    let flags = FLAGS.iter().filter(|(_, _, help)| !help.is_empty());
    flags.map(|(name, _, help)| (*name, *help))
}

/// Reads a command line without the program's name, and the environment.
///
/// The file that they name is read by `load`.
pub(crate) fn read(
    words: &[OsString],
    environment: &[(String, String)],
    load: &dyn Fn(&Path) -> Result<Vec<Setting>, String>,
) -> Result<Wish, Refused> {
    let mut line = Line::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let text = text_of(word)?;
        let bare = text
            .strip_prefix("--")
            .or_else(|| text.strip_prefix('-'))
            .filter(|bare| !bare.is_empty());
        let Some(bare) = bare else {
            return Err(unreadable(format!("'{text}' is not a valid flag")));
        };
        if bare.starts_with(['-', '=']) {
            return Err(unreadable(format!("bad flag syntax: {text}")));
        }
        let (name, value) = match bare.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (bare, None),
        };
        if matches!(name, "help" | "h") {
            return Ok(Wish::Help);
        }
        let Some((name, kind, _)) = FLAGS.iter().find(|(known, _, _)| *known == name) else {
            return Err(unreadable(format!("flag provided but not defined: -{name}")));
        };
        let value = match value {
            Some(value) => value,
            None if kind.is_bool() => "true",
            None => match words.next() {
                Some(word) => text_of(word)?,
                None => return Err(unreadable(format!("flag needs an argument: -{name}"))),
            },
        };
        line.take(name, *kind, value)
            .map_err(|why| unreadable(format!("{why} for -{name}: parse error")))?;
    }
    if line.get("version") == Some("true") {
        return Ok(Wish::Version);
    }
    line.take_environment(environment)?;
    let file = line.get("config-file").filter(|file| !file.is_empty());
    if let Some(file) = file.map(PathBuf::from) {
        line.take_file(load(&file).map_err(refuse)?)?;
    }
    line.check()?;
    Ok(Wish::Serve(line))
}

fn text_of(word: &OsString) -> Result<&str, Refused> {
    let word = word.to_str();
    word.ok_or_else(|| unreadable("a word of the command line is not UTF-8".to_owned()))
}

impl Line {
    /// The last value of a flag counts.
    fn take(&mut self, name: &'static str, kind: Kind, value: &str) -> Result<(), String> {
        let value = match value {
            _ if !kind.is_bool() => value,
            "1" | "t" | "T" | "TRUE" | "true" | "True" => "true",
            "0" | "f" | "F" | "FALSE" | "false" | "False" => "false",
            _ => return Err(format!("invalid boolean value {value:?}")),
        };
        self.given.insert(name, value.to_owned());
        Ok(())
    }

    /// Variables count where no flag was given; an empty one counts as none.
    fn take_environment(&mut self, environment: &[(String, String)]) -> Result<(), Refused> {
        for (variable, value) in environment {
            let Some(name) = variable.strip_prefix(PREFIX) else {
                continue;
            };
            let name = name.to_ascii_lowercase().replace('_', "-");
            // Images set this one to say what they hold.
            if value.is_empty() || name == "version" {
                continue;
            }
            match FLAGS.iter().find(|(known, _, _)| *known == name) {
                None => self
                    .warnings
                    .push(format!("unrecognized environment variable {variable}")),
                Some((name, _, _)) if self.given.contains_key(name) => {}
                Some((name, kind, _)) => self
                    .take(name, *kind, value)
                    .map_err(|why| unreadable(format!("{why} for {variable}: parse error")))?,
            }
        }
        Ok(())
    }

    /// A file counts alone, as in etcd.
    fn take_file(&mut self, settings: Vec<Setting>) -> Result<(), Refused> {
        let ignored: Vec<String> = self
            .given
            .keys()
            .filter(|name| **name != "config-file")
            .map(|name| format!("--{name}"))
            .collect();
        if !ignored.is_empty() {
            let ignored = ignored.join(", ");
            self.warnings.push(format!(
                "--config-file: the file counts alone, {ignored} is ignored"
            ));
        }
        self.given.clear();
        for setting in settings {
            let Setting { name, value, place } = setting;
            let known = FLAGS
                .iter()
                .find(|(known, kind, _)| *known == name && !matches!(kind, Kind::Gone(_)));
            let known = known.filter(|(known, _, _)| !matches!(*known, "config-file" | "version"));
            let Some((name, kind, _)) = known else {
                return Err(refuse(format!("{place}: there is no such setting")));
            };
            self.take(name, *kind, &value)
                .map_err(|why| refuse(format!("{place}: {why}")))?;
        }
        Ok(())
    }

    /// Refuses what is not supported, and notes what has no effect.
    fn check(&mut self) -> Result<(), Refused> {
        for (name, kind, _) in FLAGS {
            let Some(value) = self.given.get(name) else {
                continue;
            };
            match kind {
                Kind::Text | Kind::Bool => {}
                Kind::Only(values) if values.contains(&value.as_str()) => {}
                Kind::Only([""]) => return Err(refuse(format!("--{name} is not supported yet"))),
                Kind::Only(values) => {
                    let known = values.join(", ");
                    return Err(refuse(format!(
                        "--{name} {value:?} is not supported: it can be {known}"
                    )));
                }
                Kind::OnlyBool(only) if value == only => {}
                Kind::OnlyBool("true") => {
                    let text = format!("--{name}={value}: there is nothing but the v2 API");
                    return Err(refuse(text));
                }
                Kind::OnlyBool(_) => return Err(refuse(format!("--{name} is not supported yet"))),
                Kind::Idle | Kind::IdleBool => {
                    self.warnings.push(format!("--{name} has no effect"));
                }
                Kind::Gone(hint) => {
                    return Err(refuse(format!("--{name} is not supported any more: {hint}")));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &str, environment: &[(&str, &str)]) -> Result<Wish, Refused> {
        let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
        let environment: Vec<(String, String)> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        read(&words, &environment, &|file| {
            let setting = |name: &str, value: &str| Setting {
                name: name.to_owned(),
                value: value.to_owned(),
                place: format!("{} line 1: {name}", file.display()),
            };
            match file.to_str() {
                Some("sound") => Ok(vec![setting("name", "file"), setting("debug", "true")]),
                Some("odd") => Ok(vec![setting("nam", "file")]),
                Some("bad") => Ok(vec![setting("debug", "perhaps")]),
                _ => Err("gone: no such file".to_owned()),
            }
        })
    }

    fn served(words: &str, environment: &[(&str, &str)]) -> Line {
        match line(words, environment) {
            Ok(Wish::Serve(line)) => line,
            other => panic!("{words}: {other:?}"),
        }
    }

    #[test]
    fn one_dash_or_two_and_an_equals_sign_or_a_blank() {
        for words in ["--name a", "-name a", "--name=a", "-name=a", "-name b -name a"] {
            assert_eq!(served(words, &[]).get("name"), Some("a"), "{words}");
        }
        let line = served("--debug --enable-v2=T --name --odd -snapshot=false", &[]);
        assert_eq!(
            (line.get("debug"), line.get("name")),
            (Some("true"), Some("--odd"))
        );
        assert_eq!(line.warnings, ["--snapshot has no effect"]);
        assert_eq!(line.number("snapshot-count", 7), Ok(7));
        for words in ["-version", "--version", "--version=1 --name x"] {
            assert_eq!(self::line(words, &[]), Ok(Wish::Version), "{words}");
        }
        assert_eq!(self::line("--help --nonsense", &[]), Ok(Wish::Help));
    }

    #[test]
    fn the_environment_counts_where_no_flag_is_given() {
        let environment = [
            ("ETCD_NAME", "env"),
            ("ETCD_SNAPSHOT_COUNT", "5"),
            ("ETCD_CORS", ""),
            ("ETCD_VERSION", "v3.4.23"),
            ("ETCD_NONSENSE", "1"),
            ("ETCDCTL_API", "2"),
        ];
        let line = served("--name flag", &environment);
        assert_eq!((line.get("name"), line.get("cors")), (Some("flag"), None));
        assert_eq!(line.number("snapshot-count", 7), Ok(5));
        assert_eq!(line.warnings, ["unrecognized environment variable ETCD_NONSENSE"]);
    }

    #[test]
    fn a_file_counts_alone() {
        let line = served("--name flag --config-file sound", &[("ETCD_CORS", "*")]);
        assert_eq!(
            (line.get("name"), line.get("debug"), line.get("cors")),
            (Some("file"), Some("true"), None)
        );
        assert_eq!(
            line.warnings,
            ["--config-file: the file counts alone, --cors, --name is ignored"]
        );
        let line = served("", &[("ETCD_CONFIG_FILE", "sound")]);
        assert_eq!((line.get("name"), line.warnings.len()), (Some("file"), 0));
    }

    #[test]
    fn what_is_not_there_is_refused_by_name() {
        for (words, code, text) in [
            ("--nonsense", 2, "flag provided but not defined: -nonsense"),
            ("start", 2, "'start' is not a valid flag"),
            ("--debug true", 2, "'true' is not a valid flag"),
            ("--", 2, "'--' is not a valid flag"),
            ("---name", 2, "bad flag syntax: ---name"),
            ("--=x", 2, "bad flag syntax: --=x"),
            ("--name", 2, "flag needs an argument: -name"),
            (
                "--debug=maybe",
                2,
                "invalid boolean value \"maybe\" for -debug: parse error",
            ),
            ("--cipher-suites a", 1, "--cipher-suites is not supported yet"),
            ("--config-file x", 1, "gone: no such file"),
            (
                "--config-file odd",
                1,
                "odd line 1: nam: there is no such setting",
            ),
            (
                "--config-file bad",
                1,
                "bad line 1: debug: invalid boolean value \"perhaps\"",
            ),
            (
                "--enable-v2=false",
                1,
                "--enable-v2=false: there is nothing but the v2 API",
            ),
            (
                "-peers a:7001",
                1,
                "--peers is not supported any more: name the members with --initial-cluster",
            ),
        ] {
            let refused = line(words, &[]).expect_err(words);
            assert_eq!((refused.code, refused.text.as_str()), (code, text));
        }
        served(
            "--proxy off --client-cert-auth=false --cert-file= --logger zap",
            &[],
        );
        let refused = line("", &[("ETCD_DEBUG", "x")]).expect_err("a bad variable");
        assert_eq!(
            refused.text,
            "invalid boolean value \"x\" for ETCD_DEBUG: parse error"
        );
    }
}
