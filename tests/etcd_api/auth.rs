//! Users and roles over time: restarts, images, watches that outlive a right, locks, floods of wrong passwords, and documents
//! that nobody meant. What one request after the other shows stands in the case files.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use berth_harness::{Berth, Cluster, Response, Scratch, Store, Stream, request, request_within, until};

use crate::{Member, on_berth, reference_alone};

/// `root:pw`.
const ROOT: (&str, &str) = ("Authorization", "Basic cm9vdDpwdw==");
/// `root:bad`.
const WRONG: (&str, &str) = ("Authorization", "Basic cm9vdDpiYWQ=");
/// `alice:pw`.
const ALICE: (&str, &str) = ("Authorization", "Basic YWxpY2U6cHc=");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// For waits on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn ask(at: SocketAddr, method: &str, target: &str, who: &[(&str, &str)], body: &str) -> Response {
    let headers = [&[FORM], who].concat();
    request_within(at, method, target, &headers, body.as_bytes(), PATIENCE)
        .unwrap_or_else(|error| panic!("{method} {target}: {error}"))
}

fn done(answer: &Response) {
    assert!(
        matches!(answer.status, 200 | 201),
        "{} {}",
        answer.status,
        answer.text()
    );
}

/// A store with root, alice, who may do what the pattern says, and no guest.
fn guard(at: SocketAddr, pattern: &str) {
    let role =
        format!(r#"{{"role":"r","permissions":{{"kv":{{"read":["{pattern}"],"write":["{pattern}"]}}}}}}"#);
    done(&ask(at, "PUT", "/v2/auth/roles/r", &[], &role));
    let alice = r#"{"user":"alice","password":"pw","roles":["r"]}"#;
    done(&ask(at, "PUT", "/v2/auth/users/alice", &[], alice));
    let root = r#"{"user":"root","password":"pw"}"#;
    done(&ask(at, "PUT", "/v2/auth/users/root", &[], root));
    done(&ask(at, "PUT", "/v2/auth/enable", &[], ""));
    done(&ask(at, "DELETE", "/v2/auth/roles/guest", &[ROOT], ""));
}

/// Whether a store is guarded as by [`guard`] with `/a/*`.
fn check_guarded(at: SocketAddr) {
    for (target, who, status) in [
        ("/v2/keys/a/k", &[][..], 401),
        ("/v2/keys/a/k", &[ROOT], 200),
        ("/v2/keys/a/k", &[ALICE], 200),
        ("/v2/keys/b", &[ALICE], 401),
        ("/v2/keys/a/k", &[WRONG], 401),
    ] {
        let answer = ask(at, "GET", target, who, "");
        assert_eq!(answer.status, status, "{target} {who:?}: {}", answer.text());
    }
    let users = ask(at, "GET", "/v2/auth/users", &[ROOT], "").text();
    assert!(
        users.contains(r#"{"user":"alice","roles":[{"role":"r""#),
        "{users}"
    );
}

#[test]
fn users_and_roles_outlive_the_process() {
    if reference_alone() {
        return;
    }
    let scratch = Scratch::new();
    let berth = Berth::new(env!("CARGO_BIN_EXE_berth"));
    let few = ["--snapshot-count", "20"];
    let mut store = Store::start_in(&berth, &scratch.join("data"), &few);
    guard(store.address(), "/a/*");
    done(&ask(store.address(), "PUT", "/v2/keys/a/k", &[ALICE], "value=1"));
    store.kill();
    store.restart();
    check_guarded(store.address());
    // Enough for a snapshot, which is all that the next start has of the beginning.
    for _ in 0..200 {
        done(&ask(store.address(), "PUT", "/v2/keys/a/k", &[ALICE], "value=1"));
    }
    store.stop();
    store.restart();
    check_guarded(store.address());
    let password = r#"{"user":"alice","password":"other"}"#;
    done(&ask(
        store.address(),
        "PUT",
        "/v2/auth/users/alice",
        &[ROOT],
        password,
    ));
    assert_eq!(
        ask(store.address(), "GET", "/v2/keys/a/k", &[ALICE], "").status,
        401
    );
}

/// More than the entries that are kept behind an image.
const MISSED: usize = 6_400;
const WRITERS: usize = 16;

#[test]
fn a_late_member_gets_users_and_roles_with_its_image() {
    if reference_alone() {
        return;
    }
    let scratch = Scratch::new();
    let berth = Berth::new(env!("CARGO_BIN_EXE_berth"));
    let cluster = Cluster::start(&berth, &scratch, 3, &["--snapshot-count", "500"]);
    cluster.wait_all();
    let leader = cluster.leader();
    let late = (leader + 1) % 3;
    cluster.pause(late);
    let at = cluster.client(leader);
    guard(at, "/a/*");
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                for _ in 0..MISSED / WRITERS {
                    done(&ask(at, "PUT", "/v2/keys/a/k", &[ALICE], "value=1"));
                }
            });
        }
    });
    cluster.resume(late);
    let log = || cluster.log(late).matches("image received").count();
    until("an image", PATIENCE, || (log() > 0).then_some(()));
    cluster.wait_healthy(late);
    for member in cluster.clients() {
        check_guarded(member);
    }
    // A follower passes changes on, and follows them itself.
    let change = r#"{"role":"r","grant":{"kv":{"read":["/b"]}}}"#;
    done(&ask(
        cluster.client(late),
        "PUT",
        "/v2/auth/roles/r",
        &[ROOT],
        change,
    ));
    assert_eq!(
        ask(cluster.client(late), "GET", "/v2/keys/b", &[ALICE], "").status,
        404
    );
}

