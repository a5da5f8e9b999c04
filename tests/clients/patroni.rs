//! Patroni keeps a PostgreSQL pair alive with the store as its one truth: the leader's lock is a key with a time to
//! live, and when the leader's whole node dies the replica takes over after that time.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth_harness::{Process, run, until};
use serde_json::Value;

use crate::network::in_own_network;
use crate::programs::{SHORT, clean, need};
use crate::server::{Server, ask};

/// Seconds that the leader's key lives without a renewal.
const TTL: u64 = 15;
/// Seconds between two looks of a node at the store.
const LOOP: u64 = 2;
/// Seconds that a node repeats a failed request to the store.
const RETRY: u64 = 3;
/// Longest time for initdb, a first start and a copy of the data on a busy machine.
const LONGEST_BOOTSTRAP: Duration = Duration::from_secs(60);
/// After the key has ended: one loop of the replica, and slack for a busy machine.
const SLACK: Duration = Duration::from_secs(LOOP + 5);
/// What the first process of a node does. The node has namespaces of its own: when this shell is killed, the kernel
/// kills the rest with it, as a power cut would, and the shared memory that a killed PostgreSQL leaves goes too.
const NODE: &str = "mount -t tmpfs none /dev/shm && runuser -u postgres -- /usr/bin/patroni \"$0\"; exit $?";

/// The folder of PostgreSQL's programs, whatever its version.
fn postgresql() -> PathBuf {
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").exists())
        .collect();
    versions.sort();
    versions.pop().expect(
        "initdb is missing: this test needs the Debian package postgresql, which `cargo xtask test` installs",
    )
}

/// A Patroni with its PostgreSQL, in a process namespace of its own.
struct Node {
    name: String,
    rest: u16,
    database: u16,
    config: PathBuf,
    log: PathBuf,
    process: Process,
}

impl Node {
    fn start(server: &Server, programs: &Path, number: u16) -> Self {
        let (name, rest, database) = (format!("pg{number}"), 8008 + number, 5432 + number);
        let folder = server.folder().join(&name);
        fs::create_dir(&folder).unwrap();
        let owner = run(
            clean("/usr/bin/chown", server.folder())
                .arg("postgres:")
                .arg(&folder),
            SHORT,
        );
        owner.ok();
        let config = server.folder().join(format!("{name}.yml"));
        let text = configuration(
            &name,
            rest,
            database,
            &folder,
            programs,
            &server.address().to_string(),
        );
        fs::write(&config, text).unwrap();
        let log = server.folder().join(format!("{name}.log"));
        let process = launch(&config, &folder, &log);
        Self {
            name,
            rest,
            database,
            config,
            log,
            process,
        }
    }

    fn restart(&mut self) {
        let folder = self.config.with_extension("");
        self.process = launch(&self.config, &folder, &self.log);
    }

