//! A member's durable half: the log of the node on a simulated disk, its images, and the measure of both.

mod planted;

use crate::gallery::Gallery;
use crate::model::{LogState, Model};
use crate::plant::Plant;
use crate::platter::{DiskError, Forgets, Leaves, Platter, Shared};
use crate::prng::Prng;
use berth_replica::wal::{self, Header, Journal, OpenedJournal, SEGMENT_HEADER, Spare};
use berth_replica::{Message, Persist, Recovered, SnapshotMark};
use berth_store::Store;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const DIR: &str = "log";

/// A crash in the middle of what is under way comes within so many steps on files.
const CRASH_STEPS: u64 = 14;
/// One in the middle of a recovery.
const RECOVERY_STEPS: u64 = 24;

/// The log of a member that runs.
#[derive(Debug)]
struct Running {
    journal: Journal<Shared>,
    spares: VecDeque<Spare<u64>>,
    next: u64,
    segment_bytes: u64,
}

impl Running {
    /// The next segment, made now if none is ready.
    fn supply(
        spares: &mut VecDeque<Spare<u64>>,
        next: &mut u64,
        files: &Shared,
        segment_bytes: u64,
    ) -> Result<Spare<u64>, DiskError> {
        if let Some(spare) = spares.pop_front() {
            return Ok(spare);
        }
        let spare = wal::make(files, Path::new(DIR), *next, segment_bytes)?;
        *next += 1;
        Ok(spare)
    }

