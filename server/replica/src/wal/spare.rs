//! A segment to go on in: full of zeros but for its header, durable, under its name.

use crate::wal::files::Files;
use crate::wal::segment;
use std::path::Path;

/// The name under which a segment is filled; it gets its own name when it is whole and durable.
pub const DRAFT: &str = "prepare.tmp";

/// A segment to go on in.
#[derive(Debug)]
pub struct Spare<F> {
    /// Its number, which is its name.
    pub number: u64,
    /// The file.
    pub file: F,
    /// What the checksums of its records begin with.
    pub seed: u32,
}

/// Makes a segment. What a failure leaves goes at once, for it may hold the very space that is missing.
pub fn make<F: Files>(files: &F, dir: &Path, number: u64, bytes: u64) -> Result<Spare<F::File>, F::Error> {
    let draft = dir.join(DRAFT);
    let made = fill(files, dir, number, bytes, &draft);
    if made.is_err() {
        files.remove(&draft)?;
    }
    made
}

fn fill<F: Files>(
    files: &F,
    dir: &Path,
    number: u64,
    bytes: u64,
    draft: &Path,
) -> Result<Spare<F::File>, F::Error> {
    let header = segment::header(number, files.salt()?);
    let file = files.create(draft)?;
    files.write_zeros(&file, draft, 0, bytes)?;
    files.write(&file, draft, &header, 0)?;
    files.sync_all(&file, draft)?;
    files.rename(draft, &segment::path(dir, number))?;
    files.sync_dir(dir)?;
    Ok(Spare {
        number,
        file,
        seed: segment::seed(&header),
    })
}
