//! Request bodies: small JSON documents as a whole, archives as a stream for a blocking reader.

use std::io::{self, Read};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::error::Failure;

/// The largest JSON document: a create request may carry a whole seccomp profile. Longer ones are refused.
const MAX_JSON: usize = 4 * 1024 * 1024;

/// Pieces of an upload between the socket and the extractor; then the client waits.
const PIECES: usize = 16;

/// As much of a refused upload is still taken; a client that sends more sees a closed connection.
const REST: usize = 256 * 1024 * 1024;

/// As long is waited for the rest of a refused upload.
const REST_TIME: Duration = Duration::from_secs(60);

/// The whole body, up to the limit of a JSON document.
pub(crate) async fn bytes(request: Request<Incoming>) -> Result<Bytes, Failure> {
    match Limited::new(request.into_body(), MAX_JSON).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Failure::BodyTooLong(MAX_JSON)),
        Err(error) => Err(Failure::Body(error.to_string())),
    }
}

/// The body as a JSON document.
pub(crate) async fn json<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let content_type = content_type.unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/json") {
        return Err(Failure::ContentType(content_type));
    }
    Ok(serde_json::from_slice(&bytes(request).await?)?)
}

/// Reads the rest and throws it away: a client that still sends would find the connection closed, and not the answer.
async fn drain(mut body: Incoming) {
    let mut left = REST;
    while let Some(Ok(frame)) = body.frame().await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}

/// Reads a body that is refused, in limited size and time.
pub(crate) async fn discard(request: Request<Incoming>) {
    drop(tokio::time::timeout(REST_TIME, drain(request.into_body())).await);
}

/// The body for a blocking reader.
pub(crate) fn reader(request: Request<Incoming>) -> BodyReader {
    let (sender, pieces) = mpsc::channel(PIECES);
    let mut body = request.into_body();
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            let piece = match frame {
                Ok(frame) => frame.into_data().map_err(|_| ()),
                Err(error) => {
                    drop(
                        sender
                            .send(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)))
                            .await,
                    );
                    return;
                }
            };
            // Trailers say nothing here; a reader that stopped early wants no more.
            if let Ok(piece) = piece
                && sender.send(Ok(piece)).await.is_err()
            {
                drop(tokio::time::timeout(REST_TIME, drain(body)).await);
                return;
            }
        }
    });
    BodyReader {
        pieces,
        rest: Bytes::new(),
    }
}

/// Reads a body from a thread that may block.
#[derive(Debug)]
pub(crate) struct BodyReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.rest.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}