#[test]
fn wrong_passwords_hold_nobody_up() {
    const FLOOD: usize = 200;
    on_berth(|member| {
        let at = member.address();
        guard(at, "/a/*");
        done(&ask(at, "PUT", "/v2/keys/a/k", &[ALICE], "value=1"));
        // Both were right before, and are let in without another hash.
        check_guarded(at);
        let (refused, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let mut slowest = Vec::new();
        std::thread::scope(|scope| {
            let flood: Vec<_> = (0..FLOOD)
                .map(|_| {
                    scope.spawn(|| {
                        let answer = ask(at, "GET", "/v2/keys/a/k", &[WRONG], "");
                        assert!(matches!(answer.status, 401 | 503), "{}", answer.text());
                        refused.fetch_add(1, Ordering::Relaxed);
                    })
                })
                .collect();
            until("the first refusal", PATIENCE, || {
                (refused.load(Ordering::Relaxed) > 0).then_some(())
            });
            while !over.load(Ordering::Relaxed) {
                for (method, body) in [("GET", ""), ("PUT", "value=2")] {
                    let begin = Instant::now();
                    done(&ask(at, method, "/v2/keys/a/k", &[ALICE], body));
                    slowest.push(begin.elapsed());
                }
                over.store(flood.iter().all(|each| each.is_finished()), Ordering::Relaxed);
            }
        });
        slowest.sort();
        assert_eq!(refused.load(Ordering::Relaxed), FLOOD);
        assert!(
            slowest.len() > 20,
            "only {} requests beside the flood",
            slowest.len()
        );
        // Alone they take a millisecond, behind the hashes of the flood they would take many seconds.
        let late = slowest[slowest.len() * 99 / 100];
        assert!(late < Duration::from_secs(3), "{late:?}");
    });
}

#[test]
fn a_watch_ends_with_the_right_to_it() {
    on_berth(|member| {
        let at = member.address();
        let target = "/v2/keys/w?wait=true&stream=true&recursive=true";
        // Opened while everybody may do everything.
        let mut stream = Stream::open(at, target);
        done(&ask(at, "PUT", "/v2/keys/w", &[], "value=1"));
        assert!(stream.chunk().unwrap().contains("\"value\":\"1\""));
        guard(at, "/w*");
        done(&ask(at, "PUT", "/v2/keys/w", &[ALICE], "value=secret"));
        assert_eq!(stream.chunk(), None, "the guest is gone, and may not see it");
        // alice's own, with her name and password in a request of its own making.
        let mut socket = watching(at, target);
        done(&ask(at, "PUT", "/v2/keys/w", &[ALICE], "value=2"));
        assert!(next(&mut socket).contains("\"value\":\"2\""));
        let password = r#"{"user":"alice","password":"other"}"#;
        done(&ask(at, "PUT", "/v2/auth/users/alice", &[ROOT], password));
        done(&ask(at, "PUT", "/v2/keys/w", &[ROOT], "value=secret"));
        let rest = rest(&mut socket);
        assert!(!rest.contains("secret"), "{rest}");
    });
}

/// A stream of alice's.
fn watching(at: SocketAddr, target: &str) -> std::net::TcpStream {
    use std::io::Write as _;
    let mut socket = std::net::TcpStream::connect(at).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let (name, value) = ALICE;
    write!(
        socket,
        "GET {target} HTTP/1.1\r\nHost: a\r\n{name}: {value}\r\n\r\n"
    )
    .unwrap();
    assert!(next(&mut socket).starts_with("HTTP/1.1 200"));
    socket
}

/// What comes next.
fn next(socket: &mut std::net::TcpStream) -> String {
    use std::io::Read as _;
    let mut bytes = [0; 4 << 10];
    let count = socket.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..count]).into_owned()
}

