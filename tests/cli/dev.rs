//! `berth dev` on its fixed defaults: a day with it as the README tells it, a stop, and a second start on the same data.
//!
//! The defaults are one port, one socket and one directory for the whole host: the test gives `dev` a network and a mount
//! namespace of its own, so that it meets nobody.

use std::process::Command;
use std::time::Duration;

use berth_harness::{Process, Scratch, busybox_rootfs, need_root, run, until};

use crate::berth;

/// Longest wait for something that should happen soon, on a busy machine.
const SOON: Duration = Duration::from_secs(30);
/// Longest time of one client command.
const COMMAND: Duration = Duration::from_secs(30);

/// A holder of namespaces with `lo` and with empty `/run` and `/var/lib`.
struct House {
    holder: Process,
}

impl House {
    fn new(scratch: &Scratch) -> Self {
        const SCRIPT: &str = "ip link set lo up && mount -t tmpfs house /run && mount -t tmpfs house /var/lib \
                              && echo furnished && exec tail -f /dev/null";
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", SCRIPT]);
        let holder = Process::start(&mut command, &scratch.join("house.log"));
        until("the namespaces", SOON, || {
            holder.output().contains("furnished").then_some(())
        });
        Self { holder }
    }

    /// A command inside.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "-t", &self.holder.id().to_string(), "--"]);
        command.args(words);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("BERTH_")) {
            command.env_remove(name);
        }
        command
    }

    /// What a command inside prints; it must succeed.
    fn ok(&self, words: &[&str]) -> String {
        run(&mut self.command(words), COMMAND).ok().to_owned()
    }

    fn docker(&self, words: &[&str]) -> String {
        let line = [&["docker", "-H", "unix:///run/berth/berth.sock"], words].concat();
        self.ok(&line)
    }

    fn dev(&self, scratch: &Scratch, log: &str) -> Process {
        let program = berth().program().to_string_lossy().into_owned();
        let mut dev = Process::start(&mut self.command(&[&program, "dev"]), &scratch.join(log));
        until("both halves", SOON, || {
            let output = dev.output();
            assert!(dev.ended().is_none(), "dev ended:\n{output}");
            (output.contains("store ready") && output.contains("engine ready")).then_some(())
        });
        dev
    }

    /// The address under which web is registered, once there is one other than `old`.
    fn registered(&self, old: &str) -> String {
        until("the key of web", SOON, || {
            let answer = self.ok(&[
                "curl",
                "-s",
                "http://127.0.0.1:2379/v2/keys/services/web?recursive=true",
            ]);
            let document: serde_json::Value = serde_json::from_str(&answer).unwrap();
            let node = document["node"]["nodes"][0].clone();
            let address = node["value"].as_str()?.to_owned();
            assert!((1..=30).contains(&node["ttl"].as_i64().unwrap()), "{node}");
            (address != old).then_some(address)
        })
    }

    fn is_gone(&self) {
        until("the end of the key", SOON, || {
            let answer = self.ok(&[
                "curl",
                "-s",
                "http://127.0.0.1:2379/v2/keys/services/web?recursive=true",
            ]);
            (answer.contains("\"errorCode\":100") || !answer.contains("\"nodes\"")).then_some(())
        });
    }
}

#[test]
fn a_day_with_dev_on_its_defaults() {
    need_root();
    let scratch = Scratch::new();
    let house = House::new(&scratch);
    let mut dev = house.dev(&scratch, "first.log");

    let message = "http://127.0.0.1:4001/v2/keys/message";
    let set = house.ok(&["curl", "-s", "-L", "-X", "PUT", message, "-d", "value=Hello"]);
    assert!(
        set.starts_with(r#"{"action":"set","node":{"key":"/message","value":"Hello","modifiedIndex":4"#),
        "{set}"
    );
    let rootfs = busybox_rootfs(scratch.path()).to_string_lossy().into_owned();
    house.docker(&["import", &rootfs, "app"]);
    house.docker(&[
        "run", "-d", "--name", "web", "-p", "8000:80", "app", "httpd", "-f", "-p", "80",
    ]);
    let first = house.registered("");
    for url in [&format!("http://{first}/"), "http://127.0.0.1:8000/"] {
        let status = house.ok(&[
            "curl",
            "-s",
            "--retry",
            "5",
            "--retry-connrefused",
            "-w",
            "%{http_code}",
            url,
        ]);
        assert!(status.ends_with("404"), "{url}: {status}");
    }
    house.docker(&["restart", "-t", "1", "web"]);
    let second = house.registered(&first);

    assert!(dev.stop().success(), "{}", dev.output());
    let mut dev = house.dev(&scratch, "second.log");
    assert!(house.ok(&["curl", "-s", message]).contains("\"Hello\""));
    assert_eq!(house.registered(""), second, "the container ran on");
    assert!(house.docker(&["ps"]).contains("web"));
    house.docker(&["stop", "-t", "1", "web"]);
    house.is_gone();
    house.docker(&["rm", "web"]);
    assert!(dev.stop().success(), "{}", dev.output());
    let interfaces = house.ok(&["ls", "/sys/class/net"]);
    assert!(!interfaces.contains("berth0"), "{interfaces}");
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        let parent = hierarchy.unwrap().path().join("berth");
        assert!(!parent.exists(), "{} is left", parent.display());
    }
}
