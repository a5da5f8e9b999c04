//! The store as seen by clients that nobody here wrote: etcdctl, python-etcd, node-etcd, the etcd crate of Rust,
//! libkv's own suite, etcd members that find each other through it, and Patroni with PostgreSQL.
//!
//! The server under test is `berth store`; with `REFERENCE` set in the environment it is Debian's etcd 3.4, which
//! must pass every case too. Every test has a network of its own with nothing but loopback in it, so the clients'
//! fixed ports never clash and nothing can leave the machine.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod discovery;
mod docker_py;
mod etcdctl;
mod libkv;
mod network;
mod node;
mod patroni;
mod programs;
mod python;
mod rust_crate;
mod server;
