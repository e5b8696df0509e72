//! The only place that makes a process: of the container, or a hook of the host.
//!
//! By default the child borrows our memory just long enough to execute the sealed stage (CLONE_VM and
//! CLONE_VFORK: the calling thread waits meanwhile). That costs the same from a host of one megabyte and of
//! one gigabyte, copies none of the host's secrets, and runs no code of the host after it. The fallback, for hosts
//! that refuse to execute an anonymous file, forks and runs the same stage code in the copy.
//!
//! In both children only raw system calls are made: no allocation, no lock, no libc.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use runtime_stage::arch::clone3_call;
use runtime_stage::fail::Fail;
use runtime_stage::sys::{self as raw, CloneArgs, clone};
use runtime_stage::wire::Z;

use crate::sys::shared::Shared;

/// A process that was just made.
pub(crate) struct Spawned {
    /// Its pid as we see it.
    pub(crate) pid: i32,
    /// Its pidfd, which outlives a launch that is committed.
    pub(crate) pidfd: Arc<OwnedFd>,
}

/// What the child starts with.
pub(crate) struct Start<'a> {
    /// CLONE_NEW* bits.
    pub(crate) namespaces: u64,
    /// cgroup2 directory to be born in.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// The block.
    pub(crate) block: &'a Shared,
    /// Descriptors the stage needs.
    pub(crate) keep: &'a [RawFd],
    /// Our end of the socket: while the child holds it, it does not see us die.
    pub(crate) close: RawFd,
}

/// What the vfork child reads and writes in our memory while we wait.
struct Child {
    stage: RawFd,
    keep: *const RawFd,
    keep_count: usize,
    raise_ambient: bool,
    argv: [*const u8; 4],
    envp: [*const u8; 1],
    errno: u32,
}

const SIGCHLD: u64 = 17;
const STACK: usize = 16 << 10;

#[repr(align(16))]
struct Stack(MaybeUninit<[u8; STACK]>);

/// Starts the sealed stage. An error of execveat(2) is an error of this call.
pub(crate) fn sealed(start: &Start<'_>, stage: BorrowedFd<'_>) -> io::Result<Spawned> {
    use std::os::fd::AsFd;
    let number = CString::new(start.block.as_fd().as_raw_fd().to_string())?;
    let length = CString::new(start.block.len().to_string())?;
    let name = c"runtime:stage";
    let mut child = Child {
        stage: stage.as_raw_fd(),
        keep: start.keep.as_ptr(),
        keep_count: start.keep.len(),
        raise_ambient: start.namespaces & clone::NEWUSER != 0,
        argv: [name.as_ptr().cast(), number.as_ptr().cast(), length.as_ptr().cast(), std::ptr::null()],
        envp: [std::ptr::null()],
        errno: 0,
    };
    let mut stack = Box::new(Stack(MaybeUninit::uninit()));
    let mut pidfd: RawFd = -1;
    let mut args = arguments(start, &mut pidfd);
    args.flags |= clone::VM | clone::VFORK;
    args.stack = stack.0.as_mut_ptr() as u64;
    args.stack_size = STACK as u64;
    let entry = execute as unsafe extern "C" fn(*mut u8) -> !;
    let result = with_signals_blocked(|| {
        // SAFETY: the child runs `execute` on `stack` and touches nothing of ours but `child`; because of
        // CLONE_VFORK both outlive it: this thread goes on only after its execveat(2) or exit.
        unsafe { clone3_call((&raw mut args).cast(), size_of::<CloneArgs>(), entry, (&raw mut child).cast()) }
    })?;
    let spawned = spawned(result, pidfd)?;
    // SAFETY: `child` is alive; the volatile read sees what the child wrote through its pointer.
    let errno = unsafe { (&raw const child.errno).read_volatile() };
    if errno != 0 {
        let _ = crate::sys::pidfd::reap(std::os::fd::AsFd::as_fd(&spawned.pidfd));
        return Err(io::Error::from_raw_os_error(errno as i32));
    }
    Ok(spawned)
}

