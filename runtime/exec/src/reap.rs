//! How a process ended, and whether it was for memory.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::process::{WaitId, WaitIdOptions, waitid};

/// What is added to the number of the signal that ended a process.
const SIGNALLED: i32 = 128;

/// The line of the counter, in both versions.
const COUNTER: &str = "oom_kill";

/// The status of a process that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// The status, or 128 and the signal.
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
}

/// Takes the status of a child; `None` while it runs.
pub(crate) fn reap(pidfd: impl AsFd) -> Option<Status> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    let ended = match waitid(WaitId::PidFd(pidfd.as_fd()), options) {
        Ok(ended) => ended?,
        // Nobody else waits for this process, so this means that it has been taken before.
        Err(_) => return None,
    };
    let signal = ended.terminating_signal();
    let code = match (ended.exit_status(), signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => SIGNALLED + signal,
        (None, None) => return None,
    };
    Some(Status { code, signal })
}

/// How many processes were killed for memory; 0 when there is no counter.
pub(crate) fn oom_kills(counter: Option<&Path>) -> u64 {
    let text = counter.and_then(|path| fs::read_to_string(path).ok());
    text.as_deref().and_then(parse).unwrap_or_default()
}

fn parse(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, count) = lines.find(|(name, _)| *name == COUNTER)?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_counters_are_read() {
        assert_eq!(parse("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(
            parse("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 0\n"),
            Some(2)
        );
        assert_eq!(parse("under_oom 0\n"), None);
        assert_eq!(oom_kills(None), 0);
        assert_eq!(oom_kills(Some(Path::new("/nowhere"))), 0);
    }
}
