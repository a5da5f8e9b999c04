//! Segments and data directories of any bytes: never a panic, never a record that was not written at its place.

use super::*;
use crate::mutate::{Mutator, Naming, Noise, ROUNDS, corpus, rounds};
use berth_replica::encode_entry;
use berth_replica::wal::{self, HEADER_BYTES, Kind, Place, Record, Replay, SEGMENT_HEADER, WalError};

/// Data directories that are damaged and opened; each costs some file system calls.
const DIRECTORIES: u64 = 400;

/// What a record says, without its place.
type Said = (Kind, u64, u64, Vec<u8>);

fn said(record: &Record) -> Said {
    (record.kind, record.index, record.term, record.data.clone())
}

fn entry_record(entry: &Entry) -> Record {
    Record {
        kind: Kind::Entry,
        index: entry.index,
        term: entry.term,
        data: encode_entry(entry),
    }
}

/// Batches of a segment: entries that replace others, a mark, hard states, a seal if there is to be one.
fn batches(sealed: bool) -> Vec<Vec<Record>> {
    let of = |entries: Vec<Entry>| entries.iter().map(entry_record).collect::<Vec<_>>();
    let mut batches = vec![
        vec![Record::hard_state(&hard_state(1, 2, 0))],
        of(entries(1..=3, 1)),
    ];
    batches.push(vec![
        entry_record(&entry(4, 1, b"")),
        Record::hard_state(&hard_state(2, 0, 3)),
    ]);
    batches.push(of(entries(3..=5, 2)));
    batches.push(vec![
        Record::mark(&mark(9, 3)),
        entry_record(&entry(10, 3, b"after the mark")),
    ]);
    batches.extend(sealed.then(|| vec![Record::seal()]));
    batches
}

/// The bytes of a segment in which each batch was durable before the next.
fn segment_of(salt: u64, batches: &[Vec<Record>], zeros: usize) -> Vec<u8> {
    let mut bytes = wal::header(1, salt).to_vec();
    let seed = wal::seed(&bytes);
    for batch in batches {
        let synced = u32::try_from(bytes.len()).unwrap();
        for (number, record) in batch.iter().enumerate() {
            let place = Place {
                seed,
                offset: u32::try_from(bytes.len()).unwrap(),
                synced,
                last: number + 1 == batch.len(),
            };
            wal::write_record(&mut bytes, record, &place);
        }
    }
    bytes.resize(bytes.len() + zeros, 0);
    bytes
}

/// All that is read of a segment, and what it amounts to.
fn scan(bytes: &[u8]) -> Result<(Vec<Said>, Replay), WalError> {
    let path = Path::new("segment");
    let seed = wal::check_header(path, 1, bytes)?;
    let scan = wal::scan(path, seed, bytes)?;
    let mut replay = Replay::default();
    for found in &scan.records {
        replay.take(path, found)?;
    }
    let records = scan.records.iter();
    let said = records.map(|found| (found.kind, found.index, found.term, found.data.to_vec()));
    Ok((said.collect(), replay))
}

/// Segments by their headers, with what was written to them.
fn written() -> Vec<(Vec<u8>, Vec<Said>)> {
    [(7, false, 64), (8, true, 0), (9, true, 40)]
        .map(|(salt, sealed, zeros)| {
            let batches = batches(sealed);
            let records = batches.iter().flatten().map(said).collect();
            (segment_of(salt, &batches, zeros), records)
        })
        .to_vec()
}

#[test]
fn kept_segments_still_read() {
    for (name, bytes) in corpus("segment") {
        let read = scan(&bytes);
        assert_eq!(read.is_err(), name.starts_with("bad"), "{name}: {read:?}");
        if let Ok((found, _)) = read {
            let known = written()
                .into_iter()
                .find(|(segment, _)| segment[..SEGMENT_HEADER] == bytes[..SEGMENT_HEADER]);
            let (_, records) = known.unwrap_or_else(|| panic!("{name} is no segment that is known"));
            let torn = name.starts_with("torn");
            assert!(
                records.starts_with(&found) && torn == (found.len() < records.len()),
                "{name}"
            );
        }
    }
}

#[test]
fn no_bytes_make_a_record_that_was_not_written() {
    let known = written();
    let seeds = known.iter().map(|(bytes, _)| bytes.clone()).collect();
    let words: &[&[u8]] = &[b"BERTHLOG", &[0; 8], &[0xff; 4], &[1, 0, 0, 0], &[0; 64]];
    let mut inputs = Mutator::new("segment", seeds, words, 4 << 10);
    let (mut whole, mut shorter) = (0, 0);
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let Ok((found, replay)) = scan(&input) else {
            continue;
        };
        let mut same = known
            .iter()
            .filter(|(bytes, _)| bytes[..SEGMENT_HEADER] == input[..SEGMENT_HEADER]);
        let (_, records) = same.next().expect("a header that nobody wrote was taken");
        assert!(records.starts_with(&found), "{found:?}");
        assert!(
            replay
                .entries
                .windows(2)
                .all(|pair| pair[0].index + 1 == pair[1].index)
        );
        if found.len() == records.len() {
            whole += 1;
        } else {
            shorter += 1;
        }
    }
    println!("{whole} whole, {shorter} taken for cut off");
    assert!(whole > 0 && shorter > 0);
}

