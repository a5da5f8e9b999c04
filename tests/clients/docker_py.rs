//! docker-py on an engine: Debian's version, and the newest one. The scripts stand in `python/`.

use std::path::PathBuf;
use std::process::Command;

use berth_harness::{Berth, Engine, Scratch, busybox_rootfs, need_root, run};

use crate::programs::{LONG, clean, installed, need, source};

const PYTHON: &str = "/usr/bin/python3";
const DEBIAN: &str = "/usr/lib/python3/dist-packages/docker/client.py";
/// The newest client and what it stands on, each at one version.
const PINS: &[&str] = &[
    "docker==7.1.0",
    "requests==2.32.3",
    "urllib3==2.2.3",
    "certifi==2024.8.30",
    "charset-normalizer==3.4.0",
    "idna==3.10",
];

/// The folder of the newest client.
fn newest() -> PathBuf {
    need("/usr/bin/pip3", "python3-pip");
    installed("docker-py-7.1.0", |folder| {
        let mut pip = Command::new(PYTHON);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
            .args(["--root-user-action=ignore", "--target"])
            .arg(folder)
            .args(PINS);
        pip
    })
}

fn script(name: &str, library: Option<PathBuf>) {
    need_root();
    need(PYTHON, "python3");
    let scratch = Scratch::new();
    let mut engine = Engine::start(&Berth::new(env!("CARGO_BIN_EXE_berth")), &scratch, &[]);
    let mut python = clean(PYTHON, scratch.path());
    if let Some(library) = library {
        python.env("PYTHONPATH", library);
    }
    python
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(source("python").join(name))
        .arg(engine.host())
        .arg(busybox_rootfs(scratch.path()));
    run(&mut python, LONG).ok();
    engine.teardown();
    engine.leftovers().expect_none();
}

#[test]
fn debians_docker_py_works_with_containers() {
    need(DEBIAN, "python3-docker");
    script("docker_containers.py", None);
}

#[test]
fn debians_docker_py_works_with_files_volumes_and_networks() {
    need(DEBIAN, "python3-docker");
    script("docker_things.py", None);
}

#[test]
fn the_newest_docker_py_works_with_containers() {
    script("docker_containers.py", Some(newest()));
}

#[test]
fn the_newest_docker_py_works_with_files_volumes_and_networks() {
    script("docker_things.py", Some(newest()));
}
