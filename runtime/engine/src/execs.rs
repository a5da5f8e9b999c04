//! Further processes in containers: what was asked for, and what became of it. Pure; the event loop owns it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use berth_wire::docker::{ExecConfig, ExecInspect, ExecProcess};
use tokio::sync::watch;

/// Execs that are remembered, of all containers. At the bound the oldest that does not run is forgotten; when all run, a
/// new one is refused.
pub(crate) const MAX_EXECS: usize = 2048;

/// One exec, as it was asked for.
#[derive(Debug)]
pub(crate) struct Exec {
    pub(crate) id: String,
    pub(crate) container_id: String,
    pub(crate) config: ExecConfig,
}

/// What changes of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ExecState {
    /// It has been started once, which is all that can be done with it.
    pub(crate) begun: bool,
    pub(crate) running: bool,
    pub(crate) pid: i64,
    /// None until it has ended.
    pub(crate) exit_code: Option<i64>,
}

/// An exec, and its state as it changes.
#[derive(Debug, Clone)]
pub(crate) struct FoundExec {
    pub(crate) exec: Arc<Exec>,
    pub(crate) state: watch::Receiver<ExecState>,
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Execs {
    by_id: BTreeMap<String, (Arc<Exec>, watch::Sender<ExecState>)>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl Execs {
    /// Remembers one; false when there are too many that run.
    pub(crate) fn insert(&mut self, exec: Exec) -> bool {
        if self.by_id.len() >= MAX_EXECS {
            let idle = |id: &String| !self.by_id[id].1.borrow().running;
            let Some(place) = self.order.iter().position(idle) else {
                return false;
            };
            if let Some(id) = self.order.remove(place) {
                self.by_id.remove(&id);
            }
        }
        self.order.push_back(exec.id.clone());
        let id = exec.id.clone();
        self.by_id
            .insert(id, (Arc::new(exec), watch::Sender::new(ExecState::default())));
        true
    }

    pub(crate) fn find(&self, id: &str) -> Option<FoundExec> {
        let (exec, state) = self.by_id.get(id)?;
        Some(FoundExec {
            exec: Arc::clone(exec),
            state: state.subscribe(),
        })
    }

    /// Marks one as started; false when it has been before.
    pub(crate) fn begin(&self, id: &str) -> bool {
        self.by_id.get(id).is_some_and(|(_, state)| {
            state.send_if_modified(|state| {
                let first = !state.begun;
                if first {
                    state.begun = true;
                    state.running = true;
                }
                first
            })
        })
    }

    /// Its process runs, or has even ended.
    pub(crate) fn started(&self, id: &str, pid: i64) {
        if let Some((_, state)) = self.by_id.get(id) {
            state.send_modify(|state| {
                if state.running {
                    state.pid = pid;
                }
            });
        }
    }

    /// It has ended. None when it is not known, or had ended before.
    pub(crate) fn ended(&self, id: &str, exit_code: i64) -> Option<Arc<Exec>> {
        let (exec, state) = self.by_id.get(id)?;
        let first = state.send_if_modified(|state| {
            let first = state.exit_code.is_none();
            if first {
                state.begun = true;
                state.running = false;
                state.pid = 0;
                state.exit_code = Some(exit_code);
            }
            first
        });
        first.then(|| Arc::clone(exec))
    }

    /// Those that run in a container.
    pub(crate) fn running_in(&self, container: &str) -> Vec<String> {
        let all = self.by_id.values();
        all.filter(|(exec, state)| exec.container_id == container && state.borrow().running)
            .map(|(exec, _)| exec.id.clone())
            .collect()
    }

    /// Nobody will ask for it any more.
    pub(crate) fn forget(&mut self, id: &str) {
        self.by_id.remove(id);
        self.order.retain(|known| known != id);
    }

    /// The container is gone.
    pub(crate) fn forget_container(&mut self, container: &str) {
        self.by_id.retain(|_, (exec, _)| exec.container_id != container);
        let known = &self.by_id;
        self.order.retain(|id| known.contains_key(id));
    }
}

/// The inspect document.
pub(crate) fn inspect(found: &FoundExec) -> ExecInspect {
    let (exec, state) = (&found.exec, found.state.borrow());
    let words = exec.config.cmd.clone().unwrap_or_default().0;
    ExecInspect {
        id: exec.id.clone(),
        running: state.running,
        exit_code: state.exit_code,
        process_config: ExecProcess {
            tty: exec.config.tty,
            entrypoint: words.first().cloned().unwrap_or_default(),
            arguments: words.get(1..).unwrap_or_default().to_vec(),
            privileged: exec.config.privileged,
            user: exec.config.user.clone(),
        },
        open_stdin: exec.config.attach_stdin,
        open_stderr: exec.config.attach_stderr,
        open_stdout: exec.config.attach_stdout,
        can_remove: false,
        container_id: exec.container_id.clone(),
        detach_keys: exec.config.detach_keys.clone(),
        pid: state.pid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(id: usize, container: &str) -> Exec {
        Exec {
            id: id.to_string(),
            container_id: container.to_owned(),
            config: ExecConfig::default(),
        }
    }

    #[test]
    fn one_life() {
        let mut execs = Execs::default();
        assert!(execs.insert(exec(1, "a")));
        assert!(execs.begin("1") && !execs.begin("1") && !execs.begin("2"));
        execs.started("1", 7);
        assert_eq!(execs.running_in("a"), ["1"]);
        assert_eq!(execs.find("1").expect("known").state.borrow().pid, 7);
        assert!(execs.ended("1", 3).is_some() && execs.ended("1", 4).is_none());
        // The news of the start may be late.
        execs.started("1", 7);
        let document = inspect(&execs.find("1").expect("known"));
        assert_eq!(
            (document.exit_code, document.running, document.pid),
            (Some(3), false, 0)
        );
        assert!(execs.running_in("a").is_empty());
        execs.forget_container("a");
        assert!(execs.find("1").is_none());
    }

    #[test]
    fn the_oldest_idle_one_makes_room() {
        let mut execs = Execs::default();
        for id in 0..MAX_EXECS {
            assert!(execs.insert(exec(id, "a")));
        }
        execs.begin("0");
        assert!(execs.insert(exec(MAX_EXECS, "a")));
        assert!(execs.find("0").is_some() && execs.find("1").is_none());
        for id in 0..=MAX_EXECS {
            execs.begin(&id.to_string());
        }
        assert!(!execs.insert(exec(MAX_EXECS + 1, "a")));
    }
}
