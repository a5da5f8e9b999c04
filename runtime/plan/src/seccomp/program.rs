//! The compiler: numbers and actions to classic BPF.
//!
//! Numbers with the same action are joined into ranges, and these into a balanced tree, so that every call costs about
//! ten instructions. Jumps of conditions are short (8 bits), so a condition only steps over one long jump.

use std::collections::BTreeMap;

use super::{ENOSYS, EPERM, Test};

/// From here on numbers are those of x32, another interface of the same machine: never known, whatever a profile says.
pub(crate) const FOREIGN_NUMBERS: u32 = 0x4000_0000;

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is carried out.
    Allow,
    /// It fails with this error.
    Fail(u16),
    /// It is carried out if the argument passes the test, and is not permitted otherwise.
    Check {
        /// Which argument, from 0.
        argument: u32,
        /// What it has to be.
        test: Test,
    },
    /// The kernel is told this.
    Answer(u32),
    /// The first rule that fits says what the kernel is told.
    Rules {
        /// In order.
        rules: Vec<Rule>,
        /// When none fits.
        otherwise: u32,
    },
}

/// Comparisons that must all hold, and what the kernel is told then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) comparisons: Vec<Comparison>,
    pub(crate) answer: u32,
}

/// A comparison of all 64 bits of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comparison {
    argument: u32,
    order: Order,
    value: u64,
    mask: u64,
    /// It must not hold.
    negated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Greater,
    NotLess,
}

impl Comparison {
    fn new(argument: u32, order: Order, value: u64, negated: bool) -> Self {
        Self {
            argument,
            order,
            value,
            mask: u64::MAX,
            negated,
        }
    }

    pub(crate) fn equal(argument: u32, value: u64) -> Self {
        Self::new(argument, Order::Equal, value, false)
    }

    pub(crate) fn not_equal(argument: u32, value: u64) -> Self {
        Self::new(argument, Order::Equal, value, true)
    }

    pub(crate) fn greater(argument: u32, value: u64) -> Self {
        Self::new(argument, Order::Greater, value, false)
    }

    pub(crate) fn not_greater(argument: u32, value: u64) -> Self {
        Self::new(argument, Order::Greater, value, true)
    }

    pub(crate) fn not_less(argument: u32, value: u64) -> Self {
        Self::new(argument, Order::NotLess, value, false)
    }

    pub(crate) fn less(argument: u32, value: u64) -> Self {
        Self::new(argument, Order::NotLess, value, true)
    }

    /// Only the bits of the mask count.
    pub(crate) fn masked(argument: u32, mask: u64, value: u64) -> Self {
        Self {
            mask,
            ..Self::new(argument, Order::Equal, value, false)
        }
    }

    /// Goes on with the next instruction behind it if it holds; `miss` instructions further than that if not.
    fn code(&self, miss: usize) -> Option<Vec<u64>> {
        let halves = |number: u64| {
            let (high, low) = (number >> 32, number & u64::from(u32::MAX));
            (
                u32::try_from(high).unwrap_or_default(),
                u32::try_from(low).unwrap_or_default(),
            )
        };
        let ((high, low), (high_mask, low_mask)) = (halves(self.value), halves(self.mask));
        let place = ARGUMENTS + ARGUMENT_SIZE * self.argument;
        // Distances from behind the last instruction: where it holds, and where it does not.
        let (yes, no) = if self.negated { (miss, 0) } else { (0, miss) };
        let short = |distance: usize| u8::try_from(distance).ok();
        let low_test = match self.order {
            Order::Equal => JUMP_IF_EQUAL,
            Order::Greater => JUMP_IF_GREATER,
            Order::NotLess => JUMP_IF_GREATER_OR_EQUAL,
        };
        let tail = [
            plain(LOAD_WORD, place),
            plain(AND, low_mask),
            condition(low_test, low, short(yes)?, short(no)?),
        ];
        let behind = tail.len();
        let mut code = vec![plain(LOAD_WORD, place + ARGUMENT_SIZE / 2), plain(AND, high_mask)];
        if self.order == Order::Equal {
            code.push(condition(JUMP_IF_EQUAL, high, 0, short(behind + no)?));
        } else {
            // A greater high half decides, and so does a smaller one.
            code.push(condition(JUMP_IF_GREATER, high, short(behind + 1 + yes)?, 0));
            code.push(condition(JUMP_IF_EQUAL, high, 0, short(behind + no)?));
        }
        code.extend(tail);
        Some(code)
    }
}

const LOAD_WORD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_IF_BITS: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7fff_0000;
const FAIL: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Where the number of the call is in the kernel's `struct seccomp_data`.
const NUMBER: u32 = 0;
/// Where the binary interface is.
const INTERFACE: u32 = 4;
/// Where the low half of the first argument is: both machines are little-endian.
const ARGUMENTS: u32 = 16;
const ARGUMENT_SIZE: u32 = 8;

/// Makes one program of the actions of each binary interface; calls by any other interface kill the process.
pub(crate) fn compile(parts: &[(u32, BTreeMap<u32, Action>)], newest_known: u32) -> Vec<u64> {
    let missing = |number: u32| Action::Fail(if number > newest_known { ENOSYS } else { EPERM });
    compile_with(parts, &missing, newest_known)
}

