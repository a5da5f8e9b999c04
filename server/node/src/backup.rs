//! A backup: one image of the state as one file, in checked frames; how it is made, checked and read.
//!
//! ```text
//! berth-backup 1\n                               name and version
//! kind, length, bytes, CRC-32C of all three      frames: 1, 4, length and 4 bytes; numbers highest first
//!   H  the head: a JSON document                 first
//!   C  eight bytes of number and a chunk         as many as there are
//!   E  count, bytes of chunks, SHA-256           last; the hash is of all before this frame
//! ```

mod restore;
#[cfg(test)]
mod tests;

pub use restore::{Restore, RestoreError, Restored, restore};

use berth_store::{CHUNK_BYTES, Chunks, Store};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

const MAGIC: &[u8] = b"berth-backup 1\n";
/// What the first line begins with in every version.
const NAME: &[u8] = b"berth-backup ";

const HEAD: u8 = b'H';
const CHUNK: u8 = b'C';
const END: u8 = b'E';

/// Kind and length in front of a frame's bytes, and the checksum behind them.
const BEFORE: usize = 5;
const BEHIND: usize = 4;
const NUMBER: usize = 8;

/// The longest head that is read; what is written stays far below.
const MAX_HEAD_BYTES: usize = 64 << 10;
const END_BYTES: usize = 48;

/// What is made at a time for a reader: a backup holds no more than this in memory beside the state itself.
const PIECE_BYTES: usize = 64 << 10;

/// What a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHead {
    /// Drawn for each backup: no two are the same.
    pub id: String,
    /// The cluster it was taken from, in hexadecimal digits.
    pub cluster: String,
    /// The member it was taken from, in hexadecimal digits.
    pub member: String,
    /// That member's name.
    pub name: String,
    /// The store's index (`X-Etcd-Index`).
    pub index: u64,
    /// The last log entry in it.
    pub raft_index: u64,
    /// The term in which it was taken.
    pub term: u64,
    /// Keys and directories in it, hidden ones too.
    pub nodes: u64,
    /// When it was taken, in seconds since 1970.
    pub taken: u64,
    /// The version of berth that made it.
    pub version: String,
}

/// What is wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It does not begin as one.
    #[error("it is no backup of berth")]
    Foreign,
    /// A later version made it.
    #[error("it is a backup of format {found:?}, this program knows 1")]
    Version {
        /// The version it names.
        found: String,
    },
    /// It ends too early.
    #[error("it is cut off at byte {at}")]
    Cut {
        /// Where.
        at: u64,
    },
    /// The bytes are not those that were written.
    #[error("it is damaged at byte {at}: {reason}")]
    Damaged {
        /// Where the frame begins.
        at: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The frames are whole, but no state.
    #[error("its image cannot be read")]
    Image(#[from] berth_store::SnapshotError),
}

/// A backup on its way to whoever asked for it; made piece by piece as it is read.
#[derive(Debug)]
pub(crate) struct BackupBody {
    chunks: Chunks,
    head: Option<BackupHead>,
    hash: Sha256,
    count: u64,
    bytes: u64,
    ended: bool,
}

impl BackupBody {
    pub(crate) fn new(head: BackupHead, store: &Store) -> BackupBody {
        BackupBody {
            chunks: store.chunks(),
            head: Some(head),
            hash: Sha256::new(),
            count: 0,
            bytes: 0,
            ended: false,
        }
    }

    /// The next piece; none behind the end.
    fn piece(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        let mut out = Vec::with_capacity(PIECE_BYTES + 2 * CHUNK_BYTES);
        if let Some(head) = self.head.take() {
            out.extend_from_slice(MAGIC);
            // Numbers and strings can always be written.
            put(&mut out, HEAD, &[&serde_json::to_vec(&head).unwrap_or_default()]);
        }
        while out.len() < PIECE_BYTES {
            let Some((number, chunk)) = self.chunks.next() else {
                self.hash.update(&out);
                let hash = std::mem::take(&mut self.hash).finalize();
                let sums = [self.count.to_be_bytes(), self.bytes.to_be_bytes()].concat();
                put(&mut out, END, &[&sums, &hash]);
                self.ended = true;
                return Some(out);
            };
            self.count += 1;
            self.bytes += chunk.len() as u64;
            put(&mut out, CHUNK, &[&number, &chunk]);
        }
        self.hash.update(&out);
        Some(out)
    }
}

impl http_body::Body for BackupBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.get_mut().piece();
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Appends a frame.
fn put(out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
    let start = out.len();
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(kind);
    // A head and a chunk are small.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    let sum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&sum.to_be_bytes());
}

/// What comes next in a backup that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Magic,
    Head,
    Chunks,
    Nothing,
}

/// Checks a backup while it comes in, in pieces of any size. It holds no more than a frame of it.
#[derive(Debug)]
pub struct BackupCheck {
    next: Next,
    /// What came and is not a whole frame yet.
    ahead: Vec<u8>,
    /// Where `ahead` begins.
    at: u64,
    hash: Sha256,
    digest: [u8; 32],
    count: u64,
    bytes: u64,
    head: Option<BackupHead>,
}