/// What comes until the answer's end; the connection stays open behind it.
fn rest(socket: &mut std::net::TcpStream) -> String {
    let mut text = String::new();
    while !text.ends_with("0\r\n\r\n") {
        text.push_str(&next(socket));
    }
    text
}

#[test]
fn locks_go_by_the_rights_on_their_keys() {
    on_berth(|member| {
        let at = member.address();
        guard(at, "/_etcd/mod/lock/mine");
        for (name, who, status) in [
            ("mine", &[ALICE][..], 200),
            ("mine", &[ROOT], 200),
            ("mine", &[], 401),
            ("mine", &[WRONG], 401),
            ("other", &[ALICE], 401),
        ] {
            let target = format!("/mod/v2/lock/{name}?ttl=60&value=v");
            let answer = ask(at, "POST", &target, who, "");
            assert_eq!(answer.status, status, "{name} {who:?}: {}", answer.text());
            assert!(
                status == 200 || answer.text().contains("\"errorCode\":110"),
                "{}",
                answer.text()
            );
        }
        assert_eq!(ask(at, "GET", "/mod/v2/lock/mine", &[ALICE], "").text(), "v");
        assert_eq!(ask(at, "GET", "/mod/v2/lock/mine", &[], "").status, 401);
        assert_eq!(ask(at, "GET", "/mod/v2/leader/mine", &[], "").status, 401);
        assert_eq!(
            ask(at, "PUT", "/mod/v2/leader/other?name=x&ttl=60", &[ALICE], "").status,
            401
        );
    });
}

#[test]
fn what_is_berths_own_is_roots() {
    on_berth(|member| {
        let at = member.address();
        guard(at, "/a/*");
        for (who, refused) in [(&[][..], true), (&[ALICE], true), (&[ROOT], false)] {
            let answer = ask(at, "GET", "/berth/backup", who, "");
            assert_eq!(answer.status == 401, refused, "{who:?}: {}", answer.status);
        }
    });
}

/// Changed documents, sent to a store.
#[test]
fn documents_that_nobody_meant_do_no_harm() {
    on_berth(|member| {
        let documents = [
            r#"{"user":"x","password":"pw","roles":["a"],"grant":[],"revoke":null}"#,
            r#"{"role":"x","permissions":{"kv":{"read":["/a*"],"write":[]}},"grant":{"kv":{"read":["/b"]}}}"#,
        ];
        let mut asked = 0;
        for document in documents {
            for at in (0..document.len()).step_by(3) {
                for put in ["", "\"", "}", "[[", "null", "\\u0000", "9e999", "\u{fe}"] {
                    let changed = format!("{}{put}{}", &document[..at], &document[at + 1..]);
                    for kind in ["users", "roles"] {
                        check(member, &format!("/v2/auth/{kind}/x"), &changed);
                        asked += 1;
                    }
                }
            }
        }
        assert!(asked > 500, "{asked}");
        done(&member.ask("GET", "/v2/auth/users", ""));
    });
}

fn check(member: &Member, target: &str, document: &str) {
    let answer = request(member.address(), "PUT", target, &[], document.as_bytes()).unwrap();
    let text = answer.text();
    assert!(
        matches!(answer.status, 200 | 201 | 400 | 403 | 404 | 409),
        "{document}: {} {text}",
        answer.status
    );
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(json.is_object(), "{document}: {text}");
    assert!(!text.contains("$2"), "a hash was told: {text}");
}

#[test]
fn documents_have_a_largest_size() {
    on_berth(|member| {
        let patterns = |count: usize| {
            let patterns: Vec<String> = (0..count)
                .map(|at| format!("\"/some/long/pattern/{at:08}\""))
                .collect();
            format!(
                r#"{{"role":"x","permissions":{{"kv":{{"read":[{}]}}}}}}"#,
                patterns.join(",")
            )
        };
        let large = ask(
            member.address(),
            "PUT",
            "/v2/auth/roles/x",
            &[],
            &patterns(20_000),
        );
        assert_eq!(large.status, 413, "{}", large.text());
        let fits = ask(member.address(), "PUT", "/v2/auth/roles/x", &[], &patterns(5_000));
        assert_eq!(fits.status, 201, "{}", fits.text());
        let long = format!(r#"{{"user":"x","password":"{}"}}"#, "p".repeat(73));
        let long = ask(member.address(), "PUT", "/v2/auth/users/x", &[], &long);
        assert_eq!(
            (long.status, long.text()),
            (
                400,
                r#"{"message":"auth: the password is longer than 72 bytes"}"#.to_owned()
            )
        );
    });
}
