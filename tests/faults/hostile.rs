//! Clients that mean ill, are broken or many: slow heads, slow readers, clients that vanish, crowds that idle, watch and leave,
//! and keys that are all due at once. Everybody else is served meanwhile, and nothing is kept of them afterwards.

use std::collections::HashMap;
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_harness::{Berth, Scratch, Store, request, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::berth;

/// One crowd at a time: each takes most of the descriptors of this process, and latencies are measured.
static CROWD: Mutex<()> = Mutex::new(());

/// Descriptors that are left to other tests of this process.
const SPARE_FILES: u64 = 600;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

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

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// Opens connections that each begin with some bytes.
fn crowd(address: SocketAddr, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut socket = connect(address);
            socket.write_all(bytes).unwrap();
            socket
        })
        .collect()
}

/// Reads up to the end of a head; what follows is left where it is.
fn read_head(socket: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "closed within a head");
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// Reads one whole answer of a known length.
fn read_answer(socket: &mut impl Read) -> String {
    let head = read_head(socket);
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.unwrap_or("0").trim().parse().unwrap()];
    socket.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// Whether the server has closed the connection; what it sent before is thrown away.
fn is_closed(socket: &mut TcpStream) -> bool {
    socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    let closed = loop {
        match socket.read(&mut bytes) {
            Ok(0) => break true,
            Ok(_) => {}
            Err(error) => break error.kind() != ErrorKind::WouldBlock,
        }
    };
    socket.set_nonblocking(false).unwrap();
    closed
}

/// The resident memory of a process, in KiB.
fn resident(store: &Store) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", store.id())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open_files(store: &Store) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", store.id()))
        .unwrap()
        .count()
}

/// The 99th percentile of writes and reads by one client on one connection.
fn latency(address: SocketAddr) -> Duration {
    let mut socket = connect(address);
    let mut taken: Vec<Duration> = (0..200)
        .map(|number| {
            let text = if number % 2 == 0 {
                "PUT /v2/keys/healthy?value=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n"
            } else {
                "GET /v2/keys/healthy HTTP/1.1\r\nHost: t\r\n\r\n"
            };
            let begun = Instant::now();
            socket.write_all(text.as_bytes()).unwrap();
            let answer = read_answer(&mut socket);
            assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
            begun.elapsed()
        })
        .collect();
    taken.sort();
    taken[taken.len() * 99 / 100]
}

/// A healthy client is served fast; other programs on this machine may spoil a measurement, not several.
fn expect_fast(what: &str, address: SocketAddr) {
    let longest = Duration::from_millis(100);
    let seen = until(what, Duration::from_secs(20), || {
        Some(latency(address)).filter(|seen| *seen < longest)
    });
    println!("{what}: p99 {seen:?}");
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
    let what = "the descriptors of connections that left";
    until(what, Duration::from_secs(20), || {
        (open_files(store) < 100).then_some(())
    });
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
        let what = "the descriptors of connections that left";
        until(what, Duration::from_secs(20), || {
            (open_files(&store) < 100).then_some(())
        });
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
    let what = "the watches of clients that left";
    until(what, Duration::from_secs(20), || {
        (open_files(&store) < 100).then_some(())
    });
}

