//! A full disk: writes are refused with 503, reads go on, nothing acknowledged is lost, and room makes it well again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use berth_harness::{Scratch, Store, need_root, request, run, until};

use crate::berth;

/// A small file system of its own on a tmpfs; unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(folder: &Path, megabytes: u32) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let size = format!("size={megabytes}m");
        run(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "berth-test"])
                .arg(folder),
            Duration::from_secs(10),
        )
        .ok();
        Self(folder.to_path_buf())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn health(store: &Store) -> u16 {
    let answer = request(store.address(), "GET", "/health", &[], b"");
    answer.unwrap().status
}

fn tells_of_a_full_disk(store: &Store) {
    assert_eq!(health(store), 503, "a member that takes no writes is not healthy");
    let metrics = request(store.address(), "GET", "/metrics", &[], b"")
        .unwrap()
        .text();
    assert!(metrics.contains("berth_disk_has_room 0\n"), "{metrics}");
    assert!(
        metrics.contains("berth_health_failures_total{reason=\"disk_full\"} 1\n"),
        "{metrics}"
    );
}

#[test]
fn a_full_disk_refuses_writes_and_keeps_reads() {
    need_root();
    let scratch = Scratch::new();
    let disk = SmallDisk::mount(&scratch.join("disk"), 96);
    let mut store = Store::start_in(&berth(), &disk.0.join("store"), &[]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let value = format!("value={}", "x".repeat(512 * 1024));
    let ballast = disk.0.join("ballast");
    let mut acknowledged = 0;
    let refused = until("a refused write", Duration::from_secs(60), || {
        if acknowledged == 4 {
            // Another program takes what is left of the disk.
            run(
                Command::new("dd")
                    .args(["if=/dev/zero", "bs=64k"])
                    .arg(format!("of={}", ballast.display())),
                Duration::from_secs(30),
            );
        }
        let target = format!("/v2/keys/big/{acknowledged}");
        let answer = request(store.address(), "PUT", &target, &form, value.as_bytes()).unwrap();
        if answer.status == 201 {
            acknowledged += 1;
            return None;
        }
        Some(answer)
    });
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("disk"), "{}", refused.text());
    let read = request(store.address(), "GET", "/v2/keys/big/0", &[], b"").unwrap();
    assert_eq!(read.status, 200, "reads go on");
    tells_of_a_full_disk(&store);
    std::fs::remove_file(&ballast).unwrap();
    until(
        "a write after there is room again",
        Duration::from_secs(20),
        || {
            let answer = request(store.address(), "PUT", "/v2/keys/after", &form, b"value=1").unwrap();
            matches!(answer.status, 200 | 201).then_some(())
        },
    );
    until("a healthy member", Duration::from_secs(20), || {
        (health(&store) == 200).then_some(())
    });
    store.kill();
    store.restart();
    for number in 0..acknowledged {
        let answer = request(
            store.address(),
            "GET",
            &format!("/v2/keys/big/{number}"),
            &[],
            b"",
        )
        .unwrap();
        assert_eq!(
            answer.status, 200,
            "write {number} of {acknowledged} was acknowledged"
        );
    }
    store.stop();
}
