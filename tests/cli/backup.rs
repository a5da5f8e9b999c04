//! `berth backup` of a live store and `berth restore` into a new cluster.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use berth_harness::{Cluster, Process, Scratch, Store, quiet_port, request, until};

use crate::berth;

const LIMIT: Duration = Duration::from_secs(30);

fn put(store: SocketAddr, key: &str, form: &str) -> u64 {
    let kind = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = request(store, "PUT", &format!("/v2/keys{key}"), &kind, form.as_bytes()).unwrap();
    assert!(matches!(answer.status, 200 | 201), "{key}: {}", answer.text());
    answer.json()["node"]["modifiedIndex"].as_u64().unwrap()
}

fn get(store: SocketAddr, target: &str) -> serde_json::Value {
    request(store, "GET", &format!("/v2/keys{target}"), &[], b"")
        .unwrap()
        .json()
}

fn cluster_id(store: SocketAddr) -> String {
    let answer = request(store, "GET", "/v2/members", &[], b"").unwrap();
    answer.header("x-etcd-cluster-id").unwrap().to_owned()
}

#[test]
fn a_backup_is_restored_with_indexes_times_to_live_and_history() {
    let scratch = Scratch::new();
    let mut store = Store::start(&berth(), &scratch);
    let at = store.address();
    put(at, "/a", "value=1");
    let changed = put(at, "/a", "value=2");
    put(at, "/dir/_hidden", "value=h");
    put(at, "/lease", "value=l&ttl=300");
    for number in 0..200 {
        put(
            at,
            &format!("/many/{number}"),
            &format!("value={}", "x".repeat(3_000)),
        );
    }
    let file = scratch.join("backup");
    let name = file.to_str().unwrap();
    let url = store.url();
    let run = |words: &[&str]| berth().run(&[&["--endpoint", &url], words].concat());
    let taken = run(&["backup", name]);
    assert!(
        taken.ok().contains("keys and directories at index"),
        "{}",
        taken.stdout
    );
    let again = run(&["backup", name]);
    assert_eq!(again.code, 1);
    assert!(again.stderr.contains("it is there already"), "{}", again.stderr);
    put(at, "/after", "value=no");
    let everything = |at| {
        let mut tree = get(at, "/?recursive=true&sorted=true");
        clear_times(&mut tree);
        tree
    };
    request(at, "DELETE", "/v2/keys/after", &[], b"").unwrap();
    let (before, old) = (everything(at), cluster_id(at));
    store.stop();
    let data = scratch.join("restored");
    let to = data.to_str().unwrap();
    let restored = berth().run(&["restore", name, "--data-dir", to, "--name", "fresh"]);
    assert!(
        restored.ok().contains("of the new cluster"),
        "{}",
        restored.stdout
    );
    let twice = berth().run(&["restore", name, "--data-dir", to]);
    assert!(
        twice.code == 1 && twice.stderr.contains("holds something already"),
        "{}",
        twice.stderr
    );
    let mut fresh = Store::start_in(&berth(), &data, &["--name", "fresh"]);
    let at = fresh.address();
    assert_eq!(everything(at), before);
    assert_ne!(cluster_id(at), old);
    assert_eq!(get(at, "/dir/_hidden")["node"]["value"], "h");
    let ttl = get(at, "/lease")["node"]["ttl"].as_u64().unwrap();
    assert!((1..=300).contains(&ttl), "{ttl}");
    let seen = get(at, &format!("/a?wait=true&waitIndex={changed}"));
    assert_eq!(
        (seen["action"].as_str(), seen["node"]["value"].as_str()),
        (Some("set"), Some("2"))
    );
    assert!(put(at, "/a", "value=3") > changed);
    fresh.kill();
    fresh.restart();
    assert_eq!(get(at, "/a")["node"]["value"], "3");
}

/// Times to live go down while a test runs.
fn clear_times(node: &mut serde_json::Value) {
    match node {
        serde_json::Value::Object(fields) => {
            fields.remove("ttl");
            fields.remove("expiration");
            fields.values_mut().for_each(clear_times);
        }
        serde_json::Value::Array(list) => list.iter_mut().for_each(clear_times),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => {}
    }
}

