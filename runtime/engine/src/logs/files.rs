//! The files of one log, oldest first: `NAME.2`, `NAME.1`, `NAME`. The keeper renames full ones while they are read.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How much of a file is searched at a time.
const BLOCK: usize = 64 * 1024;

/// Files of one log that are looked for; a log has no more.
const MAX_FILES: usize = 1001;

/// What a read came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes of the same file.
    Bytes(usize),
    /// The next bytes are another file's.
    OtherFile,
    /// There is no more at present.
    End,
}

/// The open files that are still to be read.
#[derive(Debug)]
pub(super) struct LogFiles {
    path: PathBuf,
    /// The one that is being read.
    file: File,
    /// Bytes of it that have been read.
    position: u64,
    /// Those after it.
    next: VecDeque<File>,
}

impl LogFiles {
    /// Opens all of them, at the place where the last `tail` lines begin; none when there is no log.
    pub(super) fn open(path: &Path, tail: Option<u64>) -> io::Result<Option<Self>> {
        let mut files = newest_first(path)?;
        let mut position = 0;
        if let Some(mut lines) = tail {
            for number in 0..files.len() {
                let (start, missing) = tail_start(&mut files[number], lines)?;
                if missing == 0 {
                    files.truncate(number + 1);
                    position = start;
                    break;
                }
                lines = missing;
            }
        }
        let Some(mut file) = files.pop() else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(position))?;
        for file in &mut files {
            file.rewind()?;
        }
        Ok(Some(Self {
            path: path.to_owned(),
            file,
            position,
            next: files.into_iter().rev().collect(),
        }))
    }

    /// Reads what comes next.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Piece> {
        let mut count = self.file.read(buffer)?;
        if count == 0 && self.next.is_empty() {
            if self.file.metadata()?.len() < self.position {
                // It was full, and has been emptied.
                self.file.rewind()?;
                self.position = 0;
                return Ok(Piece::OtherFile);
            }
            self.look_for_newer()?;
            if self.next.is_empty() {
                return Ok(Piece::End);
            }
            // What was written between the last read and the renaming.
            count = self.file.read(buffer)?;
        }
        if count > 0 {
            self.position += count as u64;
            return Ok(Piece::Bytes(count));
        }
        if let Some(file) = self.next.pop_front() {
            self.file = file;
            self.position = 0;
        }
        Ok(Piece::OtherFile)
    }

    /// Files that have come after the one that is read.
    fn look_for_newer(&mut self) -> io::Result<()> {
        let own = identity(&self.file)?;
        for file in newest_first(&self.path)? {
            if identity(&file)? == own {
                break;
            }
            self.next.push_front(file);
        }
        Ok(())
    }
}

fn identity(file: &File) -> io::Result<(u64, u64)> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// All that are there. One that is renamed meanwhile is met twice, and taken once.
fn newest_first(path: &Path) -> io::Result<Vec<File>> {
    let mut files: Vec<File> = Vec::new();
    let mut seen = Vec::new();
    for number in 0..MAX_FILES {
        let opened = if number == 0 {
            File::open(path)
        } else {
            let mut name = OsString::from(path);
            name.push(format!(".{number}"));
            File::open(name)
        };
        match opened {
            Ok(file) => {
                let identity = identity(&file)?;
                if !seen.contains(&identity) {
                    seen.push(identity);
                    files.push(file);
                }
            }
            // Between the renaming of the last one and the making of the next.
            Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

/// Where the last `lines` lines of a file begin, found by reading backwards, and how many lines it lacks.
fn tail_start(file: &mut File, lines: u64) -> io::Result<(u64, u64)> {
    let mut end = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok((end, 0));
    }
    // The newline that ends the last line begins none.
    let mut missing = lines.saturating_add(1);
    let mut block = vec![0u8; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let size = usize::try_from(end - start).unwrap_or(BLOCK);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block[..size])?;
        let newlines = block[..size].iter().enumerate().rev();
        for (index, _) in newlines.filter(|(_, byte)| **byte == b'\n') {
            missing -= 1;
            if missing == 0 {
                return Ok((start + index as u64 + 1, 0));
            }
        }
        end = start;
    }
    // The first line of a file has no newline before it.
    Ok((0, missing - 1))
}
