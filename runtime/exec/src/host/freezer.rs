//! Freezing and thawing all processes of a control group.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use berth_plan::CgroupLayout;

use super::cgroup::write;
use crate::error::ExecError;

/// How long the processes may take to stop: each does at its next way through the kernel. Then the attempt is taken back
/// and reported.
const DEADLINE: Duration = Duration::from_secs(5);

/// After so long in between a group of version 1 is thawed and frozen anew: it can hang there when a process of it is
/// being made.
const RETRY: Duration = Duration::from_millis(100);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// The switch of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Freezer {
    /// A directory of the tree `freezer` of version 1.
    V1(PathBuf),
    /// A directory of version 2.
    V2(PathBuf),
}

impl Freezer {
    /// The one of a directory, relative to the mount points.
    pub(crate) fn of(layout: &CgroupLayout, directory: &Path) -> Result<Self, ExecError> {
        match layout {
            CgroupLayout::V2 { mount, .. } => Ok(Self::V2(mount.join(directory))),
            CgroupLayout::V1 { .. } => match layout.controller("freezer") {
                Some(mount) => Ok(Self::V1(mount.join(directory))),
                None => Err(ExecError::Kernel {
                    what: "the cgroup controller freezer",
                }),
            },
        }
    }

    /// Returns when every process has stopped.
    pub(crate) fn freeze(&self) -> Result<(), ExecError> {
        let begun = Instant::now();
        let mut tried = begun;
        self.switch(true)?;
        loop {
            if self.is_frozen()? {
                return Ok(());
            }
            if begun.elapsed() >= DEADLINE {
                self.switch(false)?;
                return Err(ExecError::NotFrozen {
                    path: self.directory().to_owned(),
                });
            }
            if tried.elapsed() >= RETRY
                && let Self::V1(_) = self
            {
                self.switch(false)?;
                self.switch(true)?;
                tried = Instant::now();
            }
            thread::sleep(PAUSE);
        }
    }

    pub(crate) fn thaw(&self) -> Result<(), ExecError> {
        self.switch(false)
    }

    pub(crate) fn is_frozen(&self) -> Result<bool, ExecError> {
        let read = |path: PathBuf| fs::read_to_string(&path).map_err(ExecError::path("reading", &path));
        match self {
            Self::V1(directory) => Ok(read(directory.join("freezer.state"))?.trim() == "FROZEN"),
            Self::V2(directory) => {
                let events = read(directory.join("cgroup.events"))?;
                Ok(events.lines().any(|line| line == "frozen 1"))
            }
        }
    }

    fn directory(&self) -> &Path {
        match self {
            Self::V1(directory) | Self::V2(directory) => directory,
        }
    }

    fn switch(&self, on: bool) -> Result<(), ExecError> {
        match self {
            Self::V1(directory) => write(
                &directory.join("freezer.state"),
                if on { "FROZEN" } else { "THAWED" },
            ),
            Self::V2(directory) => write(&directory.join("cgroup.freeze"), if on { "1" } else { "0" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_two_is_asked_and_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| fs::write(place.path().join(name), text).unwrap();
        let freezer = Freezer::V2(place.path().to_owned());
        file("cgroup.freeze", "0");
        file("cgroup.events", "populated 1\nfrozen 0\n");
        assert!(!freezer.is_frozen().unwrap());
        file("cgroup.events", "populated 1\nfrozen 1\n");
        freezer.freeze().unwrap();
        let written = || fs::read_to_string(place.path().join("cgroup.freeze")).unwrap();
        assert_eq!(written(), "1");
        freezer.thaw().unwrap();
        assert_eq!(written(), "0");
    }

    #[test]
    fn a_group_that_is_not_there_is_an_error() {
        let gone = Freezer::V1(PathBuf::from("/nowhere/at/all"));
        gone.freeze().unwrap_err();
        gone.is_frozen().unwrap_err();
        let layout = CgroupLayout::V1 { hierarchies: vec![] };
        Freezer::of(&layout, Path::new("x")).unwrap_err();
    }
}
