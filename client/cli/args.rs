//! The words of the command line: every command, every flag, every help text.

mod containers;
mod keys;
mod servers;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use containers::{
    ImagesArgs, ImportArgs, InspectArgs, KillArgs, LogsArgs, PsArgs, RestartArgs, RmiArgs, RunArgs,
    StartArgs, StopArgs,
};
pub(crate) use keys::{GetArgs, LsArgs, RmArgs, SetArgs, WatchArgs};
pub(crate) use servers::{DemoArgs, DevArgs, EngineArgs, EngineFlags, StoreArgs, StoreFlags};

/// Service discovery and containers in one binary.
///
/// Berth keeps keys in a replicated store that speaks etcd's v2 API, runs containers behind the Docker Engine API, and
/// registers every running container's address in the store under /services/NAME/PORT-PROTOCOL.
///
/// Begin with `berth demo`, or run `berth dev` and use curl, etcdctl and docker on it.
#[derive(Debug, Parser)]
#[command(name = "berth", version, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every client command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Members of the store, separated by commas
    #[arg(
        long,
        visible_alias = "endpoint",
        global = true,
        env = "BERTH_ENDPOINTS",
        value_name = "URL[,URL]",
        default_value = "http://127.0.0.1:2379",
        help_heading = "Connections"
    )]
    pub(crate) endpoints: String,
    /// The engine: unix:///path or tcp://host:port
    #[arg(
        short = 'H',
        long,
        global = true,
        env = "BERTH_HOST",
        value_name = "URL",
        default_value = "unix:///run/berth/berth.sock",
        help_heading = "Connections"
    )]
    pub(crate) host: String,
    /// Text for people, or JSON documents as the APIs answer them
    #[arg(
        short,
        long,
        global = true,
        env = "BERTH_OUTPUT",
        value_enum,
        default_value_t = Output::Text,
        help_heading = "Connections"
    )]
    pub(crate) output: Output,
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Lines and tables.
    Text,
    /// JSON documents.
    Json,
}

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(Box<DemoArgs>),
    Dev(Box<DevArgs>),
    Store(Box<StoreArgs>),
    Engine(Box<EngineArgs>),

    Run(Box<RunArgs>),
    Ps(PsArgs),
    Logs(LogsArgs),
    Start(StartArgs),
    Stop(StopArgs),
    Restart(RestartArgs),
    Kill(KillArgs),
    Rm(RmArgs),
    Inspect(InspectArgs),
    Images(ImagesArgs),
    Import(ImportArgs),
    Rmi(RmiArgs),

    Set(SetArgs),
    Get(GetArgs),
    Ls(LsArgs),
    Watch(WatchArgs),

    /// Print the versions of client, engine and store
    Version,
    /// Print the state of the engine
    Info,
    /// Print a completion script for a shell
    ///
    /// For bash: `berth completion bash > /etc/bash_completion.d/berth`
    Completion {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_follows_the_image_belongs_to_the_container() {
        let words = "berth run -d --name web -p 8000:80 app httpd -f -p 80 --output json";
        let cli = Cli::try_parse_from(words.split(' ')).expect("a command line");
        let Command::Run(run) = cli.command else {
            panic!("not run")
        };
        assert_eq!(run.image(), "app");
        assert_eq!(run.command(), ["httpd", "-f", "-p", "80", "--output", "json"]);
        assert_eq!(run.publish, ["8000:80"]);
        assert!(run.detach && cli.global.output == Output::Text);
    }
}
