//! Containers that are registered in a store over TLS.

use std::path::Path;

use berth_harness::{
    Berth, DockerCli, Engine, Leftovers, Process, Scratch, busybox_rootfs, clients, need_root, until,
};

use crate::authority::{Authority, Pair, Use, VALID};
use crate::berth;
use crate::member::{Member, PATIENCE, curl, flags, place};

fn docker(scratch: &Scratch, socket: &Path) -> DockerCli {
    let docker = clients(socket, &scratch.join("docker-config")).remove(0);
    docker.ok(&["import", &busybox_rootfs(scratch.path()).to_string_lossy(), "app"]);
    docker
}

/// Runs a container, and waits until its key is in the store.
fn registers(docker: &DockerCli, ca: &Path, shown: &Pair, url: &str) {
    docker.ok(&["run", "-d", "--name", "web", "-p", "80", "app", "sleep", "1000"]);
    let address = docker.ok(&["inspect", "--format", "{{.NetworkSettings.IPAddress}}", "web"]);
    let wanted = format!("\"value\":\"{address}:80\"");
    until("the key of web", PATIENCE, || {
        let answer = curl(ca, Some(shown), &[&format!("{url}/v2/keys/services/web/80-tcp")]);
        answer.stdout.contains(&wanted).then_some(())
    });
}

#[test]
fn an_engine_registers_in_a_store_that_demands_certificates() {
    need_root();
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let pair = authority.sign("store", "store", &["127.0.0.1"], Use::Server, VALID);
    let client = authority.sign("engine", "engine", &[], Use::Client, VALID);
    let mut words = flags(&[
        ("cert-file", &pair.cert),
        ("key-file", &pair.key),
        ("trusted-ca-file", &authority.pem),
    ]);
    words.push("--client-cert-auth".to_owned());
    let member = Member::start(&scratch, "m0", &words);
    let url = member.url("");
    let mut words = vec!["--store".to_owned(), url.clone()];
    words.extend(flags(&[
        ("store-ca-file", &authority.pem),
        ("store-cert-file", &client.cert),
        ("store-key-file", &client.key),
    ]));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut engine = Engine::start(&berth(), &scratch, &words);
    let docker = docker(&scratch, &engine.socket());
    registers(&docker, &authority.pem, &client, &url);
    drop(member);
    engine.teardown();
    engine.leftovers().expect_none();
}

/// A `berth dev` with names of its own. Dropping it takes its containers down.
struct Dev {
    process: Process,
    leftovers: Box<dyn Fn() -> Leftovers>,
}

impl Dev {
    fn start(berth: &Berth, scratch: &Scratch, client: &str, more: &[String]) -> Dev {
        let name = scratch.name();
        let mut command = berth.command(&["dev", "--stop-containers", "--listen-peer", "127.0.0.1:0"]);
        command
            .args(["--listen-client", client])
            .arg("--data-dir")
            .arg(scratch.join("dev"))
            .arg("--run-dir")
            .arg(scratch.join("run"))
            .arg("--socket")
            .arg(scratch.join("berth.sock"))
            .args(["--bridge", &name, "--table", &name, "--cgroup-parent", &name])
            .args(["--subnet", &scratch.subnet()])
            .args(more);
        let process = Process::start(&mut command, &scratch.join("dev.log"));
        let path = scratch.path().to_string_lossy().into_owned();
        Dev {
            process,
            leftovers: Box::new(move || Leftovers::of(&[&name, &path])),
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if self.process.ended().is_none() {
            self.process.stop();
        }
    }
}

#[test]
fn dev_registers_in_its_own_store_over_tls() {
    need_root();
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ca");
    let pair = authority.good("both", "dev");
    let mut words = flags(&[
        ("cert-file", &pair.cert),
        ("key-file", &pair.key),
        ("trusted-ca-file", &authority.pem),
    ]);
    words.push("--client-cert-auth".to_owned());
    let client = place().to_string();
    let mut dev = Dev::start(&berth(), &scratch, &client, &words);
    until("both halves", PATIENCE, || {
        let output = dev.process.output();
        assert!(dev.process.ended().is_none(), "dev ended:\n{output}");
        (output.contains("store ready") && output.contains("engine ready")).then_some(())
    });
    let docker = docker(&scratch, &scratch.join("berth.sock"));
    registers(&docker, &authority.pem, &pair, &format!("https://{client}"));
    assert!(dev.process.stop().success(), "{}", dev.process.output());
    (dev.leftovers)().expect_none();
}
