//! The Debian packages that the tests and benchmarks need, installed when they are missing.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// A Debian package and a file that shows that it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    name: &'static str,
    shows: &'static str,
}

const fn package(name: &'static str, shows: &'static str) -> Package {
    Package { name, shows }
}

const BUSYBOX: Package = package("busybox-static", "/bin/busybox");
const CURL: Package = package("curl", "/usr/bin/curl");
const DOCKER: Package = package("docker.io", "/usr/bin/docker");
const ETCD: Package = package("etcd-server", "/usr/bin/etcd");
const ETCDCTL: Package = package("etcd-client", "/usr/bin/etcdctl");
const GO: Package = package("golang-go", "/usr/bin/go");
const IP: Package = package("iproute2", "/sbin/ip");
const IPTABLES: Package = package("iptables", "/usr/sbin/iptables");
const LIBKV: Package = package(
    "golang-github-docker-libkv-dev",
    "/usr/share/gocode/src/github.com/docker/libkv/store/etcd/etcd_test.go",
);
const NFT: Package = package("nftables", "/usr/sbin/nft");
const NODE: Package = package("nodejs", "/usr/bin/node");
const NPM: Package = package("npm", "/usr/bin/npm");
const PATRONI: Package = package("patroni", "/usr/bin/patroni");
const PIP: Package = package("python3-pip", "/usr/bin/pip3");
const POSTGRESQL: Package = package("postgresql", "/usr/lib/postgresql/15/bin/initdb");
const PYTHON_DOCKER: Package = package(
    "python3-docker",
    "/usr/lib/python3/dist-packages/docker/client.py",
);
const PYTHON_ETCD: Package = package("python3-etcd", "/usr/lib/python3/dist-packages/etcd/client.py");

/// What `cargo xtask test` needs: real clients and the stuff of test images.
pub(crate) const FOR_TESTS: &[Package] = &[
    BUSYBOX,
    CURL,
    DOCKER,
    ETCD,
    ETCDCTL,
    GO,
    IP,
    IPTABLES,
    LIBKV,
    NFT,
    NODE,
    NPM,
    PATRONI,
    PIP,
    POSTGRESQL,
    PYTHON_DOCKER,
    PYTHON_ETCD,
];

/// What `cargo xtask bench` needs on top: the peers and a load generator.
pub(crate) const FOR_BENCHMARKS: &[Package] = &[
    BUSYBOX,
    CURL,
    DOCKER,
    ETCD,
    ETCDCTL,
    package("crun", "/usr/bin/crun"),
    package("runc", "/usr/sbin/runc"),
    package("wrk", "/usr/bin/wrk"),
];

/// Installs what is missing of `wanted` with apt-get; does nothing when all is there.
pub(crate) fn install(wanted: &[Package]) -> anyhow::Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|package| !Path::new(package.shows).exists())
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("== installing {}", missing.join(", "));
    apt_get(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(&missing);
    apt_get(&arguments)
}

fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Debian starts a service that it installs; the tests start their own peers.
        .env("RUNLEVEL", "1")
        .status()
        .context("the tests need apt-get to install packages")?;
    if !status.success() {
        bail!(
            "apt-get {} failed: the tests need these packages (run as root on Debian)",
            arguments.join(" ")
        );
    }
    Ok(())
}
