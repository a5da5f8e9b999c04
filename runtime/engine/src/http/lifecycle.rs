//! start, stop, restart, kill, rename, remove.

use std::sync::Arc;

use axum::body::Body;
use berth_wire::docker::CreateRequest;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde_json::{Map, Value};

use super::params::Params;
use super::{Answer, Api, body, empty, quirks, volumes};
use crate::error::Failure;
use crate::handle::Change;
use crate::lifecycle::{self, Grace};

/// From this version on a start takes no body.
const START_WITHOUT_BODY: u32 = 24;

pub(crate) async fn start(api: &Arc<Api>, id: &str, minor: u32, request: Request<Incoming>) -> Answer {
    let body = body::bytes(request).await?;
    if !body.is_empty() {
        if minor >= START_WITHOUT_BODY {
            return Err(Failure::StartWithBody);
        }
        if let Value::Object(host) = serde_json::from_slice(&body)? {
            configure(api, id, host).await?;
        }
    }
    change(api, id, Change::Start).await
}

/// The host's part of the configuration that came with the start takes the place of the stored one, as far as it says
/// something.
async fn configure(api: &Arc<Api>, id: &str, host: Map<String, Value>) -> Result<(), Failure> {
    let container = api.handle.find(id).await?.container;
    let said = quirks::said(host);
    let moves = said.contains_key("Links") || said.contains_key("NetworkMode");
    let mut stored = serde_json::to_value(&container.host_config)?;
    if let Value::Object(stored) = &mut stored {
        // Documents write them in a form that no request has.
        stored.remove("Links");
        stored.extend(said);
    }
    let request = CreateRequest {
        config: container.config.clone(),
        host_config: serde_json::from_value(stored)?,
        ..CreateRequest::default()
    };
    api.handle.configure(&container.id, request, moves).await
}

pub(crate) async fn stop(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let (signal, grace) = (signal(params)?, grace(params)?);
    change(api, id, Change::Stop { signal, grace }).await
}

pub(crate) async fn restart(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let (signal, grace) = (signal(params)?, grace(params)?);
    change(api, id, Change::Restart { signal, grace }).await
}

pub(crate) async fn kill(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    const SIGKILL: i32 = 9;
    let signal = signal(params)?.unwrap_or(SIGKILL);
    change(api, id, Change::Kill { signal }).await.map_err(|failure| {
        if matches!(failure, Failure::NoSuchContainer(_)) {
            Failure::KillNobody(id.to_owned())
        } else {
            failure
        }
    })
}

pub(crate) async fn rename(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    api.handle.rename(id, params.text("name")).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

pub(crate) async fn remove(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    if params.flag("link") {
        return Err(Failure::Unsupported("removing a link"));
    }
    let volumes = if params.flag("v") {
        api.handle.find(id).await?.container.anonymous_volumes()
    } else {
        Vec::new()
    };
    let force = params.flag("force");
    let response = change(api, id, Change::Remove { force }).await?;
    volumes::remove_unused(api, volumes).await?;
    Ok(response)
}

pub(crate) async fn pause(api: &Arc<Api>, id: &str) -> Answer {
    change(api, id, Change::Pause).await
}

pub(crate) async fn unpause(api: &Arc<Api>, id: &str) -> Answer {
    change(api, id, Change::Unpause).await
}

async fn change(api: &Arc<Api>, id: &str, change: Change) -> Result<Response<Body>, Failure> {
    Ok(empty(match api.handle.change(id, change).await? {
        lifecycle::Answer::AlreadyThere => StatusCode::NOT_MODIFIED,
        lifecycle::Answer::Done
        | lifecycle::Answer::LaunchFailed
        | lifecycle::Answer::NotRunning
        | lifecycle::Answer::StillRunning
        | lifecycle::Answer::StillPaused
        | lifecycle::Answer::MustRun
        | lifecycle::Answer::AlreadyPaused
        | lifecycle::Answer::NotPaused
        | lifecycle::Answer::FreezeFailed
        | lifecycle::Answer::BeingRemoved
        | lifecycle::Answer::EraseFailed => StatusCode::NO_CONTENT,
    }))
}

fn grace(params: &Params) -> Result<Option<Grace>, Failure> {
    let text = params.text("t");
    if text.is_empty() {
        return Ok(None);
    }
    let seconds: i64 = text.parse().map_err(|_| Failure::BadParameter {
        name: "t",
        value: text.to_owned(),
    })?;
    Ok(Some(
        u64::try_from(seconds).map_or(Grace::Endless, Grace::Seconds),
    ))
}

fn signal(params: &Params) -> Result<Option<i32>, Failure> {
    let text = params.text("signal");
    if text.is_empty() {
        return Ok(None);
    }
    parse_signal(text)
        .map(Some)
        .ok_or_else(|| Failure::BadSignal(text.to_owned()))
}

/// The number of the last real-time signal.
const LAST_SIGNAL: i32 = 64;

/// The first one that programs may use: the C library keeps two for itself.
const FIRST_REAL_TIME: i32 = 34;

/// A signal by number or by name, with or without `SIG`, in any case.
fn parse_signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=LAST_SIGNAL).contains(&number).then_some(number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return real_time(FIRST_REAL_TIME, offset, '+');
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return real_time(LAST_SIGNAL, offset, '-');
    }
    format!("SIG{name}")
        .parse::<nix::sys::signal::Signal>()
        .ok()
        .map(|signal| signal as i32)
}

/// A real-time signal by its distance from the first or the last.
fn real_time(base: i32, offset: &str, sign: char) -> Option<i32> {
    let distance = match offset.strip_prefix(sign) {
        Some(digits) => digits.parse::<u8>().ok().map(i32::from)?,
        None if offset.is_empty() => 0,
        None => return None,
    };
    let number = if sign == '+' {
        base + distance
    } else {
        base - distance
    };
    (FIRST_REAL_TIME..=LAST_SIGNAL)
        .contains(&number)
        .then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGTERM", 15),
            ("hup", 1),
            ("10", 10),
            ("64", 64),
            ("RTMIN+3", 37),
            ("SIGRTMAX", 64),
        ] {
            assert_eq!(parse_signal(text), Some(number), "{text}");
        }
        for text in ["0", "65", "-1", "SIGFOO", "SIG", "RTMIN-1", "RTMIN+31", "RTMAX-"] {
            assert_eq!(parse_signal(text), None, "{text}");
        }
    }
}
