//! Every bound on what a client may send or hold, one below it, at it, and one above it: below and at it all is well, above
//! it the client is told so, and the store serves everybody else.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use berth_harness::{Process, Scratch, Store, request, run, until};

use crate::berth;
use crate::raw::{FORM, connect, connections, crowd, is_closed, read_answer, read_head, resident};

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(60);

/// The longest target, in bytes; a longer one is 414.
const TARGET: usize = 8 << 10;
/// The longest head of a request, in bytes, and the most headers; more is 431.
const HEAD: usize = TARGET + (32 << 10);
const HEADERS: usize = 100;
/// The most fields of query and form.
const FIELDS: usize = 32;
/// The most components of a key.
const DEPTH: usize = 128;
/// The longest time to live, in seconds: the last whose end can be named.
const TTL: u64 = 9_223_372_036;
/// The largest form, in bytes; a larger one is 413.
const LARGEST_FORM: usize = 3 << 19;
/// Bytes of forms that are read at a time.
const FORMS: usize = 64 << 20;
/// What is read of a body that means nothing; a longer one ends the connection.
const IGNORED: usize = 256 << 10;

/// The status of the answer to one request, on a connection of its own.
fn status(address: SocketAddr, bytes: &[u8]) -> u16 {
    let mut socket = connect(address);
    socket.write_all(bytes).unwrap();
    let head = read_head(&mut socket);
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Asks three times, one below the bound, at it, and above it.
fn check(address: SocketAddr, what: &str, bound: usize, make: impl Fn(usize) -> String, expected: [u16; 3]) {
    let seen = [bound - 1, bound, bound + 1].map(|size| status(address, make(size).as_bytes()));
    assert_eq!(seen, expected, "{what}, around {bound}");
}

fn get_with(headers: &str) -> String {
    format!("GET /v2/keys HTTP/1.1\r\nHost: t\r\n{headers}\r\n")
}

fn put(target: &str, form: &str) -> String {
    let length = form.len();
    format!(
        "PUT {target} HTTP/1.1\r\nHost: t\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n{form}"
    )
}

#[test]
fn heads_have_bounds() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let headers = |count: usize| {
        let more: String = (1..count).map(|number| format!("X-{number}: x\r\n")).collect();
        get_with(&more)
    };
    check(address, "headers", HEADERS, headers, [200, 200, 431]);
    let head = |bytes: usize| {
        let rest = bytes - get_with("X: \r\n").len();
        get_with(&format!("X: {}\r\n", "x".repeat(rest)))
    };
    assert_eq!(head(HEAD).len(), HEAD);
    check(address, "bytes of a head", HEAD, head, [200, 200, 431]);
    // Never ended, and no more is read of it than that.
    let endless = get_with(&format!("X: {}", "x".repeat(2 * HEAD)));
    assert_eq!(status(address, endless.trim_end().as_bytes()), 431);
    let target = |bytes: usize| {
        let key = "k".repeat(bytes - "/v2/keys/".len());
        format!("GET /v2/keys/{key} HTTP/1.1\r\nHost: t\r\n\r\n")
    };
    check(address, "bytes of a target", TARGET, target, [404, 404, 414]);
    let elsewhere = |bytes: usize| {
        format!(
            "GET /version?{} HTTP/1.1\r\nHost: t\r\n\r\n",
            "x".repeat(bytes - 9)
        )
    };
    check(
        address,
        "bytes of another target",
        TARGET,
        elsewhere,
        [200, 200, 414],
    );
    assert_eq!(status(address, get_with("").as_bytes()), 200);
}

