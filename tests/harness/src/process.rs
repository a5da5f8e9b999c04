//! Processes that a test starts and that end with it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::until;

/// How long a process may take to end after SIGTERM before the test fails it.
const LONGEST_STOP: Duration = Duration::from_secs(30);

/// A running process whose output goes to a file. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts `command` with both output streams appended to `output`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(command: &mut Command, output: &Path) -> Self {
        let file = File::options().create(true).append(true).open(output).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
        Self {
            child,
            output: output.to_path_buf(),
        }
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// The exit status if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), signal);
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end within `limit`; with its output.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        let output = self.output.clone();
        until("the end of a process", limit + Duration::from_secs(1), || {
            let status = self.child.try_wait().unwrap();
            assert!(
                status.is_some() || Instant::now() < deadline,
                "process did not end; its output:\n{}",
                std::fs::read_to_string(&output).unwrap_or_default()
            );
            status
        })
    }

    /// SIGTERM, then wait.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait(LONGEST_STOP)
    }

    /// SIGKILL, then wait.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.wait(LONGEST_STOP);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command's end: code (or 128 + signal) and what it printed.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code, 128 + n when signal n ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Finished {
    /// The standard output without the newline at its end, after a look that the command succeeded.
    ///
    /// # Panics
    /// When the command failed.
    pub fn ok(&self) -> &str {
        assert_eq!(
            self.code, 0,
            "the command failed:\n{}{}",
            self.stdout, self.stderr
        );
        self.stdout.trim_end_matches('\n')
    }
}

/// Runs `command` to its end, at most `limit`.
///
/// # Panics
/// When it cannot be started or takes longer.
pub fn run(command: &mut Command, limit: Duration) -> Finished {
    let folder = tempfile::tempdir().unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut child = command
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("could not start {command:?}: {error}"));
    let deadline = Instant::now() + limit;
    let read = |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
    let status = until("a command's end", limit + Duration::from_secs(1), || {
        let status = child.try_wait().unwrap();
        if status.is_none() && Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{command:?} took longer than {limit:?}:\n{}{}",
                read(&out),
                read(&err)
            );
        }
        status
    });
    let signal = std::os::unix::process::ExitStatusExt::signal(&status).map(|signal| 128 + signal);
    Finished {
        code: status.code().or(signal).unwrap_or(-1),
        stdout: read(&out),
        stderr: read(&err),
    }
}
