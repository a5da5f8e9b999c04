//! System calls that no safe crate offers. The only unsafe code of the workspace; nothing here allocates after a clone.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use berth_plan::Namespace;
use rustix::io::Errno;
use rustix::process::Pid;

/// The highest signal number of Linux.
const LAST_SIGNAL: c_int = 64;

/// `sizeof(sigset_t)` as the kernel sees it.
const SIGNAL_SET_BYTES: usize = 8;

/// `CLONE_INTO_CGROUP`, which libc cuts to 32 bits.
const INTO_CGROUP: u64 = 1 << 33;

/// The exit status of a stage that could not even report its failure.
const STAGE_FAILED: c_int = 125;

/// The room for a path in [`working_directory_is_inside`]; a longer one counts as outside.
const PATH_BYTES: usize = 4096;

/// What [`bpf_attach_device_program`] gives to the kernel's verifier for its report.
const LICENSE: &CStr = c"Apache-2.0";

fn check(result: c_long) -> Result<c_long, Errno> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// Which namespaces a process is born with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespaces(u64);

impl Namespaces {
    /// None of its own: those of a container are entered.
    pub(crate) const NONE: Self = Self(0);

    /// Those of every container: mounts, processes, host name and IPC.
    #[allow(clippy::cast_sign_loss, reason = "flags are bits")]
    pub(crate) const CONTAINER: Self =
        Self((libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC) as u64);

    /// These without one kind; the network is none of them.
    #[allow(clippy::cast_sign_loss, reason = "flags are bits")]
    pub(crate) fn without(self, kind: Namespace) -> Self {
        let flag = match kind {
            Namespace::Processes => libc::CLONE_NEWPID,
            Namespace::Ipc => libc::CLONE_NEWIPC,
            Namespace::Names => libc::CLONE_NEWUTS,
            Namespace::Network => 0,
        };
        Self(self.0 & !(flag as u64))
    }
}

/// Forks: `child` runs in the new process and never comes back. The caller has one thread, so the copy of its memory is
/// consistent; the file descriptor tells of the child's end.
pub(crate) fn clone_process(
    namespaces: Namespaces,
    cgroup: Option<BorrowedFd<'_>>,
    child: &dyn Fn(),
) -> Result<(Pid, OwnedFd), Errno> {
    #[allow(clippy::cast_sign_loss, reason = "flags and small numbers")]
    const FLAGS: u64 = libc::CLONE_PIDFD as u64;
    #[allow(clippy::cast_sign_loss, reason = "a signal number")]
    const SIGNAL: u64 = libc::SIGCHLD as u64;
    let mut pidfd: c_int = -1;
    // SAFETY: all fields are numbers, for which zero is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = namespaces.0 | FLAGS;
    arguments.pidfd = ptr::from_mut(&mut pidfd).expose_provenance() as u64;
    arguments.exit_signal = SIGNAL;
    if let Some(cgroup) = cgroup {
        arguments.flags |= INTO_CGROUP;
        arguments.cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(|_| Errno::BADF)?;
    }
    // SAFETY: the arguments live until the call returns, and without CLONE_VM the child has its own copy of this stack.
    let result = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_ref(&arguments),
            size_of::<libc::clone_args>(),
        )
    };
    if check(result)? == 0 {
        run_child(child);
    }
    let pid = i32::try_from(result).ok().and_then(Pid::from_raw);
    // SAFETY: the kernel has put a new descriptor here, which nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok((pid.ok_or(Errno::INVAL)?, pidfd))
}

/// Which of the two processes of a fork this is.
#[derive(Debug)]
pub(crate) enum Forked {
    /// The one that was there before, with the number of the new one.
    Old(Pid),
    /// The new one.
    New,
}

/// Forks so that the new process is a child of the caller's parent, in the pid namespace that was entered.
pub(crate) fn fork_sibling() -> Result<Forked, Errno> {
    // SAFETY: all fields are numbers, for which zero is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    // The signal of its end is the caller's own.
    arguments.flags = u64::from(libc::CLONE_PARENT.cast_unsigned());
    // SAFETY: the arguments live until the call returns, and without CLONE_VM the child has its own copy of this stack.
    // Only a stage calls this: it has one thread, and what it owns is closed by exec or by its end.
    let result = check(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            ptr::from_ref(&arguments),
            size_of::<libc::clone_args>(),
        )
    })?;
    if result == 0 {
        return Ok(Forked::New);
    }
    let pid = i32::try_from(result).ok().and_then(Pid::from_raw);
    pid.map(Forked::Old).ok_or(Errno::INVAL)
}

/// A panic must not unwind into the copy of the parent: leaving an `extern "C"` function that way aborts.
#[allow(improper_ctypes_definitions, reason = "only called from here")]
extern "C" fn run_child(child: &dyn Fn()) -> ! {
    child();
    exit_now(STAGE_FAILED)
}

