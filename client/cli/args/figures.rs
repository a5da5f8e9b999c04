//! Flags of the commands that pause containers and look into them.

use clap::Args;

/// Stop all processes of containers where they are
#[derive(Debug, Clone, Args)]
pub(crate) struct PauseArgs {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Let the processes of paused containers go on
#[derive(Debug, Clone, Args)]
pub(crate) struct UnpauseArgs {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// Show the processes of a container
///
/// Example: berth top web -o pid,args
#[derive(Debug, Clone, Args)]
#[command(override_usage = "berth top CONTAINER [PS ARGUMENTS]")]
pub(crate) struct TopArgs {
    /// Name or id, then arguments of ps: -ef, aux, or -o with a list of columns
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CONTAINER [PS ARGUMENTS]"
    )]
    words: Vec<String>,
}

impl TopArgs {
    /// The container, and the arguments of ps.
    pub(crate) fn split(&self) -> (&str, String) {
        let (container, arguments) = self
            .words
            .split_first()
            .map_or(("", &[][..]), |(first, rest)| (first, rest));
        (container, arguments.join(" "))
    }
}

/// Show what containers use: CPU, memory, network, block devices, processes
///
/// Takes two looks, one second apart. Example: berth stats web
#[derive(Debug, Clone, Args)]
pub(crate) struct StatsArgs {
    /// Names or ids; all that run unless given
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}
