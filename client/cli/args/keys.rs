//! Flags of the commands that speak to the store, and of rm, which speaks to both.

use clap::Args;

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
