//! Clients that mean ill, are broken or many: slow heads, slow readers, clients that vanish, crowds that idle, watch and leave.
//! Everybody else is served meanwhile, and nothing is kept of them afterwards.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_harness::{Scratch, Store, request, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::berth;
use crate::raw::{
    FORM, connections, crowd, expect_fast, expect_released, is_closed, read_answer, read_head, resident,
    wrapped,
};

/// One crowd at a time: each takes most of the descriptors of this process, and latencies are measured.
pub(crate) static CROWD: Mutex<()> = Mutex::new(());

/// Descriptors that are left to other tests of this process.
const SPARE_FILES: u64 = 600;

/// Raises the limit of open files; gives how many of `wanted` connections can be had.
fn room_for(wanted: usize) -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let room = usize::try_from(hard.saturating_sub(SPARE_FILES))
        .unwrap()
        .min(wanted);
    if room < wanted {
        println!("the limit of open files allows {room} connections, not {wanted}");
    }
    assert!(
        room > 300,
        "the limit of open files is too low for any crowd: {hard}"
    );
    room
}

#[test]
fn slow_heads_and_idle_connections_hold_up_nobody() {
    let _crowd = CROWD.lock();
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let slow = room_for(2_000);
    let begun = Instant::now();
    let mut slow = crowd(address, slow, b"GET /v2/keys HTTP/1.1\r\nHost: t\r\nX-Slow: ");
    let done = AtomicBool::new(false);
    let cut = std::thread::scope(|scope| {
        let dripping = scope.spawn(|| {
            let mut cut = 0;
            while cut < slow.len()
                && !done.load(Ordering::Relaxed)
                && begun.elapsed() < Duration::from_secs(30)
            {
                cut = slow
                    .iter_mut()
                    .filter_map(|socket| socket.write_all(b"x").err())
                    .count();
            }
            cut
        });
        expect_fast("a client beside slow heads", address);
        let cut = dripping.join().unwrap();
        done.store(true, Ordering::Relaxed);
        cut
    });
    assert_eq!(cut, slow.len(), "every slow head is cut, dripping or not");
    println!("{cut} slow heads were cut within {:?}", begun.elapsed());
    drop(slow);
    idle_connections(&store);
}

fn idle_connections(store: &Store) {
    let address = store.address();
    let before = resident(store);
    let count = room_for(10_000);
    let mut idle = crowd(address, count, b"GET /v2/keys HTTP/1.1\r\nHost: t\r\n\r\n");
    for socket in &mut idle {
        assert!(read_answer(socket).starts_with("HTTP/1.1 200 "));
    }
    expect_fast("a client beside idle connections", address);
    let each = resident(store).saturating_sub(before) * 1024 / idle.len() as u64;
    println!("{} idle connections, {each} bytes each", idle.len());
    assert!(each < 16 << 10, "an idle connection holds {each} bytes");
    drop(idle);
    expect_released(store, "connections that left", Duration::from_secs(60));
}

#[test]
fn crowds_that_come_and_go_leave_no_memory_behind() {
    let _crowd = CROWD.lock();
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let count = room_for(2_000);
    let mut after = Vec::new();
    for _ in 0..5 {
        let mut sockets = crowd(
            store.address(),
            count,
            b"GET /v2/keys HTTP/1.1\r\nHost: t\r\n\r\n",
        );
        for socket in &mut sockets {
            read_answer(socket);
        }
        drop(sockets);
        expect_released(&store, "connections that left", Duration::from_secs(60));
        after.push(resident(&store));
    }
    println!("KiB after each of five crowds: {after:?}");
    // The first crowd makes the allocator's arenas.
    assert!(
        after[4] < after[1] + 6 * 1024,
        "memory grows with each crowd: {after:?}"
    );
}

#[test]
fn ten_thousand_idle_watchers_are_cheap_and_one_event_reaches_a_thousand() {
    let _crowd = CROWD.lock();
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let all = room_for(10_000);
    let mut quiet = crowd(
        address,
        all - all / 10,
        b"GET /v2/keys/quiet?wait=true HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    let mut awake = crowd(
        address,
        all / 10,
        b"GET /v2/keys/loud?wait=true HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    for socket in quiet.iter_mut().chain(&mut awake) {
        assert!(read_head(socket).starts_with("HTTP/1.1 200 "));
    }
    let memory = resident(&store);
    println!("{all} watchers, {memory} KiB in all");
    assert!(memory < 100 * 1024, "{all} watchers take {memory} KiB");
    let begun = Instant::now();
    request(address, "PUT", "/v2/keys/loud", &[FORM], b"value=now").unwrap();
    for socket in &mut awake {
        let mut size = [0; 4];
        socket.read_exact(&mut size).unwrap();
    }
    let taken = begun.elapsed();
    println!("one event reached {} watchers within {taken:?}", awake.len());
    assert!(taken < Duration::from_secs(1), "{taken:?}");
    assert!(
        !quiet.iter_mut().step_by(100).any(is_closed),
        "a quiet watcher was closed"
    );
    drop((quiet, awake));
    expect_released(&store, "watches of clients that left", Duration::from_secs(60));
}

