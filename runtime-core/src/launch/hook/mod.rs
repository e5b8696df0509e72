//! Hooks in the runtime's namespaces: prestart, createRuntime, poststart and poststop; and the words for the failure
//! of any hook.
//!
//! A hook's standard input is an anonymous file with the state, so nobody waits for one who does not read. Its output
//! goes to a pipe, of which only the end is kept. It leads a session of its own, has no descriptor of ours, and its
//! timeout covers all it does and all it starts.

mod kill;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;

pub(crate) use kill::kill_tree;

use super::spawn::{self, Program, Spawned};
use crate::plan::{Hook, HookKind};
use crate::state::Dir;
use crate::sys::{fd, pidfd, shared};
use crate::{Error, ErrorKind, ExitStatus, Level, Log, Result, describe};

/// Most bytes of a hook's output that are kept.
const TAIL: usize = 4096;
/// Reads after a hook's end, of output that others it left behind may go on writing.
const LAST_READS: usize = 64;

/// Where hooks run, and who must know of them.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    /// Working directory, if it is still there.
    pub(crate) bundle: &'a str,
    /// Holds the note of a running hook, for a `delete --force`.
    pub(crate) dir: Option<&'a Dir>,
    /// Takes a line per hook.
    pub(crate) log: Option<&'a Log>,
    /// Limit for hooks that have none.
    pub(crate) limit: Option<Duration>,
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// By itself.
    Exit(ExitStatus),
    /// It was killed for taking longer than this.
    Timeout(Duration),
    /// It never began: a system call and its errno.
    NotRun(&'static str, i32),
}

/// Which hook it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name<'a> {
    pub(crate) kind: HookKind,
    pub(crate) index: usize,
    pub(crate) path: &'a str,
}

/// What there is to say of a hook that has ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) how: How,
    pub(crate) took: Duration,
    pub(crate) output: Vec<u8>,
}

/// Runs one hook and waits for it.
pub(crate) fn run(kind: HookKind, index: usize, hook: &Hook, state: &str, scene: Scene<'_>) -> Result<()> {
    let name = Name { kind, index, path: &hook.path };
    let start = Instant::now();
    let limit = hook.timeout.map(|seconds| Duration::from_secs(seconds.into())).or(scene.limit);
    let mut output = Tail::default();
    let how = attempt(kind, hook, state, scene, start, limit, &mut output)
        .unwrap_or_else(|(call, error)| How::NotRun(call, error.raw_os_error().unwrap_or(libc::EIO)));
    if let Some(dir) = scene.dir {
        dir.forget_hook();
    }
    let end = End { how, took: start.elapsed(), output: output.0.into() };
    if end.how == How::Exit(ExitStatus::Code(0)) {
        if let Some(log) = scene.log {
            let message =
                format!("{} hook #{index}: {}: done after {} ms", kind.name(), hook.path, end.took.as_millis());
            log(Level::Debug, &message);
        }
        return Ok(());
    }
    Err(failure(name, &end))
}

/// Starts it, serves it, and makes an end of it.
fn attempt(
    kind: HookKind,
    hook: &Hook,
    state: &str,
    scene: Scene<'_>,
    start: Instant,
    limit: Option<Duration>,
    output: &mut Tail,
) -> Result<How, (&'static str, io::Error)> {
    let strings = |texts: &[String]| -> io::Result<Vec<CString>> {
        texts.iter().map(|text| CString::new(text.as_str()).map_err(io::Error::from)).collect()
    };
    let invalid = |error: io::Error| ("execve", error);
    let (args, env) = (strings(&hook.args).map_err(invalid)?, strings(&hook.env).map_err(invalid)?);
    let path = CString::new(hook.path.as_str()).map_err(|error| invalid(error.into()))?;
    let cwd = CString::new(scene.bundle).map_err(|error| invalid(error.into()))?;
    let stdin = state_file(state).map_err(|error| ("memfd_create", error))?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| ("pipe2", errno.into()))?;
    let (stdin, writer) = (high(stdin)?, high(writer)?);
    let streams = [stdin.as_fd(), writer.as_fd(), writer.as_fd()];
    let note = scene.dir.and_then(|dir| dir.hook_note(kind == HookKind::Poststart));
    let note = note.as_ref().map(AsFd::as_fd);
    let process = spawn::program(&Program { path: &path, args: &args, env: &env, cwd: &cwd, streams, note })?;
    drop((stdin, writer));
    let ended = watch(process.pidfd.as_fd(), &reader, limit.map(|limit| start + limit), output);
    if !matches!(ended, Ok(true)) {
        kill_tree(process.pid);
    }
    let status = reap(&process);
    output.drain(&reader);
    match (ended, limit) {
        (Ok(false), Some(limit)) => Ok(How::Timeout(limit)),
        (Err(error), _) => Err(("poll", error)),
        _ => status.map(How::Exit).map_err(|error| ("waitid", error)),
    }
}

