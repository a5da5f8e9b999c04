//! python-etcd: keys, error classes, watches, locks and an election. The scripts stand in `python/`.

use std::process::Command;

use berth_harness::run;

use crate::network::in_own_network;
use crate::programs::{LONG, clean, installed, need, source};
use crate::server::{PORT, Server};

const PYTHON: &str = "/usr/bin/python3";
/// The client and what it stands on, each at one version.
const PINS: &[&str] = &["python-etcd==0.4.5", "urllib3==1.26.18", "dnspython==2.6.1"];

fn script(name: &str) {
    need(PYTHON, "python3");
    need("/usr/bin/pip3", "python3-pip");
    let library = installed("python-etcd-0.4.5", |folder| {
        let mut pip = Command::new(PYTHON);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--root-user-action=ignore", "--target"])
            .arg(folder)
            .args(PINS);
        pip
    });
    in_own_network(|| {
        let server = Server::start();
        let mut python = clean(PYTHON, server.folder());
        python
            .env("PYTHONPATH", &library)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(source("python").join(name))
            .arg(PORT.to_string());
        run(&mut python, LONG).ok();
    });
}

#[test]
fn python_etcd_works_with_keys_and_directories() {
    script("keys.py");
}

#[test]
fn python_etcd_raises_its_class_for_each_error() {
    script("errors.py");
}

#[test]
fn python_etcd_watches() {
    script("watches.py");
}

#[test]
fn python_etcd_locks_exclude_each_other() {
    script("locks.py");
}

#[test]
fn python_etcd_elects_one_leader_after_another() {
    script("election.py");
}
