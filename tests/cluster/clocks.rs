//! Members whose clocks disagree and jump: each runs in a time namespace of its own, with another offset at each start.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use berth_checker::prng::Prng;
use berth_harness::{Berth, Cluster, Scratch, need_root, until};

use crate::recorder::{check, recorded};
use crate::{QUICK, berth, turn};

/// Kills of a leader, each followed by a start with another clock.
const JUMPS: usize = 5;
/// The largest offset of a clock, in seconds: more than a month.
const FARTHEST: u64 = 3_000_000;

/// The binary behind a script that gives each start the clock that a file says.
fn with_clocks(scratch: &Scratch) -> Berth {
    let path = scratch.join("clocked");
    let offsets = scratch.join("offset");
    let text = format!(
        "#!/bin/sh\nname=$3\noffset=$(cat {}-$name)\n\
         exec unshare -T --monotonic $offset --boottime $offset {} \"$@\"\n",
        offsets.display(),
        berth().program().display()
    );
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Berth::new(path)
}

fn set_clock(scratch: &Scratch, member: usize, offset: u64) {
    std::fs::write(scratch.join(&format!("offset-m{member}")), offset.to_string()).unwrap();
}

#[test]
fn clocks_that_jump_cut_no_lease_short() {
    need_root();
    let _turn = turn();
    let scratch = Scratch::new();
    let mut prng = Prng::new(4, "clocks");
    for member in 0..3 {
        set_clock(&scratch, member, prng.below(FARTHEST));
    }
    let berth = with_clocks(&scratch);
    let mut cluster = Cluster::start(&berth, &scratch, 3, &QUICK);
    cluster.wait_all();
    let clients = cluster.clients();
    let history = recorded(&clients, 4, |_| {
        for jump in 0..JUMPS {
            let moment = Instant::now() + Duration::from_millis(800);
            until("a moment", Duration::from_secs(10), || {
                (Instant::now() >= moment).then_some(())
            });
            let leader = cluster.leader();
            cluster.kill(leader);
            // From far ahead to far behind and back.
            let offset = if jump % 2 == 0 { 0 } else { FARTHEST };
            set_clock(&scratch, leader, offset + prng.below(1_000));
            cluster.restart(leader);
            cluster.wait_all();
        }
    });
    check(&history, &cluster);
}
