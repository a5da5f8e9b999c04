//! Taking a backup of a live member of berth's store.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::{EtcdClient, Outgoing};
use crate::error::SdkError;

/// Longest wait for the next piece of a backup: the member makes them as fast as they are read.
const PIECE_LIMIT: Duration = Duration::from_secs(60);

/// A backup that is coming in.
#[derive(Debug)]
pub struct BackupStream {
    body: Incoming,
    /// The member it comes from.
    pub from: String,
}

impl BackupStream {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// A broken connection, or nothing for a minute.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let frame = timeout(PIECE_LIMIT, self.body.frame()).await;
            match frame.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? {
                None => return Ok(None),
                Some(Err(error)) => return Err(io::Error::other(error)),
                // Trailers carry nothing here.
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

impl EtcdClient {
    /// Begins a backup of the first member that gives one. It holds every write that was answered before; with `stale` no
    /// quorum is needed, and it may lack the last of them.
    ///
    /// # Errors
    /// What each member said, when none gives one.
    pub async fn backup(&self, stale: bool) -> Result<BackupStream, SdkError> {
        let path = if stale {
            "/berth/backup?stale=true"
        } else {
            "/berth/backup"
        };
        let outgoing = Outgoing {
            method: &Method::GET,
            path,
            body: None,
        };
        let mut errors = Vec::new();
        for member in self.members.iter() {
            let response = match member.open(self.prepared(member, &outgoing)).await {
                Ok(response) => response,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            if response.status() == StatusCode::OK {
                return Ok(BackupStream {
                    body: response.into_body(),
                    from: member.endpoint().to_string(),
                });
            }
            match member.collect(response).await {
                Ok(answer) => errors.push(member.unexpected(&answer)),
                Err(error) => errors.push(error),
            }
        }
        match (errors.pop(), errors.is_empty()) {
            (Some(only), true) => Err(only),
            (last, _) => Err(SdkError::NoEndpoint(
                errors.iter().chain(&last).map(SdkError::chain).collect(),
            )),
        }
    }
}
