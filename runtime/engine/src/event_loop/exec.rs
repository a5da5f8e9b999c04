//! Further processes in containers.

use std::sync::Arc;

use berth_wire::docker::{ExecConfig, ExecStart};

use super::{EventLoop, random_bytes};
use crate::container::Container;
use crate::error::Failure;
use crate::execs::{Exec, FoundExec, MAX_EXECS};
use crate::handle::{Begun, ExecCommand};
use crate::lifecycle::Phase;
use crate::names::id_from;

impl EventLoop {
    pub(super) fn exec_command(&mut self, command: ExecCommand) {
        // A client that went away needs no answer.
        match command {
            ExecCommand::Create {
                reference,
                config,
                reply,
            } => drop(reply.send(self.create_exec(&reference, *config))),
            ExecCommand::Begin { id, start, reply } => drop(reply.send(self.begin_exec(&id, &start))),
            ExecCommand::Find { id, reply } => drop(reply.send(self.find_exec(&id))),
        }
    }

    pub(super) fn create_exec(&mut self, reference: &str, config: ExecConfig) -> Result<String, Failure> {
        if self.closed {
            return Err(Failure::Stopping);
        }
        let container = self.running_container(&self.id_of(reference)?)?;
        let id = id_from(&random_bytes());
        // What cannot be is refused now, not when it is started.
        berth_plan::resolve_exec(&config, &ExecStart::default(), &id, &container.spec)?;
        let exec = Exec {
            id: id.clone(),
            container_id: container.id.clone(),
            config,
        };
        let words = words(&exec);
        if !self.execs.insert(exec) {
            return Err(Failure::TooManyExecs(MAX_EXECS));
        }
        self.tell(
            &container,
            &format!("exec_create: {words}"),
            [("execID", id.clone())],
        );
        Ok(id)
    }

    pub(super) fn begin_exec(&mut self, id: &str, start: &ExecStart) -> Result<Begun, Failure> {
        if self.closed {
            return Err(Failure::Stopping);
        }
        let found = self.find_exec(id)?;
        let container = self.running_container(&found.exec.container_id)?;
        let mut spec = berth_plan::resolve_exec(&found.exec.config, start, id, &container.spec)?;
        container.add_link_variables(&mut spec.env);
        if !self.execs.begin(id) {
            return Err(Failure::ExecBegun {
                id: id.to_owned(),
                running: found.state.borrow().running,
            });
        }
        let words = words(&found.exec);
        self.tell(
            &container,
            &format!("exec_start: {words}"),
            [("execID", id.to_owned())],
        );
        Ok(Begun {
            container,
            found,
            spec,
        })
    }

    fn find_exec(&self, id: &str) -> Result<FoundExec, Failure> {
        let found = self.execs.find(id);
        found.ok_or_else(|| Failure::NoSuchExec(id.to_owned()))
    }

    fn running_container(&self, id: &str) -> Result<Arc<Container>, Failure> {
        let entry = self
            .containers
            .get(id)
            .ok_or_else(|| Failure::NoSuchContainer(id.to_owned()))?;
        if entry.life.phase() != Phase::Running {
            return Err(Failure::ContainerNotRunning { id: id.to_owned() });
        }
        if entry.life.is_frozen() {
            let name = entry.container.name.clone();
            return Err(Failure::ContainerPaused { name });
        }
        Ok(Arc::clone(&entry.container))
    }

    /// The launch of an exec is over: its number, or the exit code that stands for its failure.
    pub(super) fn exec_launched(&mut self, id: &str, result: Result<i64, i64>) {
        match result {
            Ok(pid) => self.execs.started(id, pid),
            Err(exit_code) => drop(self.execs.ended(id, exit_code)),
        }
    }

    /// The keeper reports an end that is no container's.
    pub(super) fn exec_exited(&mut self, id: &str, exit_code: i64) {
        self.actions.forget(id);
        let Some(exec) = self.execs.ended(id, exit_code) else {
            return;
        };
        if let Some(entry) = self.containers.get(&exec.container_id) {
            let container = Arc::clone(&entry.container);
            let more = [("execID", id.to_owned()), ("exitCode", exit_code.to_string())];
            self.tell(&container, "exec_die", more);
        }
    }
}

/// The command in one line, as events show it.
fn words(exec: &Exec) -> String {
    exec.config.cmd.clone().unwrap_or_default().0.join(" ")
}
