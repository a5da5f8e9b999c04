//! What travels between Berth and its clients: encode and decode, nothing else.
#![forbid(unsafe_code)]

pub mod docker;
pub mod etcd;
