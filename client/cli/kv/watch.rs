//! `watch` and `exec-watch`: changes of keys, printed or handed to a command.

use std::ffi::OsString;
use std::process::{Child, Command};

use berth_sdk::{KeyAnswer, KeysCall};

use super::session::refused_with;
use super::{Session, Style};
use crate::args::{ExecWatchArgs, WatchArgs};
use crate::exit::{Failure, Outcome};
use crate::terminal::{EndWish, note, print_line, tell};

/// The history of the store no longer reaches back to where a watch went on.
const HISTORY_CLEARED: u16 = 401;

/// Commands of `exec-watch` that may run at the same time. At the bound the watch waits for the oldest one; the store
/// keeps the changes of that time as long as its history reaches.
const MOST_COMMANDS: usize = 32;

/// One change after the other, without a gap.
struct Changes<'a> {
    session: &'a Session,
    key: &'a str,
    recursive: bool,
    next: Option<u64>,
    /// Goes on from now when the history has a gap, and says so.
    over_gaps: bool,
}

impl Changes<'_> {
    async fn next(&mut self) -> Result<KeyAnswer, Failure> {
        loop {
            let call = KeysCall::watch(self.key, self.recursive, self.next);
            match self.session.wait(&call).await {
                Ok(answer) => {
                    self.next = Some(answer.event.node.modified_index + 1);
                    return Ok(answer);
                }
                // Nothing older can be had. What happened meanwhile is lost to this watch, which goes on from now.
                Err(failures) if self.over_gaps && refused_with(&failures, HISTORY_CLEARED) => {
                    tell(&format!("changes were missed: {}", failures.into_error()));
                    self.next = None;
                }
                Err(failures) => return Err(self.session.failed(failures, false)),
            }
        }
    }
}

/// The index to wait for after one that was seen; 0 is none, as etcdctl has it.
fn after(index: Option<u64>) -> Option<u64> {
    index
        .filter(|index| *index > 0)
        .map(|index| index.saturating_add(1))
}

pub(crate) async fn watch(session: &Session, args: WatchArgs) -> Outcome {
    let mut end = EndWish::new()?;
    let mut changes = Changes {
        session,
        key: &args.key,
        recursive: args.recursive,
        next: after(args.after_index),
        over_gaps: args.forever && session.style() == Style::Berth,
    };
    loop {
        let answer = tokio::select! {
            answer = changes.next() => answer?,
            signal = end.next() => return Ok(ended_by(session, signal)),
        };
        // etcdctl is silent about directories, whatever the shape.
        if answer.event.node.dir {
            continue;
        }
        if args.recursive {
            print_line(&format!("[{}] {}", answer.event.action, answer.event.node.key))?;
        }
        session.show(&answer)?;
        if !args.forever {
            return Ok(0);
        }
    }
}

/// The exit code of a watch that a signal ended: 0 as etcdctl has it on Ctrl-C.
fn ended_by(session: &Session, signal: &str) -> u8 {
    match (session.style(), signal) {
        (_, "SIGINT") => 0,
        (Style::Etcdctl | Style::Berth, _) => 143,
    }
}

pub(crate) async fn exec_watch(session: &Session, args: ExecWatchArgs) -> Outcome {
    let mut end = EndWish::new()?;
    let Some((program, words)) = args.command.split_first() else {
        return Err(session.usage("key and command to exec required"));
    };
    let mut changes = Changes {
        session,
        key: &args.key,
        recursive: args.recursive,
        next: after(args.after_index),
        over_gaps: session.style() == Style::Berth,
    };
    let mut running: Vec<Child> = Vec::new();
    loop {
        let answer = tokio::select! {
            answer = changes.next() => answer?,
            signal = end.next() => return Ok(ended_by(session, signal)),
        };
        if answer.event.node.dir {
            note(&format!("Ignored dir {} change", answer.event.node.key));
            continue;
        }
        make_room(&mut running).await?;
        let mut command = Command::new(program);
        command.args(words).envs(environment(&answer));
        match command.spawn() {
            Ok(child) => running.push(child),
            Err(error) => return Err(cannot_run(session, program, &error)),
        }
    }
}

fn cannot_run(session: &Session, program: &OsString, error: &std::io::Error) -> Failure {
    let program = program.to_string_lossy();
    match session.style() {
        Style::Berth => Failure::usage(format!("{program}: {error}")),
        Style::Etcdctl => session.usage(&format!("exec: {program:?}: {error}")),
    }
}

/// Reaps what has ended, and waits for the oldest command when too many run.
async fn make_room(running: &mut Vec<Child>) -> Result<(), Failure> {
    let mut still = Vec::new();
    for mut child in running.drain(..) {
        if child.try_wait()?.is_none() {
            still.push(child);
        }
    }
    *running = still;
    if running.len() >= MOST_COMMANDS {
        let mut oldest = running.remove(0);
        tokio::task::spawn_blocking(move || oldest.wait()).await??;
    }
    Ok(())
}

/// What a command of `exec-watch` finds in its environment.
fn environment(answer: &KeyAnswer) -> [(&'static str, String); 4] {
    let node = &answer.event.node;
    [
        ("ETCD_WATCH_ACTION", answer.event.action.clone()),
        ("ETCD_WATCH_MODIFIED_INDEX", node.modified_index.to_string()),
        ("ETCD_WATCH_KEY", node.key.clone()),
        // The environment cannot hold a NUL; a value with one is cut there, as C strings are.
        (
            "ETCD_WATCH_VALUE",
            node.value
                .as_deref()
                .unwrap_or_default()
                .split('\0')
                .next()
                .unwrap_or_default()
                .to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_goes_on_after_an_index() {
        assert_eq!(after(None), None);
        assert_eq!(after(Some(0)), None);
        assert_eq!(after(Some(4)), Some(5));
        assert_eq!(after(Some(u64::MAX)), Some(u64::MAX));
    }
}
