//! System calls, one thin safe wrapper each. Together with `arch` the only place of `unsafe` in the stage.
//!
//! Every wrapper takes descriptors as numbers and strings as [`Z`]; the kernel checks both. Nothing here
//! retries, logs or allocates.
#![allow(unsafe_code)]

use crate::arch;
use crate::fail::{Fail, Result};
use crate::wire::{Scheduler, Z};

/// An error number.
pub type Errno = u32;

/// Error numbers the stage looks at (the same on both architectures).
#[allow(missing_docs)]
pub mod errno {
    use super::Errno;
    pub const EPERM: Errno = 1;
    pub const ENOENT: Errno = 2;
    pub const EINTR: Errno = 4;
    pub const EAGAIN: Errno = 11;
    pub const EACCES: Errno = 13;
    pub const EBUSY: Errno = 16;
    pub const EEXIST: Errno = 17;
    pub const ENOTDIR: Errno = 20;
    pub const EISDIR: Errno = 21;
    pub const EINVAL: Errno = 22;
    pub const EROFS: Errno = 30;
    pub const ERANGE: Errno = 34;
    pub const ENOSYS: Errno = 38;
    pub const ELOOP: Errno = 40;
}

/// Numbers from 424 on are the same on every architecture.
mod nr {
    pub const OPEN_TREE: usize = 428;
    pub const MOVE_MOUNT: usize = 429;
    pub const FSOPEN: usize = 430;
    pub const FSCONFIG: usize = 431;
    pub const FSMOUNT: usize = 432;
    pub const FSPICK: usize = 433;
    pub const CLOSE_RANGE: usize = 436;
    pub const OPENAT2: usize = 437;
    pub const FACCESSAT2: usize = 439;
    pub const MOUNT_SETATTR: usize = 442;
    pub const OPEN_TREE_ATTR: usize = 467;
}

/// CLONE_NEW* bits and clone flags.
#[allow(missing_docs)]
pub mod clone {
    pub const NEWTIME: u64 = 0x80;
    pub const VM: u64 = 0x100;
    pub const PIDFD: u64 = 0x1000;
    pub const VFORK: u64 = 0x4000;
    pub const PARENT: u64 = 0x8000;
    pub const NEWNS: u64 = 0x2_0000;
    pub const NEWCGROUP: u64 = 0x200_0000;
    pub const NEWUTS: u64 = 0x400_0000;
    pub const NEWIPC: u64 = 0x800_0000;
    pub const NEWUSER: u64 = 0x1000_0000;
    pub const NEWPID: u64 = 0x2000_0000;
    pub const NEWNET: u64 = 0x4000_0000;
    pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    pub const INTO_CGROUP: u64 = 0x2_0000_0000;
}

fn check(nr: usize, result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) {
        return Err(Fail { call: nr as u32, errno: result.unsigned_abs() as u32, detail: 0 });
    }
    Ok(result as usize)
}

/// Calls `nr` with arguments that are numbers or point to memory valid for the call.
macro_rules! call {
    ($nr:expr $(, $arg:expr)*) => { call!(@ $nr; $($arg as usize,)* 0, 0, 0, 0, 0, 0) };
    (@ $nr:expr; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr, $($rest:tt)*) => {
        // SAFETY: every pointer comes from a live reference or a NUL-terminated `Z` of this call's scope,
        // with the length the kernel is told; descriptors and flags are plain numbers the kernel checks.
        $crate::sys::check($nr, unsafe { $crate::arch::syscall($nr, $a, $b, $c, $d, $e, $f) })
    };
    (@ $nr:expr; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => { call!(@ $nr; $a, $b, $c, $d, $e, $f,) };
}

/// exit_group(2).
pub fn exit(code: i32) -> ! {
    loop {
        let _ = call!(arch::SYS_EXIT_GROUP, code);
    }
}

/// read(2).
pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(arch::SYS_READ, fd, buffer.as_mut_ptr(), buffer.len())
}

