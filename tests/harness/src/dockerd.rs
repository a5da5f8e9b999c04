//! The real dockerd as the reference of the docker suites: one of our own in a network namespace of the calling thread,
//! or one that is already there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

use crate::http::request_unix;
use crate::process::{Process, run};
use crate::scratch::Scratch;
use crate::wait::until;

/// Longest start of dockerd with its containerd on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that was given has one state for all tests: they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Moves the calling thread, and what it will start, into a new network namespace in which only loopback is up.
///
/// # Panics
/// When that fails; it takes root.
pub fn own_network() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of its own");
    let mut up = Command::new("ip");
    let up = run(up.args(["link", "set", "lo", "up"]), Duration::from_secs(20));
    assert_eq!(up.code, 0, "{}", up.stderr);
}

/// A running dockerd. Dropping it removes all that it made.
#[derive(Debug)]
pub struct Dockerd {
    socket: PathBuf,
    own: Option<Own>,
    _turn: Option<MutexGuard<'static, ()>>,
}

/// What only a daemon that we started has.
#[derive(Debug)]
struct Own {
    process: Process,
    place: PathBuf,
    cgroup: String,
}

impl Dockerd {
    /// Starts one on a scratch root, socket, containerd and cgroup of its own. The calling thread moves into a new
    /// network namespace, in which the daemon's bridge and firewall live: what the test starts and asks from this
    /// thread is there too, and the machine's own network is not touched.
    ///
    /// # Panics
    /// When it does not answer; it takes root and Debian's docker.io.
    #[must_use]
    pub fn start(scratch: &Scratch) -> Self {
        own_network();
        let place = scratch.join("dockerd");
        std::fs::create_dir(&place).unwrap();
        let socket = place.join("s");
        let cgroup = scratch.name();
        let mut command = Command::new("dockerd");
        command
            .arg(format!("--data-root={}", place.join("data").display()))
            .arg(format!("--exec-root={}", place.join("x").display()))
            .arg(format!("--pidfile={}", place.join("pid").display()))
            .arg(format!("--host=unix://{}", socket.display()))
            .arg(format!("--cgroup-parent=/{cgroup}"))
            // The first address of the same subnet that Berth's engine gets in a test.
            .arg(format!("--bip={}", scratch.subnet().replace(".0/", ".1/")))
            .arg("--log-level=error");
        let mut process = Process::start(&mut command, &place.join("log"));
        until("dockerd's answer", PATIENCE, || {
            assert!(process.ended().is_none(), "dockerd ended:\n{}", process.output());
            request_unix(&socket, "GET", "/_ping", &[], b"")
                .ok()
                .filter(|answer| answer.status == 200)
        });
        Self {
            socket,
            own: Some(Own {
                process,
                place,
                cgroup,
            }),
            _turn: None,
        }
    }

    /// Takes one that is there already, once no other test of this process uses it.
    ///
    /// # Panics
    /// When it has containers, images or volumes: a test removes whatever is there, so it must not be anybody's.
    #[must_use]
    pub fn given(socket: &Path) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        for list in ["/containers/json?all=1", "/images/json", "/volumes"] {
            let rows = rows(socket, list);
            assert!(
                rows.is_empty(),
                "{}: {list} is not empty: {rows:?}",
                socket.display()
            );
        }
        Self {
            socket: socket.to_path_buf(),
            own: None,
            _turn: Some(turn),
        }
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// Removes containers, networks, volumes and images.
    pub fn clear(&self) {
        for (list, kind, key, flags) in [
            ("/containers/json?all=1", "containers", "Id", "?force=1&v=1"),
            ("/networks", "networks", "Id", ""),
            ("/volumes", "volumes", "Name", "?force=1"),
            ("/images/json", "images", "Id", "?force=1"),
        ] {
            for row in rows(&self.socket, list) {
                let target = format!("/{kind}/{}{flags}", row[key].as_str().unwrap_or_default());
                // The networks that every daemon has are refused, and stay.
                let _ = request_unix(&self.socket, "DELETE", &target, &[], b"");
            }
        }
    }
}

/// The rows of a list of the API; none when the daemon does not answer.
fn rows(socket: &Path, list: &str) -> Vec<Value> {
    let Ok(answer) = request_unix(socket, "GET", list, &[], b"") else {
        return Vec::new();
    };
    let document: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let list = document.get("Volumes").unwrap_or(&document);
    list.as_array().cloned().unwrap_or_default()
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.clear();
        let Some(own) = &mut self.own else { return };
        if own.process.ended().is_none() {
            own.process.signal(nix::sys::signal::Signal::SIGTERM);
            let deadline = std::time::Instant::now() + PATIENCE;
            until("dockerd's end", PATIENCE + Duration::from_secs(1), || {
                let over = own.process.ended().is_some() || std::time::Instant::now() > deadline;
                over.then_some(())
            });
        }
        let place = own.place.to_string_lossy().into_owned();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let name = entry.file_name().to_string_lossy().parse::<i32>();
            // Its containerd and the shims name the place in their arguments.
            if let Ok(id) = name
                && String::from_utf8_lossy(&command).contains(&place)
            {
                let _ =
                    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGKILL);
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let below = mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|path| path.starts_with(&place));
        for path in below.collect::<Vec<_>>().into_iter().rev() {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
        for controller in std::fs::read_dir("/sys/fs/cgroup")
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = std::fs::remove_dir(controller.path().join(&own.cgroup));
        }
    }
}
