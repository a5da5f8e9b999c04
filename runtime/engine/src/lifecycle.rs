//! The life of one container as a pure machine: inputs in, effects out, no clock, no IO.
//!
//! A request carries a ticket; every ticket is answered exactly once. Requests that must wait (a start while the last
//! run is still being cleaned up, a removal of a running container) wait inside the machine.

mod pause;

use crate::restart::{Policy, Restarts};
use pause::Frost;

/// Names one waiting request; the event loop knows whom it belongs to.
pub(crate) type Ticket = u64;

/// Where a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing of it exists on the host: made but not run, or run and cleaned up.
    Idle,
    /// A launch is under way.
    Starting,
    /// The process runs.
    Running,
    /// The process has ended, what the host still holds of it is being undone.
    Cleaning,
    /// Cleaned up, and to be started again soon.
    Waiting,
    /// Its files and records are being removed.
    Erasing,
    /// Gone.
    Gone,
}

/// What happens to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// Start it.
    Start(Ticket),
    /// Stop it: the signal first, SIGKILL after the grace time; no grace time means to wait for ever.
    Stop {
        ticket: Ticket,
        signal: i32,
        grace: Grace,
    },
    /// Stop it if it runs, then start it.
    Restart {
        ticket: Ticket,
        signal: i32,
        grace: Grace,
    },
    /// Send a signal.
    Kill { ticket: Ticket, signal: i32 },
    /// Stop its processes where they are.
    Pause(Ticket),
    /// Let them go on.
    Unpause(Ticket),
    /// Remove it, `force` also while it runs.
    Remove { ticket: Ticket, force: bool },
    /// The launch succeeded.
    Launched,
    /// The launch failed and left nothing behind.
    LaunchFailed,
    /// The process ended.
    Exited,
    /// The freezing that a request asked for is over.
    Froze { ticket: Ticket, done: bool },
    /// A thawing is over.
    Thawed { ticket: Option<Ticket>, done: bool },
    /// The grace time of the stop with this number is over.
    GraceOver(u64),
    /// What the host held of the ended process is gone.
    Cleaned,
    /// The wait with this number is over.
    RestartDue(u64),
    /// Files and records are gone.
    Erased,
    /// Files could not be removed.
    EraseFailed,
}

/// How long a stop waits before it kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grace {
    /// So many seconds.
    Seconds(u64),
    /// For ever.
    Endless,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Launch the container; `Launched` or `LaunchFailed` comes back.
    Launch,
    /// Send a signal to its first process.
    Signal(i32),
    /// Send a signal to its first process and answer the request when it has been sent.
    Deliver { ticket: Ticket, signal: i32 },
    /// Stop all its processes where they are; `Froze` comes back.
    Freeze(Ticket),
    /// Let them go on; `Thawed` comes back.
    Thaw(Option<Ticket>),
    /// Call `GraceOver(number)` after so many seconds.
    ArmGrace { number: u64, seconds: u64 },
    /// Call `RestartDue(number)` after so many milliseconds.
    ArmRestart { number: u64, milliseconds: u64 },
    /// It is not started again after all.
    Settle,
    /// Undo what the host holds of the run; `Cleaned` comes back.
    Clean,
    /// Remove files and records; `Erased` or `EraseFailed` comes back.
    Erase,
    /// Answer a request.
    Answer(Ticket, Answer),
    /// Tell the world that a stop or restart is complete.
    Tell(Told),
}

