//! Turns a plan into flat data with everything opened, so that the stage allocates nothing and opens no path of the host.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use berth_plan::{
    Command, Credentials, HostMount, MountFlags, MountOption, Namespace, NewMount, Node, PLAN_VERSION, Plan,
    Propagation, Rlimit, StageStep,
};
use rustix::fs::{CWD, Dev, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::in_root::InRoot;
use crate::sys::{Block, Filter};

/// The kernel's limit for host and domain names, in bytes.
const NAME_LIMIT: usize = 64;

/// The name of a container's own terminal.
const CONSOLE: &str = "/dev/console";

/// Where memory is shared.
const SHARED_MEMORY: &str = "/dev/shm";

/// Steps of one stage; a plan with more is refused.
const MAX_STEPS: usize = 1024;

/// The most supplementary groups that the kernel takes.
const MAX_GROUPS: usize = 65_536;

/// A plan that is ready for the stage.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The detached root file system; none for a process that enters a container.
    pub(crate) root: Option<OwnedFd>,
    pub(crate) steps: Vec<Flat>,
}

/// [`StageStep`] as the stage takes it.
#[derive(Debug)]
pub(crate) enum Flat {
    /// By a process of the container.
    EnterContainer(OwnedFd),
    /// By a process of the container; none for what was done before the birth.
    Share(Option<(Namespace, OwnedFd)>),
    SharedMemory(InRoot),
    EnterNetwork(OwnedFd),
    JoinCgroup(OwnedFd),
    UnshareCgroup,
    PrivateMounts,
    AttachRoot,
    Mount(Mount),
    MakeDirectory {
        path: InRoot,
        mode: Mode,
    },
    MakeNode {
        path: InRoot,
        mode: Mode,
        device: Dev,
        kind: FileType,
        owner: Option<(Uid, Gid)>,
    },
    Symlink {
        text: CString,
        path: InRoot,
    },
    Bind(Bind),
    PivotRoot,
    ReadonlyRoot,
    NullInput,
    Terminal {
        rows: u16,
        columns: u16,
        console: Option<InRoot>,
    },
    Hostname(Vec<u8>),
    Domainname(Vec<u8>),
    Sysctl {
        path: InRoot,
        value: Vec<u8>,
    },
    ReadonlyPath(InRoot),
    MaskPath(InRoot),
    SessionKeyring(CString),
    Rlimit {
        resource: u32,
        soft: u64,
        hard: u64,
    },
    OomScoreAdj(Vec<u8>),
    Umask(Mode),
    WorkingDirectory {
        path: InRoot,
        existing: bool,
    },
    OwnStreams(Uid),
    NoNewPrivileges,
    Seccomp(Filter),
    DropBounding(u64),
    Credentials {
        user: Uid,
        group: Gid,
        groups: Vec<Gid>,
    },
    Capabilities {
        permitted: u64,
        effective: u64,
    },
    Exec {
        candidates: Vec<CString>,
        arguments: Block,
        environment: Block,
    },
}

/// A new file system.
#[derive(Debug)]
pub(crate) struct Mount {
    pub(crate) kind: CString,
    pub(crate) source: CString,
    pub(crate) target: InRoot,
    pub(crate) strict: bool,
    pub(crate) attributes: MountAttrFlags,
    pub(crate) options: Vec<(CString, Option<CString>)>,
}

/// A part of the host, opened.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) source: OwnedFd,
    pub(crate) directory: bool,
    pub(crate) target: InRoot,
    /// The attributes are for all of it.
    pub(crate) recursive: bool,
    pub(crate) attributes: MountAttrFlags,
    pub(crate) propagation: Propagation,
}