/// Runs the stage in a forked copy of this process.
pub(crate) fn in_process(start: &Start<'_>) -> io::Result<Spawned> {
    let mut pidfd: RawFd = -1;
    let args = arguments(start, &mut pidfd);
    let block = start.block.block();
    let result = with_signals_blocked(|| match raw::fork(args, &mut pidfd) {
        Ok(0) => {
            raw::close(start.close);
            runtime_stage::run::stage(block)
        }
        Ok(pid) => pid as isize,
        Err(fail) => -(fail.errno as isize),
    })?;
    spawned(result, pidfd)
}

/// A process that only waits, and dies with this value, or with the thread that made it.
pub(crate) struct Placeholder(Spawned);

impl Placeholder {
    /// Makes one.
    pub(crate) fn new() -> io::Result<Self> {
        const PR_SET_PDEATHSIG: u32 = 1;
        const SIGKILL: u64 = 9;
        let mut pidfd: RawFd = -1;
        // All signals stay blocked in the child but the one that ends it.
        let result = with_signals_blocked(|| match raw::plain_fork(&mut pidfd) {
            Ok(0) => {
                let _ = raw::close_range(0, u32::MAX);
                if raw::prctl(PR_SET_PDEATHSIG, SIGKILL, 0).is_ok() {
                    while raw::poll([-1, -1], None).is_ok() {}
                }
                raw::exit(1)
            }
            Ok(pid) => pid as isize,
            Err(fail) => -(fail.errno as isize),
        })?;
        spawned(result, pidfd).map(Self)
    }

    /// Its pid.
    pub(crate) fn pid(&self) -> i32 {
        self.0.pid
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        let pidfd = std::os::fd::AsFd::as_fd(&self.0.pidfd);
        let _ = crate::sys::pidfd::send_signal(pidfd, libc::SIGKILL);
        let _ = crate::sys::pidfd::reap(pidfd);
    }
}

