//! Members added, moved, removed and made to lead by people: with Debian's etcdctl, with berth under that name, and with berth.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use berth_harness::{Cluster, Finished, Process, Scratch, quiet_port, run, until};

use crate::{QUICK, berth};

const LIMIT: Duration = Duration::from_secs(60);

/// One of the two programs with the same words.
struct Ctl {
    program: PathBuf,
    url: String,
}

impl Ctl {
    fn run(&self, words: &[&str]) -> Finished {
        let mut command = Command::new(&self.program);
        command
            // On a busy machine an answer may take longer than the two seconds that etcdctl waits.
            .args([
                "--endpoints",
                &self.url,
                "--timeout",
                "30s",
                "--total-timeout",
                "60s",
            ])
            .args(words)
            .env("ETCDCTL_API", "2")
            .stdin(Stdio::null());
        run(&mut command, LIMIT)
    }

    fn ok(&self, words: &[&str]) -> String {
        self.run(words).ok().to_owned()
    }
}

fn named(scratch: &Scratch, name: &str) -> PathBuf {
    let link = scratch.join(name);
    symlink(berth().program(), &link).unwrap();
    link
}

/// What `member add` says, with what differs between two runs taken out; and the settings in it.
fn added(output: &str, name: &str, url: &str) -> (String, String, BTreeMap<String, String>) {
    let (first, rest) = output.split_once('\n').unwrap();
    let id = first.split_whitespace().nth(6).unwrap_or_default().to_owned();
    let plain = output
        .replace(&id, "ID")
        .replace(url, "URL")
        .replace(name, "NAME");
    let settings = rest.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        Some((key.to_owned(), value.trim_matches('"').to_owned()))
    });
    (plain, id, settings.collect())
}

/// Starts a member under etcd's name as etcd's documents say: the settings printed, in the environment.
fn start_named(scratch: &Scratch, etcd: &Path, peer: &str, settings: &BTreeMap<String, String>) -> Process {
    let client = format!("http://127.0.0.1:{}", quiet_port());
    let name = &settings["ETCD_NAME"];
    let mut command = Command::new(etcd);
    command
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
        .arg("--data-dir")
        .arg(scratch.join(name))
        .envs(settings);
    Process::start(&mut command, &scratch.join(&format!("{name}.log")))
}

#[test]
fn debians_etcdctl_and_ours_add_move_and_remove_members_with_the_same_words() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 1, &QUICK);
    cluster.wait_all();
    let url = format!("http://{}", cluster.client(0));
    let [real, ours] = [PathBuf::from("/usr/bin/etcdctl"), named(&scratch, "etcdctl")].map(|program| Ctl {
        program,
        url: url.clone(),
    });
    let etcd = named(&scratch, "etcd");
    let mut members = Vec::new();
    let mut words = Vec::new();
    for (ctl, name) in [(&real, "added-1"), (&ours, "added-2")] {
        let peer = format!("http://127.0.0.1:{}", quiet_port());
        let (plain, id, settings) = added(&ctl.ok(&["member", "add", name, &peer]), name, &peer);
        assert_eq!(settings["ETCD_INITIAL_CLUSTER_STATE"], "existing");
        let unstarted = format!("{id}[unstarted]: peerURLs={peer}");
        for ctl in [&real, &ours] {
            let listed = ctl.ok(&["member", "list"]);
            assert!(listed.lines().any(|line| line == unstarted), "{listed}");
        }
        let process = start_named(&scratch, &etcd, &peer, &settings);
        until("a started member", LIMIT, || {
            let listed = real.ok(&["member", "list"]);
            listed.contains(&format!("name={name} ")).then_some(())
        });
        // The list of the cluster has one member more in the second run.
        words.push(
            plain
                .lines()
                .filter(|line| !line.contains("CLUSTER="))
                .collect::<Vec<_>>()
                .join("\n"),
        );
        members.push((id, peer, process));
    }
    assert_eq!(words[0], words[1]);
    assert_eq!(real.ok(&["member", "list"]), ours.ok(&["member", "list"]));
    until("a healthy cluster", LIMIT, || {
        let health = real.run(&["cluster-health"]);
        (health.code == 0 && health.stdout.ends_with("cluster is healthy\n")).then_some(())
    });
    let [
        (first, first_peer, mut first_process),
        (second, _, mut second_process),
    ] = <[_; 2]>::try_from(members).unwrap();
    // The same address again, through both; then one that is taken.
    for ctl in [&real, &ours] {
        let updated = ctl.ok(&["member", "update", &first, &first_peer]);
        assert_eq!(updated, format!("Updated member with ID {first} in cluster"));
    }
    let taken = |ctl: &Ctl| {
        let refused = ctl.run(&["member", "add", "x", &first_peer]);
        (refused.code, refused.stdout, refused.stderr)
    };
    assert_eq!(taken(&real), taken(&ours));
    for (ctl, id, process) in [
        (&real, &first, &mut first_process),
        (&ours, &second, &mut second_process),
    ] {
        let removed = ctl.ok(&["member", "remove", id]);
        assert_eq!(removed, format!("Removed member {id} from cluster"));
        assert_eq!(process.wait(LIMIT).code(), Some(1));
        assert!(process.output().contains("removed from the cluster for ever"));
    }
    let again = |ctl: &Ctl| {
        let refused = ctl.run(&["member", "remove", &first]);
        (refused.code, refused.stdout, refused.stderr)
    };
    assert_eq!(again(&real), again(&ours));
    // The one that is left goes on alone.
    assert_eq!(real.ok(&["set", "/k", "v"]), "v");
}

#[test]
fn berth_chooses_the_leader() {
    let scratch = Scratch::new();
    let cluster = Cluster::start(&berth(), &scratch, 3, &QUICK);
    cluster.wait_all();
    let follower = (cluster.leader() + 1) % 3;
    let url = format!("http://{}", cluster.client(follower));
    let wanted = &cluster.members()[follower].name;
    let id = cluster.id(follower, follower);
    let ctl = |words: &[&str]| berth().run(&[&["--endpoints", &url, "member"], words].concat());
    for wish in [wanted.as_str(), id.as_str()] {
        assert_eq!(
            ctl(&["move-leader", wish]).ok(),
            format!("Member {id} ({wanted}) leads")
        );
    }
    let other = ctl(&["move-leader"]);
    assert!(!other.ok().contains(&id), "{}", other.stdout);
    let unknown = ctl(&["move-leader", "nobody"]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.stderr.contains("no member has the id or name \"nobody\""),
        "{}",
        unknown.stderr
    );
}