    fn prepare(&mut self, files: &Shared) -> Result<(), DiskError> {
        if !self.spares.is_empty() {
            return Ok(());
        }
        match wal::make(files, Path::new(DIR), self.next, self.segment_bytes) {
            Ok(spare) => {
                self.next += 1;
                self.spares.push_back(spare);
                Ok(())
            }
            // It is tried again.
            Err(DiskError::NoRoom) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn append(&mut self, files: &Shared, persist: &Persist) -> Result<(), DiskError> {
        let Running {
            journal,
            spares,
            next,
            segment_bytes,
        } = self;
        let mark = persist.snapshot.as_ref().map(|(mark, _)| mark);
        let must_sync = persist.must_sync || mark.is_some();
        let hard_state = persist.hard_state.as_ref();
        journal.append(
            &mut || Running::supply(spares, next, files, *segment_bytes),
            mark,
            &persist.entries,
            hard_state,
            must_sync,
        )
    }
}

/// A bit that changed by itself.
#[derive(Debug)]
struct Rot {
    path: PathBuf,
    offset: usize,
    bits: u8,
}

#[derive(Debug)]
pub(crate) struct Disk {
    files: Shared,
    gallery: Gallery,
    running: Option<Running>,
    model: Model,
    /// Handed out to be written, not begun.
    queue: VecDeque<Persist>,
    /// An image that is being written.
    image: Option<(SnapshotMark, Store)>,
    /// The next write is not done before this time.
    busy_until: u64,
    segment_bytes: u64,
    /// The member has its identity: a log that is gone is damage from now on.
    founded: bool,
    rot: Option<Rot>,
    /// Damage was found and refused.
    refused: bool,
    /// The last write handed to the log.
    written: u64,
    plant: Option<Plant>,
}

impl Disk {
    pub(crate) fn new(segment_bytes: u64, salts: Prng, plant: Option<Plant>) -> Disk {
        let mut platter = Platter::new(salts);
        platter.forgets = Forgets {
            segments: plant == Some(Plant::SyncForgotten),
            drafts: plant == Some(Plant::SegmentNamedBeforeSync),
            images: plant == Some(Plant::ImageNamedBeforeSync),
            names: plant == Some(Plant::NamesNotSynced),
            errors: plant == Some(Plant::SyncErrorIgnored),
        };
        let files = Shared(Rc::new(RefCell::new(platter)));
        Disk {
            gallery: Gallery::new(files.clone()),
            files,
            running: None,
            model: Model::default(),
            queue: VecDeque::new(),
            image: None,
            busy_until: 0,
            segment_bytes,
            founded: false,
            rot: None,
            refused: false,
            written: 0,
            plant,
        }
    }

    pub(crate) fn synced(&self) -> &LogState {
        &self.model.synced
    }

    /// Begins a write that takes so long; gives the time when it is done.
    pub(crate) fn write(&mut self, persist: Persist, now_us: u64, takes_us: u64) -> u64 {
        self.queue.push_back(persist);
        self.busy_until = self.busy_until.max(now_us) + takes_us;
        self.busy_until
    }

    /// The oldest write under way is done: its number, and the messages that waited for it.
    pub(crate) fn complete(&mut self) -> Result<Option<(u64, Vec<Message>)>, DiskError> {
        let Some(mut persist) = self.queue.pop_front() else {
            return Ok(None);
        };
        let after = std::mem::take(&mut persist.after);
        self.carry_out(&persist)?;
        if let Some(running) = &mut self.running {
            running.prepare(&self.files)?;
        }
        Ok(Some((persist.number, after)))
    }

    fn carry_out(&mut self, persist: &Persist) -> Result<(), DiskError> {
        self.model.begin(persist);
        let mark_first = self.plant == Some(Plant::MarkBeforeImage);
        if let Some((mark, store)) = persist.snapshot.as_ref().filter(|_| !mark_first) {
            self.gallery.save(mark, store)?;
        }
        let spoilt = self.spoil(persist);
        if let Some(running) = &mut self.running {
            running.append(&self.files, spoilt.as_ref().unwrap_or(persist))?;
        }
        self.written = persist.entries.last().map_or(self.written, |last| last.index);
        if let Some((mark, store)) = persist.snapshot.as_ref().filter(|_| mark_first) {
            self.gallery.save(mark, store)?;
        }
        if persist.must_sync || persist.snapshot.is_some() {
            self.model.sync();
        }
        Ok(())
    }

    /// When everything under way is done.
    pub(crate) fn busy_until(&self) -> u64 {
        self.busy_until
    }

    /// An image is being written beside the log.
    pub(crate) fn begin_image(&mut self, mark: SnapshotMark, store: Store) {
        self.image = Some((mark, store));
    }

    /// That image is written.
    pub(crate) fn save_image(&mut self) -> Result<(), DiskError> {
        let Some((mark, store)) = self.image.take() else {
            return Ok(());
        };
        self.model.begin_image(&mark, &store);
        self.gallery.save(&mark, &store)?;
        self.model.save_image(&mark, &store);
        Ok(())
    }

    /// That image could not be written.
    pub(crate) fn drop_image(&mut self) {
        self.image = None;
    }

    /// Drops the log up to an index, as far as the older image does not need it.
    pub(crate) fn compact(&mut self, through: u64) -> Result<(), DiskError> {
        let mut keep_from = self.gallery.keep_from();
        let mut through = through;
        if self.plant == Some(Plant::LogCutTooFar) {
            (keep_from, through) = (u64::MAX, self.model.synced.mark());
        }
        if let Some(running) = &mut self.running {
            running.journal.compact(through, keep_from)?;
        }
        self.model.compact(through.min(keep_from.saturating_sub(1)));
        Ok(())
    }

    pub(crate) fn set_full(&mut self, full: bool) {
        self.files.0.borrow_mut().full = full;
    }

    /// A step of the disk fails, after so many more.
    pub(crate) fn fail_after(&mut self, steps: Option<u64>) {
        self.files.0.borrow_mut().failure = steps;
    }

    /// A step failed: nothing more is written.
    pub(crate) fn stop(&mut self) {
        self.running = None;
    }

    /// The member stops, somewhere in what is under way.
    pub(crate) fn crash(&mut self, prng: &mut Prng, leaves: Leaves) {
        // Often right in the oldest write: before it, after it, after its sync.
        let steps = if prng.coin() { 3 } else { CRASH_STEPS };
        self.files.0.borrow_mut().fuse = Some(prng.below(steps));
        self.files.0.borrow_mut().failure = None;
        if self.running.is_some() {
            // What an error ends matters to nobody any more.
            if steps == CRASH_STEPS && prng.coin() {
                let _cut = self.save_image();
            }
            while matches!(self.complete(), Ok(Some(_))) {}
            if prng.coin() {
                let _cut = self.save_image();
            }
        }
        self.running = None;
        self.image = None;
        self.queue.clear();
        self.files.0.borrow_mut().crash(leaves, prng);
        self.busy_until = 0;
    }

    /// What a member finds when it starts, compared with what it must find. `cut`: the power goes meanwhile, perhaps.
    pub(crate) fn recover(&mut self, prng: &mut Prng, cut: bool) -> Result<Recovered, DiskError> {
        if cut {
            self.files.0.borrow_mut().fuse = Some(prng.below(RECOVERY_STEPS));
        }
        if let Some(plant) = self.plant {
            self.forge(plant);
        }
        let mut found = self.read();
        self.files.0.borrow_mut().fuse = None;
        // Whoever runs it puts a good copy in place of what is damaged.
        if matches!(found, Err(DiskError::Wal(_) | DiskError::Image(_)))
            && let Some(rot) = self.rot.take()
        {
            self.files.0.borrow_mut().flip(&rot.path, rot.offset, rot.bits);
            self.refused = true;
            found = self.read();
        }
        let found = found?;
        let rotten = self.rot.take().is_some();
        self.model.judge(&found, self.segment_bytes, rotten)?;
        self.written = self.model.synced.last();
        Ok(found)
    }

    /// Whether damage was found and refused since this was asked last.
    pub(crate) fn take_refusal(&mut self) -> bool {
        std::mem::take(&mut self.refused)
    }

    fn read(&mut self) -> Result<Recovered, DiskError> {
        self.gallery.open()?;
        let files = self.files.clone();
        let opened = wal::open(files, Path::new(DIR), self.segment_bytes, !self.founded)?;
        let OpenedJournal {
            journal,
            replay,
            spares,
            next,
        } = opened;
        let mut running = Running {
            journal,
            spares,
            next,
            segment_bytes: self.segment_bytes,
        };
        let Running {
            journal,
            spares,
            next,
            segment_bytes,
        } = &mut running;
        let files = &self.files;
        let found = wal::recover(
            journal,
            &mut || Running::supply(spares, next, files, *segment_bytes),
            replay,
            &self.gallery,
        )?;
        self.running = Some(running);
        self.founded = true;
        Ok(found)
    }

    /// A bit of what is durable changes by itself, where that is noticed: the last batch of the log could as well be a
    /// write that was cut off, and nothing can tell.
    pub(crate) fn rot(&mut self, prng: &mut Prng) {
        let mut platter = self.files.0.borrow_mut();
        let places: Vec<(PathBuf, usize)> = platter
            .named()
            .map(|(path, bytes)| (path.to_path_buf(), bytes.len()))
            .collect();
        let at = usize::try_from(prng.below(places.len() as u64)).unwrap_or(0);
        let Some((path, length)) = places.get(at) else {
            return;
        };
        let near = if prng.coin() { 1_024 } else { *length };
        let offset = usize::try_from(prng.below(near.min(*length) as u64)).unwrap_or(0);
        let bytes = platter.named().find(|(found, _)| *found == path.as_path());
        let blind = bytes.map_or(0..0, |(path, bytes)| blind_spot(path, bytes));
        if blind.contains(&offset) {
            return;
        }
        let bits = 1 << prng.below(8);
        platter.flip(path, offset, bits);
        self.rot = Some(Rot {
            path: path.clone(),
            offset,
            bits,
        });
    }
}

/// Where a segment's damage cannot be told from a write that was cut off: from its last batch on, up to its end.
fn blind_spot(path: &Path, bytes: &[u8]) -> std::ops::Range<usize> {
    let Some(number) = wal::number(path) else {
        return 0..0;
    };
    let Ok(seed) = wal::check_header(path, number, bytes) else {
        return 0..0;
    };
    let Ok(scan) = wal::scan(path, seed, bytes) else {
        return 0..0;
    };
    let last = scan.records.last();
    let header = last.and_then(|last| Header::at(bytes, seed, last.offset));
    header.map_or(SEGMENT_HEADER, |header| header.synced)..scan.end
}
