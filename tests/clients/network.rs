//! A network of a test's own: its loopback is all there is, so ports are free and nothing leaves the machine.

use std::panic::resume_unwind;
use std::process::Command;
use std::time::Duration;

use berth_harness::{need_root, run};
use nix::sched::{CloneFlags, unshare};

/// Longest time to bring the loopback up.
const LONGEST_LINK: Duration = Duration::from_secs(10);

/// Runs `test` in a thread that lives in a fresh network namespace, and so do the processes that it starts.
///
/// The namespace goes when the thread and the last of those processes have ended. The thread matters: the caller's
/// may be the one that runs every test.
pub(crate) fn in_own_network(test: impl FnOnce() + Send) {
    need_root();
    let ended = std::thread::scope(|scope| {
        let inside = || {
            unshare(CloneFlags::CLONE_NEWNET)
                .unwrap_or_else(|error| panic!("no network namespace could be made: {error}"));
            run(
                Command::new("/sbin/ip").args(["link", "set", "lo", "up"]),
                LONGEST_LINK,
            )
            .ok();
            test();
        };
        scope.spawn(inside).join()
    });
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}
