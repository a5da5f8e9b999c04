//! A filter of one's own: docker's JSON, made into the actions of each call.
//!
//! Several arguments of one rule must all fit; of several rules for one call the first that fits counts. A rule without
//! arguments is the last of its call.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::program::{Action, Comparison, Rule};
use super::tables::Table;
use crate::capabilities;
use crate::error::PlanError;
use crate::facts::Facts;

/// Bytes of a profile; docker's own has 12,000. More is refused.
const MAX_BYTES: usize = 1024 * 1024;

/// The highest error number that the kernel lets a filter answer with.
const MAX_ERRNO: u32 = 4095;

/// What a call without an error number of its own fails with.
const EPERM: u32 = 1;

/// The kernel's number of arguments.
const ARGUMENTS: u32 = 6;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Profile {
    #[serde(default)]
    default_action: String,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default)]
    architectures: Option<Vec<String>>,
    #[serde(default)]
    arch_map: Option<Vec<ArchitectureMap>>,
    #[serde(default)]
    syscalls: Option<Vec<Calls>>,
    #[serde(default, rename = "flags")]
    _flags: Option<Vec<String>>,
    #[serde(default, rename = "listenerPath")]
    listener_path: Option<String>,
    #[serde(default, rename = "listenerMetadata")]
    _listener_metadata: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchitectureMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Calls {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    names: Option<Vec<String>>,
    action: String,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default)]
    args: Option<Vec<Argument>>,
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    #[serde(default)]
    includes: Option<Filter>,
    #[serde(default)]
    excludes: Option<Filter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    #[serde(default)]
    caps: Option<Vec<String>>,
    #[serde(default)]
    arches: Option<Vec<String>>,
    #[serde(default)]
    min_kernel: Option<String>,
}

fn bad(reason: impl Into<String>) -> PlanError {
    PlanError::Profile(reason.into())
}

pub(super) fn parse(text: &str) -> Result<Profile, PlanError> {
    if text.len() > MAX_BYTES {
        return Err(bad("it has more than 1048576 bytes"));
    }
    let profile: Profile = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    if profile
        .listener_path
        .as_ref()
        .is_some_and(|path| !path.is_empty())
    {
        return Err(bad("a listener is not supported"));
    }
    Ok(profile)
}

impl Profile {
    /// What becomes of a call that nothing is said about.
    pub(super) fn default(&self) -> Result<u32, PlanError> {
        answer(&self.default_action, self.default_errno_ret)
    }

    /// Whether calls by this interface may be made at all.
    pub(super) fn covers(&self, table: &Table) -> bool {
        let native = table.names.first().copied().unwrap_or_default();
        let lists = |name: &&str| {
            let plain = self.architectures.iter().flatten().any(|own| own == name);
            let mapped = self.arch_map.iter().flatten();
            let mapped = mapped.filter(|map| map.architecture == native || map.architecture == **name);
            plain
                || mapped
                    .flat_map(|map| {
                        let subordinate = map.sub_architectures.iter().flatten();
                        std::iter::once(&map.architecture).chain(subordinate)
                    })
                    .any(|own| own == name)
        };
        // A profile that names none is for the machine's own interface.
        let silent = self.architectures.as_ref().is_none_or(Vec::is_empty)
            && self.arch_map.as_ref().is_none_or(Vec::is_empty);
        table.is_native() || (!silent && table.names.last().is_some_and(lists))
    }

