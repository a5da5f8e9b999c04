//! The container engine: life cycle, records and the Docker Engine API.
//!
//! One thread owns the state of all containers ([`Engine`] talks to it through a bounded channel); everything that
//! takes time runs outside of it and comes back as an input.
#![forbid(unsafe_code)]

mod actions;
mod archive;
mod clock;
mod config;
mod container;
mod dns;
mod documents;
mod duration;
mod engine;
mod error;
mod event_loop;
mod events;
mod execs;
mod filters;
mod handle;
mod health;
mod http;
mod lifecycle;
mod links;
mod logs;
mod merge;
mod names;
mod networks;
mod processes;
mod records;
mod recover;
mod registration;
mod restart;
mod socket;
mod stats;
mod tls;
mod update;
mod volumes;

pub use config::{EngineConfig, Subnet, TcpConfig, TlsFiles};
pub use engine::{Engine, ShutdownMode};
pub use error::EngineError;
pub use registration::{RegisteredPort, Registration};
pub use tls::TlsError;
