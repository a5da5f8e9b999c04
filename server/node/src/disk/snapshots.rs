//! Images of the state on disk. Each is a generation: a directory with a sled database and a manifest, built under another
//! name, made durable, renamed, and from then on only read. The newest two are kept.

use crate::disk::error::{DiskError, corrupt, failed};
use crate::disk::files;
use crate::disk::sheet::{self, Sheet};
use berth_replica::wal::{Generations, Images, Position};
use berth_replica::{Roster, SnapshotMark};
use berth_store::{Restorer, Store};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a generation is laid out. Another number is refused.
const GENERATION_VERSION: u64 = 1;

const NAME: &str = "berth-snapshot";

/// A database that was closed stays locked until sled's own threads have let go of it, which takes its time on a busy machine.
/// Nobody else opens one. After that time the image counts as not saved.
const LOCK_TIME: Duration = Duration::from_secs(20);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// sled's cache while an image is written or read front to back: nothing is read twice, so it only has to hold the
/// pages being filled.
const CACHE_BYTES: u64 = 8 << 20;

/// What a database takes per byte of its image, and beside that, at most (measured: 1.8 for large images, 2 MiB for small).
const DATABASE_FACTOR: u64 = 3;
const DATABASE_BYTES: u64 = 4 << 20;

/// A handle for the thread that writes images.
#[derive(Clone, Debug)]
pub(crate) struct Snapshots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// One image at a time.
    saving: Mutex<()>,
    /// The published generations.
    kept: Mutex<Generations>,
}

impl Snapshots {
    /// Looks at what is there, after removing what was never finished.
    pub(super) fn open(dir: &Path) -> Result<Snapshots, DiskError> {
        let mut kept = Vec::new();
        for path in files::list(dir)? {
            if path.extension().is_some_and(|end| end == "tmp") {
                files::remove_tree(&path)?;
            } else {
                kept.extend(position(&path));
            }
        }
        Ok(Snapshots {
            inner: Arc::new(Inner {
                dir: dir.to_path_buf(),
                saving: Mutex::new(()),
                kept: Mutex::new(Generations::new(kept)),
            }),
        })
    }

    /// Writes an image; it is durable when this returns. Blocks, for seconds if the image is large.
    pub(crate) fn save(&self, mark: &SnapshotMark, store: &Store) -> Result<(), DiskError> {
        let _one = locked(&self.inner.saving);
        let position = (mark.index, mark.term);
        if locked(&self.inner.kept).contains(position) {
            return Ok(());
        }
        let path = self.path(position);
        let draft = path.with_extension("tmp");
        files::remove_tree(&draft)?;
        let built = build(&draft, mark, store);
        if built.is_err() {
            // It holds space that may be what is missing; what cannot be removed now goes at the next start.
            files::remove_tree(&draft)?;
        }
        built?;
        fs::rename(&draft, &path).map_err(failed(&path, "name"))?;
        files::sync_dir(&self.inner.dir)?;
        let retired = locked(&self.inner.kept).publish(position);
        for position in retired {
            self.retire(position);
        }
        Ok(())
    }

    /// The log is needed from this index on.
    pub(super) fn keep_from(&self) -> u64 {
        locked(&self.inner.kept).keep_from()
    }

    /// Removes a generation. What a crash leaves of it is recognised by its name at the next start.
    fn retire(&self, position: Position) {
        let path = self.path(position);
        let away = path.with_extension("tmp");
        let renamed = fs::rename(&path, &away).map_err(failed(&path, "name"));
        if let Err(error) = renamed.and_then(|()| files::remove_tree(&away)) {
            tracing::warn!(error = &error as &dyn std::error::Error, "an old image stays");
        }
    }

    fn path(&self, position: Position) -> PathBuf {
        self.inner.dir.join(Generations::name(position))
    }
}

impl Images for Snapshots {
    type Error = DiskError;

    fn newest_first(&self) -> Vec<Position> {
        locked(&self.inner.kept).newest_first()
    }

    fn load(&self, position: Position) -> Result<(SnapshotMark, Store), DiskError> {
        load(&self.path(position), position)
    }

    /// One such is kept.
    fn put_aside(&self, position: Position) -> Result<(), DiskError> {
        let path = self.path(position);
        for old in files::list(&self.inner.dir)? {
            if old.extension().is_some_and(|end| end == "damaged") {
                files::remove_tree(&old)?;
            }
        }
        let aside = path.with_extension("damaged");
        fs::rename(&path, &aside).map_err(failed(&path, "put aside"))?;
        files::sync_dir(&self.inner.dir)?;
        locked(&self.inner.kept).forget(position);
        Ok(())
    }

    fn is_final(error: &DiskError) -> bool {
        matches!(error, DiskError::Version { .. })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The place in a generation's name; none for other files.
fn position(path: &Path) -> Option<Position> {
    Generations::position(path.file_name()?.to_str()?)
}

fn manifest(generation: &Path) -> PathBuf {
    generation.join("manifest")
}

fn database(generation: &Path) -> PathBuf {
    generation.join("image")
}

fn open_database(path: &Path) -> Result<sled::Db, DiskError> {
    let config = sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        .flush_every_ms(None)
        .mode(sled::Mode::LowSpace);
    let end = Instant::now() + LOCK_TIME;
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_locked(&error) && Instant::now() < end => {
                std::thread::sleep(LOCK_PAUSE);
            }
            opened => return opened.map_err(engine(path)),
        }
    }
}

