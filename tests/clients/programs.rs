//! The clients' programs: looked for, installed into the target folder when a registry has them, and run with none
//! of the caller's settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use berth_harness::{Finished, run};

/// Longest time of an installation: a registry's answer and a build of everything on a busy machine.
const LONGEST_INSTALL: Duration = Duration::from_secs(400);
/// Longest time of a client's run that waits for nothing.
pub(crate) const SHORT: Duration = Duration::from_secs(20);
/// Longest time of a client's run that waits for times to live and for other clients.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// One installation at a time: the registries' clients share their caches.
static INSTALLING: Mutex<()> = Mutex::new(());

/// A file of this suite.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// A place in the target folder that outlives the run.
pub(crate) fn kept(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients").join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Fails the test unless `file` of a Debian package is there.
pub(crate) fn need(file: &str, package: &str) {
    assert!(
        Path::new(file).exists(),
        "{file} is missing: this test needs the Debian package {package}, which `cargo xtask test` installs"
    );
}

/// A command with a clean environment: no proxy, no endpoint, no credential of the caller.
pub(crate) fn clean(program: impl AsRef<std::ffi::OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", home)
        .current_dir(home)
        .stdin(std::process::Stdio::null());
    command
}

/// Runs an installation step, with the caller's environment, for that is where a registry is set.
pub(crate) fn install(what: &str, command: &mut Command) -> Finished {
    let _one = INSTALLING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let finished = run(command.stdin(std::process::Stdio::null()), LONGEST_INSTALL);
    assert_eq!(
        finished.code, 0,
        "{what} could not be installed, so what it would show is not shown:\n{}{}",
        finished.stdout, finished.stderr
    );
    finished
}

/// The folder `name` with what `command` puts into the folder that it is given; made once and kept.
///
/// The name carries the versions. A half-made folder is never seen: it gets its name when it is complete.
pub(crate) fn installed(name: &str, command: impl FnOnce(&Path) -> Command) -> PathBuf {
    static ONCE: Mutex<()> = Mutex::new(());
    let _once = ONCE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let parent = kept("installed");
    let complete = parent.join(name);
    if complete.exists() {
        return complete;
    }
    let making = parent.join(format!("{name}.{}", std::process::id()));
    let _ = fs::remove_dir_all(&making);
    fs::create_dir_all(&making).unwrap();
    install(name, &mut command(&making));
    if fs::rename(&making, &complete).is_err() {
        assert!(complete.exists(), "{} could not get its name", making.display());
        // Another run was faster; its copy is the same.
        fs::remove_dir_all(&making).unwrap();
    }
    complete
}
