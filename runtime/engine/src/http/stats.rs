//! stats: what a container uses, once or once a second.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use berth_wire::docker::ContainerStats;
use bytes::Bytes;
use http::{HeaderValue, Response, header};
use tokio::sync::mpsc;

use super::logs::streamed;
use super::params::Params;
use super::{Answer, Api};
use crate::error::Failure;
use crate::stats::{self, Sample};

/// Between two looks; Docker's.
const INTERVAL: Duration = Duration::from_secs(1);

/// Documents waiting for a slow reader; then the next look waits too.
const WAITING: usize = 2;

pub(crate) async fn stats(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let found = api.handle.find(id).await?;
    let id = found.container.id.clone();
    // Without the parameter it is a stream.
    let stream = params.given("stream").is_none() || params.flag("stream");
    if !stream {
        let mut before = None;
        if !params.flag("one-shot") && found.container.run.status.counts_as_running() {
            look(api, &id, &mut before).await?;
            tokio::time::sleep(INTERVAL).await;
        }
        return Ok(json(Body::from(line(&look(api, &id, &mut before).await?)?)));
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let api = Arc::clone(api);
    tokio::spawn(async move {
        let mut before = None;
        loop {
            let looked = look(&api, &id, &mut before).await;
            let Ok(document) = looked.and_then(|document| line(&document)) else {
                // Removed, or the engine ends: so does the stream.
                return;
            };
            if sender
                .send(Ok::<Bytes, std::io::Error>(document.into()))
                .await
                .is_err()
            {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = sender.closed() => return,
            }
        }
    });
    Ok(json(streamed(receiver)))
}

/// One document; the sample behind it is the one before the next.
async fn look(api: &Arc<Api>, id: &str, before: &mut Option<Sample>) -> Result<ContainerStats, Failure> {
    let container = api.handle.find(id).await?.container;
    if container.run.pid == 0 {
        *before = None;
        return Ok(stats::nothing(&container));
    }
    let sample = api.actions.sample(&container).await?;
    let facts = api.handle.facts();
    let document = stats::document(
        &container,
        before.as_ref(),
        &sample,
        facts.cpus,
        facts.memory_total,
    );
    *before = Some(sample);
    Ok(document)
}

fn line(document: &ContainerStats) -> Result<Vec<u8>, Failure> {
    let mut line = serde_json::to_vec(document)?;
    line.push(b'\n');
    Ok(line)
}

fn json(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
