//! What one log entry holds: a command, and the origin by which the member that took the request recognises it.

use crate::error::CodecError;
use berth_store::Command;
use raft::eraftpb::{Entry, EntryType};

pub(crate) const ORIGIN_BYTES: usize = 16;

/// Who took a request: a life of a member, and a number that this life uses once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
}

impl Origin {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ORIGIN_BYTES);
        bytes.extend_from_slice(&self.incarnation.to_be_bytes());
        bytes.extend_from_slice(&self.sequence.to_be_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Origin, CodecError> {
        let whole: [u8; ORIGIN_BYTES] = bytes
            .try_into()
            .map_err(|_| CodecError::Origin { bytes: bytes.len() })?;
        let [incarnation, sequence] = [&whole[..8], &whole[8..]].map(big_endian);
        Ok(Origin {
            incarnation,
            sequence,
        })
    }
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// An entry to propose. Raft gives it its term and index.
pub(crate) fn encode(origin: Origin, command: &Command) -> Entry {
    Entry {
        data: command.encode(),
        context: origin.encode(),
        ..Entry::default()
    }
}

/// The parts of an entry made by [`encode`].
pub(crate) fn decode(entry: &Entry) -> Result<(Origin, Command), CodecError> {
    let origin = Origin::decode(&entry.context)?;
    let command = Command::decode(&entry.data).map_err(CodecError::Command)?;
    Ok((origin, command))
}

/// The empty entry with which each leader begins its term.
pub(crate) fn is_term_start(entry: &Entry) -> bool {
    is_normal(entry) && entry.data.is_empty()
}

/// Anything but a membership change.
pub(crate) fn is_normal(entry: &Entry) -> bool {
    entry.entry_type == EntryType::EntryNormal as i32
}
