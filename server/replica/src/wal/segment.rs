//! One segment of the log as bytes: its header, and the reading of its records with the judgement of its tail.

use crate::wal::error::{WalError, corrupt};
use crate::wal::record::{ALIGN, Header, Kind, u32_at, u64_at};
use std::path::{Path, PathBuf};

/// The bytes of a segment's header: magic (8 bytes), version, checksum (4 each), number, salt (8 each).
pub const SEGMENT_HEADER: usize = 32;

const MAGIC: &[u8; 8] = b"BERTHLOG";

/// How segments and records are laid out. Another number is refused.
pub const SEGMENT_VERSION: u32 = 1;

/// The largest segment that is read. Segments are 16 MiB; only one with an entry larger than a segment grows beyond.
pub const MAX_SEGMENT_BYTES: u64 = 64 << 20;

/// The header of a segment. The salt is random: no value stored by a client can look like a record of it.
pub fn header(number: u64, salt: u64) -> [u8; SEGMENT_HEADER] {
    let mut bytes = [0; SEGMENT_HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&number.to_le_bytes());
    bytes[24..32].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c::crc32c(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// What the checksums of a segment's records begin with.
pub fn seed(header: &[u8]) -> u32 {
    crc32c::crc32c(header)
}

/// Where a segment stands.
pub fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.wal"))
}

/// The number in a segment's name; none for other files.
pub fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".wal")?;
    u64::from_str_radix(name, 16)
        .ok()
        .filter(|_| name.len() == 16)
        .filter(|number| *number > 0)
}

/// Whether nothing was ever written to it.
pub fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

/// The seed of a segment, its header being right.
pub fn check_header(path: &Path, number: u64, bytes: &[u8]) -> Result<u32, WalError> {
    let damaged = |reason| corrupt(path, 0, reason);
    let head = bytes
        .get(..SEGMENT_HEADER)
        .ok_or_else(|| damaged("no segment header"))?;
    if &head[..8] != MAGIC {
        return Err(damaged("not a log segment"));
    }
    let version = u32_at(head, 8).unwrap_or(0);
    if version != SEGMENT_VERSION {
        return Err(WalError::Version {
            path: path.to_path_buf(),
            found: version.into(),
            known: SEGMENT_VERSION.into(),
        });
    }
    let salt = u64_at(head, 24).unwrap_or(0);
    if u64_at(head, 16) != Some(number) || head != header(number, salt) {
        return Err(damaged("the segment header is not the one of this segment"));
    }
    Ok(seed(head))
}

/// A record that was found, with its place.
#[derive(Debug)]
pub struct Found<'a> {
    /// What it says.
    pub kind: Kind,
    /// Of an entry or a mark.
    pub index: u64,
    /// Of an entry or a mark.
    pub term: u64,
    /// What the kind asks for.
    pub data: &'a [u8],
    /// Where it begins.
    pub offset: usize,
}

/// What a segment holds.
#[derive(Debug)]
pub struct Scan<'a> {
    /// Of whole batches, in order.
    pub records: Vec<Found<'a>>,
    /// The whole batches end here.
    pub end: usize,
    /// The segment was closed: the log goes on in the next.
    pub sealed: bool,
    /// Something other than zeros follows.
    pub dirty: bool,
    /// Some record was ever written, whole or not.
    pub used: bool,
}

/// Reads a segment. What follows the last whole batch is a write that the system did not finish, unless a later record
/// tells that the place was durable before: that is damage.
pub fn scan<'a>(path: &Path, seed: u32, bytes: &'a [u8]) -> Result<Scan<'a>, WalError> {
    let mut scan = Scan {
        records: Vec::new(),
        end: SEGMENT_HEADER,
        sealed: false,
        dirty: false,
        used: false,
    };
    let mut batch = Vec::new();
    let mut at = SEGMENT_HEADER;
    while !scan.sealed
        && let Some(header) = Header::at(bytes, seed, at)
        && let Some(data) = header.data(bytes, seed, at)
    {
        let Some((kind, last)) = header.known() else {
            return Err(WalError::Record {
                path: path.to_path_buf(),
                offset: at as u64,
                kind: header.kind,
            });
        };
        batch.push(Found {
            kind,
            index: header.index,
            term: header.term,
            data,
            offset: at,
        });
        at += header.stored();
        if last {
            scan.records.append(&mut batch);
            scan.end = at;
            scan.sealed = kind == Kind::Seal;
        }
    }
    scan.used = at > SEGMENT_HEADER;
    if !scan.sealed {
        judge_tail(path, seed, bytes, &mut scan)?;
    }
    Ok(scan)
}

fn judge_tail(path: &Path, seed: u32, bytes: &[u8], scan: &mut Scan<'_>) -> Result<(), WalError> {
    let tail = bytes.get(scan.end..).unwrap_or_default();
    scan.dirty = !is_blank(tail);
    if !scan.dirty {
        return Ok(());
    }
    for offset in (scan.end..bytes.len()).step_by(ALIGN) {
        if let Some(header) = Header::at(bytes, seed, offset) {
            scan.used = true;
            if header.synced > scan.end && header.synced <= offset {
                return Err(corrupt(
                    path,
                    scan.end,
                    "no valid record, though later records tell that it was durable",
                ));
            }
        }
    }
    Ok(())
}
