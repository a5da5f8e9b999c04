//! A simulated disk: files as bytes, of which a crash takes what no sync has covered, in whole, in part or in any order.

use crate::prng::Prng;
use berth_replica::wal::{DRAFT, Files, WalError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a disk writes at once: bytes of one sector are old or new together, unless the write itself is torn.
const SECTOR: usize = 512;

/// Why a step on the simulated disk, or what is made of them, failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DiskError {
    /// The power is gone: nothing more happens.
    Cut,
    /// The disk refused.
    Io,
    /// The disk is full.
    NoRoom,
    /// The log refused.
    Wal(WalError),
    /// An image is not what was written.
    Image(&'static str),
    /// What was recovered is not what was written.
    Differs(&'static str),
}

impl std::fmt::Display for DiskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            DiskError::Cut => f.write_str("the power was cut"),
            DiskError::Io => f.write_str("the disk failed"),
            DiskError::NoRoom => f.write_str("the disk is full"),
            DiskError::Wal(error) => error.fmt(f),
            DiskError::Image(reason) => write!(f, "the image is damaged: {reason}"),
            DiskError::Differs(reason) => write!(f, "recovery differs from what was written: {reason}"),
        }
    }
}

impl std::error::Error for DiskError {}

impl From<WalError> for DiskError {
    fn from(error: WalError) -> DiskError {
        DiskError::Wal(error)
    }
}

/// What a crash leaves of the steps that no sync has covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// All of them: only the process ended.
    Everything,
    Nothing,
    /// Those before some moment; the one of that moment up to any byte.
    Beginning,
    /// Any of the names, and any sectors of any files.
    AnySectors,
}

impl Leaves {
    pub(crate) fn draw(prng: &mut Prng) -> Leaves {
        let all = [
            Leaves::Everything,
            Leaves::Nothing,
            Leaves::Beginning,
            Leaves::Beginning,
            Leaves::AnySectors,
            Leaves::AnySectors,
        ];
        prng.pick(&all).unwrap_or(Leaves::Everything)
    }
}

/// Planted: syncs that are forgotten.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forgets {
    /// Of segments that are written to.
    pub(crate) segments: bool,
    /// Of segments that are made.
    pub(crate) drafts: bool,
    /// Of images.
    pub(crate) images: bool,
    /// Of names.
    pub(crate) names: bool,
    /// What the disk refused is taken for done.
    pub(crate) errors: bool,
}

