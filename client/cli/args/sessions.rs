//! Flags of the commands that stay with a process: exec, attach, start; and of those that wait and listen.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Run a command in a running container.
///
/// Its output is printed as it comes, and the exit code is that of the command.
///
/// Example: berth exec -it web sh
#[derive(Debug, Clone, Args)]
#[command(override_usage = "berth exec [OPTIONS] CONTAINER COMMAND [ARGUMENT]...")]
pub(crate) struct ExecArgs {
    /// The container, then the command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_name = "CONTAINER COMMAND",
        num_args = 2..
    )]
    words: Vec<String>,
    /// Leave the command alone and return at once
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Keep standard input open and send this command's to it
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// A terminal for the command
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Keys that leave it without ending it; ctrl-p,ctrl-q unless given
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Set a variable of the environment; NAME alone takes it from here
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Read variables from a file
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// User and group, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// All rights of the host
    #[arg(long)]
    pub(crate) privileged: bool,
}

impl ExecArgs {
    /// The container.
    pub(crate) fn container(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// The command and its arguments.
    pub(crate) fn command(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }
}

/// Attach to a running container: its output comes here, and what is typed goes to it.
///
/// The exit code is that of the container; ctrl-p,ctrl-q leave one with a terminal, with exit code 1.
#[derive(Debug, Clone, Args)]
pub(crate) struct AttachArgs {
    /// The container, by name or id
    pub(crate) container: String,
    /// Send nothing to it
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// Keys that leave it without ending it; ctrl-p,ctrl-q unless given
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
    /// Whether signals go to the container, as long as it has no terminal
    #[arg(long, value_name = "YES", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) sig_proxy: bool,
}

/// Start stopped containers.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
    /// Attach to it, and end with its exit code
    #[arg(short, long)]
    pub(crate) attach: bool,
    /// Attach to its input too
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Keys that leave it without ending it; ctrl-p,ctrl-q unless given
    #[arg(long, value_name = "KEYS")]
    pub(crate) detach_keys: Option<String>,
}

/// Wait until containers do not run, and print their exit codes.
#[derive(Debug, Clone, Args)]
pub(crate) struct WaitArgs {
    /// Containers, by name or id
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Print what happens in the engine, one event a line, until it is ended.
///
/// With --output json each line is a document.
#[derive(Debug, Clone, Args)]
pub(crate) struct EventsArgs {
    /// Also what was since this time: Unix seconds, a date, or an age such as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only until this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Only those that match, such as type=container, event=start, container=web
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<String>,
}

/// Print what a container wrote.
#[derive(Debug, Clone, Args)]
pub(crate) struct LogsArgs {
    /// The container, by name or id
    pub(crate) container: String,
    /// Go on until the container ends
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The time before each line
    #[arg(short, long)]
    pub(crate) timestamps: bool,
    /// What was to be logged with each line: labels and variables
    #[arg(long)]
    pub(crate) details: bool,
    /// The last N lines, or all
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "all",
        allow_hyphen_values = true
    )]
    pub(crate) tail: String,
    /// From this time on: Unix seconds, a date, or an age such as 10m
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}