/// Events that only the life cycle knows about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// The process runs.
    Started,
    /// A request to stop has been fulfilled.
    Stopped,
    /// A request to restart has been fulfilled.
    Restarted,
    /// Its processes stand still.
    Paused,
    /// They go on.
    Unpaused,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// As asked.
    Done,
    /// It was so already.
    AlreadyThere,
    /// The launch failed; the reason is with the container.
    LaunchFailed,
    /// It needs a running container.
    NotRunning,
    /// It needs a stopped container.
    StillRunning,
    /// It cannot be removed while it is paused.
    StillPaused,
    /// Only what runs can be paused, or go on.
    MustRun,
    /// It is paused already.
    AlreadyPaused,
    /// It is not paused.
    NotPaused,
    /// The kernel did not do it.
    FreezeFailed,
    /// The container is being removed.
    BeingRemoved,
    /// Files could not be removed.
    EraseFailed,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Life {
    phase: Phase,
    auto_remove: bool,
    /// Numbers the stops, so that a late `GraceOver` of an earlier one does no harm.
    stop_number: u64,
    /// The launch under way is (also) the second half of a restart.
    launch_restarts: bool,
    restarts: Restarts,
    /// The launch under way is the policy's.
    automatic: bool,
    /// Numbers the waits for the next start.
    wait_number: u64,
    starters: Vec<Ticket>,
    stoppers: Vec<Ticket>,
    restarters: Vec<Ticket>,
    removers: Vec<Ticket>,
    /// A signal for a process whose launch is still under way.
    pending_signals: Vec<(i32, Option<u64>)>,
    frost: Frost,
    /// Somebody wants it to end while it is being frozen.
    thaw_wanted: bool,
}

impl Life {
    /// A container that does not run.
    pub(crate) fn idle(auto_remove: bool) -> Self {
        Self::in_phase(Phase::Idle, auto_remove)
    }

    /// A container that was found running.
    pub(crate) fn running(auto_remove: bool) -> Self {
        Self::in_phase(Phase::Running, auto_remove)
    }

    fn in_phase(phase: Phase, auto_remove: bool) -> Self {
        Self {
            phase,
            auto_remove,
            stop_number: 0,
            launch_restarts: false,
            restarts: Restarts::new(Policy::Never),
            automatic: false,
            wait_number: 0,
            starters: Vec::new(),
            stoppers: Vec::new(),
            restarters: Vec::new(),
            removers: Vec::new(),
            pending_signals: Vec::new(),
            frost: Frost::None,
            thaw_wanted: false,
        }
    }

    /// The same container with a policy.
    pub(crate) fn with_policy(mut self, policy: Policy) -> Self {
        self.restarts = Restarts::new(policy);
        self
    }

    /// The series of its starts.
    pub(crate) fn restarts(&mut self) -> &mut Restarts {
        &mut self.restarts
    }

