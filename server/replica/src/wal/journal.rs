//! The durable log: numbered segments of fixed size, written in batches, each with one write and one sync.
//!
//! Batches never lie across segments, and count whole or not at all. A segment begins with the hard state of its time, so
//! that older segments can go, and ends with a seal, so that a lost end of an older segment is noticed.

use crate::codec::{MAX_ENTRY_BYTES, encode_entry};
use crate::effect::SnapshotMark;
use crate::wal::error::WalError;
use crate::wal::files::Files;
use crate::wal::record::{self, HEADER_BYTES, Kind, Place, Record};
use crate::wal::replay::Replay;
use crate::wal::segment::{self, SEGMENT_HEADER};
use crate::wal::spare::Spare;
use raft::eraftpb::{Entry, HardState};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// What a batch leaves free at the end of a segment for the seal.
const SEAL_BYTES: usize = HEADER_BYTES;

/// What the hard state at the beginning of a segment takes.
const HARD_STATE_BYTES: usize = HEADER_BYTES + 24;

/// Gives the next segment to go on in; where none can be made in time, the write that needs it fails.
type Supply<'a, F> = dyn FnMut() -> Result<Spare<<F as Files>::File>, <F as Files>::Error> + 'a;

/// The log of a member that runs.
#[derive(Debug)]
pub struct Journal<F: Files> {
    files: F,
    dir: PathBuf,
    segment_bytes: usize,
    /// Sealed segments, oldest first.
    older: VecDeque<Sealed>,
    current: Segment<F::File>,
    hard_state: HardState,
    /// The index after which the log goes on.
    last: u64,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) path: PathBuf,
    /// The largest index it names.
    pub(super) newest: u64,
}

#[derive(Debug)]
pub(super) struct Segment<F> {
    pub(super) path: PathBuf,
    pub(super) file: F,
    pub(super) seed: u32,
    /// The next batch begins here.
    pub(super) offset: usize,
    /// Durable up to here.
    pub(super) synced: usize,
    pub(super) newest: u64,
}

impl<F> Segment<F> {
    pub(super) fn new(dir: &Path, spare: Spare<F>) -> Segment<F> {
        Segment {
            path: segment::path(dir, spare.number),
            file: spare.file,
            seed: spare.seed,
            offset: SEGMENT_HEADER,
            synced: SEGMENT_HEADER,
            newest: 0,
        }
    }

    /// No batch is in it yet.
    fn is_fresh(&self) -> bool {
        self.offset == SEGMENT_HEADER
    }
}

impl<F: Files> Journal<F> {
    pub(super) fn new(
        files: F,
        dir: &Path,
        segment_bytes: u64,
        older: VecDeque<Sealed>,
        current: Segment<F::File>,
        replay: &Replay,
    ) -> Journal<F> {
        Journal {
            files,
            dir: dir.to_path_buf(),
            segment_bytes: usize::try_from(segment_bytes).unwrap_or(usize::MAX),
            older,
            current,
            hard_state: replay.hard_state.clone(),
            last: replay.last(),
            buffer: Vec::new(),
        }
    }

    /// Where its segments stand.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes one batch: a mark that voids what stood before, entries, the hard state.
    pub fn append(
        &mut self,
        supply: &mut Supply<'_, F>,
        mark: Option<&SnapshotMark>,
        entries: &[Entry],
        hard_state: Option<&HardState>,
        must_sync: bool,
    ) -> Result<(), F::Error> {
        let after = mark.map_or(self.last, |mark| mark.index);
        if let Some(first) = entries.first().filter(|entry| entry.index > after + 1) {
            return Err(WalError::Gap {
                after,
                found: first.index,
            }
            .into());
        }
        let mut records: Vec<Record> = mark.map(Record::mark).into_iter().collect();
        for entry in entries {
            records.push(entry_record(entry)?);
        }
        self.write_records(supply, records, hard_state)?;
        self.last = entries.last().map_or(after, |entry| entry.index);
        if must_sync {
            self.sync()?;
        }
        Ok(())
    }

