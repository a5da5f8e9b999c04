//! exec, attach, and start with its output.

use berth_sdk::{AttachStreams, EngineClient, SdkError, Size, WaitCondition};
use berth_wire::docker::{DetachKeys, ExecConfig, ExecStart, Words};

use super::session::{End, Of, Session, lacks_terminal};
use super::{client, each};
use crate::args::{AttachArgs, ExecArgs, Global, StartArgs};
use crate::exit::{self, Failure, Outcome};
use crate::run_request::{Surroundings, environment};
use crate::terminal::{Forwarded, note};

/// What docker's client says where a person leaves.
const LEFT: &str = "read escape sequence";

pub(crate) async fn exec(global: &Global, args: ExecArgs) -> Outcome {
    let keys = DetachKeys::parse(args.detach_keys.as_deref().unwrap_or_default())?;
    if !args.detach && lacks_terminal(args.tty, args.interactive) {
        return Err(Failure::usage("the input device is not a TTY".to_owned()));
    }
    let around = Surroundings {
        variable: &|name| std::env::var(name).ok(),
        file: &|path| std::fs::read_to_string(path),
    };
    let size = Size::of_stdout().filter(|_| args.tty);
    let console_size = size.map(|size| vec![size.rows.into(), size.columns.into()]);
    let config = ExecConfig {
        user: args.user.clone().unwrap_or_default(),
        privileged: args.privileged,
        tty: args.tty,
        console_size: console_size.clone(),
        attach_stdin: args.interactive && !args.detach,
        attach_stdout: !args.detach,
        attach_stderr: !args.detach,
        detach: args.detach,
        detach_keys: args.detach_keys.clone().unwrap_or_default(),
        env: Some(environment(&args.env, &args.env_file, &around)?).filter(|lines| !lines.is_empty()),
        working_dir: args.workdir.clone().unwrap_or_default(),
        cmd: Some(Words(args.command().to_vec())),
    };
    let client = client(global)?;
    let id = client.create_exec(args.container(), &config).await?;
    if args.detach {
        client.start_exec_detached(&id).await?;
        return Ok(0);
    }
    let start = ExecStart {
        detach: false,
        tty: args.tty,
        console_size,
    };
    let attached = client.start_exec(&id, &start).await?;
    let session = Session {
        client: &client,
        of: Of::Exec(&id),
        tty: args.tty,
        stdin: args.interactive,
        keys,
    };
    if session.run(attached, None).await? == End::Left {
        note(LEFT);
        return Ok(exit::FAILED);
    }
    let ended = client.inspect_exec(&id).await?;
    Ok(ended.exit_code.map_or(exit::FAILED, exit::of_container))
}

pub(crate) async fn attach(global: &Global, args: AttachArgs) -> Outcome {
    let client = client(global)?;
    let keys = DetachKeys::parse(args.detach_keys.as_deref().unwrap_or_default())?;
    let found = client.inspect(&args.container).await?;
    let refusal = match &found.state {
        state if state.paused => "You cannot attach to a paused container, unpause it first",
        state if state.restarting => "You cannot attach to a restarting container, wait until it is running",
        state if state.running => "",
        _ => "You cannot attach to a stopped container, start it first",
    };
    if !refusal.is_empty() {
        return Err(Failure::usage(refusal.to_owned()));
    }
    let (tty, stdin) = (found.config.tty, found.config.open_stdin && !args.no_stdin);
    if lacks_terminal(tty, stdin) {
        return Err(Failure::usage("the input device is not a TTY".to_owned()));
    }
    let mut signals = if args.sig_proxy && !tty {
        Some(Forwarded::new()?)
    } else {
        None
    };
    let wait = client.wait(&found.id, WaitCondition::NotRunning).await?;
    let streams = AttachStreams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let attached = client
        .attach(&found.id, streams, args.detach_keys.as_deref())
        .await?;
    let session = Session {
        client: &client,
        of: Of::Container(&found.id),
        tty,
        stdin,
        keys,
    };
    if session.run(attached, signals.as_mut()).await? == End::Left {
        note(LEFT);
        return Ok(exit::FAILED);
    }
    Ok(exit::of_container(wait.code().await?))
}

pub(crate) async fn start(global: &Global, args: StartArgs) -> Outcome {
    let client = client(global)?;
    if !args.attach && !args.interactive {
        let start = async |name: &str| client.start(name).await;
        return each(global, &args.containers, "started", start).await;
    }
    match args.containers.as_slice() {
        [name] => started(&client, name, &args).await,
        _ => Err(Failure::usage(
            "you cannot start and attach multiple containers at once".to_owned(),
        )),
    }
}

async fn started(client: &EngineClient, name: &str, args: &StartArgs) -> Outcome {
    let keys = DetachKeys::parse(args.detach_keys.as_deref().unwrap_or_default())?;
    let found = client.inspect(name).await?;
    let (tty, stdin) = (found.config.tty, found.config.open_stdin && args.interactive);
    if lacks_terminal(tty, stdin) {
        return Err(Failure::usage("the input device is not a TTY".to_owned()));
    }
    let mut signals = if tty { None } else { Some(Forwarded::new()?) };
    let streams = AttachStreams {
        stdin,
        stdout: true,
        stderr: true,
    };
    let attached = client
        .attach(&found.id, streams, args.detach_keys.as_deref())
        .await?;
    let condition = if found.host_config.auto_remove {
        WaitCondition::Removed
    } else {
        WaitCondition::NextExit
    };
    let wait = client.wait(&found.id, condition).await?;
    let begun: Result<(), SdkError> = client.start(&found.id).await;
    begun.map_err(exit::start)?;
    let session = Session {
        client,
        of: Of::Container(&found.id),
        tty,
        stdin,
        keys,
    };
    if session.run(attached, signals.as_mut()).await? == End::Left {
        return Ok(0);
    }
    Ok(exit::of_container(wait.code().await?))
}
