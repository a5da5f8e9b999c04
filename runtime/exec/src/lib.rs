//! Carries out start plans: the keeper, the stage, netlink, nftables and cgroups.

#![deny(unsafe_code)]

// What the daemon calls.
mod error;
mod facts;
mod launch;
mod root;

// Host steps and their reverse.
mod host;
pub mod netlink;
pub mod nft;
pub mod ports;
mod rollback;

// What travels.
mod channel;
mod protocol;

// The keeper, and the first process of a container.
mod in_root;
pub mod keeper;
mod log;
mod prepare;
mod reap;
mod run_step;
mod stage;
mod sys;

pub use error::{ExecError, LaunchError, Unusable};
pub use facts::facts;
pub use launch::{Adopted, Attach, Exit, HostConfig, Launcher, Report, Started};
pub use netlink::{BridgeConfig, NetworkError};
pub use root::{AccountFiles, Root, RootLayers};
