//! logs: what to read of a container's log.

use std::sync::Arc;

use axum::body::Body;
use futures_util::stream;
use http::Response;
use tokio::sync::mpsc;

use super::params::Params;
use super::{Answer, Api};
use crate::clock;
use crate::error::Failure;
use crate::logs::{self, LogOptions};

pub(crate) async fn logs(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let found = api.handle.find(id).await?;
    let options = LogOptions {
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
        since: moment(params, "since")?,
        until: moment(params, "until")?,
        tail: tail(params.text("tail")),
        timestamps: params.flag("timestamps"),
        details: params.flag("details"),
        follow: params.flag("follow"),
        raw: found.container.config.tty,
    };
    if !options.stdout && !options.stderr {
        return Err(Failure::NoStream);
    }
    if !found.container.spec.log.kept {
        return Err(Failure::LogNotKept);
    }
    let path = api.actions.paths(&found.container.id).log;
    let output = logs::read(path.into(), options, found.run);
    Ok(Response::new(streamed(output)))
}

/// A body of the pieces that come out of a channel.
pub(crate) fn streamed<T, E>(output: mpsc::Receiver<Result<T, E>>) -> Body
where
    T: Into<bytes::Bytes> + Send + 'static,
    E: Into<axum::BoxError> + Send + 'static,
{
    Body::from_stream(stream::unfold(output, |mut output| async move {
        Some((output.recv().await?, output))
    }))
}

/// A number of lines; what is not a number means all of them.
fn tail(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// A point in time; 0 and nothing mean "no limit".
pub(crate) fn moment(params: &Params, name: &'static str) -> Result<Option<i64>, Failure> {
    match params.text(name) {
        "" | "0" => Ok(None),
        text => clock::parse_moment(text)
            .map(Some)
            .ok_or_else(|| Failure::BadParameter {
                name,
                value: text.to_owned(),
            }),
    }
}
