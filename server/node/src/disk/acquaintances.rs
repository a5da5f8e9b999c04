//! The other members that were ever met, and which data directory each had: the file `acquaintances`.
//!
//! A member votes and acknowledges by what its data directory holds. One that comes back with an empty directory under its old
//! name does not know what it promised, so whoever met it before must not listen to it any more.

use crate::disk::error::DiskError;
use crate::disk::sheet::{self, Sheet};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const NAME: &str = "berth-acquaintances";

/// How the file is laid out. Another number is refused.
const VERSION: u64 = 1;

/// More members than any cluster ever has; no further ones are met.
const MAX_MET: usize = 4_096;

/// Who was met.
#[derive(Debug)]
pub(crate) struct Acquaintances {
    path: PathBuf,
    /// The birth of each by its id.
    met: Mutex<BTreeMap<u64, u64>>,
}

impl Acquaintances {
    pub(super) fn open(path: &Path) -> Result<Acquaintances, DiskError> {
        let mut met = BTreeMap::new();
        if path.exists() {
            for (_, line) in sheet::read(path, NAME, VERSION)? {
                let numbers = line.split_once(' ').and_then(|(id, birth)| {
                    let number = |hex| u64::from_str_radix(hex, 16).ok();
                    Some((number(id)?, number(birth)?))
                });
                met.extend(numbers);
            }
        }
        Ok(Acquaintances {
            path: path.to_path_buf(),
            met: Mutex::new(met),
        })
    }

    /// Whether this is the one that is known, or the first of its name; it is known durably then. Blocks in that case.
    pub(crate) fn meet(&self, id: u64, birth: u64) -> Result<bool, DiskError> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = met.get(&id) {
            return Ok(*known == birth);
        }
        if met.len() >= MAX_MET {
            return Ok(false);
        }
        let mut sheet = Sheet::new(NAME, VERSION);
        for (id, birth) in met.iter().chain([(&id, &birth)]) {
            sheet = sheet.line("met", format_args!("{id:016x} {birth:016x}"));
        }
        sheet.write(&self.path)?;
        met.insert(id, birth);
        Ok(true)
    }
}
