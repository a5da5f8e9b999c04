//! Images: published whole, checked before use, two of them kept together with the log they need.

use super::*;
use berth_replica::wal::Images as _;

fn save(disk: &Disk, mark: &SnapshotMark, store: &Store) {
    disk.snapshots().save(mark, store).unwrap();
}

fn received(mark: SnapshotMark, store: Store, entries: Vec<Entry>, state: HardState) -> Persist {
    Persist {
        snapshot: Some((mark, Box::new(store))),
        must_sync: false,
        ..batch(entries, Some(state))
    }
}

/// 300 entries in many segments, images at 100 and 200, the log compacted as far as it may be.
fn two_images(scratch: &Scratch) {
    scratch.fill(|disk| {
        for index in 1..=300 {
            disk.persist(&batch(
                entries(index..=index, 1),
                Some(hard_state(1, 1, index - 1)),
            ))
            .unwrap();
            if index == 100 || index == 200 {
                save(disk, &mark(index, 1), &store(index));
                disk.compact(index).unwrap();
            }
            let first = scratch.segments()[0];
            assert!(first == 1 || index >= 200, "with one image the whole log is kept");
        }
        disk.compact(200).unwrap();
        disk.compact(299).unwrap();
    });
}

fn damage_database(scratch: &Scratch, index: u64) {
    flip(&scratch.image(index, 1).join("image/db"), 300, 4);
}

fn check_image(recovered: &Recovered, index: u64) {
    let (found, image) = recovered.snapshot.as_ref().unwrap();
    assert_eq!(*found, mark(index, 1));
    assert_eq!(image.digest(), store(index).digest());
}

#[test]
fn an_image_comes_back_with_the_entries_after_it() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        disk.persist(&batch(entries(1..=10, 1), Some(hard_state(1, 4, 9))))
            .unwrap();
        save(disk, &mark(6, 1), &store(6));
        save(disk, &mark(6, 1), &store(6));
    });
    for _ in 0..3 {
        let recovered = scratch.recovered();
        check_image(&recovered, 6);
        assert_eq!(recovered.entries, entries(7..=10, 1));
        assert_eq!(recovered.hard_state, hard_state(1, 4, 9));
    }
}

#[test]
fn a_large_image_and_an_empty_one_come_back() {
    let scratch = Scratch::new();
    let mut large = store(2000);
    let put = Put::file(Key::parse("/large").unwrap(), vec![3; 1 << 20]);
    large.apply(&Kind::Set(put).into()).unwrap();
    scratch.fill(|disk| {
        persist(disk, entries(1..=9, 1));
        save(disk, &mark(1, 1), &Store::new());
    });
    assert_eq!(
        scratch.recovered().snapshot.unwrap().1.digest(),
        Store::new().digest()
    );
    scratch.fill(|disk| save(disk, &mark(9, 1), &large));
    assert_eq!(scratch.recovered().snapshot.unwrap().1.digest(), large.digest());
}

#[test]
fn the_newest_two_are_kept() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=9, 1));
        for index in [2, 5, 3, 8] {
            save(disk, &mark(index, 1), &store(index));
        }
    });
    let kept = [8, 5].map(|index| format!("{index:016x}-{:016x}", 1));
    let mut names = names(&scratch.data().join("snapshots"));
    names.reverse();
    assert_eq!(names, kept);
}

#[test]
fn compaction_keeps_what_the_older_image_needs() {
    let scratch = Scratch::new();
    two_images(&scratch);
    let first = scratch.segments()[0];
    assert!(first > 2, "{:?}", scratch.segments());
    let recovered = scratch.recovered();
    check_image(&recovered, 200);
    assert_eq!(recovered.entries, entries(201..=300, 1));
    assert_eq!(recovered.hard_state, hard_state(1, 1, 299));

    damage_database(&scratch, 200);
    for _ in 0..2 {
        let recovered = scratch.recovered();
        check_image(&recovered, 100);
        assert_eq!(recovered.entries, entries(101..=300, 1));
    }
    // The damaged one counts no longer, so the good one stays when another is saved.
    scratch.fill(|disk| {
        save(disk, &mark(300, 1), &store(300));
        disk.compact(300).unwrap();
    });
    damage_database(&scratch, 300);
    check_image(&scratch.recovered(), 100);
    assert_eq!(scratch.recovered().entries.len(), 200);
}

#[test]
fn compaction_goes_no_further_than_the_replica_allows() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        for index in 1..=200 {
            persist(disk, entries(index..=index, 1));
        }
        save(disk, &mark(150, 1), &store(150));
        save(disk, &mark(200, 1), &store(200));
        disk.compact(20).unwrap();
        assert_eq!(scratch.segments()[0], 1);
        disk.compact(80).unwrap();
        assert!(scratch.segments()[0] > 1);
    });
    assert_eq!(scratch.recovered().snapshot.unwrap().0.index, 200);
}

#[test]
fn without_a_readable_image_a_log_that_begins_later_is_refused() {
    let scratch = Scratch::new();
    two_images(&scratch);
    damage_database(&scratch, 200);
    damage_database(&scratch, 100);
    for _ in 0..2 {
        let refused = scratch.try_open().map(|opened| opened.recovered.entries.len());
        assert!(matches!(refused, Err(DiskError::Corrupt { path, .. })
            if path == scratch.image(200, 1).join("image")));
    }
    fs::remove_dir_all(scratch.data().join("snapshots")).unwrap();
    let refused = scratch.try_open().map(|opened| opened.recovered.entries.len());
    assert!(matches!(refused, Err(DiskError::Corrupt { path, .. }) if path == scratch.data().join("log")));
}

