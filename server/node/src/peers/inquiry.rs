//! Who is in the cluster: the question of one who is about to join it, and the answer.

use crate::peers::Cluster;
use crate::peers::frame::{self, FrameError, Kind, Reason, Refuse, VERSIONS};
use crate::peers::listener::{self, CallError};
use crate::peers::sender::LinkError;
use crate::peers::wire::{self, Wire};
use crate::tls::Tls;
use berth_replica::Member;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::timeout;

/// A question and its answer take no longer.
const ASK_TIME: Duration = Duration::from_secs(2);

/// The first frame of a connection that only asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Question {
    pub(crate) protocol: String,
    pub(crate) versions: (u16, u16),
}

/// The answer: the membership as the member that was asked knows it; empty if it does not know it yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) cluster: u64,
    /// Of the forming of the cluster, where that is known.
    pub(crate) token: Option<String>,
    pub(crate) members: Vec<Acquaintance>,
}

/// A member in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Acquaintance {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) client_urls: Vec<String>,
}

impl From<Acquaintance> for Member {
    fn from(known: Acquaintance) -> Member {
        Member {
            id: known.id,
            name: known.name,
            peer_urls: known.peer_urls,
            client_urls: known.client_urls,
        }
    }
}

/// Asks the member at a URL.
pub(crate) async fn ask(url: &str, tls: Option<&Arc<Tls>>) -> Result<Told, LinkError> {
    match timeout(ASK_TIME, exchange(url, tls)).await {
        Ok(told) => told,
        Err(_) => Err(LinkError::Silent),
    }
}

async fn exchange(url: &str, tls: Option<&Arc<Tls>>) -> Result<Told, LinkError> {
    let mut socket = Wire::connect(url, tls).await?;
    let mut bytes = Vec::new();
    let question = Question {
        protocol: frame::Hello::protocol(),
        versions: VERSIONS,
    };
    frame::put_document(&mut bytes, Kind::Question, &question);
    wire::send(&mut socket, &bytes).await?;
    let kind = frame::read(&mut socket, &mut bytes).await?;
    if kind == Kind::Refuse {
        let refuse: Refuse = serde_json::from_slice(&bytes).map_err(FrameError::Document)?;
        return Err(LinkError::Refused(refuse.reason));
    }
    if kind != Kind::Told {
        return Err(FrameError::Unexpected(kind).into());
    }
    Ok(serde_json::from_slice(&bytes).map_err(FrameError::Document)?)
}

/// Answers a question.
pub(crate) async fn tell(
    socket: &mut (impl AsyncWrite + Unpin),
    cluster: &Cluster,
    payload: &[u8],
) -> Result<(), CallError> {
    let question: Question = serde_json::from_slice(payload).map_err(FrameError::Document)?;
    let mut bytes = Vec::new();
    if question.protocol != frame::Hello::protocol()
        || question.versions.0 > VERSIONS.1
        || question.versions.1 < VERSIONS.0
    {
        let reason = Reason::Version;
        frame::put_document(&mut bytes, Kind::Refuse, &Refuse { reason });
        listener::answer(socket, &bytes).await?;
        return Err(CallError::Refused(reason));
    }
    frame::put_document(&mut bytes, Kind::Told, &cluster.told());
    listener::answer(socket, &bytes).await
}
