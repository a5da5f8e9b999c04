//! The first process of a container that asks for one: it runs the command, passes signals on to it, and reaps whatever
//! loses its parent. It ends when the command does, as the command did.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, exit};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// As shells have it: the command is not there.
const NOT_FOUND: i32 = 127;

/// The command cannot be executed.
const NOT_EXECUTABLE: i32 = 126;

/// What stands for the end by a signal, before its number.
const SIGNALLED: i32 = 128;

/// Runs the words behind `--` to their end.
pub fn run(words: impl Iterator<Item = OsString>) -> ! {
    let mut words = words.skip_while(|word| word != "--").skip(1);
    let Some(program) = words.next() else {
        exit(NOT_FOUND);
    };
    // Waited for below, one after the other; none has an effect by itself.
    let all = SigSet::all();
    if all.thread_block().is_err() {
        exit(NOT_EXECUTABLE);
    }
    // A group of its own: what a terminal sends reaches it once, not twice. It inherits what its thread blocks.
    let mut command = Command::new(&program);
    command.args(words).process_group(0);
    let unblocked = std::thread::spawn(move || {
        SigSet::empty().thread_set_mask()?;
        command.spawn()
    });
    let child = unblocked
        .join()
        .unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
    let child = match child {
        Ok(child) => Pid::from_raw(child.id().cast_signed()),
        Err(error) => {
            // Nobody else can say it: the start itself has gone well.
            let text = format!("init: exec {}: {error}\n", program.to_string_lossy());
            let _ = rustix::io::write(rustix::stdio::stderr(), text.as_bytes());
            let missing = error.kind() == std::io::ErrorKind::NotFound;
            exit(if missing { NOT_FOUND } else { NOT_EXECUTABLE });
        }
    };
    give_terminal(child);
    loop {
        match all.wait() {
            Ok(Signal::SIGCHLD) => reap(child),
            // They are for whoever reads from a terminal out of turn.
            Ok(Signal::SIGTTIN | Signal::SIGTTOU) => {}
            // Its end is seen by the next SIGCHLD.
            Ok(signal) => drop(kill(child, signal)),
            Err(_) => {}
        }
    }
}

/// The terminal, if there is one, is the command's; it may have been stopped for reading too early.
fn give_terminal(child: Pid) {
    let stdin = rustix::stdio::stdin();
    let group = rustix::process::Pid::from_raw(child.as_raw());
    if let (true, Some(group)) = (rustix::termios::isatty(stdin), group)
        && rustix::termios::tcsetpgrp(stdin, group).is_ok()
    {
        let _ = kill(child, Signal::SIGCONT);
    }
}

/// Takes the status of everything that has ended. One signal may stand for several.
fn reap(child: Pid) {
    let mut status = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => status = Some(code),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                status = Some(SIGNALLED + signal as i32);
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
            Ok(_) | Err(_) => {}
        }
    }
    if let Some(code) = status {
        exit(code);
    }
}
