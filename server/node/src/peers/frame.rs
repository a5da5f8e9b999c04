//! Frames between members: length, checksum, kind, payload. Each kind has its own largest size, which is looked at before
//! any memory is taken.

use berth_replica::{MAX_MESSAGE_BYTES, Member};
use berth_store::CHUNK_BYTES;
use serde::{Deserialize, Serialize};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The versions of the protocol that this program speaks. Two members agree on the highest that both speak.
pub(crate) const VERSIONS: (u16, u16) = (1, 1);

/// Names the protocol in a hello, so that a stranger's bytes are not taken for one.
const PROTOCOL: &str = "berth-peer";

/// A hello with the longest name and URLs that a member may have, and the answer to it.
const MAX_HELLO_BYTES: usize = 32 << 10;

/// As many members as a cluster may have, each with the longest name and URLs.
const MAX_ROSTER_BYTES: usize = 1 << 20;

/// The longest text that goes with a refusal or a failure.
const MAX_TEXT_BYTES: usize = 1 << 10;

/// Length, checksum, kind.
pub(crate) const HEADER_BYTES: usize = 9;

/// Memory for a payload is taken in steps of this size, as the bytes come.
const STEP_BYTES: usize = 64 << 10;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Who calls, and what for. The first frame of a connection.
    Hello,
    /// The call is taken.
    Accept,
    /// It is not; the connection ends.
    Refuse,
    /// Are you there?
    Ping,
    /// Yes; the payload is the ping's.
    Pong,
    /// A message of Raft.
    Message,
    /// The receiver has left the cluster for ever.
    Removed,
    /// The snapshot message whose image follows.
    Image,
    /// A piece of an image, behind its number.
    Chunk,
    /// The number of pieces and the checksum of all of them.
    End,
    /// The image is whole.
    Done,
    /// The image is not wanted, or is not whole.
    Failed,
    /// Who is in the cluster? The first frame of a connection that only asks.
    Question,
    /// The members.
    Told,
    /// A change of the membership that a client wishes for.
    Wish,
    /// What became of it.
    Verdict,
}

const KINDS: [(Kind, u8, usize); 16] = [
    (Kind::Hello, 1, MAX_HELLO_BYTES),
    (Kind::Accept, 2, MAX_HELLO_BYTES),
    (Kind::Refuse, 3, MAX_HELLO_BYTES),
    (Kind::Ping, 4, 8),
    (Kind::Pong, 5, 8),
    (Kind::Message, 6, MAX_MESSAGE_BYTES),
    (Kind::Removed, 7, 0),
    (Kind::Image, 8, MAX_MESSAGE_BYTES),
    (Kind::Chunk, 9, CHUNK_BYTES + 8),
    (Kind::End, 10, 12),
    (Kind::Done, 11, 0),
    (Kind::Failed, 12, MAX_TEXT_BYTES),
    (Kind::Question, 13, MAX_TEXT_BYTES),
    (Kind::Told, 14, MAX_ROSTER_BYTES),
    (Kind::Wish, 15, MAX_HELLO_BYTES),
    (Kind::Verdict, 16, MAX_TEXT_BYTES),
];

impl Kind {
    fn byte(self) -> u8 {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or(0, |(_, byte, _)| *byte)
    }
}

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("frame of the unknown kind {0}")]
    Kind(u8),
    #[error("frame of kind {kind:?} with {bytes} bytes")]
    Size { kind: Kind, bytes: usize },
    #[error("checksum of a frame does not match")]
    Checksum,
    #[error("not a frame but an HTTP request")]
    Http,
    #[error("a document cannot be read")]
    Document(#[from] serde_json::Error),
    #[error("frame of kind {0:?} out of place")]
    Unexpected(Kind),
}

/// Adds a frame.
pub(crate) fn put(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    // Payloads are bounded far below 4 GiB; one that is not would be refused by its receiver.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&checksum(kind.byte(), payload).to_be_bytes());
    out.push(kind.byte());
    out.extend_from_slice(payload);
}

/// Adds a frame with a document.
pub(crate) fn put_document(out: &mut Vec<u8>, kind: Kind, document: &impl Serialize) {
    // Documents of strings and numbers can always be written.
    put(out, kind, &serde_json::to_vec(document).unwrap_or_default());
}

fn checksum(kind: u8, payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[kind]), payload)
}