    /// What the node says about itself.
    fn status(&self) -> Option<Value> {
        let address = ([127, 0, 0, 1], self.rest).into();
        let answer = ask(address, "GET", "/patroni", "").ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    fn runs_as(&self, role: &str) -> bool {
        self.status()
            .is_some_and(|status| status["state"] == "running" && status["role"] == role)
    }

    /// The answer of the node's database.
    fn ask(&self, programs: &Path, statement: &str) -> Result<String, String> {
        let mut psql = clean(programs.join("psql"), Path::new("/"));
        psql.env("PGCONNECT_TIMEOUT", "5")
            .args(["--host=127.0.0.1", "--username=postgres", "--dbname=postgres"])
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet"])
            .arg(format!("--port={}", self.database))
            .args(["--command", statement]);
        let finished = run(&mut psql, SHORT);
        if finished.code == 0 {
            Ok(finished.stdout.trim().to_owned())
        } else {
            Err(finished.stderr)
        }
    }
}

fn launch(config: &Path, folder: &Path, log: &Path) -> Process {
    let mut command = clean("/usr/bin/unshare", folder);
    command
        .args([
            "--pid",
            "--ipc",
            "--fork",
            "--kill-child=KILL",
            "--mount-proc",
            "/bin/sh",
            "-c",
            NODE,
        ])
        .arg(config);
    Process::start(&mut command, log)
}

fn configuration(
    name: &str,
    rest: u16,
    database: u16,
    folder: &Path,
    programs: &Path,
    store: &str,
) -> String {
    let folder = folder.display();
    let programs = programs.display();
    format!(
        "scope: demo
namespace: /service/
name: {name}
restapi: {{listen: '127.0.0.1:{rest}', connect_address: '127.0.0.1:{rest}'}}
etcd: {{host: '{store}'}}
bootstrap:
  dcs:
    ttl: {TTL}
    loop_wait: {LOOP}
    retry_timeout: {RETRY}
    postgresql:
      use_pg_rewind: true
      parameters: {{fsync: 'off', shared_buffers: 16MB, max_connections: 20, wal_log_hints: 'on'}}
  initdb: [{{encoding: UTF8}}, {{locale: C}}, no-sync]
postgresql:
  listen: 127.0.0.1:{database}
  connect_address: 127.0.0.1:{database}
  data_dir: {folder}/data
  bin_dir: {programs}
  pgpass: {folder}/pgpass
  pg_hba: ['local all all trust', 'host all all 127.0.0.1/32 trust', 'host replication all 127.0.0.1/32 trust']
  parameters: {{unix_socket_directories: '{folder}'}}
  authentication:
    superuser: {{username: postgres, password: none}}
    replication: {{username: replicator, password: none}}
    rewind: {{username: rewinder, password: none}}
"
    )
}

/// The leader's key.
fn leader(server: &Server) -> Option<Value> {
    let answer = server.ask("GET", "/v2/keys/service/demo/leader", "");
    (answer.status == 200).then(|| answer.json()["node"].clone())
}

/// Waits until the node plays its part; its log is the message when it does not.
fn wait_for_role(node: &mut Node, role: &str, limit: Duration) {
    let (deadline, log) = (Instant::now() + limit, node.log.clone());
    until(&format!("{} as {role}", node.name), limit + SHORT, || {
        let said = || fs::read_to_string(&log).unwrap_or_default();
        assert!(node.process.ended().is_none(), "{} ended:\n{}", node.name, said());
        assert!(
            Instant::now() < deadline,
            "{} is not {role} after {limit:?}:\n{}",
            node.name,
            said()
        );
        node.runs_as(role).then_some(())
    });
}

#[test]
fn patroni_fails_over_when_the_leader_dies() {
    need("/usr/bin/patroni", "patroni");
    need("/usr/lib/python3/dist-packages/etcd/client.py", "python3-etcd");
    let programs = postgresql();
    in_own_network(|| {
        let server = Server::start();
        // The database's own user goes through this folder.
        fs::set_permissions(server.folder(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut first = Node::start(&server, &programs, 0);
        wait_for_role(&mut first, "master", LONGEST_BOOTSTRAP);
        let mut second = Node::start(&server, &programs, 1);
        wait_for_role(&mut second, "replica", LONGEST_BOOTSTRAP);
        expect_keys(&server, &first, &second);
        first
            .ask(&programs, "CREATE TABLE t AS SELECT 'before' AS v")
            .unwrap();
        until("the row on the replica", SHORT, || {
            (second.ask(&programs, "SELECT v FROM t").ok()? == "before").then_some(())
        });

        let lock = leader(&server).unwrap();
        let (index, left) = (
            lock["modifiedIndex"].as_u64().unwrap(),
            lock["ttl"].as_u64().unwrap(),
        );
        let killed = Instant::now();
        first.process.kill();
        until("the end of the old leader's database", SHORT, || {
            first.ask(&programs, "SELECT 1").err()
        });
        expect_change_of_leader(&server, &first, &second, index);
        let took = killed.elapsed();
        let limit = Duration::from_secs(TTL) + SLACK;
        // A second less, for the store rounds up.
        assert!(
            took.as_secs() + 1 >= left,
            "the key ended after {took:?} though it had {left} s left"
        );
        assert!(took <= limit, "the fail-over took {took:?}, more than {limit:?}");
        wait_for_role(&mut second, "master", SHORT);
        until("a write to the new leader", SHORT, || {
            second.ask(&programs, "INSERT INTO t VALUES ('after')").ok()
        });

        first.restart();
        wait_for_role(&mut first, "replica", LONGEST_BOOTSTRAP);
        until("the new row on the old leader", SHORT, || {
            (first.ask(&programs, "SELECT count(*) FROM t").ok()? == "2").then_some(())
        });
        expect_list(&server, &first, &second);
    });
}

/// What Patroni keeps in the store, and that the leader's key lives on because it is renewed.
fn expect_keys(server: &Server, first: &Node, second: &Node) {
    for key in ["initialize", "config", "status", "history"] {
        // The history comes with the first change of leader only.
        let wanted = if key == "history" { 404 } else { 200 };
        let answer = server.ask("GET", &format!("/v2/keys/service/demo/{key}"), "");
        assert_eq!(answer.status, wanted, "{key}: {}", answer.text());
    }
    until("both members' keys", SHORT, || {
        let answer = server.ask("GET", "/v2/keys/service/demo/members?sorted=true", "");
        let listed = answer.json()["node"]["nodes"].as_array()?.clone();
        let names: Vec<&str> = listed.iter().filter_map(|node| node["key"].as_str()).collect();
        let alive = listed
            .iter()
            .all(|node| node["ttl"].as_u64().is_some_and(|left| left <= TTL));
        let wanted = [&first.name, &second.name].map(|name| format!("/service/demo/members/{name}"));
        (names == wanted && alive).then_some(())
    });
    let lock = leader(server).unwrap();
    assert_eq!(lock["value"], first.name.as_str());
    assert!(
        lock["ttl"].as_u64().is_some_and(|left| (1..=TTL).contains(&left)),
        "{lock}"
    );
    until("a renewal of the leader's key", Duration::from_secs(TTL), || {
        let now = leader(server)?;
        assert_eq!(now["value"], first.name.as_str());
        (now["expiration"].as_str() > lock["expiration"].as_str()).then_some(())
    });
}

/// The history of the leader's key after `index`: perhaps renewals, then its end, then its making by the other node.
fn expect_change_of_leader(server: &Server, old: &Node, new: &Node, mut index: u64) {
    let mut event = Value::Null;
    while event["action"] != "expire" {
        event = next_event(server, &mut index);
        let node = if event["action"] == "expire" {
            &event["prevNode"]
        } else {
            &event["node"]
        };
        assert_eq!(node["value"], old.name.as_str(), "{event}");
    }
    let made = next_event(server, &mut index);
    assert_eq!(made["action"], "create", "{made}");
    assert_eq!(made["node"]["value"], new.name.as_str(), "{made}");
}

fn next_event(server: &Server, index: &mut u64) -> Value {
    *index += 1;
    let target = format!("/v2/keys/service/demo/leader?wait=true&waitIndex={index}");
    let event = server.ask("GET", &target, "").json();
    *index = event["node"]["modifiedIndex"]
        .as_u64()
        .unwrap_or_else(|| panic!("no event: {event}"));
    event
}

/// Patroni's own view, as its operator gets it.
fn expect_list(server: &Server, first: &Node, second: &Node) {
    let mut patronictl = clean("/usr/bin/patronictl", server.folder());
    patronictl
        .arg("-c")
        .arg(&second.config)
        .args(["list", "demo", "--format", "json"]);
    let printed = run(&mut patronictl, SHORT);
    let members: Value = serde_json::from_str(printed.ok()).unwrap();
    let roles: Vec<(&str, &str)> = members
        .as_array()
        .unwrap()
        .iter()
        .map(|member| {
            (
                member["Member"].as_str().unwrap(),
                member["Role"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        roles,
        [(first.name.as_str(), "Replica"), (second.name.as_str(), "Leader")],
        "{members}"
    );
}