/// Ends the process without running anything else.
pub(crate) fn exit_now(status: c_int) -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(status) }
}

/// All signals as a new program expects them: default handlers, nothing blocked.
pub(crate) fn reset_signals() {
    // Four words: handler, flags, restorer, mask. All zero is SIG_DFL.
    let default = [0_u64; 4];
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: the structure is as large as the kernel's and outlives the call. SIGKILL and SIGSTOP are refused.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                ptr::null::<u64>(),
                SIGNAL_SET_BYTES,
            )
        };
    }
    let none = 0_u64;
    // SAFETY: the set has the size that is said and outlives the call.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(&none),
            ptr::null::<u64>(),
            SIGNAL_SET_BYTES,
        )
    };
}

/// Closes all descriptors from `first` on.
pub(crate) fn close_from(first: c_uint) -> Result<(), Errno> {
    // SAFETY: numbers only; the caller gives up what it had open there.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) }).map(drop)
}

/// Marks all descriptors from `first` on as closed on exec.
pub(crate) fn close_on_exec_from(first: c_uint) -> Result<(), Errno> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: numbers only, nothing is closed.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, flag) }).map(drop)
}

/// Moves a descriptor to this number, closed on exec.
pub(crate) fn move_to(fd: BorrowedFd<'_>, number: RawFd) -> Result<(), Errno> {
    if fd.as_raw_fd() == number {
        return Ok(());
    }
    // SAFETY: the caller owns the number: it is about to close everything around it.
    check(unsafe { libc::dup3(fd.as_raw_fd(), number, libc::O_CLOEXEC) }.into()).map(drop)
}

/// Lends a descriptor that is open for as long as the process lives.
pub(crate) fn standing(number: RawFd) -> BorrowedFd<'static> {
    // SAFETY: used for the standard streams, and for the report descriptor that the stage moved there.
    unsafe { BorrowedFd::borrow_raw(number) }
}

/// `mount_setattr`: sets and clears attributes of the mount behind `fd`, and its propagation when it is not 0.
pub(crate) fn set_mount_attributes(
    fd: BorrowedFd<'_>,
    recursive: bool,
    set: u64,
    clear: u64,
    propagation: u64,
) -> Result<(), Errno> {
    let attributes = [set, clear, propagation, 0_u64];
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the structure has four words, is as long as is said and outlives the call, as does the path.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attributes.as_ptr(),
            size_of_val(&attributes),
        )
    };
    check(result).map(drop)
}

/// Sends any signal, also one without a name, to the process behind the descriptor.
pub(crate) fn signal_process(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<(), Errno> {
    // SAFETY: numbers only; without a structure the kernel fills in the sender.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            ptr::null::<u64>(),
            0,
        )
    };
    check(result).map(drop)
}

/// Whether the kernel knows a system call at all; `call` is made in a way that cannot succeed.
pub(crate) fn knows(call: Probe) -> bool {
    // SAFETY: null pointers and invalid descriptors: the kernel answers with an error before it does anything.
    let result = unsafe {
        match call {
            Probe::Clone3 => libc::syscall(libc::SYS_clone3, ptr::null::<u64>(), 0),
            Probe::Openat2 => libc::syscall(libc::SYS_openat2, -1, ptr::null::<u64>(), ptr::null::<u64>(), 0),
            Probe::MountSetattr => libc::syscall(
                libc::SYS_mount_setattr,
                -1,
                ptr::null::<u64>(),
                0,
                ptr::null::<u64>(),
                0,
            ),
            Probe::CloseRange => libc::syscall(libc::SYS_close_range, c_uint::MAX, 0, 0),
            Probe::PidfdSendSignal => {
                libc::syscall(libc::SYS_pidfd_send_signal, -1, 0, ptr::null::<u64>(), 0)
            }
            Probe::Seccomp => libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                ptr::null::<u64>(),
            ),
        }
    };
    result >= 0 || last_error() != Errno::NOSYS
}

/// System calls that containers cannot do without.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Probe {
    /// Linux 5.3
    Clone3,
    /// Linux 5.6
    Openat2,
    /// Linux 5.12
    MountSetattr,
    /// Linux 5.9
    CloseRange,
    /// Linux 5.1
    PidfdSendSignal,
    /// Linux 3.17, may be left out of a kernel.
    Seccomp,
}

/// A program for a filter of system calls, as the kernel takes it.
#[derive(Debug)]
pub(crate) struct Filter(Vec<libc::sock_filter>);

