//! Small text files that guard themselves: a first line with name and version, lines, and a last line with a checksum.

use crate::disk::error::{DiskError, corrupt};
use crate::disk::files;
use std::fmt::Display;
use std::path::Path;

/// The largest sheet that is read: the files of an image are few and the members of a cluster too, so this is far above
/// what is written.
const MAX_SHEET_BYTES: u64 = 2 << 20;

/// A sheet being written.
pub(super) struct Sheet {
    text: String,
}

impl Sheet {
    pub(super) fn new(name: &str, version: u64) -> Sheet {
        Sheet {
            text: format!("{name} {version}\n"),
        }
    }

    pub(super) fn line(mut self, word: &str, rest: impl Display) -> Sheet {
        self.text.push_str(&format!("{word} {rest}\n"));
        self
    }

    /// Writes it durably, whole or not at all.
    pub(super) fn write(self, path: &Path) -> Result<(), DiskError> {
        let crc = crc32c::crc32c(self.text.as_bytes());
        files::write_whole(path, format!("{}crc {crc:08x}\n", self.text).as_bytes())
    }
}

/// The lines of a sheet between the first and the last, as word and rest. An unknown version is told from damage.
pub(super) fn read(path: &Path, name: &str, version: u64) -> Result<Vec<(String, String)>, DiskError> {
    let bytes = files::read_whole(path, MAX_SHEET_BYTES)?;
    let damaged = |reason| corrupt(path, 0, reason);
    let text = String::from_utf8(bytes).map_err(|_| damaged("not text"))?;
    let first = text.lines().next().and_then(|line| line.split_once(' '));
    let found = match first {
        Some((found, number)) if found == name => number.parse().map_err(|_| damaged("no version"))?,
        Some(_) | None => return Err(damaged("not a file of this kind")),
    };
    if found != version {
        return Err(DiskError::Version {
            path: path.to_path_buf(),
            found,
            known: version,
        });
    }
    let end = text.rfind("crc ").ok_or_else(|| damaged("no checksum"))?;
    if text[end..] != format!("crc {:08x}\n", crc32c::crc32c(&text.as_bytes()[..end])) {
        return Err(damaged("the checksum does not match"));
    }
    let lines = text[..end].lines().skip(1).map(|line| {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        (word.to_owned(), rest.to_owned())
    });
    Ok(lines.collect())
}
