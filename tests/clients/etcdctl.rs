//! Debian's etcdctl in its v2 form: every command that deals with keys, and the views of the cluster.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use berth_harness::{Finished, Process, run, until};
use serde_json::Value;

use crate::network::in_own_network;
use crate::programs::{SHORT, clean, need};
use crate::server::Server;

/// The exit code for an error that the server named.
const REFUSED: i32 = 4;

/// etcdctl pointed at a server.
struct Etcdctl<'a>(&'a Server);

impl Etcdctl<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean("/usr/bin/etcdctl", self.0.folder());
        command
            .env("ETCDCTL_API", "2")
            .args(["--endpoints", &self.0.url()])
            .args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Finished {
        run(&mut self.command(arguments), SHORT)
    }

    /// The output of a command that must succeed.
    fn ok(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments);
        assert_eq!(finished.code, 0, "etcdctl {arguments:?}: {}", finished.stderr);
        finished.stdout.trim_end_matches('\n').to_owned()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let text = self.ok(&[&["-o", "json"], arguments].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {text}"))
    }

    /// A command that the server must refuse with `error`, e.g. `100: Key not found (/k)`.
    fn refused(&self, arguments: &[&str], error: &str) {
        let finished = self.run(arguments);
        assert_eq!(finished.code, REFUSED, "etcdctl {arguments:?}: {finished:?}");
        assert!(
            finished.stderr.starts_with(&format!("Error:  {error} [")),
            "etcdctl {arguments:?}: {}",
            finished.stderr
        );
    }

    /// A command that goes on until it is killed or sees its event; it has begun when its watch is open.
    fn watch(&self, arguments: &[&str], output: &Path) -> Process {
        let before = self.0.watches();
        let watch = Process::start(&mut self.command(arguments), output);
        until("etcdctl's watch", SHORT, || {
            (self.0.watches() > before).then_some(())
        });
        watch
    }
}

