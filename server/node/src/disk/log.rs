//! The durable log: numbered segments of fixed size, written in batches, each with one write and one sync.
//!
//! Batches never lie across segments, and count whole or not at all. A segment begins with the hard state of its time, so
//! that older segments can go, and ends with a seal, so that a lost end of an older segment is noticed.

use crate::clock::Clock;
use crate::disk::Options;
use crate::disk::error::{DiskError, corrupt, failed};
use crate::disk::figures::DiskFigures;
use crate::disk::files;
use crate::disk::prepare::{self, Preparer, Room, Spare};
use crate::disk::record::{self, HEADER_BYTES, Kind, Place, Record};
use crate::disk::replay::Replay;
use crate::disk::segment::{self, MAX_SEGMENT_BYTES, SEGMENT_HEADER, Scan};
use berth_replica::{Entry, HardState, MAX_ENTRY_BYTES, SnapshotMark, encode_entry};
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a batch leaves free at the end of a segment for the seal.
const SEAL_BYTES: usize = HEADER_BYTES;

/// What the hard state at the beginning of a segment takes.
const HARD_STATE_BYTES: usize = HEADER_BYTES + 24;

#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    segment_bytes: usize,
    /// Sealed segments, oldest first.
    older: VecDeque<Sealed>,
    current: Segment,
    hard_state: HardState,
    /// The index after which the log goes on.
    last: u64,
    preparer: Preparer,
    figures: Arc<DiskFigures>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Sealed {
    path: PathBuf,
    /// The largest index it names.
    newest: u64,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    seed: u32,
    /// The next batch begins here.
    offset: usize,
    /// Durable up to here.
    synced: usize,
    newest: u64,
}

impl Segment {
    fn new(dir: &Path, spare: Spare) -> Segment {
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

    fn sync(&mut self, figures: &DiskFigures) -> Result<(), DiskError> {
        let started = Clock::new();
        self.file.sync_data().map_err(failed(&self.path, "sync"))?;
        figures.synced(started.uptime());
        self.synced = self.offset;
        Ok(())
    }
}

impl Log {
    /// Opens the log in its directory. Only a `fresh` member may have none.
    pub(super) fn open(
        dir: &Path,
        options: &Options,
        fresh: bool,
        figures: Arc<DiskFigures>,
    ) -> Result<(Log, Replay), DiskError> {
        prepare::clear(dir)?;
        let mut reader = LogReader::new(dir, options.segment_bytes);
        reader.read_all(fresh)?;
        let LogReader {
            replay,
            older,
            current,
            spares,
            next,
            ..
        } = reader;
        let (current, next) = match current {
            Some(current) => (current, next),
            None => (
                Segment::new(dir, prepare::make(dir, next, options.segment_bytes)?),
                next + 1,
            ),
        };
        // Names and bytes that were read may be in the kernel's memory only.
        current.file.sync_all().map_err(failed(&current.path, "sync"))?;
        files::sync_dir(dir)?;
        let log = Log {
            dir: dir.to_path_buf(),
            segment_bytes: usize::try_from(options.segment_bytes).unwrap_or(usize::MAX),
            older,
            current,
            hard_state: replay.hard_state.clone(),
            last: replay.last(),
            preparer: Preparer::start(dir, options, spares, next)?,
            figures,
            buffer: Vec::new(),
        };
        Ok((log, replay))
    }

    pub(super) fn room(&self) -> Room {
        self.preparer.room()
    }

