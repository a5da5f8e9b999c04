//! The life cycle as tables: inputs on the left, what comes out on the right.

use super::*;

const TERM: i32 = 15;

fn check(life: &mut Life, input: Input, wanted: &[Effect]) {
    let shown = format!("{input:?}");
    assert_eq!(life.step(input), wanted, "after {shown}");
}

fn done(ticket: Ticket) -> Effect {
    Effect::Answer(ticket, Answer::Done)
}

fn started(auto_remove: bool) -> Life {
    let mut life = Life::idle(auto_remove);
    check(&mut life, Input::Start(1), &[Effect::Launch]);
    check(
        &mut life,
        Input::Launched,
        &[Effect::Tell(Told::Started), done(1)],
    );
    life
}

#[test]
fn start_run_exit_remove() {
    let mut life = started(false);
    check(
        &mut life,
        Input::Start(2),
        &[Effect::Answer(2, Answer::AlreadyThere)],
    );
    check(
        &mut life,
        Input::Remove {
            ticket: 3,
            force: false,
        },
        &[Effect::Answer(3, Answer::StillRunning)],
    );
    check(&mut life, Input::Exited, &[Effect::Clean]);
    check(&mut life, Input::Cleaned, &[]);
    check(
        &mut life,
        Input::Kill { ticket: 4, signal: 9 },
        &[Effect::Answer(4, Answer::NotRunning)],
    );
    check(
        &mut life,
        Input::Stop {
            ticket: 5,
            signal: TERM,
            grace: Grace::Seconds(1),
        },
        &[Effect::Answer(5, Answer::AlreadyThere)],
    );
    check(
        &mut life,
        Input::Remove {
            ticket: 6,
            force: false,
        },
        &[Effect::Erase],
    );
    check(
        &mut life,
        Input::Start(7),
        &[Effect::Answer(7, Answer::BeingRemoved)],
    );
    check(&mut life, Input::Erased, &[done(6)]);
    assert_eq!(life.phase(), Phase::Gone);
}

#[test]
fn stop_kills_after_the_grace_time() {
    let mut life = started(false);
    check(
        &mut life,
        Input::Stop {
            ticket: 2,
            signal: TERM,
            grace: Grace::Seconds(3),
        },
        &[
            Effect::Signal(TERM),
            Effect::ArmGrace {
                number: 1,
                seconds: 3,
            },
        ],
    );
    check(&mut life, Input::GraceOver(1), &[Effect::Signal(9)]);
    check(&mut life, Input::Exited, &[Effect::Clean]);
    check(&mut life, Input::Cleaned, &[Effect::Tell(Told::Stopped), done(2)]);
    check(&mut life, Input::GraceOver(1), &[]);
}

#[test]
fn grace_of_an_earlier_stop_does_not_kill_the_next_run() {
    let mut life = started(false);
    life.step(Input::Stop {
        ticket: 2,
        signal: TERM,
        grace: Grace::Seconds(3),
    });
    life.step(Input::Exited);
    life.step(Input::Cleaned);
    life.step(Input::Start(3));
    life.step(Input::Launched);
    life.step(Input::Stop {
        ticket: 4,
        signal: TERM,
        grace: Grace::Endless,
    });
    check(&mut life, Input::GraceOver(1), &[]);
}

#[test]
fn restart_cleans_before_it_launches() {
    let mut life = started(true);
    check(
        &mut life,
        Input::Restart {
            ticket: 2,
            signal: TERM,
            grace: Grace::Endless,
        },
        &[Effect::Signal(TERM)],
    );
    check(&mut life, Input::Exited, &[Effect::Clean]);
    check(
        &mut life,
        Input::Cleaned,
        &[Effect::Tell(Told::Stopped), Effect::Launch],
    );
    check(
        &mut life,
        Input::Launched,
        &[
            Effect::Tell(Told::Started),
            Effect::Tell(Told::Restarted),
            done(2),
        ],
    );
}