/// sled says it in words only.
fn is_locked(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

fn engine(path: &Path) -> impl Fn(sled::Error) -> DiskError {
    move |source| DiskError::Engine {
        path: path.to_path_buf(),
        source,
    }
}

/// Builds a generation, durable but for its name.
fn build(generation: &Path, mark: &SnapshotMark, store: &Store) -> Result<(), DiskError> {
    let image = database(generation);
    files::make_dir(generation)?;
    // sled does not get by with a full disk, so it is not let near one.
    let bytes: u64 = store.chunks().map(|(_, chunk)| chunk.len() as u64).sum();
    if files::free_bytes(generation)? < bytes * DATABASE_FACTOR + DATABASE_BYTES {
        return Err(DiskError::NoRoom { path: image });
    }
    {
        let db = open_database(&image)?;
        for (number, chunk) in store.chunks() {
            db.insert(number, chunk).map_err(engine(&image))?;
        }
        db.flush().map_err(engine(&image))?;
    }
    // Opening it again proves that it can be read, and lets sled write now the files that it makes at a first opening:
    // from then on its files do not change, and their checksums hold.
    let read = read_image(&image)?;
    if read.digest() != store.digest() {
        return Err(corrupt(&image, 0, "the image is not the state it was made from"));
    }
    files::sync_tree(generation)?;
    let mut sheet = Sheet::new(NAME, GENERATION_VERSION)
        .line("index", mark.index)
        .line("term", mark.term)
        .line("digest", format_args!("{:016x}", store.digest()));
    for voter in &mark.voters {
        sheet = sheet.line("voter", voter);
    }
    if !mark.roster.is_empty() {
        let roster: String = mark
            .roster
            .encode()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        sheet = sheet.line("roster", roster);
    }
    for (name, (length, crc)) in checksums(&image)? {
        sheet = sheet.line("file", format_args!("{length} {crc:08x} {name}"));
    }
    sheet.write(&manifest(generation))
}

fn read_image(image: &Path) -> Result<Store, DiskError> {
    let unreadable = |source| DiskError::Image {
        path: image.to_path_buf(),
        source,
    };
    let db = open_database(image)?;
    let mut restorer = Restorer::new();
    for item in &*db {
        let (number, chunk) = item.map_err(engine(image))?;
        restorer.push(&number, &chunk).map_err(unreadable)?;
    }
    restorer.finish().map_err(unreadable)
}

/// Length and checksum of every file of a database, by its name in there.
fn checksums(image: &Path) -> Result<BTreeMap<String, (u64, u32)>, DiskError> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![image.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for path in files::list(&dir)? {
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.strip_prefix(image).ok().and_then(Path::to_str);
            let name = name.ok_or_else(|| corrupt(&path, 0, "not a file of a database"))?;
            found.insert(name.to_owned(), files::checksum(&path)?);
        }
    }
    Ok(found)
}

#[derive(Debug, Default)]
struct Manifest {
    mark: SnapshotMark,
    digest: u64,
    files: BTreeMap<String, (u64, u32)>,
}

fn read_manifest(path: &Path) -> Result<Manifest, DiskError> {
    let mut manifest = Manifest::default();
    for (word, rest) in sheet::read(path, NAME, GENERATION_VERSION)? {
        let read = match word.as_str() {
            "index" => rest.parse().map(|index| manifest.mark.index = index).ok(),
            "term" => rest.parse().map(|term| manifest.mark.term = term).ok(),
            "voter" => rest.parse().map(|voter| manifest.mark.voters.push(voter)).ok(),
            // Images of earlier versions have none.
            "roster" => read_roster(&rest).map(|roster| manifest.mark.roster = roster),
            "digest" => u64::from_str_radix(&rest, 16)
                .map(|digest| manifest.digest = digest)
                .ok(),
            "file" => read_file_line(&rest).map(|(name, sums)| {
                manifest.files.insert(name, sums);
            }),
            _ => None,
        };
        read.ok_or_else(|| corrupt(path, 0, "a line of the manifest cannot be read"))?;
    }
    Ok(manifest)
}

fn read_roster(line: &str) -> Option<Roster> {
    let digits = line.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    Roster::decode(&bytes.collect::<Option<Vec<u8>>>()?).ok()
}

fn read_file_line(line: &str) -> Option<(String, (u64, u32))> {
    let mut words = line.splitn(3, ' ');
    let length = words.next()?.parse().ok()?;
    let crc = u32::from_str_radix(words.next()?, 16).ok()?;
    let name = words.next()?;
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    inside.then(|| (name.to_owned(), (length, crc)))
}

/// Reads a generation. Its files are compared with the manifest before sled sees them: damaged ones can make it panic,
/// and a left-over `*.generating` file is taken by it for the newest of its own.
fn load(generation: &Path, position: Position) -> Result<(SnapshotMark, Store), DiskError> {
    let manifest = read_manifest(&manifest(generation))?;
    if (manifest.mark.index, manifest.mark.term) != position {
        return Err(corrupt(
            generation,
            0,
            "the manifest is not the one of this image",
        ));
    }
    let image = database(generation);
    let mut found = checksums(&image)?;
    let extra: Vec<String> = found
        .keys()
        .filter(|name| !manifest.files.contains_key(*name))
        .cloned()
        .collect();
    for name in extra {
        files::remove_file(&image.join(&name))?;
        found.remove(&name);
    }
    if found != manifest.files {
        return Err(corrupt(&image, 0, "the checksums of its files do not match"));
    }
    let store = read_image(&image)?;
    if store.digest() != manifest.digest {
        return Err(corrupt(&image, 0, "the image is not the state it was made from"));
    }
    Ok((manifest.mark, store))
}

#[cfg(test)]
mod tests {
    use super::{database, open_database};
    use std::time::Duration;

    #[test]
    fn a_database_that_is_being_closed_is_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = database(dir.path());
        let open = open_database(&path).expect("a database");
        let closing = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(open);
        });
        assert!(open_database(&path).is_ok());
        closing.join().expect("a thread");
    }
}
