//! wait: the head of the answer at once, the body when the container has ended.

use std::sync::Arc;

use axum::body::Body;
use berth_wire::docker::{WaitError, WaitResponse};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Response, header};
use tokio::sync::watch;

use super::params::Params;
use super::{Answer, Api};
use crate::container::RunState;

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    NotRunning,
    NextExit,
    Removed,
}

pub(crate) async fn wait(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let condition = match params.text("condition") {
        "next-exit" => Condition::NextExit,
        "removed" => Condition::Removed,
        _ => Condition::NotRunning,
    };
    let run = api.handle.find(id).await?.run;
    // Taken before the head is sent: a start that follows it must not get ahead of the waiting.
    let exits = run.borrow().exits;
    let body = stream::once(async move {
        let answer = until(condition, exits, run).await;
        let mut line = serde_json::to_vec(&answer).map_err(std::io::Error::other)?;
        line.push(b'\n');
        Ok::<_, std::io::Error>(Bytes::from(line))
    });
    let mut response = Response::new(Body::from_stream(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

async fn until(condition: Condition, exits: u64, mut run: watch::Receiver<RunState>) -> WaitResponse {
    loop {
        let state = run.borrow_and_update().clone();
        let over = match condition {
            Condition::NotRunning => !state.running,
            Condition::NextExit => state.exits > exits,
            Condition::Removed => state.removed,
        };
        if over || state.removed {
            return WaitResponse {
                error: None,
                status_code: state.exit_code,
            };
        }
        if run.changed().await.is_err() && !run.borrow().removed {
            let message = "the engine is shutting down".to_owned();
            return WaitResponse {
                error: Some(WaitError { message }),
                status_code: -1,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(code: i64) -> RunState {
        RunState {
            running: false,
            exits: 1,
            exit_code: code,
            removed: false,
        }
    }

    #[tokio::test]
    async fn conditions() {
        let (sender, run) = watch::channel(RunState::default());
        assert_eq!(until(Condition::NotRunning, 0, run.clone()).await.status_code, 0);
        let next = tokio::spawn(until(Condition::NextExit, 0, run.clone()));
        let removed = tokio::spawn(until(Condition::Removed, 0, run.clone()));
        sender.send_replace(RunState {
            running: true,
            ..RunState::default()
        });
        sender.send_replace(ended(3));
        assert_eq!(next.await.expect("joined").status_code, 3);
        sender.send_modify(|state| state.removed = true);
        assert_eq!(removed.await.expect("joined").status_code, 3);
    }

    #[tokio::test]
    async fn the_end_of_the_engine_is_an_error() {
        let (sender, run) = watch::channel(RunState {
            running: true,
            ..RunState::default()
        });
        drop(sender);
        assert_eq!(until(Condition::NotRunning, 0, run).await.status_code, -1);
    }
}
