//! The system calls the report needs and std does not have.

use serde_json::{Value, json};

/// The kernel's answer for the current directory; libc's `getcwd` would hide an `(unreachable)` prefix.
pub fn getcwd() -> Value {
    let mut buffer = [0u8; 4096];
    // SAFETY: the kernel writes at most the given length into the buffer, which lives across the call.
    let n = unsafe { libc::syscall(libc::SYS_getcwd, buffer.as_mut_ptr(), buffer.len()) };
    if n < 1 {
        return errno();
    }
    json!(String::from_utf8_lossy(&buffer[..n as usize - 1]))
}

/// `{"errno": N}` of the last failed call.
pub fn errno() -> Value {
    json!({ "errno": std::io::Error::last_os_error().raw_os_error() })
}

/// Sends `signal` to this very process.
pub fn kill_self(signal: i32) -> i32 {
    // SAFETY: no pointers; getpid cannot fail.
    unsafe { libc::kill(libc::getpid(), signal) }
}

/// Ends this thread, and no other; comes back only if it cannot.
pub fn end_thread() -> i32 {
    // SAFETY: the call never returns, and no other thread uses what is on this one's stack.
    unsafe { libc::syscall(libc::SYS_exit, 0) };
    94
}

/// Blocks one signal and returns the set to wait on.
pub fn block(signal: i32) -> Option<libc::sigset_t> {
    // SAFETY: the set is initialised by sigemptyset before any other use and outlives the calls.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        if libc::sigaddset(&raw mut set, signal) != 0 {
            return None;
        }
        (libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) == 0).then_some(set)
    }
}

/// Waits for a signal of the set; its number or -1.
pub fn wait_for(set: &libc::sigset_t) -> i32 {
    // SAFETY: the set is valid; the kernel accepts a null siginfo.
    unsafe { libc::sigwaitinfo(set, std::ptr::null_mut()) }
}

/// Session, group and parent ids.
pub fn process_ids() -> Value {
    // SAFETY: none of these takes a pointer or can fail for the calling process.
    unsafe {
        json!({ "pid": libc::getpid(), "ppid": libc::getppid(), "pgid": libc::getpgid(0), "sid": libc::getsid(0),
                "tpgid": libc::tcgetpgrp(0) })
    }
}

/// Scheduling policy, nice value, io priority.
pub fn scheduling() -> Value {
    // SAFETY: no pointers; 0 names the calling thread; 1 is IOPRIO_WHO_PROCESS.
    unsafe {
        json!({ "policy": libc::sched_getscheduler(0), "nice": libc::getpriority(libc::PRIO_PROCESS, 0),
                "ioprio": libc::syscall(libc::SYS_ioprio_get, 1, 0) })
    }
}

/// Whether the descriptor is a terminal, and its size.
pub fn terminal(fd: i32) -> Value {
    // SAFETY: isatty takes no pointer; TIOCGWINSZ writes one winsize, which lives across the call.
    unsafe {
        if libc::isatty(fd) != 1 {
            return Value::Null;
        }
        let mut size: libc::winsize = std::mem::zeroed();
        libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size);
        json!({ "rows": size.ws_row, "columns": size.ws_col })
    }
}

/// What the kernel says of the session keyring ("keyring;uid;gid;perm;name").
pub fn session_keyring() -> Value {
    let mut buffer = [0u8; 256];
    // SAFETY: KEYCTL_DESCRIBE (6) of KEY_SPEC_SESSION_KEYRING (-3) writes at most the length given into the buffer.
    let n = unsafe { libc::syscall(libc::SYS_keyctl, 6, -3, buffer.as_mut_ptr(), buffer.len()) };
    if n < 1 {
        return errno();
    }
    json!(String::from_utf8_lossy(&buffer[..(n as usize).min(buffer.len()) - 1]))
}

/// One bit of prctl state.
pub fn prctl(option: i32) -> i32 {
    // SAFETY: only read-only options without pointers are passed.
    unsafe { libc::prctl(option, 0, 0, 0, 0) }
}

