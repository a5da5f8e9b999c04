//! Carries out start plans: the keeper, the stage, netlink, nftables and cgroups.

#![deny(unsafe_code)]

// What the daemon calls.
mod devices;
mod error;
mod facts;
mod files;
mod launch;
mod propagation;
mod root;

// Host steps and their reverse.
mod host;
mod names;
pub mod netlink;
pub mod nft;
pub mod ports;
mod rollback;

// What travels.
mod channel;
mod protocol;

// The keeper, and the first process of a container.
mod in_root;
pub mod init;
pub mod keeper;
mod log;
mod prepare;
mod reap;
mod run_step;
mod stage;
mod sys;

pub use devices::{all_devices, find_devices};
pub use error::{ExecError, LaunchError, Unusable};
pub use facts::facts;
pub use files::Look;
pub use host::{CpuUsage, IoCount, MemoryUsage, Usage, write_file};
pub use launch::{Adopted, Attach, Exit, HostConfig, Launcher, Report, Started};
pub use names::{NameSockets, RESOLVER, open_names};
pub use netlink::{BridgeConfig, NetworkError};
pub use nft::NetworkConfig;
pub use propagation::check_propagation;
pub use root::{AccountFiles, Root, RootLayers};
pub use rustix::fs::FileType;