#[test]
fn keys_and_parameters_have_bounds() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let long = |bytes: usize| put(&format!("/v2/keys/{}", "k".repeat(bytes)), "value=1");
    let longest = TARGET - "/v2/keys/".len();
    check(address, "bytes of a key", longest, long, [201, 201, 414]);
    let deep = |depth: usize| put(&format!("/v2/keys{}", "/d".repeat(depth - 1) + "/f"), "value=1");
    check(address, "depth of a key", DEPTH, deep, [201, 201, 400]);
    let fields = |count: usize| put("/v2/keys/fields", &vec!["value=1"; count].join("&"));
    check(address, "fields of a form", FIELDS, fields, [201, 200, 400]);
    let both = |count: usize| {
        let query = vec!["x=1"; count - 1].join("&");
        put(&format!("/v2/keys/fields?{query}"), "value=1")
    };
    check(address, "fields of query and form", FIELDS, both, [200, 200, 400]);
    let ttl = |seconds: usize| put("/v2/keys/ttl", &format!("ttl={seconds}"));
    let longest = usize::try_from(TTL).unwrap();
    check(address, "time to live", longest, ttl, [201, 200, 400]);
    for (name, beyond) in [("ttl", 400), ("prevIndex", 400), ("waitIndex", 400)] {
        let method = if name == "waitIndex" { "GET" } else { "PUT" };
        for number in ["18446744073709551616", "99999999999999999999999", "-1"] {
            let target = format!("/v2/keys/ttl?wait=true&{name}={number}");
            let text = format!("{method} {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
            assert_eq!(status(address, text.as_bytes()), beyond, "{name}={number}");
        }
    }
}

#[test]
fn bodies_have_bounds() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let value = |bytes: usize| {
        put(
            "/v2/keys/large?noValueOnSuccess=true",
            &format!("value={}", "v".repeat(bytes)),
        )
    };
    let largest = LARGEST_FORM - "value=".len();
    check(address, "bytes of a value", largest, value, [201, 200, 413]);
    let chunked = |bytes: usize| {
        let form = format!("value={}", "v".repeat(bytes - "value=".len()));
        format!(
            "PUT /v2/keys/large?noValueOnSuccess=true HTTP/1.1\r\nHost: t\r\n{}: {}\r\n\
             Transfer-Encoding: chunked\r\n\r\n{bytes:x}\r\n{form}\r\n0\r\n\r\n",
            FORM.0, FORM.1
        )
    };
    check(
        address,
        "bytes of a form in chunks",
        LARGEST_FORM,
        chunked,
        [200, 200, 413],
    );
    // A body that means nothing is passed over, or the connection ends with the answer.
    for (bytes, goes_on) in [(IGNORED - 1, true), (IGNORED, true), (2 * IGNORED, false)] {
        let mut socket = connect(address);
        let text = format!("GET /v2/keys HTTP/1.1\r\nHost: t\r\nContent-Length: {bytes}\r\n\r\n");
        socket.write_all(text.as_bytes()).unwrap();
        // The server may close before all of it is sent.
        let sent = socket.write_all("x".repeat(bytes).as_bytes());
        if goes_on {
            sent.unwrap();
            assert!(read_answer(&mut socket).starts_with("HTTP/1.1 200 "));
            socket.write_all(get_with("").as_bytes()).unwrap();
            assert!(read_answer(&mut socket).starts_with("HTTP/1.1 200 "));
        } else {
            until("the end of the connection", LIMIT, || {
                is_closed(&mut socket).then_some(())
            });
        }
    }
}

/// A form that is announced and not sent. Leave to send it comes when it is accounted for.
fn announce(address: SocketAddr, bytes: usize) -> (TcpStream, String) {
    let mut socket = connect(address);
    let text = format!(
        "PUT /v2/keys/k HTTP/1.1\r\nHost: t\r\n{}: {}\r\nExpect: 100-continue\r\nContent-Length: {bytes}\r\n\r\n",
        FORM.0, FORM.1
    );
    socket.write_all(text.as_bytes()).unwrap();
    let head = read_head(&mut socket);
    (socket, head)
}

