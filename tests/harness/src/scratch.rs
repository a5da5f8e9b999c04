//! A place of a test's own: a temporary directory and a short name that nothing else on the host has.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A temporary directory and names for bridge, table, cgroup and subnet that no other test uses.
#[derive(Debug)]
pub struct Scratch {
    directory: TempDir,
    number: u32,
}

impl Scratch {
    /// Makes a new place.
    ///
    /// # Panics
    /// When the directory cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("berth-test-").tempdir().unwrap();
        Self {
            directory,
            number: COUNT.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path below the directory.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A name of at most 12 characters, fit for a bridge.
    #[must_use]
    pub fn name(&self) -> String {
        format!("bt{}x{}", std::process::id() % 10_000_000, self.number)
    }

    /// A /24 of 10.213.0.0/16 … 10.220.0.0/16, by process and count; the addresses live in bridges of the test only.
    #[must_use]
    pub fn subnet(&self) -> String {
        // No two of one process are alike, and those of another process that runs at the same time hardly.
        let slot = (std::process::id().wrapping_mul(131) + self.number) % 2048;
        format!("10.{}.{}.0/24", 213 + slot / 256, slot % 256)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A TCP port of 127.0.0.1 that was free a moment ago.
///
/// # Panics
/// When no port can be had.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
