//! What every black-box suite stands on: scratch places, processes that end, plain HTTP, real clients, and a look
//! for what was left behind. Nothing here knows Berth's code; it starts the binary and talks to it.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod berth;
mod cluster;
mod disk;
mod docker;
mod dockerd;
mod etcd;
mod http;
mod lan;
mod leftovers;
mod process;
mod rootfs;
mod scratch;
mod wait;

pub use berth::{Berth, Engine, Store};
pub use cluster::{Cluster, Member, quiet_port};
pub use disk::Disk;
pub use docker::{DockerCli, clients};
pub use dockerd::{Dockerd, own_network};
pub use etcd::{Etcd, EtcdCluster};
pub use http::{Response, Stream, request, request_unix, request_unix_within, request_within};
pub use lan::Lan;
pub use leftovers::Leftovers;
pub use process::{Finished, Process, run};
pub use rootfs::busybox_rootfs;
pub use scratch::{Scratch, free_port};
pub use wait::until;

/// Tests that make namespaces, mounts and cgroups cannot run otherwise; they say so and fail.
///
/// # Panics
/// When the test does not run as root.
pub fn need_root() {
    assert!(
        nix::unistd::geteuid().is_root(),
        "this test makes namespaces, mounts and cgroups: run it as root"
    );
}
