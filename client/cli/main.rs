//! The `berth` binary: reads the command line, does one thing, ends with its exit code.
#![forbid(unsafe_code)]

mod announce;
mod applet;
mod args;
mod backup;
mod cert;
mod config;
mod config_file;
mod config_yaml;
mod containers;
mod demo;
mod discover;
mod elect;
mod etcd;
mod etcdctl;
mod exit;
mod figures;
mod hello;
mod images;
mod kv;
mod lock;
mod log;
mod notify;
mod output;
mod password;
mod proxy;
mod run_request;
mod serve;
mod system;
mod terminal;
mod things;
mod tls;
mod transfer;

use std::ffi::OsString;
use std::process::exit;

use clap::CommandFactory;
use tokio::runtime::{Builder, Runtime};

use crate::applet::{Applet, applet};
use crate::args::{Cli, Command, Global};
use crate::config_file::Unread;
use crate::exit::{ENGINE_REFUSES, FAILED, Failure, Outcome};

/// Exit code of a command line that makes no sense, except where docker or etcdctl have another.
const WRONG_WORDS: u8 = 2;

fn main() {
    // Processes that berth makes of itself; they must not have a runtime or a second thread.
    match std::env::args_os()
        .nth(1)
        .as_deref()
        .and_then(|word| word.to_str())
    {
        Some("__keeper") => berth_exec::keeper::run(),
        Some("__hello") => hello::run(),
        Some("__init") => berth_exec::init::run(std::env::args_os()),
        // An executable that needs no loader stands in its place.
        Some("--library-path") if std::env::args_os().nth(4).is_some_and(|word| word == "__init") => {
            berth_exec::init::run(std::env::args_os())
        }
        Some(demo::JANITOR) => demo::janitor(),
        _ => {}
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    match applet(words.first().map(OsString::as_os_str)) {
        Applet::Etcd => exit(i32::from(etcd::run(&words))),
        Applet::Etcdctl => exit(i32::from(etcdctl::run(&words))),
        Applet::Berth => {}
    }
    let cli = match config_file::parse(&words) {
        Ok(cli) => cli,
        Err(Unread::File(error)) => {
            terminal::tell(&error);
            exit(i32::from(FAILED));
        }
        Err(Unread::Words(error)) => {
            drop(error.print());
            let wrong = error.use_stderr();
            exit(if wrong { i32::from(wrong_words(&words)) } else { 0 });
        }
    };
    let outcome = carry_out(cli);
    let code = outcome.unwrap_or_else(|Failure { code, error }| {
        if let Some(error) = error {
            terminal::tell(&format!("{error:#}"));
        }
        code
    });
    // Not a return: a thread that still waits for standard input would hold the process up.
    exit(i32::from(code));
}

/// The commands that etcdctl has too.
const KEY_WORDS: [&str; 17] = [
    "set",
    "get",
    "ls",
    "watch",
    "rm",
    "mk",
    "mkdir",
    "setdir",
    "updatedir",
    "update",
    "rmdir",
    "exec-watch",
    "member",
    "user",
    "role",
    "auth",
    "cluster-health",
];

/// The exit code of wrong words: 125 for `run` as docker has it, 1 for keys as etcdctl has it.
fn wrong_words(words: &[OsString]) -> u8 {
    let command = words
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .find(|word| {
            Cli::command()
                .get_subcommands()
                .any(|command| command.get_name() == *word)
        });
    match command {
        Some("run") => ENGINE_REFUSES,
        Some(word) if KEY_WORDS.contains(&word) => FAILED,
        _ => WRONG_WORDS,
    }
}

/// Threads for the connections of a store of its own: half of the processors, so that the store's own thread, the disk and
/// the kernel's side of the network have the rest.
fn store_workers() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (processors / 2).max(1)
}

fn carry_out(cli: Cli) -> Outcome {
    let serves = matches!(
        &cli.command,
        Command::Dev(_) | Command::Store(_) | Command::Engine(_) | Command::Proxy(_)
    );
    let runtime = if matches!(&cli.command, Command::Store(_)) {
        Builder::new_multi_thread()
            .worker_threads(store_workers())
            .enable_all()
            .build()
    } else if serves {
        Builder::new_multi_thread().enable_all().build()
    } else {
        Builder::new_current_thread().enable_all().build()
    };
    let mut global = cli.global;
    global.output = global.format.output();
    let runtime = runtime?;
    // A server takes the records for itself.
    if let Some(domain) = global
        .discovery_srv
        .take()
        .filter(|domain| !serves && !domain.is_empty())
    {
        global.endpoints = discover::endpoints(&runtime, domain, global.dns_server)?;
    }
    let session = || kv::Session::open(&global, &cli.store);
    let outcome = answer(&runtime, &global, &session, cli.command);
    if !serves {
        // A thread that still waits for a key would be waited for otherwise.
        runtime.shutdown_background();
    }
    outcome
}

