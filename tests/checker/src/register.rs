//! Whether the answers about one key could have come from a single register: the search of Wing and Gong ("Testing and
//! verifying concurrent objects", 1993) with Lowe's memo of what was tried ("Testing for linearizability", 2017).

use std::collections::BTreeSet;

/// Steps of the search for one key. Unique values and indexes leave almost no choice, so a sound history needs little more
/// than one step an operation; beyond this the verdict stays open, and is counted as such.
const MAX_STEPS: u64 = 200_000;

/// An operation whose client never got its answer returns here: it may have happened at any time since, or never.
pub const NEVER: u64 = u64::MAX;

/// What the register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// Values are unique numbers.
    pub value: u64,
    /// `modifiedIndex`.
    pub modified: u64,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// A read that must see the newest state.
    Read,
    /// Write, whatever is there.
    Set(u64),
    /// Write if there is nothing.
    Create(u64),
    /// Write if there is something.
    Update(u64),
    /// Write on a condition.
    Swap {
        /// What to write.
        value: u64,
        /// The condition.
        prev: Compare,
    },
    /// Remove what is there.
    Delete,
    /// Remove on a condition.
    CompareDelete(Compare),
    /// Not asked for by anybody: the time was over.
    Expire,
}

/// The condition of a swap or a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// This value is there.
    Value(u64),
    /// What is there was written with this index.
    Index(u64),
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A read.
    Found(Cell),
    /// There was nothing.
    Missing,
    /// A write or removal with this index, and what was there before.
    Done {
        /// The index of the change.
        modified: u64,
        /// What was there before.
        prev: Option<Cell>,
    },
    /// The condition did not hold.
    CompareFailed,
    /// There was something already.
    Exists,
}

/// One operation on the key.
#[derive(Clone, Copy, Debug)]
pub struct Op {
    /// When it was asked for, in any unit.
    pub invoke: u64,
    /// [`NEVER`] if there was no answer.
    pub back: u64,
    /// What was asked.
    pub call: Call,
    /// What was answered, or would have been.
    pub answer: Answer,
}

/// What the search found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Some order explains every answer.
    Linearizable,
    /// None does.
    Violation,
    /// Too many possibilities.
    Undecided,
}

/// The register, and the index of the last change: a later one has a higher index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    cell: Option<Cell>,
    highest: u64,
}

/// Whether some order of the operations, with each between its invocation and its return, explains every answer.
pub fn check(ops: &[Op]) -> Verdict {
    let mut ops: Vec<Op> = ops.to_vec();
    ops.sort_by_key(|op| (op.back, op.invoke));
    Search {
        undone: ops.iter().filter(|op| op.back != NEVER).count(),
        done: vec![0; ops.len().div_ceil(64)],
        ops,
        seen: BTreeSet::new(),
    }
    .run()
}

struct Search {
    /// By return: the first that is not done bounds what can come next.
    ops: Vec<Op>,
    /// Operations with an answer that are not placed.
    undone: usize,
    done: Vec<u64>,
    seen: BTreeSet<(Vec<u64>, State)>,
}

struct Frame {
    state: State,
    /// The next operation to try.
    next: usize,
    /// The operation that led here.
    placed: Option<usize>,
}

impl Search {
    fn run(mut self) -> Verdict {
        let mut stack = vec![Frame {
            state: State::default(),
            next: 0,
            placed: None,
        }];
        for _ in 0..MAX_STEPS {
            if self.undone == 0 {
                return Verdict::Linearizable;
            }
            let Some(top) = stack.last_mut() else {
                return Verdict::Violation;
            };
            match self.advance(top) {
                Some(frame) => stack.push(frame),
                None => {
                    let placed = stack.pop().and_then(|frame| frame.placed);
                    placed.into_iter().for_each(|op| self.flip(op));
                }
            }
        }
        Verdict::Undecided
    }

