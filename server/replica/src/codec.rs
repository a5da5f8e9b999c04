//! Bytes of log entries and messages, for the durable log and the wire: protocol buffers, bounded in size.

use crate::error::CodecError;
use prost::Message as _;
use raft::eraftpb::{Entry, Message};

/// The largest entry: a value of 1.5 MiB (the limit of a request body), its key, and the framing.
pub const MAX_ENTRY_BYTES: usize = 2 << 20;

/// The largest message: one batch of entries fills at most 1 MiB, unless a single entry is larger than that.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// The bytes of an entry.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry.encode_to_vec()
}

/// An entry from its bytes.
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, CodecError> {
    bounded(bytes, MAX_ENTRY_BYTES)?;
    Entry::decode(bytes).map_err(CodecError::Malformed)
}

/// The bytes of a message.
pub fn encode_message(message: &Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// A message from its bytes. It is well-formed then, not trustworthy: the replica checks it before use.
pub fn decode_message(bytes: &[u8]) -> Result<Message, CodecError> {
    bounded(bytes, MAX_MESSAGE_BYTES)?;
    Message::decode(bytes).map_err(CodecError::Malformed)
}

fn bounded(bytes: &[u8], limit: usize) -> Result<(), CodecError> {
    if bytes.len() > limit {
        return Err(CodecError::TooLarge {
            bytes: bytes.len(),
            limit,
        });
    }
    Ok(())
}