/// Why a plan cannot be carried out.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The plan as a whole.
    Plan(&'static str),
    /// One step, by its place, and what is wrong with it.
    Step(usize, &'static str),
    /// One step, whose file cannot be opened.
    Open(usize, Errno),
}

/// Checks the plan, opens what it needs of the host and lays everything out.
pub(crate) fn prepare(plan: &Plan, given: Given) -> Result<Prepared, Refusal> {
    let Given {
        root,
        mut network,
        mut container,
        mut joined,
    } = given;
    check(plan, root.is_some())?;
    let mut steps = Vec::with_capacity(plan.stage.len());
    for (index, step) in plan.stage.iter().enumerate() {
        steps.push(flatten(step, &mut network, &mut container, &mut joined).map_err(
            |fault| match fault {
                Fault::Malformed(reason) => Refusal::Step(index, reason),
                Fault::Open(errno) => Refusal::Open(index, errno),
            },
        )?);
    }
    Ok(Prepared { root, steps })
}

/// What comes with a plan.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) root: Option<OwnedFd>,
    pub(crate) network: Option<OwnedFd>,
    /// A process of the container that is entered.
    pub(crate) container: Option<OwnedFd>,
    /// Processes of the containers whose namespaces are shared, by the kind of namespace.
    pub(crate) joined: Vec<(Namespace, OwnedFd)>,
}

fn check(plan: &Plan, has_root: bool) -> Result<(), Refusal> {
    if plan.version != PLAN_VERSION {
        return Err(Refusal::Plan(
            "the plan has a version that this keeper does not know",
        ));
    }
    if plan.stage.len() > MAX_STEPS {
        return Err(Refusal::Plan("the plan has too many steps"));
    }
    if plan.enters().is_some() {
        return check_entering(plan, has_root);
    }
    if !has_root {
        return Err(Refusal::Plan("the root is missing"));
    }
    let place = |wanted: fn(&StageStep) -> bool| plan.stage.iter().position(wanted);
    let attached = place(|step| matches!(step, StageStep::AttachRoot));
    let pivoted = place(|step| matches!(step, StageStep::PivotRoot));
    let private = place(|step| matches!(step, StageStep::PrivateMounts));
    let executed = place(|step| matches!(step, StageStep::Exec(_)));
    let in_order = private.is_some() && private < attached && attached < pivoted && pivoted < executed;
    if !in_order || executed.map(|index| index + 1) != Some(plan.stage.len()) {
        return Err(Refusal::Plan(
            "the plan does not make mounts private, attach the root, pivot and end with exec, in this order",
        ));
    }
    Ok(())
}

/// A process that is added to a container changes nothing of it, and opens nothing of the host once it is inside.
fn check_entering(plan: &Plan, has_root: bool) -> Result<(), Refusal> {
    let entered = |step: &StageStep| matches!(step, StageStep::EnterContainer { .. });
    let before =
        |step: &StageStep| matches!(step, StageStep::JoinCgroup { .. } | StageStep::OomScoreAdj { .. });
    let after = |step: &StageStep| {
        matches!(
            step,
            StageStep::NullInput
                | StageStep::Terminal { console: false, .. }
                | StageStep::SessionKeyring { .. }
                | StageStep::Rlimit(_)
                | StageStep::Umask { .. }
                | StageStep::WorkingDirectory { existing: true, .. }
                | StageStep::OwnStreams { .. }
                | StageStep::NoNewPrivileges
                | StageStep::Seccomp { .. }
                | StageStep::DropBounding { .. }
                | StageStep::Credentials(_)
                | StageStep::Capabilities { .. }
        )
    };
    let place = plan.stage.iter().position(entered).unwrap_or_default();
    let (first, rest) = plan.stage.split_at(place);
    let fits = match rest {
        [_, middle @ .., StageStep::Exec(_)] => first.iter().all(before) && middle.iter().all(after),
        _ => false,
    };
    if has_root || !fits || !plan.host.is_empty() {
        return Err(Refusal::Plan(
            "the plan enters a container and does more than to run a command in it",
        ));
    }
    Ok(())
}

