//! Flags of the commands that speak to the store, and of rm, which speaks to both.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::containers::ImportArgs;

/// How to speak to the store. These stand in front of the command, as etcdctl has them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Store connections (in front of a key command)")]
pub(crate) struct StoreClient {
    /// Members of the store, as --endpoints
    #[arg(short = 'C', long, value_name = "URL[,URL]")]
    pub(crate) peers: Option<String>,
    /// Stay with the members that were given; berth does that anyhow
    #[arg(long)]
    pub(crate) no_sync: bool,
    /// Longest wait for one member, such as 500ms or 10s
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<std::time::Duration>,
    /// Longest wait for the whole command, except a watch
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) total_timeout: Option<std::time::Duration>,
    /// Print every request as a curl command line to standard error
    #[arg(long)]
    pub(crate) debug: bool,
    /// User of the store; the password is asked for if it is left out
    #[arg(
        short = 'u',
        long,
        env = "ETCDCTL_USERNAME",
        hide_env_values = true,
        value_name = "NAME[:PASSWORD]"
    )]
    pub(crate) username: Option<String>,
    /// Certificate that is shown to https members, PEM
    #[arg(long, env = "ETCDCTL_CERT_FILE", value_name = "FILE")]
    pub(crate) cert_file: Option<PathBuf>,
    /// Private key of --cert-file, PEM
    #[arg(long, env = "ETCDCTL_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Authorities of the members' certificates, PEM; those of the system without it
    #[arg(long, env = "ETCDCTL_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Take whatever certificate a member shows: anybody in between can read and change everything
    #[arg(long)]
    pub(crate) insecure_skip_tls_verify: bool,
}

/// `1h2m3.5s`, `500ms`, `2us`: numbers with units, as Go writes durations; none may be negative.
pub(crate) fn duration(text: &str) -> Result<std::time::Duration, &'static str> {
    const WRONG: &str = "it must be a duration such as 500ms, 10s or 1m30s";
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Ok(std::time::Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !(c.is_ascii_digit() || c == '.'))
            .ok_or(WRONG)?;
        let number: f64 = rest[..digits].parse().map_err(|_| WRONG)?;
        rest = &rest[digits..];
        let unit = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(WRONG),
            };
        rest = &rest[unit..];
    }
    if text.is_empty() {
        return Err(WRONG);
    }
    std::time::Duration::try_from_secs_f64(seconds).map_err(|_| WRONG)
}

/// Write a key and print its value.
///
/// Exit codes are etcdctl's: 1 wrong use, 2 no store answers, 4 the store refuses.
#[derive(Debug, Clone, Args)]
pub(crate) struct SetArgs {
    /// The key, such as /message
    pub(crate) key: String,
    /// The value; read from standard input when it is left out
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// Seconds until the key goes by itself
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
    /// Only if the key does not exist
    #[arg(long, conflicts_with_all = ["update", "swap_with_value", "swap_with_index", "refresh"])]
    pub(crate) create: bool,
    /// Only if the key exists
    #[arg(long)]
    pub(crate) update: bool,
    /// Make a directory; it takes no value
    #[arg(long, conflicts_with = "value")]
    pub(crate) dir: bool,
    /// Give the key a new time to live and leave its value; wakes no watcher
    #[arg(long, requires = "ttl", conflicts_with = "value")]
    pub(crate) refresh: bool,
    /// Only if the key has this value
    #[arg(long, value_name = "VALUE")]
    pub(crate) swap_with_value: Option<String>,
    /// Only if the key was last changed at this index
    #[arg(long, value_name = "INDEX")]
    pub(crate) swap_with_index: Option<u64>,
}

/// Print the value of a key.
///
/// Exit codes are etcdctl's: 1 wrong use or a directory, 2 no store answers, 4 the store refuses (no such key).
#[derive(Debug, Clone, Args)]
pub(crate) struct GetArgs {
    /// The key
    pub(crate) key: String,
    /// Accepted for etcdctl's sake; a key is one value
    #[arg(short, long, hide = true)]
    pub(crate) sort: bool,
    /// Ask a majority of the members: the answer is not older than the question
    #[arg(short, long)]
    pub(crate) quorum: bool,
}

