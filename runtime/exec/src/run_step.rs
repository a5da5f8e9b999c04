//! One step of a stage: a match, one call an arm. Nothing here allocates.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dev, FileType, FsWord, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};
use rustix::net::SendFlags;
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::thread::{CapabilitySet, CapabilitySets};

use berth_plan::Propagation;

use crate::channel;
use crate::in_root::{DIRECTORY_MODE, InRoot, Links};
use crate::prepare::{Bind, Flat, Mount};
use crate::protocol::TERMINAL;
use crate::stage::{REPORT, Stage};
use crate::sys::{self, Block};

/// The device number of `/dev/null`.
const NULL: (u32, u32) = (1, 3);

/// The device number of what makes terminals.
const PTMX: (u32, u32) = (5, 2);

/// The type of the file system of terminals.
const DEVPTS: FsWord = 0x1cd1;

/// Inside of the root, and by nothing but directories.
const STRICT: ResolveFlags = ResolveFlags::IN_ROOT
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_SYMLINKS);

/// Behind the number of the process.
const OOM_SCORE_ADJ: &[u8] = b"/oom_score_adj";

/// More than the kernel has; the first that it does not know ends the loop.
const CAPABILITIES: u32 = 64;

/// The attributes of which a mount has exactly one.
const ATIME: u64 = 0x70;

const PRIVATE: u64 = 1 << 18;
const SLAVE: u64 = 1 << 19;
const SHARED: u64 = 1 << 20;

/// Room for the path of a process's file in a procfs.
const PROC_PATH: usize = 32;

pub(crate) fn run_step(step: &Flat, stage: &mut Stage<'_>) -> Result<(), Errno> {
    match step {
        Flat::EnterContainer(process) => stage.enter(process.as_fd()),
        Flat::Share(None) => Ok(()),
        Flat::Share(Some((kind, process))) => stage.share(*kind, process.as_fd()),
        Flat::SharedMemory(path) => shared_memory(path, stage),
        Flat::EnterNetwork(namespace) => enter_network(namespace),
        Flat::JoinCgroup(tasks) => write(tasks.as_fd(), b"0"),
        Flat::UnshareCgroup => sys::unshare_cgroups(),
        Flat::PrivateMounts => private_mounts(),
        Flat::AttachRoot => attach_root(stage),
        Flat::Mount(mount) => new_mount(mount, stage),
        Flat::MakeDirectory { path, mode } => path.directory(stage.root, *mode, Links::Inside).map(drop),
        Flat::MakeNode {
            path,
            mode,
            device,
            kind,
            owner,
        } => make_node(path, *mode, (*kind, *device), *owner, stage),
        Flat::Symlink { text, path } => symlink(text, path, stage),
        Flat::Bind(bind) => mount_bind(bind, stage),
        Flat::PivotRoot => pivot_root(stage),
        Flat::ReadonlyRoot => read_only(stage.root, false),
        Flat::NullInput => rustix::stdio::dup2_stdin(null(stage, OFlags::RDWR)?),
        Flat::Terminal {
            rows,
            columns,
            console,
        } => terminal(*rows, *columns, console.as_ref(), stage),
        Flat::Hostname(name) => rustix::system::sethostname(name),
        Flat::Domainname(name) => rustix::system::setdomainname(name),
        Flat::Sysctl { path, value } => write_proc(path.relative(), value, stage),
        Flat::ReadonlyPath(path) => readonly_path(path, stage),
        Flat::MaskPath(path) => mask_path(path, stage),
        Flat::SessionKeyring(name) => session_keyring(name),
        Flat::Rlimit { resource, soft, hard } => sys::set_limit(*resource, *soft, *hard),
        Flat::OomScoreAdj(value) if stage.outside => own_oom_score_adj(value),
        Flat::OomScoreAdj(value) => {
            let mut path = [0; PROC_PATH];
            write_proc(of_this_process(OOM_SCORE_ADJ, &mut path)?, value, stage)
        }
        Flat::Umask(mode) => {
            rustix::process::umask(*mode);
            Ok(())
        }
        Flat::WorkingDirectory { path, existing } => working_directory(path, *existing, stage),
        Flat::OwnStreams(user) => own_streams(*user),
        Flat::NoNewPrivileges => rustix::thread::set_no_new_privs(true),
        Flat::Seccomp(filter) => filter.load(),
        Flat::DropBounding(keep) => drop_bounding(*keep),
        Flat::Credentials { user, group, groups } => become_user(*user, *group, groups),
        Flat::Capabilities { permitted, effective } => set_capabilities(*permitted, *effective),
        Flat::Exec {
            candidates,
            arguments,
            environment,
        } => Err(execute(candidates, arguments, environment)),
    }
}

