//! The store's server: it owns one replica, its disk and its HTTP port, and moves bytes between them.
//!
//! [`Node::start`] opens the data directory, becomes ready to serve and returns; [`Node::shutdown`] ends it in order. All
//! decisions about keys and consensus are made in `berth-store` and `berth-replica`.

#![forbid(unsafe_code)]

mod backup;
mod bootstrap;
mod clock;
mod config;
mod disk;
mod effects;
mod error;
mod event_loop;
mod handle;
mod http;
mod hub;
mod membership;
mod metrics;
#[cfg(test)]
#[path = "../../../tests/fuzz/mutate.rs"]
mod mutate;
mod node;
mod parked;
mod peers;
mod proxy;
mod redirect;
mod tls;
mod waiting;

pub use backup::{BackupCheck, BackupError, BackupHead, Restore, RestoreError, Restored, restore};
pub use bootstrap::SrvDiscovery;
pub use config::{ClientLimits, InitialCluster, InitialMember, LogLevel, NodeConfig, SetLogLevel};
pub use disk::DiskError;
pub use error::{BootstrapError, NodeError};
pub use http::ETCD_VERSION;
pub use node::Node;
pub use proxy::{Proxy, ProxyConfig, ProxyTls};
pub use tls::{CallTls, NamedFile, NodeTls, TlsError, TlsSettings};
