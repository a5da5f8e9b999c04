//! An engine in this process, driven by the stock docker CLI: the commands that people type, on a real host.
//!
//! The test has its own `main` because the keeper is made from this very executable.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test with its own main reports by itself"
)]

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::{Duration, Instant};

use berth_engine::{Engine, EngineConfig, ShutdownMode};

/// Longer than any command here takes, shorter than the patience of whoever waits for the tests.
const DEADLINE: Duration = Duration::from_secs(30);

const CLIENTS: [&str; 2] = ["/usr/local/bin/docker", "/usr/bin/docker"];

const BUSYBOX: &str = "/bin/busybox";

/// Programs that the cases call.
const APPLETS: [&str; 12] = [
    "sh", "cat", "echo", "sleep", "true", "false", "httpd", "ip", "id", "hostname", "wget", "ls",
];

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("__keeper") {
        berth_exec::keeper::run();
    }
    let clients: Vec<&str> = CLIENTS
        .into_iter()
        .filter(|client| Path::new(client).exists())
        .collect();
    if !nix::unistd::geteuid().is_root() || clients.is_empty() || !Path::new(BUSYBOX).exists() {
        println!("skipped: needs root, busybox-static and a docker client");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let result = runtime.block_on(async {
        for client in clients {
            println!("client {client}");
            let world = World::new(client);
            let engine = Engine::start(world.config()).await.expect("the engine starts");
            let cases = world.clone();
            let outcome = tokio::task::spawn_blocking(move || cases.run_all()).await;
            let registered = engine.registrations();
            engine
                .shutdown(ShutdownMode::StopAndTeardown)
                .await
                .expect("the engine stops");
            assert!(
                registered.borrow().is_empty(),
                "containers are registered after the end"
            );
            world.remove();
            outcome?;
        }
        adoption().await
    });
    match result {
        Ok(()) => {
            println!("all passed");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One engine's place on the host, apart from every other's.
#[derive(Clone)]
struct World {
    directory: PathBuf,
    client: String,
    tag: String,
}

impl World {
    fn new(client: &str) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("be")
            .tempdir()
            .expect("a directory")
            .keep();
        let tag = format!("bt{}", std::process::id());
        Self {
            directory,
            client: client.to_owned(),
            tag,
        }
    }

    fn config(&self) -> EngineConfig {
        EngineConfig {
            data_dir: self.directory.join("data"),
            run_dir: self.directory.join("run"),
            socket: self.directory.join("api.sock"),
            socket_group: None,
            tcp: None,
            executable: std::env::current_exe().expect("this executable"),
            bridge: self.tag.clone(),
            subnet: "10.213.0.0/24".to_owned(),
            table: self.tag.clone(),
            cgroup_parent: self.tag.clone(),
            version: "0.0.0-test".to_owned(),
            git_commit: String::new(),
        }
    }

    fn remove(&self) {
        std::fs::remove_dir_all(&self.directory).expect("nothing of the engine holds its directory");
    }

    fn docker<I, S>(&self, arguments: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.docker_with_input(arguments, b"")
    }

    fn docker_with_input<I, S>(&self, arguments: I, input: &[u8]) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        use std::io::Write as _;
        let seconds = DEADLINE.as_secs().to_string();
        let mut child = Command::new("timeout")
            .args(["-s", "KILL", &seconds, &self.client])
            .args(arguments)
            .env(
                "DOCKER_HOST",
                format!("unix://{}", self.directory.join("api.sock").display()),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A client that refuses early does not read all of it.
        let _ = stdin.write_all(input);
        drop(stdin);
        child.wait_with_output().expect("docker ends")
    }

    /// Runs a command line, words at blanks; the result is `code`, standard output and standard error.
    fn sh(&self, line: &str) -> (Option<i32>, String, String) {
        let output = self.docker(line.split(' '));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn check(&self, line: &str, code: i32, wanted: &str) -> String {
        let (found, stdout, stderr) = self.sh(line);
        assert_eq!(
            found,
            Some(code),
            "docker {line}\nstdout: {stdout}\nstderr: {stderr}"
        );
        assert!(
            stdout.contains(wanted) || stderr.contains(wanted),
            "docker {line}: no {wanted:?} in\nstdout: {stdout}\nstderr: {stderr}"
        );
        stdout
    }

    fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let end = Instant::now() + DEADLINE;
        while !condition() {
            assert!(Instant::now() < end, "{what} did not come");
            std::thread::yield_now();
        }
    }

    fn run_all(&self) {
        self.image();
        self.short_runs();
        self.a_service();
        self.refusals();
    }

    fn image(&self) {
        self.check("version", 0, "0.0.0-test");
        self.check("info", 0, "Server");
        let archive = rootfs(&self.directory);
        let output = self.docker_with_input(["import", "-", "app"], &archive);
        assert!(
            output.status.success(),
            "import: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        self.check("images", 0, "app");
        self.check("images", 0, "berth/hello");
        self.check("tag app other:1", 0, "");
        self.check("rmi other:1", 0, "Untagged");
    }

    fn short_runs(&self) {
        assert_eq!(self.check("run --rm app echo hi", 0, ""), "hi");
        self.check("run --rm app false", 1, "");
        let (code, stdout, stderr) =
            self.sh_words(&["run", "--rm", "app", "sh", "-c", "echo out; echo err >&2; exit 3"]);
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(3), "out", "err"));
        let output = self.docker_with_input(["run", "-i", "--rm", "app", "cat"], b"piped");
        assert_eq!(output.stdout, b"piped");
        self.check("run --rm app nosuchcommand", 127, "not found");
        assert_eq!(self.check("ps -aq", 0, ""), "", "containers of --rm are gone");
    }

    fn sh_words(&self, words: &[&str]) -> (Option<i32>, String, String) {
        let output = self.docker(words);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn a_service(&self) {
        self.check(
            "run -d --name web -p 127.0.0.1:0:80 --label k=v app httpd -f -v -p 80",
            0,
            "",
        );
        self.check("ps", 0, "web");
        let address = || self.check("inspect web --format {{.NetworkSettings.IPAddress}}", 0, "");
        let first = address();
        self.check("restart -t 0 web", 0, "web");
        let second = address();
        assert_ne!(first, second, "a restart gives another address");
        let url = format!("http://{second}/etc/marker");
        self.check(&format!("run --rm app wget -q -O - {url}"), 0, "found");
        self.wait_for("the request in the log", || {
            self.sh("logs web").2.contains("response:200")
        });
        self.check("stop -t 0 web", 0, "web");
        self.check("ps -a --filter status=exited", 0, "web");
        self.check("start web", 0, "web");
        self.check("kill web", 0, "web");
        self.check("wait web", 0, "137");
        self.check("rm web", 0, "web");
    }

    fn refusals(&self) {
        self.check("run nosuch true", 125, "not supported yet");
        self.check("run --name x app true", 125, "Invalid container name");
        self.check("create --name twice app true", 0, "");
        self.check("create --name twice app true", 1, "is already in use");
        self.check("rmi app", 1, "conflict");
        self.check("rm twice", 0, "");
        self.check("rm twice", 1, "No such container: twice");
        self.check("run --isolation hyperv app true", 125, "not supported");
        self.check("run --rm --privileged app true", 0, "");
        self.check("run -d --name taken -p 127.0.0.1:18233:80 app sleep 100", 0, "");
        self.check("run --rm -p 127.0.0.1:18233:80 app true", 125, "18233");
        self.check("rm -f taken", 0, "");
    }
}

/// A container outlives its engine, and the next engine takes it over.
async fn adoption() -> Result<(), tokio::task::JoinError> {
    println!("adoption");
    let client = CLIENTS
        .into_iter()
        .find(|client| Path::new(client).exists())
        .unwrap_or(CLIENTS[0]);
    let world = World::new(client);
    let engine = Engine::start(world.config()).await.expect("the engine starts");
    let cases = world.clone();
    let before = tokio::task::spawn_blocking(move || {
        cases.image();
        cases.check("run -d --name stay --expose 80 app sleep 1000", 0, "");
        cases.check(
            "inspect stay --format {{.State.Pid}}/{{.NetworkSettings.IPAddress}}",
            0,
            "",
        )
    })
    .await;
    engine
        .shutdown(ShutdownMode::KeepContainers)
        .await
        .expect("the engine stops");
    let engine = Engine::start(world.config())
        .await
        .expect("the engine starts again");
    let mut registrations = engine.registrations();
    // The loop says it as the first thing that it does.
    let registered = tokio::time::timeout(DEADLINE, registrations.wait_for(|all| !all.is_empty()))
        .await
        .map(|all| all.expect("the engine runs").len());
    let cases = world.clone();
    let after = tokio::task::spawn_blocking(move || {
        let after = cases.check(
            "inspect stay --format {{.State.Pid}}/{{.NetworkSettings.IPAddress}}",
            0,
            "",
        );
        cases.check("rm -f stay", 0, "");
        after
    })
    .await;
    engine
        .shutdown(ShutdownMode::StopAndTeardown)
        .await
        .expect("the engine stops");
    world.remove();
    assert_eq!(before?, after?, "the container ran on");
    assert_eq!(registered, Ok(1), "it is registered again");
    Ok(())
}

/// An archive of a root file system with busybox in it.
fn rootfs(directory: &Path) -> Vec<u8> {
    let root = directory.join("rootfs");
    for part in ["bin", "etc", "tmp"] {
        std::fs::create_dir_all(root.join(part)).expect("a directory");
    }
    std::fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox");
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").expect("written");
    std::fs::write(root.join("etc/group"), "root:x:0:\n").expect("written");
    std::fs::write(root.join("etc/marker"), "found\n").expect("written");
    for applet in APPLETS {
        let link = root.join("bin").join(applet);
        if std::fs::symlink_metadata(&link).is_err() {
            symlink("busybox", link).expect("a link");
        }
    }
    let mut archive = tar::Builder::new(Vec::new());
    archive.follow_symlinks(false);
    archive.append_dir_all(".", &root).expect("archived");
    archive.into_inner().expect("archived")
}
