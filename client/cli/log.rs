//! One log of the servers, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The variable with the level or filter of the log.
const VARIABLE: &str = "BERTH_LOG";

/// Sends the log of this process to standard error. A filter that cannot be read is told and replaced.
pub(crate) fn to_stderr() {
    let (filter, error) = match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("") => (EnvFilter::new("info"), None),
        Ok(text) => match EnvFilter::try_new(text) {
            Ok(filter) => (filter, None),
            Err(error) => (EnvFilter::new("info"), Some(error)),
        },
    };
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_writer(std::io::stderr)
        .try_init();
    if let Some(error) = error {
        tracing::warn!(%error, "{VARIABLE} cannot be read");
    }
    if installed.is_err() {
        tracing::warn!("a log was installed before");
    }
}
