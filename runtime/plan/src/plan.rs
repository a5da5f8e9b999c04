//! Puts the parts of a plan together, in the order in which they have to be done.

use std::path::PathBuf;

use crate::cgroup::Cgroup;
use crate::error::PlanError;
use crate::facts::Facts;
use crate::spec::{ExecPlacement, ExecSpec, Placement, Spec};
use crate::step::{Command, HostStep, PLAN_VERSION, Plan, StageStep, Stdin};
use crate::user::{Account, Accounts};
use crate::{capabilities, devices, mounts, network, seccomp, sharing};

/// What a terminal is taken for unless somebody says otherwise; Docker's.
const TERM: &str = "TERM=xterm";

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
    let group = Cgroup::new(spec, facts, &placement.cgroup_parent)?.with_devices(&placement.devices);
    let log = spec.log;
    Ok(Plan {
        version: PLAN_VERSION,
        id: spec.id.clone(),
        log_path: log
            .kept
            .then(|| placement.container_dir.join(format!("{}-json.log", spec.id))),
        log_limit: log.limit,
        stdin: spec.stdin,
        born_in: group.born_in(),
        oom_counter: group.oom_counter(),
        host: host_steps(spec, placement, &group)?,
        stage: stage_steps(spec, facts, placement, &group, &account)?,
    })
}

/// Decides what it takes to run another process in a running container: its rights are those of the container.
///
/// # Errors
/// Users and groups that the container does not know.
pub fn plan_exec(
    spec: &Spec,
    facts: &Facts,
    exec: &ExecSpec,
    placement: &ExecPlacement,
) -> Result<Plan, PlanError> {
    let accounts = Accounts {
        passwd: &placement.passwd,
        group: &placement.group,
    };
    let account = accounts.find(exec.user.as_ref().unwrap_or(&spec.user), &spec.groups)?;
    let group = Cgroup::new(spec, facts, &placement.cgroup_parent)?;
    let mut stage = group.join_running();
    if spec.oom_score_adj != 0 {
        stage.push(StageStep::OomScoreAdj {
            value: spec.oom_score_adj,
        });
    }
    stage.push(StageStep::EnterContainer { id: spec.id.clone() });
    match exec.terminal {
        Some(size) => stage.push(StageStep::Terminal { size, console: false }),
        None if exec.stdin == Stdin::Null => stage.push(StageStep::NullInput),
        None => {}
    }
    stage.extend(keyring_and_limits(spec));
    let directory = exec.working_dir.as_ref().unwrap_or(&spec.working_dir);
    stage.extend(place(&account, directory.clone(), true));
    if exec.privileged {
        stage.extend(give_up(capabilities::held(facts), &account));
    } else {
        stage.extend(rights(spec, facts, &account)?);
    }
    let terminal = exec.terminal.is_some();
    stage.push(StageStep::Exec(command(
        &exec.command,
        exec.env.clone(),
        &account,
        terminal,
    )));
    Ok(Plan {
        version: PLAN_VERSION,
        id: exec.id.clone(),
        log_path: None,
        log_limit: None,
        stdin: exec.stdin,
        born_in: group.born_in(),
        oom_counter: None,
        host: Vec::new(),
        stage,
    })
}

/// The user and the group that a container's user is, by its own files.
///
/// # Errors
/// When the container does not know it.
pub fn account(passwd: &str, group: &str, user: &str) -> Result<(u32, u32), PlanError> {
    let account = Accounts { passwd, group }.find(user, &[])?;
    Ok((account.credentials.uid, account.credentials.gid))
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
    let mut steps: Vec<StageStep> = sharing::steps(spec);
    steps.extend(network::enter(spec));
    steps.extend(group.join());
    steps.extend([StageStep::PrivateMounts, StageStep::AttachRoot]);
    steps.extend(mounts::stage_steps(spec, facts, placement, group));
    steps.push(StageStep::PivotRoot);
    steps.extend(inside(spec, facts, placement, group));
    steps.extend(process(spec, account));
    steps.extend(rights(spec, facts, account)?);
    let terminal = spec.terminal.is_some();
    let command = command(&spec.command, environment(spec, placement), account, terminal);
    steps.push(StageStep::Exec(if spec.init {
        mounts::init(command)
    } else {
        command
    }));
    Ok(steps)
}

