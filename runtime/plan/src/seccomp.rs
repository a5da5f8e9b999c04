//! The system call filter: the default profile, made into a program for one machine and one set of capabilities.

mod custom;
mod program;
mod tables;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::capabilities;
use crate::error::PlanError;
use crate::facts::{Architecture, Facts};
use program::Action;
use tables::Table;

/// The profile, as data: who may call what, under which condition.
const PROFILE: &str = include_str!("seccomp/default.json");

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// The newest system call that the profile has judged, `file_setattr`: the same number on every machine. What is newer
/// fails as on an old kernel, so that programs fall back.
const NEWEST_KNOWN: u32 = 469;

/// The kernel's limit for one filter.
const MAX_INSTRUCTIONS: usize = 4096;

static DEFAULT_PROFILE: LazyLock<Profile> = LazyLock::new(|| {
    serde_json::from_str(PROFILE).expect("the embedded profile is well-formed, as a test makes sure")
});

#[derive(Debug, Deserialize)]
struct Profile {
    allow_groups: BTreeMap<String, Vec<String>>,
    allow_by_arch: BTreeMap<String, Vec<String>>,
    allow_with_cap: BTreeMap<String, Vec<String>>,
    arg_rules: Vec<ArgumentRule>,
    errno_overrides: Vec<ErrnoRule>,
}

/// A call that is allowed only with certain arguments.
#[derive(Debug, Deserialize)]
struct ArgumentRule {
    syscall: String,
    arg: u32,
    #[serde(flatten)]
    test: Test,
    unless_cap: Option<String>,
}

/// What an argument has to be. Only its low 32 bits are looked at: every call with a rule takes an `int`, or a `long` of
/// which the kernel uses no more, so that high bits could only serve to get a forbidden value past the test.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Test {
    In { values: Vec<u32> },
    NotIn { values: Vec<u32> },
    MaskZero { mask: u32 },
}

/// Calls that fail with an error of their own.
#[derive(Debug, Deserialize)]
struct ErrnoRule {
    syscalls: Vec<String>,
    errno: Errno,
    unless_cap: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Errno {
    #[serde(rename = "EPERM")]
    NotPermitted,
    #[serde(rename = "ENOSYS")]
    NotImplemented,
}

/// Makes the filter. It takes well under a millisecond.
pub(crate) fn filter(architecture: Architecture, capabilities: u64) -> Result<Vec<u64>, PlanError> {
    let profile = &*DEFAULT_PROFILE;
    let tables = tables::of(architecture);
    let parts: Vec<_> = tables
        .iter()
        .map(|table| (table.audit, actions(profile, table, capabilities)))
        .collect();
    let program = program::compile(&parts, NEWEST_KNOWN);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(PlanError::FilterTooLong(program.len()));
    }
    Ok(program)
}

/// Makes the filter of a profile of one's own, in docker's format.
pub(crate) fn filter_of(
    profile: &str,
    architecture: Architecture,
    capabilities: u64,
    facts: &Facts,
) -> Result<Vec<u64>, PlanError> {
    let profile = custom::parse(profile)?;
    let default = profile.default()?;
    let mut parts = Vec::new();
    for table in tables::of(architecture) {
        if profile.covers(table) {
            parts.push((table.audit, profile.actions(table, capabilities, facts)?));
        }
    }
    let missing = |number: u32| match number {
        program::FOREIGN_NUMBERS.. => Action::Fail(ENOSYS),
        _ => Action::Answer(default),
    };
    let program = program::compile_with(&parts, &missing, NEWEST_KNOWN);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(PlanError::FilterTooLong(program.len()));
    }
    Ok(program)
}

/// What becomes of each call of one table; those that are missing are refused.
fn actions(profile: &Profile, table: &Table, capabilities: u64) -> BTreeMap<u32, Action> {
    let held = |name: &str| capabilities::bit(name).is_some_and(|bit| capabilities & bit != 0);
    let spared = |capability: &Option<String>| capability.as_deref().is_some_and(held);
    let mut actions = BTreeMap::new();
    let mut set = |name: &str, action: Action| {
        if let Some(number) = table.numbers.get(name) {
            actions.insert(*number, action);
        }
    };
    let by_capability = profile
        .allow_with_cap
        .iter()
        .filter(|(capability, _)| held(capability))
        .map(|(_, names)| names);
    let by_machine = table
        .machines
        .iter()
        .filter_map(|machine| profile.allow_by_arch.get(*machine));
    let always = profile.allow_groups.values();
    for name in always.chain(by_machine).chain(by_capability).flatten() {
        set(name, Action::Allow);
    }
    for rule in profile.arg_rules.iter().filter(|rule| !spared(&rule.unless_cap)) {
        let (argument, test) = (rule.arg, rule.test.clone());
        set(&rule.syscall, Action::Check { argument, test });
    }
    for rule in &profile.errno_overrides {
        if !spared(&rule.unless_cap) {
            for name in &rule.syscalls {
                set(name, Action::Fail(rule.errno.number()));
            }
        }
    }
    actions
}

impl Errno {
    fn number(self) -> u16 {
        match self {
            Self::NotPermitted => EPERM,
            Self::NotImplemented => ENOSYS,
        }
    }
}