/// Makes both checksums of the record at a place right again.
fn reseal(bytes: &mut [u8], seed: u32, at: usize, length: usize) {
    let place = u32::try_from(at).unwrap().to_le_bytes();
    let head = crc32c::crc32c_append(seed, &place);
    let data = crc32c::crc32c_append(head, &bytes[at + HEADER_BYTES..at + length]);
    bytes[at + 4..at + 8].copy_from_slice(&data.to_le_bytes());
    let crc = crc32c::crc32c_append(head, &bytes[at + 4..at + HEADER_BYTES]);
    bytes[at..at + 4].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn records_with_right_checksums_and_wrong_contents_do_no_harm() {
    let batches = batches(false);
    let whole = segment_of(7, &batches, 64);
    let seed = wal::seed(&whole[..SEGMENT_HEADER]);
    let mut places = Vec::new();
    let mut at = SEGMENT_HEADER;
    for record in batches.iter().flatten() {
        places.push((at, record.stored()));
        at += record.stored();
    }
    let mut noise = Noise::new("resealed records");
    let mut taken = 0;
    for round in 0..rounds(ROUNDS) {
        let mut input = whole.clone();
        for _ in 0..=noise.below(2) {
            let (at, length) = *noise.pick(&places);
            for _ in 0..=noise.below(2) {
                let spot = at + 8 + noise.below(length - 8);
                match noise.below(3) {
                    0 => input[spot] = noise.byte(),
                    1 => input[spot] ^= 1 << noise.below(8),
                    _ => {
                        let number = noise.edge().to_le_bytes();
                        let field = at + 8 + 4 * noise.below(7);
                        input[field..field + 4].copy_from_slice(&number[..4]);
                    }
                }
            }
            reseal(&mut input, seed, at, length);
        }
        let _naming = Naming { round, input: &input };
        if let Ok((_, mut replay)) = scan(&input) {
            taken += 1;
            assert!(
                replay
                    .entries
                    .windows(2)
                    .all(|pair| pair[0].index + 1 == pair[1].index)
            );
            let image = mark(noise.next() % 12, noise.next() % 4);
            // Whether it fits is the answer; that there is one is what counts here.
            drop(replay.after(Some(&image).filter(|_| noise.once_in(2))));
        }
    }
    assert!(taken > rounds(ROUNDS) / 100, "only {taken} were taken");
}

fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(all_files(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Damages one file in one way; gives what it was before.
fn damage(noise: &mut Noise, files: &[PathBuf]) -> (PathBuf, Vec<u8>) {
    let path = noise.pick(files).clone();
    let before = fs::read(&path).unwrap();
    let mut bytes = before.clone();
    match noise.below(5) {
        0 => bytes.truncate(noise.below(bytes.len() + 1)),
        1 => bytes.extend((0..noise.below(100)).map(|_| noise.byte())),
        2 if !bytes.is_empty() => {
            let at = noise.below(bytes.len());
            bytes[at..].fill(0);
        }
        _ if !bytes.is_empty() => {
            for _ in 0..=noise.below(3) {
                // Most of a segment is zeros behind its records.
                let at = noise.below(bytes.len().min(700));
                bytes[at] ^= 1 << noise.below(8);
            }
        }
        _ => bytes.push(noise.byte()),
    }
    fs::write(&path, bytes).unwrap();
    (path, before)
}

#[test]
fn a_damaged_directory_is_refused_or_opens_with_what_was_written() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        for index in 1..=60 {
            persist(disk, entries(index..=index, 1 + index / 30));
        }
    });
    let expected = scratch.recovered().entries;
    let files = all_files(&scratch.data());
    assert!(files.len() > 3, "{files:?}");
    let mut noise = Noise::new("directories");
    let (mut refused, mut opened) = (0, 0);
    for round in 0..rounds(DIRECTORIES).min(10 * DIRECTORIES) {
        let kept: Vec<_> = files
            .iter()
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect();
        let (path, _) = damage(&mut noise, &files);
        match scratch.try_open() {
            Ok(found) => {
                opened += 1;
                let entries = &found.recovered.entries;
                assert!(expected.starts_with(entries), "round {round}: {}", path.display());
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
        for path in all_files(&scratch.data()) {
            fs::remove_file(path).unwrap();
        }
        for (path, bytes) in kept {
            fs::write(path, bytes).unwrap();
        }
    }
    println!("{refused} refused, {opened} opened");
    assert!(refused > 0 && opened > 0);
    assert_eq!(scratch.recovered().entries, expected);
}