#[test]
fn the_bytes_of_all_forms_have_a_bound() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let mut held = Vec::new();
    let mut announced = 0;
    while announced < FORMS {
        let bytes = LARGEST_FORM.min(FORMS - announced);
        let (socket, head) = announce(address, bytes);
        assert!(
            head.starts_with("HTTP/1.1 100 "),
            "after {announced} bytes: {head}"
        );
        announced += bytes;
        held.push(socket);
    }
    let small = put("/v2/keys/small", "v");
    assert_eq!(status(address, small.as_bytes()), 503, "one byte more");
    assert_eq!(status(address, get_with("").as_bytes()), 200, "reads go on");
    drop(held.pop());
    until("room for one form", LIMIT, || {
        (status(address, small.as_bytes()) == 201).then_some(())
    });
}

/// Opens a watch; gives the status with it.
fn watch(address: SocketAddr) -> (TcpStream, String) {
    let mut socket = connect(address);
    socket
        .write_all(b"GET /v2/keys/w?wait=true HTTP/1.1\r\nHost: t\r\n\r\n")
        .unwrap();
    let head = read_head(&mut socket);
    (socket, head)
}

#[test]
fn watches_have_a_bound() {
    let scratch = Scratch::new();
    let store = Store::start_in(&berth(), &scratch.join("store"), &["--max-watches", "3"]);
    let address = store.address();
    let mut open: Vec<TcpStream> = (0..3)
        .map(|number| {
            let (socket, head) = watch(address);
            assert!(head.starts_with("HTTP/1.1 200 "), "watch {number}: {head}");
            socket
        })
        .collect();
    let (_, head) = watch(address);
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(!open.iter_mut().any(is_closed), "those there are go on");
    drop(open.pop());
    let last = until("room for a watch", LIMIT, || {
        let (socket, head) = watch(address);
        head.starts_with("HTTP/1.1 200 ").then_some(socket)
    });
    open.push(last);
    request(address, "PUT", "/v2/keys/w", &[FORM], b"value=now").unwrap();
    for socket in &mut open {
        assert!(read_chunk(socket).contains("\"now\""));
    }
}

fn read_chunk(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("0\r\n\r\n") {
        let mut byte = [0];
        std::io::Read::read_exact(socket, &mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
    text
}

#[test]
fn connections_have_a_bound() {
    let scratch = Scratch::new();
    let store = Store::start_in(&berth(), &scratch.join("store"), &["--max-connections", "3"]);
    let address = store.address();
    let mut open = crowd(address, 3, get_with("").as_bytes());
    for socket in &mut open {
        read_answer(socket);
    }
    let mut waiting = crowd(address, 1, get_with("").as_bytes()).remove(0);
    let held = "three connections, and no fourth";
    until(held, LIMIT, || (connections(&store) == 3).then_some(()));
    // It is in the kernel's queue: what is asked on the others is answered, and this one is not.
    for socket in &mut open {
        socket.write_all(get_with("").as_bytes()).unwrap();
        read_answer(socket);
    }
    waiting
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert!(waiting.peek(&mut [0]).is_err(), "a fourth connection was served");
    until(held, LIMIT, || (connections(&store) == 3).then_some(()));
    drop(open.pop());
    waiting.set_read_timeout(Some(LIMIT)).unwrap();
    assert!(read_answer(&mut waiting).starts_with("HTTP/1.1 200 "));
}

#[test]
fn connections_of_one_address_have_a_bound() {
    let scratch = Scratch::new();
    let flags = ["--max-connections-per-address", "3"];
    let store = Store::start_in(&berth(), &scratch.join("store"), &flags);
    let address = store.address();
    let mut open = crowd(address, 3, get_with("").as_bytes());
    for socket in &mut open {
        read_answer(socket);
    }
    let mut beyond = connect(address);
    until("the end of a fourth connection", LIMIT, || {
        is_closed(&mut beyond).then_some(())
    });
    let from_elsewhere = |target: &str| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--interface", "127.0.0.2"])
            .arg(store.url() + target);
        run(&mut curl, LIMIT)
    };
    assert!(from_elsewhere("/version").ok().contains("etcdserver"));
    let counted = from_elsewhere("/metrics");
    assert!(
        counted
            .ok()
            .contains("\nberth_http_refused_connections_total 1\n"),
        "{}",
        counted.stdout
    );
    drop(open.pop());
    until("room for another connection", LIMIT, || {
        let mut socket = connect(address);
        (socket.write_all(get_with("").as_bytes()).is_ok() && !is_closed(&mut socket)).then_some(())
    });
}

/// Values of a MiB each in the directory that slow readers ask for.
const VALUES: usize = 16;
/// The bound on what waits for them, in MiB.
const WAITING: usize = 128;

/// What the store says that waits for slow readers, in bytes.
fn waiting(address: SocketAddr) -> usize {
    let page = request(address, "GET", "/metrics", &[], b"").unwrap().text();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("berth_http_waiting_bytes "));
    line.unwrap().parse().unwrap()
}

