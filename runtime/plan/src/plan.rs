//! Puts the parts of a plan together, in the order in which they have to be done.

use crate::cgroup::Cgroup;
use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{Placement, Spec};
use crate::step::{Command, HostStep, PLAN_VERSION, Plan, StageStep, Stdin};
use crate::user::{Account, Accounts};
use crate::{devices, mounts, network, seccomp};

/// Directories of `PATH` that are searched; nobody has more, and the stage opens nothing beyond its plan.
const MAX_SEARCH: usize = 256;

/// Decides what it takes to start a container.
///
/// # Errors
/// Users and groups that the container does not know, and a placement that does not fit.
pub fn plan(spec: &Spec, facts: &Facts, placement: &Placement) -> Result<Plan, PlanError> {
    check(spec, placement)?;
    let accounts = Accounts {
        passwd: &placement.passwd,
        group: &placement.group,
    };
    let account = accounts.find(&spec.user, &spec.groups)?;
    let group = Cgroup::new(spec, facts, placement)?;
    Ok(Plan {
        version: PLAN_VERSION,
        id: spec.id.clone(),
        log_path: placement.container_dir.join(format!("{}-json.log", spec.id)),
        stdin: spec.stdin,
        born_in: group.born_in(),
        oom_counter: group.oom_counter(),
        host: host_steps(spec, placement, &group)?,
        stage: stage_steps(spec, facts, placement, &group, &account)?,
    })
}

fn check(spec: &Spec, placement: &Placement) -> Result<(), PlanError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let misfit = |reason| {
        Err(PlanError::Placement {
            id: spec.id.clone(),
            reason,
        })
    };
    if spec.id.is_empty() || spec.id.starts_with('.') || !spec.id.bytes().all(plain) {
        return misfit("the id has other characters than letters, digits, '_', '.' and '-'");
    }
    if !placement.container_dir.is_absolute() {
        return misfit("the container's directory is not absolute");
    }
    network::check(spec, placement)
}

fn host_steps(spec: &Spec, placement: &Placement, group: &Cgroup<'_>) -> Result<Vec<HostStep>, PlanError> {
    let mut steps = network::files(spec, placement);
    steps.extend(group.host_steps()?);
    steps.extend(network::host_steps(spec, placement));
    Ok(steps)
}

fn stage_steps(
    spec: &Spec,
    facts: &Facts,
    placement: &Placement,
    group: &Cgroup<'_>,
    account: &Account,
) -> Result<Vec<StageStep>, PlanError> {
    let mut steps: Vec<StageStep> = network::enter(spec).into_iter().collect();
    steps.extend(group.join());
    steps.extend([StageStep::PrivateMounts, StageStep::AttachRoot]);
    steps.extend(mounts::stage_steps(spec, facts, placement, group));
    steps.push(StageStep::PivotRoot);
    steps.extend(inside(spec, facts, group));
    steps.extend(process(spec, account));
    steps.extend(rights(spec, facts, account)?);
    steps.push(StageStep::Exec(command(spec, account)));
    Ok(steps)
}

/// What belongs to the file system and the namespaces, once the root is the root.
fn inside(spec: &Spec, facts: &Facts, group: &Cgroup<'_>) -> Vec<StageStep> {
    let mut steps = Vec::new();
    if spec.readonly_rootfs {
        steps.push(StageStep::ReadonlyRoot);
    }
    if spec.stdin == Stdin::Null {
        steps.push(StageStep::NullInput);
    }
    steps.push(StageStep::Hostname {
        name: spec.hostname.clone(),
    });
    if !spec.domainname.is_empty() {
        steps.push(StageStep::Domainname {
            name: spec.domainname.clone(),
        });
    }
    steps.extend(network::settings(spec, facts));
    steps.extend(group.seal());
    steps.extend(
        spec.readonly_paths
            .iter()
            .cloned()
            .map(|path| StageStep::ReadonlyPath { path }),
    );
    let thermal = devices::thermal_paths(facts).filter(|_| !spec.masked_paths.is_empty());
    steps.extend(
        spec.masked_paths
            .iter()
            .cloned()
            .chain(thermal)
            .map(|path| StageStep::MaskPath { path }),
    );
    steps
}

/// What belongs to the process, while it is still root.
fn process(spec: &Spec, account: &Account) -> Vec<StageStep> {
    let mut steps = vec![StageStep::SessionKeyring {
        name: spec.id.clone(),
    }];
    steps.extend(spec.rlimits.iter().cloned().map(StageStep::Rlimit));
    if spec.oom_score_adj != 0 {
        steps.push(StageStep::OomScoreAdj {
            value: spec.oom_score_adj,
        });
    }
    steps.push(StageStep::Umask { mode: 0o022 });
    steps.push(StageStep::WorkingDirectory {
        path: spec.working_dir.clone(),
    });
    let uid = account.credentials.uid;
    if uid != 0 {
        steps.push(StageStep::OwnStreams { uid });
    }
    steps
}

/// Gives up rights. The filter needs a right to be loaded, unless no program can gain any: then it is loaded last, so
/// that what is done before it need not pass it.
fn rights(spec: &Spec, facts: &Facts, account: &Account) -> Result<Vec<StageStep>, PlanError> {
    let filter = if spec.seccomp {
        let architecture = facts.architecture.filter(|_| facts.seccomp);
        let program = seccomp::filter(architecture.ok_or(PlanError::NoSeccomp)?, spec.capabilities)?;
        Some(StageStep::Seccomp { program })
    } else {
        None
    };
    let usable = if account.credentials.uid == 0 {
        spec.capabilities
    } else {
        0
    };
    let give_up = [
        StageStep::DropBounding {
            keep: spec.capabilities,
        },
        StageStep::Credentials(account.credentials.clone()),
        StageStep::Capabilities {
            permitted: usable,
            effective: usable,
        },
    ];
    Ok(if spec.no_new_privileges {
        let begin = [StageStep::NoNewPrivileges];
        begin.into_iter().chain(give_up).chain(filter).collect()
    } else {
        filter.into_iter().chain(give_up).collect()
    })
}

fn command(spec: &Spec, account: &Account) -> Command {
    let mut env = spec.env.clone();
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", account.home));
    }
    let name = spec.command.first().map_or("", |name| name.as_str());
    Command {
        candidates: candidates(name, &env),
        argv: spec.command.clone(),
        env,
    }
}

/// Where the command may be. Relative directories of `PATH` are not searched: a file in the working directory must not
/// be taken for a command.
fn candidates(name: &str, env: &[String]) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    if name.is_empty() {
        return Vec::new();
    }
    let path = env.iter().find_map(|variable| variable.strip_prefix("PATH="));
    let directories = path
        .unwrap_or_default()
        .split(':')
        .filter(|directory| directory.starts_with('/'));
    directories
        .take(MAX_SEARCH)
        .map(|directory| format!("{}/{name}", directory.trim_end_matches('/')))
        .collect()
}
