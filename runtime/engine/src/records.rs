//! The containers and networks on disk: one JSON document each in a sled tree, and a version file that guards their shape.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::container::Container;
use crate::error::RecordError;
use crate::networks::Network;

/// The shape of the records. A berth that meets another number refuses to start.
const VERSION: u32 = 1;

/// The file that says it: text, so that a person and any later berth can read it.
const VERSION_FILE: &str = "version";

/// The open database.
#[derive(Debug)]
pub(crate) struct Records {
    database: sled::Db,
    containers: sled::Tree,
    networks: sled::Tree,
}

impl Records {
    /// Opens or makes the database in the engine's data directory.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, RecordError> {
        check_version(&data_dir.join(VERSION_FILE))?;
        let database = sled::Config::new()
            .path(data_dir.join("records"))
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

    /// All containers, oldest first.
    pub(crate) fn load(&self) -> Result<Vec<Container>, RecordError> {
        let mut containers = Vec::new();
        for entry in &self.containers {
            let (key, value) = entry?;
            let container: Container =
                serde_json::from_slice(&value).map_err(|source| RecordError::Unreadable {
                    id: String::from_utf8_lossy(&key).into_owned(),
                    source,
                })?;
            containers.push(container);
        }
        containers.sort_by(|one, other| {
            one.created
                .cmp(&other.created)
                .then_with(|| one.id.cmp(&other.id))
        });
        Ok(containers)
    }

    /// Writes a container; it survives the death of the daemon when this returns.
    pub(crate) fn save(&self, container: &Container) -> Result<(), RecordError> {
        let document = serde_json::to_vec(container).map_err(|source| RecordError::Unreadable {
            id: container.id.clone(),
            source,
        })?;
        self.containers.insert(container.id.as_bytes(), document)?;
        self.database.flush()?;
        Ok(())
    }

    /// All networks that users made.
    pub(crate) fn load_networks(&self) -> Result<Vec<Network>, RecordError> {
        let read = |entry: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = entry?;
            serde_json::from_slice(&value).map_err(|source| RecordError::UnreadableNetwork {
                id: String::from_utf8_lossy(&key).into_owned(),
                source,
            })
        };
        self.networks.iter().map(read).collect()
    }

    /// Writes a network; it survives the death of the daemon when this returns.
    pub(crate) fn save_network(&self, network: &Network) -> Result<(), RecordError> {
        let document = serde_json::to_vec(network).map_err(|source| RecordError::UnreadableNetwork {
            id: network.id.clone(),
            source,
        })?;
        self.networks.insert(network.id.as_bytes(), document)?;
        self.database.flush()?;
        Ok(())
    }

    /// Forgets a network.
    pub(crate) fn remove_network(&self, id: &str) -> Result<(), RecordError> {
        self.networks.remove(id.as_bytes())?;
        self.database.flush()?;
        Ok(())
    }

    /// Forgets a container.
    pub(crate) fn remove(&self, id: &str) -> Result<(), RecordError> {
        self.containers.remove(id.as_bytes())?;
        self.database.flush()?;
        Ok(())
    }
}

/// Refuses a directory of another version; marks a new one.
fn check_version(path: &Path) -> Result<(), RecordError> {
    let failed = |source| RecordError::VersionFile {
        path: path.to_owned(),
        source,
    };
    match fs::read_to_string(path) {
        Ok(found) if found.trim() == VERSION.to_string() => Ok(()),
        Ok(found) => Err(RecordError::Version {
            found: found.trim().chars().take(SHOWN_VERSION).collect(),
            known: VERSION,
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let unfinished = path.with_extension("new");
            let mut file = fs::File::create(&unfinished).map_err(failed)?;
            writeln!(file, "{VERSION}").map_err(failed)?;
            file.sync_all().map_err(failed)?;
            fs::rename(&unfinished, path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// Characters of an unknown version that a message shows.
const SHOWN_VERSION: usize = 32;

/// Memory for sled's pages: records are small and read only at start.
const CACHE: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_version_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(Records::open(directory.path()).expect("opened"));
        fs::write(directory.path().join(VERSION_FILE), "7\n").expect("written");
        let error = Records::open(directory.path()).expect_err("refused");
        assert_eq!(
            error.to_string(),
            "container records have version 7, this berth knows version 1"
        );
    }

    #[test]
    fn an_unreadable_record_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let records = Records::open(directory.path()).expect("opened");
        records.containers.insert("abc", "{").expect("written");
        let error = records.load().expect_err("refused");
        assert_eq!(error.to_string(), "record of container abc cannot be read");
    }
}