#[test]
fn damage_is_refused_by_name_and_nothing_is_left() {
    let scratch = Scratch::new();
    let store = Store::start(&berth(), &scratch);
    for number in 0..50 {
        put(
            store.address(),
            &format!("/k{number}"),
            &format!("value={}", "y".repeat(2_000)),
        );
    }
    let file = scratch.join("backup");
    berth()
        .run(&["--endpoint", &store.url(), "backup", file.to_str().unwrap()])
        .ok();
    let sound = fs::read(&file).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 4;
    let cut = sound[..sound.len() - 10].to_vec();
    for (bytes, words) in [
        (cut, format!("it is cut off at byte {}", sound.len() - 10)),
        (flipped, "it is damaged at byte".to_owned()),
        (b"not one".to_vec(), "it is no backup of berth".to_owned()),
    ] {
        let (bad, data) = (scratch.join("bad"), scratch.join("data"));
        fs::write(&bad, bytes).unwrap();
        let refused = berth().run(&[
            "restore",
            bad.to_str().unwrap(),
            "--data-dir",
            data.to_str().unwrap(),
        ]);
        assert_eq!(refused.code, 1);
        assert!(refused.stderr.contains(&words), "{words}: {}", refused.stderr);
        assert!(!data.exists());
    }
    let nobody = format!("http://127.0.0.1:{}", quiet_port());
    let gone = scratch.join("gone");
    let refused = berth().run(&["--endpoint", &nobody, "backup", gone.to_str().unwrap()]);
    assert!(
        refused.code != 0 && refused.stderr.contains(&nobody[7..]),
        "{}",
        refused.stderr
    );
    let odd = request(store.address(), "GET", "/berth/backup?fast=1", &[], b"").unwrap();
    assert_eq!(odd.status, 400);
    let left = fs::read_dir(scratch.path()).unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(
        left.into_iter()
            .all(|name| !name.contains("tmp") && name != "gone")
    );
}

/// Makes the data directories of three members from one file.
fn restore_all(file: &str, list: &str, fresh: &Scratch) {
    for at in 0..3 {
        let name = format!("m{at}");
        let data = fresh.join(&name);
        let words = [
            "restore",
            file,
            "--name",
            &name,
            "--initial-cluster",
            list,
            "--data-dir",
        ];
        berth()
            .run(&[&words[..], &[data.to_str().unwrap()]].concat())
            .ok();
    }
}

/// Starts the third of the old members on its old data.
fn start_old(scratch: &Scratch, list: &str, client: SocketAddr, peer: SocketAddr) -> Process {
    let mut command = berth().command(&["store", "--name", "m2", "--initial-cluster", list]);
    command
        .args(["--listen-client", &client.to_string()])
        .args(["--listen-peer", &peer.to_string()])
        .arg("--data-dir")
        .arg(scratch.join("m2"));
    Process::start(&mut command, &scratch.join("old.log"))
}

#[test]
fn three_members_restored_from_one_file_are_a_cluster_that_old_ones_cannot_join() {
    let (scratch, fresh) = (Scratch::new(), Scratch::new());
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let mut places = Vec::new();
    for _ in 0..3 {
        places.push((None, local(quiet_port()), local(quiet_port())));
    }
    let mut old = Cluster::start_at(&berth(), &scratch, places.clone(), &[]);
    old.wait_all();
    put(old.client(0), "/k", "value=kept");
    let file = scratch.join("backup");
    let file = file.to_str().unwrap();
    let urls: Vec<String> = old.clients().iter().map(|at| format!("http://{at}")).collect();
    berth()
        .run(&["--endpoints", &urls.join(","), "backup", file])
        .ok();
    put(old.client(0), "/k", "value=later");
    until("the write on every member", LIMIT, || {
        let shown = |at: &SocketAddr| get(*at, "/k")["node"]["value"] == "later";
        old.clients().iter().all(shown).then_some(())
    });
    let before = cluster_id(old.client(0));
    // Without a quorum there is only what one member has.
    old.kill(0);
    old.kill(1);
    let stale = scratch.join("stale");
    let stale = stale.to_str().unwrap();
    until("no quorum", LIMIT, || {
        let refused = berth().run(&["--endpoint", &urls[2], "backup", stale]);
        (refused.code != 0 && refused.stderr.contains("no quorum")).then_some(())
    });
    berth()
        .run(&["--endpoint", &urls[2], "backup", "--stale", stale])
        .ok();
    old.kill(2);
    let list: Vec<String> = places
        .iter()
        .enumerate()
        .map(|(at, (_, _, peer))| format!("m{at}=http://{peer}"))
        .collect();
    let list = list.join(",");
    restore_all(file, &list, &fresh);
    let mut new = Cluster::start_at(&berth(), &fresh, places.clone(), &[]);
    new.wait_all();
    for at in 0..3 {
        assert_eq!(get(new.client(at), "/k?quorum=true")["node"]["value"], "kept");
        assert_ne!(cluster_id(new.client(at)), before);
    }
    // One that was left running with its old data, at the address of a new member.
    new.kill(2);
    let (_, client, peer) = places[2];
    let member = start_old(&scratch, &list, client, peer);
    until("a refusal", LIMIT, || {
        member.output().contains("another cluster").then_some(())
    });
    put(new.client(0), "/k", "value=new");
    assert_ne!(get(client, "/k")["node"]["value"], "new");
    drop(member);
    new.restart(2);
    new.wait_healthy(2);
    assert_eq!(get(new.client(2), "/k?quorum=true")["node"]["value"], "new");
}
