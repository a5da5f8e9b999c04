//! The stock docker command line clients of this machine, driven against a socket.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::{Finished, run};

/// Longest a docker command may take in a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// One docker client program pointed at one daemon.
#[derive(Debug, Clone)]
pub struct DockerCli {
    program: PathBuf,
    host: String,
    config: PathBuf,
    /// Its version, e.g. `20.10.24`.
    pub version: String,
}

impl DockerCli {
    /// A command line, not yet run.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg("-H")
            .arg(&self.host)
            .args(arguments)
            .env("DOCKER_CONFIG", &self.config)
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
            .env_remove("DOCKER_API_VERSION")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command line to its end.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        run(&mut self.command(arguments), PATIENCE)
    }

    /// Runs it, expects success, and gives its standard output without the last newline.
    ///
    /// # Panics
    /// When it fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments);
        assert_eq!(
            finished.code, 0,
            "docker {} {arguments:?} failed with {}:\n{}{}",
            self.version, finished.code, finished.stdout, finished.stderr
        );
        finished.stdout.trim_end_matches('\n').to_owned()
    }
}

/// Every docker client on this machine, one for each version: Debian's, and a newer one if the PATH has it.
///
/// # Panics
/// When there is none at all.
#[must_use]
pub fn clients(socket: &Path, config: &Path) -> Vec<DockerCli> {
    let mut found: Vec<DockerCli> = Vec::new();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::iter::once(PathBuf::from("/usr/bin")).chain(std::env::split_paths(&path)) {
        let program = folder.join("docker");
        if !program.exists() {
            continue;
        }
        let printed = run(Command::new(&program).arg("--version"), PATIENCE);
        let version = printed
            .stdout
            .split_whitespace()
            .nth(2)
            .unwrap_or_default()
            .trim_end_matches(',')
            .to_owned();
        // Debian adds its own suffix to the version.
        let version = version.split('+').next().unwrap_or_default().to_owned();
        if printed.code == 0 && !version.is_empty() && found.iter().all(|other| other.version != version) {
            let host = format!("unix://{}", socket.display());
            found.push(DockerCli {
                program,
                host,
                config: config.to_path_buf(),
                version,
            });
        }
    }
    assert!(
        !found.is_empty(),
        "the tests need a docker client: Debian's docker.io has one"
    );
    found
}
