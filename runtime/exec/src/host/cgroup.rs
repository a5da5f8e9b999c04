//! Directories and control files of cgroups.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::ExecError;

/// How long a cgroup may stay busy after its processes were killed; then it is reported as such.
const EMPTY_DEADLINE: Duration = Duration::from_secs(1);

/// The pause between two tries, doubled until it is [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_micros(200);

const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// How deep cgroups inside of a container's are removed; deeper ones keep it busy.
const MAX_DEPTH: usize = 16;

/// Files that a new directory of the cpuset hierarchy has to have filled.
const CPUSET_FILES: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// Makes a directory. One of the container's that is there is left from a launch that came to nothing.
pub(super) fn make(path: &Path, shared: bool) -> Result<(), ExecError> {
    let failed = ExecError::path("making cgroup", path);
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if shared {
                return Ok(());
            }
            empty(&[path])?;
            fs::create_dir(path).map_err(failed)
        }
        result => result.map_err(failed),
    }
}

pub(super) fn inherit_cpuset(path: &Path) -> Result<(), ExecError> {
    for name in CPUSET_FILES {
        let file = path.join(name);
        let read = |path: &Path| fs::read_to_string(path).map_err(ExecError::path("reading", path));
        if !read(&file)?.trim().is_empty() {
            continue;
        }
        let Some(parent) = path.parent() else {
            continue;
        };
        write(&file, read(&parent.join(name))?.trim())?;
    }
    Ok(())
}

/// One value, in one write.
pub(super) fn write(path: &Path, value: &str) -> Result<(), ExecError> {
    let failed = ExecError::path("writing", path);
    let open = OpenOptions::new().write(true).open(path);
    open.and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(failed)
}

/// Kills whatever runs in these directories and removes them; those that are not there are no error.
pub(crate) fn empty(paths: &[&Path]) -> Result<(), ExecError> {
    let mut left: Vec<&Path> = paths.to_vec();
    let deadline = Instant::now() + EMPTY_DEADLINE;
    let mut pause = FIRST_PAUSE;
    loop {
        let mut busy = Vec::new();
        for path in left {
            match remove(path, MAX_DEPTH) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => busy.push(path),
                Err(error) => return Err(ExecError::path("removing cgroup", path)(error)),
            }
        }
        let Some(first) = busy.first() else {
            return Ok(());
        };
        if Instant::now() >= deadline {
            return Err(ExecError::CgroupBusy {
                path: (*first).to_owned(),
            });
        }
        for path in &busy {
            kill(path, MAX_DEPTH);
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        left = busy;
    }
}

/// Removes a directory and those in it; control files go with it.
fn remove(path: &Path, depth: usize) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy && depth > 0 => {
            let children = children(path);
            if children.is_empty() {
                return Err(error);
            }
            for child in children {
                remove(&child, depth - 1)?;
            }
            fs::remove_dir(path)
        }
        result => result,
    }
}

fn children(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

/// The processes in a directory and those below it.
pub(crate) fn processes(path: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let mut left = vec![(path.to_owned(), MAX_DEPTH)];
    while let Some((path, depth)) = left.pop() {
        let here = members(&path.join("cgroup.procs"));
        found.extend(here.iter().map(|pid| pid.as_raw_nonzero().get().cast_unsigned()));
        if depth > 0 {
            left.extend(children(&path).into_iter().map(|child| (child, depth - 1)));
        }
    }
    found
}

/// What cannot be killed now is tried again by the caller.
fn kill(path: &Path, depth: usize) {
    // What is frozen dies when it goes on. Only the tree of that controller has the file.
    let _ = write(&path.join("freezer.state"), "THAWED");
    // v2 knows how to do it at once.
    if fs::write(path.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let list = path.join("cgroup.procs");
    for pid in members(&list) {
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        // The number may have been somebody else's by the time of the open; the descriptor is one process's for good.
        if members(&list).contains(&pid) {
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
    if depth > 0 {
        for child in children(path) {
            kill(&child, depth - 1);
        }
    }
}

fn members(list: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(list).unwrap_or_default();
    let numbers = text.lines().filter_map(|line| line.parse().ok());
    numbers.filter_map(Pid::from_raw).collect()
}

/// Removes the engine's own directory; one that is not there, or that others use, stays.
pub(crate) fn remove_shared(path: &Path) -> Result<(), ExecError> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(ExecError::path("removing cgroup", path)),
    }
}