#[test]
fn an_ended_container_is_removed_when_it_was_made_so() {
    let mut life = started(true);
    check(&mut life, Input::Exited, &[Effect::Clean]);
    check(&mut life, Input::Cleaned, &[Effect::Erase]);
    check(
        &mut life,
        Input::Remove {
            ticket: 2,
            force: false,
        },
        &[],
    );
    check(&mut life, Input::Erased, &[done(2)]);
}

#[test]
fn a_failed_launch_leaves_it_startable_unless_it_is_to_be_removed() {
    let mut life = Life::idle(false);
    life.step(Input::Start(1));
    check(
        &mut life,
        Input::LaunchFailed,
        &[Effect::Answer(1, Answer::LaunchFailed)],
    );
    check(&mut life, Input::Start(2), &[Effect::Launch]);
    let mut life = Life::idle(true);
    life.step(Input::Start(1));
    check(&mut life, Input::LaunchFailed, &[Effect::Erase]);
    check(
        &mut life,
        Input::Erased,
        &[Effect::Answer(1, Answer::LaunchFailed)],
    );
}

#[test]
fn a_stop_during_the_launch_is_delivered_after_it() {
    let mut life = Life::idle(false);
    life.step(Input::Start(1));
    check(
        &mut life,
        Input::Stop {
            ticket: 2,
            signal: TERM,
            grace: Grace::Seconds(5),
        },
        &[],
    );
    check(
        &mut life,
        Input::Launched,
        &[
            Effect::Tell(Told::Started),
            done(1),
            Effect::Signal(TERM),
            Effect::ArmGrace {
                number: 1,
                seconds: 5,
            },
        ],
    );
}

#[test]
fn force_removes_a_running_container() {
    let mut life = started(false);
    check(
        &mut life,
        Input::Remove {
            ticket: 2,
            force: true,
        },
        &[Effect::Signal(9)],
    );
    check(&mut life, Input::Exited, &[Effect::Clean]);
    check(
        &mut life,
        Input::Start(3),
        &[Effect::Answer(3, Answer::BeingRemoved)],
    );
    check(&mut life, Input::Cleaned, &[Effect::Erase]);
    check(
        &mut life,
        Input::EraseFailed,
        &[Effect::Answer(2, Answer::EraseFailed)],
    );
    check(
        &mut life,
        Input::Remove {
            ticket: 4,
            force: false,
        },
        &[Effect::Erase],
    );
}

/// Whatever the order of requests and news, no ticket is answered twice and none is forgotten.
#[test]
fn every_ticket_is_answered_once() {
    for seed in 0..2000u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |limit: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let mut life = Life::idle(next(2) == 0);
        let mut open = std::collections::BTreeSet::new();
        let mut frosts = Vec::new();
        for ticket in 0..40 {
            let input = match next(13) {
                0 | 1 => Input::Start(ticket),
                2 => Input::Stop {
                    ticket,
                    signal: TERM,
                    grace: Grace::Seconds(1),
                },
                3 => Input::Restart {
                    ticket,
                    signal: TERM,
                    grace: Grace::Endless,
                },
                4 => Input::Kill { ticket, signal: 9 },
                5 => Input::Remove {
                    ticket,
                    force: next(2) == 0,
                },
                6 => Input::Pause(ticket),
                7 => Input::Unpause(ticket),
                8 if !frosts.is_empty() => frosts.remove(0),
                _ => settle(&life, next(2) == 0),
            };
            if is_request(&input) {
                open.insert(ticket);
            }
            frosts.extend(take(&mut life, input, &mut open));
        }
        for _ in 0..20 {
            let input = settle(&life, true);
            frosts.extend(take(&mut life, input, &mut open));
        }
        // What the kernel was asked for is answered by it at some time, however late.
        while !frosts.is_empty() {
            let input = frosts.remove(0);
            frosts.extend(take(&mut life, input, &mut open));
        }
        assert!(open.is_empty(), "seed {seed}: {open:?} wait for ever in {life:?}");
    }
}