/// The same with another answer for calls that nothing is said about.
pub(crate) fn compile_with(
    parts: &[(u32, BTreeMap<u32, Action>)],
    missing: &dyn Fn(u32) -> Action,
    newest_known: u32,
) -> Vec<u64> {
    let mut program = vec![plain(LOAD_WORD, INTERFACE)];
    for (audit, actions) in parts {
        let tree = tree(&ranges(actions, missing, newest_known));
        program.push(condition(JUMP_IF_EQUAL, *audit, 1, 0));
        program.push(jump(tree.len() + 1));
        program.push(plain(LOAD_WORD, NUMBER));
        program.extend(tree);
    }
    program.push(plain(RETURN, KILL_PROCESS));
    program
}

/// Where each range of numbers begins, and what becomes of its calls.
fn ranges(
    actions: &BTreeMap<u32, Action>,
    missing: &dyn Fn(u32) -> Action,
    newest_known: u32,
) -> Vec<(u32, Action)> {
    let mut starts = actions.clone();
    let behind = actions.keys().filter_map(|number| number.checked_add(1));
    for number in behind.chain([0, newest_known + 1, FOREIGN_NUMBERS]) {
        starts.entry(number).or_insert_with(|| missing(number));
    }
    let mut ranges: Vec<(u32, Action)> = starts.into_iter().collect();
    ranges.dedup_by(|later, earlier| later.1 == earlier.1);
    ranges
}

/// Finds the range of the loaded number.
fn tree(ranges: &[(u32, Action)]) -> Vec<u64> {
    let middle = ranges.len() / 2;
    let (lower, upper) = ranges.split_at(middle);
    let Some((first_of_upper, action)) = upper.first() else {
        return fail(EPERM);
    };
    if lower.is_empty() {
        return leaf(action);
    }
    let (lower, upper) = (tree(lower), tree(upper));
    let mut program = Vec::with_capacity(lower.len() + upper.len() + 2);
    match u8::try_from(lower.len()) {
        Ok(length) => program.push(condition(JUMP_IF_GREATER_OR_EQUAL, *first_of_upper, length, 0)),
        Err(_) => {
            program.push(condition(JUMP_IF_GREATER_OR_EQUAL, *first_of_upper, 0, 1));
            program.push(jump(lower.len()));
        }
    }
    program.extend(lower);
    program.extend(upper);
    program
}

fn leaf(action: &Action) -> Vec<u64> {
    match action {
        Action::Allow => allow(),
        Action::Fail(errno) => fail(*errno),
        Action::Check { argument, test } => {
            let mut program = vec![plain(LOAD_WORD, ARGUMENTS + ARGUMENT_SIZE * argument)];
            program.extend(check(test));
            program
        }
        Action::Answer(answer) => vec![plain(RETURN, *answer)],
        Action::Rules { rules, otherwise } => {
            let mut program: Vec<u64> = rules.iter().flat_map(rule).collect();
            program.push(plain(RETURN, *otherwise));
            program
        }
    }
}

/// Its answer, or what comes behind it. From the last comparison to the first: each knows how far it is to the end.
fn rule(rule: &Rule) -> Vec<u64> {
    let mut program = vec![plain(RETURN, rule.answer)];
    for comparison in rule.comparisons.iter().rev() {
        // Six arguments of six instructions are within reach of a short jump, several tests of one argument may not be.
        let Some(mut code) = comparison.code(program.len()) else {
            return vec![plain(RETURN, KILL_PROCESS); TOO_LONG];
        };
        code.append(&mut program);
        program = code;
    }
    program
}

/// More than the kernel takes: the caller refuses the program.
const TOO_LONG: usize = 5000;

fn check(test: &Test) -> Vec<u64> {
    let any_of = |values: &[u32], found: Vec<u64>, otherwise: Vec<u64>| {
        let one = |value: &u32| [vec![condition(JUMP_IF_EQUAL, *value, 0, 1)], found.clone()].concat();
        let mut program: Vec<u64> = values.iter().flat_map(one).collect();
        program.extend(otherwise);
        program
    };
    match test {
        Test::In { values } => any_of(values, allow(), fail(EPERM)),
        Test::NotIn { values } => any_of(values, fail(EPERM), allow()),
        Test::MaskZero { mask } => {
            let mut program = vec![condition(JUMP_IF_BITS, *mask, 0, 1)];
            program.extend(fail(EPERM));
            program.extend(allow());
            program
        }
    }
}

/// One instruction: what `any_of` steps over.
fn allow() -> Vec<u64> {
    vec![plain(RETURN, ALLOW)]
}

/// One instruction, as [`allow`].
fn fail(errno: u16) -> Vec<u64> {
    vec![plain(RETURN, FAIL | u32::from(errno))]
}

fn plain(code: u16, k: u32) -> u64 {
    condition(code, k, 0, 0)
}

/// Goes so many instructions further. A program over the kernel's limit is refused before its jumps could be too long.
fn jump(distance: usize) -> u64 {
    plain(JUMP, u32::try_from(distance).unwrap_or(u32::MAX))
}

fn condition(code: u16, k: u32, if_true: u8, if_false: u8) -> u64 {
    u64::from(code) | u64::from(if_true) << 16 | u64::from(if_false) << 24 | u64::from(k) << 32
}