/// Reads the next frame; its payload is in `payload` then. To give up on the way loses bytes of the stream: whoever does
/// so must not read on.
pub(crate) async fn read(
    from: &mut (impl AsyncRead + Unpin),
    payload: &mut Vec<u8>,
) -> Result<Kind, FrameError> {
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header).await?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, byte] = header;
    if header.starts_with(b"GET ") || header.starts_with(b"POST ") || header.starts_with(b"PUT ") {
        return Err(FrameError::Http);
    }
    let found = KINDS.iter().find(|(_, known, _)| *known == byte);
    let (kind, _, limit) = *found.ok_or(FrameError::Kind(byte))?;
    let length = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
    if length > limit {
        return Err(FrameError::Size { kind, bytes: length });
    }
    payload.clear();
    while payload.len() < length {
        let start = payload.len();
        payload.resize(length.min(start + STEP_BYTES), 0);
        from.read_exact(&mut payload[start..]).await?;
    }
    if checksum(byte, payload) != u32::from_be_bytes([c0, c1, c2, c3]) {
        return Err(FrameError::Checksum);
    }
    Ok(kind)
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stream {
    /// Heartbeats, votes, reads, answers: small, and not to wait behind large ones.
    Control,
    /// Appends and forwarded writes.
    Bulk,
    /// One image.
    Image,
    /// One wish for another membership.
    Wish,
}

/// What a member says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) peer_urls: Vec<String>,
    pub(crate) client_urls: Vec<String>,
}

impl About {
    pub(crate) fn of(member: &Member) -> About {
        About {
            name: member.name.clone(),
            peer_urls: member.peer_urls.clone(),
            client_urls: member.client_urls.clone(),
        }
    }

    pub(crate) fn member(self, id: u64) -> Member {
        Member {
            id,
            name: self.name,
            peer_urls: self.peer_urls,
            client_urls: self.client_urls,
        }
    }
}

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) protocol: String,
    /// Lowest and highest version that the caller speaks.
    pub(crate) versions: (u16, u16),
    pub(crate) cluster: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Drawn with the caller's data directory: a member that lost its data comes back with another one.
    pub(crate) birth: u64,
    pub(crate) stream: Stream,
    pub(crate) about: About,
}

impl Hello {
    pub(crate) fn protocol() -> String {
        PROTOCOL.to_owned()
    }

    /// The highest version that both speak; none if there is no such.
    pub(crate) fn common_version(&self) -> Option<u16> {
        let highest = self.versions.1.min(VERSIONS.1);
        let spoken = self.protocol == PROTOCOL && highest >= self.versions.0.max(VERSIONS.0);
        spoken.then_some(highest)
    }
}

/// The answer of a member that takes the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Accept {
    pub(crate) version: u16,
    pub(crate) birth: u64,
    pub(crate) about: About,
}

/// Why a call is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    #[error("no version of the protocol is spoken by both")]
    Version,
    #[error("it belongs to another cluster (another --initial-cluster or --initial-cluster-token)")]
    Cluster,
    #[error("it is another member than the one that was called")]
    Address,
    #[error("this member has left the cluster for ever")]
    Removed,
    #[error("this member came back with another data directory; remove it and add it anew")]
    OtherData,
    #[error("it has too many connections")]
    Busy,
}

/// The answer of a member that does not take the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Refuse {
    pub(crate) reason: Reason,
}

#[cfg(test)]
mod tests {
    use super::{FrameError, KINDS, Kind, put, read};

    fn read_back(bytes: &[u8]) -> Result<(Kind, Vec<u8>), FrameError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let mut payload = Vec::new();
            let kind = read(&mut &*bytes, &mut payload).await?;
            Ok((kind, payload))
        })
    }

    #[test]
    fn frames_come_back_and_damaged_ones_do_not() {
        for (kind, _, limit) in KINDS {
            let payload = vec![7; limit.min(70_000)];
            let mut bytes = Vec::new();
            put(&mut bytes, kind, &payload);
            assert!(matches!(read_back(&bytes), Ok(found) if found == (kind, payload)));
            for at in [0, 4, 8, bytes.len() - 1] {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x40;
                assert!(
                    read_back(&damaged).is_err(),
                    "{kind:?} with a flipped bit at {at}"
                );
            }
            assert!(read_back(&bytes[..bytes.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_memory_is_taken() {
        let mut bytes = u32::MAX.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 0, 6]);
        assert!(matches!(
            read_back(&bytes),
            Err(FrameError::Size {
                kind: Kind::Message,
                ..
            })
        ));
        assert!(matches!(read_back(b"GET / HTTP/1.1\r\n"), Err(FrameError::Http)));
    }
}
