//! Command lines of `etcd`, and what they come to.

use super::*;

fn settled(words: &str) -> Result<Settings, Refused> {
    let words: Vec<OsString> = words.split_whitespace().map(OsString::from).collect();
    match words::read(&words, &[], &|_| Err(String::new()))? {
        Wish::Serve(line) => settle(&line),
        other @ (Wish::Version | Wish::Help) => panic!("{other:?}"),
    }
}

/// Listening for clients, told to clients, listening for members, told to members.
fn addresses(words: &str) -> String {
    let Settings { node, .. } = settled(words).unwrap_or_else(|refused| panic!("{words}: {}", refused.text));
    let mut listen: Vec<String> = node
        .client_listen
        .iter()
        .filter(|address| address.is_ipv4())
        .map(ToString::to_string)
        .collect();
    listen.push("|".to_owned());
    listen.extend(node.advertise_client_urls);
    listen.push("|".to_owned());
    // A name may stand for addresses of both families, in any order.
    listen.extend(node.peer_listen.map(|address| address.port().to_string()));
    listen.push("|".to_owned());
    listen.extend(node.advertise_peer_urls);
    listen.join(" ")
}

#[test]
fn addresses_are_told_by_urls_or_by_the_flags_of_old() {
    for (words, expected) in [
        (
            "",
            "127.0.0.1:2379 127.0.0.1:4001 | http://localhost:2379 http://localhost:4001 | 2380 | http://localhost:2380",
        ),
        (
            "--listen-client-urls http://0.0.0.0:1,http://127.0.0.1:2 --advertise-client-urls http://h:1 \
             --listen-peer-urls http://127.0.0.1:3 --initial-advertise-peer-urls http://h:3",
            "0.0.0.0:1 127.0.0.1:2 | http://h:1 | 3 | http://h:3",
        ),
        (
            "-addr 127.0.0.1:5001 -peer-addr 127.0.0.1:7005",
            "127.0.0.1:5001 | http://127.0.0.1:5001 | 7005 | http://127.0.0.1:7005",
        ),
        (
            "-addr h:5001 -bind-addr 0.0.0.0 -peer-addr h:7005 -peer-bind-addr 127.0.0.1:9",
            "0.0.0.0:5001 | http://h:5001 | 9 | http://h:7005",
        ),
        (
            "-bind-addr 127.0.0.1:8",
            "127.0.0.1:8 | http://127.0.0.1:8 | 2380 | http://localhost:2380",
        ),
    ] {
        assert_eq!(addresses(words), expected, "{words}");
    }
}

#[test]
fn names_times_and_levels_are_taken() {
    let settings = settled(
        "--name m0 --snapshot-count 5 --heartbeat-interval 50 --election-timeout 300 --cors http://a,*  --log-level warn \
         --initial-cluster m0=http://127.0.0.1:9,m0=http://127.0.0.1:8 --initial-cluster-token t \
         --initial-advertise-peer-urls http://localhost:8,http://localhost:9",
    )
    .expect("a sound command line");
    let node = settings.node;
    assert_eq!(
        (node.name.as_str(), node.data_dir.as_path()),
        ("m0", Path::new("m0.etcd"))
    );
    assert_eq!(node.snapshot_count, 5);
    assert_eq!(
        (node.heartbeat.as_millis(), node.election_timeout.as_millis()),
        (50, 300)
    );
    assert_eq!(node.cors, ["http://a", "*"]);
    assert_eq!(settings.level, log::Level::Warn);
    let settings =
        settled("--debug --snapshot-count 0 --listen-peer-urls http://127.0.0.1:1,http://127.0.0.1:2");
    let settings = settings.expect("a sound command line");
    assert_eq!(
        (settings.level, settings.node.snapshot_count),
        (log::Level::Debug, 10_000)
    );
    assert_eq!(settings.warnings.len(), 1);
}

/// Words, and what is said to them.
const CONTRADICTIONS: &[(&str, &str)] = &[
    (
        "--listen-client-urls http://127.0.0.1:1",
        "--advertise-client-urls is required when --listen-client-urls is set explicitly",
    ),
    (
        "--election-timeout 400",
        "--election-timeout[400ms] should be at least as 5 times as --heartbeat-interval[100ms]",
    ),
    (
        "--election-timeout 50001",
        "--election-timeout[50001ms] is too long, and should be set less than 50000ms",
    ),
    (
        "--heartbeat-interval 0",
        "--heartbeat-interval must be >0 (set to 0ms)",
    ),
    (
        "--heartbeat-interval x",
        "invalid value \"x\" for flag -heartbeat-interval: parse error",
    ),
    (
        "--listen-client-urls unix://127.0.0.1:1 --advertise-client-urls http://h:1",
        "--listen-client-urls \"unix://127.0.0.1:1\": unix is not supported yet",
    ),
    (
        "--listen-peer-urls 127.0.0.1:1",
        "--listen-peer-urls \"127.0.0.1:1\": it must be http://HOST:PORT or https://HOST:PORT",
    ),
    (
        "--advertise-client-urls http://h",
        "--advertise-client-urls: URL address does not have the form \"host:port\": http://h",
    ),
    (
        "--advertise-client-urls http://h:1/x",
        "--advertise-client-urls: URL must not contain a path: http://h:1/x",
    ),
    (
        "-bind-addr 127.0.0.1:1 --listen-client-urls http://127.0.0.1:1 --advertise-client-urls http://h:1",
        "--listen-client-urls and --bind-addr cannot both be given",
    ),
    (
        "-bind-addr 127.0.0.1",
        "--bind-addr \"127.0.0.1\": it must be HOST:PORT",
    ),
    (
        "--initial-cluster-state existing",
        "--initial-cluster-state existing: --initial-cluster is needed with it",
    ),
    (
        "--name a --initial-cluster b=http://h:1,c=http://i:1",
        "--initial-cluster must include a=http://h:1 given --initial-advertise-peer-urls=http://h:1",
    ),
    (
        "--initial-cluster default=http://h:1",
        "--initial-cluster must include default=http://localhost:2380 given \
             --initial-advertise-peer-urls=http://localhost:2380",
    ),
    ("--log-level loud", "--log-level \"loud\": there is no such level"),
    (
        "--cors a.b",
        "--cors \"a.b\": it must be SCHEME://HOST[:PORT], or * for all",
    ),
];

#[test]
fn contradictions_are_refused_by_name() {
    for (words, text) in CONTRADICTIONS {
        let words = if words.starts_with("--name a --initial-cluster") {
            format!("{words} --initial-advertise-peer-urls http://h:1")
        } else {
            (*words).to_owned()
        };
        assert_eq!(settled(&words).expect_err(&words).text, *text);
    }
}
