//! Images on their way to members that are too far behind: each on a connection of its own, in checked pieces.

use crate::peers::frame::{self, FrameError, Kind, Stream};
use crate::peers::listener::{self, CallError};
use crate::peers::sender::{self, LinkError};
use crate::peers::wire::{self, Wire};
use crate::peers::{Cluster, Link};
use berth_replica::{Input, Message, MessageType, encode_message};
use berth_store::{Restorer, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How long an image waits for others that are on their way; then it counts as not delivered, and Raft asks again.
const QUEUE_TIME: Duration = Duration::from_secs(30);
/// A batch of pieces has to leave in this time.
const WRITE_TIME: Duration = Duration::from_secs(10);
/// And a piece has to come in this one.
const PIECE_TIME: Duration = Duration::from_secs(10);
/// The receiver has to put the last pieces together in this time.
const DONE_TIME: Duration = Duration::from_secs(30);
/// Pieces that are written together.
const BATCH_BYTES: usize = 256 << 10;
/// The largest image that is taken: the state and its copy have to fit in memory.
const MAX_IMAGE_BYTES: u64 = 8 << 30;

/// Marks that an image is on its way to a member.
struct Imaging<'a>(&'a Link);

impl Drop for Imaging<'_> {
    fn drop(&mut self) {
        self.0.imaging.store(false, Ordering::Release);
    }
}

/// Sends an image, and reports what became of it.
pub(crate) async fn send(cluster: Arc<Cluster>, link: Arc<Link>, message: Message, store: Box<Store>) {
    let to = link.id;
    let sent = transfer(&cluster, &link, &message, &store).await;
    match &sent {
        Ok(bytes) => tracing::info!(member = %format_args!("{to:x}"), bytes, "image sent"),
        Err(error) => {
            let error = error as &dyn std::error::Error;
            tracing::warn!(member = %format_args!("{to:x}"), error, "image not sent");
        }
    }
    let delivered = sent.is_ok();
    cluster.inbox.push(Input::SnapshotSent { to, delivered }, None);
}

async fn transfer(
    cluster: &Arc<Cluster>,
    link: &Link,
    message: &Message,
    store: &Store,
) -> Result<u64, LinkError> {
    if link.imaging.swap(true, Ordering::AcqRel) {
        return Err(LinkError::Busy);
    }
    let _imaging = Imaging(link);
    let permit = timeout(QUEUE_TIME, cluster.images.acquire()).await;
    let Ok(Ok(_permit)) = permit else {
        return Err(LinkError::Busy);
    };
    let mut socket = sender::connect(cluster, link, Stream::Image).await?;
    let mut bytes = Vec::new();
    frame::put(&mut bytes, Kind::Image, &encode_message(message));
    let (mut count, mut sum, mut total) = (0_u64, 0_u32, 0_u64);
    let mut piece = Vec::new();
    for (number, chunk) in store.chunks() {
        piece.clear();
        piece.extend_from_slice(&number);
        piece.extend_from_slice(&chunk);
        sum = crc32c::crc32c_append(sum, &piece);
        count += 1;
        total += chunk.len() as u64;
        frame::put(&mut bytes, Kind::Chunk, &piece);
        if bytes.len() >= BATCH_BYTES {
            write(&mut socket, &bytes).await?;
            link.sent(bytes.len());
            bytes.clear();
        }
    }
    piece.clear();
    piece.extend_from_slice(&count.to_be_bytes());
    piece.extend_from_slice(&sum.to_be_bytes());
    frame::put(&mut bytes, Kind::End, &piece);
    write(&mut socket, &bytes).await?;
    let kind = match timeout(DONE_TIME, frame::read(&mut socket, &mut bytes)).await {
        Ok(read) => read?,
        Err(_) => return Err(LinkError::Silent),
    };
    if kind == Kind::Done {
        Ok(total)
    } else if kind == Kind::Failed {
        Err(LinkError::Image(String::from_utf8_lossy(&bytes).into_owned()))
    } else {
        Err(FrameError::Unexpected(kind).into())
    }
}

async fn write(socket: &mut Wire, bytes: &[u8]) -> Result<(), LinkError> {
    match timeout(WRITE_TIME, wire::send(socket, bytes)).await {
        Ok(written) => Ok(written?),
        Err(_) => Err(LinkError::Silent),
    }
}

/// Takes an image.
pub(crate) async fn receive(
    mut socket: Wire,
    cluster: &Cluster,
    images: &Semaphore,
    from: u64,
) -> Result<(), CallError> {
    let mut bytes = Vec::new();
    let Ok(_permit) = images.try_acquire() else {
        return fail(&mut socket, "another image is being received").await;
    };
    let kind = listener::next(&mut socket, &mut bytes, PIECE_TIME).await?;
    if kind != Kind::Image {
        return Err(FrameError::Unexpected(kind).into());
    }
    let message = listener::message(cluster, from, &bytes)?;
    if message.get_msg_type() != MessageType::MsgSnapshot {
        return Err(CallError::Foreign);
    }
    match pieces(&mut socket, &mut bytes).await? {
        Ok(store) => {
            let message = Box::new(message);
            tracing::info!(member = %format_args!("{from:x}"), index = store.index(), "image received");
            let store = Box::new(store);
            cluster.inbox.push(
                Input::Snapshot {
                    message: *message,
                    store,
                },
                None,
            );
            bytes.clear();
            frame::put(&mut bytes, Kind::Done, &[]);
            listener::answer(&mut socket, &bytes).await
        }
        Err(reason) => fail(&mut socket, &reason).await,
    }
}

/// The pieces, put together; or what is wrong with them.
async fn pieces(socket: &mut Wire, bytes: &mut Vec<u8>) -> Result<Result<Store, String>, CallError> {
    let mut restorer = Restorer::new();
    let (mut count, mut sum, mut total) = (0_u64, 0_u32, 0_u64);
    loop {
        let kind = listener::next(socket, bytes, PIECE_TIME).await?;
        if kind == Kind::End {
            break;
        }
        if kind != Kind::Chunk {
            return Err(FrameError::Unexpected(kind).into());
        }
        sum = crc32c::crc32c_append(sum, bytes);
        count += 1;
        total += bytes.len() as u64;
        if total > MAX_IMAGE_BYTES {
            return Ok(Err("it is too large".to_owned()));
        }
        let Some((number, chunk)) = bytes.split_at_checked(8) else {
            return Ok(Err("a piece is too short".to_owned()));
        };
        if let Err(error) = restorer.push(number, chunk) {
            return Ok(Err(error.to_string()));
        }
    }
    let mut expected = count.to_be_bytes().to_vec();
    expected.extend_from_slice(&sum.to_be_bytes());
    if *bytes != expected {
        return Ok(Err("pieces are missing, or not those that were sent".to_owned()));
    }
    Ok(restorer.finish().map_err(|error| error.to_string()))
}

async fn fail(socket: &mut Wire, reason: &str) -> Result<(), CallError> {
    tracing::warn!(reason, "image refused");
    let mut bytes = Vec::new();
    frame::put(&mut bytes, Kind::Failed, reason.as_bytes());
    listener::answer(socket, &bytes).await
}
