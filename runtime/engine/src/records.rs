//! The containers on disk: one JSON document each in a sled tree, and a version that guards their shape.

use std::path::Path;

use crate::container::Container;
use crate::error::RecordError;

/// The shape of the records. A berth that meets another number refuses to start.
const VERSION: u32 = 1;

const VERSION_KEY: &str = "version";

/// The open database.
#[derive(Debug)]
pub(crate) struct Records {
    database: sled::Db,
    containers: sled::Tree,
}

impl Records {
    /// Opens or makes the database.
    pub(crate) fn open(path: &Path) -> Result<Self, RecordError> {
        let database = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE)
            .flush_every_ms(None)
            .open()?;
        let known = VERSION.to_string();
        match database.get(VERSION_KEY)? {
            Some(found) if found.as_ref() == known.as_bytes() => {}
            Some(found) => {
                let found = String::from_utf8_lossy(&found).into_owned();
                return Err(RecordError::Version {
                    found,
                    known: VERSION,
                });
            }
            None => {
                database.insert(VERSION_KEY, known.as_bytes())?;
                database.flush()?;
            }
        }
        let containers = database.open_tree("containers")?;
        Ok(Self { database, containers })
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

    /// Forgets a container.
    pub(crate) fn remove(&self, id: &str) -> Result<(), RecordError> {
        self.containers.remove(id.as_bytes())?;
        self.database.flush()?;
        Ok(())
    }
}

/// Memory for sled's pages: records are small and read only at start.
const CACHE: u64 = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_version_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(Records::open(directory.path()).expect("opened"));
        let database = sled::open(directory.path()).expect("opened");
        database.insert(VERSION_KEY, "7").expect("written");
        database.flush().expect("flushed");
        drop(database);
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
