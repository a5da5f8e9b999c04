//! The database under the records: opened again after a failure, with room kept for the time when the disk is full.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::error::RecordError;

/// Memory for sled's pages: records are small and read only at start.
const CACHE: u64 = 4 * 1024 * 1024;

/// Room that is kept for what cannot be refused, in bytes: to open the database once more takes one or two of its
/// segments of 512 KiB, a record some KiB. When it is used up such writes are owed until there is room.
const RESERVE: u64 = 8 * 1024 * 1024;

/// The room is taken again when there is so much of it as this many times more, so that it is not the last.
const PLENTY: u64 = 4;

/// What a record is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Container,
    Network,
}

/// Records by kind and id; none for one that is removed.
type Writes = BTreeMap<(Kind, String), Option<Vec<u8>>>;

/// The database. One that has failed once answers every later call with the same failure, so it is closed then.
#[derive(Debug)]
pub(super) struct Database {
    directory: PathBuf,
    /// None after a failure, until the next use.
    open: Option<Open>,
    /// What could not be written and must not be lost: one entry a record, written with the next one that can be.
    owed: Writes,
    reserve: Reserve,
}

#[derive(Debug)]
struct Open {
    database: sled::Db,
    containers: sled::Tree,
    networks: sled::Tree,
}

/// A file that holds room on the disk.
#[derive(Debug)]
struct Reserve {
    path: PathBuf,
    held: bool,
}

impl Database {
    /// Opens or makes it. A full disk is no reason not to: the room that is kept is for this.
    pub(super) fn open(data_dir: &Path) -> Result<Self, RecordError> {
        let path = data_dir.join("reserve");
        let mut reserve = Reserve {
            held: path.exists(),
            path,
        };
        let directory = data_dir.join("records");
        let open = match Open::at(&directory) {
            Err(error) if is_full(&error) && reserve.release() => Open::at(&directory),
            opened => opened,
        }?;
        reserve.keep();
        Ok(Self {
            directory,
            open: Some(open),
            owed: Writes::new(),
            reserve,
        })
    }

    /// All records of a kind that are on disk, by their ids.
    pub(super) fn all(&self, kind: Kind) -> Result<Vec<(sled::IVec, sled::IVec)>, RecordError> {
        let tree = self.open.as_ref().map(|open| open.tree(kind));
        let read = tree.map(|tree| tree.iter().collect::<sled::Result<Vec<_>>>());
        Ok(read.transpose()?.unwrap_or_default())
    }

    /// Writes what may be refused: after a failure it is as if nobody had asked.
    pub(super) fn offer(&mut self, kind: Kind, id: &str, document: Vec<u8>) -> Result<(), RecordError> {
        let mut writes = self.owed.clone();
        writes.insert((kind, id.to_owned()), Some(document));
        self.write(&writes)?;
        self.settled();
        Ok(())
    }

    /// Writes or removes what has happened. After a failure it is still owed.
    pub(super) fn record(
        &mut self,
        kind: Kind,
        id: &str,
        document: Option<Vec<u8>>,
    ) -> Result<(), RecordError> {
        let mut writes = std::mem::take(&mut self.owed);
        writes.insert((kind, id.to_owned()), document);
        let mut written = self.write(&writes);
        if written.as_ref().is_err_and(is_full) && self.reserve.release() {
            tracing::warn!("the disk of the container records is full: room kept for that is used now");
            written = self.write(&writes);
        }
        match written {
            Ok(()) => self.settled(),
            Err(_) => self.owed = writes,
        }
        written
    }

    fn settled(&mut self) {
        self.owed.clear();
        self.reserve.keep();
    }

    fn write(&mut self, writes: &Writes) -> Result<(), RecordError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => Open::at(&self.directory)?,
        };
        for ((kind, id), document) in writes {
            let tree = open.tree(*kind);
            match document {
                Some(document) => tree.insert(id.as_bytes(), document.as_slice())?,
                None => tree.remove(id.as_bytes())?,
            };
        }
        open.database.flush()?;
        self.open = Some(open);
        Ok(())
    }
}

