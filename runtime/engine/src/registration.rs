//! What the engine tells the announcer: which running container can be reached where.

use std::collections::BTreeMap;

/// A running container and its ports. The whole list is published at every change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The full id.
    pub container_id: String,
    /// The name without a slash.
    pub name: String,
    /// All labels.
    pub labels: BTreeMap<String, String>,
    /// Its exposed and published ports.
    pub endpoints: Vec<RegisteredPort>,
}

/// One port of a running container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredPort {
    /// The port inside the container.
    pub port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Where it answers: the container's own `ip:port`.
    pub address: String,
    /// Where it is published on the host, `ip:port`, if it is.
    pub published: Option<String>,
}
