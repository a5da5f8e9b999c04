//! What this engine has written into the store, kept in a file over its restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// The version of the file's format.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Document {
    version: u32,
    keys: BTreeMap<String, String>,
}

/// Keys written here, and their values.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    path: PathBuf,
    keys: BTreeMap<String, String>,
    /// Written without an answer: to be written again.
    doubtful: BTreeSet<String>,
}

impl Book {
    /// Opens the book at `path`; there is none before the first key.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let keys = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
            Ok(bytes) => {
                let document: Document =
                    serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
                if document.version != VERSION {
                    bail!(
                        "{}: version {} of the list of registered keys is unknown, this berth knows version {VERSION}",
                        path.display(),
                        document.version
                    );
                }
                document.keys
            }
        };
        Ok(Self {
            path: path.to_owned(),
            keys,
            doubtful: BTreeSet::new(),
        })
    }

    /// Whether `key` was written with `value`, without a doubt.
    pub(super) fn has(&self, key: &str, value: &str) -> bool {
        self.keys.get(key).is_some_and(|noted| noted == value) && !self.doubtful.contains(key)
    }

    /// What was written and is not wanted.
    pub(super) fn besides(&self, wanted: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let unwanted = self.keys.iter().filter(|(key, _)| !wanted.contains_key(*key));
        unwanted
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    pub(super) fn note(&mut self, key: &str, value: &str) {
        self.doubtful.remove(key);
        if self.keys.insert(key.to_owned(), value.to_owned()).as_deref() != Some(value) {
            self.save();
        }
    }

    pub(super) fn doubt(&mut self, key: &str) {
        self.doubtful.insert(key.to_owned());
    }

    pub(super) fn forget(&mut self, key: &str) {
        self.doubtful.remove(key);
        if self.keys.remove(key).is_some() {
            self.save();
        }
    }

    /// A list that cannot be kept costs a stale key its TTL at most, so the engine goes on.
    fn save(&self) {
        if let Err(error) = self.write() {
            tracing::warn!(path = %self.path.display(), %error, "the list of registered keys was not saved");
        }
    }

    fn write(&self) -> io::Result<()> {
        let document = Document {
            version: VERSION,
            keys: self.keys.clone(),
        };
        let next = self.path.with_extension("next");
        fs::write(&next, serde_json::to_vec_pretty(&document)?)?;
        fs::rename(&next, &self.path)
    }
}