/// write(2).
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    call!(arch::SYS_WRITE, fd, bytes.as_ptr(), bytes.len())
}

/// Descriptors below this stay open when they are given up.
const LEFT_OPEN: i32 = 96;

/// Gives a descriptor up. What is not needed any more is closed by one close_range(2) before the program begins, not by
/// a close(2) each: a launch makes some fifty. The kernel hands out the lowest free number, so a launch that makes
/// more than [`LEFT_OPEN`] closes the rest at once, and no list of mounts can run into RLIMIT_NOFILE.
pub fn close(fd: i32) {
    if fd >= LEFT_OPEN {
        close_now(fd);
    }
}

/// close(2), where others must see at once that it is closed; there is nothing to do about an error.
pub fn close_now(fd: i32) {
    let _ = call!(arch::SYS_CLOSE, fd);
}

/// close_range(2), for real.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    call!(nr::CLOSE_RANGE, first, last, 0).map(drop)
}

/// dup3(2).
pub fn dup3(from: i32, to: i32, flags: i32) -> Result<()> {
    call!(arch::SYS_DUP3, from, to, flags).map(drop)
}

/// fcntl(2) with a number as argument.
pub fn fcntl(fd: i32, command: i32, argument: u32) -> Result<usize> {
    call!(arch::SYS_FCNTL, fd, command, argument)
}

/// chdir(2).
pub fn chdir(path: Z<'_>) -> Result<()> {
    call!(arch::SYS_CHDIR, path.as_ptr()).map(drop)
}

/// fchdir(2).
pub fn fchdir(fd: i32) -> Result<()> {
    call!(arch::SYS_FCHDIR, fd).map(drop)
}

/// getcwd(2): bytes written, the NUL included.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize> {
    call!(arch::SYS_GETCWD, buffer.as_mut_ptr(), buffer.len())
}

/// umask(2).
pub fn umask(mask: u32) {
    let _ = call!(arch::SYS_UMASK, mask);
}

/// setns(2).
pub fn setns(fd: i32, kind: u32) -> Result<()> {
    call!(arch::SYS_SETNS, fd, kind).map(drop)
}

/// unshare(2).
pub fn unshare(flags: u32) -> Result<()> {
    call!(arch::SYS_UNSHARE, flags).map(drop)
}

/// setsid(2).
pub fn setsid() -> Result<()> {
    call!(arch::SYS_SETSID).map(drop)
}

/// sethostname(2).
pub fn sethostname(name: Z<'_>) -> Result<()> {
    call!(arch::SYS_SETHOSTNAME, name.as_ptr(), name.bytes().len()).map(drop)
}

/// setdomainname(2).
pub fn setdomainname(name: Z<'_>) -> Result<()> {
    call!(arch::SYS_SETDOMAINNAME, name.as_ptr(), name.bytes().len()).map(drop)
}

/// setgroups(2) of group ids as they stand in memory.
pub fn setgroups(groups: &[u8]) -> Result<()> {
    call!(arch::SYS_SETGROUPS, groups.len() / 4, groups.as_ptr()).map(drop)
}

/// setresuid(2) to one id.
pub fn setresuid(id: u32) -> Result<()> {
    call!(arch::SYS_SETRESUID, id, id, id).map(drop)
}

/// setresgid(2) to one id.
pub fn setresgid(id: u32) -> Result<()> {
    call!(arch::SYS_SETRESGID, id, id, id).map(drop)
}

/// prctl(2).
pub fn prctl(option: u32, a: u64, b: u64) -> Result<usize> {
    call!(arch::SYS_PRCTL, option, a, b, 0, 0)
}

/// prctl(PR_SET_NAME).
pub fn set_name(name: Z<'_>) {
    const PR_SET_NAME: u32 = 15;
    let _ = call!(arch::SYS_PRCTL, PR_SET_NAME, name.as_ptr());
}

