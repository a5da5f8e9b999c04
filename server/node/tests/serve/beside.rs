//! What is beside the keys and the members: metrics, variables, the level of the log, cross-origin requests.

use crate::client::{Answer, Server};
use berth_node::{LogLevel, SetLogLevel};
use std::sync::{Arc, Mutex};

fn with_headers(server: &Server, request: &str, headers: &str, body: &str) -> Answer {
    let mut client = server.client();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    client.send(head.as_bytes());
    client.answer(request.starts_with("HEAD"))
}

/// The value of a sample, written as on the page.
fn sample(page: &str, name: &str) -> f64 {
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing in\n{page}"))
        .parse()
        .unwrap()
}

#[test]
fn metrics_have_the_names_that_dashboards_know() {
    let server = Server::start();
    server.ask("PUT", "/v2/keys/k", "value=1");
    server.ask("PUT", "/v2/keys/k", "prevValue=x&value=1");
    server.ask("GET", "/v2/keys/k", "");
    let mut watch = server.client();
    watch.send(b"GET /v2/keys/k?wait=true HTTP/1.1\r\nHost: test\r\n\r\n");
    watch.head();
    let page = server.ask("POST", "/metrics", "").body;
    for (name, least, most) in [
        ("etcd_server_has_leader", 1.0, 1.0),
        ("etcd_server_is_leader", 1.0, 1.0),
        ("etcd_server_leader_changes_seen_total", 1.0, 1.0),
        ("etcd_server_proposals_committed_total", 5.0, 20.0),
        ("etcd_server_proposals_applied_total", 5.0, 20.0),
        ("etcd_server_proposals_pending", 0.0, 0.0),
        ("etcd_server_proposals_failed_total", 0.0, 0.0),
        ("etcd_server_version{server_version=\"3.4.23\"}", 1.0, 1.0),
        ("etcd_disk_wal_fsync_duration_seconds_count", 2.0, 100.0),
        (
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"}",
            2.0,
            100.0,
        ),
        (
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.001\"}",
            0.0,
            100.0,
        ),
        (
            "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"8.192\"}",
            2.0,
            100.0,
        ),
        ("etcd_disk_wal_fsync_duration_seconds_sum", 0.0, 100.0),
        ("etcd_debugging_store_reads_total{action=\"get\"}", 1.0, 1.0),
        ("etcd_debugging_store_writes_total{action=\"set\"}", 1.0, 1.0),
        (
            "etcd_debugging_store_writes_failed_total{action=\"compareAndSwap\"}",
            1.0,
            1.0,
        ),
        ("etcd_debugging_store_expires_total", 0.0, 0.0),
        ("etcd_debugging_store_watch_requests_total", 1.0, 1.0),
        ("etcd_debugging_store_watchers", 1.0, 1.0),
        ("process_resident_memory_bytes", 1e6, 1e12),
        ("process_open_fds", 5.0, 1e6),
        ("process_max_fds", 5.0, 1e12),
        ("process_cpu_seconds_total", 1e-6, 1e5),
        ("process_start_time_seconds", 1.7e9, 1e10),
        ("berth_store_watchers", 1.0, 1.0),
    ] {
        let value = sample(&page, name);
        assert!((least..=most).contains(&value), "{name} {value}");
    }
    let names: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a name comes twice");
}

#[test]
fn variables_tell_what_is_true_of_this_program() {
    let server = Server::start();
    let vars = server.ask("GET", "/debug/vars", "");
    assert_eq!(
        vars.header("Content-Type"),
        Some("application/json; charset=utf-8")
    );
    let vars = vars.json();
    assert!(vars["cmdline"][0].as_str().unwrap().contains("serve"), "{vars}");
    assert!(vars["file_descriptor_limit"].as_u64().unwrap() > 10);
    assert_eq!(vars["raft.status"]["raftState"], "StateLeader");
    assert_eq!(vars["raft.status"]["id"], vars["raft.status"]["lead"]);
    assert!(vars.get("memstats").is_none());
    assert_eq!(server.ask("PUT", "/debug/vars", "").status, 405);
}

#[test]
fn the_level_of_the_log_is_changed_by_whoever_has_it() {
    let levels = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&levels);
    let server = Server::with(|config| {
        config.set_log_level = Some(SetLogLevel::new(move |level| {
            seen.lock().unwrap().push(level);
            level != LogLevel::Trace
        }));
    });
    let put = |document: &str| {
        let answer = with_headers(&server, "PUT /config/local/log", "", document);
        (answer.status, answer.body)
    };
    assert_eq!(put("{\"Level\":\"DEBUG\"}"), (204, String::new()));
    assert_eq!(put("{\"level\":\"critical\"}"), (204, String::new()));
    assert_eq!(
        put("{\"Level\":\"foo\"}"),
        (400, "{\"message\":\"Invalid log level foo\"}".to_owned())
    );
    assert_eq!(
        put("nonsense"),
        (400, "{\"message\":\"Invalid json body\"}".to_owned())
    );
    assert_eq!(put(&"x".repeat(2_000)).0, 400);
    assert_eq!(put("{\"Level\":\"TRACE\"}").0, 501, "it did not work");
    assert_eq!(
        *levels.lock().unwrap(),
        [LogLevel::Debug, LogLevel::Error, LogLevel::Trace]
    );
    assert_eq!(server.ask("GET", "/config/local/log", "").status, 405);
    let other = Server::start();
    let refused = with_headers(&other, "PUT /config/local/log", "", "{\"Level\":\"DEBUG\"}");
    assert_eq!(refused.status, 501);
}

#[test]
fn allowed_pages_may_read_every_answer() {
    let requests = [
        ("GET /v2/keys/none", 404),
        ("PUT /v2/keys/k", 201),
        ("GET /v2/keys/k?wait=true&waitIndex=1", 200),
        ("GET /v2/keys/k?wait=x", 400),
        ("GET /v2/keys//k", 301),
        ("PATCH /v2/keys/k", 405),
        ("OPTIONS /v2/keys/k", 200),
        ("GET /nothing", 404),
        ("GET /version", 200),
        ("DELETE /v2/members/x", 404),
        ("GET /mod/v2/lock/l", 500),
        ("GET /metrics", 200),
    ];
    let server = |origins: &[&str]| {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        Server::with(|config| config.cors = origins)
    };
    let names = |answer: &Answer| {
        [
            "Access-Control-Allow-Origin",
            "Access-Control-Allow-Methods",
            "Access-Control-Allow-Headers",
        ]
        .map(|name| answer.header(name).unwrap_or("-").to_owned())
    };
    let marks = |origin: &str| {
        [
            origin,
            "POST, GET, OPTIONS, PUT, DELETE",
            "accept, content-type, authorization",
        ]
        .map(str::to_owned)
    };
    let none = ["-"; 3].map(str::to_owned);
    let (off, listed, any) = (server(&[]), server(&["http://a", "http://b:1"]), server(&["*"]));
    for (request, status) in requests {
        for (server, origin, expected) in [
            (&off, "Origin: http://a\r\n", none.clone()),
            (&listed, "Origin: http://b:1\r\n", marks("http://b:1")),
            (&listed, "Origin: http://c\r\n", none.clone()),
            (&listed, "", none.clone()),
            (&any, "Origin: http://c\r\n", marks("*")),
            (&any, "", marks("*")),
        ] {
            let answer = with_headers(server, request, origin, "");
            assert!(
                answer.status == status || (request.starts_with("PUT") && answer.status == 200),
                "{request}: {answer:?}"
            );
            assert_eq!(names(&answer), expected, "{request} {origin}");
        }
    }
}