/// List the keys of a directory, sorted.
///
/// Exit codes are etcdctl's: 1 wrong use, 2 no store answers, 4 the store refuses.
#[derive(Debug, Clone, Args)]
pub(crate) struct LsArgs {
    /// The directory
    #[arg(default_value = "/")]
    pub(crate) key: String,
    /// Accepted for etcdctl's sake; listings are always sorted
    #[arg(short, long, hide = true)]
    pub(crate) sort: bool,
    /// All levels
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// A slash after each directory
    #[arg(short = 'p', long)]
    pub(crate) slash: bool,
    /// Ask a majority of the members: the answer is not older than the question
    #[arg(short, long)]
    pub(crate) quorum: bool,
}

/// Wait for a change of a key and print the new value.
///
/// A removal prints the value that the key had. Exit codes are etcdctl's: 1 wrong use, 2 no store answers, 4 the
/// store refuses.
#[derive(Debug, Clone, Args)]
pub(crate) struct WatchArgs {
    /// The key
    pub(crate) key: String,
    /// Everything below the key too; each change is printed with its action and key
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Every change until Ctrl-C, not just the next one
    #[arg(short, long)]
    pub(crate) forever: bool,
    /// Begin with the first change after this index
    #[arg(long, value_name = "INDEX")]
    pub(crate) after_index: Option<u64>,
}

/// Remove keys or containers: what begins with a slash is a key.
///
/// `berth rm /message` removes a key of the store, `berth rm web` a container of the engine. Exit codes are etcdctl's for keys (2 no store answers, 4 the store refuses), docker's for
/// containers (1).
#[derive(Debug, Clone, Args)]
pub(crate) struct RmArgs {
    /// Keys (with a slash in front) or containers
    #[arg(required = true, value_name = "KEY|CONTAINER")]
    pub(crate) names: Vec<String>,
    /// Kill a running container first
    #[arg(short, long, help_heading = "Containers")]
    pub(crate) force: bool,
    /// Its anonymous volumes too
    #[arg(short, long, help_heading = "Containers")]
    pub(crate) volumes: bool,
    /// A directory with everything in it
    #[arg(short, long, help_heading = "Keys")]
    pub(crate) recursive: bool,
    /// An empty directory too
    #[arg(long, help_heading = "Keys")]
    pub(crate) dir: bool,
    /// Only if the key has this value
    #[arg(long, value_name = "VALUE", help_heading = "Keys")]
    pub(crate) with_value: Option<String>,
    /// Only if the key was last changed at this index
    #[arg(long, value_name = "INDEX", help_heading = "Keys")]
    pub(crate) with_index: Option<u64>,
}

/// Make a key that is not there yet and print its value.
#[derive(Debug, Clone, Args)]
pub(crate) struct MkArgs {
    /// The key; a directory with --in-order
    pub(crate) key: String,
    /// The value; read from standard input when it is left out
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// Let the store choose a name below the key, in the order of the requests
    #[arg(long)]
    pub(crate) in_order: bool,
    /// Seconds until the key goes by itself
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
}

/// A directory and its time to live.
#[derive(Debug, Clone, Args)]
pub(crate) struct DirArgs {
    /// The directory
    pub(crate) key: String,
    /// Seconds until the directory goes with everything in it
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
}

/// Change the value of a key that is there, and print it.
#[derive(Debug, Clone, Args)]
pub(crate) struct UpdateArgs {
    /// The key
    pub(crate) key: String,
    /// The value; read from standard input when it is left out
    #[arg(allow_hyphen_values = true)]
    pub(crate) value: Option<String>,
    /// Seconds until the key goes by itself
    #[arg(long, value_name = "SECONDS")]
    pub(crate) ttl: Option<u64>,
}

/// Remove a key or an empty directory.
#[derive(Debug, Clone, Args)]
pub(crate) struct RmdirArgs {
    /// The directory
    pub(crate) key: String,
}

/// Show a directory with everything below it as a tree.
#[derive(Debug, Clone, Args)]
pub(crate) struct TreeArgs {
    /// The directory
    #[arg(default_value = "/")]
    pub(crate) key: String,
    /// The value of each key too
    #[arg(long)]
    pub(crate) values: bool,
    /// Ask a majority of the members: the answer is not older than the question
    #[arg(short, long)]
    pub(crate) quorum: bool,
}

/// Run a command at every change of a key.
///
/// The command finds the change in ETCD_WATCH_ACTION, ETCD_WATCH_MODIFIED_INDEX, ETCD_WATCH_KEY and ETCD_WATCH_VALUE.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExecWatchArgs {
    /// Begin with the first change after this index
    #[arg(long, value_name = "INDEX")]
    pub(crate) after_index: Option<u64>,
    /// Everything below the key too
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// The key
    pub(crate) key: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// Hold a lock while a command runs, or until Ctrl-C.
