//! The log when all goes well: what is written is there after opening again.

use super::*;

#[test]
fn a_first_start_is_empty_and_makes_an_identity_that_stays() {
    let scratch = Scratch::new();
    let Opened {
        disk,
        founding,
        recovered,
        ..
    } = scratch.open();
    assert!(founding.identity.member != 0 && founding.identity.cluster != 0);
    assert_eq!(recovered.hard_state, HardState::default());
    assert!(recovered.snapshot.is_none() && recovered.entries.is_empty());
    drop(disk);
    assert_eq!(scratch.open().founding, founding);
    assert_ne!(Scratch::new().open().founding, founding);
}

#[test]
fn the_directory_is_private_and_locked() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    let opened = scratch.open();
    let mode = fs::metadata(scratch.data()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert!(matches!(scratch.try_open(), Err(DiskError::InUse { path }) if path == scratch.data()));
    drop(opened);
    scratch.open();
}

#[test]
fn entries_and_hard_state_come_back() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        disk.persist(&batch(entries(1..=3, 1), Some(hard_state(1, 5, 0))))
            .unwrap();
        persist(disk, entries(4..=4, 2));
        disk.persist(&Persist {
            must_sync: false,
            ..batch(Vec::new(), Some(hard_state(2, 6, 3)))
        })
        .unwrap();
        let figures = disk.figures();
        assert_eq!(figures.fsyncs(), 2);
        assert!(figures.bytes_written() > 4 * 40 && figures.last_fsync_us() > 0);
    });
    for _ in 0..2 {
        let recovered = scratch.recovered();
        assert_eq!(recovered.entries, [entries(1..=3, 1), entries(4..=4, 2)].concat());
        assert_eq!(recovered.hard_state, hard_state(2, 6, 3));
    }
}

#[test]
fn later_entries_replace_what_stood_from_their_index_on() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=5, 1));
        persist(disk, entries(3..=4, 2));
        persist(disk, entries(5..=5, 3));
        persist(disk, entries(4..=4, 4));
    });
    let expected = [entries(1..=2, 1), entries(3..=3, 2), entries(4..=4, 4)].concat();
    assert_eq!(scratch.recovered().entries, expected);
    scratch.fill(|disk| persist(disk, entries(1..=1, 5)));
    assert_eq!(scratch.recovered().entries, entries(1..=1, 5));
}

#[test]
fn the_log_goes_on_over_segments_and_restarts() {
    let scratch = Scratch::new();
    for life in 0..5 {
        scratch.fill(|disk| {
            for index in life * 40 + 1..=life * 40 + 40 {
                let state = hard_state(life + 1, 3, index - 1);
                disk.persist(&batch(entries(index..=index, life + 1), Some(state)))
                    .unwrap();
            }
        });
    }
    assert!(scratch.segments().len() > 5, "{:?}", scratch.segments());
    let recovered = scratch.recovered();
    let expected: Vec<Entry> = (0..5)
        .flat_map(|life| entries(life * 40 + 1..=life * 40 + 40, life + 1))
        .collect();
    assert_eq!(recovered.entries, expected);
    assert_eq!(recovered.hard_state, hard_state(5, 3, 199));
}

#[test]
fn batches_and_entries_may_be_larger_than_a_segment() {
    let scratch = Scratch::new();
    let large = entry(201, 2, &[8; 10_000]);
    scratch.fill(|disk| {
        disk.persist(&batch(entries(1..=200, 1), Some(hard_state(1, 2, 150))))
            .unwrap();
        persist(disk, vec![large.clone()]);
        let many = [
            entries(202..=300, 2),
            vec![entry(301, 2, &[9; 5000])],
            entries(302..=310, 2),
        ];
        disk.persist(&batch(many.concat(), Some(hard_state(2, 0, 200))))
            .unwrap();
    });
    let recovered = scratch.recovered();
    assert_eq!(recovered.entries.len(), 310);
    assert_eq!(recovered.entries[200], large);
    assert_eq!(recovered.entries[300].data, [9; 5000]);
    assert_eq!(recovered.hard_state, hard_state(2, 0, 200));
    scratch.fill(|disk| persist(disk, entries(311..=311, 2)));
    assert_eq!(scratch.recovered().entries.len(), 311);
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let scratch = Scratch::new();
    let mut disk = scratch.open().disk;
    persist(&mut disk, entries(1..=2, 1));
    let gap = disk.persist(&batch(entries(4..=4, 1), None));
    assert!(matches!(gap, Err(DiskError::Gap { after: 2, found: 4 })));
    let next = disk.persist(&batch(entries(3..=3, 1), None));
    assert!(matches!(next, Err(DiskError::Stopped)));
    drop(disk);

    let mut disk = scratch.open().disk;
    let huge = entry(3, 1, &vec![0; berth_replica::MAX_ENTRY_BYTES]);
    let refused = disk.persist(&batch(vec![huge], None));
    assert!(matches!(refused, Err(DiskError::TooLarge { index: 3, .. })));
    drop(disk);
    assert_eq!(scratch.recovered().entries, entries(1..=2, 1));
}

#[test]
fn a_long_log_is_read_in_time() {
    const ENTRIES: u64 = 100_000;
    let limit = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 2 });
    let scratch = Scratch::new();
    let mut disk = Disk::open(&scratch.data(), &Forming::default()).unwrap().disk;
    for first in (1..=ENTRIES).step_by(1000) {
        let thousand = (first..first + 1000).map(|index| entry(index, 1, &[5; 256]));
        persist(&mut disk, thousand.collect());
    }
    drop(disk);
    let started = Instant::now();
    let opened = Disk::open(&scratch.data(), &Forming::default()).unwrap();
    let took = started.elapsed();
    assert_eq!(opened.recovered.entries.len() as u64, ENTRIES);
    assert!(took < limit, "recovery of {ENTRIES} entries took {took:?}");
}
