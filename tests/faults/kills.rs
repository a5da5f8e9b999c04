//! `kill -9` of the store at random moments: every acknowledged write is there afterwards.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_harness::{Scratch, Store, request, until};

use crate::berth;

/// How often the store is killed.
const ROUNDS: u64 = 200;
/// Writers that keep it busy.
const WRITERS: u64 = 4;

/// Writes `/w/<writer>` = 1, 2, 3 … until told to stop or the store is away; gives the last acknowledged number.
fn write_on(address: SocketAddr, writer: u64, from: u64, stop: &AtomicBool) -> u64 {
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let mut acknowledged = from;
    while !stop.load(Ordering::Relaxed) {
        let next = acknowledged + 1;
        let answer = request(
            address,
            "PUT",
            &format!("/v2/keys/w/{writer}"),
            &form,
            format!("value={next}").as_bytes(),
        );
        match answer {
            Ok(answer) if answer.status == 200 || answer.status == 201 => acknowledged = next,
            _ => break,
        }
    }
    acknowledged
}

fn stored(address: SocketAddr, writer: u64) -> u64 {
    let answer = request(address, "GET", &format!("/v2/keys/w/{writer}"), &[], b"").unwrap();
    if answer.status == 404 {
        return 0;
    }
    answer.json()["node"]["value"].as_str().unwrap().parse().unwrap()
}

#[test]
fn two_hundred_kills_lose_no_acknowledged_write() {
    let scratch = Scratch::new();
    // Few entries between snapshots, so that kills also fall into snapshots and log removal.
    let mut store = Store::start_in(&berth(), &scratch.join("store"), &["--snapshot-count", "500"]);
    let address = store.address();
    let mut last = vec![0_u64; usize::try_from(WRITERS).unwrap()];
    let mut moment = 0x9E37_79B9_7F4A_7C15_u64;
    for round in 0..ROUNDS {
        // A plain linear generator: the moments differ and are the same in every run.
        moment = moment
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_micros(moment % 30_000);
        let stop = AtomicBool::new(false);
        let acknowledged: Vec<u64> = std::thread::scope(|scope| {
            let stop = &stop;
            let writers: Vec<_> = (0..WRITERS)
                .zip(&last)
                .map(|(writer, from)| scope.spawn(move || write_on(address, writer, *from, stop)))
                .collect();
            let deadline = Instant::now() + pause;
            until("the moment of the kill", Duration::from_secs(1), || {
                (Instant::now() >= deadline).then_some(())
            });
            store.kill();
            stop.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        store.restart();
        for (writer, acknowledged) in (0..WRITERS).zip(&acknowledged) {
            let stored = stored(address, writer);
            // One write beyond the last answer may have been on its way.
            assert!(
                stored == *acknowledged || stored == acknowledged + 1,
                "round {round}: writer {writer} was told {acknowledged}, found {stored}"
            );
            last[usize::try_from(writer).unwrap()] = stored;
        }
    }
    assert!(
        last.iter().sum::<u64>() > ROUNDS,
        "the writers hardly wrote: {last:?}"
    );
}

#[test]
fn indexes_and_history_survive_a_restart() {
    let scratch = Scratch::new();
    let mut store = Store::start(&berth(), &scratch);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for number in 1..=20 {
        request(
            store.address(),
            "PUT",
            "/v2/keys/k",
            &form,
            format!("value={number}").as_bytes(),
        )
        .unwrap();
    }
    store.stop();
    store.restart();
    let answer = request(store.address(), "GET", "/v2/keys/k", &[], b"").unwrap();
    assert_eq!(answer.json()["node"]["modifiedIndex"], 23);
    assert_eq!(answer.header("x-etcd-index"), Some("23"));
    let past = request(
        store.address(),
        "GET",
        "/v2/keys/k?wait=true&waitIndex=10",
        &[],
        b"",
    )
    .unwrap();
    assert_eq!(past.json()["node"]["value"], "7");
    let next = request(store.address(), "PUT", "/v2/keys/k", &form, b"value=x").unwrap();
    assert_eq!(next.json()["node"]["modifiedIndex"], 24);
}

#[test]
fn a_snapshot_and_the_log_after_it_make_the_whole_state() {
    let scratch = Scratch::new();
    let mut store = Store::start_in(&berth(), &scratch.join("store"), &["--snapshot-count", "100"]);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for number in 0..350 {
        let target = format!("/v2/keys/many/{number}");
        assert_eq!(
            request(store.address(), "PUT", &target, &form, b"value=v")
                .unwrap()
                .status,
            201
        );
    }
    store.kill();
    store.restart();
    let listed = request(store.address(), "GET", "/v2/keys/many", &[], b"")
        .unwrap()
        .json();
    assert_eq!(listed["node"]["nodes"].as_array().unwrap().len(), 350);
    assert_eq!(listed["node"]["createdIndex"], 4);
}
