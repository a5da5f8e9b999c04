//! What an engine finds when it starts: records, what the keeper still holds, and what became of the difference.

use std::collections::BTreeMap;

use berth_exec::Adopted;

use crate::actions::Actions;
use crate::clock;
use crate::container::{Container, Place, Run, Status};
use crate::error::RecordError;
use crate::event_loop::Entry;
use crate::handle::Ended;
use crate::names::Names;
use crate::networks::Networks;
use crate::records::Records;
use crate::restart::Policy;

/// The exit code of a run whose end nobody saw; Docker's.
const UNSEEN: i64 = 255;

/// The state to begin with.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) containers: BTreeMap<String, Entry>,
    pub(crate) names: Names,
    /// Containers that must go: made to be removed after their end, or caught in the middle of a removal.
    pub(crate) doomed: Vec<String>,
    /// Containers that their policy starts with the engine.
    pub(crate) due: Vec<String>,
}

/// Compares records and keeper. Runs before the event loop, may block.
pub(crate) fn recover(
    records: &mut Records,
    adopted: Vec<Adopted>,
    actions: &Actions,
    networks: &mut Networks,
) -> Result<Recovered, RecordError> {
    let mut adopted: BTreeMap<String, Adopted> = adopted
        .into_iter()
        .map(|adopted| (adopted.id.clone(), adopted))
        .collect();
    let mut found = Recovered {
        containers: BTreeMap::new(),
        names: Names::default(),
        doomed: Vec::new(),
        due: Vec::new(),
    };
    for mut container in records.load()? {
        let before = container.run.clone();
        match fate(
            before.status,
            before.plan.is_some(),
            adopted.remove(&container.id).as_ref(),
        ) {
            Fate::Untouched => {}
            Fate::Runs { pid, started_at } => runs_on(&mut container, pid, started_at, actions, networks),
            Fate::Ended(ended) => has_ended(&mut container, ended, actions),
            Fate::Leftover => {
                actions.clean_blocking(&container);
                container.run = Run {
                    place: None,
                    plan: None,
                    ..container.run
                };
            }
        }
        let restarting = before.status == Status::Restarting;
        if restarting && container.run.status == Status::Restarting {
            container.run.status = Status::Exited;
        }
        if let Err(error) = records.save(&container) {
            // What runs needs its engine all the more when the disk is full. The record is owed.
            tracing::error!(container = container.id, %error, "container record could not be written");
        }
        let stopped = container.run.status != Status::Running;
        let was_started = before.plan.is_some();
        if stopped
            && (container.run.status == Status::Removing
                || (was_started && container.host_config.auto_remove))
        {
            found.doomed.push(container.id.clone());
        } else if stopped && container.run.started_at != 0 {
            let run = &container.run;
            let was_running = restarting || before.status == Status::Running;
            let policy = Policy::of(&container.host_config.restart_policy);
            if policy.starts_with_engine(run.held, was_running, run.exit_code) {
                found.due.push(container.id.clone());
            }
        }
        found.names.take(&container.name, &container.id);
        found
            .containers
            .insert(container.id.clone(), Entry::new(container));
    }
    for stray in adopted.into_values() {
        if stray.inside.is_some() {
            // It runs on to its own end or its container's; nobody can ask for it any more.
            actions.forget(&stray.id);
            continue;
        }
        tracing::warn!(
            container = stray.id,
            "the keeper holds a container that nobody knows; it is killed"
        );
        actions.kill_stray(&stray.id, stray.exit.is_none());
    }
    Ok(found)
}

/// What became of a container.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It did not run.
    Untouched,
    /// It runs.
    Runs { pid: i64, started_at: i64 },
    /// It ran and has ended.
    Ended(Option<EndedAt>),
    /// It had ended already, or its launch came to nothing; the host may still hold parts of it.
    Leftover,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct EndedAt {
    code: i64,
    oom_killed: bool,
    finished_at: i64,
}

fn fate(status: Status, planned: bool, adopted: Option<&Adopted>) -> Fate {
    match (adopted, planned) {
        (Some(adopted), true) => match &adopted.exit {
            None => Fate::Runs {
                pid: i64::from(adopted.pid),
                started_at: clock::nanos(adopted.started_at),
            },
            Some(exit) => {
                let Ended {
                    code,
                    oom_killed,
                    finished_at,
                } = crate::actions::ended(exit);
                Fate::Ended(Some(EndedAt {
                    code,
                    oom_killed,
                    finished_at,
                }))
            }
        },
        (None, true) if status == Status::Running => Fate::Ended(None),
        (None, true) => Fate::Leftover,
        (_, false) => Fate::Untouched,
    }
}

fn runs_on(container: &mut Container, pid: i64, started_at: i64, actions: &Actions, networks: &mut Networks) {
    let run = &mut container.run;
    run.status = Status::Running;
    run.pid = pid;
    run.started_at = started_at;
    run.paused = actions.is_frozen(&container.id);
    let addresses = || run.place.iter().flat_map(Place::addresses);
    for address in addresses() {
        networks.reserve(address, &container.id);
    }
    let named = addresses().any(|address| !address.is_own());
    if let Some(plan) = &run.plan {
        actions.readopt(&container.id, plan);
    }
    if named {
        actions.reopen_names(container);
    }
}

fn has_ended(container: &mut Container, ended: Option<EndedAt>, actions: &Actions) {
    actions.clean_blocking(container);
    let ended = ended.unwrap_or(EndedAt {
        code: UNSEEN,
        oom_killed: false,
        finished_at: clock::now(),
    });
    container.run = Run {
        status: Status::Exited,
        pid: 0,
        exit_code: ended.code,
        error: String::new(),
        oom_killed: ended.oom_killed,
        started_at: container.run.started_at,
        finished_at: ended.finished_at,
        place: None,
        plan: None,
        restart_count: container.run.restart_count,
        held: container.run.held,
        paused: false,
        health: container.run.health.take().map(|mut health| {
            health.end();
            health
        }),
    };
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use berth_exec::Exit;

    use super::*;

    fn adopted(exit: Option<Exit>) -> Adopted {
        Adopted {
            id: "a".to_owned(),
            pid: 7,
            started_at: UNIX_EPOCH + Duration::from_secs(5),
            exit,
            inside: None,
        }
    }

    #[test]
    fn fates() {
        let exit = || Exit {
            code: 3,
            signal: None,
            oom_killed: true,
            finished_at: UNIX_EPOCH + Duration::from_secs(6),
        };
        let runs = Fate::Runs {
            pid: 7,
            started_at: 5 * clock::NANOS_PER_SECOND,
        };
        let ended = EndedAt {
            code: 3,
            oom_killed: true,
            finished_at: 6 * clock::NANOS_PER_SECOND,
        };
        assert_eq!(fate(Status::Created, false, None), Fate::Untouched);
        assert_eq!(fate(Status::Running, true, Some(&adopted(None))), runs);
        assert_eq!(
            fate(Status::Created, true, Some(&adopted(None))),
            runs,
            "a crash during the launch"
        );
        assert_eq!(
            fate(Status::Running, true, Some(&adopted(Some(exit())))),
            Fate::Ended(Some(ended))
        );
        assert_eq!(fate(Status::Running, true, None), Fate::Ended(None));
        assert_eq!(fate(Status::Exited, true, None), Fate::Leftover);
    }
}
