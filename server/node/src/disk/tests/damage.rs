//! The log when the disk did not keep its word, or was cut off: never an entry that was not written, never a panic.

use super::*;
use berth_replica::wal::{self, HEADER_BYTES, Kind, Place, Record, Replay, SEGMENT_HEADER, WalError};

/// Five durable batches in one segment, and where each of them ends.
fn five_batches(scratch: &Scratch) -> Vec<usize> {
    let mut ends = Vec::new();
    scratch.fill(|disk| {
        for index in 1..=5 {
            persist(disk, entries(index..=index, 1));
            ends.push(SEGMENT_HEADER + usize::try_from(disk.figures().bytes_written()).unwrap());
        }
    });
    ends
}

/// The entries in the bytes of segment 1.
fn read(bytes: &[u8]) -> Result<Vec<Entry>, WalError> {
    let path = Path::new("segment");
    let seed = wal::check_header(path, 1, bytes)?;
    let mut replay = Replay::default();
    for found in &wal::scan(path, seed, bytes)?.records {
        replay.take(path, found)?;
    }
    Ok(replay.entries)
}

fn noise(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

fn byte(number: u64) -> u8 {
    number.to_le_bytes()[3]
}

#[test]
fn a_last_write_that_was_cut_off_anywhere_is_removed() {
    let scratch = Scratch::new();
    let ends = five_batches(&scratch);
    let whole = fs::read(scratch.segment(1)).unwrap();
    for cut in ends[3]..ends[4] {
        let mut zeroed = whole.clone();
        zeroed[cut..].fill(0);
        let mut garbage = whole.clone();
        garbage[cut..ends[4]].iter_mut().for_each(|byte| *byte ^= 0x5a);
        for bytes in [zeroed, garbage, whole[..cut].to_vec()] {
            fs::write(scratch.segment(1), bytes).unwrap();
            let Opened {
                mut disk, recovered, ..
            } = scratch.open();
            // Of the last record only trailing zeros may be missing without harm.
            let harmless = whole[cut..ends[4]].iter().all(|byte| *byte == 0) && recovered.entries.len() == 5;
            let kept = if harmless { 5 } else { 4 };
            assert_eq!(recovered.entries, entries(1..=kept, 1), "cut at {cut}");
            persist(&mut disk, entries(kept + 1..=kept + 1, 2));
            drop(disk);
            let expected = [entries(1..=kept, 1), entries(kept + 1..=kept + 1, 2)].concat();
            assert_eq!(scratch.recovered().entries, expected, "after a cut at {cut}");
        }
    }
}

#[test]
fn the_end_of_a_removed_write_does_not_come_back() {
    let scratch = Scratch::new();
    let mut start = 0;
    scratch.fill(|disk| {
        persist(disk, entries(1..=1, 1));
        start = SEGMENT_HEADER + usize::try_from(disk.figures().bytes_written()).unwrap();
        persist(disk, entries(2..=4, 1));
    });
    // The first page of the last write is lost, the others reached the disk.
    flip(&scratch.segment(1), start + 3, 0);
    scratch.fill(|disk| persist(disk, entries(2..=2, 1)));
    assert_eq!(scratch.recovered().entries, entries(1..=2, 1));
}

#[test]
fn a_batch_counts_whole_or_not_at_all() {
    let scratch = Scratch::new();
    let mut end = 0;
    scratch.fill(|disk| {
        persist(disk, entries(1..=1, 1));
        disk.persist(&batch(entries(2..=4, 2), Some(hard_state(2, 8, 2))))
            .unwrap();
        end = SEGMENT_HEADER + usize::try_from(disk.figures().bytes_written()).unwrap();
    });
    flip(&scratch.segment(1), end - 1, 0);
    let recovered = scratch.recovered();
    assert_eq!(recovered.entries, entries(1..=1, 1));
    assert_eq!(recovered.hard_state, HardState::default());
}

#[test]
fn no_bit_flip_in_the_last_segment_makes_an_entry() {
    let scratch = Scratch::new();
    let ends = five_batches(&scratch);
    let whole = fs::read(scratch.segment(1)).unwrap();
    let written = entries(1..=5, 1);
    let (mut refused, mut shortened) = (0, 0);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        match read(&bytes) {
            Ok(found) => {
                assert!(written.starts_with(&found), "bit {bit}");
                if bit / 8 < ends[4] {
                    assert_eq!(
                        found.len(),
                        4,
                        "only the last batch may be taken for cut off: bit {bit}"
                    );
                    shortened += 1;
                } else {
                    assert_eq!(found.len(), 5, "bit {bit}");
                }
            }
            Err(_) => refused += 1,
        }
    }
    assert_eq!(shortened, (ends[4] - ends[3]) * 8);
    assert_eq!(refused, ends[3] * 8);
}