#[derive(Debug)]
struct Change {
    order: u64,
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Content {
    /// As a reader finds it.
    seen: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

#[derive(Clone, Debug)]
enum NameStep {
    Link(PathBuf, u64),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, u64),
}

impl NameStep {
    fn carry_out(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            NameStep::Link(path, file) => {
                names.insert(path.clone(), *file);
            }
            NameStep::Unlink(path) => {
                names.remove(path);
            }
            NameStep::Rename(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }

    fn dir(&self) -> Option<&Path> {
        match self {
            NameStep::Link(path, _) | NameStep::Unlink(path) | NameStep::Rename(_, path, _) => path.parent(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Platter {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    durable: BTreeMap<PathBuf, u64>,
    unsynced: Vec<(u64, NameStep)>,
    next_file: u64,
    order: u64,
    /// The power goes after so many more steps.
    pub(crate) fuse: Option<u64>,
    /// A step fails after so many more.
    pub(crate) failure: Option<u64>,
    pub(crate) full: bool,
    pub(crate) forgets: Forgets,
    salts: Prng,
}

impl Platter {
    pub(crate) fn new(salts: Prng) -> Platter {
        Platter {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable: BTreeMap::new(),
            unsynced: Vec::new(),
            next_file: 0,
            order: 0,
            fuse: None,
            failure: None,
            full: false,
            forgets: Forgets::default(),
            salts,
        }
    }

    /// One more step; an error if it is not taken.
    fn step(&mut self) -> Result<(), DiskError> {
        self.order += 1;
        match &mut self.fuse {
            Some(0) => return Err(DiskError::Cut),
            Some(left) => *left -= 1,
            None => {}
        }
        match self.failure {
            Some(0) => {
                self.failure = None;
                Err(DiskError::Io)
            }
            Some(left) => {
                self.failure = Some(left - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn write(&mut self, file: u64, bytes: &[u8], offset: usize) -> Result<(), DiskError> {
        self.step()?;
        let (full, order) = (self.full, self.order);
        let content = self.content(file)?;
        let end = offset + bytes.len();
        if end > content.seen.len() {
            if full {
                return Err(DiskError::NoRoom);
            }
            content.seen.resize(end, 0);
        }
        content.seen[offset..end].copy_from_slice(bytes);
        content.unsynced.push(Change {
            order,
            offset,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    fn content(&mut self, file: u64) -> Result<&mut Content, DiskError> {
        self.files.get_mut(&file).ok_or(DiskError::Io)
    }

    fn sync(&mut self, file: u64) -> Result<(), DiskError> {
        let step = self.step();
        let forgets = self.forgets.errors;
        let content = self.content(file)?;
        if step == Err(DiskError::Io) {
            // The system tells it once, and drops what it could not write.
            content.unsynced.clear();
            return if forgets { Ok(()) } else { step };
        }
        step?;
        for change in std::mem::take(&mut content.unsynced) {
            content.take(change.offset, &change.bytes);
        }
        Ok(())
    }

    fn rename_step(&mut self, step: NameStep) {
        step.carry_out(&mut self.names);
        self.unsynced.push((self.order, step));
    }

    fn sync_dir(&mut self, dir: &Path) {
        let (done, rest) = std::mem::take(&mut self.unsynced)
            .into_iter()
            .partition(|(_, step)| step.dir() == Some(dir));
        self.unsynced = rest;
        let done: Vec<(u64, NameStep)> = done;
        done.iter()
            .for_each(|(_, step)| step.carry_out(&mut self.durable));
    }

    /// The power comes back: what the crash left is all there is.
    pub(crate) fn crash(&mut self, leaves: Leaves, prng: &mut Prng) {
        self.fuse = None;
        self.failure = None;
        let moment = self.moment(leaves, prng);
        for (order, step) in std::mem::take(&mut self.unsynced) {
            let kept = match leaves {
                Leaves::Everything => true,
                Leaves::Nothing => false,
                Leaves::Beginning => order < moment,
                Leaves::AnySectors => prng.coin(),
            };
            if kept {
                step.carry_out(&mut self.durable);
            }
        }
        for content in self.files.values_mut() {
            for change in std::mem::take(&mut content.unsynced) {
                content.keep(&change, leaves, moment, prng);
            }
            content.seen.clone_from(&content.durable);
        }
        self.names.clone_from(&self.durable);
        let names = &self.names;
        self.files
            .retain(|file, _| names.values().any(|named| named == file));
    }

    /// The order of one of the steps that are not synced.
    fn moment(&self, leaves: Leaves, prng: &mut Prng) -> u64 {
        if leaves != Leaves::Beginning {
            return 0;
        }
        let changes = self.files.values().flat_map(|content| &content.unsynced);
        let mut orders: Vec<u64> = changes.map(|change| change.order).collect();
        orders.extend(self.unsynced.iter().map(|(order, _)| *order));
        orders.sort_unstable();
        prng.pick(&orders).unwrap_or(0)
    }

    /// The files with their names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.names
            .iter()
            .filter_map(|(path, file)| Some((path.as_path(), self.files.get(file)?.seen.as_slice())))
    }

    /// Bits of a file change by themselves.
    pub(crate) fn flip(&mut self, path: &Path, offset: usize, bits: u8) {
        let content = self.names.get(path).and_then(|file| self.files.get_mut(file));
        if let Some(content) = content {
            for bytes in [&mut content.seen, &mut content.durable] {
                if let Some(byte) = bytes.get_mut(offset) {
                    *byte ^= bits;
                }
            }
        }
    }

    /// Planted: a file is made something else.
    pub(crate) fn forge(&mut self, path: &Path, bytes: Vec<u8>) {
        let content = self.names.get(path).and_then(|file| self.files.get_mut(file));
        if let Some(content) = content {
            content.seen.clone_from(&bytes);
            content.durable = bytes;
        }
    }

    /// Planted: everything is gone.
    pub(crate) fn wipe(&mut self) {
        self.files.clear();
        self.names.clear();
        self.durable.clear();
        self.unsynced.clear();
    }
}

impl Content {
    fn take(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.durable.len() {
            self.durable.resize(end, 0);
        }
        self.durable[offset..end].copy_from_slice(bytes);
    }

    /// As much of a change as the crash left.
    fn keep(&mut self, change: &Change, leaves: Leaves, moment: u64, prng: &mut Prng) {
        match leaves {
            Leaves::Everything => self.take(change.offset, &change.bytes),
            Leaves::Nothing => {}
            Leaves::Beginning if change.order < moment => self.take(change.offset, &change.bytes),
            Leaves::Beginning if change.order == moment => {
                let kept = prng.below(change.bytes.len() as u64 + 1);
                let kept = usize::try_from(kept).unwrap_or(0);
                self.take(change.offset, &change.bytes[..kept]);
            }
            Leaves::Beginning => {}
            Leaves::AnySectors => {
                let mut at = 0;
                while at < change.bytes.len() {
                    let sector_end = (change.offset + at + 1).next_multiple_of(SECTOR);
                    let end = (sector_end - change.offset).min(change.bytes.len());
                    if prng.coin() {
                        self.take(change.offset + at, &change.bytes[at..end]);
                    }
                    at = end;
                }
            }
        }
    }
}

/// A handle that the log writes through.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(crate) Rc<RefCell<Platter>>);

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Files for Shared {
    type File = u64;
    type Error = DiskError;

    fn list(&self, dir: &Path) -> Result<Vec<PathBuf>, DiskError> {
        let mut platter = self.0.borrow_mut();
        platter.step()?;
        let names = platter.names.keys();
        Ok(names.filter(|path| path.parent() == Some(dir)).cloned().collect())
    }

    fn read(&self, path: &Path, _limit: u64) -> Result<Vec<u8>, DiskError> {
        let file = self.open(path)?;
        let mut platter = self.0.borrow_mut();
        platter.step()?;
        Ok(platter.content(file)?.seen.clone())
    }

    fn open(&self, path: &Path) -> Result<u64, DiskError> {
        self.0.borrow().names.get(path).copied().ok_or(DiskError::Io)
    }

    fn create(&self, path: &Path) -> Result<u64, DiskError> {
        let mut platter = self.0.borrow_mut();
        platter.step()?;
        if platter.full {
            return Err(DiskError::NoRoom);
        }
        platter.next_file += 1;
        let file = platter.next_file;
        platter.files.insert(file, Content::default());
        platter.rename_step(NameStep::Link(path.to_path_buf(), file));
        Ok(file)
    }

    fn write(&self, file: &u64, _path: &Path, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        self.0.borrow_mut().write(*file, bytes, place(offset))
    }

    fn append(&self, file: &u64, path: &Path, bytes: &[u8], offset: u64) -> Result<(), DiskError> {
        self.write(file, path, bytes, offset)
    }

    fn write_zeros(&self, file: &u64, path: &Path, from: u64, to: u64) -> Result<(), DiskError> {
        if from >= to {
            return Ok(());
        }
        self.write(file, path, &vec![0; place(to - from)], from)
    }

    fn sync_data(&self, file: &u64, _path: &Path) -> Result<(), DiskError> {
        let mut platter = self.0.borrow_mut();
        if platter.forgets.segments {
            return platter.step();
        }
        platter.sync(*file)
    }

    fn sync_all(&self, file: &u64, path: &Path) -> Result<(), DiskError> {
        let mut platter = self.0.borrow_mut();
        let draft = path.ends_with(DRAFT);
        if draft && platter.forgets.drafts || !draft && platter.forgets.images {
            return platter.step();
        }
        platter.sync(*file)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DiskError> {
        let file = self.open(from)?;
        let mut platter = self.0.borrow_mut();
        platter.step()?;
        platter.rename_step(NameStep::Rename(from.to_path_buf(), to.to_path_buf(), file));
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), DiskError> {
        if self.open(path).is_err() {
            return Ok(());
        }
        let mut platter = self.0.borrow_mut();
        platter.step()?;
        platter.rename_step(NameStep::Unlink(path.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), DiskError> {
        let mut platter = self.0.borrow_mut();
        platter.step()?;
        if !platter.forgets.names {
            platter.sync_dir(dir);
        }
        Ok(())
    }

    fn salt(&self) -> Result<u64, DiskError> {
        Ok(self.0.borrow_mut().salts.draw() | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::{DiskError, Leaves, Platter, Shared};
    use crate::prng::Prng;
    use berth_replica::wal::Files as _;
    use std::cell::RefCell;
    use std::path::Path;
    use std::rc::Rc;

    const FILE: &str = "log/a";

    fn shared() -> Shared {
        Shared(Rc::new(RefCell::new(Platter::new(Prng::new(1, "salts")))))
    }

    /// A file of 2,000 synced ones, and 1,500 twos over them that are not synced.
    fn half_written() -> Shared {
        let disk = shared();
        let path = Path::new(FILE);
        let file = disk.create(path).unwrap();
        disk.write(&file, path, &[1; 2_000], 0).unwrap();
        disk.sync_all(&file, path).unwrap();
        disk.sync_dir(Path::new("log")).unwrap();
        disk.write(&file, path, &[2; 1_500], 100).unwrap();
        disk
    }

    fn after(disk: &Shared, leaves: Leaves, seed: u64) -> Vec<u8> {
        disk.0.borrow_mut().crash(leaves, &mut Prng::new(seed, "crash"));
        disk.read(Path::new(FILE), 1 << 20).unwrap()
    }

    #[test]
    fn a_crash_takes_what_is_not_synced_and_no_more() {
        assert_eq!(after(&half_written(), Leaves::Nothing, 1), [1; 2_000]);
        assert_eq!(
            after(&half_written(), Leaves::Everything, 1)[100..1_600],
            [2; 1_500]
        );
        for seed in 0..50 {
            let torn = after(&half_written(), Leaves::Beginning, seed);
            let end = torn.iter().rposition(|byte| *byte == 2).map_or(100, |at| at + 1);
            assert!(
                torn[100..end].iter().all(|byte| *byte == 2) && torn[end..].iter().all(|byte| *byte == 1)
            );
            let sectors = after(&half_written(), Leaves::AnySectors, seed);
            for sector in [100..512, 512..1_024, 1_024..1_536, 1_536..1_600] {
                let first = sectors[sector.start];
                assert!(sectors[sector].iter().all(|byte| *byte == first));
            }
            assert!(sectors[1_600..].iter().all(|byte| *byte == 1));
        }
    }

    #[test]
    fn a_name_lasts_from_the_sync_of_its_directory_on() {
        for synced in [false, true] {
            let disk = half_written();
            disk.rename(Path::new(FILE), Path::new("log/b")).unwrap();
            if synced {
                disk.sync_dir(Path::new("log")).unwrap();
            }
            disk.0
                .borrow_mut()
                .crash(Leaves::Nothing, &mut Prng::new(1, "crash"));
            assert_eq!(disk.open(Path::new("log/b")).is_ok(), synced);
            assert_eq!(disk.open(Path::new(FILE)).is_ok(), !synced);
        }
    }

    #[test]
    fn the_fuse_ends_everything_and_a_failed_sync_drops_what_it_had_to_write() {
        let disk = half_written();
        disk.0.borrow_mut().fuse = Some(0);
        assert_eq!(disk.create(Path::new("log/c")), Err(DiskError::Cut));
        disk.0.borrow_mut().fuse = None;
        disk.0.borrow_mut().failure = Some(0);
        let file = disk.open(Path::new(FILE)).unwrap();
        assert_eq!(disk.sync_data(&file, Path::new(FILE)), Err(DiskError::Io));
        disk.sync_data(&file, Path::new(FILE)).unwrap();
        assert_eq!(after(&disk, Leaves::Everything, 1), [1; 2_000]);
    }
}
