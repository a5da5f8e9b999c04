//! run and create; texts and exit codes are docker's.

use std::fs::File;
use std::io::Write;

use berth_sdk::{AttachStreams, EngineClient, Size, WaitCondition};
use berth_wire::docker::{CreateResponse, DetachKeys};
use serde_json::json;

use super::client;
use super::session::{End, Of, Session, lacks_terminal};
use crate::args::{Global, Output, RunArgs};
use crate::exit::{self, ENGINE_REFUSES, Failure, Outcome};
use crate::run_request::{Surroundings, create_request};
use crate::terminal::{Forwarded, print_line, tell};

/// What docker's client says where -it is used without a terminal.
const NO_TTY: &str = "the input device is not a TTY";

fn refused(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(ENGINE_REFUSES, error)
}

pub(crate) async fn run(global: &Global, args: RunArgs) -> Outcome {
    let keys = DetachKeys::parse(args.detach_keys.as_deref().unwrap_or_default()).map_err(refused)?;
    if !args.detach && lacks_terminal(args.tty, args.interactive) {
        return Err(refused(anyhow::Error::msg(NO_TTY)));
    }
    let (client, created) = make(global, &args).await?;
    if !args.detach {
        return foreground(&client, &created.id, &args, keys).await;
    }
    client.start(&created.id).await.map_err(exit::start)?;
    said(global, &created)
}

pub(crate) async fn create(global: &Global, args: RunArgs) -> Outcome {
    let (_, created) = make(global, &args).await.map_err(|failure| Failure {
        code: exit::FAILED,
        ..failure
    })?;
    said(global, &created)
}

fn said(global: &Global, created: &CreateResponse) -> Outcome {
    match global.output {
        Output::Json => print_line(&json!({ "Id": created.id }).to_string())?,
        Output::Text => print_line(&created.id)?,
    }
    Ok(0)
}

async fn make(global: &Global, args: &RunArgs) -> Result<(EngineClient, CreateResponse), Failure> {
    let around = Surroundings {
        variable: &|name| std::env::var(name).ok(),
        file: &|path| std::fs::read_to_string(path),
    };
    let mut request = create_request(args, &around).map_err(refused)?;
    if let Some(size) = Size::of_stdout().filter(|_| args.tty) {
        request.host_config.console_size = vec![size.rows.into(), size.columns.into()];
    }
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
    Ok((client, created))
}

/// Attach and wait come before the start, so that neither output nor end can be missed.
async fn foreground(client: &EngineClient, id: &str, args: &RunArgs, keys: DetachKeys) -> Outcome {
    let mut signals = Forwarded::new().map_err(refused)?;
    let streams = AttachStreams {
        stdin: args.interactive,
        stdout: true,
        stderr: true,
    };
    let attached = client
        .attach(id, streams, args.detach_keys.as_deref())
        .await
        .map_err(refused)?;
    let condition = if args.rm {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let wait = client.wait(id, condition).await.map_err(refused)?;
    client.start(id).await.map_err(exit::start)?;
    let session = Session {
        client,
        of: Of::Container(id),
        tty: args.tty,
        stdin: args.interactive,
        keys,
    };
    if session.run(attached, Some(&mut signals)).await? == End::Left {
        return Ok(0);
    }
    let mut code = std::pin::pin!(wait.code());
    loop {
        tokio::select! {
            code = &mut code => return code.map(exit::of_container).map_err(refused),
            signal = signals.next() => session.forward(signal).await,
        }
    }
}