    /// Places the next operation that can stand here; none if all were tried.
    fn advance(&mut self, frame: &mut Frame) -> Option<Frame> {
        let bound = (0..self.ops.len()).find(|op| !self.is_done(*op))?;
        let latest = self.ops.get(bound)?.back;
        if frame.next == 0
            && let Some(at) = self.harmless(frame.state, latest)
        {
            frame.next = self.ops.len();
            return self.place(at, frame.state);
        }
        while let Some(op) = self.ops.get(frame.next).copied() {
            let at = frame.next;
            frame.next += 1;
            if self.is_done(at) || op.invoke > latest {
                continue;
            }
            let Some(state) = frame.state.after(op.call, op.answer) else {
                continue;
            };
            if let Some(frame) = self.place(at, state) {
                return Some(frame);
            }
        }
        None
    }

    /// An operation that can stand here and changes nothing. Whatever order explains the answers, it still does so with
    /// this operation moved here, so nothing else need be tried.
    fn harmless(&self, state: State, latest: u64) -> Option<usize> {
        (0..self.ops.len()).find(|at| {
            let op = self.ops[*at];
            !self.is_done(*at) && op.invoke <= latest && state.after(op.call, op.answer) == Some(state)
        })
    }

    /// Places an operation; none if the same situation was tried before.
    fn place(&mut self, at: usize, state: State) -> Option<Frame> {
        self.flip(at);
        if self.seen.insert((self.done.clone(), state)) {
            return Some(Frame {
                state,
                next: 0,
                placed: Some(at),
            });
        }
        self.flip(at);
        None
    }

    fn is_done(&self, op: usize) -> bool {
        self.done[op / 64] & (1 << (op % 64)) != 0
    }

    fn flip(&mut self, op: usize) {
        self.done[op / 64] ^= 1 << (op % 64);
        if self.ops[op].back != NEVER {
            if self.is_done(op) {
                self.undone -= 1;
            } else {
                self.undone += 1;
            }
        }
    }
}

impl State {
    /// The register after an operation with this answer; none if it cannot give this answer now.
    fn after(self, call: Call, answer: Answer) -> Option<State> {
        match answer {
            Answer::Found(found) => (self.cell == Some(found) && call == Call::Read).then_some(self),
            Answer::Missing => {
                let possible = !matches!(call, Call::Set(_) | Call::Create(_) | Call::Expire);
                (self.cell.is_none() && possible).then_some(self)
            }
            Answer::Exists => (self.cell.is_some() && matches!(call, Call::Create(_))).then_some(self),
            Answer::CompareFailed => {
                let cell = self.cell?;
                match call {
                    Call::Swap { prev, .. } | Call::CompareDelete(prev) => {
                        (!cell.meets(prev)).then_some(self)
                    }
                    Call::Read
                    | Call::Set(_)
                    | Call::Create(_)
                    | Call::Update(_)
                    | Call::Delete
                    | Call::Expire => None,
                }
            }
            Answer::Done { modified, prev } => self.after_done(call, modified, prev),
        }
    }

    fn after_done(self, call: Call, modified: u64, prev: Option<Cell>) -> Option<State> {
        if self.cell != prev || modified <= self.highest {
            return None;
        }
        let written = |value| Cell { value, modified };
        let cell = match call {
            Call::Read => return None,
            Call::Set(value) => Some(written(value)),
            Call::Create(value) => prev.is_none().then(|| Some(written(value)))?,
            Call::Update(value) => prev.map(|_| Some(written(value)))?,
            Call::Swap { value, prev: wanted } => prev?.meets(wanted).then(|| Some(written(value)))?,
            Call::Delete | Call::Expire => prev.map(|_| None)?,
            Call::CompareDelete(wanted) => prev?.meets(wanted).then_some(None)?,
        };
        Some(State {
            cell,
            highest: modified,
        })
    }
}

impl Cell {
    fn meets(self, wanted: Compare) -> bool {
        match wanted {
            Compare::Value(value) => value == self.value,
            Compare::Index(index) => index == self.modified,
        }
    }
}

#[cfg(test)]
mod tests;
