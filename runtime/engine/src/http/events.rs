//! events: what happened, and what happens.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use berth_wire::docker::EventMessage;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use tokio::sync::{broadcast, mpsc};

use super::logs::{moment, streamed};
use super::params::Params;
use super::{Answer, Api};
use crate::clock;
use crate::filters::Filters;

/// The filters of the stream.
const FILTERS: [&str; 10] = [
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "plugin",
    "scope",
    "type",
    "volume",
];

/// Lines waiting for a slow listener before its place in the broadcast begins to lag.
const LINES: usize = 64;

pub(crate) fn events(api: &Arc<Api>, params: &Params) -> Answer {
    let filters = Filters::parse(params.text("filters"), &FILTERS)?;
    let since = moment(params, "since")?;
    let until = moment(params, "until")?;
    let (kept, receiver) = api.events.subscribe();
    let (sender, lines) = mpsc::channel::<Result<Bytes, Infallible>>(LINES);
    tokio::spawn(async move {
        let wanted = |event: &EventMessage| {
            until.is_none_or(|until| event.time_nano <= until) && selects(&filters, event)
        };
        for event in kept
            .iter()
            .filter(|event| since.is_some_and(|since| event.time_nano >= since))
        {
            if wanted(event) && !send(&sender, event).await {
                return;
            }
        }
        tokio::select! {
            () = follow(receiver, &sender, wanted) => {}
            () = passed(until) => {}
            () = sender.closed() => {}
        }
    });
    let mut response = Response::new(streamed(lines));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok::<Response<Body>, _>(response)
}

async fn follow(
    mut receiver: broadcast::Receiver<Arc<EventMessage>>,
    sender: &mpsc::Sender<Result<Bytes, Infallible>>,
    wanted: impl Fn(&EventMessage) -> bool,
) {
    // A listener that lags is cut off: it would not know what it missed.
    while let Ok(event) = receiver.recv().await {
        if wanted(&event) && !send(sender, &event).await {
            return;
        }
    }
}

async fn send(sender: &mpsc::Sender<Result<Bytes, Infallible>>, event: &EventMessage) -> bool {
    let Ok(mut line) = serde_json::to_vec(event) else {
        return false;
    };
    line.push(b'\n');
    sender.send(Ok(line.into())).await.is_ok()
}

/// Returns when the moment is over; never without one.
async fn passed(until: Option<i64>) {
    match until {
        Some(until) => {
            let left = u64::try_from(until - clock::now()).unwrap_or(0);
            tokio::time::sleep(Duration::from_nanos(left)).await;
        }
        None => std::future::pending().await,
    }
}

fn selects(filters: &Filters, event: &EventMessage) -> bool {
    let attributes = &event.actor.attributes;
    let attribute_is = |key: &str, value: &String| attributes.get(key) == Some(value);
    let object = |kind: &str, value: &String| {
        event.kind == kind && (event.actor.id.starts_with(value.as_str()) || attribute_is("name", value))
    };
    filters.any("type", |kind| *kind == event.kind)
        && filters.any("event", |action| {
            event.action == *action || event.action.starts_with(&format!("{action}:"))
        })
        && filters.any("container", |value| {
            object("container", value) || attribute_is("container", value)
        })
        && filters.any("image", |value| {
            object("image", value) || (event.kind == "container" && attribute_is("image", value))
        })
        && filters.any("network", |value| object("network", value))
        && filters.any("volume", |value| object("volume", value))
        && filters.any("plugin", |value| object("plugin", value))
        && filters.any("daemon", |value| object("daemon", value))
        && filters.any("scope", |scope| *scope == event.scope)
        && filters.labels(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filters: &str) -> bool {
        let event: EventMessage = serde_json::from_str(
            r#"{"Type":"container","Action":"die","Actor":{"ID":"abc","Attributes":{"name":"web","image":"app","k":"v"}},
            "scope":"local","time":1,"timeNano":1}"#,
        )
        .expect("an event");
        selects(&Filters::parse(filters, &FILTERS).expect("filters"), &event)
    }

    #[test]
    fn filters() {
        for filters in [
            "",
            r#"{"type":["container"],"event":["die","start"]}"#,
            r#"{"container":["web"]}"#,
            r#"{"container":["ab"],"label":["k=v"]}"#,
            r#"{"image":["app"]}"#,
        ] {
            assert!(check(filters), "{filters}");
        }
        for filters in [
            r#"{"event":["di"]}"#,
            r#"{"container":["other"]}"#,
            r#"{"label":["k=w"]}"#,
        ] {
            assert!(!check(filters), "{filters}");
        }
    }
}