fn write(file: BorrowedFd<'_>, value: &[u8]) -> Result<(), Errno> {
    match rustix::io::write(file, value)? {
        all if all == value.len() => Ok(()),
        _ => Err(Errno::IO),
    }
}

fn enter_network(namespace: &OwnedFd) -> Result<(), Errno> {
    let kind = rustix::thread::LinkNameSpaceType::Network;
    rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(kind))
}

fn private_mounts() -> Result<(), Errno> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(c"/", flags)
}

/// On top of the host's root: no directory of the host is needed, and nobody sees it before the pivot.
fn attach_root(stage: &Stage<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    rustix::mount::move_mount(stage.root, c"", rustix::fs::CWD, c"/", flags)
}

fn attach(mount: &OwnedFd, target: &OwnedFd) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, c"", target, c"", flags)
}

/// A file system that is mounted nowhere yet.
fn make_mount(
    kind: &CStr,
    source: Option<&CStr>,
    options: &[(CString, Option<CString>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Errno> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    if let Some(source) = source {
        rustix::mount::fsconfig_set_string(&context, c"source", source)?;
    }
    for (key, value) in options {
        match value {
            Some(value) => {
                rustix::mount::fsconfig_set_string(&context, key.as_c_str(), value.as_c_str())?;
            }
            None => rustix::mount::fsconfig_set_flag(&context, key.as_c_str())?,
        }
    }
    rustix::mount::fsconfig_create(&context)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn new_mount(mount: &Mount, stage: &Stage<'_>) -> Result<(), Errno> {
    let made = make_mount(&mount.kind, Some(&mount.source), &mount.options, mount.attributes)?;
    let links = if mount.strict {
        Links::Refused
    } else {
        Links::Inside
    };
    let target = mount.target.directory(stage.root, DIRECTORY_MODE, links)?;
    attach(&made, &target)
}

fn make_node(
    path: &InRoot,
    mode: Mode,
    (kind, device): (FileType, Dev),
    owner: Option<(Uid, Gid)>,
    stage: &Stage<'_>,
) -> Result<(), Errno> {
    let (parent, name) = path.parent(stage.root)?;
    rustix::fs::mknodat(&parent, name, kind, mode, device)?;
    if let Some((user, group)) = owner {
        rustix::fs::chownat(&parent, name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    // Whatever the mask is.
    rustix::fs::chmodat(&parent, name, mode, AtFlags::empty())
}

fn symlink(text: &CStr, path: &InRoot, stage: &Stage<'_>) -> Result<(), Errno> {
    let (parent, name) = path.parent(stage.root)?;
    rustix::fs::symlinkat(text, &parent, name)
}

fn mount_bind(bind: &Bind, stage: &Stage<'_>) -> Result<(), Errno> {
    let set = u64::from(bind.attributes.bits());
    let times = MountAttrFlags::MOUNT_ATTR_STRICTATIME;
    let clear = if bind.attributes.contains(times) { ATIME } else { 0 };
    sys::set_mount_attributes(bind.source.as_fd(), bind.recursive, set, clear, 0)?;
    let propagation = match bind.propagation {
        Propagation::Private => PRIVATE,
        Propagation::Slave => SLAVE,
        Propagation::Shared => SHARED,
    };
    sys::set_mount_attributes(bind.source.as_fd(), true, 0, 0, propagation)?;
    let target = if bind.directory {
        bind.target.directory(stage.root, DIRECTORY_MODE, Links::Inside)?
    } else {
        bind.target.file(stage.root, Links::Inside)?
    };
    attach(&bind.source, &target)
}

fn pivot_root(stage: &Stage<'_>) -> Result<(), Errno> {
    rustix::process::fchdir(stage.root)?;
    rustix::process::pivot_root(c".", c".")?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH)?;
    rustix::process::chdir(c"/")
}

fn read_only(mount: BorrowedFd<'_>, recursive: bool) -> Result<(), Errno> {
    let set = u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    sys::set_mount_attributes(mount, recursive, set, 0, 0)
}

/// The container's `/dev/null`, which nobody can have exchanged for something else.
fn null(stage: &Stage<'_>, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let null = rustix::fs::openat2(stage.root, c"dev/null", flags, Mode::empty(), STRICT)?;
    if is_null(&null)? {
        Ok(null)
    } else {
        Err(Errno::NODEV)
    }
}

fn is_null(file: impl AsFd) -> Result<bool, Errno> {
    is_device(file, NULL)
}

fn is_device(file: impl AsFd, wanted: (u32, u32)) -> Result<bool, Errno> {
    let found = rustix::fs::fstat(file)?;
    let device = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && device == wanted)
}

/// Makes a terminal in the container's own devpts; its other end goes to the keeper.
fn terminal(rows: u16, columns: u16, console: Option<&InRoot>, stage: &Stage<'_>) -> Result<(), Errno> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = rustix::fs::openat2(stage.root, c"dev/pts/ptmx", flags, Mode::empty(), STRICT)?;
    // Nothing that a container may have put in its place.
    if !is_device(&master, PTMX)? || rustix::fs::fstatfs(&master)?.f_type != DEVPTS {
        return Err(Errno::NODEV);
    }
    rustix::pty::unlockpt(&master)?;
    // By the descriptor: a path could have been exchanged.
    let peer = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, peer)?;
    if rows != 0 && columns != 0 {
        rustix::termios::tcsetwinsize(&master, window(rows, columns))?;
    }
    if let Some(console) = console {
        let target = console.file(stage.root, Links::Refused)?;
        attach(&copy_mount(&slave, false)?, &target)?;
    }
    let report = sys::standing(REPORT);
    channel::send(report, &TERMINAL, &[master.as_fd()], SendFlags::empty())?;
    rustix::stdio::dup2_stdin(&slave)?;
    rustix::stdio::dup2_stdout(&slave)?;
    rustix::stdio::dup2_stderr(&slave)?;
    rustix::process::ioctl_tiocsctty(&slave)
}

/// A size in characters.
pub(crate) fn window(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// By the host's procfs, which is the one here before a container is entered.
fn own_oom_score_adj(value: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", flags, Mode::empty())?;
    write(file.as_fd(), value)
}

/// A file of this process in a procfs of its own pid namespace, by its number: a link could not be followed.
fn of_this_process<'a>(file: &[u8], path: &'a mut [u8; PROC_PATH]) -> Result<&'a CStr, Errno> {
    let mut number = rustix::process::getpid().as_raw_nonzero().get().unsigned_abs();
    let mut digits = [0; 10];
    let mut count = 0;
    while number > 0 {
        digits[count] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        count += 1;
    }
    let length = count + file.len();
    if length >= PROC_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    for (place, digit) in digits[..count].iter().rev().enumerate() {
        path[place] = *digit;
    }
    path[count..length].copy_from_slice(file);
    CStr::from_bytes_until_nul(path).map_err(|_| Errno::INVAL)
}

/// What was taken when the IPC namespace was joined.
fn shared_memory(path: &InRoot, stage: &mut Stage<'_>) -> Result<(), Errno> {
    let memory = stage.memory.take().ok_or(Errno::NOENT)?;
    sys::set_mount_attributes(memory.as_fd(), false, 0, 0, PRIVATE)?;
    let target = path.directory(stage.root, DIRECTORY_MODE, Links::Refused)?;
    attach(&memory, &target)
}

/// Writes a file of a procfs that nothing can have been mounted over.
fn write_proc(path: &CStr, value: &[u8], stage: &mut Stage<'_>) -> Result<(), Errno> {
    const INSIDE: ResolveFlags = ResolveFlags::BENEATH
        .union(ResolveFlags::NO_SYMLINKS)
        .union(ResolveFlags::NO_XDEV);
    let procfs = match &stage.procfs {
        Some(procfs) => procfs,
        None => {
            let made = make_mount(c"proc", None, &[], MountAttrFlags::empty())?;
            stage.procfs.insert(made)
        }
    };
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(procfs, path, flags, Mode::empty(), INSIDE)?;
    write(file.as_fd(), value)
}

/// What is missing needs no protection.
fn find(path: &InRoot, stage: &Stage<'_>) -> Result<Option<OwnedFd>, Errno> {
    match path.open(stage.root, OFlags::PATH, Links::Refused) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        found => found.map(Some),
    }
}

