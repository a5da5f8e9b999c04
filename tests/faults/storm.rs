//! Keys that are all due within the same second: they go soon, none before its time, and everybody else is served meanwhile.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_harness::{Scratch, Store};

use crate::berth;
use crate::hostile::CROWD;
use crate::raw::{connect, read_answer};

/// How many keys are due, unless `BERTH_TEST_DUE_KEYS` says another number: a million takes a debug build minutes to write.
const DUE: usize = 200_000;
/// Connections that write them.
const WRITERS: usize = 200;
/// Requests sent at a time by each, to a directory of their own.
const ROW: usize = 200;
/// Keys a second that are written at least. All are due when so fast a writer would have written them; later ones get the
/// shortest time there is.
const PACE: usize = 12_000;
/// Keys a second that are gone at least, from that moment on.
const LEAST_GONE: usize = 7_000;
/// Beside the time for the keys themselves.
const SPARE: Duration = Duration::from_secs(5);
/// No answer takes longer meanwhile.
const LONGEST: Duration = Duration::from_secs(2);

/// By default 200,000 keys. A million: `BERTH_TEST_DUE_KEYS=1000000 cargo test --test faults due_in_one_second`.
#[test]
fn a_crowd_of_keys_that_are_due_in_one_second() {
    let _crowd = CROWD.lock();
    let due = std::env::var("BERTH_TEST_DUE_KEYS").map_or(DUE, |text| text.parse().unwrap());
    let rows = due / ROW;
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let begun = Instant::now();
    let lead = Duration::from_secs((due / PACE) as u64);
    let earliest = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let earliest = &earliest;
            scope.spawn(move || {
                for row in (writer..rows).step_by(WRITERS) {
                    let gone = write_row(address, row, lead.saturating_sub(begun.elapsed()));
                    earliest.lock().unwrap().insert(row, gone);
                }
            });
        }
    });
    let earliest = earliest.into_inner().unwrap();
    assert_eq!(earliest.len(), rows);
    println!("{due} keys written within {:?}", begun.elapsed());
    let over = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        let beside = scope.spawn(|| healthy(address, &over));
        watch_them_go(address, &earliest);
        over.store(true, Ordering::Relaxed);
        beside.join().unwrap()
    });
    tell_of(beside, *earliest.values().min().unwrap());
}

/// Writes one row of keys; gives the moment before which none of them may go.
fn write_row(address: SocketAddr, row: usize, left: Duration) -> Instant {
    let mut socket = connect(address);
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    let sent = Instant::now();
    let ttl = left.as_secs().max(3);
    let form = format!("ttl={ttl} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
    let text: String = (0..ROW)
        .map(|number| format!("PUT /v2/keys/due/{row}/{number}?{form}"))
        .collect();
    socket.write_all(text.as_bytes()).unwrap();
    for _ in 0..ROW {
        let answer = read_answer(&mut reader);
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    }
    sent + Duration::from_secs(ttl)
}

/// Looks at one row after the other until all are empty. None is before its time, and each look is answered soon.
fn watch_them_go(address: SocketAddr, earliest: &HashMap<usize, Instant>) {
    let keys = earliest.len() * ROW;
    let limit = SPARE + Duration::from_secs((keys / LEAST_GONE) as u64);
    let last_due = *earliest.values().max().unwrap();
    let mut reader = BufReader::new(connect(address));
    let mut rows: Vec<usize> = earliest.keys().copied().collect();
    let mut longest = Duration::ZERO;
    while !rows.is_empty() {
        rows.retain(|row| {
            let asked = Instant::now();
            let text = format!("GET /v2/keys/due/{row} HTTP/1.1\r\nHost: t\r\n\r\n");
            reader.get_mut().write_all(text.as_bytes()).unwrap();
            let left = read_answer(&mut reader).matches("\"createdIndex\"").count() - 1;
            longest = longest.max(asked.elapsed());
            assert!(
                left == ROW || Instant::now() >= earliest[row],
                "row {row} lost keys before their time"
            );
            left > 0
        });
        let late = Instant::now().saturating_duration_since(last_due);
        assert!(late < limit, "{} rows are still there {late:?} late", rows.len());
    }
    let late = Instant::now().saturating_duration_since(last_due);
    println!("all were gone {late:?} after the last was due; the slowest look took {longest:?}");
    assert!(longest < LONGEST, "the member did not answer for {longest:?}");
}

/// Writes and reads, one after the other, until it is over: when each was asked, and how long it took.
fn healthy(address: SocketAddr, over: &AtomicBool) -> [Vec<(Instant, Duration)>; 2] {
    let mut reader = BufReader::new(connect(address));
    let mut ask = |text: &str| {
        let asked = Instant::now();
        reader.get_mut().write_all(text.as_bytes()).unwrap();
        let answer = read_answer(&mut reader);
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        (asked, asked.elapsed())
    };
    let [mut writes, mut reads] = [Vec::new(), Vec::new()];
    while !over.load(Ordering::Relaxed) {
        writes.push(ask(
            "PUT /v2/keys/healthy?value=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
        ));
        reads.push(ask("GET /v2/keys/healthy HTTP/1.1\r\nHost: t\r\n\r\n"));
    }
    [writes, reads]
}

/// What a healthy client saw since the first key was due.
fn tell_of(beside: [Vec<(Instant, Duration)>; 2], first_due: Instant) {
    for (what, seen) in ["PUT", "GET"].into_iter().zip(beside) {
        let late = seen.into_iter().filter(|(asked, _)| *asked >= first_due);
        let mut taken: Vec<Duration> = late.map(|(_, taken)| taken).collect();
        assert!(taken.len() > 100, "only {} times {what} meanwhile", taken.len());
        taken.sort();
        let (p99, longest) = (taken[taken.len() * 99 / 100], taken[taken.len() - 1]);
        println!(
            "{what} beside it, {} times: p99 {p99:?}, longest {longest:?}",
            taken.len()
        );
        assert!(longest < LONGEST, "{what} took {longest:?}");
    }
}
