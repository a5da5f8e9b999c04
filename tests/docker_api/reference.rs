//! The daemon under test: Berth's engine, or with `REFERENCE` in the environment the real dockerd, on which the same
//! assertions must hold. `REFERENCE=dockerd` starts one for each test, `REFERENCE=unix:///path` takes an empty one.

use std::io::Write as _;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_harness::{Dockerd, Engine, Scratch};

use crate::berth;

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// What `REFERENCE` says, if the reference is to be tested.
fn reference() -> Option<String> {
    std::env::var("REFERENCE").ok().filter(|value| !value.is_empty())
}

/// Whether this run tests the reference. A test of what only Berth has returns at once then; it is named and counted.
pub(crate) fn skipped(reason: &str) -> bool {
    reference().is_some() && told("", reason)
}

/// Names and counts what is not run on the reference.
fn told(part: &str, reason: &str) -> bool {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a test");
    // Not through the macros, whose output the test runner keeps to itself.
    let mut out = std::io::stderr();
    writeln!(
        out,
        "docker_api: {part}{name} skipped on the reference ({count} so far): {reason}"
    )
    .unwrap();
    true
}

/// The daemon that a test talks to.
#[derive(Debug)]
pub(crate) enum Daemon {
    /// Berth's.
    Berth(Engine),
    /// The real dockerd.
    Reference(Dockerd),
}

impl Daemon {
    /// Starts the one that is to be tested; `extra` are flags of Berth's.
    pub(crate) fn start(scratch: &Scratch, extra: &[&str]) -> Self {
        let Some(value) = reference() else {
            return Self::Berth(Engine::start(&berth(), scratch, extra));
        };
        assert!(
            extra.is_empty(),
            "{extra:?} is Berth's: the test must be skipped on a reference"
        );
        match value.strip_prefix("unix://") {
            Some(path) => Self::Reference(Dockerd::given(Path::new(path))),
            None if value == "dockerd" => Self::Reference(Dockerd::start(scratch)),
            None => panic!("REFERENCE is `dockerd` or `unix:///path`, not {value:?}"),
        }
    }

    /// Whether it is dockerd.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self, Self::Reference(_))
    }

    /// Whether a part of a test must be left out on the reference, for a reason that is told and counted.
    pub(crate) fn differs(&self, reason: &str) -> bool {
        match self {
            Self::Berth(_) => false,
            Self::Reference(_) => told("a part of ", reason),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        match self {
            Self::Berth(engine) => engine.socket(),
            Self::Reference(dockerd) => dockerd.socket(),
        }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Ends the engine; fails when anything of it is left. The reference is only cleared.
    pub(crate) fn finish(&mut self) {
        match self {
            Self::Berth(engine) => {
                engine.teardown();
                engine.leftovers().expect_none();
            }
            Self::Reference(dockerd) => dockerd.clear(),
        }
    }
}

/// Only Berth's own tests ask for more than the socket.
const OWN: &str = "the test is about Berth's process: it must be skipped on a reference";

impl Deref for Daemon {
    type Target = Engine;

    fn deref(&self) -> &Engine {
        match self {
            Self::Berth(engine) => engine,
            Self::Reference(_) => panic!("{OWN}"),
        }
    }
}

impl DerefMut for Daemon {
    fn deref_mut(&mut self) -> &mut Engine {
        match self {
            Self::Berth(engine) => engine,
            Self::Reference(_) => panic!("{OWN}"),
        }
    }
}