#[test]
fn what_waits_for_slow_readers_has_a_bound() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let value = format!("value={}", "x".repeat(1 << 20));
    for number in 0..VALUES {
        let target = format!("/v2/keys/large/{number}");
        let answer = request(address, "PUT", &target, &[FORM], value.as_bytes()).unwrap();
        assert_eq!(answer.status, 201);
    }
    let before = resident(&store);
    let mut slow = Vec::new();
    let mut most = 0;
    // One after the other, so that it is known who has waited longest. Every second one is answered by another part.
    for number in 0..4 * WAITING / VALUES {
        let more = ["", "Expect: nothing\r\n"][number % 2];
        let text = format!("GET /v2/keys/large HTTP/1.1\r\nHost: t\r\n{more}\r\n");
        let socket = crowd(address, 1, text.as_bytes()).remove(0);
        until("an answer to begin", LIMIT, || socket.peek(&mut [0]).ok());
        slow.push(socket);
        most = most.max(waiting(address));
    }
    let what = "those who waited longest to be cut";
    let left = until(what, Duration::from_secs(20), || {
        Some(connections(&store)).filter(|left| *left <= slow.len() / 2)
    });
    let held = resident(&store).saturating_sub(before);
    println!(
        "{left} of {} slow readers are left; at most {most} bytes waited, {held} KiB are held",
        slow.len()
    );
    assert!(
        (WAITING / 2) << 20 < most && most <= WAITING << 20,
        "{most} bytes waited"
    );
    // The allocator keeps some of what it got; all the answers would be twice as much.
    assert!(held < 1024 * 2 * WAITING as u64, "{held} KiB are held");
    // Whoever came last is still served, and so is a reader that reads.
    let mut last = BufReader::new(slow.pop().unwrap());
    assert!(read_answer(&mut last).len() > VALUES << 20);
    let whole = request(address, "GET", "/v2/keys/large", &[], b"").unwrap();
    assert!(whole.body.len() > VALUES << 20);
}

#[test]
fn events_that_wait_for_slow_readers_have_a_bound() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    let address = store.address();
    let ask = b"GET /v2/keys/s?wait=true&stream=true HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut slow = crowd(address, 4, ask);
    for socket in &mut slow {
        read_head(socket);
    }
    let mut curl = Command::new("curl");
    curl.args(["-sN", "-o", "/dev/null"])
        .arg(store.url() + "/v2/keys/s?wait=true&stream=true");
    let mut reading = Process::start(&mut curl, &scratch.join("curl"));
    let value = format!("value={}", "x".repeat(1 << 20));
    let mut most = 0;
    // Far fewer than the events that a stream may lag behind by.
    for _ in 0..100 {
        let target = "/v2/keys/s?noValueOnSuccess=true";
        let answer = request(address, "PUT", target, &[FORM], value.as_bytes());
        assert!(answer.unwrap().status < 300);
        most = most.max(waiting(address));
    }
    println!("at most {most} bytes waited");
    // One event has the value before, too, and one more may have come by the time at which those who lag are gone.
    assert!(
        (WAITING / 2) << 20 < most && most <= (WAITING + 16) << 20,
        "{most} bytes waited"
    );
    for socket in &mut slow {
        until("a lagging stream to end", Duration::from_secs(20), || {
            is_closed(socket).then_some(())
        });
    }
    assert!(reading.ended().is_none(), "a reader that reads goes on");
}
