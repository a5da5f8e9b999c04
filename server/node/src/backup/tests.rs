//! Backups survive the way to a file and back, every damage is named, and what is restored is a new cluster.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

use super::*;
use crate::config::InitialCluster;
use crate::disk::{Disk, Forming};
use crate::mutate::{Mutator, Naming, ROUNDS, rounds};
use berth_store::{Key, Kind, Put, Restorer};
use std::fs;
use std::path::Path;

fn head() -> BackupHead {
    BackupHead {
        id: "1".to_owned(),
        cluster: "c".to_owned(),
        member: "m".to_owned(),
        name: "n".to_owned(),
        index: 40,
        raft_index: 50,
        term: 3,
        nodes: 40,
        taken: 0,
        version: "0".to_owned(),
    }
}

/// A state with that many keys, each of so many bytes.
fn store(keys: u64, bytes: usize) -> Store {
    let mut store = Store::new();
    for number in 0..keys {
        let key = Key::parse(format!("/dir/{number}")).unwrap();
        let put = Put::file(key, format!("{number:0bytes$}").into_bytes());
        store.apply(&Kind::Set(put).into()).unwrap();
    }
    store
}

fn whole(store: &Store) -> Vec<u8> {
    let mut body = BackupBody::new(head(), store);
    std::iter::from_fn(|| body.piece()).flatten().collect()
}

/// Reads a backup in pieces of this size.
fn read(bytes: &[u8], piece: usize) -> Result<(BackupHead, Store), BackupError> {
    let mut check = BackupCheck::default();
    let mut restorer = Restorer::new();
    for piece in bytes.chunks(piece) {
        check.read(piece, |number, chunk| {
            restorer.push(number, chunk).map_err(BackupError::from)
        })?;
    }
    Ok((check.finish()?, restorer.finish()?))
}

#[test]
fn a_backup_comes_back_in_pieces_of_any_size() {
    for (keys, bytes) in [(0, 1), (3, 10), (40, 30_000)] {
        let store = store(keys, bytes);
        let backup = whole(&store);
        for piece in [1, 7, 4096, 1 << 20] {
            if piece == 1 && backup.len() > 100_000 {
                continue;
            }
            let (found, read) = read(&backup, piece).unwrap();
            assert_eq!((found, read.digest()), (head(), store.digest()));
        }
    }
}

#[test]
fn pieces_are_small_however_large_the_state() {
    let store = store(200, 30_000);
    let mut body = BackupBody::new(head(), &store);
    let pieces: Vec<usize> = std::iter::from_fn(|| body.piece().map(|piece| piece.len())).collect();
    assert!(pieces.len() > 90, "{}", pieces.len());
    assert!(pieces.iter().all(|bytes| *bytes < 2 * PIECE_BYTES), "{pieces:?}");
}

#[test]
fn every_cut_and_every_flipped_bit_is_found() {
    let backup = whole(&store(3, 10));
    for end in 0..backup.len() {
        let error = read(&backup[..end], 64).unwrap_err();
        let BackupError::Cut { at } = error else {
            panic!("cut at {end}: {error}");
        };
        assert_eq!(at, end as u64);
    }
    for at in 0..backup.len() {
        for bit in 0..8 {
            let mut flipped = backup.clone();
            flipped[at] ^= 1 << bit;
            assert!(read(&flipped, 64).is_err(), "byte {at} bit {bit}");
        }
    }
    let mut longer = backup.clone();
    longer.push(0);
    assert_eq!(
        read(&longer, 64).unwrap_err().to_string(),
        format!("it is damaged at byte {}: bytes follow the end", backup.len())
    );
}

#[test]
fn other_files_and_later_versions_are_told_apart() {
    for (bytes, text) in [
        (&b"{\"key\":\"/a\"}\n"[..], "it is no backup of berth"),
        (b"berth-backup 1x", "it is no backup of berth"),
        (
            b"berth-backup 22\nH",
            "it is a backup of format \"22\", this program knows 1",
        ),
        (b"", "it is cut off at byte 0"),
    ] {
        assert_eq!(read(bytes, 4096).unwrap_err().to_string(), text);
    }
}

