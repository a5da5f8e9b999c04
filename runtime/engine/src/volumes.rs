//! Volumes of the driver `local`: a directory each, with its description beside the data.
//!
//! `NAME/_data` holds the files, `NAME/volume.json` the description. A volume is made below a name that begins with a dot
//! and renamed, and goes the same way back: a visible one is complete.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::actions::size;
use crate::clock;
use crate::error::{EngineError, Failure};

const DESCRIPTION: &str = "volume.json";
const DATA: &str = "_data";

/// Only the daemon looks in here: set-user-id files of containers must not be reachable for users of the host.
const PRIVATE: u32 = 0o701;

/// The root of a volume, until an image says otherwise.
const DATA_MODE: u32 = 0o755;

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    pub(crate) name: String,
    /// Nanoseconds since 1970.
    pub(crate) created: i64,
    pub(crate) labels: BTreeMap<String, String>,
    /// Nobody has named it.
    pub(crate) anonymous: bool,
}

/// All volumes of an engine. Calls may block on the disk.
#[derive(Debug)]
pub(crate) struct Volumes {
    root: PathBuf,
    known: Mutex<BTreeMap<String, Volume>>,
    /// Numbers what has been taken away and not yet erased.
    taken: AtomicU64,
}

impl Volumes {
    /// Opens the directory, made if need be. What an end at the wrong moment left half done is removed.
    pub(crate) fn open(root: &Path) -> Result<Self, EngineError> {
        let failed = |action: &'static str| {
            let path = root.to_owned();
            move |source| EngineError::Path { path, action, source }
        };
        make(root, PRIVATE).map_err(failed("making the directory of volumes"))?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(root).map_err(failed("reading the directory of volumes"))? {
            let entry = entry.map_err(failed("reading the directory of volumes"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                berth_images::erase(&entry.path()).map_err(failed("removing an unfinished volume from"))?;
                continue;
            }
            let description = entry.path().join(DESCRIPTION);
            let bytes = fs::read(&description);
            let volume = bytes
                .ok()
                .and_then(|bytes| serde_json::from_slice::<Volume>(&bytes).ok());
            match volume.filter(|volume| volume.name == name) {
                Some(volume) => drop(known.insert(name, volume)),
                // Its data stay where they are, for whoever can make sense of them.
                None => tracing::error!(
                    ?description,
                    "a volume without a readable description is left out"
                ),
            }
        }
        Ok(Self {
            root: root.to_owned(),
            known: Mutex::new(known),
            taken: AtomicU64::new(0),
        })
    }

    /// Where all volumes are.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the files of a volume are.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.root.join(name).join(DATA)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Volume>> {
        // The map is changed by whole entries only.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By name.
    pub(crate) fn get(&self, name: &str) -> Option<Volume> {
        self.known().get(name).cloned()
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Vec<Volume> {
        self.known().values().cloned().collect()
    }

    /// The volume of this name, made if it is not there; the word is whether it was made. The name must be one that a
    /// volume can have.
    pub(crate) fn ensure(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
        anonymous: bool,
    ) -> Result<(Volume, bool), Failure> {
        let mut known = self.known();
        if let Some(volume) = known.get(name) {
            return Ok((volume.clone(), false));
        }
        let volume = Volume {
            name: name.to_owned(),
            created: clock::now(),
            labels: labels.clone(),
            anonymous,
        };
        self.write(&volume).map_err(|source| Failure::Volume {
            name: name.to_owned(),
            doing: "making it",
            source,
        })?;
        known.insert(name.to_owned(), volume.clone());
        Ok((volume, true))
    }

    fn write(&self, volume: &Volume) -> io::Result<()> {
        let unfinished = self.hidden(&volume.name);
        berth_images::erase(&unfinished)?;
        make(&unfinished, PRIVATE)?;
        make(&unfinished.join(DATA), DATA_MODE)?;
        let mut file = File::create(unfinished.join(DESCRIPTION))?;
        file.write_all(&serde_json::to_vec(volume)?)?;
        file.sync_all()?;
        fs::rename(&unfinished, self.root.join(&volume.name))?;
        File::open(&self.root)?.sync_all()
    }

    fn hidden(&self, name: &str) -> PathBuf {
        self.root.join(format!(".{name}"))
    }

    /// Takes a volume away: its name is free from here on, and its files wait to be erased. Quick, however many those are.
    pub(crate) fn take(&self, name: &str) -> Result<Taken, Failure> {
        let mut known = self.known();
        if !known.contains_key(name) {
            return Err(Failure::NoSuchVolume(name.to_owned()));
        }
        // No volume's name begins with a dot: that of an unfinished one is another.
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let place = self.root.join(format!("..{number}"));
        fs::rename(self.root.join(name), &place).map_err(|source| not_removed(name, source))?;
        known.remove(name);
        Ok(Taken {
            name: name.to_owned(),
            place,
        })
    }

    /// Removes a volume with all that is in it. Gives the number of bytes that it had.
    pub(crate) fn remove(&self, name: &str) -> Result<u64, Failure> {
        self.take(name)?.erase()
    }

    /// Bytes of the files of a volume; what cannot be read counts nothing.
    pub(crate) fn size(&self, name: &str) -> u64 {
        size(&self.data(name))
    }
}

/// A volume that is no volume any more.
#[derive(Debug)]
pub(crate) struct Taken {
    name: String,
    place: PathBuf,
}

impl Taken {
    /// Removes its files. Gives the number of bytes that they had.
    pub(crate) fn erase(self) -> Result<u64, Failure> {
        let bytes = size(&self.place.join(DATA));
        berth_images::erase(&self.place).map_err(|source| not_removed(&self.name, source))?;
        Ok(bytes)
    }
}

fn not_removed(name: &str, source: io::Error) -> Failure {
    Failure::Volume {
        name: name.to_owned(),
        doing: "removing it",
        source,
    }
}

/// Whatever the mask is.
fn make(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(mode).create(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_outlive_the_engine() {
        let place = tempfile::tempdir().expect("a directory");
        let volumes = Volumes::open(place.path()).expect("opened");
        let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        let (made, new) = volumes.ensure("data", &labels, false).expect("made");
        assert!(new && !volumes.ensure("data", &BTreeMap::new(), true).expect("there").1);
        fs::write(volumes.data("data").join("file"), "12345").expect("written");
        assert_eq!(volumes.size("data"), 5);
        fs::create_dir(place.path().join(".half")).expect("a directory");
        drop(volumes);
        let volumes = Volumes::open(place.path()).expect("opened again");
        assert_eq!(volumes.list(), [made]);
        assert!(!place.path().join(".half").exists());
        let taken = volumes.take("data").expect("taken");
        assert!(volumes.ensure("data", &labels, false).expect("made again").1);
        assert_eq!(taken.erase().expect("erased"), 5);
        assert_eq!(volumes.remove("data").expect("removed"), 0);
        assert!(matches!(volumes.remove("data"), Err(Failure::NoSuchVolume(_))));
        assert_eq!(fs::read_dir(place.path()).expect("a list").count(), 0);
    }
}
