//! Who this member is: the file `member` of a data directory, which also names the version of the directory's layout.

use crate::disk::error::{DiskError, corrupt};
use crate::disk::files;
use crate::disk::sheet::{self, Sheet};
use std::path::Path;

/// How a data directory is laid out. Another number is refused.
const LAYOUT_VERSION: u64 = 1;

const NAME: &str = "berth-data";

/// Who this member is; made at random at the first start, the same ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// This member; not 0.
    pub(crate) member: u64,
    /// Its cluster; not 0.
    pub(crate) cluster: u64,
}

impl Identity {
    /// What the file says; none when it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Identity>, DiskError> {
        if !path.exists() {
            return Ok(None);
        }
        let lines = sheet::read(path, NAME, LAYOUT_VERSION)?;
        let number = |word: &str| {
            let line = lines.iter().find(|(found, _)| found == word);
            line.and_then(|(_, hex)| u64::from_str_radix(hex, 16).ok())
                .filter(|number| *number != 0)
                .ok_or_else(|| corrupt(path, 0, "a number is missing"))
        };
        Ok(Some(Identity {
            member: number("member")?,
            cluster: number("cluster")?,
        }))
    }

    /// A new one, durable.
    pub(super) fn create(path: &Path) -> Result<Identity, DiskError> {
        let identity = Identity {
            member: files::random()?,
            cluster: files::random()?,
        };
        Sheet::new(NAME, LAYOUT_VERSION)
            .line("member", format_args!("{:016x}", identity.member))
            .line("cluster", format_args!("{:016x}", identity.cluster))
            .write(path)?;
        Ok(identity)
    }
}