#[test]
fn a_log_from_the_beginning_makes_up_for_a_lost_image() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=9, 1));
        save(disk, &mark(5, 1), &store(5));
    });
    fs::write(scratch.image(5, 1).join("manifest"), b"").unwrap();
    let recovered = scratch.recovered();
    assert!(recovered.snapshot.is_none());
    assert_eq!(recovered.entries, entries(1..=9, 1));
}

#[test]
fn damage_anywhere_in_an_image_is_noticed() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=60, 1));
        save(disk, &mark(50, 1), &store(50));
    });
    drop(scratch.open());
    let snapshots = crate::disk::Snapshots::open(&scratch.data().join("snapshots")).unwrap();
    let image = scratch.image(50, 1);
    let inside = names(&image.join("image"));
    let paths = inside.iter().map(|name| image.join("image").join(name));
    let paths = paths.filter(|path| path.is_file());
    for path in paths.chain([image.join("manifest")]) {
        let length = fs::metadata(&path).unwrap().len();
        let length = usize::try_from(length).unwrap();
        for offset in (0..length).step_by((length / 64).max(1)) {
            flip(&path, offset, 2);
            assert!(snapshots.load((50, 1)).is_err(), "{} at {offset}", path.display());
            flip(&path, offset, 2);
        }
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..length - 1]).unwrap();
        assert!(snapshots.load((50, 1)).is_err(), "{} cut", path.display());
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(snapshots.load((50, 1)).unwrap().1.digest(), store(50).digest());
}

#[test]
fn what_was_left_half_made_is_cleared_away() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=9, 1));
        save(disk, &mark(5, 1), &store(5));
    });
    let draft = scratch.image(9, 1).with_extension("tmp");
    fs::create_dir_all(draft.join("image")).unwrap();
    fs::write(draft.join("image/db"), b"half").unwrap();
    let generating = scratch.image(5, 1).join("image/snap.00FFFFFFFFFFFFFF.generating");
    fs::write(&generating, b"").unwrap();
    fs::write(scratch.data().join("log/prepare.tmp"), b"half").unwrap();
    check_image(&scratch.recovered(), 5);
    assert!(!draft.exists() && !generating.exists());
}

#[test]
fn an_image_of_a_newer_version_is_refused() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=9, 1));
        save(disk, &mark(5, 1), &store(5));
    });
    let manifest = scratch.image(5, 1).join("manifest");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("berth-snapshot 1", "berth-snapshot 2")).unwrap();
    let refused = scratch.try_open().map(|opened| opened.recovered.entries.len());
    assert!(matches!(refused, Err(DiskError::Version { path, found: 2, known: 1 }) if path == manifest));
}

#[test]
fn a_received_image_voids_what_stood_before() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=8, 1));
        disk.persist(&received(
            mark(100, 1),
            store(100),
            Vec::new(),
            hard_state(3, 2, 100),
        ))
        .unwrap();
        persist(disk, entries(101..=103, 3));
    });
    let recovered = scratch.recovered();
    check_image(&recovered, 100);
    assert_eq!(recovered.entries, entries(101..=103, 3));
    assert_eq!(recovered.hard_state, hard_state(3, 2, 100));

    // The log before it cannot stand in for it.
    damage_database(&scratch, 100);
    assert!(matches!(scratch.try_open(), Err(DiskError::Corrupt { .. })));
}

#[test]
fn a_received_image_overrules_the_entries_behind_its_mark() {
    let scratch = Scratch::new();
    scratch.fill(|disk| {
        persist(disk, entries(1..=8, 0));
        disk.persist(&received(
            mark(5, 1),
            store(5),
            entries(6..=6, 1),
            hard_state(1, 2, 5),
        ))
        .unwrap();
    });
    let recovered = scratch.recovered();
    check_image(&recovered, 5);
    assert_eq!(recovered.entries, entries(6..=6, 1));
}

#[test]
fn an_image_that_was_saved_before_the_log_knew_counts() {
    // The process ended between the image and its mark in the log: ahead of the log, and against it.
    for (last, term) in [(3, 1), (8, 0)] {
        let scratch = Scratch::new();
        scratch.fill(|disk| {
            disk.persist(&batch(entries(1..=last, term), Some(hard_state(term, 2, 1))))
                .unwrap();
            save(disk, &mark(5, 1), &store(5));
        });
        let mut opened = scratch.open();
        check_image(&opened.recovered, 5);
        assert!(opened.recovered.entries.is_empty());
        assert_eq!(
            (
                opened.recovered.hard_state.term,
                opened.recovered.hard_state.commit
            ),
            (1, 5)
        );
        persist(&mut opened.disk, entries(6..=7, 2));
        drop(opened);
        for _ in 0..2 {
            let recovered = scratch.recovered();
            check_image(&recovered, 5);
            assert_eq!(recovered.entries, entries(6..=7, 2));
        }
    }
}

#[test]
fn images_are_saved_while_the_log_is_written() {
    let scratch = Scratch::new();
    let mut disk = scratch.open().disk;
    persist(&mut disk, entries(1..=1, 1));
    let snapshots = disk.snapshots();
    let saver = std::thread::spawn(move || {
        for index in 1..=5 {
            snapshots.save(&mark(index, 1), &store(index)).unwrap();
        }
    });
    for index in 2..=200 {
        persist(&mut disk, entries(index..=index, 1));
        disk.compact(index).unwrap();
    }
    saver.join().unwrap();
    drop(disk);
    let recovered = scratch.recovered();
    check_image(&recovered, 5);
    assert_eq!(recovered.entries, entries(6..=200, 1));
}