impl Open {
    fn at(directory: &Path) -> Result<Self, RecordError> {
        let database = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE)
            .flush_every_ms(None)
            .open()?;
        let containers = database.open_tree("containers")?;
        let networks = database.open_tree("networks")?;
        Ok(Self {
            database,
            containers,
            networks,
        })
    }

    fn tree(&self, kind: Kind) -> &sled::Tree {
        match kind {
            Kind::Container => &self.containers,
            Kind::Network => &self.networks,
        }
    }
}

impl Reserve {
    /// Gives the room back; false when there is none.
    fn release(&mut self) -> bool {
        std::mem::take(&mut self.held) && fs::remove_file(&self.path).is_ok()
    }

    /// Takes the room when there is plenty. Without it things go on, as long as the disk is not full.
    fn keep(&mut self) {
        if self.held {
            return;
        }
        let disk = self.path.parent().and_then(|folder| statvfs(folder).ok());
        let free = disk.map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize));
        if free < RESERVE * PLENTY {
            return;
        }
        let made = fs::File::create(&self.path);
        let filled = made.and_then(|file| Ok(fallocate(&file, FallocateFlags::empty(), 0, RESERVE)?));
        self.held = filled.is_ok();
        if !self.held {
            // A file without room in it helps nobody.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_full(error: &RecordError) -> bool {
    matches!(error, RecordError::Database(sled::Error::Io(error)) if error.kind() == io::ErrorKind::StorageFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(database: &Database) -> Vec<(String, String)> {
        let text = |bytes: &sled::IVec| String::from_utf8_lossy(bytes).into_owned();
        let all = database.all(Kind::Container).unwrap();
        all.iter()
            .map(|(id, document)| (text(id), text(document)))
            .collect()
    }

    fn pair(id: &str, document: &str) -> (String, String) {
        (id.to_owned(), document.to_owned())
    }

    #[test]
    fn what_has_happened_is_owed_and_what_was_only_wished_is_not() {
        let place = tempfile::tempdir().unwrap();
        let mut database = Database::open(place.path()).unwrap();
        database
            .record(Kind::Container, "a", Some(b"1".to_vec()))
            .unwrap();
        database
            .record(Kind::Container, "b", Some(b"2".to_vec()))
            .unwrap();
        // A directory that nothing can be opened in: a file is in its place.
        database.open = None;
        let (there, away) = (place.path().join("records"), place.path().join("away"));
        fs::rename(&there, &away).unwrap();
        fs::write(&there, "").unwrap();
        let wish = database.offer(Kind::Container, "wish", b"3".to_vec());
        assert!(wish.is_err(), "{wish:?}");
        for document in ["4", "5"] {
            let told = database.record(Kind::Container, "a", Some(document.into()));
            assert!(told.is_err(), "{told:?}");
        }
        assert!(database.record(Kind::Container, "b", None).is_err());
        assert_eq!(database.owed.len(), 2, "one entry a record");
        fs::remove_file(&there).unwrap();
        fs::rename(&away, &there).unwrap();
        database.offer(Kind::Container, "c", b"6".to_vec()).unwrap();
        assert!(database.owed.is_empty());
        assert_eq!(documents(&database), [pair("a", "5"), pair("c", "6")]);
    }

    #[test]
    fn room_is_kept_and_given_back_once() {
        let place = tempfile::tempdir().unwrap();
        let mut database = Database::open(place.path()).unwrap();
        let path = place.path().join("reserve");
        assert_eq!(fs::metadata(&path).unwrap().len(), RESERVE);
        assert!(database.reserve.release() && !database.reserve.release());
        assert!(!path.exists());
        database.record(Kind::Network, "n", Some(b"1".to_vec())).unwrap();
        assert!(path.exists(), "there is plenty of room again");
    }
}
