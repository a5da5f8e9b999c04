//! The checker against histories written by hand, and against trying every order.

use super::{Answer, Call, Cell, Compare, NEVER, Op, State, Verdict, check};
use crate::prng::Prng;

fn op(invoke: u64, back: u64, call: Call, answer: Answer) -> Op {
    Op {
        invoke,
        back,
        call,
        answer,
    }
}

fn done(modified: u64, prev: Option<(u64, u64)>) -> Answer {
    Answer::Done {
        modified,
        prev: prev.map(cell),
    }
}

fn cell((value, modified): (u64, u64)) -> Cell {
    Cell { value, modified }
}

fn found(value: u64, modified: u64) -> Answer {
    Answer::Found(cell((value, modified)))
}

#[test]
fn a_stale_read_is_found() {
    let writes = [
        op(0, 1, Call::Set(7), done(1, None)),
        op(2, 3, Call::Set(8), done(2, Some((7, 1)))),
    ];
    let with = |read| check(&[writes[0], writes[1], read]);
    assert_eq!(with(op(4, 5, Call::Read, found(8, 2))), Verdict::Linearizable);
    assert_eq!(with(op(4, 5, Call::Read, found(7, 1))), Verdict::Violation);
    assert_eq!(with(op(2, 5, Call::Read, found(7, 1))), Verdict::Linearizable);
    assert_eq!(with(op(4, 5, Call::Read, found(8, 3))), Verdict::Violation);
    assert_eq!(with(op(4, 5, Call::Read, Answer::Missing)), Verdict::Violation);
}

#[test]
fn a_lost_write_and_a_double_swap_are_found() {
    let set = op(0, 1, Call::Set(7), done(1, None));
    let lost = op(2, 3, Call::Create(8), done(2, None));
    assert_eq!(check(&[set, lost]), Verdict::Violation);
    let swap = |value, modified| {
        let call = Call::Swap {
            value,
            prev: Compare::Value(7),
        };
        op(2, 9, call, done(modified, Some((7, 1))))
    };
    assert_eq!(check(&[set, swap(8, 2)]), Verdict::Linearizable);
    assert_eq!(check(&[set, swap(8, 2), swap(9, 3)]), Verdict::Violation);
}

#[test]
fn an_operation_without_a_return_may_happen_late_or_never_but_not_undo_itself() {
    let open = op(0, NEVER, Call::Set(7), done(3, None));
    let read = |at, answer| op(at, at + 1, Call::Read, answer);
    assert_eq!(check(&[open, read(5, Answer::Missing)]), Verdict::Linearizable);
    assert_eq!(check(&[open, read(5, found(7, 3))]), Verdict::Linearizable);
    let late = [open, read(5, Answer::Missing), read(8, found(7, 3))];
    assert_eq!(check(&late), Verdict::Linearizable);
    let undone = [open, read(5, found(7, 3)), read(8, Answer::Missing)];
    assert_eq!(check(&undone), Verdict::Violation);
}

/// Every order, one after the other.
fn brute_force(ops: &[Op], state: State, done: &mut Vec<bool>) -> bool {
    let open = |done: &[bool], at: usize| !done[at];
    if (0..ops.len()).all(|at| done[at] || ops[at].back == NEVER) {
        return true;
    }
    for at in 0..ops.len() {
        let bound = (0..ops.len())
            .filter(|other| open(done, *other))
            .map(|other| ops[other].back)
            .min();
        if done[at] || Some(ops[at].invoke) > bound {
            continue;
        }
        if let Some(next) = state.after(ops[at].call, ops[at].answer) {
            done[at] = true;
            let works = brute_force(ops, next, done);
            done[at] = false;
            if works {
                return true;
            }
        }
    }
    false
}

/// A history of a real register: each operation takes effect at one moment within its span.
fn real_history(prng: &mut Prng) -> Vec<Op> {
    let mut moments: Vec<u64> = (0..prng.between(2, 7)).map(|_| prng.below(60)).collect();
    moments.sort_unstable();
    let mut state: Option<Cell> = None;
    let mut index = 0;
    let mut ops = Vec::new();
    for (value, moment) in moments.into_iter().enumerate() {
        let value = value as u64 + 1;
        let compare = match prng.coin() {
            true => Compare::Value(prng.between(1, 7)),
            false => Compare::Index(prng.between(1, 4)),
        };
        let call = match prng.below(8) {
            0 | 1 => Call::Read,
            2 => Call::Set(value),
            3 => Call::Create(value),
            4 => Call::Update(value),
            5 => Call::Swap { value, prev: compare },
            6 => Call::Delete,
            _ => Call::CompareDelete(compare),
        };
        let answer = answer(call, &mut state, &mut index);
        let (invoke, back) = (moment.saturating_sub(prng.below(15)), moment + prng.below(15));
        if prng.below(6) == 0 && call != Call::Read {
            ops.push(op(invoke, NEVER, call, answer));
        } else {
            ops.push(op(invoke, back, call, answer));
        }
    }
    ops
}

fn answer(call: Call, state: &mut Option<Cell>, index: &mut u64) -> Answer {
    let prev = *state;
    let (value, compare) = match call {
        Call::Read => return prev.map_or(Answer::Missing, Answer::Found),
        Call::Create(_) if prev.is_some() => return Answer::Exists,
        Call::Set(value) | Call::Create(value) => (Some(value), None),
        _ if prev.is_none() => return Answer::Missing,
        Call::Update(value) => (Some(value), None),
        Call::Swap { value, prev } => (Some(value), Some(prev)),
        Call::CompareDelete(prev) => (None, Some(prev)),
        Call::Delete | Call::Expire => (None, None),
    };
    if let (Some(cell), Some(wanted)) = (prev, compare)
        && !cell.meets(wanted)
    {
        return Answer::CompareFailed;
    }
    *index += 1;
    *state = value.map(|value| cell((value, *index)));
    Answer::Done {
        modified: *index,
        prev,
    }
}

#[test]
fn real_histories_pass_and_every_verdict_is_that_of_brute_force() {
    let mut prng = Prng::new(11, "histories");
    let mut violations = 0;
    for round in 0..3_000 {
        let mut ops = real_history(&mut prng);
        assert_eq!(check(&ops), Verdict::Linearizable, "round {round}: {ops:?}");
        // Planted: one answer is exchanged for another one's, or one operation is moved in time.
        let (a, b) = (prng.below(ops.len() as u64), prng.below(ops.len() as u64));
        let [a, b] = [a, b].map(|at| usize::try_from(at).expect("small"));
        if prng.coin() {
            ops[a].answer = ops[b].answer;
        } else {
            let shift = prng.below(40);
            ops[a].invoke += shift;
            ops[a].back = ops[a].back.saturating_add(shift);
        }
        let truth = brute_force(&ops, State::default(), &mut vec![false; ops.len()]);
        let expected = if truth {
            Verdict::Linearizable
        } else {
            Verdict::Violation
        };
        assert_eq!(check(&ops), expected, "round {round}: {ops:?}");
        violations += u32::from(!truth);
    }
    assert!(violations > 300, "only {violations} planted violations were any");
}
