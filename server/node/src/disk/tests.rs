//! What the tests of the durable half share: scratch directories, short ways to write and to read back.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

mod damage;
mod full;
mod fuzz;
mod images;
mod log;

use crate::disk::{Disk, DiskError, Forming, Opened, Options};
use berth_replica::{Entry, HardState, Persist, Recovered, Roster, SnapshotMark};
use berth_store::{Key, Kind, Put, Store};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A directory that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("berth-disk-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.data().join(format!("log/{number:016x}.wal"))
    }

    fn image(&self, index: u64, term: u64) -> PathBuf {
        self.data().join(format!("snapshots/{index:016x}-{term:016x}"))
    }

    fn try_open(&self) -> Result<Opened, DiskError> {
        Disk::open_with(&self.data(), &Forming::default(), small())
    }

    fn open(&self) -> Opened {
        self.try_open().unwrap()
    }

    fn recovered(&self) -> Recovered {
        self.open().recovered
    }

    /// Writes with a disk that is closed again.
    fn fill(&self, write: impl FnOnce(&mut Disk)) {
        write(&mut self.open().disk);
    }

    /// The numbers of the segments.
    fn segments(&self) -> Vec<u64> {
        let mut numbers: Vec<u64> = names(&self.data().join("log"))
            .iter()
            .filter_map(|name| u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok())
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn small() -> Options {
    Options {
        segment_bytes: 4096,
        reserve_bytes: 0,
        room_wait: Duration::from_secs(10),
    }
}

fn entry(index: u64, term: u64, data: &[u8]) -> Entry {
    Entry {
        index,
        term,
        data: data.to_vec(),
        ..Entry::default()
    }
}

/// Entries with contents that tell them apart.
fn entries(indices: std::ops::RangeInclusive<u64>, term: u64) -> Vec<Entry> {
    indices
        .map(|index| entry(index, term, format!("entry {index} of term {term}").as_bytes()))
        .collect()
}

fn hard_state(term: u64, vote: u64, commit: u64) -> HardState {
    HardState { term, vote, commit }
}

fn batch(entries: Vec<Entry>, hard_state: Option<HardState>) -> Persist {
    Persist {
        number: 1,
        snapshot: None,
        entries,
        hard_state,
        must_sync: true,
        after: Vec::new(),
    }
}

fn persist(disk: &mut Disk, entries: Vec<Entry>) {
    disk.persist(&batch(entries, None)).unwrap();
}

fn mark(index: u64, term: u64) -> SnapshotMark {
    SnapshotMark {
        index,
        term,
        voters: vec![7, 9],
        roster: Roster::founding(&[7, 9]),
    }
}

/// A state with that many keys.
fn store(keys: u64) -> Store {
    let mut store = Store::new();
    for number in 0..keys {
        let put = Put::file(
            Key::parse(format!("/dir/{number}")).unwrap(),
            format!("value {number}").into_bytes(),
        );
        store.apply(&Kind::Set(put).into()).unwrap();
    }
    store
}

fn flip(path: &Path, offset: usize, bit: u32) {
    let mut bytes = fs::read(path).unwrap();
    bytes[offset] ^= 1 << bit;
    fs::write(path, bytes).unwrap();
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
