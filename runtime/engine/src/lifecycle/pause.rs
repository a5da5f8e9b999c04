//! Pausing: from a request to freeze or thaw to its outcome. What is to end is thawed first.

use super::{Answer, Effect, Life, Phase, Ticket, Told};

/// Whether the processes stand still.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Frost {
    /// They run.
    #[default]
    None,
    /// They are being stopped for this request.
    Freezing(Ticket),
    /// They stand still.
    Frozen,
    /// They are being let go on, for this request or because they are to end.
    Thawing(Option<Ticket>),
}

impl Life {
    /// The same container, found frozen.
    pub(crate) fn frozen(mut self) -> Self {
        self.frost = Frost::Frozen;
        self
    }

    /// It stands still, or soon does.
    pub(crate) fn is_frozen(&self) -> bool {
        match self.frost {
            Frost::Freezing(_) | Frost::Frozen => true,
            Frost::None | Frost::Thawing(_) => false,
        }
    }

    pub(super) fn pause(&mut self, ticket: Ticket, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Running {
            return effects.push(Effect::Answer(ticket, Answer::MustRun));
        }
        match self.frost {
            Frost::None => {
                self.frost = Frost::Freezing(ticket);
                effects.push(Effect::Freeze(ticket));
            }
            Frost::Freezing(_) | Frost::Frozen | Frost::Thawing(_) => {
                effects.push(Effect::Answer(ticket, Answer::AlreadyPaused));
            }
        }
    }

    pub(super) fn unpause(&mut self, ticket: Ticket, effects: &mut Vec<Effect>) {
        // What does not run is not paused either: dockerd's word for both.
        if self.phase != Phase::Running {
            return effects.push(Effect::Answer(ticket, Answer::NotPaused));
        }
        match self.frost {
            Frost::Frozen => {
                self.frost = Frost::Thawing(Some(ticket));
                effects.push(Effect::Thaw(Some(ticket)));
            }
            Frost::None | Frost::Freezing(_) | Frost::Thawing(_) => {
                effects.push(Effect::Answer(ticket, Answer::NotPaused));
            }
        }
    }

    pub(super) fn froze(&mut self, ticket: Ticket, done: bool, effects: &mut Vec<Effect>) {
        if self.phase != Phase::Running || self.frost != Frost::Freezing(ticket) {
            // It has ended meanwhile.
            return effects.push(Effect::Answer(ticket, Answer::MustRun));
        }
        if !done {
            self.frost = Frost::None;
            return effects.push(Effect::Answer(ticket, Answer::FreezeFailed));
        }
        self.frost = Frost::Frozen;
        effects.extend([Effect::Tell(Told::Paused), Effect::Answer(ticket, Answer::Done)]);
        let wanted = std::mem::take(&mut self.thaw_wanted);
        let ends = !self.stoppers.is_empty() || !self.restarters.is_empty() || !self.removers.is_empty();
        if wanted || ends {
            self.thaw(effects);
        }
    }

    pub(super) fn thawed(&mut self, ticket: Option<Ticket>, done: bool, effects: &mut Vec<Effect>) {
        let answer = if self.frost != Frost::Thawing(ticket) {
            // It has ended meanwhile.
            Answer::MustRun
        } else if done {
            self.frost = Frost::None;
            effects.push(Effect::Tell(Told::Unpaused));
            Answer::Done
        } else {
            self.frost = Frost::Frozen;
            Answer::FreezeFailed
        };
        effects.extend(ticket.map(|ticket| Effect::Answer(ticket, answer)));
    }

    /// Lets it go on, so that it can end.
    pub(super) fn thaw(&mut self, effects: &mut Vec<Effect>) {
        match self.frost {
            Frost::Frozen => {
                self.frost = Frost::Thawing(None);
                effects.push(Effect::Thaw(None));
            }
            Frost::Freezing(_) => self.thaw_wanted = true,
            Frost::None | Frost::Thawing(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Grace, Input};
    use super::*;

    fn running() -> Life {
        Life::running(false)
    }

    fn answer(ticket: Ticket, answer: Answer) -> Effect {
        Effect::Answer(ticket, answer)
    }

    #[test]
    fn pause_and_unpause() {
        let mut life = running();
        assert_eq!(life.step(Input::Unpause(1)), [answer(1, Answer::NotPaused)]);
        assert_eq!(life.step(Input::Pause(2)), [Effect::Freeze(2)]);
        assert_eq!(life.step(Input::Pause(3)), [answer(3, Answer::AlreadyPaused)]);
        let froze = Input::Froze {
            ticket: 2,
            done: true,
        };
        assert_eq!(
            life.step(froze),
            [Effect::Tell(Told::Paused), answer(2, Answer::Done)]
        );
        assert!(life.is_frozen());
        let remove = Input::Remove {
            ticket: 4,
            force: false,
        };
        assert_eq!(life.step(remove), [answer(4, Answer::StillPaused)]);
        assert_eq!(life.step(Input::Unpause(5)), [Effect::Thaw(Some(5))]);
        let thawed = Input::Thawed {
            ticket: Some(5),
            done: true,
        };
        assert_eq!(
            life.step(thawed),
            [Effect::Tell(Told::Unpaused), answer(5, Answer::Done)]
        );
        let mut idle = Life::idle(false);
        assert_eq!(idle.step(Input::Pause(1)), [answer(1, Answer::MustRun)]);
    }

    #[test]
    fn what_is_to_end_goes_on_first() {
        let mut life = running().frozen();
        let stop = |ticket| Input::Stop {
            ticket,
            signal: 15,
            grace: Grace::Endless,
        };
        assert_eq!(life.step(stop(1)), [Effect::Signal(15), Effect::Thaw(None)]);
        let thawed = Input::Thawed {
            ticket: None,
            done: true,
        };
        assert_eq!(life.step(thawed), [Effect::Tell(Told::Unpaused)]);
        // A stop that overtakes a pause.
        let mut life = running();
        life.step(Input::Pause(1));
        assert_eq!(life.step(stop(2)), [Effect::Signal(15)]);
        let froze = Input::Froze {
            ticket: 1,
            done: true,
        };
        let effects = life.step(froze);
        assert_eq!(effects.last(), Some(&Effect::Thaw(None)));
        // An end that overtakes both.
        let mut life = running();
        life.step(Input::Pause(1));
        life.step(Input::Exited);
        let late = Input::Froze {
            ticket: 1,
            done: false,
        };
        assert_eq!(life.step(late), [answer(1, Answer::MustRun)]);
        assert!(!life.is_frozen());
        let mut killed = running().frozen();
        let kill = |signal| Input::Kill { ticket: 1, signal };
        assert_eq!(killed.step(kill(10)).len(), 1, "waits in the kernel");
        assert_eq!(killed.step(kill(9)).last(), Some(&Effect::Thaw(None)));
    }
}