enum Fault {
    Malformed(&'static str),
    Open(Errno),
}

impl From<Errno> for Fault {
    fn from(errno: Errno) -> Self {
        Self::Open(errno)
    }
}

fn inside(path: &Path) -> Result<InRoot, Fault> {
    InRoot::new(path).ok_or(Fault::Malformed("the path is not absolute and clean"))
}

fn text(text: impl Into<Vec<u8>>) -> Result<CString, Fault> {
    CString::new(text).map_err(|_| Fault::Malformed("a text has a zero byte in it"))
}

fn texts(list: &[String]) -> Result<Vec<CString>, Fault> {
    list.iter().map(|entry| text(entry.as_str())).collect()
}

fn name(name: &str) -> Result<Vec<u8>, Fault> {
    if name.len() > NAME_LIMIT {
        return Err(Fault::Malformed("the name has more than 64 bytes"));
    }
    Ok(name.as_bytes().to_vec())
}

fn flatten(
    step: &StageStep,
    network: &mut Option<OwnedFd>,
    container: &mut Option<OwnedFd>,
    joined: &mut Vec<(Namespace, OwnedFd)>,
) -> Result<Flat, Fault> {
    Ok(match step {
        StageStep::Share { namespace, .. } => Flat::Share(take(*namespace, joined)),
        StageStep::SharedMemory => Flat::SharedMemory(inside(Path::new(SHARED_MEMORY))?),
        StageStep::EnterContainer { .. } => {
            let process = container.take();
            Flat::EnterContainer(process.ok_or(Fault::Malformed("the container is entered already"))?)
        }
        StageStep::EnterNetwork => {
            let network = network.take();
            Flat::EnterNetwork(network.ok_or(Fault::Malformed("no network namespace was made"))?)
        }
        StageStep::JoinCgroup { tasks } => {
            let flags = OFlags::WRONLY | OFlags::CLOEXEC;
            Flat::JoinCgroup(rustix::fs::open(tasks, flags, Mode::empty())?)
        }
        StageStep::UnshareCgroup => Flat::UnshareCgroup,
        StageStep::PrivateMounts => Flat::PrivateMounts,
        StageStep::AttachRoot => Flat::AttachRoot,
        StageStep::Mount(mount) => Flat::Mount(new_mount(mount)?),
        StageStep::MakeDirectory { path, mode } => Flat::MakeDirectory {
            path: inside(path)?,
            mode: Mode::from_raw_mode(*mode),
        },
        StageStep::MakeNode(node) => make_node(node)?,
        StageStep::Symlink { text: link, path } => Flat::Symlink {
            text: text(link.as_str())?,
            path: inside(path)?,
        },
        StageStep::Bind(mount) => Flat::Bind(bind(mount)?),
        StageStep::PivotRoot => Flat::PivotRoot,
        StageStep::ReadonlyRoot => Flat::ReadonlyRoot,
        StageStep::NullInput => Flat::NullInput,
        StageStep::Terminal { size, console } => Flat::Terminal {
            rows: size.rows,
            columns: size.columns,
            console: console.then(|| inside(Path::new(CONSOLE))).transpose()?,
        },
        StageStep::Hostname { name: text } => Flat::Hostname(name(text)?),
        StageStep::Domainname { name: text } => Flat::Domainname(name(text)?),
        StageStep::Sysctl { name, value } => Flat::Sysctl {
            // Put together as text: joining an absolute name would lead out of `sys`.
            path: inside(Path::new(&format!("/sys/{name}")))?,
            value: value.as_bytes().to_vec(),
        },
        StageStep::ReadonlyPath { path } => Flat::ReadonlyPath(inside(path)?),
        StageStep::MaskPath { path } => Flat::MaskPath(inside(path)?),
        StageStep::SessionKeyring { name } => Flat::SessionKeyring(text(name.as_str())?),
        StageStep::Rlimit(Rlimit { resource, soft, hard }) => Flat::Rlimit {
            resource: *resource,
            soft: *soft,
            hard: *hard,
        },
        StageStep::OomScoreAdj { value } => Flat::OomScoreAdj(value.to_string().into_bytes()),
        StageStep::Umask { mode } => Flat::Umask(Mode::from_raw_mode(*mode)),
        StageStep::WorkingDirectory { path, existing } => Flat::WorkingDirectory {
            path: inside(path)?,
            existing: *existing,
        },
        StageStep::OwnStreams { uid } => Flat::OwnStreams(Uid::from_raw(*uid)),
        StageStep::NoNewPrivileges => Flat::NoNewPrivileges,
        StageStep::Seccomp { program } => Flat::Seccomp(Filter::unpack(program)),
        StageStep::DropBounding { keep } => Flat::DropBounding(*keep),
        StageStep::Credentials(who) => credentials(who)?,
        StageStep::Capabilities { permitted, effective } => Flat::Capabilities {
            permitted: *permitted,
            effective: *effective,
        },
        StageStep::Exec(command) => exec(command)?,
    })
}

/// The process whose namespace of this kind is shared; none for the host's.
fn take(kind: Namespace, joined: &mut Vec<(Namespace, OwnedFd)>) -> Option<(Namespace, OwnedFd)> {
    let place = joined.iter().position(|(other, _)| *other == kind)?;
    Some(joined.swap_remove(place))
}

fn new_mount(mount: &NewMount) -> Result<Mount, Fault> {
    Ok(Mount {
        kind: text(mount.kind.as_str())?,
        source: text(mount.source.as_str())?,
        target: inside(&mount.target)?,
        strict: mount.strict,
        attributes: attributes(mount.flags),
        options: mount.options.iter().map(option).collect::<Result<_, _>>()?,
    })
}

fn make_node(node: &Node) -> Result<Flat, Fault> {
    Ok(Flat::MakeNode {
        path: inside(&node.path)?,
        mode: Mode::from_raw_mode(node.mode),
        device: rustix::fs::makedev(node.major, node.minor),
        kind: if node.block {
            FileType::BlockDevice
        } else {
            FileType::CharacterDevice
        },
        owner: node
            .owner
            .map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid))),
    })
}

