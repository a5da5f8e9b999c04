//! A full disk: told in time, nothing lost, and over as soon as there is space again.

use super::*;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::io::Write as _;

/// A file system of its own, as large as given; it goes with the test.
struct SmallDisk {
    scratch: Scratch,
}

impl SmallDisk {
    fn new(kib: u64) -> SmallDisk {
        let scratch = Scratch::new();
        let size = std::ffi::CString::new(format!("size={kib}k")).unwrap();
        mount("tmpfs", &scratch.0, "tmpfs", MountFlags::empty(), size.as_c_str())
            .expect("these tests mount a tmpfs, which takes root");
        SmallDisk { scratch }
    }

    fn filler(&self) -> PathBuf {
        self.scratch.0.join("filler")
    }

    /// Takes all space there is.
    fn fill_up(&self) {
        let mut file = fs::File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    fn free(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.scratch.0, UnmountFlags::DETACH).unwrap();
    }
}

#[test]
fn a_full_disk_stops_proposals_and_loses_nothing() {
    let small = SmallDisk::new(256);
    let scratch = &small.scratch;
    let mut disk = scratch.open().disk;
    let room = disk.room();
    persist(&mut disk, entries(1..=1, 1));
    wait_until("a spare segment", || scratch.segments() == [1, 2]);
    assert!(room.is_left());
    small.fill_up();
    // The spare segment holds what comes until it is told that there is no more.
    let mut last = 1;
    while scratch.segments() == [1, 2] && last < 80 {
        last += 1;
        persist(&mut disk, entries(last..=last, 1));
    }
    wait_until("no room is told", || !room.is_left());
    // What was under way then still fits.
    disk.persist(&batch(Vec::new(), Some(hard_state(1, 3, last))))
        .unwrap();
    drop(disk);

    let Opened {
        mut disk, recovered, ..
    } = scratch.open();
    assert_eq!(recovered.entries, entries(1..=last, 1));
    assert_eq!(recovered.hard_state, hard_state(1, 3, last));
    let room = disk.room();
    wait_until("no room is told after a start", || !room.is_left());
    small.free();
    wait_until("room is told again", || room.is_left());
    for _ in 0..200 {
        last += 1;
        persist(&mut disk, entries(last..=last, 2));
    }
    drop(disk);
    assert_eq!(scratch.recovered().entries.len() as u64, last);
}

#[test]
fn a_write_waits_for_space_and_goes_on() {
    let small = SmallDisk::new(256);
    let mut disk = small.scratch.open().disk;
    wait_until("a spare segment", || small.scratch.segments() == [1, 2]);
    let room = disk.room();
    small.fill_up();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_until("no room is told", || !room.is_left());
            small.free();
        });
        for index in 1..=300 {
            persist(&mut disk, entries(index..=index, 1));
        }
    });
    drop(disk);
    assert_eq!(small.scratch.recovered().entries, entries(1..=300, 1));
}

#[test]
fn a_write_that_finds_no_space_in_time_fails_and_spoils_nothing() {
    let small = SmallDisk::new(256);
    let options = Options {
        room_wait: Duration::from_millis(50),
        ..super::small()
    };
    let mut disk = Disk::open_with(&small.scratch.data(), &Forming::default(), options)
        .unwrap()
        .disk;
    wait_until("a spare segment", || small.scratch.segments() == [1, 2]);
    small.fill_up();
    let mut written = 0;
    let error = loop {
        match disk.persist(&batch(entries(written + 1..=written + 1, 1), None)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, DiskError::NoRoom { .. }), "{error:?}");
    assert!(written > 60);
    assert!(matches!(disk.compact(1), Err(DiskError::Stopped)));
    drop(disk);
    assert_eq!(small.scratch.recovered().entries, entries(1..=written, 1));
}

#[test]
fn the_reserve_is_left_free() {
    let small = SmallDisk::new(1024);
    let options = Options {
        reserve_bytes: 512 << 10,
        ..super::small()
    };
    let opened = Disk::open_with(&small.scratch.data(), &Forming::default(), options).unwrap();
    let room = opened.disk.room();
    wait_until("a spare segment", || small.scratch.segments() == [1, 2]);
    assert!(room.is_left());
    fs::write(small.filler(), vec![1; 600 << 10]).unwrap();
    wait_until("no room is told", || !room.is_left());
    small.free();
    wait_until("room is told again", || room.is_left());
}

#[test]
fn an_image_that_does_not_fit_leaves_nothing_behind() {
    let small = SmallDisk::new(1024);
    let mut disk = small.scratch.open().disk;
    persist(&mut disk, entries(1..=9, 1));
    let refused = disk.snapshots().save(&mark(5, 1), &store(5));
    assert!(matches!(refused, Err(DiskError::NoRoom { .. })), "{refused:?}");
    assert!(names(&small.scratch.data().join("snapshots")).is_empty());
    drop(disk);
    assert!(small.scratch.recovered().snapshot.is_none());
}