fn arguments(start: &Start<'_>, pidfd: &mut RawFd) -> CloneArgs {
    let mut args = CloneArgs {
        flags: start.namespaces | clone::PIDFD | clone::CLEAR_SIGHAND,
        pidfd: std::ptr::from_mut(pidfd) as u64,
        exit_signal: SIGCHLD,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = start.cgroup {
        args.flags |= clone::INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    args
}

/// A program of the host: a hook.
pub(crate) struct Program<'a> {
    /// Its path.
    pub(crate) path: &'a CStr,
    /// argv.
    pub(crate) args: &'a [CString],
    /// All of its environment.
    pub(crate) env: &'a [CString],
    /// Where it runs; "/" if it cannot go there.
    pub(crate) cwd: &'a CStr,
    /// Its 0, 1 and 2, numbered above them.
    pub(crate) streams: [BorrowedFd<'a>; 3],
    /// Written with its line of `/proc/PID/stat` before it begins: also if we die now, it can be found.
    pub(crate) note: Option<BorrowedFd<'a>>,
}

/// What the vfork child of [`program`] reads and writes in our memory while we wait.
struct Hook<'a> {
    program: &'a Program<'a>,
    argv: Vec<*const u8>,
    envp: Vec<*const u8>,
    call: &'static str,
    errno: u32,
}

/// Starts a program: in a session of its own, with default signals, no descriptor of ours but its streams, and nothing
/// in its environment but what is given. An error names the system call.
pub(crate) fn program(program: &Program<'_>) -> Result<Spawned, (&'static str, io::Error)> {
    let pointers = |texts: &[CString]| -> Vec<*const u8> {
        texts.iter().map(|text| text.as_ptr().cast()).chain([std::ptr::null()]).collect()
    };
    let mut hook = Hook { program, argv: pointers(program.args), envp: pointers(program.env), call: "", errno: 0 };
    let mut stack = Box::new(Stack(MaybeUninit::uninit()));
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: clone::PIDFD | clone::CLEAR_SIGHAND | clone::VM | clone::VFORK,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: SIGCHLD,
        stack: stack.0.as_mut_ptr() as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    let entry = become_program as unsafe extern "C" fn(*mut u8) -> !;
    let failed = |error| ("clone3", error);
    let result = with_signals_blocked(|| {
        // SAFETY: as in `sealed`: the child runs on `stack`, touches nothing of ours but `hook`, and both outlive it,
        // because CLONE_VFORK lets this thread go on only after its execve(2) or exit.
        unsafe { clone3_call((&raw mut args).cast(), size_of::<CloneArgs>(), entry, (&raw mut hook).cast()) }
    })
    .map_err(failed)?;
    let spawned = spawned(result, pidfd).map_err(failed)?;
    // SAFETY: `hook` is alive; the volatile reads see what the child wrote through its pointer.
    let (call, errno) = unsafe { ((&raw const hook.call).read_volatile(), (&raw const hook.errno).read_volatile()) };
    if errno != 0 {
        let _ = crate::sys::pidfd::reap(std::os::fd::AsFd::as_fd(&spawned.pidfd));
        return Err((call, io::Error::from_raw_os_error(errno as i32)));
    }
    Ok(spawned)
}

/// The vfork child of [`program`].
///
/// # Safety
/// `argument` points to a `Hook` that outlives the child.
unsafe extern "C" fn become_program(argument: *mut u8) -> ! {
    // SAFETY: by the caller's promise; the parent does not touch it while it waits.
    let hook = unsafe { &mut *argument.cast::<Hook<'_>>() };
    let (call, fail) = match settle(hook.program) {
        Ok(()) => {
            let path = Z::new(hook.program.path.to_bytes_with_nul());
            ("execve", raw::execve(path, &hook.argv, &hook.envp))
        }
        Err(failed) => failed,
    };
    // SAFETY: as above; volatile because the parent reads it after us.
    unsafe {
        (&raw mut hook.call).write_volatile(call);
        (&raw mut hook.errno).write_volatile(fail.errno);
    }
    raw::exit(127)
}

fn settle(program: &Program<'_>) -> Result<(), (&'static str, Fail)> {
    let named = |call: &'static str| move |fail: Fail| (call, fail);
    raw::setsid().map_err(named("setsid"))?;
    if let Some(note) = program.note {
        // Best effort, like the file itself.
        let mut line = [0; 1024];
        if let Ok(stat) = raw::openat(raw::AT_FDCWD, Z::new(b"/proc/self/stat\0"), 0, 0) {
            let length = raw::read(stat, &mut line).unwrap_or(0);
            let _ = raw::write(note.as_raw_fd(), line.get(..length).unwrap_or_default());
            raw::close(stat);
        }
    }
    for (to, from) in program.streams.iter().enumerate() {
        raw::dup3(from.as_raw_fd(), to as i32, 0).map_err(named("dup3"))?;
    }
    raw::close_range(3, u32::MAX).map_err(named("close_range"))?;
    raw::chdir(Z::new(program.cwd.to_bytes_with_nul()))
        .or_else(|_| raw::chdir(Z::new(b"/\0")))
        .map_err(named("chdir"))?;
    for signal in 1..=64 {
        // What the host ignores; two of them cannot be and say so.
        let _ = raw::default_signal(signal);
    }
    raw::unblock_signals().map_err(named("rt_sigprocmask"))
}

/// A signal handler of the host must not run in a child that shares its memory.
fn with_signals_blocked<T>(body: impl FnOnce() -> T) -> io::Result<T> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let result = body();
    if !blocks_all(&before) {
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    }
    Ok(result)
}

/// As after `pthread_sigmask` with all: but for those that cannot be blocked, and those the C library keeps for itself.
fn blocks_all(mask: &SigSet) -> bool {
    const NEVER: [i32; 5] = [libc::SIGKILL, libc::SIGSTOP, 32, 33, 34];
    // SAFETY: reads the set only.
    let blocked = |signal| unsafe { libc::sigismember(mask.as_ref(), signal) } == 1;
    (1..=libc::SIGRTMAX()).all(|signal| NEVER.contains(&signal) || blocked(signal))
}

fn spawned(result: isize, pidfd: RawFd) -> io::Result<Spawned> {
    let pid = i32::try_from(result).unwrap_or(-libc::EINVAL);
    if pid < 0 {
        return Err(io::Error::from_raw_os_error(-pid));
    }
    // SAFETY: clone3(2) succeeded with CLONE_PIDFD, so it stored a new descriptor here, which only we know.
    Ok(Spawned { pid, pidfd: Arc::new(unsafe { OwnedFd::from_raw_fd(pidfd) }) })
}

/// A process in a new user namespace that does nothing but keep it, until this value is dropped or we are gone.
pub(crate) struct Keeper {
    process: Spawned,
    /// Its end tells the process that we are gone.
    _alive: OwnedFd,
    /// What the process runs on and reads; freed after it was reaped.
    _memory: Box<KeeperMemory>,
}

struct KeeperMemory {
    stack: Stack,
    ends: [RawFd; 2],
}

impl Keeper {
    /// Its pid as we see it.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        use std::os::fd::AsFd;
        let _ = crate::sys::pidfd::send_signal(self.process.pidfd.as_fd(), libc::SIGKILL);
        let _ = crate::sys::pidfd::reap(self.process.pidfd.as_fd());
    }
}