fn bind(mount: &HostMount) -> Result<Bind, Fault> {
    let target = inside(&mount.target)?;
    let (source, directory) = open_source(&mount.source, mount.recursive)?;
    Ok(Bind {
        source,
        directory,
        target,
        recursive: mount.recursive && !mount.top_only,
        attributes: attributes(mount.flags),
        propagation: mount.propagation,
    })
}

fn credentials(who: &Credentials) -> Result<Flat, Fault> {
    let Credentials { uid, gid, groups } = who;
    // The kernel takes the highest number for "leave it as it is", which is root here.
    if [*uid, *gid].iter().chain(groups).any(|id| *id == u32::MAX) || groups.len() > MAX_GROUPS {
        return Err(Fault::Malformed("a user or group is out of range"));
    }
    Ok(Flat::Credentials {
        user: Uid::from_raw(*uid),
        group: Gid::from_raw(*gid),
        groups: groups.iter().map(|gid| Gid::from_raw(*gid)).collect(),
    })
}

fn exec(command: &Command) -> Result<Flat, Fault> {
    Ok(Flat::Exec {
        candidates: texts(&command.candidates)?,
        arguments: Block::new(texts(&command.argv)?),
        environment: Block::new(texts(&command.env)?),
    })
}

fn option(option: &MountOption) -> Result<(CString, Option<CString>), Fault> {
    let value = option.value.as_deref().map(text).transpose()?;
    Ok((text(option.key.as_str())?, value))
}

fn attributes(flags: MountFlags) -> MountAttrFlags {
    let MountFlags {
        read_only,
        nosuid,
        nodev,
        noexec,
        strictatime,
    } = flags;
    let mut attributes = MountAttrFlags::empty();
    attributes.set(MountAttrFlags::MOUNT_ATTR_RDONLY, read_only);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOSUID, nosuid);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NODEV, nodev);
    attributes.set(MountAttrFlags::MOUNT_ATTR_NOEXEC, noexec);
    attributes.set(MountAttrFlags::MOUNT_ATTR_STRICTATIME, strictatime);
    attributes
}

/// A detached copy of a mount of the host.
fn open_source(path: &Path, recursive: bool) -> Result<(OwnedFd, bool), Fault> {
    if !path.is_absolute() {
        return Err(Fault::Malformed("the source is not absolute"));
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    let source = open_tree(CWD, path, flags)?;
    let found = rustix::fs::fstat(&source)?;
    Ok((
        source,
        FileType::from_raw_mode(found.st_mode) == FileType::Directory,
    ))
}

#[cfg(test)]
mod tests;