fn with_etcdctl(test: impl FnOnce(&Etcdctl<'_>) + Send) {
    need("/usr/bin/etcdctl", "etcd-client");
    in_own_network(|| test(&Etcdctl(&Server::start())));
}

#[test]
fn etcdctl_sets_gets_updates_and_removes() {
    with_etcdctl(|ctl| {
        assert_eq!(ctl.ok(&["set", "/a", "1"]), "1");
        assert_eq!(ctl.ok(&["get", "/a"]), "1");
        assert_eq!(ctl.ok(&["get", "--quorum", "/a"]), "1");
        assert_eq!(ctl.ok(&["mk", "/b", "9"]), "9");
        ctl.refused(&["mk", "/b", "9"], "105: Key already exists (/b)");
        assert_eq!(ctl.ok(&["update", "/b", "10"]), "10");
        ctl.refused(&["update", "/none", "1"], "100: Key not found (/none)");
        let node = ctl.json(&["get", "/b"])["node"].clone();
        assert_eq!((&node["key"], &node["value"]), (&"/b".into(), &"10".into()));
        assert!(node["modifiedIndex"].as_u64() > node["createdIndex"].as_u64());
        let extended = ctl.ok(&["-o", "extended", "get", "/b"]);
        let fields: Vec<&str> = extended.lines().collect();
        assert_eq!(fields[0], "Key: /b");
        assert_eq!(fields[2], format!("Modified-Index: {}", node["modifiedIndex"]));
        assert_eq!(
            &fields[3..],
            ["TTL: 0", &format!("Index: {}", node["modifiedIndex"]), "", "10"]
        );
        assert_eq!(ctl.ok(&["rm", "/a"]), "PrevNode.Value: 1");
        ctl.refused(&["get", "/a"], "100: Key not found (/a)");
        ctl.refused(&["rm", "/a"], "100: Key not found (/a)");
        assert_eq!(ctl.ok(&["set", "/odd/ä ö%&=+;", "ü & <x>\ty"]), "ü & <x>\ty");
        assert_eq!(ctl.ok(&["get", "/odd/ä ö%&=+;"]), "ü & <x>\ty");
    });
}

#[test]
fn etcdctl_compares_before_it_writes() {
    with_etcdctl(|ctl| {
        ctl.ok(&["set", "/a", "1"]);
        assert_eq!(ctl.ok(&["set", "/a", "2", "--swap-with-value", "1"]), "2");
        ctl.refused(
            &["set", "/a", "3", "--swap-with-value", "1"],
            "101: Compare failed ([1 != 2])",
        );
        let index = ctl.json(&["get", "/a"])["node"]["modifiedIndex"].to_string();
        ctl.refused(
            &["set", "/a", "3", "--swap-with-index", "1"],
            &format!("101: Compare failed ([1 != {index}])"),
        );
        assert_eq!(ctl.ok(&["set", "/a", "3", "--swap-with-index", &index]), "3");
        ctl.refused(
            &["rm", "/a", "--with-value", "no"],
            "101: Compare failed ([no != 3])",
        );
        ctl.ok(&["rm", "/a", "--with-value", "3"]);
        ctl.ok(&["set", "/a", "4"]);
        let index = ctl.json(&["get", "/a"])["node"]["modifiedIndex"].to_string();
        ctl.refused(
            &["rm", "/a", "--with-index", "1"],
            &format!("101: Compare failed ([1 != {index}])"),
        );
        ctl.ok(&["rm", "/a", "--with-index", &index]);
        ctl.refused(&["get", "/a"], "100: Key not found (/a)");
    });
}

#[test]
fn etcdctl_makes_lists_and_removes_directories() {
    with_etcdctl(|ctl| {
        ctl.ok(&["mkdir", "/d"]);
        ctl.refused(&["mkdir", "/d"], "105: Key already exists (/d)");
        ctl.ok(&["mkdir", "/d/e/f"]);
        ctl.ok(&["set", "/d/k", "v"]);
        ctl.ok(&["set", "/d/_hidden", "v"]);
        ctl.ok(&["setdir", "/s", "--ttl", "100"]);
        ctl.ok(&["updatedir", "/s", "--ttl", "200"]);
        let left = ctl.json(&["ls", "/s"])["node"]["ttl"].as_i64().unwrap();
        assert!((190..=200).contains(&left), "{left} s");
        ctl.refused(
            &["updatedir", "/none", "--ttl", "200"],
            "100: Key not found (/none)",
        );
        assert_eq!(
            ctl.ok(&["ls", "--sort", "--recursive", "-p", "/"]),
            "/d/\n/d/e/\n/d/e/f/\n/d/k\n/s/"
        );
        let mut plain: Vec<String> = ctl.ok(&["ls"]).lines().map(str::to_owned).collect();
        plain.sort();
        assert_eq!(plain, ["/d", "/s"]);
        let asked = ctl.run(&["get", "/d"]);
        assert_eq!((asked.code, asked.stderr.trim()), (1, "/d: is a directory"));
        ctl.refused(&["rm", "/d"], "102: Not a file (/d)");
        ctl.refused(&["rmdir", "/d"], "108: Directory not empty (/d)");
        ctl.refused(&["rm", "--dir", "/d"], "108: Directory not empty (/d)");
        ctl.ok(&["rmdir", "/d/e/f"]);
        ctl.ok(&["rm", "--dir", "/d/e"]);
        ctl.ok(&["rm", "--recursive", "/d"]);
        assert_eq!(ctl.ok(&["ls"]), "/s");
    });
}

#[test]
fn etcdctl_makes_keys_in_order() {
    with_etcdctl(|ctl| {
        for value in ["one", "two", "three"] {
            assert_eq!(ctl.ok(&["mk", "--in-order", "/queue", value]), value);
        }
        let keys = ctl.ok(&["ls", "--sort", "/queue"]);
        let values: Vec<String> = keys.lines().map(|key| ctl.ok(&["get", key])).collect();
        assert_eq!(values, ["one", "two", "three"]);
        assert!(
            keys.lines().all(|key| key.len() == "/queue/".len() + 20),
            "{keys}"
        );
    });
}

#[test]
fn etcdctl_gives_keys_a_time_to_live() {
    with_etcdctl(|ctl| {
        ctl.ok(&["set", "/short", "v", "--ttl", "1"]);
        ctl.ok(&["mk", "/made", "v", "--ttl", "1"]);
        ctl.ok(&["mkdir", "/folder", "--ttl", "1"]);
        ctl.ok(&["set", "/kept", "v", "--ttl", "30"]);
        ctl.ok(&["update", "/kept", "w", "--ttl", "300"]);
        let left = ctl.json(&["get", "/kept"])["node"]["ttl"].as_i64().unwrap();
        assert!((290..=300).contains(&left), "{left} s");
        until("the end of the short-lived keys", Duration::from_secs(6), || {
            (ctl.ok(&["ls"]) == "/kept").then_some(())
        });
    });
}

#[test]
fn etcdctl_watches_now_and_from_the_past() {
    with_etcdctl(|ctl| {
        let output = ctl.0.folder().join("watch");
        let mut now = ctl.watch(&["watch", "/w"], &output);
        ctl.ok(&["set", "/other", "0"]);
        ctl.ok(&["set", "/w", "1"]);
        assert!(now.wait(SHORT).success(), "{}", now.output());
        assert_eq!(now.output().trim_end(), "1");

        let index = ctl.json(&["get", "/w"])["node"]["modifiedIndex"]
            .as_u64()
            .unwrap();
        ctl.ok(&["rm", "/w"]);
        // The option names the last index that the caller has seen.
        let before = (index - 1).to_string();
        let past = ctl.json(&["watch", "/w", "--after-index", &before]);
        assert_eq!(
            (&past["action"], &past["node"]["value"]),
            (&"set".into(), &"1".into())
        );
        let past = ctl.json(&["watch", "/w", "--after-index", &index.to_string()]);
        assert_eq!(past["action"], "delete");

        let output = ctl.0.folder().join("forever");
        let mut forever = ctl.watch(&["watch", "--forever", "--recursive", "/tree"], &output);
        ctl.ok(&["set", "/tree/a", "1"]);
        ctl.ok(&["mk", "/tree/b/c", "2"]);
        ctl.ok(&["rm", "/tree/a"]);
        let expected = "[set] /tree/a\n1\n[create] /tree/b/c\n2\n[delete] /tree/a\nPrevNode.Value: 1\n";
        until("three events of a tree", SHORT, || {
            (forever.output().lines().count() >= expected.lines().count()).then_some(())
        });
        assert_eq!(forever.output().trim_end(), expected.trim_end());
        forever.kill();
    });
}

#[test]
fn etcdctl_runs_a_program_for_each_event() {
    with_etcdctl(|ctl| {
        let output = ctl.0.folder().join("exec");
        let line = "echo $ETCD_WATCH_ACTION $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_MODIFIED_INDEX";
        let mut program = ctl.watch(
            &["exec-watch", "--recursive", "/x", "--", "sh", "-c", line],
            &output,
        );
        let first = ctl.json(&["set", "/x/k", "v1"])["node"]["modifiedIndex"].to_string();
        let second = ctl.json(&["set", "/x/k", "v2"])["node"]["modifiedIndex"].to_string();
        let expected = format!("set /x/k v1 {first}\nset /x/k v2 {second}\n");
        until("two runs of the program", SHORT, || {
            (program.output().lines().count() >= 2).then_some(())
        });
        assert_eq!(program.output(), expected);
        program.kill();
    });
}

#[test]
fn etcdctl_sees_a_healthy_cluster() {
    with_etcdctl(|ctl| {
        let members = ctl.ok(&["member", "list"]);
        assert!(
            members.contains(&format!("clientURLs={}", ctl.0.url())) && members.ends_with("isLeader=true"),
            "{members}"
        );
        let health = ctl.ok(&["cluster-health"]);
        assert!(health.ends_with("cluster is healthy"), "{health}");
    });
}