/// What belongs to the file system and the namespaces, once the root is the root.
fn inside(spec: &Spec, facts: &Facts, placement: &Placement, group: &Cgroup<'_>) -> Vec<StageStep> {
    let mut steps = Vec::new();
    if spec.readonly_rootfs {
        steps.push(StageStep::ReadonlyRoot);
    }
    match spec.terminal {
        Some(size) => steps.push(StageStep::Terminal { size, console: true }),
        None if spec.stdin == Stdin::Null => steps.push(StageStep::NullInput),
        None => {}
    }
    if !spec.host_names {
        steps.push(StageStep::Hostname {
            name: spec.hostname.clone(),
        });
    }
    if !spec.domainname.is_empty() {
        steps.push(StageStep::Domainname {
            name: spec.domainname.clone(),
        });
    }
    steps.extend(network::settings(spec, facts, placement));
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
    let mut steps = keyring_and_limits(spec);
    if spec.oom_score_adj != 0 {
        steps.push(StageStep::OomScoreAdj {
            value: spec.oom_score_adj,
        });
    }
    steps.extend(place(account, spec.working_dir.clone(), false));
    steps
}

fn keyring_and_limits(spec: &Spec) -> Vec<StageStep> {
    let mut steps = vec![StageStep::SessionKeyring {
        name: spec.id.clone(),
    }];
    steps.extend(spec.rlimits.iter().cloned().map(StageStep::Rlimit));
    steps
}

fn place(account: &Account, path: PathBuf, existing: bool) -> Vec<StageStep> {
    let mut steps = vec![
        StageStep::Umask { mode: 0o022 },
        StageStep::WorkingDirectory { path, existing },
    ];
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
        let architecture = architecture.ok_or(PlanError::NoSeccomp)?;
        let program = match &spec.seccomp_profile {
            Some(profile) => seccomp::filter_of(profile, architecture, spec.capabilities, facts)?,
            None => seccomp::filter(architecture, spec.capabilities)?,
        };
        Some(StageStep::Seccomp { program })
    } else {
        None
    };
    let give_up = give_up(spec.capabilities, account);
    Ok(if spec.no_new_privileges {
        let begin = [StageStep::NoNewPrivileges];
        begin.into_iter().chain(give_up).chain(filter).collect()
    } else {
        filter.into_iter().chain(give_up).collect()
    })
}

/// Becomes the user, with these capabilities at most.
fn give_up(capabilities: u64, account: &Account) -> [StageStep; 3] {
    let usable = if account.credentials.uid == 0 {
        capabilities
    } else {
        0
    };
    [
        StageStep::DropBounding { keep: capabilities },
        StageStep::Credentials(account.credentials.clone()),
        StageStep::Capabilities {
            permitted: usable,
            effective: usable,
        },
    ]
}

/// What the container has of its own goes before what its links give.
fn environment(spec: &Spec, placement: &Placement) -> Vec<String> {
    let name = |variable: &str| variable.split('=').next().unwrap_or_default().to_owned();
    let given = placement.link_env.iter();
    let given = given.filter(|variable| spec.env.iter().all(|own| name(own) != name(variable)));
    spec.env.iter().chain(given).cloned().collect()
}

fn command(words: &[String], mut env: Vec<String>, account: &Account, terminal: bool) -> Command {
    if terminal && !env.iter().any(|variable| variable.starts_with("TERM=")) {
        env.push(TERM.to_owned());
    }
    if !env.iter().any(|variable| variable.starts_with("HOME=")) {
        env.push(format!("HOME={}", account.home));
    }
    let name = words.first().map_or("", |name| name.as_str());
    Command {
        candidates: candidates(name, &env),
        argv: words.to_vec(),
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
