//! Disks: power cuts, where every member has a disk of its own that forgets what was not synced, and a full one.

use std::io::Write as _;
use std::time::{Duration, Instant};

use berth_checker::prng::Prng;
use berth_harness::{Cluster, Disk, Scratch, need_root, until};

use crate::recorder::{check, recorded};
use crate::{QUICK, berth, turn};

/// Power cuts of the whole cluster at once, and of one member.
const CUTS: usize = 5;
const DISK: u64 = 256;

fn pass(milliseconds: u64) {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let limit = Duration::from_millis(milliseconds) + Duration::from_secs(5);
    until("a moment", limit, || (Instant::now() >= end).then_some(()));
}

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    need_root();
    let _turn = turn();
    let scratch = Scratch::new();
    let mut disks: Vec<Disk> = (0..3)
        .map(|at| {
            Disk::new(
                scratch.join(&format!("disk{at}")),
                scratch.join(&format!("m{at}")),
                DISK,
            )
        })
        .collect();
    let flags = [&QUICK[..], &["--snapshot-count", "300"]].concat();
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &flags);
    cluster.wait_all();
    let clients = cluster.clients();
    let mut prng = Prng::new(3, "power");
    let history = recorded(&clients, 3, |_| {
        for cut in 0..CUTS {
            pass(300 + prng.below(900));
            let victims: Vec<usize> = match cut % 2 {
                0 => vec![0, 1, 2],
                _ => vec![cluster.leader()],
            };
            victims.iter().for_each(|at| cluster.pause(*at));
            victims.iter().for_each(|at| disks[*at].power_off());
            victims.iter().for_each(|at| cluster.kill(*at));
            victims.iter().for_each(|at| disks[*at].power_on());
            victims.iter().for_each(|at| cluster.restart(*at));
            cluster.wait_all();
        }
    });
    check(&history, &cluster);
    drop(cluster);
}

#[test]
fn a_leader_whose_disk_is_full_makes_way_and_comes_back() {
    need_root();
    let _turn = turn();
    let scratch = Scratch::new();
    let _disks: Vec<Disk> = (0..3)
        .map(|at| {
            Disk::new(
                scratch.join(&format!("disk{at}")),
                scratch.join(&format!("m{at}")),
                DISK,
            )
        })
        .collect();
    let cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let clients = cluster.clients();
    let history = recorded(&clients, 5, |_| {
        for _ in 0..2 {
            let leader = cluster.leader();
            let filler = cluster.members()[leader].data.join("filler");
            fill(&filler);
            let other = clients[(leader + 1) % 3];
            let key = filler.display().to_string();
            until("a write although a disk is full", Duration::from_secs(30), || {
                crate::workload::put(other, &key, "1").filter(|_| cluster.leader_now() != Some(leader))
            });
            std::fs::remove_file(filler).unwrap();
            cluster.wait_all();
        }
    });
    check(&history, &cluster);
    drop(cluster);
}

/// Writes zeros until there is no space left.
fn fill(path: &std::path::Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for size in [1 << 20, 4096, 1] {
        let block = vec![0; size];
        while file.write_all(&block).and_then(|()| file.sync_data()).is_ok() {}
    }
}
