//! x86_64: `syscall`, numbers of asm/unistd_64.h.
#![allow(missing_docs)]

use core::arch::asm;

/// Six-argument system call; the result is the kernel's, errors as -errno.
///
/// # Safety
/// As the call itself: pointers must be valid for what the kernel does with them.
#[inline(always)]
pub unsafe fn syscall(nr: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize {
    let result: isize;
    // SAFETY: the `syscall` instruction clobbers rcx, r11 and rax only; memory is assumed touched.
    unsafe {
        asm!("syscall", inlateout("rax") nr as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
             in("r10") d, in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
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
    // SAFETY: r8 and r9 survive the system call; the child has its own stack, aligned by the caller, and
    // leaves this block only by calling `entry`.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r9",
            "call r8",
            "ud2",
            "2:",
            inlateout("rax") SYS_CLONE3 as isize => result,
            in("rdi") args, in("rsi") size, in("r8") entry, in("r9") argument,
            lateout("rcx") _, lateout("r11") _,
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
            "xor ebp, ebp",
            "mov rdi, rsp",
            "and rsp, -16",
            "call {main}",
            "ud2",
            main = sym $main,
        );
    };
}

pub const O_DIRECTORY: i32 = 0o200_000;
pub const O_NOFOLLOW: i32 = 0o400_000;

pub const SYS_READ: usize = 0;
pub const SYS_WRITE: usize = 1;
pub const SYS_CLOSE: usize = 3;
pub const SYS_FSTAT: usize = 5;
pub const SYS_MMAP: usize = 9;
pub const SYS_RT_SIGACTION: usize = 13;
pub const SYS_RT_SIGPROCMASK: usize = 14;
pub const SYS_IOCTL: usize = 16;
pub const SYS_SENDMSG: usize = 46;
pub const SYS_RECVMSG: usize = 47;
pub const SYS_SOCKET: usize = 41;
pub const SYS_EXECVE: usize = 59;
pub const SYS_FCNTL: usize = 72;
pub const SYS_FACCESSAT: usize = 269;
pub const SYS_GETCWD: usize = 79;
pub const SYS_CHDIR: usize = 80;
pub const SYS_FCHDIR: usize = 81;
pub const SYS_FCHMOD: usize = 91;
pub const SYS_FCHOWN: usize = 93;
pub const SYS_UMASK: usize = 95;
pub const SYS_SETSID: usize = 112;
pub const SYS_SETGROUPS: usize = 116;
pub const SYS_SETRESUID: usize = 117;
pub const SYS_SETRESGID: usize = 119;
pub const SYS_CAPGET: usize = 125;
pub const SYS_CAPSET: usize = 126;
pub const SYS_FSTATFS: usize = 138;
pub const SYS_PRCTL: usize = 157;
pub const SYS_PIVOT_ROOT: usize = 155;
pub const SYS_CHROOT: usize = 161;
pub const SYS_MOUNT: usize = 165;
pub const SYS_UMOUNT2: usize = 166;
pub const SYS_SETHOSTNAME: usize = 170;
pub const SYS_SETDOMAINNAME: usize = 171;
pub const SYS_KEYCTL: usize = 250;
pub const SYS_EXIT_GROUP: usize = 231;
pub const SYS_MKDIRAT: usize = 258;
pub const SYS_MKNODAT: usize = 259;
pub const SYS_FCHOWNAT: usize = 260;
pub const SYS_NEWFSTATAT: usize = 262;
pub const SYS_SYMLINKAT: usize = 266;
pub const SYS_READLINKAT: usize = 267;
pub const SYS_UNSHARE: usize = 272;
pub const SYS_DUP3: usize = 292;
pub const SYS_PRLIMIT64: usize = 302;
pub const SYS_SETNS: usize = 308;
pub const SYS_SECCOMP: usize = 317;
pub const SYS_EXECVEAT: usize = 322;
pub const SYS_STATX: usize = 332;
pub const SYS_OPENAT: usize = 257;
pub const SYS_CLONE3: usize = 435;
pub const SYS_FCHMODAT: usize = 268;
pub const SYS_UNLINKAT: usize = 263;
pub const SYS_GETDENTS64: usize = 217;
pub const SYS_SENDFILE: usize = 40;
pub const SYS_FSETXATTR: usize = 190;
pub const SYS_SCHED_SETATTR: usize = 314;
pub const SYS_SCHED_SETAFFINITY: usize = 203;
pub const SYS_IOPRIO_SET: usize = 251;
pub const SYS_PERSONALITY: usize = 135;
pub const SYS_SET_MEMPOLICY: usize = 238;
pub const SYS_LSEEK: usize = 8;
pub const SYS_GETPID: usize = 39;
pub const SYS_CLONE: usize = 56;
pub const SYS_WAIT4: usize = 61;
pub const SYS_KILL: usize = 62;
pub const SYS_CLOCK_GETTIME: usize = 228;
pub const SYS_PPOLL: usize = 271;
pub const SYS_PIPE2: usize = 293;
pub const SYS_MEMFD_CREATE: usize = 319;
