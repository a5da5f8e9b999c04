//! A client on a terminal of its own, as a person has it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use berth_harness::{run, until};
use nix::pty::{Winsize, openpty};

/// Longest wait for something that a terminal shows, or for a client's end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Typed {
    child: Child,
    master: File,
    shown: Arc<Mutex<String>>,
    slave: PathBuf,
}

impl Typed {
    /// Starts a client on a terminal of 31 lines and 97 columns.
    pub(crate) fn start(client: &Command) -> Self {
        let size = Winsize {
            ws_row: 31,
            ws_col: 97,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).unwrap();
        // The terminal must be the controlling one: its signals tell of a new size.
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(client.get_program())
            .args(client.get_args());
        for (name, value) in client.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let descriptor = format!("/proc/self/fd/{}", pair.slave.as_raw_fd());
        let slave = std::fs::read_link(descriptor).unwrap();
        let stream = || Stdio::from(pair.slave.try_clone().unwrap());
        let child = command
            .stdin(stream())
            .stdout(stream())
            .stderr(stream())
            .spawn()
            .unwrap();
        let master = File::from(pair.master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, text) = (master.try_clone().unwrap(), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // A terminal whose other end is closed cannot be read any more.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                text.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        Self {
            child,
            master,
            shown,
            slave,
        }
    }

    pub(crate) fn shows(&self, text: &str) {
        until(
            &format!("{text:?} on the terminal: {}", self.text()),
            PATIENCE,
            || self.text().contains(text).then_some(()),
        );
    }

    pub(crate) fn text(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    pub(crate) fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// The terminal's window changes; the kernel tells the client by a signal.
    pub(crate) fn resizes(&self, rows: u16, columns: u16) {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let mut stty = Command::new("stty");
        stty.arg("-F")
            .arg(&self.slave)
            .args(["rows", &rows, "cols", &columns]);
        run(&mut stty, PATIENCE).ok();
    }

    /// The client's exit code, when it has ended.
    pub(crate) fn code(mut self) -> i32 {
        let status = until("the client's end", PATIENCE, || self.child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Typed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