/// Another mount of what is mounted there already.
fn copy_mount(place: &OwnedFd, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    rustix::mount::open_tree(place, c"", flags)
}

fn readonly_path(path: &InRoot, stage: &Stage<'_>) -> Result<(), Errno> {
    let Some(target) = find(path, stage)? else {
        return Ok(());
    };
    let copy = copy_mount(&target, true)?;
    read_only(copy.as_fd(), true)?;
    attach(&copy, &target)
}

fn mask_path(path: &InRoot, stage: &mut Stage<'_>) -> Result<(), Errno> {
    let Some(target) = find(path, stage)? else {
        return Ok(());
    };
    let found = rustix::fs::fstat(&target)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return attach(&copy_mount(&null(stage, OFlags::PATH)?, false)?, &target);
    }
    // One file system for all of them. Only a mount that is attached can be copied on every kernel.
    if let Some(empty) = &stage.empty {
        return attach(&copy_mount(empty, false)?, &target);
    }
    let empty = make_mount(c"tmpfs", Some(c"tmpfs"), &[], MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    attach(&empty, &target)?;
    stage.empty = Some(empty);
    Ok(())
}

/// Kernels without keys need no keyring.
fn session_keyring(name: &CStr) -> Result<(), Errno> {
    match sys::join_session_keyring(name) {
        Err(Errno::NOSYS) => Ok(()),
        result => result,
    }
}

