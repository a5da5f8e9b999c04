//! The log of a container on disk, with a bound if one is asked for.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use berth_plan::LogLimit;
use rustix::fs::OFlags;
use rustix::io::Errno;

/// The permission bits of a new log.
const MODE: u32 = 0o640;

/// The file that is written, and those before it.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    limit: Option<LogLimit>,
    /// Bytes in the file; counted only with a limit.
    size: u64,
    /// A write was cut: the next one begins a new line, so that no more than one record is lost.
    torn: bool,
}

impl LogFile {
    /// Appends to what is there.
    pub(super) fn open(path: &Path, limit: Option<LogLimit>) -> Result<Self, Errno> {
        let opened = open(path).and_then(|file| {
            let size = file.metadata()?.len();
            Ok((file, size))
        });
        let (file, size) = opened.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            limit,
            size,
            torn: false,
        })
    }

    /// Appends whole records. When the disk is full they are lost; the container goes on.
    pub(super) fn append(&mut self, records: &[u8]) {
        let Some(limit) = self.limit else {
            return self.write(records);
        };
        // A batch goes into one file as far as that has room.
        let (mut begun, mut place) = (0, 0);
        let mut taken = self.size;
        for record in records.split_inclusive(|byte| *byte == b'\n') {
            if taken >= limit.max_size {
                self.write(&records[begun..place]);
                begun = place;
                self.next_file(limit);
                taken = self.size;
            }
            place += record.len();
            taken += u64::try_from(record.len()).unwrap_or(u64::MAX);
        }
        self.write(&records[begun..]);
    }

    fn write(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        let begun = if self.torn {
            self.file.write_all(b"\n")
        } else {
            Ok(())
        };
        self.torn = begun.and_then(|()| self.file.write_all(records)).is_err();
        if self.limit.is_some() {
            self.size += u64::try_from(records.len()).unwrap_or(u64::MAX);
        }
    }

    /// The file is full. What cannot be renamed or made stays as it is: the log grows then, and nothing is lost.
    fn next_file(&mut self, limit: LogLimit) {
        if limit.max_files < 2 {
            if self.file.set_len(0).is_ok() {
                self.size = 0;
                self.torn = false;
            }
            return;
        }
        for number in (1..limit.max_files - 1).rev() {
            // Those that are not there yet are no failure.
            let _ = fs::rename(numbered(&self.path, number), numbered(&self.path, number + 1));
        }
        if fs::rename(&self.path, numbered(&self.path, 1)).is_err() {
            return;
        }
        if let Ok(file) = open(&self.path) {
            self.file = file;
            self.size = 0;
            self.torn = false;
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(MODE);
    // What is no file must not hold all others up.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    options.custom_flags(flags.bits().cast_signed()).open(path)
}

fn numbered(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(path: &Path) -> Vec<String> {
        let files = std::iter::once(path.to_owned()).chain((1..9).map(|number| numbered(path, number)));
        files.map_while(|path| fs::read_to_string(path).ok()).collect()
    }

    #[test]
    fn full_files_are_renamed_and_the_oldest_goes() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("log");
        let limit = |max_files| {
            Some(LogLimit {
                max_size: 4,
                max_files,
            })
        };
        let mut log = LogFile::open(&path, limit(3)).unwrap();
        for number in 0..7 {
            log.append(format!("{number}\n").as_bytes());
        }
        assert_eq!(contents(&path), ["6\n", "4\n5\n", "2\n3\n"]);
        // A batch over several files, after a restart.
        let mut log = LogFile::open(&path, limit(3)).unwrap();
        log.append(b"7\n8\n9\na\nb\n");
        assert_eq!(contents(&path), ["a\nb\n", "8\n9\n", "6\n7\n"]);
        let alone = place.path().join("alone");
        let mut log = LogFile::open(&alone, limit(1)).unwrap();
        log.append(b"1\n2\n3\n");
        assert_eq!(contents(&alone), ["3\n"]);
        let mut endless = LogFile::open(&place.path().join("endless"), None).unwrap();
        endless.append(b"1\n2\n3\n");
        assert_eq!(contents(&place.path().join("endless")), ["1\n2\n3\n"]);
    }
}