    /// Writes records as one batch. Only what is larger than a segment becomes several; the new term and vote are then in
    /// the first of them and the new commit in the last, so that each beginning of it is a state that can be gone on from.
    fn write_records(
        &mut self,
        supply: &mut Supply<'_, F>,
        mut records: Vec<Record>,
        hard_state: Option<&HardState>,
    ) -> Result<(), F::Error> {
        let capacity = self.segment_bytes - SEGMENT_HEADER - SEAL_BYTES - 2 * HARD_STATE_BYTES;
        let mut size: usize = records.iter().map(Record::stored).sum();
        if size > capacity && records.len() > 1 {
            if let Some(state) = hard_state {
                let early = HardState {
                    commit: self.hard_state.commit,
                    ..state.clone()
                };
                self.write_batch(supply, &[Record::hard_state(&early)])?;
                self.hard_state = early;
            }
            while size > capacity && records.len() > 1 {
                let mut bytes = 0;
                let fitting = records.iter().take_while(|record| {
                    bytes += record.stored();
                    bytes <= capacity
                });
                let rest = records.split_off(fitting.count().max(1));
                self.write_batch(supply, &records)?;
                size -= records.iter().map(Record::stored).sum::<usize>();
                records = rest;
            }
        }
        records.extend(hard_state.map(Record::hard_state));
        if !records.is_empty() {
            self.write_batch(supply, &records)?;
        }
        if let Some(state) = hard_state {
            self.hard_state = state.clone();
        }
        Ok(())
    }

    fn write_batch(&mut self, supply: &mut Supply<'_, F>, records: &[Record]) -> Result<(), F::Error> {
        let size: usize = records.iter().map(Record::stored).sum();
        if !self.current.is_fresh() && self.current.offset + size + SEAL_BYTES > self.segment_bytes {
            self.roll(supply)?;
        }
        if self.current.is_fresh() {
            let head = Record::hard_state(&self.hard_state);
            self.write_placed(std::iter::once(&head).chain(records))
        } else {
            self.write_placed(records.iter())
        }
    }

    fn write_placed<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), F::Error> {
        let Segment {
            path,
            file,
            seed,
            offset,
            synced,
            newest,
        } = &mut self.current;
        self.buffer.clear();
        let mut records = records.peekable();
        while let Some(next) = records.next() {
            let place = Place {
                seed: *seed,
                offset: small(*offset + self.buffer.len()),
                synced: small(*synced),
                last: records.peek().is_none(),
            };
            record::write(&mut self.buffer, next, &place);
            *newest = (*newest).max(next.index);
        }
        self.files.append(file, path, &self.buffer, *offset as u64)?;
        *offset += self.buffer.len();
        Ok(())
    }

    /// Goes on in the next segment. All before it is durable then.
    fn roll(&mut self, supply: &mut Supply<'_, F>) -> Result<(), F::Error> {
        let spare = supply()?;
        self.write_placed(std::iter::once(&Record::seal()))?;
        self.sync_current()?;
        let next = Segment::new(&self.dir, spare);
        let sealed = std::mem::replace(&mut self.current, next);
        self.older.push_back(Sealed {
            path: sealed.path,
            newest: sealed.newest,
        });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), F::Error> {
        if self.current.synced < self.current.offset {
            self.sync_current()?;
        }
        Ok(())
    }

    fn sync_current(&mut self) -> Result<(), F::Error> {
        self.files.sync_data(&self.current.file, &self.current.path)?;
        self.current.synced = self.current.offset;
        Ok(())
    }

    /// Removes the oldest segments as far as they hold only entries below `keep_from` and up to `through`. The entry of an
    /// image stays with those after it: its term tells whether they belong together.
    /// True if there were any.
    pub fn compact(&mut self, through: u64, keep_from: u64) -> Result<bool, F::Error> {
        let done = self
            .older
            .iter()
            .take_while(|sealed| sealed.newest < keep_from && sealed.newest <= through)
            .count();
        // The hard state of the segments that go has to stand in the one that stays.
        if done == 0 || self.current.is_fresh() {
            return Ok(false);
        }
        self.sync()?;
        for sealed in self.older.drain(..done) {
            self.files.remove(&sealed.path)?;
            // One by one: after a crash none may be missing between two that are there.
            self.files.sync_dir(&self.dir)?;
        }
        Ok(true)
    }
}

/// A place in a segment; segments are at most [`MAX_SEGMENT_BYTES`].
fn small(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn entry_record(entry: &Entry) -> Result<Record, WalError> {
    let data = encode_entry(entry);
    if data.len() > MAX_ENTRY_BYTES {
        return Err(WalError::TooLarge {
            index: entry.index,
            bytes: data.len(),
            limit: MAX_ENTRY_BYTES,
        });
    }
    Ok(Record {
        kind: Kind::Entry,
        index: entry.index,
        term: entry.term,
        data,
    })
}