/// capset(2), all of version 3.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let header = [0x2008_0522_u32, 0];
    let data = [
        effective as u32,
        permitted as u32,
        inheritable as u32,
        (effective >> 32) as u32,
        (permitted >> 32) as u32,
        (inheritable >> 32) as u32,
    ];
    call!(arch::SYS_CAPSET, header.as_ptr(), data.as_ptr()).map(drop)
}

/// capget(2): effective, permitted, inheritable of the caller.
pub fn capget() -> Result<(u64, u64, u64)> {
    let header = [0x2008_0522_u32, 0];
    let mut data = [0_u32; 6];
    call!(arch::SYS_CAPGET, header.as_ptr(), data.as_mut_ptr())?;
    let [e, p, i, eh, ph, ih] = data.map(u64::from);
    Ok((e | eh << 32, p | ph << 32, i | ih << 32))
}

/// prlimit(2) of the caller.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    call!(arch::SYS_PRLIMIT64, 0, resource, limit.as_ptr(), 0).map(drop)
}

/// struct sched_attr (sched(7)), with the utilisation bounds the kernel wants to see once their flags are set.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// sched_setaffinity(2) of the caller, with a mask of CPUs as it stands in memory.
pub fn sched_setaffinity(cpus: &[u8]) -> Result<()> {
    call!(arch::SYS_SCHED_SETAFFINITY, 0, cpus.len(), cpus.as_ptr()).map(drop)
}

/// sched_setattr(2) of the caller.
pub fn sched_setattr(how: &Scheduler) -> Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: how.policy,
        flags: how.flags,
        nice: how.nice,
        priority: how.priority,
        runtime: how.runtime,
        deadline: how.deadline,
        period: how.period,
        util_min: 0,
        util_max: 0,
    };
    call!(arch::SYS_SCHED_SETATTR, 0, &raw const attr, 0).map(drop)
}

/// ioprio_set(2) of the caller.
pub fn ioprio_set(priority: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    call!(arch::SYS_IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, priority).map(drop)
}

/// personality(2).
pub fn personality(domain: u32) -> Result<()> {
    call!(arch::SYS_PERSONALITY, domain).map(drop)
}

/// set_mempolicy(2) with a mask of nodes as it stands in memory.
pub fn set_mempolicy(mode: u32, nodes: &[u8]) -> Result<()> {
    // The kernel counts one bit more than it reads.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 8 + 1 };
    let mask = if nodes.is_empty() { core::ptr::null() } else { nodes.as_ptr() };
    call!(arch::SYS_SET_MEMPOLICY, mode, mask, bits).map(drop)
}

/// keyctl(KEYCTL_JOIN_SESSION_KEYRING): the keyring's serial number.
pub fn join_session_keyring(name: Z<'_>) -> Result<u32> {
    call!(arch::SYS_KEYCTL, 1, name.as_ptr()).map(|serial| serial as u32)
}

/// keyctl(KEYCTL_SETPERM).
pub fn set_key_permissions(serial: u32, permissions: u32) -> Result<()> {
    call!(arch::SYS_KEYCTL, 5, serial, permissions).map(drop)
}

/// seccomp(SECCOMP_SET_MODE_FILTER) of a program as it stands in memory, 8 bytes an instruction.
pub fn seccomp_filter(flags: u32, program: &[u8]) -> Result<usize> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u8,
    }
    let program = Program { length: (program.len() / 8) as u16, filter: program.as_ptr() };
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    call!(arch::SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const program)
}

/// socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC).
pub fn inet_socket() -> Result<i32> {
    call!(arch::SYS_SOCKET, 2, 2 | O_CLOEXEC, 0).map(|fd| fd as i32)
}

/// ioctl(2) with a number as argument.
pub fn ioctl(fd: i32, request: u32, argument: usize) -> Result<usize> {
    call!(arch::SYS_IOCTL, fd, request, argument)
}