fn is_request(input: &Input) -> bool {
    match input {
        Input::Start(_)
        | Input::Stop { .. }
        | Input::Restart { .. }
        | Input::Kill { .. }
        | Input::Pause(_)
        | Input::Unpause(_)
        | Input::Remove { .. } => true,
        Input::Launched
        | Input::LaunchFailed
        | Input::Exited
        | Input::GraceOver(_)
        | Input::Cleaned
        | Input::RestartDue(_)
        | Input::Froze { .. }
        | Input::Thawed { .. }
        | Input::Erased
        | Input::EraseFailed => false,
    }
}

/// What the world says next in this phase.
fn settle(life: &Life, well: bool) -> Input {
    match life.phase() {
        Phase::Starting if well => Input::Launched,
        Phase::Starting => Input::LaunchFailed,
        Phase::Running | Phase::Idle | Phase::Gone => Input::Exited,
        Phase::Cleaning => Input::Cleaned,
        Phase::Waiting => Input::RestartDue(1),
        Phase::Erasing if well => Input::Erased,
        Phase::Erasing => Input::EraseFailed,
    }
}

/// Gives what the kernel will say to the pauses among the effects.
fn take(life: &mut Life, input: Input, open: &mut std::collections::BTreeSet<Ticket>) -> Vec<Input> {
    let mut frosts = Vec::new();
    for effect in life.step(input) {
        if let Effect::Answer(ticket, _) | Effect::Deliver { ticket, .. } = effect {
            assert!(open.remove(&ticket), "ticket {ticket} answered twice");
        }
        let done = frosts.len() % 2 == 0;
        if let Effect::Freeze(ticket) = effect {
            frosts.push(Input::Froze { ticket, done });
        }
        if let Effect::Thaw(ticket) = effect {
            frosts.push(Input::Thawed { ticket, done });
        }
    }
    frosts
}

#[test]
fn a_policy_starts_it_again_until_somebody_stops_it() {
    let mut life = Life::idle(false).with_policy(Policy::Always);
    life.step(Input::Start(1));
    life.step(Input::Launched);
    check(&mut life, Input::Exited, &[Effect::Clean]);
    let wait = |number, milliseconds| Effect::ArmRestart { number, milliseconds };
    check(&mut life, Input::Cleaned, &[wait(1, 100)]);
    let remove = |ticket| Input::Remove { ticket, force: false };
    check(&mut life, remove(2), &[Effect::Answer(2, Answer::StillRunning)]);
    check(&mut life, Input::RestartDue(0), &[]);
    check(&mut life, Input::RestartDue(1), &[Effect::Launch]);
    check(&mut life, Input::Launched, &[Effect::Tell(Told::Started)]);
    life.step(Input::Exited);
    check(&mut life, Input::Cleaned, &[wait(2, 200)]);
    let stop = Input::Stop {
        ticket: 3,
        signal: TERM,
        grace: Grace::Endless,
    };
    check(
        &mut life,
        stop,
        &[Effect::Settle, Effect::Tell(Told::Stopped), done(3)],
    );
    check(&mut life, Input::RestartDue(2), &[]);
    // A start by hand begins a new series; one that fails by itself is not tried again.
    life.step(Input::Start(4));
    life.step(Input::Launched);
    life.step(Input::Exited);
    check(&mut life, Input::Cleaned, &[wait(3, 100)]);
    life.step(Input::RestartDue(3));
    check(&mut life, Input::LaunchFailed, &[Effect::Settle]);
    life.step(Input::Start(5));
    life.step(Input::Launched);
    life.step(Input::Kill { ticket: 6, signal: 9 });
    life.step(Input::Exited);
    check(&mut life, Input::Cleaned, &[]);
}