fn answer(
    runtime: &Runtime,
    global: &Global,
    session: &dyn Fn() -> Result<kv::Session, Failure>,
    command: Command,
) -> Outcome {
    let served = |served: anyhow::Result<()>| match served {
        Ok(()) => Ok(0),
        Err(error) => Err(Failure {
            code: FAILED,
            error: Some(error),
        }),
    };
    runtime.block_on(async {
        match command {
            Command::Demo(args) => demo::run(*args).await,
            Command::Dev(args) => served(serve::dev(global, *args).await),
            Command::Store(args) => served(serve::store(*args).await),
            Command::Engine(args) => served(serve::engine(global, *args).await),
            Command::Proxy(args) => served(serve::proxy(global, &args).await),
            Command::Run(args) => containers::run::run(global, *args).await,
            Command::Ps(args) => containers::ps(global, args).await,
            Command::Logs(args) => containers::looks::logs(global, args).await,
            Command::Start(args) => containers::join::start(global, args).await,
            Command::Stop(args) => containers::stop(global, args).await,
            Command::Restart(args) => containers::restart(global, args).await,
            Command::Kill(args) => containers::kill(global, args).await,
            Command::Rm(args) => match args.names.iter().filter(|name| kv::is_key(name)).count() {
                0 => containers::remove(global, args).await,
                keys if keys == args.names.len() => kv::remove(&session()?, args).await,
                _ => Err(Failure::usage(
                    "keys (with a slash in front) and containers cannot be removed by one command".to_owned(),
                )),
            },
            Command::Inspect(args) => containers::inspect(global, args).await,
            Command::Images(args) => images::images(global, args).await,
            Command::Import(args) if args.keys => transfer::import(&session()?, args).await,
            Command::Import(args) => images::import(global, args.image).await,
            Command::Rmi(args) => images::remove(global, args).await,
            Command::More(command) => things::more(global, command).await,
            Command::Set(args) => kv::set(&session()?, args).await,
            Command::Get(args) => kv::get(&session()?, args).await,
            Command::Ls(args) => kv::ls(&session()?, args).await,
            Command::Mk(args) => kv::mk(&session()?, args).await,
            Command::Mkdir(args) => kv::dir(&session()?, args, kv::DirWish::Make).await,
            Command::Setdir(args) => kv::dir(&session()?, args, kv::DirWish::Set).await,
            Command::Updatedir(args) => kv::dir(&session()?, args, kv::DirWish::Update).await,
            Command::Update(args) => kv::update(&session()?, args).await,
            Command::Rmdir(args) => kv::rmdir(&session()?, &args.key).await,
            Command::Tree(args) => kv::tree::run(&session()?, args).await,
            Command::Watch(args) => kv::watch::watch(&session()?, args).await,
            Command::ExecWatch(args) => kv::watch::exec_watch(&session()?, args).await,
            Command::Member(args) => kv::members::member(&session()?, args.command).await,
            Command::User(args) => kv::users::user(&session()?, args.command).await,
            Command::Role(args) => kv::users::role(&session()?, args.command).await,
            Command::Auth(args) => kv::users::auth(&session()?, args.command).await,
            Command::ClusterHealth(args) => kv::members::health(&session()?, args).await,
            Command::Lock(args) => lock::run(&session()?, args).await,
            Command::Elect(args) => elect::run(&session()?, args).await,
            Command::Export(args) => transfer::export(&session()?, args).await,
            Command::Backup(args) => backup::backup(&session()?, global.output, args).await,
            Command::Restore(args) => backup::restore(global.output, args),
            Command::Cert(args) => cert::run(args),
            Command::Version => system::version(global, session()?.client()).await,
            Command::Info => system::info(global).await,
            Command::Completion { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "berth", &mut script);
                terminal::print(&String::from_utf8_lossy(&script))?;
                Ok(0)
            }
        }
    })
}
