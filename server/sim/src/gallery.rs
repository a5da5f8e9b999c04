//! The images of one member on its simulated disk. The database that holds an image in the node is no part of this: an
//! image is a file that is there whole, with its checksum, or not at all, and is made durable and named as the node does it.

use crate::platter::{DiskError, Shared};
use berth_replica::SnapshotMark;
use berth_replica::wal::{Files as _, Generations, Images, Position};
use berth_store::{SnapshotError, Store, restore};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const DIR: &str = "snapshots";

/// The bytes that stand for an image: some sectors, so that one can be torn.
const BYTES: usize = 1_200;

/// States remembered by the bytes that stand for them: more than are begun and given up while two are kept.
const REMEMBERED: usize = 64;

#[derive(Debug)]
pub(crate) struct Gallery {
    files: Shared,
    kept: RefCell<Generations>,
    /// What the bytes of an image stand for.
    states: RefCell<BTreeMap<u64, (SnapshotMark, Store)>>,
    next: u64,
}

impl Gallery {
    pub(crate) fn new(files: Shared) -> Gallery {
        Gallery {
            files,
            kept: RefCell::default(),
            states: RefCell::default(),
            next: 0,
        }
    }

    /// Looks at what is there, after removing what was never finished.
    pub(crate) fn open(&self) -> Result<(), DiskError> {
        let mut kept = Vec::new();
        for path in self.files.list(Path::new(DIR))? {
            if path.extension().is_some_and(|end| end == "tmp") {
                self.files.remove(&path)?;
            } else {
                kept.extend(
                    path.file_name()
                        .and_then(|name| Generations::position(name.to_str()?)),
                );
            }
        }
        *self.kept.borrow_mut() = Generations::new(kept);
        Ok(())
    }

    /// Writes an image; it is durable when this returns.
    pub(crate) fn save(&mut self, mark: &SnapshotMark, store: &Store) -> Result<(), DiskError> {
        let position = (mark.index, mark.term);
        if self.kept.borrow().contains(position) {
            return Ok(());
        }
        self.next += 1;
        let mut states = self.states.borrow_mut();
        states.insert(self.next, (mark.clone(), store.clone()));
        while states.len() > REMEMBERED {
            states.pop_first();
        }
        drop(states);
        let path = place(position);
        let draft = path.with_extension("tmp");
        self.files.remove(&draft)?;
        let file = self.files.create(&draft)?;
        self.files.write(&file, &draft, &bytes(self.next), 0)?;
        self.files.sync_all(&file, &draft)?;
        self.files.rename(&draft, &path)?;
        self.files.sync_dir(Path::new(DIR))?;
        let retired = self.kept.borrow_mut().publish(position);
        for position in retired {
            let away = place(position).with_extension("tmp");
            self.files.rename(&place(position), &away)?;
            self.files.remove(&away)?;
        }
        Ok(())
    }

    /// The log is needed from this index on.
    pub(crate) fn keep_from(&self) -> u64 {
        self.kept.borrow().keep_from()
    }

    /// Planted: the images tell no membership.
    pub(crate) fn lose_roster(&mut self) {
        for (mark, _) in self.states.get_mut().values_mut() {
            *mark = crate::model::without_roster(mark);
        }
    }
}

impl Images for Gallery {
    type Error = DiskError;

    fn newest_first(&self) -> Vec<Position> {
        self.kept.borrow().newest_first()
    }

    fn load(&self, position: Position) -> Result<(SnapshotMark, Store), DiskError> {
        let found = self.files.read(&place(position), 1 << 20)?;
        let number = found.first_chunk().map(|number| u64::from_le_bytes(*number));
        let number = number.filter(|number| found == bytes(*number));
        let number = number.ok_or(DiskError::Image("the checksum does not match"))?;
        let states = self.states.borrow();
        let (mark, store) = states
            .get(&number)
            .filter(|(mark, _)| (mark.index, mark.term) == position)
            .ok_or(DiskError::Image("another image stands here"))?;
        let store = through_bytes(store).map_err(|_| DiskError::Image("it is no state"))?;
        Ok((mark.clone(), store))
    }

    fn put_aside(&self, position: Position) -> Result<(), DiskError> {
        let path = place(position);
        for old in self.files.list(Path::new(DIR))? {
            if old.extension().is_some_and(|end| end == "damaged") {
                self.files.remove(&old)?;
            }
        }
        self.files.rename(&path, &path.with_extension("damaged"))?;
        self.files.sync_dir(Path::new(DIR))?;
        self.kept.borrow_mut().forget(position);
        Ok(())
    }

    fn is_final(error: &DiskError) -> bool {
        match error {
            DiskError::Cut
            | DiskError::Io
            | DiskError::NoRoom
            | DiskError::Wal(_)
            | DiskError::Differs(_) => true,
            DiskError::Image(_) => false,
        }
    }
}

fn place(position: Position) -> PathBuf {
    Path::new(DIR).join(Generations::name(position))
}

/// The bytes that stand for an image, each of which tells its number.
fn bytes(number: u64) -> Vec<u8> {
    let words = (0..).map(|at| if at == 0 { number } else { mixed(number ^ at << 32) });
    words.flat_map(u64::to_le_bytes).take(BYTES).collect()
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn mixed(word: u64) -> u64 {
    let z = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A state that was made into chunks and back.
pub(crate) fn through_bytes(store: &Store) -> Result<Store, SnapshotError> {
    restore(store.chunks())
}