    /// Where it is.
    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// Takes one input.
    pub(crate) fn step(&mut self, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Start(ticket) => self.start(ticket, &mut effects),
            Input::Stop {
                ticket,
                signal,
                grace,
            } => self.stop(ticket, signal, grace, &mut effects),
            Input::Restart {
                ticket,
                signal,
                grace,
            } => self.restart(ticket, signal, grace, &mut effects),
            Input::Kill { ticket, signal } => self.kill(ticket, signal, &mut effects),
            Input::Pause(ticket) => self.pause(ticket, &mut effects),
            Input::Unpause(ticket) => self.unpause(ticket, &mut effects),
            Input::Froze { ticket, done } => self.froze(ticket, done, &mut effects),
            Input::Thawed { ticket, done } => self.thawed(ticket, done, &mut effects),
            Input::Remove { ticket, force } => self.remove(ticket, force, &mut effects),
            Input::Launched => self.launched(&mut effects),
            Input::LaunchFailed => self.launch_failed(&mut effects),
            Input::Exited => self.exited(&mut effects),
            Input::GraceOver(number) => {
                if number == self.stop_number && self.phase == Phase::Running {
                    effects.push(Effect::Signal(SIGKILL));
                }
            }
            Input::Cleaned => self.cleaned(&mut effects),
            Input::RestartDue(number) => {
                if number == self.wait_number && self.phase == Phase::Waiting {
                    self.automatic = true;
                    self.launch(&mut effects);
                }
            }
            Input::Erased => self.erased(Answer::Done, &mut effects),
            Input::EraseFailed => self.erased(Answer::EraseFailed, &mut effects),
        }
        effects
    }

    fn start(&mut self, ticket: Ticket, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Idle | Phase::Waiting => {
                self.starters.push(ticket);
                self.restarts.begin();
                self.launch(effects);
            }
            Phase::Starting | Phase::Cleaning if self.removers.is_empty() => self.starters.push(ticket),
            Phase::Running => effects.push(Effect::Answer(ticket, Answer::AlreadyThere)),
            Phase::Starting | Phase::Cleaning | Phase::Erasing | Phase::Gone => {
                effects.push(Effect::Answer(ticket, Answer::BeingRemoved));
            }
        }
    }

    fn launch(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Starting;
        effects.push(Effect::Launch);
    }

    /// A launch that fulfils the waiting restarts; one asked for from now on gets a launch of its own.
    fn relaunch(&mut self, effects: &mut Vec<Effect>) {
        self.launch_restarts = !self.restarters.is_empty();
        self.starters.append(&mut self.restarters);
        self.restarts.begin();
        self.launch(effects);
    }

    fn stop(&mut self, ticket: Ticket, signal: i32, grace: Grace, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Starting | Phase::Running => {
                self.stoppers.push(ticket);
                self.begin_stop(signal, grace, effects);
            }
            Phase::Cleaning => {
                self.restarts.hold();
                self.stoppers.push(ticket);
            }
            Phase::Waiting => {
                self.restarts.hold();
                self.phase = Phase::Idle;
                effects.extend([
                    Effect::Settle,
                    Effect::Tell(Told::Stopped),
                    Effect::Answer(ticket, Answer::Done),
                ]);
            }
            Phase::Idle => effects.push(Effect::Answer(ticket, Answer::AlreadyThere)),
            Phase::Erasing | Phase::Gone => effects.push(Effect::Answer(ticket, Answer::BeingRemoved)),
        }
    }

    fn restart(&mut self, ticket: Ticket, signal: i32, grace: Grace, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Idle | Phase::Waiting => {
                self.restarters.push(ticket);
                self.relaunch(effects);
            }
            Phase::Starting | Phase::Running if self.removers.is_empty() => {
                self.restarters.push(ticket);
                self.begin_stop(signal, grace, effects);
            }
            Phase::Cleaning if self.removers.is_empty() => self.restarters.push(ticket),
            Phase::Starting | Phase::Running | Phase::Cleaning | Phase::Erasing | Phase::Gone => {
                effects.push(Effect::Answer(ticket, Answer::BeingRemoved));
            }
        }
    }

    fn begin_stop(&mut self, signal: i32, grace: Grace, effects: &mut Vec<Effect>) {
        self.stop_number += 1;
        self.restarts.hold();
        let seconds = match grace {
            Grace::Seconds(seconds) => Some(seconds),
            Grace::Endless => None,
        };
        if self.phase == Phase::Starting {
            self.pending_signals.push((signal, seconds));
        } else {
            self.signal(signal, seconds, effects);
        }
    }

    fn signal(&mut self, signal: i32, grace: Option<u64>, effects: &mut Vec<Effect>) {
        effects.push(Effect::Signal(signal));
        self.thaw(effects);
        if let Some(seconds) = grace {
            effects.push(Effect::ArmGrace {
                number: self.stop_number,
                seconds,
            });
        }
    }

    fn kill(&mut self, ticket: Ticket, signal: i32, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Running {
            if ENDING.contains(&signal) {
                self.restarts.hold();
            }
            effects.push(Effect::Deliver { ticket, signal });
            if ENDING.contains(&signal) {
                self.thaw(effects);
            }
        } else {
            effects.push(Effect::Answer(ticket, Answer::NotRunning));
        }
    }

    fn remove(&mut self, ticket: Ticket, force: bool, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Idle => {
                self.removers.push(ticket);
                self.erase(effects);
            }
            Phase::Waiting if force => {
                self.removers.push(ticket);
                self.erase(effects);
            }
            Phase::Running if !force && self.is_frozen() => {
                effects.push(Effect::Answer(ticket, Answer::StillPaused));
            }
            Phase::Starting | Phase::Running | Phase::Waiting if !force => {
                effects.push(Effect::Answer(ticket, Answer::StillRunning));
            }
            Phase::Starting | Phase::Running | Phase::Waiting => {
                self.removers.push(ticket);
                self.begin_stop(SIGKILL, Grace::Endless, effects);
            }
            Phase::Cleaning | Phase::Erasing => self.removers.push(ticket),
            Phase::Gone => effects.push(Effect::Answer(ticket, Answer::Done)),
        }
    }

    fn launched(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Starting {
            return;
        }
        self.phase = Phase::Running;
        self.automatic = false;
        effects.push(Effect::Tell(Told::Started));
        if std::mem::take(&mut self.launch_restarts) {
            effects.push(Effect::Tell(Told::Restarted));
        }
        answer_all(&mut self.starters, Answer::Done, effects);
        for (signal, grace) in std::mem::take(&mut self.pending_signals) {
            self.signal(signal, grace, effects);
        }
    }

    fn launch_failed(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Starting {
            return;
        }
        self.phase = Phase::Idle;
        self.pending_signals.clear();
        self.launch_restarts = false;
        if std::mem::take(&mut self.automatic) {
            effects.push(Effect::Settle);
        }
        answer_all(&mut self.stoppers, Answer::Done, effects);
        if self.auto_remove || !self.removers.is_empty() {
            // Whoever hears of it finds it removed already.
            return self.erase(effects);
        }
        self.answer_starters(effects);
    }

    fn exited(&mut self, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Cleaning;
                self.frost = Frost::None;
                self.thaw_wanted = false;
                effects.push(Effect::Clean);
            }
            // The owner holds back an exit that overtakes the news of its launch.
            Phase::Starting
            | Phase::Idle
            | Phase::Cleaning
            | Phase::Waiting
            | Phase::Erasing
            | Phase::Gone => {}
        }
    }

    fn cleaned(&mut self, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Cleaning {
            return;
        }
        self.phase = Phase::Idle;
        if !self.stoppers.is_empty() || !self.restarters.is_empty() {
            effects.push(Effect::Tell(Told::Stopped));
        }
        answer_all(&mut self.stoppers, Answer::Done, effects);
        if !self.removers.is_empty() || (self.auto_remove && self.restarters.is_empty()) {
            answer_all(&mut self.starters, Answer::BeingRemoved, effects);
            answer_all(&mut self.restarters, Answer::BeingRemoved, effects);
            self.erase(effects);
        } else if !self.starters.is_empty() || !self.restarters.is_empty() {
            self.relaunch(effects);
        } else if let Some(milliseconds) = self.restarts.next() {
            self.phase = Phase::Waiting;
            self.wait_number += 1;
            effects.push(Effect::ArmRestart {
                number: self.wait_number,
                milliseconds,
            });
        }
    }

    fn erase(&mut self, effects: &mut Vec<Effect>) {
        self.phase = Phase::Erasing;
        effects.push(Effect::Erase);
    }

    fn erased(&mut self, answer: Answer, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Erasing {
            return;
        }
        self.phase = if answer == Answer::Done {
            Phase::Gone
        } else {
            Phase::Idle
        };
        self.answer_starters(effects);
        answer_all(&mut self.removers, answer, effects);
    }

    /// Those that wait for a launch that has failed.
    fn answer_starters(&mut self, effects: &mut Vec<Effect>) {
        answer_all(&mut self.starters, Answer::LaunchFailed, effects);
        answer_all(&mut self.restarters, Answer::LaunchFailed, effects);
    }
}

const SIGKILL: i32 = 9;

/// INT, QUIT, KILL and TERM: whoever sends one wants the container to end, not to be started again.
const ENDING: [i32; 4] = [2, 3, SIGKILL, 15];

fn answer_all(tickets: &mut Vec<Ticket>, answer: Answer, effects: &mut Vec<Effect>) {
    effects.extend(tickets.drain(..).map(|ticket| Effect::Answer(ticket, answer)));
}

#[cfg(test)]
mod tests;