    /// Writes one batch: a mark that voids what stood before, entries, the hard state.
    pub(super) fn append(
        &mut self,
        mark: Option<&SnapshotMark>,
        entries: &[Entry],
        hard_state: Option<&HardState>,
        must_sync: bool,
    ) -> Result<(), DiskError> {
        self.preparer.check()?;
        let after = mark.map_or(self.last, |mark| mark.index);
        if let Some(first) = entries.first().filter(|entry| entry.index > after + 1) {
            return Err(DiskError::Gap {
                after,
                found: first.index,
            });
        }
        let mut records: Vec<Record> = mark.map(Record::mark).into_iter().collect();
        for entry in entries {
            records.push(entry_record(entry)?);
        }
        self.write_records(records, hard_state)?;
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
        mut records: Vec<Record>,
        hard_state: Option<&HardState>,
    ) -> Result<(), DiskError> {
        let capacity = self.segment_bytes - SEGMENT_HEADER - SEAL_BYTES - 2 * HARD_STATE_BYTES;
        let mut size: usize = records.iter().map(Record::stored).sum();
        if size > capacity && records.len() > 1 {
            if let Some(state) = hard_state {
                let early = HardState {
                    commit: self.hard_state.commit,
                    ..state.clone()
                };
                self.write_batch(&[Record::hard_state(&early)])?;
                self.hard_state = early;
            }
            while size > capacity && records.len() > 1 {
                let mut bytes = 0;
                let fitting = records.iter().take_while(|record| {
                    bytes += record.stored();
                    bytes <= capacity
                });
                let rest = records.split_off(fitting.count().max(1));
                self.write_batch(&records)?;
                size -= records.iter().map(Record::stored).sum::<usize>();
                records = rest;
            }
        }
        records.extend(hard_state.map(Record::hard_state));
        if !records.is_empty() {
            self.write_batch(&records)?;
        }
        if let Some(state) = hard_state {
            self.hard_state = state.clone();
        }
        Ok(())
    }

    fn write_batch(&mut self, records: &[Record]) -> Result<(), DiskError> {
        let size: usize = records.iter().map(Record::stored).sum();
        if !self.current.is_fresh() && self.current.offset + size + SEAL_BYTES > self.segment_bytes {
            self.roll()?;
        }
        if self.current.is_fresh() {
            let head = Record::hard_state(&self.hard_state);
            self.write_placed(std::iter::once(&head).chain(records))
        } else {
            self.write_placed(records.iter())
        }
    }

    fn write_placed<'a>(&mut self, records: impl Iterator<Item = &'a Record>) -> Result<(), DiskError> {
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
        file.write_all_at(&self.buffer, *offset as u64)
            .map_err(failed(path, "write"))?;
        *offset += self.buffer.len();
        self.figures.wrote(self.buffer.len());
        Ok(())
    }

    /// Goes on in the next segment. All before it is durable then.
    fn roll(&mut self) -> Result<(), DiskError> {
        let spare = self.preparer.take()?;
        self.write_placed(std::iter::once(&Record::seal()))?;
        self.current.sync(&self.figures)?;
        let next = Segment::new(&self.dir, spare);
        let sealed = std::mem::replace(&mut self.current, next);
        self.older.push_back(Sealed {
            path: sealed.path,
            newest: sealed.newest,
        });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), DiskError> {
        if self.current.synced < self.current.offset {
            self.current.sync(&self.figures)?;
        }
        Ok(())
    }

    /// Removes the oldest segments as far as they hold only entries below `keep_from` and up to `through`. The entry of an
    /// image stays with those after it: its term tells whether they belong together.
    pub(super) fn compact(&mut self, through: u64, keep_from: u64) -> Result<(), DiskError> {
        let done = self
            .older
            .iter()
            .take_while(|sealed| sealed.newest < keep_from && sealed.newest <= through)
            .count();
        // The hard state of the segments that go has to stand in the one that stays.
        if done == 0 || self.current.is_fresh() {
            return Ok(());
        }
        self.sync()?;
        for sealed in self.older.drain(..done) {
            files::remove_file(&sealed.path)?;
        }
        files::sync_dir(&self.dir)?;
        self.preparer.look_again();
        Ok(())
    }
}

