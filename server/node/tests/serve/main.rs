//! A node in this process, spoken to over its sockets.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod beside;
mod client;
mod direct;
mod fuzz;
mod keys;
mod life;
mod limits;
mod locks;
mod routes;
mod watches;