#[test]
fn lost_committed_entries_are_noticed() {
    let scratch = Scratch::new();
    let mut end = 0;
    scratch.fill(|disk| {
        disk.persist(&batch(entries(1..=2, 1), Some(hard_state(1, 1, 2))))
            .unwrap();
        end = SEGMENT_HEADER + usize::try_from(disk.figures().bytes_written()).unwrap();
    });
    // The state of a disk that lost the entries of a commit it kept.
    let seed = wal::seed(&fs::read(scratch.segment(1)).unwrap()[..SEGMENT_HEADER]);
    let mut bytes = fs::read(scratch.segment(1)).unwrap();
    let mut out = Vec::new();
    let place = Place {
        seed,
        offset: u32::try_from(end).unwrap(),
        synced: u32::try_from(end).unwrap(),
        last: true,
    };
    wal::write_record(&mut out, &Record::hard_state(&hard_state(1, 1, 3)), &place);
    bytes[end..end + out.len()].copy_from_slice(&out);
    fs::write(scratch.segment(1), bytes).unwrap();
    assert!(matches!(scratch.try_open(), Err(DiskError::Corrupt { .. })));
}

#[test]
fn damage_in_an_older_segment_is_refused_with_its_place() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        for index in 1..=90 {
            persist(disk, entries(index..=index, 1));
        }
    });
    let whole = fs::read(scratch.segment(1)).unwrap();
    let used = 4096 - whole.iter().rev().take_while(|byte| **byte == 0).count();
    // The seal's last field, its term, is zeros.
    let used = used.next_multiple_of(8);
    for offset in 0..used {
        let mut bytes = whole.clone();
        bytes[offset] ^= 1 << (offset % 8);
        fs::write(scratch.segment(1), bytes).unwrap();
        match scratch.try_open() {
            Err(DiskError::Corrupt {
                path, offset: found, ..
            }) => {
                assert_eq!(path, scratch.segment(1));
                assert!(found <= offset as u64, "damage at {offset}, told as {found}");
            }
            // The version in the header.
            Err(DiskError::Version { .. }) => assert!((8..12).contains(&offset)),
            other => panic!(
                "damage at {offset}: {:?}",
                other.map(|opened| opened.recovered.entries.len())
            ),
        }
    }
    let mut cut = whole.clone();
    cut.truncate(used / 2);
    fs::write(scratch.segment(1), cut).unwrap();
    assert!(matches!(scratch.try_open(), Err(DiskError::Corrupt { .. })));
    fs::write(scratch.segment(1), whole).unwrap();
    assert_eq!(scratch.recovered().entries, entries(1..=90, 1));
}

#[test]
fn missing_files_are_refused() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        for index in 1..=300 {
            persist(disk, entries(index..=index, 1));
        }
    });
    assert!(scratch.segments().len() > 3);
    for name in ["log/0000000000000001.wal", "log/0000000000000002.wal", "member"] {
        let path = scratch.data().join(name);
        let aside = scratch.0.join("aside");
        fs::rename(&path, &aside).unwrap();
        let refused = scratch.try_open().map(|opened| opened.recovered.entries.len());
        assert!(
            matches!(refused, Err(DiskError::Corrupt { .. })),
            "{name}: {refused:?}"
        );
        fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(scratch.recovered().entries.len(), 300);
    fs::remove_dir_all(scratch.data().join("log")).unwrap();
    assert!(matches!(scratch.try_open(), Err(DiskError::Corrupt { .. })));
}

#[test]
fn a_spoiled_spare_segment_is_made_anew() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=1, 1));
        wait_until("a spare segment", || scratch.segments() == [1, 2]);
    });
    for spoilt in [
        Vec::new(),
        vec![0; 4096],
        fs::read(scratch.segment(2)).unwrap()[..100].to_vec(),
    ] {
        fs::write(scratch.segment(2), spoilt).unwrap();
        assert_eq!(scratch.recovered().entries, entries(1..=1, 1));
    }
    scratch.fill(|disk| {
        for index in 2..=100 {
            persist(disk, entries(index..=index, 1));
        }
    });
    assert_eq!(scratch.recovered().entries, entries(1..=100, 1));
}