fn working_directory(path: &InRoot, existing: bool, stage: &Stage<'_>) -> Result<(), Errno> {
    let directory = if existing {
        path.open(stage.root, OFlags::PATH | OFlags::DIRECTORY, Links::Inside)?
    } else {
        path.directory(stage.root, DIRECTORY_MODE, Links::Inside)?
    };
    rustix::process::fchdir(&directory)?;
    if sys::working_directory_is_inside() {
        Ok(())
    } else {
        Err(Errno::XDEV)
    }
}

/// `/dev/null` stays root's. Where streams cannot change hands they stay as they are.
fn own_streams(user: Uid) -> Result<(), Errno> {
    let (stdin, stdout, stderr) = (
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    );
    for stream in [stdin, stdout, stderr] {
        if is_null(stream)? {
            continue;
        }
        match rustix::fs::fchown(stream, Some(user), None) {
            Err(Errno::PERM | Errno::ROFS | Errno::INVAL) => {}
            result => result?,
        }
    }
    Ok(())
}

fn drop_bounding(keep: u64) -> Result<(), Errno> {
    for capability in (0..CAPABILITIES).filter(|capability| keep >> capability & 1 == 0) {
        match sys::drop_bounding(capability) {
            // The kernel has no more of them.
            Err(Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

fn become_user(user: Uid, group: Gid, groups: &[Gid]) -> Result<(), Errno> {
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_groups(groups)?;
    rustix::thread::set_thread_res_gid(group, group, group)?;
    rustix::thread::set_thread_res_uid(user, user, user)?;
    rustix::thread::set_keep_capabilities(false)
}

fn set_capabilities(permitted: u64, effective: u64) -> Result<(), Errno> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::clear_ambient_capability_set()
}

/// One that is there and may not be executed is reported only if no other one can.
fn execute(candidates: &[CString], arguments: &Block, environment: &Block) -> Errno {
    let mut found = Errno::NOENT;
    for candidate in candidates {
        match sys::execute(candidate, arguments, environment) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => found = Errno::ACCESS,
            errno => return errno,
        }
    }
    found
}