impl Filter {
    /// Unpacks `code | jt << 16 | jf << 24 | k << 32`.
    #[allow(clippy::cast_possible_truncation, reason = "takes the instruction apart")]
    pub(crate) fn unpack(program: &[u64]) -> Self {
        Self(
            program
                .iter()
                .map(|word| libc::sock_filter {
                    code: *word as u16,
                    jt: (*word >> 16) as u8,
                    jf: (*word >> 24) as u8,
                    k: (*word >> 32) as u32,
                })
                .collect(),
        )
    }

    /// Loads it for the calling thread.
    pub(crate) fn load(&self) -> Result<(), Errno> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).map_err(|_| Errno::INVAL)?,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: the program is as long as is said and outlives the call; the kernel copies and checks it.
        let result = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                0,
                ptr::from_ref(&program),
            )
        };
        check(result).map(drop)
    }
}

/// Strings with the array of pointers that `execve` takes.
pub(crate) struct Block {
    /// What the pointers lead to; never changed after they were taken.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Block {
    pub(crate) fn new(strings: Vec<CString>) -> Self {
        // The text of a CString stays where it is when the CString itself moves.
        let mut pointers: Vec<*const c_char> = strings.iter().map(|text| text.as_ptr()).collect();
        pointers.push(ptr::null());
        Self {
            _strings: strings,
            pointers,
        }
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self._strings).finish()
    }
}

/// Becomes another program; comes back only with the reason why not.
pub(crate) fn execute(path: &CStr, arguments: &Block, environment: &Block) -> Errno {
    // SAFETY: path and both arrays end as they must and live until the call returns, if it does.
    unsafe {
        libc::execve(
            path.as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
        )
    };
    last_error()
}

/// Takes a session keyring of its own that the user may look at and search.
pub(crate) fn join_session_keyring(name: &CStr) -> Result<(), Errno> {
    const JOIN: c_int = 1;
    const SET_PERMISSIONS: c_int = 5;
    /// Everything for the possessor; view, read and search for the user.
    const PERMISSIONS: c_uint = 0x3f0b_0000;
    // SAFETY: the name ends as it must and outlives the call.
    let ring = check(unsafe { libc::syscall(libc::SYS_keyctl, JOIN, name.as_ptr()) })?;
    // SAFETY: numbers only.
    check(unsafe { libc::syscall(libc::SYS_keyctl, SET_PERMISSIONS, ring, PERMISSIONS) }).map(drop)
}

/// Sets a resource limit by the kernel's number.
pub(crate) fn set_limit(resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = [soft, hard];
    // SAFETY: two words, which the kernel reads; they outlive the call. There is no old value to be written.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            limit.as_ptr(),
            ptr::null::<u64>(),
        )
    };
    check(result).map(drop)
}

/// Drops one capability from the bounding set.
pub(crate) fn drop_bounding(capability: u32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, c_long::from(capability), 0, 0, 0) };
    check(result.into()).map(drop)
}

/// Whether the working directory can be reached from the root: one outside has no absolute path.
pub(crate) fn working_directory_is_inside() -> bool {
    let mut path = [0_u8; PATH_BYTES];
    // SAFETY: the kernel writes at most as many bytes as the buffer has.
    let result = unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) };
    result > 0 && path[0] == b'/'
}

/// One instruction of an extended BPF program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// The destination in the low half, the source in the high one.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// Loads a device program and attaches it to a cgroup, beside what others attached.
pub(crate) fn bpf_attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: &[Instruction],
) -> Result<(), Errno> {
    const PROG_LOAD: c_int = 5;
    const PROG_ATTACH: c_int = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    let count = u32::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    // type and count, instructions, licence, then log level, size, buffer and version, all 0.
    let load: [u64; 6] = [
        u64::from(TYPE_CGROUP_DEVICE) | u64::from(count) << 32,
        program.as_ptr().expose_provenance() as u64,
        LICENSE.as_ptr().expose_provenance() as u64,
        0,
        0,
        0,
    ];
    // SAFETY: the pointers in the structure lead to what they say, and all of it outlives the call.
    let loaded =
        check(unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, load.as_ptr(), size_of_val(&load)) })?;
    let number = c_int::try_from(loaded).map_err(|_| Errno::BADF)?;
    // SAFETY: a new descriptor that nobody else knows.
    let loaded = unsafe { OwnedFd::from_raw_fd(number) };
    #[allow(clippy::cast_sign_loss, reason = "descriptors are not negative")]
    let attach: [u32; 4] = [
        cgroup.as_raw_fd() as u32,
        loaded.as_raw_fd() as u32,
        ATTACH_CGROUP_DEVICE,
        ALLOW_MULTI,
    ];
    // SAFETY: four words of the size that is said, which outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, attach.as_ptr(), size_of_val(&attach)) };
    check(result).map(drop)
}

/// A new namespace of cgroups.
pub(crate) fn unshare_cgroups() -> Result<(), Errno> {
    // SAFETY: a flag only; descriptors and memory stay as they are.
    check(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) }.into()).map(drop)
}
