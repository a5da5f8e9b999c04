//! Settings from a file: `--config` of the servers in TOML, `--config-file` under the name etcd in YAML.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Duration;

use berth_harness::{Finished, Process, Scratch, free_port, request, run, until};

use crate::berth;

const LIMIT: Duration = Duration::from_secs(30);

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// The member's name, once it is healthy.
fn name(process: &mut Process, port: u16) -> String {
    until("a healthy member", LIMIT, || {
        assert_eq!(process.ended(), None, "{}", process.output());
        let answer = request(local(port), "GET", "/health", &[], b"").ok()?;
        (answer.status == 200).then_some(())
    });
    let stats = request(local(port), "GET", "/v2/stats/self", &[], b"").unwrap();
    stats.json()["name"].as_str().unwrap().to_owned()
}

#[test]
fn flags_count_before_variables_and_variables_before_the_file() {
    let scratch = Scratch::new();
    let file = scratch.join("berth.toml");
    let port = free_port();
    let text = format!(
        "# A store.\nname = \"file\"\nlisten-client = [\"127.0.0.1:{port}\"]\nlisten-peer = \"127.0.0.1:0\"\n\
         data-dir = {:?}\nsnapshot-count = 5000\n",
        scratch.join("data").to_str().unwrap()
    );
    fs::write(&file, text).unwrap();
    for (variable, flag, wanted) in [
        (None, None, "file"),
        (Some("variable"), None, "variable"),
        (Some("variable"), Some("flag"), "flag"),
    ] {
        let mut command = berth().command(&["store", "--config", file.to_str().unwrap()]);
        variable.map(|name| command.env("BERTH_NAME", name));
        flag.map(|name| command.args(["--name", name]));
        let mut process = Process::start(&mut command, &scratch.join("log"));
        assert_eq!(name(&mut process, port), wanted);
        assert!(process.stop().success());
    }
    let mut command = berth().command(&["store", "--name", "x"]);
    let mut process = Process::start(command.env("BERTH_CONFIG", &file), &scratch.join("log"));
    assert_eq!(name(&mut process, port), "x");
}

#[test]
fn what_is_wrong_is_named_by_file_line_and_key_before_a_port_is_bound() {
    let scratch = Scratch::new();
    let file = scratch.join("berth.toml");
    let path = file.to_str().unwrap();
    // Whoever bound this port would fail.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen-client = \"{}\"\n", taken.local_addr().unwrap());
    for (server, text, wanted) in [
        (
            "store",
            "nmae = \"x\"\n",
            "line 2: nmae: berth store has no such setting",
        ),
        (
            "store",
            "heartbeat-interval = \"soon\"\n",
            "line 2: heartbeat-interval: ",
        ),
        ("store", "name = \n", "line 2: "),
        (
            "store",
            "election-timeout = 300\nheartbeat-interval = 100\n",
            "--election-timeout[300ms]",
        ),
        ("store", "cors = \"x\"\n", "--cors \"x\""),
        ("dev", "ttl = 0\n", "line 2: ttl: "),
    ] {
        fs::write(&file, format!("{listen}{text}")).unwrap();
        let data = scratch.join("data");
        let refused = berth().run(&[server, "--config", path, "--data-dir", data.to_str().unwrap()]);
        assert_ne!(refused.code, 0, "{text}");
        assert!(refused.stderr.contains(wanted), "{text}: {}", refused.stderr);
        assert!(
            !refused.stderr.contains("cannot listen"),
            "{text}: {}",
            refused.stderr
        );
        let named = wanted.starts_with("line");
        assert_eq!(refused.stderr.contains(path), named, "{text}: {}", refused.stderr);
    }
    fs::write(&file, listen).unwrap();
    let engine = berth().run(&["engine", "--config", path]);
    assert!(
        engine
            .stderr
            .contains("line 1: listen-client: berth engine has no such setting"),
        "{}",
        engine.stderr
    );
    let gone = berth().run(&["store", "--config", "/nowhere/berth.toml"]);
    assert!(
        gone.code == 1 && gone.stderr.contains("/nowhere/berth.toml"),
        "{}",
        gone.stderr
    );
}

#[test]
fn under_the_name_etcd_the_file_is_etcds_and_counts_alone() {
    let scratch = Scratch::new();
    let program = scratch.join("etcd");
    symlink(berth().program(), &program).unwrap();
    let file = scratch.join("etcd.yml");
    let port = free_port();
    let etcd = |words: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(scratch.path()).args(words);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ETCD_")) {
            command.env_remove(name);
        }
        command
    };
    let text = format!(
        "name: 'yaml'\ndata-dir: data\nlisten-client-urls: http://127.0.0.1:{port}\n\
         advertise-client-urls: http://127.0.0.1:{port}\nlisten-peer-urls: http://127.0.0.1:{peer}\n\
         initial-advertise-peer-urls: http://127.0.0.1:{peer}\n\
         initial-cluster: yaml=http://127.0.0.1:{peer}\ncors:\nenable-v2: true\nlog-outputs: [stderr]\n\
         client-transport-security:\n  client-cert-auth: false\n",
        peer = free_port()
    );
    fs::write(&file, text).unwrap();
    let mut command = etcd(&["--config-file", "etcd.yml", "--name", "flag"]);
    let mut process = Process::start(&mut command, &scratch.join("log"));
    assert_eq!(name(&mut process, port), "yaml");
    assert!(
        process.output().contains("--name is ignored"),
        "{}",
        process.output()
    );
    assert!(process.stop().success());
    for (text, wanted) in [
        (
            "name: a\nlisten-client-url: http://127.0.0.1:1\n",
            "etcd.yml line 2: listen-client-url: there is no such setting",
        ),
        (
            "client-transport-security:\n  certfile: x\n",
            "etcd.yml line 2: client-transport-security: certfile: there is no such setting",
        ),
        (
            "debug: maybe\n",
            "etcd.yml line 1: debug: invalid boolean value \"maybe\"",
        ),
        ("name: \"a\n", "etcd.yml line"),
    ] {
        fs::write(&file, text).unwrap();
        let refused: Finished = run(&mut etcd(&["-config-file=etcd.yml"]), LIMIT);
        assert_eq!(refused.code, 1, "{}", refused.stderr);
        assert!(refused.stderr.contains(wanted), "{text}: {}", refused.stderr);
    }
}