    /// What becomes of each call of one table.
    pub(super) fn actions(
        &self,
        table: &Table,
        capabilities: u64,
        facts: &Facts,
    ) -> Result<BTreeMap<u32, Action>, PlanError> {
        let default = self.default()?;
        let mut rules: BTreeMap<u32, (Vec<Rule>, Option<u32>)> = BTreeMap::new();
        for calls in self.syscalls.iter().flatten() {
            let answer = answer(&calls.action, calls.errno_ret)?;
            let arguments = calls.args.as_deref().unwrap_or_default();
            let comparisons: Vec<Comparison> = arguments.iter().map(compare).collect::<Result<_, _>>()?;
            if !calls.applies(table, capabilities, facts) {
                continue;
            }
            let numbers = calls
                .name
                .iter()
                .chain(calls.names.iter().flatten())
                // What this machine does not have cannot be called either.
                .filter_map(|name| table.numbers.get(name.as_str()));
            for number in numbers {
                let (own, last) = rules.entry(*number).or_default();
                if comparisons.is_empty() {
                    last.get_or_insert(answer);
                } else {
                    own.push(Rule {
                        comparisons: comparisons.clone(),
                        answer,
                    });
                }
            }
        }
        let action = |(rules, last): (Vec<Rule>, Option<u32>)| {
            let otherwise = last.unwrap_or(default);
            if rules.is_empty() {
                Action::Answer(otherwise)
            } else {
                Action::Rules { rules, otherwise }
            }
        };
        Ok(rules
            .into_iter()
            .map(|(number, rules)| (number, action(rules)))
            .collect())
    }
}

impl Calls {
    fn applies(&self, table: &Table, capabilities: u64, facts: &Facts) -> bool {
        let held = |name: &String| capabilities::bit(name).is_some_and(|bit| capabilities & bit != 0);
        let here = |name: &String| table.machines.contains(&name.as_str());
        let newer = |text: &String| kernel(text) <= kernel(&facts.kernel_release);
        let included = self.includes.as_ref().is_none_or(|filter| {
            filter.caps.iter().flatten().all(held)
                && filter
                    .arches
                    .as_ref()
                    .is_none_or(|list| list.is_empty() || list.iter().any(here))
                && filter.min_kernel.as_ref().is_none_or(newer)
        });
        let excluded = self.excludes.as_ref().is_some_and(|filter| {
            filter.caps.iter().flatten().any(held)
                || filter.arches.iter().flatten().any(here)
                || filter.min_kernel.as_ref().is_some_and(newer)
        });
        included && !excluded
    }
}

/// The first two numbers of a release.
fn kernel(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What the kernel is told to do with a call.
fn answer(action: &str, errno: Option<u32>) -> Result<u32, PlanError> {
    const KILL_PROCESS: u32 = 0x8000_0000;
    const KILL_THREAD: u32 = 0;
    const TRAP: u32 = 0x0003_0000;
    const ERRNO: u32 = 0x0005_0000;
    const TRACE: u32 = 0x7ff0_0000;
    const LOG: u32 = 0x7ffc_0000;
    const ALLOW: u32 = 0x7fff_0000;
    let with_errno = |code: u32| {
        let errno = errno.unwrap_or(EPERM);
        if errno > MAX_ERRNO {
            return Err(bad(format!("the error number {errno} is out of range")));
        }
        Ok(code | errno)
    };
    match action {
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => Ok(KILL_PROCESS),
        "SCMP_ACT_TRAP" => Ok(TRAP),
        "SCMP_ACT_ERRNO" => with_errno(ERRNO),
        "SCMP_ACT_TRACE" => with_errno(TRACE),
        "SCMP_ACT_LOG" => Ok(LOG),
        "SCMP_ACT_ALLOW" => Ok(ALLOW),
        other => Err(bad(format!("the action {other:?} is not known"))),
    }
}

fn compare(argument: &Argument) -> Result<Comparison, PlanError> {
    let Argument {
        index,
        value,
        value_two,
        op,
    } = argument;
    if *index >= ARGUMENTS {
        return Err(bad(format!("there is no argument {index}")));
    }
    let (index, value) = (*index, *value);
    Ok(match op.as_str() {
        "SCMP_CMP_NE" => Comparison::not_equal(index, value),
        "SCMP_CMP_LT" => Comparison::less(index, value),
        "SCMP_CMP_LE" => Comparison::not_greater(index, value),
        "SCMP_CMP_EQ" => Comparison::equal(index, value),
        "SCMP_CMP_GE" => Comparison::not_less(index, value),
        "SCMP_CMP_GT" => Comparison::greater(index, value),
        "SCMP_CMP_MASKED_EQ" => Comparison::masked(index, value, *value_two),
        other => return Err(bad(format!("the comparison {other:?} is not known"))),
    })
}
