//! run, ps, logs, start, stop, restart, kill, rm, inspect; texts and exit codes are docker's.

use std::fs::File;
use std::io::{self, Write};

use berth_sdk::{
    AttachStreams, Attached, AttachedInput, Endpoint, EngineClient, ListOptions, LogsOptions, SdkError,
    WaitCondition,
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::args::{
    Global, InspectArgs, KillArgs, LogsArgs, Output, PsArgs, RestartArgs, RmArgs, RunArgs, StartArgs,
    StopArgs,
};
use crate::exit::{self, ENGINE_REFUSES, Failure, Outcome};
use crate::output::{self, Width};
use crate::run_request::{Surroundings, create_request};
use crate::terminal::{Forwarded, print, print_line, tell, write_frame};

/// What is read of standard input at a time.
const INPUT_PIECE: usize = 32 * 1024;

/// The client of the engine named on the command line.
pub(crate) fn client(global: &Global) -> Result<EngineClient, Failure> {
    Ok(EngineClient::new(Endpoint::parse(&global.host, Some(2375))?))
}

fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(ENGINE_REFUSES, error)
}

pub(crate) async fn run(global: &Global, args: RunArgs) -> Outcome {
    let around = Surroundings {
        variable: &|name| std::env::var(name).ok(),
        file: &|path| std::fs::read_to_string(path),
    };
    let request = create_request(&args, &around).map_err(refused)?;
    let client = client(global).map_err(|failure| Failure {
        code: ENGINE_REFUSES,
        ..failure
    })?;
    // Made first: a file that is there already must not cost a container.
    let cidfile = args
        .cidfile
        .as_ref()
        .map(File::create_new)
        .transpose()
        .map_err(refused)?;
    let created = client
        .create(args.name.as_deref(), &request)
        .await
        .map_err(refused)?;
    for warning in &created.warnings {
        tell(&format!("warning: {warning}"));
    }
    if let Some(mut file) = cidfile {
        file.write_all(created.id.as_bytes()).map_err(refused)?;
    }
    if !args.detach {
        return foreground(&client, &created.id, &args).await;
    }
    client.start(&created.id).await.map_err(exit::start)?;
    match global.output {
        Output::Json => print_line(&json!({ "Id": created.id }).to_string())?,
        Output::Text => print_line(&created.id)?,
    }
    Ok(0)
}

/// Attach and wait come before the start, so that neither output nor end can be missed.
async fn foreground(client: &EngineClient, id: &str, args: &RunArgs) -> Outcome {
    let mut signals = Forwarded::new().map_err(refused)?;
    let streams = AttachStreams {
        stdin: args.interactive,
        stdout: true,
        stderr: true,
    };
    let mut attached = client.attach(id, streams).await.map_err(refused)?;
    let condition = if args.rm {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let wait = client.wait(id, condition).await.map_err(refused)?;
    client.start(id).await.map_err(exit::start)?;
    let input = attached.take_input();
    let input = tokio::spawn(feed(input, args.interactive));
    let mut output = std::pin::pin!(copy_output(&mut attached));
    let copied = loop {
        tokio::select! {
            copied = &mut output => break copied,
            signal = signals.next() => forward(client, id, signal).await,
        }
    };
    input.abort();
    copied?;
    let mut code = std::pin::pin!(wait.code());
    loop {
        tokio::select! {
            code = &mut code => return code.map(exit::of_container).map_err(refused),
            signal = signals.next() => forward(client, id, signal).await,
        }
    }
}

async fn forward(client: &EngineClient, id: &str, signal: &str) {
    if let Err(error) = client.kill(id, Some(signal)).await {
        tell(&format!("SIG{signal} did not reach the container: {error}"));
    }
}

async fn copy_output(attached: &mut Attached) -> io::Result<()> {
    while let Some(frame) = attached.next().await? {
        write_frame(&frame)?;
    }
    Ok(())
}

/// Sends standard input; its end is that of the container's. Without it the input ends at once.
async fn feed(input: Option<AttachedInput>, interactive: bool) {
    let Some(mut input) = input else { return };
    if interactive {
        let mut stdin = tokio::io::stdin();
        let mut piece = vec![0; INPUT_PIECE];
        while let Ok(count) = stdin.read(&mut piece).await {
            if count == 0 || input.write_all(&piece[..count]).await.is_err() || input.flush().await.is_err() {
                break;
            }
        }
    }
    drop(input.shutdown().await);
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

pub(crate) async fn logs(global: &Global, args: LogsArgs) -> Outcome {
    let tail = match args.tail.as_str() {
        "all" => None,
        text => Some(
            text.parse()
                .map_err(|_| Failure::usage(format!("--tail {text:?}: it must be a number or all")))?,
        ),
    };
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        follow: args.follow,
        timestamps: args.timestamps,
        tail,
        since: args.since,
        until: args.until,
    };
    let mut frames = client(global)?.logs(&args.container, &options).await?;
    while let Some(frame) = frames.next().await? {
        match global.output {
            Output::Text => write_frame(&frame)?,
            Output::Json => print_line(
                &json!({
                    "stream": if frame.stream == berth_wire::docker::Stream::Stderr { "stderr" } else { "stdout" },
                    "log": String::from_utf8_lossy(&frame.payload),
                })
                .to_string(),
            )?,
        }
    }
    Ok(0)
}

pub(crate) async fn start(global: &Global, args: StartArgs) -> Outcome {
    let client = client(global)?;
    each(global, &args.containers, "started", async |name| {
        client.start(name).await
    })
    .await
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
