//! What is refused before anything happens.

use super::*;

fn plan(stage: Vec<StageStep>) -> Plan {
    Plan {
        version: PLAN_VERSION,
        id: "a".to_owned(),
        log_path: None,
        log_limit: None,
        stdin: berth_plan::Stdin::Null,
        born_in: None,
        oom_counter: None,
        host: Vec::new(),
        stage,
    }
}

/// The least that a container needs, with one more step before the command.
fn with(step: StageStep) -> Plan {
    let exec = StageStep::Exec(Command {
        candidates: vec!["/bin/true".to_owned()],
        argv: vec!["true".to_owned()],
        env: vec![],
    });
    plan(vec![
        StageStep::PrivateMounts,
        StageStep::AttachRoot,
        StageStep::PivotRoot,
        step,
        exec,
    ])
}

fn prepared(plan: &Plan) -> Result<usize, String> {
    let root = || std::fs::File::open("/").unwrap().into();
    let enters = plan.enters().is_some();
    let given = Given {
        root: (!enters).then(root),
        network: None,
        container: enters.then(root),
        joined: Vec::new(),
    };
    match prepare(plan, given) {
        Ok(prepared) => Ok(prepared.steps.len()),
        Err(Refusal::Plan(reason)) => Err(reason.to_owned()),
        Err(Refusal::Step(step, reason)) => Err(format!("{step}: {reason}")),
        Err(Refusal::Open(step, errno)) => Err(format!("{step}: {errno:?}")),
    }
}

#[test]
fn a_plan_keeps_its_order() {
    assert_eq!(prepared(&with(StageStep::NoNewPrivileges)), Ok(5));
    let mut late = with(StageStep::NoNewPrivileges);
    late.stage.swap(0, 1);
    prepared(&late).unwrap_err();
    let mut no_end = with(StageStep::NoNewPrivileges);
    no_end.stage.pop();
    prepared(&no_end).unwrap_err();
    prepared(&plan(vec![])).unwrap_err();
    let mut newer = with(StageStep::NoNewPrivileges);
    newer.version += 1;
    prepared(&newer).unwrap_err();
    let mut long = with(StageStep::NoNewPrivileges);
    let steps = std::iter::repeat_n(StageStep::NoNewPrivileges, MAX_STEPS);
    long.stage.splice(3..3, steps);
    prepared(&long).unwrap_err();
}

#[test]
fn steps_that_make_no_sense_are_named() {
    let path = || "relative".into();
    let name = || "x".repeat(NAME_LIMIT + 1);
    let who = |uid, gid| {
        StageStep::Credentials(Credentials {
            uid,
            gid,
            groups: vec![],
        })
    };
    for step in [
        StageStep::EnterNetwork,
        StageStep::MaskPath { path: path() },
        StageStep::WorkingDirectory {
            path: "/a/../../b".into(),
            existing: false,
        },
        StageStep::Hostname { name: name() },
        StageStep::Domainname { name: name() },
        StageStep::Sysctl {
            name: "../kernel".to_owned(),
            value: String::new(),
        },
        StageStep::SessionKeyring {
            name: "a\0b".to_owned(),
        },
        who(u32::MAX, 0),
        who(0, u32::MAX),
    ] {
        let error = prepared(&with(step.clone())).unwrap_err();
        assert!(
            error.starts_with("3: the ") || error.starts_with("3: a ") || error.starts_with("3: no "),
            "{step:?}: {error}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_the_steps_fault() {
    let tasks = StageStep::JoinCgroup {
        tasks: "/nowhere/tasks".into(),
    };
    assert_eq!(
        prepared(&with(tasks)),
        Err("3: Os { code: 2, kind: NotFound, message: \"No such file or directory\" }".to_owned())
    );
}

#[test]
fn a_process_that_enters_a_container_makes_nothing() {
    let enter = || StageStep::EnterContainer { id: "a".to_owned() };
    let exec = || {
        StageStep::Exec(Command {
            candidates: vec![],
            argv: vec![],
            env: vec![],
        })
    };
    let umask = || StageStep::Umask { mode: 0 };
    assert_eq!(prepared(&plan(vec![enter(), umask(), exec()])), Ok(3));
    for stage in [
        vec![enter(), umask()],
        vec![umask(), enter(), exec()],
        vec![enter(), enter(), exec()],
        vec![enter(), StageStep::PivotRoot, exec()],
        vec![
            enter(),
            StageStep::JoinCgroup {
                tasks: "/tasks".into(),
            },
            exec(),
        ],
        vec![
            enter(),
            StageStep::WorkingDirectory {
                path: "/".into(),
                existing: false,
            },
            exec(),
        ],
    ] {
        prepared(&plan(stage)).unwrap_err();
    }
}
