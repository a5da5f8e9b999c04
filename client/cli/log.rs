//! One log of the servers, on standard error.

use std::io::IsTerminal;
use std::sync::OnceLock;

use berth_node::{LogLevel, SetLogLevel};
use tracing_subscriber::EnvFilter;

/// The variable with the level or filter of the log.
const VARIABLE: &str = "BERTH_LOG";

/// What replaces the filter of the log while it runs.
type Replace = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static REPLACE: OnceLock<Replace> = OnceLock::new();

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Sends the log of this process to standard error. A filter that cannot be read is told and replaced.
pub(crate) fn to_stderr() {
    to_stderr_at(Level::Info);
}

/// The same with a level that the variable can replace.
pub(crate) fn to_stderr_at(level: Level) {
    let usual = || EnvFilter::new(level.name());
    let (filter, error) = match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("") => (usual(), None),
        Ok(text) => match EnvFilter::try_new(text) {
            Ok(filter) => (filter, None),
            Err(error) => (usual(), Some(error)),
        },
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_filter_reloading();
    let filter = log.reload_handle();
    let installed = log.try_init();
    if let Some(error) = error {
        tracing::warn!(%error, "{VARIABLE} cannot be read");
    }
    let replace = move |new| filter.reload(new).is_ok();
    if installed.is_err() || REPLACE.set(Box::new(replace)).is_err() {
        tracing::warn!("a log was installed before");
    }
}

/// Changes the level while the log runs; a filter of the variable is replaced.
pub(crate) fn control() -> SetLogLevel {
    SetLogLevel::new(|level| {
        let name = match level {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        };
        REPLACE.get().is_some_and(|replace| replace(EnvFilter::new(name)))
    })
}