/// Makes a user namespace and a process that keeps it. The process borrows our memory, so it costs nothing to copy.
pub(crate) fn keeper() -> io::Result<Keeper> {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let ends = [read.as_raw_fd(), write.as_raw_fd()];
    let mut memory = Box::new(KeeperMemory { stack: Stack(MaybeUninit::uninit()), ends });
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: clone::NEWUSER | clone::VM | clone::PIDFD | clone::CLEAR_SIGHAND,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: SIGCHLD,
        stack: memory.stack.0.as_mut_ptr() as u64,
        stack_size: STACK as u64,
        ..CloneArgs::default()
    };
    let entry = keep as unsafe extern "C" fn(*mut u8) -> !;
    let result = with_signals_blocked(|| {
        // SAFETY: the child runs `keep` on its own stack and reads only `ends`; both are in `memory`, which is freed
        // after the child was reaped. It has descriptors of its own (no CLONE_FILES).
        unsafe {
            let argument = (&raw mut memory.ends).cast();
            clone3_call((&raw mut args).cast(), size_of::<CloneArgs>(), entry, argument)
        }
    })?;
    let process = spawned(result, pidfd)?;
    Ok(Keeper { process, _alive: write, _memory: memory })
}

/// The keeper's child: waits for the end of the pipe.
///
/// # Safety
/// `argument` points to two descriptors, read end first, that outlive the child.
unsafe extern "C" fn keep(argument: *mut u8) -> ! {
    // SAFETY: by the caller's promise.
    let [read, write] = unsafe { *argument.cast::<[RawFd; 2]>() };
    raw::close(write);
    while raw::read(read, &mut [0]).is_err_and(|fail| fail.is(raw::errno::EINTR)) {}
    raw::exit(0)
}

/// The vfork child: keeps what the stage needs, and becomes it.
///
/// # Safety
/// `argument` points to a `Child` that outlives the child.
unsafe extern "C" fn execute(argument: *mut u8) -> ! {
    // SAFETY: by the caller's promise; the parent does not touch it while it waits.
    let child = unsafe { &mut *argument.cast::<Child>() };
    // SAFETY: pointer and count are those of a slice of the waiting parent.
    let keep = unsafe { std::slice::from_raw_parts(child.keep, child.keep_count) };
    const F_SETFD: i32 = 2;
    let mut fail = None;
    for fd in keep {
        fail = fail.or(raw::fcntl(*fd, F_SETFD, 0).err());
    }
    if child.raise_ambient {
        fail = fail.or(raise_ambient().err());
    }
    let fail = fail.unwrap_or_else(|| raw::execveat(child.stage, &child.argv, &child.envp));
    // SAFETY: as above; volatile because the parent reads it after us.
    unsafe { (&raw mut child.errno).write_volatile(fail.errno) };
    raw::exit(127)
}

/// In a new user namespace whose ids are not mapped yet, execve(2) would take every capability away; ambient
/// ones survive.
fn raise_ambient() -> runtime_stage::fail::Result<()> {
    const PR_CAP_AMBIENT: u32 = 47;
    const PR_CAP_AMBIENT_RAISE: u64 = 2;
    let (effective, permitted, _) = raw::capget()?;
    raw::capset(effective, permitted, permitted)?;
    for capability in (0..64).filter(|bit| permitted >> bit & 1 == 1) {
        raw::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability)?;
    }
    Ok(())
}
