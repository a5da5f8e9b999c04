//! A node in this process, spoken to over its sockets.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by a panic")]

mod client;
mod keys;
mod life;
mod limits;
mod routes;
mod watches;
