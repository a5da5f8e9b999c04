//! Planted readers that are too trusting, played by making the bytes such that a careful reader takes them too.

use berth_replica::wal::{ALIGN, HEADER_BYTES, Header, Kind, Place, Record, write_record};

/// A record with its place, by its fields.
struct Raw {
    at: usize,
    synced: u32,
    record: Record,
}

/// Makes a batch of what stands after the last whole one; false if nothing does. `damaged`: also of records whose data is
/// not what was written.
pub(crate) fn make_whole(bytes: &mut [u8], seed: u32, end: usize, damaged: bool) -> bool {
    let mut raws = Vec::new();
    let mut at = end;
    while let Some(raw) = raw(bytes, seed, at, damaged) {
        at += raw.record.stored();
        raws.push(raw);
    }
    let count = raws.len();
    for (number, raw) in raws.iter().enumerate() {
        let place = Place {
            seed,
            offset: u32::try_from(raw.at).unwrap_or(u32::MAX),
            synced: raw.synced,
            last: number + 1 == count,
        };
        let mut out = Vec::new();
        write_record(&mut out, &raw.record, &place);
        if let Some(old) = bytes.get_mut(raw.at..raw.at + out.len()) {
            old.copy_from_slice(&out);
        }
    }
    count > 0
}

fn raw(bytes: &[u8], seed: u32, at: usize, damaged: bool) -> Option<Raw> {
    if !damaged {
        let header = Header::at(bytes, seed, at)?;
        header.data(bytes, seed, at)?;
    }
    let head = bytes.get(at..at + HEADER_BYTES)?;
    let small = |at: usize| {
        let field = head.get(at..at + 4)?.first_chunk()?;
        Some(u32::from_le_bytes(*field))
    };
    let large = |at: usize| {
        let field = head.get(at..at + 8)?.first_chunk()?;
        Some(u64::from_le_bytes(*field))
    };
    let kind = match small(16)? {
        1 => Kind::Entry,
        2 => Kind::HardState,
        3 => Kind::Mark,
        _ => return None,
    };
    let start = at + HEADER_BYTES;
    let length = usize::try_from(small(8)?).ok()?;
    let data = bytes.get(start..start.checked_add(length)?)?.to_vec();
    bytes.get(start..start + length.next_multiple_of(ALIGN))?;
    Some(Raw {
        at,
        synced: small(12)?,
        record: Record {
            kind,
            index: large(24)?,
            term: large(32)?,
            data,
        },
    })
}