fn reap(process: &Spawned) -> io::Result<ExitStatus> {
    pidfd::reap(process.pidfd.as_fd())
}

/// Numbered above where the hook's own streams will be.
fn high(fd: OwnedFd) -> Result<OwnedFd, (&'static str, io::Error)> {
    if fd.as_raw_fd() > 2 {
        return Ok(fd);
    }
    fd::duplicate_above(fd.as_fd(), 3).map_err(|error| ("fcntl", error))
}

fn state_file(state: &str) -> io::Result<OwnedFd> {
    let mut file = File::from(shared::memfd(c"state", false)?);
    file.write_all(state.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// Collects output until the process ends: true, or until the deadline: false.
fn watch(pidfd: BorrowedFd<'_>, output: &OwnedFd, deadline: Option<Instant>, tail: &mut Tail) -> io::Result<bool> {
    let mut open = true;
    loop {
        let timeout = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => PollTimeout::NONE,
            Some(Duration::ZERO) => return Ok(false),
            // One millisecond more than what is left, for poll(2) does not take parts of one.
            Some(left) => PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX),
        };
        let mut set = vec![PollFd::new(pidfd, PollFlags::POLLIN)];
        if open {
            set.push(PollFd::new(output.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut set, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready = |at: usize| set.get(at).and_then(PollFd::any).unwrap_or(false);
        if ready(0) {
            return Ok(true);
        }
        if ready(1) {
            open = tail.read(output);
        }
    }
}

/// The last bytes of the output.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

impl Tail {
    /// Takes what can be read; false at the end of it.
    fn read(&mut self, output: &OwnedFd) -> bool {
        let mut chunk = [0; TAIL];
        match nix::unistd::read(output, &mut chunk) {
            Ok(0) => false,
            Ok(length) => {
                self.0.extend(&chunk[..length]);
                let surplus = self.0.len().saturating_sub(TAIL);
                self.0.drain(..surplus);
                true
            }
            Err(errno) => errno == Errno::EINTR,
        }
    }

    /// Takes what is left without waiting for more.
    fn drain(&mut self, output: &OwnedFd) {
        for _ in 0..LAST_READS {
            let mut set = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
            match poll(&mut set, PollTimeout::ZERO) {
                Ok(1..) if self.read(output) => {}
                _ => return,
            }
        }
    }
}

/// The failure of a hook, whoever ran it. Callers match the first words, which are runc's.
pub(crate) fn failure(name: Name<'_>, end: &End) -> Error {
    let kind = name.kind.name();
    let milliseconds = end.took.as_millis();
    let how = match &end.how {
        How::Exit(ExitStatus::Code(code)) => format!("exit status {code} after {milliseconds} ms"),
        How::Exit(ExitStatus::Signal(signal)) => format!("killed by {} after {milliseconds} ms", signal_name(*signal)),
        How::Timeout(limit) => format!("hook ran past specified timeout of {:.1}s", limit.as_secs_f64()),
        How::NotRun(call, errno) => format!("{call}: {}", describe(*errno)),
    };
    let output = String::from_utf8_lossy(&end.output);
    let output = match output.trim() {
        "" => String::new(),
        text => format!(", output: {text}"),
    };
    let message = format!("error running {kind} hook #{}: {}: {how}{output}", name.index, name.path);
    let error = Error::new(ErrorKind::Hook, message).at(format!("/hooks/{kind}/{}", name.index));
    match &end.how {
        How::NotRun("execve", errno) => with_hint(error.with_errno(*errno), name, *errno),
        How::NotRun(_, errno) => error.with_errno(*errno),
        _ => error,
    }
}

fn with_hint(error: Error, name: Name<'_>, errno: i32) -> Error {
    let inside = name.kind == HookKind::StartContainer;
    let hint = match errno {
        libc::ENOENT if inside => "the path is looked up inside the container; an interpreter may be missing",
        libc::ENOENT if File::open(name.path).is_ok() => {
            "the file exists, so its interpreter (#! line or ELF loader) does not"
        }
        libc::ENOENT => "the path is looked up on the host",
        libc::EACCES => "the file must be executable, also for the user it runs as, and not on a noexec mount",
        libc::ENOEXEC => "not a program for this machine, and no #! line",
        _ => return error,
    };
    error.with_hint(hint)
}

fn signal_name(signal: i32) -> String {
    if signal == libc::SIGSYS {
        return "SIGSYS (bad system call)".to_owned();
    }
    nix::sys::signal::Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |name| name.to_string())
}
