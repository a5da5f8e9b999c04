//! Files of a container: stat, archives out of it and into it, its changes, and all of it.

use std::io::{self, Write};
use std::sync::Arc;

use axum::body::Body;
use berth_images::{DifferenceKind, Extract};
use berth_wire::docker::FileChange;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::params::Params;
use super::{Answer, Api, body, empty, json};
use crate::container::Container;
use crate::error::Failure;

/// Pieces of an archive between the packer and the socket; then the packer waits for the client.
const PIECES: usize = 16;

/// Gathered before it is handed on.
const PIECE: usize = 64 * 1024;

/// The bit of Go's file modes that means a directory.
const DIRECTORY: u32 = 1 << 31;

/// What clients look for to know what is at a path.
const STAT: &str = "X-Docker-Container-Path-Stat";

pub(crate) async fn stat(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let (container, path) = named(api, id, params).await?;
    let mut response = empty(StatusCode::OK);
    let header = stat_header(api, &container, &path).await?;
    response.headers_mut().insert(STAT, header);
    Ok(response)
}

pub(crate) async fn get(api: &Arc<Api>, id: &str, params: &Params) -> Answer {
    let (container, path) = named(api, id, params).await?;
    let header = stat_header(api, &container, &path).await?;
    let actions = api.actions.clone();
    let mut response = archive(move |writer| actions.spot(&container, &path)?.pack(writer));
    response.headers_mut().insert(STAT, header);
    Ok(response)
}

pub(crate) async fn put(api: &Arc<Api>, id: &str, params: &Params, request: Request<Incoming>) -> Answer {
    let place = named(api, id, params).await.and_then(|(container, path)| {
        match api.actions.is_read_only(&container, &path) {
            Some(refusal) => Err(refusal),
            None => Ok((container, path)),
        }
    });
    let (container, path) = match place {
        Ok(place) => place,
        Err(refusal) => {
            body::discard(request).await;
            return Err(refusal);
        }
    };
    let keep_files = params.flag("noOverwriteDirNonDir");
    let own = params.flag("copyUIDGID");
    let actions = api.actions.clone();
    let reader = body::reader(request);
    let done = tokio::task::spawn_blocking(move || {
        let owner = if own {
            actions.account_of(&container)?
        } else {
            None
        };
        let spot = actions.spot(&container, &path)?;
        spot.extract(reader, Extract { keep_files, owner })
    });
    done.await.map_err(|_| Failure::Stopping)??;
    Ok(empty(StatusCode::OK))
}

pub(crate) async fn export(api: &Arc<Api>, id: &str) -> Answer {
    let container = api.handle.find(id).await?.container;
    let attributes = container.attributes();
    api.events
        .publish("container", "export", &container.id, attributes);
    let actions = api.actions.clone();
    let mut response = archive(move |writer| actions.export(&container, writer));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

pub(crate) async fn changes(api: &Arc<Api>, id: &str) -> Answer {
    let container = api.handle.find(id).await?.container;
    let directory = api.actions.directory(&container.id);
    let changes = api
        .actions
        .with_images(move |images| images.differences(&container.image_id, &directory))
        .await?;
    let changes: Vec<FileChange> = changes
        .into_iter()
        .map(|change| FileChange {
            path: change.path,
            kind: match change.kind {
                DifferenceKind::Changed => 0,
                DifferenceKind::Added => 1,
                DifferenceKind::Deleted => 2,
            },
        })
        .collect();
    json(
        StatusCode::OK,
        &Some(changes).filter(|changes| !changes.is_empty()),
    )
}

async fn named(api: &Arc<Api>, id: &str, params: &Params) -> Result<(Arc<Container>, String), Failure> {
    let path = params.text("path");
    if path.is_empty() || path.contains('\0') {
        return Err(Failure::BadParameter {
            name: "path",
            value: path.to_owned(),
        });
    }
    Ok((api.handle.find(id).await?.container, path.to_owned()))
}

async fn stat_header(api: &Arc<Api>, container: &Arc<Container>, path: &str) -> Result<HeaderValue, Failure> {
    let (actions, place, asked) = (api.actions.clone(), Arc::clone(container), path.to_owned());
    let stat = tokio::task::spawn_blocking(move || actions.spot(&place, &asked)?.stat());
    let stat = stat.await.map_err(|_| Failure::Stopping)??;
    if path.ends_with('/') && stat.mode & DIRECTORY == 0 && stat.link_target.is_empty() {
        let id = &container.id;
        return Err(Failure::NoSuchThing(format!(
            "Could not find the file {path} in container {id}"
        )));
    }
    let text = base64(&serde_json::to_vec(&stat)?);
    HeaderValue::from_str(&text).map_err(|_| Failure::BadParameter {
        name: "path",
        value: String::new(),
    })
}

/// A body that is written by a thread which may block. An archive that cannot be finished ends without its end, so that
/// the client notices.
fn archive(work: impl FnOnce(&mut dyn Write) -> Result<(), Failure> + Send + 'static) -> Response<Body> {
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let failed = sender.clone();
        let mut writer = io::BufWriter::with_capacity(PIECE, ChannelWriter { sender });
        let written = work(&mut writer).and_then(|()| Ok(writer.flush()?));
        if let Err(error) = written {
            tracing::debug!(%error, "an archive was not finished");
            // A client that has gone needs no reason.
            let _ = failed.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let body = stream::unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece, pieces))
    });
    let mut response = Response::new(Body::from_stream(body));
    let kind = HeaderValue::from_static("application/x-tar");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

struct ChannelWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Write for ChannelWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.sender.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// With padding, in the alphabet of RFC 4648.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let all = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let letter = ALPHABET[usize::try_from(all >> (18 - 6 * place) & 63).unwrap_or(0)];
            text.push(if place <= three.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }
}
