//! Filters in the real kernel: child processes load one and make calls.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(clippy::unwrap_used, missing_docs)]

use runtime_core::seccomp::{Arch, Filter, compile};
use runtime_core::spec::Seccomp;

const DOCKER: &str = include_str!("../data/seccomp-docker.json");
const X32: i64 = 0x4000_0000;

/// One call of the child.
#[derive(Clone, Copy)]
enum Do {
    /// By syscall(2).
    Native(i64, [u64; 3]),
    /// By int 0x80, the 32-bit entry.
    Compat(u32, u32),
}

/// How a child ended, and what its calls returned (negative: an errno).
struct Outcome {
    signal: i32,
    results: Vec<i64>,
}

fn filter(json: &str) -> Filter {
    let profile: Seccomp = serde_json::from_str(json).unwrap();
    compile(&profile, Arch::X86_64).unwrap()
}

/// Loads the filter in a child, makes the calls there, and reports through a shared page.
fn run(filter: &Filter, calls: &[Do]) -> Outcome {
    const PAGE: usize = 4096;
    let bytes = filter.bytes();
    let program = libc::sock_fprog { len: filter.program.len() as u16, filter: bytes.as_ptr().cast_mut().cast() };
    // SAFETY: an anonymous mapping of its own.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            PAGE,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(page, libc::MAP_FAILED);
    let results: *mut i64 = page.cast();
    assert!(calls.len() < PAGE / 8);
    // SAFETY: between fork and _exit the child makes system calls and writes to the shared page, no more.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: `program` and the page outlive the child.
        unsafe {
            let flags = u64::from(filter.flags);
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::syscall(libc::SYS_seccomp, 1_u64, flags, &raw const program) < 0
            {
                libc::_exit(99);
            }
            for (at, call) in calls.iter().enumerate() {
                let result = make(*call);
                results.add(at).write_volatile(result);
            }
            libc::_exit(0);
        }
    }
    let mut status = 0;
    // SAFETY: our own child; then the page is read and given back.
    unsafe {
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        let results = (0..calls.len()).map(|at| results.add(at).read_volatile()).collect();
        libc::munmap(page, PAGE);
        assert!(libc::WIFSIGNALED(status) || libc::WEXITSTATUS(status) == 0, "the kernel refused the filter");
        Outcome { signal: if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 }, results }
    }
}

/// # Safety
/// The call must not touch memory: arguments are numbers.
unsafe fn make(call: Do) -> i64 {
    match call {
        Do::Native(number, [a, b, c]) => {
            // SAFETY: as promised by the caller.
            let result = unsafe { libc::syscall(number, a, b, c, 0_u64, 0_u64, 0_u64) };
            // SAFETY: errno of this thread.
            if result < 0 { -i64::from(unsafe { *libc::__errno_location() }) } else { result }
        }
        Do::Compat(number, argument) => {
            let mut result = u64::from(number);
            // SAFETY: as promised by the caller; rbx, which the compiler keeps to itself, is put back;
            // the stack is not used.
            unsafe {
                std::arch::asm!(
                    "xchg {arg}, rbx", "int 0x80", "xchg {arg}, rbx",
                    arg = inout(reg) u64::from(argument) => _,
                    inout("rax") result,
                    out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                );
            }
            i64::from(result as i32)
        }
    }
}

fn native(number: i64, first: u64) -> Do {
    Do::Native(number, [first, 1, 0])
}

#[test]
fn docker_profile_in_the_kernel() {
    let eperm = -i64::from(libc::EPERM);
    let enosys = -i64::from(libc::ENOSYS);
    let expected = [
        (native(libc::SYS_getppid, 0), None),
        (native(libc::SYS_personality, 0xffff_ffff), None),
        (native(libc::SYS_personality, 4), Some(eperm)),
        (native(libc::SYS_clone3, 0), Some(enosys)),
        (native(libc::SYS_clone, 0x1000_0011), Some(eperm)),
        (native(libc::SYS_socket, 40), Some(eperm)),
        (native(libc::SYS_socket, 1), None),
        (native(libc::SYS_mount, 0), Some(eperm)),
        (native(900, 0), Some(enosys)),
        (Do::Compat(20, 0), None),
        (Do::Compat(136, 4), Some(eperm)),
        (Do::Compat(136, u32::MAX), None),
        (Do::Compat(359, 40), Some(eperm)),
        (native(X32 + libc::SYS_mount, 0), Some(eperm)),
        (native(X32 + 900, 0), Some(enosys)),
    ];
    let calls: Vec<Do> = expected.iter().map(|(call, _)| *call).collect();
    let outcome = run(&filter(DOCKER), &calls);
    assert_eq!(outcome.signal, 0);
    for (at, (found, (_, expected))) in outcome.results.iter().zip(expected).enumerate() {
        match expected {
            Some(expected) => assert_eq!(*found, expected, "call {at}"),
            None => assert!(*found >= 0, "call {at}: {found}"),
        }
    }
}

#[test]
fn foreign_architectures_are_killed() {
    let native_only = filter(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#);
    assert_eq!(run(&native_only, &[Do::Compat(20, 0)]).signal, libc::SIGSYS);
    assert_eq!(run(&native_only, &[native(X32 + libc::SYS_getppid, 0)]).signal, libc::SIGSYS);
    assert_eq!(run(&native_only, &[native(libc::SYS_getppid, 0)]).signal, 0);
}

#[test]
fn actions_in_the_kernel() {
    for (action, signal, result) in [
        ("KILL", libc::SIGSYS, 0),
        ("KILL_PROCESS", libc::SIGSYS, 0),
        ("TRAP", libc::SIGSYS, 0),
        ("ERRNO", 0, -1),
        ("TRACE", 0, -i64::from(libc::ENOSYS)),
    ] {
        let json = format!(
            r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["getppid"],"action":"SCMP_ACT_{action}"}}]}}"#
        );
        let outcome = run(&filter(&json), &[native(libc::SYS_getppid, 0)]);
        assert_eq!((outcome.signal, outcome.results[0]), (signal, result), "{action}");
    }
}
