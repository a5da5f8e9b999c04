//! The containers and networks on disk: one JSON document each in a sled tree, and a version file that guards their shape.

mod database;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::container::Container;
use crate::error::RecordError;
use crate::networks::Network;
use database::{Database, Kind};

/// The shape of the records. A berth that meets another number refuses to start.
const VERSION: u32 = 1;

/// The file that says it: text, so that a person and any later berth can read it.
const VERSION_FILE: &str = "version";

/// The records. What they are is written when a call returns; the death of the daemon does not take it away.
#[derive(Debug)]
pub(crate) struct Records {
    database: Database,
}

impl Records {
    /// Takes or makes them in the engine's data directory.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, RecordError> {
        check_version(&data_dir.join(VERSION_FILE))?;
        let database = Database::open(data_dir)?;
        Ok(Self { database })
    }

    /// All containers, oldest first.
    pub(crate) fn load(&self) -> Result<Vec<Container>, RecordError> {
        let mut containers = Vec::new();
        for (id, value) in self.database.all(Kind::Container)? {
            let read = serde_json::from_slice(&value);
            let container: Container = read.map_err(|source| RecordError::Unreadable {
                id: text(&id),
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

    /// Writes a container that something has happened to. What cannot be written now is written with the next record.
    pub(crate) fn save(&mut self, container: &Container) -> Result<(), RecordError> {
        let document = document_of(container)?;
        self.database
            .record(Kind::Container, &container.id, Some(document))
    }

    /// Writes a container before something happens to it. After a failure nothing may.
    pub(crate) fn offer(&mut self, container: &Container) -> Result<(), RecordError> {
        let document = document_of(container)?;
        self.database.offer(Kind::Container, &container.id, document)
    }

    /// All networks that users made.
    pub(crate) fn load_networks(&self) -> Result<Vec<Network>, RecordError> {
        let read = |(id, value): (sled::IVec, sled::IVec)| {
            serde_json::from_slice(&value).map_err(|source| RecordError::UnreadableNetwork {
                id: text(&id),
                source,
            })
        };
        let all = self.database.all(Kind::Network)?;
        all.into_iter().map(read).collect()
    }

    /// Writes a network before it is made. After a failure it may not be.
    pub(crate) fn save_network(&mut self, network: &Network) -> Result<(), RecordError> {
        let document = serde_json::to_vec(network).map_err(|source| RecordError::UnreadableNetwork {
            id: network.id.clone(),
            source,
        })?;
        self.database.offer(Kind::Network, &network.id, document)
    }

    /// Forgets a network.
    pub(crate) fn remove_network(&mut self, id: &str) -> Result<(), RecordError> {
        self.database.record(Kind::Network, id, None)
    }

    /// Forgets a container.
    pub(crate) fn remove(&mut self, id: &str) -> Result<(), RecordError> {
        self.database.record(Kind::Container, id, None)
    }
}

fn text(id: &[u8]) -> String {
    String::from_utf8_lossy(id).into_owned()
}

fn document_of(container: &Container) -> Result<Vec<u8>, RecordError> {
    serde_json::to_vec(container).map_err(|source| RecordError::Unreadable {
        id: container.id.clone(),
        source,
    })
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
        let mut records = Records::open(directory.path()).expect("opened");
        let broken = Some(b"{".to_vec());
        records
            .database
            .record(Kind::Container, "abc", broken)
            .expect("written");
        let error = records.load().expect_err("refused");
        assert_eq!(error.to_string(), "record of container abc cannot be read");
    }
}