/// ioctl(2) with memory the kernel reads or writes.
pub fn ioctl_bytes<const N: usize>(fd: i32, request: u32, bytes: &mut [u8; N]) -> Result<usize> {
    call!(arch::SYS_IOCTL, fd, request, bytes.as_mut_ptr())
}

/// Empties the signal mask.
pub fn unblock_signals() -> Result<()> {
    const SIG_SETMASK: u32 = 2;
    let none = 0_u64;
    call!(arch::SYS_RT_SIGPROCMASK, SIG_SETMASK, &raw const none, 0, 8).map(drop)
}

/// Sets a signal's disposition to the default.
pub fn default_signal(signal: u32) -> Result<()> {
    let action = [0_u64; 4];
    call!(arch::SYS_RT_SIGACTION, signal, action.as_ptr(), 0, 8).map(drop)
}

/// Ends the process when the signal comes, with what a shell makes of it.
pub fn exit_on_signal(signal: u32) -> Result<()> {
    extern "C" fn end(signal: i32) {
        exit(128 + signal)
    }
    const SA_RESTORER: u64 = 0x0400_0000;
    let end = end as extern "C" fn(i32) as usize as u64;
    // The kernel wants a way back from a handler; this one never takes it.
    let action = [end, SA_RESTORER, end, 0];
    call!(arch::SYS_RT_SIGACTION, signal, action.as_ptr(), 0, 8).map(drop)
}

/// Most arguments plus variables execve(2) is given; more do not fit the kernel's own limit by far.
pub type Vector = [*const u8];

/// execve(2).
pub fn execve(path: Z<'_>, args: &Vector, env: &Vector) -> Fail {
    debug_assert!(args.last().is_some_and(|last| last.is_null()));
    match call!(arch::SYS_EXECVE, path.as_ptr(), args.as_ptr(), env.as_ptr()) {
        Ok(_) => Fail { call: arch::SYS_EXECVE as u32, errno: errno::EINVAL, detail: 0 },
        Err(fail) => fail,
    }
}

/// execveat(2) of the descriptor's own file.
pub fn execveat(fd: i32, args: &Vector, env: &Vector) -> Fail {
    match call!(arch::SYS_EXECVEAT, fd, Z::EMPTY.as_ptr(), args.as_ptr(), env.as_ptr(), AT_EMPTY_PATH) {
        Ok(_) => Fail { call: arch::SYS_EXECVEAT as u32, errno: errno::EINVAL, detail: 0 },
        Err(fail) => fail,
    }
}

/// clone_args of clone3(2).
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// clone3(2) without a new stack, that is fork(2) with flags: 0 in the child. `pidfd` receives the pidfd.
pub fn fork(mut args: CloneArgs, pidfd: &mut i32) -> Result<usize> {
    args.pidfd = core::ptr::from_mut(pidfd) as u64;
    call!(arch::SYS_CLONE3, &raw const args, size_of::<CloneArgs>())
}

/// clone(2) as fork(2) with a pidfd: 0 in the child. Filters made for containers allow it, unlike clone3(2).
pub fn plain_fork(pidfd: &mut i32) -> Result<usize> {
    const SIGCHLD: u64 = 17;
    call!(arch::SYS_CLONE, clone::PIDFD | SIGCHLD, 0, core::ptr::from_mut(pidfd))
}

/// wait4(2) of a child: its status word.
pub fn wait(pid: i32) -> Result<i32> {
    let mut status = 0_i32;
    loop {
        match call!(arch::SYS_WAIT4, pid, &raw mut status, 0, 0) {
            Err(fail) if fail.is(errno::EINTR) => {}
            result => return result.map(|_| status),
        }
    }
}

/// kill(2).
pub fn kill(pid: i32, signal: u32) -> Result<()> {
    call!(arch::SYS_KILL, pid, signal).map(drop)
}

/// getpid(2).
pub fn getpid() -> u32 {
    call!(arch::SYS_GETPID).unwrap_or(0) as u32
}