#[test]
fn readers_that_do_not_read_are_cut() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let value = format!("value={}", "x".repeat(1 << 20));
    for number in 0..24 {
        let target = format!("/v2/keys/large/{number}");
        let answer = request(address, "PUT", &target, &[FORM], value.as_bytes()).unwrap();
        assert_eq!(answer.status, 201);
    }
    let text = "GET /v2/keys/large HTTP/1.1\r\nHost: t\r\n\r\n";
    let hyper = "GET /v2/keys/large HTTP/1.1\r\nHost: t\r\nExpect: nothing\r\n\r\n";
    let idle_files = open_files(&store);
    let mut stuck = crowd(address, 2, text.as_bytes());
    stuck.extend(crowd(address, 2, hyper.as_bytes()));
    // A trickle is hardly better than nothing.
    let mut trickling = crowd(address, 1, text.as_bytes());
    trickling.extend(crowd(address, 1, hyper.as_bytes()));
    let all = idle_files + stuck.len() + trickling.len();
    until("slow readers to be accepted", Duration::from_secs(10), || {
        (open_files(&store) >= all).then_some(())
    });
    let begun = Instant::now();
    let mut last = Instant::now();
    until("slow readers to be cut", Duration::from_secs(50), || {
        if last.elapsed() > Duration::from_secs(1) {
            last = Instant::now();
            for socket in &mut trickling {
                // Once the server has cut it, this is the rest of what was on its way.
                let _ = socket.read(&mut [0; 1024]);
            }
        }
        (open_files(&store) <= idle_files).then_some(())
    });
    println!("slow readers were cut after {:?}", begun.elapsed());
    assert!(
        begun.elapsed() > Duration::from_secs(25),
        "a reader may pause for half a minute"
    );
    let whole = request(address, "GET", "/v2/keys/large", &[], b"").unwrap();
    assert!(whole.body.len() > 24 << 20, "whoever reads gets all of it");
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
    let idle_files = open_files(&store);
    // Whoever says that no more will come gets an answer to what was whole, and is let go of.
    let mut asking = crowd(address, 1, b"GET /version HTTP/1.1\r\nHost: t\r\n\r\n").remove(0);
    asking.shutdown(Shutdown::Write).unwrap();
    assert!(read_answer(&mut asking).starts_with("HTTP/1.1 200 "));
    let mut plain = crowd(address, 1, b"GET /v2/keys HTTP/1.1\r\nHost: t\r\n\r\n").remove(0);
    plain.shutdown(Shutdown::Write).unwrap();
    assert!(read_answer(&mut plain).starts_with("HTTP/1.1 200 "));
    let partial = crowd(address, 10, b"GET /v2/keys HTTP/1.1\r\nHo");
    let watching = crowd(
        address,
        10,
        b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: t\r\n\r\n",
    );
    for socket in partial.iter().chain(&watching) {
        socket.shutdown(Shutdown::Write).unwrap();
    }
    until(
        "half-closed connections to be released",
        Duration::from_secs(5),
        || (open_files(&store) <= idle_files).then_some(()),
    );
    // Whoever says nothing is let go of when the time for a head is over.
    let silent = crowd(address, 50, b"");
    until(
        "silent connections to be released",
        Duration::from_secs(10),
        || (open_files(&store) <= idle_files).then_some(()),
    );
    drop((asking, plain, partial, watching, silent));
    // A watcher whose machine is gone says nothing at all: the kernel asks after it.
    let mut watching = crowd(
        address,
        1,
        b"GET /v2/keys/a?wait=true HTTP/1.1\r\nHost: t\r\n\r\n",
    )
    .remove(0);
    read_head(&mut watching);
    let client = watching.local_addr().unwrap();
    until("the keep-alive timer of a watch", Duration::from_secs(5), || {
        timer(&store, client).filter(|timer| timer == "02")
    });
}

/// A program that runs berth by way of a shell's line; `$B` is the real one.
fn wrapped(scratch: &Scratch, line: &str) -> Berth {
    use std::os::unix::fs::PermissionsExt as _;
    let path = scratch.join("wrapped");
    let text = format!("#!/bin/sh\nB={}\n{line}\n", berth().program().display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    Berth::new(path)
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

/// Keys that are due within the same second.
const DUE: usize = 200_000;
/// Connections that write them.
const WRITERS: usize = 200;
/// Requests sent at a time by each, to a directory of their own.
const ROW: usize = 200;
/// From the first write to the moment at which all are due; later writes get the shortest time there is.
const LEAD: Duration = Duration::from_secs(25);
/// All are gone so long after that moment.
const LONGEST_EXPIRY: Duration = Duration::from_secs(30);

#[test]
fn two_hundred_thousand_keys_that_are_due_in_one_second() {
    let _crowd = CROWD.lock();
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let begun = Instant::now();
    let earliest = Mutex::new(HashMap::new());
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let earliest = &earliest;
            scope.spawn(move || write_due(address, writer, begun, earliest));
        }
    });
    println!("{DUE} keys written within {:?}", begun.elapsed());
    watch_them_go(address, &earliest.into_inner().unwrap());
}

/// Writes this writer's rows; notes for each before which moment none of it may go.
fn write_due(address: SocketAddr, writer: usize, begun: Instant, earliest: &Mutex<HashMap<usize, Instant>>) {
    let mut socket = connect(address);
    let mut reader = BufReader::new(socket.try_clone().unwrap());
    for row in (writer..DUE / ROW).step_by(WRITERS) {
        let sent = Instant::now();
        let ttl = LEAD.saturating_sub(begun.elapsed()).as_secs().max(3);
        let form = format!("ttl={ttl} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
        let text: String = (0..ROW)
            .map(|number| format!("PUT /v2/keys/due/{row}/{number}?{form}"))
            .collect();
        socket.write_all(text.as_bytes()).unwrap();
        for _ in 0..ROW {
            let answer = read_answer(&mut reader);
            assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        }
        earliest
            .lock()
            .unwrap()
            .insert(row, sent + Duration::from_secs(ttl));
    }
}

/// Looks at one row after the other until all are empty. None is before its time, and each look is answered soon.
fn watch_them_go(address: SocketAddr, earliest: &HashMap<usize, Instant>) {
    assert_eq!(earliest.len(), DUE / ROW);
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
        assert!(
            late < LONGEST_EXPIRY,
            "{} rows are still there {late:?} late",
            rows.len()
        );
    }
    let late = Instant::now().saturating_duration_since(last_due);
    println!("all were gone {late:?} after the last was due; the slowest answer took {longest:?}");
    assert!(
        longest < Duration::from_secs(1),
        "the member did not answer for {longest:?}"
    );
}