/// Host and domain name.
pub fn uts() -> Value {
    let text = |field: &[libc::c_char]| {
        let bytes: Vec<u8> = field.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    // SAFETY: uname fills the struct, which lives across the call; its fields are NUL-terminated arrays.
    unsafe {
        let mut names: libc::utsname = std::mem::zeroed();
        libc::uname(&raw mut names);
        json!({ "hostname": text(&names.nodename), "domainname": text(&names.domainname), "machine": text(&names.machine) })
    }
}

/// TIOCSTI on standard input, also with bits above the 32 the kernel looks at; how many of them worked.
pub fn fake_input() -> i32 {
    let byte = b'x';
    let tries: [libc::c_ulong; 2] = [libc::TIOCSTI, libc::TIOCSTI | 0xdead_beef_0000_0000];
    // SAFETY: TIOCSTI reads one byte through the pointer, which lives across the call.
    tries.into_iter().filter(|request| unsafe { libc::ioctl(0, *request, &raw const byte) } == 0).count() as i32
}

/// A system call with arguments with which it must fail; its errno, 0 if it does not.
///
/// # Safety
/// Every pointer among the arguments is null, or leads to memory that is as large as the call may read.
unsafe fn failed(number: libc::c_long, args: [i64; 6]) -> i32 {
    let [a, b, c, d, e, f] = args;
    // SAFETY: by the caller's promise.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if result >= 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
}

/// Which features this kernel has, by the names they have in docs/kernel.md. Nothing is changed: each call is made so
/// that it fails, and the errno tells whether the kernel knew what was asked for.
pub fn kernel() -> Value {
    // SAFETY: all pointers are null.
    let call = |number, args: [i64; 6]| unsafe { failed(number, args) };
    let known = |number, args: [i64; 6]| call(number, args) != libc::ENOSYS;
    let none = [-1, 0, 0, 0, 0, 0];
    // struct mount_attr with MOUNT_ATTR_NOSYMFOLLOW to be set.
    let attr: [u64; 4] = [0x20_0000, 0, 0, 0];
    let empty = 0u8;
    let (empty_at, attr_at) = ((&raw const empty) as i64, (&raw const attr) as i64);
    // SAFETY: an empty path and a struct of the size given, both alive; there is no descriptor -1.
    let nosymfollow = unsafe { failed(libc::SYS_mount_setattr, [-1, empty_at, 0x1000, attr_at, 32, 0]) };
    // struct clone_args: a cgroup's descriptor that is not open.
    let clone: [u64; 11] = [0x2_0000_0000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 << 30];
    // SAFETY: a struct of the size given, alive; without a cgroup no process is made.
    let into_cgroup = unsafe { failed(libc::SYS_clone3, [(&raw const clone) as i64, 88, 0, 0, 0, 0]) };
    let filter = |flags: i64| call(libc::SYS_seccomp, [1, flags, 0, 0, 0, 0]) == libc::EFAULT;
    let own = |name: &str| std::path::Path::new("/proc/self").join(name).exists();
    json!({
        "clone3": known(libc::SYS_clone3, [0; 6]),
        "CLONE_INTO_CGROUP": into_cgroup == libc::EBADF,
        "pidfd_open": known(libc::SYS_pidfd_open, none),
        "open_tree": known(libc::SYS_open_tree, none),
        "fsopen": known(libc::SYS_fsopen, none),
        "openat2": known(libc::SYS_openat2, none),
        "pidfd_getfd": known(libc::SYS_pidfd_getfd, none),
        "faccessat2": known(libc::SYS_faccessat2, none),
        "close_range": known(libc::SYS_close_range, [1, 0, 0, 0, 0, 0]),
        "mount_setattr": known(libc::SYS_mount_setattr, none),
        "MOUNT_ATTR_NOSYMFOLLOW": nosymfollow == libc::EBADF,
        "SECCOMP_FILTER_FLAG_NEW_LISTENER": filter(1 << 3),
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": filter(1 << 3 | 1 << 5),
        "MFD_EXEC": call(libc::SYS_memfd_create, [0, 0x10, 0, 0, 0, 0]) == libc::EFAULT,
        "time namespaces": own("ns/time"),
    })
}

/// From here on, also in children, the call with this number fails with ENOSYS, as on a kernel that has none.
pub fn without(call: u32) -> bool {
    let statement = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The number is the first word of seccomp_data.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter and its statements outlive the call.
    unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0 }
}
