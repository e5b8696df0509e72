//! aarch64: `svc 0`, numbers of asm-generic/unistd.h.
#![allow(missing_docs)]

use core::arch::asm;

/// Six-argument system call; the result is the kernel's, errors as -errno.
///
/// # Safety
/// As the call itself: pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn syscall(nr: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let result: isize;
    // SAFETY: `svc 0` changes x0 only; memory is assumed touched.
    unsafe {
        asm!("svc 0", in("x8") nr, inlateout("x0") a as isize => result, in("x1") b, in("x2") c, in("x3") d,
             in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// clone3(2) onto a new stack: the child calls `entry(argument)` there and never returns.
///
/// # Safety
/// `args` must be a valid clone_args of `size` bytes whose stack is big enough for `entry`, which must not
/// return; with CLONE_VM, `entry` may write only memory set aside for it.
#[inline(never)]
pub unsafe fn clone3_call(
    args: *mut u8,
    size: usize,
    entry: unsafe extern "C" fn(*mut u8) -> !,
    argument: *mut u8,
) -> isize {
    let result: isize;
    // SAFETY: x2 and x3 survive the system call; the child has its own stack, aligned by the caller, and
    // leaves this block only by branching to `entry`.
    unsafe {
        asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, x3",
            "blr x2",
            "brk 1",
            "2:",
            in("x8") SYS_CLONE3, inlateout("x0") args as isize => result, in("x1") size, in("x2") entry, in("x3") argument,
        );
    }
    result
}

/// Defines `_start`, which calls `$main` with the initial stack pointer.
#[macro_export]
macro_rules! start {
    ($main:ident) => {
        core::arch::global_asm!(
            ".globl _start",
            "_start:",
            "mov x29, xzr",
            "mov x30, xzr",
            "mov x0, sp",
            "bl {main}",
            "brk 1",
            main = sym $main,
        );
    };
}

pub const O_DIRECTORY: i32 = 0o40_000;
pub const O_NOFOLLOW: i32 = 0o100_000;

pub const SYS_READ: usize = 63;
pub const SYS_WRITE: usize = 64;
pub const SYS_CLOSE: usize = 57;
pub const SYS_FSTAT: usize = 80;
pub const SYS_MMAP: usize = 222;
pub const SYS_RT_SIGACTION: usize = 134;
pub const SYS_RT_SIGPROCMASK: usize = 135;
pub const SYS_IOCTL: usize = 29;
pub const SYS_SENDMSG: usize = 211;
pub const SYS_RECVMSG: usize = 212;
pub const SYS_SOCKET: usize = 198;
pub const SYS_EXECVE: usize = 221;
pub const SYS_FCNTL: usize = 25;
pub const SYS_FACCESSAT: usize = 48;
pub const SYS_GETCWD: usize = 17;
pub const SYS_CHDIR: usize = 49;
pub const SYS_FCHDIR: usize = 50;
pub const SYS_FCHMOD: usize = 52;
pub const SYS_FCHOWN: usize = 55;
pub const SYS_UMASK: usize = 166;
pub const SYS_SETSID: usize = 157;
pub const SYS_SETGROUPS: usize = 159;
pub const SYS_SETRESUID: usize = 147;
pub const SYS_SETRESGID: usize = 149;
pub const SYS_CAPGET: usize = 90;
pub const SYS_CAPSET: usize = 91;
pub const SYS_FSTATFS: usize = 44;
pub const SYS_PRCTL: usize = 167;
pub const SYS_PIVOT_ROOT: usize = 41;
pub const SYS_CHROOT: usize = 51;
pub const SYS_MOUNT: usize = 40;
pub const SYS_UMOUNT2: usize = 39;
pub const SYS_SETHOSTNAME: usize = 161;
pub const SYS_SETDOMAINNAME: usize = 162;
pub const SYS_KEYCTL: usize = 219;
pub const SYS_EXIT_GROUP: usize = 94;
pub const SYS_MKDIRAT: usize = 34;
pub const SYS_MKNODAT: usize = 33;
pub const SYS_FCHOWNAT: usize = 54;
pub const SYS_NEWFSTATAT: usize = 79;
pub const SYS_SYMLINKAT: usize = 36;
pub const SYS_READLINKAT: usize = 78;
pub const SYS_UNSHARE: usize = 97;
pub const SYS_DUP3: usize = 24;
pub const SYS_PRLIMIT64: usize = 261;
pub const SYS_SETNS: usize = 268;
pub const SYS_SECCOMP: usize = 277;
pub const SYS_EXECVEAT: usize = 281;
pub const SYS_STATX: usize = 291;
pub const SYS_OPENAT: usize = 56;
pub const SYS_CLONE3: usize = 435;
pub const SYS_FCHMODAT: usize = 53;
pub const SYS_UNLINKAT: usize = 35;
pub const SYS_GETDENTS64: usize = 61;
pub const SYS_SENDFILE: usize = 71;
pub const SYS_FSETXATTR: usize = 7;
pub const SYS_SCHED_SETATTR: usize = 274;
pub const SYS_SCHED_SETAFFINITY: usize = 122;
pub const SYS_IOPRIO_SET: usize = 30;
pub const SYS_PERSONALITY: usize = 92;
pub const SYS_SET_MEMPOLICY: usize = 237;
pub const SYS_LSEEK: usize = 62;
pub const SYS_GETPID: usize = 172;
pub const SYS_CLONE: usize = 220;
pub const SYS_WAIT4: usize = 260;
pub const SYS_KILL: usize = 129;
pub const SYS_CLOCK_GETTIME: usize = 113;
pub const SYS_PPOLL: usize = 73;
pub const SYS_PIPE2: usize = 59;
pub const SYS_MEMFD_CREATE: usize = 279;