#[test]
fn bytes_of_any_kind_are_read_without_a_panic() {
    let words: [&[u8]; 5] = [
        MAGIC,
        b"H\0\0\0\x02{}",
        b"C\0\0\0\x08",
        b"E\0\0\0\x30",
        b"\xff\xff\xff\xff",
    ];
    let sound = whole(&store(2, 5));
    let mut mutator = Mutator::new("backup", vec![sound.clone()], &words, 4096);
    for round in 0..rounds(ROUNDS / 10) {
        let input = mutator.next();
        let _naming = Naming { round, input: &input };
        assert!(
            read(&input, 97).is_err() || input == sound,
            "a backup that was never made"
        );
    }
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn wish(dir: &Path, name: &str, cluster: Option<&str>) -> Restore {
    Restore {
        data_dir: dir.join(name),
        name: name.to_owned(),
        initial_cluster: cluster.map(|list| InitialCluster {
            members: InitialCluster::parse(list).unwrap(),
            token: "t".to_owned(),
            existing: false,
        }),
    }
}

#[test]
fn members_that_are_restored_form_one_new_cluster_with_the_state() {
    let scratch = scratch();
    let (file, other) = (scratch.path().join("backup"), scratch.path().join("other"));
    let store = store(40, 3_000);
    fs::write(&file, whole(&store)).unwrap();
    let second = BackupHead {
        id: "2".to_owned(),
        ..head()
    };
    let mut body = BackupBody::new(second, &store);
    let bytes: Vec<u8> = std::iter::from_fn(|| body.piece()).flatten().collect();
    fs::write(&other, bytes).unwrap();
    let list = "a=http://h:1,b=http://h:2,c=http://h:3";
    let restored = |name| restore(&file, &wish(scratch.path(), name, Some(list))).unwrap();
    let all = [restored("a"), restored("b"), restored("c")];
    assert!(all.iter().all(|one| one.cluster == all[0].cluster));
    assert!(all[0].member != all[1].member && all[1].member != all[2].member);
    // The same list and token from another backup, and without one, are other clusters.
    let mut again = wish(scratch.path(), "a2", Some(list));
    again.name = "a".to_owned();
    assert_ne!(restore(&other, &again).unwrap().cluster, all[0].cluster);
    for name in ["a", "b", "c"] {
        let opened = Disk::open(&scratch.path().join(name), &Forming::default()).unwrap();
        let (mark, image) = opened.recovered.snapshot.unwrap();
        assert_eq!((mark.index, mark.term, mark.voters.len()), (50, 3, 3));
        assert_eq!(image.digest(), store.digest());
        assert_eq!(opened.founding.founders.len(), 3);
        assert_eq!(opened.recovered.hard_state.commit, 50);
    }
    let alone = restore(&file, &wish(scratch.path(), "alone", None)).unwrap();
    let twice = restore(&file, &wish(scratch.path(), "twice", None)).unwrap();
    assert!(alone.cluster != twice.cluster && alone.cluster != all[0].cluster);
}

#[test]
fn nothing_is_restored_over_something_or_from_damage() {
    let scratch = scratch();
    let file = scratch.path().join("backup");
    let mut bytes = whole(&store(40, 3_000));
    fs::write(&file, &bytes).unwrap();
    restore(&file, &wish(scratch.path(), "a", None)).unwrap();
    let error = restore(&file, &wish(scratch.path(), "a", None)).unwrap_err();
    assert!(
        error.to_string().ends_with("a: it holds something already"),
        "{error}"
    );
    fs::create_dir(scratch.path().join("empty")).unwrap();
    restore(&file, &wish(scratch.path(), "empty", None)).unwrap();
    let error = restore(&file, &wish(scratch.path(), "b", Some("x=http://h:1"))).unwrap_err();
    assert!(error.to_string().contains("does not name this member"), "{error}");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = restore(&file, &wish(scratch.path(), "b", None)).unwrap_err();
    assert!(matches!(error, RestoreError::Backup { .. }), "{error}");
    assert!(!scratch.path().join("b").exists() && !scratch.path().join("b.restoring").exists());
}
