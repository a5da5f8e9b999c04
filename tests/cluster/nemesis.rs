//! Faults in a seeded order on hosts that are network namespaces, under clients that record; and the check of the record.

use std::time::{Duration, Instant};

use berth_checker::prng::Prng;
use berth_harness::{Cluster, Lan, Scratch, need_root, until};

use crate::recorder::{check, recorded};
use crate::{QUICK, berth, turn};

/// How long a fault lasts at least, in milliseconds, and how much longer at most.
const FAULT: (u64, u64) = (300, 1_700);
/// The time between faults, in milliseconds, at most.
pub(crate) const REST: u64 = 600;

pub(crate) fn pass(milliseconds: u64) {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let limit = Duration::from_millis(milliseconds) + Duration::from_secs(5);
    until("a moment", limit, || (Instant::now() >= end).then_some(()));
}

/// One of them.
pub(crate) fn pick<T: Copy>(prng: &mut Prng, among: &[T]) -> T {
    among[usize::try_from(prng.below(among.len() as u64)).unwrap()]
}

/// One fault of those members that have not left, and its end. `hosts` tells where each stands.
pub(crate) fn strike(cluster: &mut Cluster, lan: &Lan, hosts: &[u8], prng: &mut Prng) -> &'static str {
    let present = cluster.present();
    let host = |at: usize| hosts[at];
    // Every other fault meets the leader.
    let victim = match cluster.leader_now().filter(|_| prng.coin()) {
        Some(leader) => leader,
        None => pick(prng, &present),
    };
    let others: Vec<usize> = present.iter().copied().filter(|at| *at != victim).collect();
    let other = pick(prng, &others);
    let time = FAULT.0 + prng.below(FAULT.1);
    match prng.below(8) {
        0 => {
            cluster.kill(victim);
            pass(time);
            cluster.restart(victim);
            "kill"
        }
        1 => {
            // A majority at once.
            let further = others.iter().copied().take(present.len() / 2);
            let majority: Vec<usize> = further.chain([victim]).collect();
            majority.iter().for_each(|at| cluster.kill(*at));
            pass(time / 2);
            majority.iter().for_each(|at| cluster.restart(*at));
            "kill of a majority"
        }
        2 => {
            cluster.pause(victim);
            pass(time);
            cluster.resume(victim);
            "pause"
        }
        3 => {
            lan.isolate(host(victim));
            pass(time);
            lan.heal();
            "isolation"
        }
        4 => {
            lan.cut(host(victim), host(other));
            pass(time);
            lan.heal();
            "one-way cut"
        }
        5 => {
            lan.lose(host(victim), 20);
            lan.lose(host(other), 20);
            pass(time);
            lan.mend(host(victim));
            lan.mend(host(other));
            "loss"
        }
        6 => {
            lan.slow(host(victim), 400);
            pass(time);
            lan.mend(host(victim));
            "slow link"
        }
        _ => {
            cluster.stop(victim);
            pass(time / 4);
            cluster.restart(victim);
            "restart"
        }
    }
}

fn survive(size: u8, seed: u64, time: Duration) {
    need_root();
    let _turn = turn();
    let scratch = Scratch::new();
    let lan = Lan::new(&scratch, size);
    let places = (0..size).map(|host| {
        let address = |port| std::net::SocketAddr::new(lan.address(host), port);
        (Some(lan.host(host)), address(2379), address(2380))
    });
    let flags = [&QUICK[..], &["--snapshot-count", "500"]].concat();
    let mut cluster = Cluster::start_at(&berth(), &scratch, places.collect(), &flags);
    lan.within(|| {
        cluster.wait_all();
        let clients = cluster.clients();
        let mut prng = Prng::new(seed, "nemesis");
        let mut struck = Vec::new();
        let hosts: Vec<u8> = (0..size).collect();
        let history = recorded(&clients, seed, |_| {
            let begun = Instant::now();
            while begun.elapsed() < time {
                struck.push(strike(&mut cluster, &lan, &hosts, &mut prng));
                pass(prng.below(REST));
            }
            cluster.wait_all();
        });
        println!("seed {seed}, {size} members: {struck:?}");
        check(&history, &cluster);
    });
}

/// Another length of the runs in seconds, and another seed, for those who have the time.
pub(crate) fn wished(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect(name))
}

#[test]
fn three_members_survive_any_order_of_faults() {
    let time = wished("BERTH_FAULT_SECONDS", 12);
    survive(3, wished("BERTH_FAULT_SEED", 1), Duration::from_secs(time));
}

#[test]
fn five_members_survive_any_order_of_faults() {
    let time = wished("BERTH_FAULT_SECONDS", 10);
    survive(5, wished("BERTH_FAULT_SEED", 2), Duration::from_secs(time));
}