/// A place in a segment; segments are at most [`MAX_SEGMENT_BYTES`].
fn small(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn entry_record(entry: &Entry) -> Result<Record, DiskError> {
    let data = encode_entry(entry);
    if data.len() > MAX_ENTRY_BYTES {
        return Err(DiskError::TooLarge {
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

/// Reads the segments in order and sorts them into sealed ones, the one to go on in, and spares.
struct LogReader<'a> {
    dir: &'a Path,
    segment_bytes: u64,
    replay: Replay,
    older: VecDeque<Sealed>,
    current: Option<Segment>,
    spares: VecDeque<Spare>,
    next: u64,
}

impl<'a> LogReader<'a> {
    fn new(dir: &'a Path, segment_bytes: u64) -> LogReader<'a> {
        LogReader {
            dir,
            segment_bytes,
            replay: Replay::default(),
            older: VecDeque::new(),
            current: None,
            spares: VecDeque::new(),
            next: 1,
        }
    }

    fn read_all(&mut self, fresh: bool) -> Result<(), DiskError> {
        let paths = files::list(self.dir)?;
        let numbered = paths
            .iter()
            .filter_map(|path| segment::number(path).map(|number| (number, path)));
        let mut before = None;
        for (number, path) in numbered {
            if before.is_some_and(|before| number != before + 1) {
                return Err(corrupt(path, 0, "a segment before this one is missing"));
            }
            before = Some(number);
            self.read(number, path)?;
        }
        if before.is_none() && !fresh {
            return Err(corrupt(self.dir, 0, "the log of this member is gone"));
        }
        Ok(())
    }

    fn read(&mut self, number: u64, path: &Path) -> Result<(), DiskError> {
        let bytes = files::read_whole(path, MAX_SEGMENT_BYTES)?;
        if self.current.is_some() && segment::is_blank(&bytes) {
            return self.drop_spare(path);
        }
        let seed = segment::check_header(path, number, &bytes)?;
        let scan = segment::scan(path, seed, &bytes)?;
        let file = files::open(path)?;
        match &self.current {
            Some(open) if scan.used => {
                let reason = "the log goes on in the next segment, though this one was not closed";
                return Err(corrupt(&open.path, open.offset, reason));
            }
            Some(_) => return self.take_spare(number, path, file, seed, &scan, bytes.len()),
            None => {}
        }
        for found in &scan.records {
            self.replay.take(path, found)?;
        }
        self.next = number + 1;
        let newest = scan.records.iter().map(|found| found.index).max().unwrap_or(0);
        if scan.sealed {
            file.sync_data().map_err(failed(path, "sync"))?;
            self.older.push_back(Sealed {
                path: path.to_path_buf(),
                newest,
            });
            return Ok(());
        }
        self.repair(path, &file, &scan, bytes.len() as u64)?;
        self.current = Some(Segment {
            path: path.to_path_buf(),
            file,
            seed,
            offset: scan.end,
            synced: scan.end,
            newest,
        });
        Ok(())
    }

    /// Clears what an unfinished write left, lest it be taken for records when the log has grown up to it.
    fn repair(&self, path: &Path, file: &File, scan: &Scan<'_>, length: u64) -> Result<(), DiskError> {
        if scan.dirty {
            tracing::warn!(
                segment = %path.display(),
                offset = scan.end,
                "removing the unfinished last write of the log"
            );
            files::write_zeros(file, path, scan.end as u64, length)?;
        }
        files::write_zeros(file, path, length, self.segment_bytes)
    }

    fn take_spare(
        &mut self,
        number: u64,
        path: &Path,
        file: File,
        seed: u32,
        scan: &Scan<'_>,
        length: usize,
    ) -> Result<(), DiskError> {
        if number != self.next || scan.dirty || (length as u64) < self.segment_bytes {
            return self.drop_spare(path);
        }
        self.next = number + 1;
        self.spares.push_back(Spare { number, file, seed });
        Ok(())
    }

    fn drop_spare(&self, path: &Path) -> Result<(), DiskError> {
        files::remove_file(path)
    }
}
