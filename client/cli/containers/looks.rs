//! logs, events, wait, port, rename, update.

use berth_sdk::{EventsOptions, LogsOptions, WaitCondition};
use berth_wire::docker::{EventMessage, Stream};
use serde_json::json;

use super::moments::moment;
use super::{client, each, filters, now};
use crate::args::{
    EventsArgs, Global, LogsArgs, Output, PortArgs, RenameArgs, UpdateContainerArgs, WaitArgs,
};
use crate::exit::{self, Failure, Outcome};
use crate::run_request::update_request;
use crate::terminal::{print_line, tell, write_frame};

/// A time from the command line as the engine takes it.
fn time(flag: &str, text: Option<&str>) -> Result<Option<String>, Failure> {
    let read = |text: &str| {
        moment(text, now()).ok_or_else(|| {
            Failure::usage(format!(
                "{flag} {text:?}: it must be Unix seconds, a date such as 2026-11-25T10:30:00Z, or an age such as 10m"
            ))
        })
    };
    text.map(read).transpose()
}

pub(crate) async fn logs(global: &Global, args: LogsArgs) -> Outcome {
    // A number below zero is all, as in docker.
    let tail = match args.tail.parse::<i64>() {
        Ok(lines) => u64::try_from(lines).ok(),
        Err(_) if args.tail == "all" => None,
        Err(_) => {
            let text = &args.tail;
            return Err(Failure::usage(format!(
                "--tail {text:?}: it must be a number or all"
            )));
        }
    };
    let options = LogsOptions {
        stdout: true,
        stderr: true,
        follow: args.follow,
        timestamps: args.timestamps,
        details: args.details,
        tail,
        since: time("--since", args.since.as_deref())?,
        until: time("--until", args.until.as_deref())?,
    };
    let client = client(global)?;
    let found = client.inspect(&args.container).await?;
    let frames = client.logs(&found.id, &options).await?;
    let mut frames = frames.raw(found.config.tty);
    while let Some(frame) = frames.next().await? {
        match global.output {
            Output::Text => write_frame(&frame)?,
            Output::Json => print_line(
                &json!({
                    "stream": if frame.stream == Stream::Stderr { "stderr" } else { "stdout" },
                    "log": String::from_utf8_lossy(&frame.payload),
                })
                .to_string(),
            )?,
        }
    }
    Ok(0)
}

pub(crate) async fn events(global: &Global, args: EventsArgs) -> Outcome {
    let options = EventsOptions {
        filters: filters(&args.filter)?,
        since: time("--since", args.since.as_deref())?,
        until: time("--until", args.until.as_deref())?,
    };
    let mut events = client(global)?.events_of(&options).await?;
    while let Some(line) = events.next_line().await? {
        match global.output {
            Output::Json => print_line(&line)?,
            Output::Text => print_line(&event(&serde_json::from_str(&line)?))?,
        }
    }
    Ok(0)
}

/// An event as docker's client writes it, with the time in UTC.
fn event(event: &EventMessage) -> String {
    let attributes: Vec<String> = event
        .actor
        .attributes
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(" ({})", attributes.join(", "))
    };
    let (seconds, nanoseconds) = (
        event.time_nano.div_euclid(1_000_000_000),
        event.time_nano.rem_euclid(1_000_000_000),
    );
    format!(
        "{}.{nanoseconds:09}Z {} {} {}{attributes}",
        super::moments::utc(seconds),
        event.kind,
        event.action,
        event.actor.id
    )
}

pub(crate) async fn wait(global: &Global, args: WaitArgs) -> Outcome {
    let client = client(global)?;
    let mut code = 0;
    for name in &args.containers {
        let waited = async {
            let pending = client.wait(name, WaitCondition::NotRunning).await?;
            pending.code().await
        };
        match waited.await {
            Ok(ended) => match global.output {
                Output::Json => print_line(&json!({ "Name": name, "StatusCode": ended }).to_string())?,
                Output::Text => print_line(&ended.to_string())?,
            },
            Err(error) if error.is_connection() => return Err(error.into()),
            Err(error) => {
                tell(&error.chain());
                code = exit::FAILED;
            }
        }
    }
    Ok(code)
}

pub(crate) async fn port(global: &Global, args: PortArgs) -> Outcome {
    let found = client(global)?.inspect(&args.container).await?;
    let wanted = args.port.as_ref().map(|port| {
        let (port, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        format!("{port}/{}", protocol.to_ascii_lowercase())
    });
    let ports = found.network_settings.ports;
    if global.output == Output::Json {
        print_line(&serde_json::to_string(&ports)?)?;
        return Ok(0);
    }
    let mut any = false;
    for (port, bindings) in ports
        .iter()
        .filter(|(port, _)| wanted.as_ref().is_none_or(|wanted| wanted == *port))
    {
        for binding in bindings.iter().flatten() {
            let host = if binding.host_ip.contains(':') {
                format!("[{}]:{}", binding.host_ip, binding.host_port)
            } else {
                format!("{}:{}", binding.host_ip, binding.host_port)
            };
            any = true;
            match wanted {
                Some(_) => print_line(&host)?,
                None => print_line(&format!("{port} -> {host}"))?,
            }
        }
    }
    match wanted {
        Some(wanted) if !any => Err(Failure::usage(format!(
            "no public port '{wanted}' published for {}",
            args.container
        ))),
        Some(_) | None => Ok(0),
    }
}

pub(crate) async fn rename(global: &Global, args: RenameArgs) -> Outcome {
    client(global)?.rename(&args.container, &args.name).await?;
    if global.output == Output::Json {
        print_line(&json!({ "Name": args.name, "Action": "renamed" }).to_string())?;
    }
    Ok(0)
}

pub(crate) async fn update(global: &Global, args: UpdateContainerArgs) -> Outcome {
    let wish = update_request(&args)?;
    let client = client(global)?;
    let update = async |name: &str| {
        let answer = client.update(name, &wish).await?;
        for warning in answer.warnings.iter().flatten() {
            tell(&format!("warning: {warning}"));
        }
        Ok(())
    };
    each(global, &args.containers, "updated", update).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_on_a_line() {
        let line = r#"{"status":"start","id":"abc","from":"app","Type":"container","Action":"start","Actor":{"ID":"abc",
            "Attributes":{"name":"web","image":"app"}},"scope":"local","time":1795577128,"timeNano":1795577128000000250}"#;
        let message = serde_json::from_str(line).expect("an event");
        assert_eq!(
            event(&message),
            "2026-11-25T03:25:28.000000250Z container start abc (image=app, name=web)"
        );
    }
}
