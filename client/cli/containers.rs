//! ps, stop, restart, kill, rm, inspect, and what all commands for containers share; texts and exit codes are docker's.

pub(crate) mod files;
pub(crate) mod join;
pub(crate) mod looks;
mod moments;
pub(crate) mod run;
mod session;

use berth_sdk::{Endpoint, EngineClient, ListOptions, SdkError};
use serde_json::json;

use crate::args::{Global, InspectArgs, KillArgs, Output, PsArgs, RestartArgs, RmArgs, StopArgs};
use crate::exit::{self, Failure, Outcome};
use crate::output::{self, Width};
use crate::terminal::{print, print_line, tell};

/// The ports of the Engine API, as everywhere.
const PLAIN_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;

/// The client of the engine named on the command line.
pub(crate) fn client(global: &Global) -> Result<EngineClient, Failure> {
    let tls = global.tls.for_client()?;
    let port = if tls.is_some() { TLS_PORT } else { PLAIN_PORT };
    let mut endpoint = Endpoint::parse(&global.host, Some(port))?;
    if let Endpoint::Tcp { tls: secure, .. } = &mut endpoint {
        *secure |= tls.is_some();
    }
    Ok(EngineClient::new(endpoint).with_tls(tls))
}

pub(crate) async fn ps(global: &Global, args: PsArgs) -> Outcome {
    let options = ListOptions {
        all: args.all,
        limit: args.last,
        filters: filters(&args.filter)?,
    };
    let rows = client(global)?.list(&options).await?;
    let width = width(args.no_trunc);
    match global.output {
        Output::Json => print_line(&serde_json::to_string(&rows)?)?,
        Output::Text if args.quiet => {
            for row in &rows {
                print_line(&output::id(&row.id, width))?;
            }
        }
        Output::Text => print(&output::containers(&rows, width, now()))?,
    }
    Ok(0)
}

/// `KEY=VALUE` words as pairs.
pub(crate) fn filters(words: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pair = |word: &String| {
        word.split_once('=')
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .ok_or_else(|| Failure::usage(format!("--filter {word:?}: it must be KEY=VALUE")))
    };
    words.iter().map(pair).collect()
}

pub(crate) fn width(full: bool) -> Width {
    if full { Width::Full } else { Width::Short }
}

/// The time in Unix seconds.
pub(crate) fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

pub(crate) async fn stop(global: &Global, args: StopArgs) -> Outcome {
    let client = client(global)?;
    let stop = async |name: &str| client.stop(name, args.timeout).await;
    each(global, &args.containers, "stopped", stop).await
}

pub(crate) async fn restart(global: &Global, args: RestartArgs) -> Outcome {
    let client = client(global)?;
    let restart = async |name: &str| client.restart(name, args.timeout).await;
    each(global, &args.containers, "restarted", restart).await
}

pub(crate) async fn kill(global: &Global, args: KillArgs) -> Outcome {
    let client = client(global)?;
    let kill = async |name: &str| client.kill(name, args.signal.as_deref()).await;
    each(global, &args.containers, "killed", kill).await
}

pub(crate) async fn remove(global: &Global, args: RmArgs) -> Outcome {
    if args.recursive || args.dir || args.with_value.is_some() || args.with_index.is_some() {
        return Err(Failure::usage(
            "--recursive, --dir, --with-value and --with-index are for keys, which begin with a slash"
                .to_owned(),
        ));
    }
    let client = client(global)?;
    let remove = async |name: &str| client.remove(name, args.force, args.volumes).await;
    each(global, &args.names, "removed", remove).await
}

/// Does the same to one after the other and prints the names of those where it went well; the rest is told.
pub(crate) async fn each(
    global: &Global,
    names: &[String],
    done: &str,
    action: impl AsyncFn(&str) -> Result<(), SdkError>,
) -> Outcome {
    let mut code = 0;
    for name in names {
        match action(name).await {
            Ok(()) => match global.output {
                Output::Json => print_line(&json!({ "Name": name, "Action": done }).to_string())?,
                Output::Text => print_line(name)?,
            },
            // The next one would fail the same way.
            Err(error) if error.is_connection() => return Err(error.into()),
            Err(error) => {
                tell(&error.chain());
                code = exit::FAILED;
            }
        }
    }
    Ok(code)
}

pub(crate) async fn inspect(global: &Global, args: InspectArgs) -> Outcome {
    let client = client(global)?;
    let mut found = Vec::new();
    let mut code = 0;
    for name in &args.names {
        match document(&client, name).await {
            Ok(document) => found.push(document),
            Err(Some(error)) => return Err(error),
            Err(None) => {
                tell(&format!("no such container or image: {name}"));
                code = exit::FAILED;
            }
        }
    }
    print_line(&serde_json::to_string_pretty(&found)?)?;
    Ok(code)
}

/// A container of that name, or else an image; `None` as an error when there is neither.
async fn document(client: &EngineClient, name: &str) -> Result<serde_json::Value, Option<Failure>> {
    let absent = |error: SdkError| match error.engine_status() {
        Some(404) => None,
        _ => Some(Failure::from(error)),
    };
    let found = match client.inspect(name).await {
        Ok(container) => serde_json::to_value(container),
        Err(error) => match absent(error) {
            Some(failure) => return Err(Some(failure)),
            None => serde_json::to_value(client.inspect_image(name).await.map_err(absent)?),
        },
    };
    found.map_err(|error| Some(error.into()))
}