impl Default for BackupCheck {
    fn default() -> Self {
        Self {
            next: Next::Magic,
            ahead: Vec::new(),
            at: 0,
            hash: Sha256::new(),
            digest: [0; 32],
            count: 0,
            bytes: 0,
            head: None,
        }
    }
}

impl BackupCheck {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first damage.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.read(bytes, |_, _| Ok(()))
    }

    /// What the backup says about itself, if the whole of it came.
    ///
    /// # Errors
    /// When it is cut off.
    pub fn finish(self) -> Result<BackupHead, BackupError> {
        let at = self.at + self.ahead.len() as u64;
        match self.head {
            Some(head) if self.next == Next::Nothing => Ok(head),
            Some(_) | None => Err(BackupError::Cut { at }),
        }
    }

    /// Takes the next bytes, and gives each whole chunk with its number.
    fn read(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.ahead.extend_from_slice(bytes);
        let mut from = 0;
        loop {
            let used = self.frame(from, &mut take)?;
            if used == 0 {
                break;
            }
            from += used;
            self.at += used as u64;
        }
        self.ahead.drain(..from);
        Ok(())
    }

    /// Takes the frame that begins at `from`, and gives its length; 0 if it is not whole yet.
    fn frame(
        &mut self,
        from: usize,
        take: &mut impl FnMut(&[u8], &[u8]) -> Result<(), BackupError>,
    ) -> Result<usize, BackupError> {
        let ahead = &self.ahead[from..];
        if self.next == Next::Magic {
            let used = magic(ahead)?;
            if used > 0 {
                self.hash.update(MAGIC);
                self.next = Next::Head;
            }
            return Ok(used);
        }
        let at = self.at;
        let damaged = |reason| BackupError::Damaged { at, reason };
        let Some(&kind) = ahead.first() else {
            return Ok(0);
        };
        let most = longest(self.next, kind).map_err(damaged)?;
        let Some(body) = whole(ahead, most).map_err(damaged)? else {
            return Ok(0);
        };
        match kind {
            HEAD => {
                let head = serde_json::from_slice(body);
                self.head = Some(head.map_err(|_| damaged("the head cannot be read"))?);
                self.next = Next::Chunks;
            }
            CHUNK => {
                let split = body.split_at_checked(NUMBER);
                let (number, chunk) = split.ok_or_else(|| damaged("a chunk is too short"))?;
                self.count += 1;
                self.bytes += chunk.len() as u64;
                take(number, chunk)?;
            }
            _ => {
                self.digest = std::mem::take(&mut self.hash).finalize().into();
                let sums = [self.count.to_be_bytes(), self.bytes.to_be_bytes()].concat();
                if body != [&sums[..], &self.digest].concat() {
                    return Err(damaged("chunks are missing, or not those that were written"));
                }
                self.next = Next::Nothing;
            }
        }
        let used = BEFORE + body.len() + BEHIND;
        self.hash.update(&ahead[..used]);
        Ok(used)
    }
}

/// The longest frame of this kind, if it may come next.
fn longest(next: Next, kind: u8) -> Result<usize, &'static str> {
    match (next, kind) {
        (Next::Nothing, _) => Err("bytes follow the end"),
        (Next::Head, HEAD) => Ok(MAX_HEAD_BYTES),
        (Next::Chunks, CHUNK) => Ok(NUMBER + CHUNK_BYTES),
        (Next::Chunks, END) => Ok(END_BYTES),
        (Next::Magic | Next::Head | Next::Chunks, _) => Err("a frame of another kind belongs there"),
    }
}

/// The bytes of the frame in front, if the whole of it is there.
fn whole(ahead: &[u8], most: usize) -> Result<Option<&[u8]>, &'static str> {
    let Some((&[_, a, b, c, d], rest)) = ahead.split_first_chunk::<BEFORE>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > most {
        return Err("a frame is too long");
    }
    let Some((body, sum)) = rest.split_at_checked(length) else {
        return Ok(None);
    };
    let Some((sum, _)) = sum.split_first_chunk::<BEHIND>() else {
        return Ok(None);
    };
    if crc32c::crc32c(&ahead[..BEFORE + length]).to_be_bytes() != *sum {
        return Err("a checksum does not match");
    }
    Ok(Some(body))
}

/// The length of the first line, 0 if it is not whole yet.
fn magic(ahead: &[u8]) -> Result<usize, BackupError> {
    if ahead.starts_with(MAGIC) {
        return Ok(MAGIC.len());
    }
    if MAGIC.starts_with(ahead) {
        return Ok(0);
    }
    let version = ahead.strip_prefix(NAME).ok_or(BackupError::Foreign)?;
    let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match version.get(digits) {
        Some(b'\n') if (1..=9).contains(&digits) => Err(BackupError::Version {
            found: String::from_utf8_lossy(&version[..digits]).into_owned(),
        }),
        Some(_) | None => Err(BackupError::Foreign),
    }
}