/// pipe2(O_CLOEXEC): the end to read, and the one to write.
pub fn pipe() -> Result<(i32, i32)> {
    let mut ends = [-1_i32; 2];
    call!(arch::SYS_PIPE2, ends.as_mut_ptr(), O_CLOEXEC)?;
    let [read, write] = ends;
    Ok((read, write))
}

/// memfd_create(2), close-on-exec.
pub fn memfd(name: Z<'_>) -> Result<i32> {
    const MFD_CLOEXEC: u32 = 1;
    call!(arch::SYS_MEMFD_CREATE, name.as_ptr(), MFD_CLOEXEC).map(|fd| fd as i32)
}

/// lseek(fd, 0, SEEK_SET).
pub fn rewind(fd: i32) -> Result<()> {
    call!(arch::SYS_LSEEK, fd, 0, 0).map(drop)
}

/// Milliseconds of CLOCK_MONOTONIC.
pub fn milliseconds() -> Result<u64> {
    const CLOCK_MONOTONIC: u32 = 1;
    let mut time = [0_u64; 2];
    call!(arch::SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr())?;
    let [seconds, nanoseconds] = time;
    Ok(seconds * 1000 + nanoseconds / 1_000_000)
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

/// ppoll(2) for two descriptors to be readable or at their end, a negative one left out, for at most `timeout`
/// milliseconds: which of them are.
pub fn poll(fds: [i32; 2], timeout: Option<u64>) -> Result<[bool; 2]> {
    const POLLIN: i16 = 1;
    let mut set = fds.map(|fd| PollFd { fd, events: POLLIN, revents: 0 });
    let milliseconds = timeout.unwrap_or(0);
    let mut time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    let time = if timeout.is_some() { time.as_mut_ptr() } else { core::ptr::null_mut() };
    match call!(arch::SYS_PPOLL, set.as_mut_ptr(), 2, time, 0, 8) {
        Err(fail) if !fail.is(errno::EINTR) => Err(fail),
        _ => Ok(set.map(|fd| fd.revents != 0)),
    }
}

/// Maps `length` bytes of a descriptor, shared and writable.
pub fn map_shared(fd: i32, length: usize) -> Result<*mut u8> {
    const PROT_READ_WRITE: u32 = 3;
    const MAP_SHARED: u32 = 1;
    call!(arch::SYS_MMAP, 0, length, PROT_READ_WRITE, MAP_SHARED, fd, 0).map(|at| at as *mut u8)
}

/// The decimal number in `argv[index]` of the kernel's initial stack.
///
/// # Safety
/// `stack` must be the initial stack pointer: argc, then argc pointers to NUL-terminated strings.
pub unsafe fn decimal_argument(stack: *const usize, index: usize) -> Option<i32> {
    // SAFETY: by the caller's promise argc stands first and argv follows it.
    let text = unsafe {
        if index >= *stack {
            return None;
        }
        *stack.add(1 + index) as *const u8
    };
    let mut number: i32 = 0;
    for at in 0..10 {
        // SAFETY: the string is NUL-terminated and the loop stops at the NUL.
        let digit = unsafe { *text.add(at) };
        if digit == 0 {
            return Some(number);
        }
        number = number.checked_mul(10)?.checked_add(i32::from(digit.wrapping_sub(b'0')))?;
    }
    None
}

mod block;
mod file;
mod message;
mod mount;

pub use block::{Block, NOTE_MOST, NOTE_ROOM, STAMP, STAMPS, word};
pub use file::*;
pub use message::{receive, send_descriptor};
pub use mount::*;

/// Nanoseconds of CLOCK_MONOTONIC; 0 if it cannot be read.
pub fn monotonic() -> u64 {
    const CLOCK_MONOTONIC: u32 = 1;
    let mut time = [0_u64; 2];
    match call!(arch::SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr()) {
        Ok(_) => time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1]),
        Err(_) => 0,
    }
}
