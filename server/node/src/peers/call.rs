//! A wish for another membership on its way to the leader: one connection, one question, one answer.

use crate::membership::{Verdict, Wish};
use crate::peers::frame::{self, FrameError, Kind, Stream};
use crate::peers::listener::{self, CallError};
use crate::peers::{Cluster, sender, wire};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// The wish follows the hello at once.
const WISH_TIME: Duration = Duration::from_secs(5);
/// Wishes on their way at a time; further ones wait.
pub(crate) const MAX_CALLS: usize = 8;

/// Asks the leader. What was not sent may be asked again; what was, and got no answer, may have been done.
pub(crate) async fn ask(cluster: &Arc<Cluster>, leader: u64, wish: &Wish, time: Duration) -> Verdict {
    let Some(link) = cluster.links().get(&leader).map(Arc::clone) else {
        return Verdict::Again;
    };
    let Ok(_permit) = cluster.calls.acquire().await else {
        return Verdict::Again;
    };
    let mut socket = match sender::connect(cluster, &link, Stream::Wish).await {
        Ok(socket) => socket,
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(member = leader, error, "the leader cannot be asked");
            return Verdict::Again;
        }
    };
    match timeout(time, exchange(&mut socket, wish)).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(error)) => {
            tracing::warn!(member = %format_args!("{leader:x}"), %error, "no answer from the leader");
            Verdict::Open
        }
        Err(_) => Verdict::Open,
    }
}

async fn exchange(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    wish: &Wish,
) -> Result<Verdict, FrameError> {
    let mut bytes = Vec::new();
    frame::put_document(&mut bytes, Kind::Wish, wish);
    wire::send(socket, &bytes).await?;
    let kind = frame::read(socket, &mut bytes).await?;
    if kind != Kind::Verdict {
        return Err(FrameError::Unexpected(kind));
    }
    Ok(serde_json::from_slice(&bytes)?)
}

/// Takes another member's wish.
pub(crate) async fn take(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    cluster: &Cluster,
) -> Result<(), CallError> {
    let mut bytes = Vec::new();
    let kind = listener::next(socket, &mut bytes, WISH_TIME).await?;
    if kind != Kind::Wish {
        return Err(FrameError::Unexpected(kind).into());
    }
    let wish: Wish = serde_json::from_slice(&bytes).map_err(FrameError::Document)?;
    // The replica answers in its own time, and a loop that has ended answers with its end.
    let verdict = cluster.change_here(wish).await;
    bytes.clear();
    frame::put_document(&mut bytes, Kind::Verdict, &verdict);
    listener::answer(socket, &bytes).await
}