#[test]
fn readers_that_do_not_read_are_cut() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let value = format!("value={}", "x".repeat(1 << 20));
    // All of it together is below what may wait for slow readers.
    for number in 0..16 {
        let target = format!("/v2/keys/large/{number}");
        let answer = request(address, "PUT", &target, &[FORM], value.as_bytes()).unwrap();
        assert_eq!(answer.status, 201);
    }
    let text = "GET /v2/keys/large HTTP/1.1\r\nHost: t\r\n\r\n";
    let hyper = "GET /v2/keys/large HTTP/1.1\r\nHost: t\r\nExpect: nothing\r\n\r\n";
    let limit = Duration::from_secs(30);
    expect_released(&store, "the connections of the writes", limit);
    let begun = Instant::now();
    let mut stuck = crowd(address, 2, text.as_bytes());
    stuck.extend(crowd(address, 2, hyper.as_bytes()));
    // A trickle is hardly better than nothing.
    let mut trickling = crowd(address, 1, text.as_bytes());
    trickling.extend(crowd(address, 1, hyper.as_bytes()));
    let all = stuck.len() + trickling.len();
    until("slow readers to be accepted", limit, || {
        (connections(&store) == all).then_some(())
    });
    let mut last = Instant::now();
    until("slow readers to be cut", Duration::from_secs(90), || {
        if last.elapsed() > Duration::from_secs(1) {
            last = Instant::now();
            for socket in &mut trickling {
                // Once the server has cut it, this is the rest of what was on its way.
                let _ = socket.read(&mut [0; 1024]);
            }
        }
        (connections(&store) == 0).then_some(())
    });
    println!("slow readers were cut after {:?}", begun.elapsed());
    assert!(
        begun.elapsed() > Duration::from_secs(25),
        "a reader may pause for half a minute"
    );
    let whole = request(address, "GET", "/v2/keys/large", &[], b"").unwrap();
    assert!(whole.body.len() > 16 << 20, "whoever reads gets all of it");
}

/// The kernel's timer for the server's side of a connection: 2 is keep-alive.
fn timer(store: &Store, client: SocketAddr) -> Option<String> {
    let hex = |port: u16| format!(":{port:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ours = words.get(1)?.ends_with(&hex(store.address().port()));
        let theirs = words.get(2)?.ends_with(&hex(client.port()));
        (ours && theirs).then(|| words[5].split(':').next().unwrap().to_owned())
    })
}

#[test]
fn half_open_connections_are_released() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    // Whoever says that no more will come gets an answer to what was whole, and is let go of.
    for round in 0..50 {
        for target in ["/version", "/v2/keys", "/metrics", "/v2/stats/self"] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n");
            let mut asking = crowd(address, 1, text.as_bytes()).remove(0);
            asking.shutdown(Shutdown::Write).unwrap();
            let mut answer = String::new();
            asking.read_to_string(&mut answer).unwrap();
            assert!(
                answer.starts_with("HTTP/1.1 200 "),
                "round {round}, {target}: {answer:?}"
            );
        }
    }
    let partial = crowd(address, 10, b"GET /v2/keys HTTP/1.1\r\nHo");
    let watching = crowd(
        address,
        10,
        b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    for socket in partial.iter().chain(&watching) {
        socket.shutdown(Shutdown::Write).unwrap();
    }
    let limit = Duration::from_secs(30);
    expect_released(&store, "half-closed connections", limit);
    // Whoever says nothing is let go of when the time for a head is over.
    let silent = crowd(address, 50, b"");
    until("silent connections to be accepted", limit, || {
        (connections(&store) == silent.len()).then_some(())
    });
    expect_released(&store, "silent connections", limit);
    drop((partial, watching, silent));
    // A watcher whose machine is gone says nothing at all: the kernel asks after it.
    let mut watching = crowd(
        address,
        1,
        b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: t\r\n\r\n",
    )
    .remove(0);
    read_head(&mut watching);
    let client = watching.local_addr().unwrap();
    until("the keep-alive timer of a watch", limit, || {
        timer(&store, client).filter(|timer| timer == "02")
    });
}

#[test]
fn few_descriptors_mean_few_connections_and_no_harm() {
    let scratch = Scratch::new();
    let berth = wrapped(&scratch, "ulimit -n 300 && exec \"$B\" \"$@\"");
    let mut store = Store::start_in(&berth, &scratch.join("store"), &["--snapshot-count", "200"]);
    let address = store.address();
    let ask = b"GET /v2/keys HTTP/1.1\r\nHost: t\r\n\r\n";
    // More than the limit: those beyond wait in the kernel's queue.
    let mut sockets = crowd(address, 400, ask);
    let mut served = 0;
    for socket in &mut sockets {
        socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        if socket.peek(&mut [0]).is_err() {
            break;
        }
        read_answer(socket);
        served += 1;
    }
    println!("{served} connections with 300 descriptors");
    assert!((100..290).contains(&served), "{served}");
    // The member still has descriptors of its own: for new segments of the log, and for images.
    let mut writer = sockets.swap_remove(0);
    writer.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    for number in 0..600 {
        let text = format!(
            "PUT /v2/keys/n/{}?value={number} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n",
            number % 50
        );
        writer.write_all(text.as_bytes()).unwrap();
        assert!(read_answer(&mut writer).starts_with("HTTP/1.1 20"));
    }
    // One that leaves makes room for one that waits.
    let waiting = &mut sockets[399 - 1];
    assert!(!is_closed(waiting), "a waiting connection was dropped");
    let mut waiting = sockets.pop().unwrap();
    drop((sockets, writer));
    waiting.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert!(read_answer(&mut waiting).starts_with("HTTP/1.1 200 "));
    assert!(!store.log().contains("accept failed"), "{}", store.log());
    store.stop();
}
