//! The opening of a log: its segments in order, sorted into sealed ones, the one to go on in, and spares.

use crate::wal::error::corrupt;
use crate::wal::files::Files;
use crate::wal::journal::{Journal, Sealed, Segment};
use crate::wal::replay::Replay;
use crate::wal::segment::{self, MAX_SEGMENT_BYTES, Scan};
use crate::wal::spare::{self, DRAFT, Spare};
use std::collections::VecDeque;
use std::path::Path;

/// A log that was opened.
#[derive(Debug)]
pub struct OpenedJournal<F: Files> {
    /// To go on with.
    pub journal: Journal<F>,
    /// What it holds.
    pub replay: Replay,
    /// Segments that are ready to go on in, in this order.
    pub spares: VecDeque<Spare<F::File>>,
    /// The number of the segment after those.
    pub next: u64,
}

/// Opens the log in its directory. Only a `fresh` member may have none.
pub fn open<F: Files>(
    files: F,
    dir: &Path,
    segment_bytes: u64,
    fresh: bool,
) -> Result<OpenedJournal<F>, F::Error> {
    // What an earlier life left half made.
    files.remove(&dir.join(DRAFT))?;
    let mut reader = Reader::new(&files, dir, segment_bytes);
    reader.read_all(fresh)?;
    let Reader {
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
            Segment::new(dir, spare::make(&files, dir, next, segment_bytes)?),
            next + 1,
        ),
    };
    // Names and bytes that were read may be in the kernel's memory only.
    files.sync_all(&current.file, &current.path)?;
    files.sync_dir(dir)?;
    Ok(OpenedJournal {
        journal: Journal::new(files, dir, segment_bytes, older, current, &replay),
        replay,
        spares,
        next,
    })
}

struct Reader<'a, F: Files> {
    files: &'a F,
    dir: &'a Path,
    segment_bytes: u64,
    replay: Replay,
    older: VecDeque<Sealed>,
    current: Option<Segment<F::File>>,
    spares: VecDeque<Spare<F::File>>,
    next: u64,
}

impl<'a, F: Files> Reader<'a, F> {
    fn new(files: &'a F, dir: &'a Path, segment_bytes: u64) -> Reader<'a, F> {
        Reader {
            files,
            dir,
            segment_bytes,
            replay: Replay::default(),
            older: VecDeque::new(),
            current: None,
            spares: VecDeque::new(),
            next: 1,
        }
    }

    fn read_all(&mut self, fresh: bool) -> Result<(), F::Error> {
        let paths = self.files.list(self.dir)?;
        let numbered = paths
            .iter()
            .filter_map(|path| segment::number(path).map(|number| (number, path)));
        let mut before = None;
        for (number, path) in numbered {
            if before.is_some_and(|before| number != before + 1) {
                return Err(corrupt(path, 0, "a segment before this one is missing").into());
            }
            before = Some(number);
            self.read(number, path)?;
        }
        if before.is_none() && !fresh {
            return Err(corrupt(self.dir, 0, "the log of this member is gone").into());
        }
        Ok(())
    }

    fn read(&mut self, number: u64, path: &Path) -> Result<(), F::Error> {
        let bytes = self.files.read(path, MAX_SEGMENT_BYTES)?;
        if self.current.is_some() && segment::is_blank(&bytes) {
            return self.files.remove(path);
        }
        let seed = segment::check_header(path, number, &bytes)?;
        let scan = segment::scan(path, seed, &bytes)?;
        let file = self.files.open(path)?;
        match &self.current {
            Some(open) if scan.used => {
                let reason = "the log goes on in the next segment, though this one was not closed";
                return Err(corrupt(&open.path, open.offset, reason).into());
            }
            Some(_) => {
                let spare = Spare { number, file, seed };
                return self.take_spare(spare, path, &scan, bytes.len());
            }
            None => {}
        }
        for found in &scan.records {
            self.replay.take(path, found)?;
        }
        self.next = number + 1;
        let newest = scan.records.iter().map(|found| found.index).max().unwrap_or(0);
        if scan.sealed {
            self.files.sync_data(&file, path)?;
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
    fn repair(&self, path: &Path, file: &F::File, scan: &Scan<'_>, length: u64) -> Result<(), F::Error> {
        if scan.dirty {
            tracing::warn!(
                segment = %path.display(),
                offset = scan.end,
                "removing the unfinished last write of the log"
            );
            self.files.write_zeros(file, path, scan.end as u64, length)?;
        }
        self.files.write_zeros(file, path, length, self.segment_bytes)
    }

    fn take_spare(
        &mut self,
        spare: Spare<F::File>,
        path: &Path,
        scan: &Scan<'_>,
        length: usize,
    ) -> Result<(), F::Error> {
        if spare.number != self.next || scan.dirty || (length as u64) < self.segment_bytes {
            return self.files.remove(path);
        }
        self.next = spare.number + 1;
        self.spares.push_back(spare);
        Ok(())
    }
}