///
/// Prints the index of the lock when it is held. The holders of one lock take turns in the order in which they came.
/// The exit code is that of the command.
///
/// On a store with the lock module the lock is that of /mod/v2/lock/KEY. Elsewhere its queue are in-order keys below KEY.
#[derive(Debug, Clone, Args)]
pub(crate) struct LockArgs {
    /// Seconds until the lock is free when its holder is gone; it is renewed at a third of it
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(2..=86_400))]
    pub(crate) ttl: u64,
    /// The lock, a key of the store
    pub(crate) key: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<OsString>,
}

/// Take part in the election of a leader, or watch one.
///
/// Prints the name of each leader, one in a line. With NAME, waits to lead, and leads until Ctrl-C.
///
/// On a store with the leader module the election is that of /mod/v2/leader/KEY: GET there tells the leader's name, and
/// those who stand lead in the order in which they came. A name stands for one: whoever comes with the name of the leader
/// leads, too. Elsewhere the key holds the name of the leader.
#[derive(Debug, Clone, Args)]
pub(crate) struct ElectArgs {
    /// Seconds until another one can lead when the leader is gone; it is renewed at a third of it
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(2..=86_400))]
    pub(crate) ttl: u64,
    /// Print the leaders and do not stand for election
    #[arg(long, conflicts_with = "name")]
    pub(crate) listen: bool,
    /// The key of the election
    pub(crate) key: String,
    /// The name to lead under
    #[arg(required_unless_present = "listen")]
    pub(crate) name: Option<String>,
}

/// Write keys as JSON lines, for `berth import --keys`.
///
/// Each line is {"key":…,"value":…} or {"key":…,"dir":true}, with ttl, createdIndex and modifiedIndex. The store is read
/// one directory after the other: what changes meanwhile may be in or not. Hidden keys (_name) are in no listing; give
/// their names.
#[derive(Debug, Clone, Args)]
pub(crate) struct ExportArgs {
    /// Keys or directories, with a slash in front
    #[arg(default_value = "/", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// Make an image from a tar archive, or keys from JSON lines with --keys.
///
/// Example: tar -C rootfs -c . | berth import - app
///
/// Example: berth export > keys.json; berth import --keys keys.json
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportWords {
    #[command(flatten)]
    pub(crate) image: ImportArgs,
    /// The file holds keys, as `berth export` writes them
    #[arg(long, help_heading = "Keys", conflicts_with_all = ["reference", "change", "message"])]
    pub(crate) keys: bool,
    /// Put this in front of every key
    #[arg(long, value_name = "KEY", requires = "keys", help_heading = "Keys")]
    pub(crate) prefix: Option<String>,
    /// Leave keys alone that are there
    #[arg(long, requires = "keys", help_heading = "Keys")]
    pub(crate) skip_existing: bool,
}

/// List, add, remove and change members of the store, and choose the one that leads.
///
/// A member that is added gets its vote by itself when it has caught up.
#[derive(Debug, Clone, Args)]
pub(crate) struct MemberArgs {
    #[command(subcommand)]
    pub(crate) command: MemberCommand,
}

/// What can be done with members.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum MemberCommand {
    /// List the members
    List,
    /// Add a member; start it afterwards with the settings printed
    Add {
        /// Its name
        name: String,
        /// Where the other members will reach it
        peer_url: String,
    },
    /// Remove a member for good
    Remove {
        /// Its id
        id: String,
    },
    /// Give a member other peer URLs
    Update {
        /// Its id
        id: String,
        /// Where the other members will reach it, separated by commas
        peer_urls: String,
    },
    /// Make another member lead
    MoveLeader {
        /// Its id or name; the member that has most of the log if it is left out
        #[arg(value_name = "ID|NAME")]
        member: Option<String>,
    },
}

/// Ask every member for its health.
///
/// Exit code 5 says that not all of them are healthy.
#[derive(Debug, Clone, Args)]
pub(crate) struct HealthArgs {
    /// Again every ten seconds until Ctrl-C
    #[arg(short, long)]
    pub(crate) forever: bool,
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations() {
        for (text, wanted) in [
            ("2s", Some(2000)),
            ("500ms", Some(500)),
            ("1m30s", Some(90_000)),
            ("1.5s", Some(1500)),
            ("0", Some(0)),
            ("", None),
            ("5", None),
            ("1x", None),
            ("s", None),
            ("-1s", None),
        ] {
            assert_eq!(
                duration(text).ok().map(|found| found.as_millis()),
                wanted,
                "{text}"
            );
        }
    }
}