#[test]
fn newer_versions_and_records_are_refused() {
    let scratch = Scratch::new();
    let ends = five_batches(&scratch);
    let whole = fs::read(scratch.segment(1)).unwrap();

    let mut newer = whole.clone();
    newer[8] = 2;
    fs::write(scratch.segment(1), newer).unwrap();
    let refused = scratch.try_open().map(|opened| opened.recovered.entries.len());
    assert!(
        matches!(
            refused,
            Err(DiskError::Version {
                found: 2,
                known: 1,
                ..
            })
        ),
        "{refused:?}"
    );

    // A record that is right in all but its kind, then one with an unknown flag.
    for (field, value) in [(16, 77), (20, 3)] {
        let mut bytes = whole.clone();
        let offset = ends[3];
        bytes[offset + field] = value;
        let place = u32::try_from(offset).unwrap().to_le_bytes();
        let head = crc32c::crc32c_append(wal::seed(&bytes[..SEGMENT_HEADER]), &place);
        let crc = crc32c::crc32c_append(head, &bytes[offset + 4..offset + HEADER_BYTES]);
        bytes[offset..offset + 4].copy_from_slice(&crc.to_le_bytes());
        fs::write(scratch.segment(1), bytes).unwrap();
        let refused = scratch.try_open().map(|opened| opened.recovered.entries.len());
        match refused {
            Err(DiskError::Record { path, offset, .. }) => {
                assert_eq!((path, offset), (scratch.segment(1), ends[3] as u64));
            }
            other => panic!("{other:?}"),
        }
    }
    fs::write(scratch.segment(1), whole).unwrap();
    assert_eq!(scratch.recovered().entries.len(), 5);

    let member = scratch.data().join("member");
    let text = fs::read_to_string(&member).unwrap();
    fs::write(&member, text.replace("berth-data 1", "berth-data 4")).unwrap();
    assert!(matches!(
        scratch.try_open(),
        Err(DiskError::Version { found: 4, .. })
    ));
    fs::write(&member, text.replace("cluster ", "cluster 1")).unwrap();
    assert!(matches!(scratch.try_open(), Err(DiskError::Corrupt { path, .. }) if path == member));
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    let scratch = Scratch::new();
    drop(scratch.open());
    let head = fs::read(scratch.segment(1)).unwrap()[..SEGMENT_HEADER].to_vec();
    for seed in 0..2000 {
        let mut next = noise(seed);
        let length = usize::try_from(next() % 5000).unwrap();
        let mut bytes: Vec<u8> = (0..length).map(|_| byte(next())).collect();
        if seed % 4 != 0 {
            bytes.splice(..SEGMENT_HEADER.min(length), head.iter().copied());
        }
        let found = read(&bytes);
        assert!(found.is_err() || found.unwrap().is_empty(), "seed {seed}");
        if seed % 100 == 1 {
            fs::write(scratch.segment(1), &bytes).unwrap();
            let recovered = scratch.recovered();
            assert!(recovered.entries.is_empty() && recovered.hard_state == HardState::default());
        }
    }
}

#[test]
fn well_formed_records_with_arbitrary_contents_do_no_harm() {
    let header = wal::header(1, 42);
    let seed = wal::seed(&header);
    for round in 0..2000 {
        let mut next = noise(round);
        let mut bytes = header.to_vec();
        for _ in 0..next() % 8 {
            let kinds = [Kind::Entry, Kind::HardState, Kind::Mark, Kind::Seal];
            let length = next() % 64;
            let any = Record {
                kind: kinds[usize::try_from(next() % 4).unwrap()],
                index: if next().is_multiple_of(8) {
                    u64::MAX
                } else {
                    next() % 4
                },
                term: next() % 4,
                data: (0..length).map(|_| byte(next())).collect(),
            };
            let place = Place {
                seed,
                offset: u32::try_from(bytes.len()).unwrap(),
                synced: u32::try_from(next() % 400).unwrap(),
                last: !next().is_multiple_of(3),
            };
            wal::write_record(&mut bytes, &any, &place);
        }
        bytes.resize(bytes.len() + 100, byte(next()));
        // Whatever it answers, it answers.
        let _ = read(&bytes).map(|found| found.len());
    }
}
