//! One record of the log: a header with two checksums, and data. Checksums begin with the segment's seed and cover the
//! place, so a record counts only where it was written, in the life of the segment it was written for.

use crate::effect::SnapshotMark;
use raft::eraftpb::HardState;

/// The bytes of a record's header: checksum of the header, checksum of the data, length, synced, kind, flags (4 bytes each), index, term (8 each).
pub const HEADER_BYTES: usize = 40;

/// Records begin at multiples of this, so that a search for one needs to look at few places.
pub const ALIGN: usize = 8;

/// The last record of a batch; without it the batch was not written whole and counts for nothing.
const FLAG_LAST: u32 = 1;

const HARD_STATE_BYTES: usize = 24;

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A log entry.
    Entry,
    /// Term, vote and commit.
    HardState,
    /// An image took the place of everything before.
    Mark,
    /// The segment ends here, whole and durable; the next goes on.
    Seal,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Kind::Entry => 1,
            Kind::HardState => 2,
            Kind::Mark => 3,
            Kind::Seal => 4,
        }
    }
}

/// A record to write.
#[derive(Debug)]
pub struct Record {
    /// What it says.
    pub kind: Kind,
    /// Of an entry or a mark.
    pub index: u64,
    /// Of an entry or a mark.
    pub term: u64,
    /// What the kind asks for.
    pub data: Vec<u8>,
}

impl Record {
    /// Term, vote and commit.
    pub fn hard_state(state: &HardState) -> Record {
        let mut data = Vec::with_capacity(HARD_STATE_BYTES);
        for number in [state.term, state.vote, state.commit] {
            data.extend_from_slice(&number.to_le_bytes());
        }
        Record {
            kind: Kind::HardState,
            index: 0,
            term: 0,
            data,
        }
    }

    /// An image takes the place of everything before.
    pub fn mark(mark: &SnapshotMark) -> Record {
        Record {
            kind: Kind::Mark,
            index: mark.index,
            term: mark.term,
            data: Vec::new(),
        }
    }

    /// The end of a segment.
    pub fn seal() -> Record {
        Record {
            kind: Kind::Seal,
            index: 0,
            term: 0,
            data: Vec::new(),
        }
    }

    /// Its bytes in the log.
    pub fn stored(&self) -> usize {
        stored(self.data.len())
    }
}

/// The numbers of a hard state record.
pub(super) fn read_hard_state(data: &[u8]) -> Option<HardState> {
    let whole: &[u8; HARD_STATE_BYTES] = data.try_into().ok()?;
    Some(HardState {
        term: u64_at(whole, 0)?,
        vote: u64_at(whole, 8)?,
        commit: u64_at(whole, 16)?,
    })
}

/// The bytes of a record with data of that length.
pub(super) fn stored(data: usize) -> usize {
    HEADER_BYTES + data.next_multiple_of(ALIGN)
}

/// Where a record is put.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Of the segment.
    pub seed: u32,
    /// Where in the segment the record begins.
    pub offset: u32,
    /// Up to here the segment was durable before the record's batch was written.
    pub synced: u32,
    /// Whether the batch ends with it.
    pub last: bool,
}

/// Adds a record's bytes.
pub fn write(out: &mut Vec<u8>, record: &Record, place: &Place) {
    let start = out.len();
    let length = u32::try_from(record.data.len()).expect("an entry is bounded far below 4 GiB");
    let padding = record.data.len().next_multiple_of(ALIGN) - record.data.len();
    let head = begin(place.seed, place.offset);
    let data_crc = crc32c::crc32c_append(crc32c::crc32c_append(head, &record.data), &[0; ALIGN][..padding]);
    out.extend_from_slice(&[0; 4]);
    let flags = if place.last { FLAG_LAST } else { 0 };
    for number in [data_crc, length, place.synced, record.kind.code(), flags] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&record.index.to_le_bytes());
    out.extend_from_slice(&record.term.to_le_bytes());
    let crc = crc32c::crc32c_append(head, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&record.data);
    out.resize(out.len() + padding, 0);
}

fn begin(seed: u32, offset: u32) -> u32 {
    crc32c::crc32c_append(seed, &offset.to_le_bytes())
}

/// The header of a record, once its checksum is found right.
#[derive(Debug)]
pub struct Header {
    data_crc: u32,
    length: usize,
    /// Up to here the segment was durable before the record's batch was written.
    pub synced: usize,
    /// The number of its kind.
    pub kind: u32,
    flags: u32,
    /// Of an entry or a mark.
    pub index: u64,
    /// Of an entry or a mark.
    pub term: u64,
}

impl Header {
    /// The header at a place of a segment; none where no record begins.
    pub fn at(segment: &[u8], seed: u32, offset: usize) -> Option<Header> {
        let bytes = segment.get(offset..offset.checked_add(HEADER_BYTES)?)?;
        let kind = u32_at(bytes, 16)?;
        // Zeros are no record, whatever their checksum.
        if kind == 0 {
            return None;
        }
        let crc = crc32c::crc32c_append(begin(seed, u32::try_from(offset).ok()?), &bytes[4..]);
        if crc != u32_at(bytes, 0)? {
            return None;
        }
        Some(Header {
            data_crc: u32_at(bytes, 4)?,
            length: usize::try_from(u32_at(bytes, 8)?).ok()?,
            synced: usize::try_from(u32_at(bytes, 12)?).ok()?,
            kind,
            flags: u32_at(bytes, 20)?,
            index: u64_at(bytes, 24)?,
            term: u64_at(bytes, 32)?,
        })
    }

    /// The data that belongs to a header; none when it is not what was written.
    pub fn data<'a>(&self, segment: &'a [u8], seed: u32, offset: usize) -> Option<&'a [u8]> {
        let start = offset.checked_add(HEADER_BYTES)?;
        let padded = segment.get(start..offset.checked_add(stored(self.length))?)?;
        let crc = crc32c::crc32c_append(begin(seed, u32::try_from(offset).ok()?), padded);
        if crc != self.data_crc {
            return None;
        }
        padded.get(..self.length)
    }

    /// Its bytes in the log.
    pub fn stored(&self) -> usize {
        stored(self.length)
    }

    /// What it is and whether it ends a batch; none when a newer version wrote it.
    pub fn known(&self) -> Option<(Kind, bool)> {
        let kind = match self.kind {
            1 => Kind::Entry,
            2 => Kind::HardState,
            3 => Kind::Mark,
            4 => Kind::Seal,
            _ => return None,
        };
        (self.flags & !FLAG_LAST == 0).then_some((kind, self.flags == FLAG_LAST))
    }
}

/// The number at a place.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

/// The number at a place.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + 8)?.try_into().ok()?;
    Some(u64::from_le_bytes(bytes))
}
