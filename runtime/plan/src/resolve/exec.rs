//! From a request for another process in a container to its specification.

use berth_wire::docker::{ExecConfig, ExecStart};

use super::mounts::clean;
use super::{process, terminal_size};
use crate::error::PlanError;
use crate::spec::{ExecSpec, Spec};
use crate::step::Stdin;

/// Checks and completes an exec request for a container. The size in the start request is the newer one.
///
/// # Errors
/// What is not supported, by name, and what cannot be.
pub fn resolve_exec(
    config: &ExecConfig,
    start: &ExecStart,
    id: &str,
    spec: &Spec,
) -> Result<ExecSpec, PlanError> {
    let command = config.cmd.clone().unwrap_or_default().0;
    if command.first().is_none_or(String::is_empty) {
        return Err(PlanError::NoExecCommand);
    }
    process::without_zeros("Cmd", &command)?;
    process::without_zeros("User", std::slice::from_ref(&config.user))?;
    let working_dir = match config.working_dir.as_str() {
        "" => None,
        path => Some(clean(path).ok_or_else(|| PlanError::WorkingDirectory(path.to_owned()))?),
    };
    let size = start.console_size.as_ref().or(config.console_size.as_ref());
    Ok(ExecSpec {
        id: id.to_owned(),
        command,
        env: process::overlay(&spec.env, config.env.as_deref().unwrap_or_default())?,
        user: Some(config.user.clone()).filter(|user| !user.is_empty()),
        working_dir,
        stdin: match (config.attach_stdin, config.tty) {
            (false, _) => Stdin::Null,
            (true, false) => Stdin::Once,
            (true, true) => Stdin::Open,
        },
        terminal: config
            .tty
            .then(|| terminal_size(size.map_or(&[], |size| size.as_slice()))),
        privileged: config.privileged,
    })
}
