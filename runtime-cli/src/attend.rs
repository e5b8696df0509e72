//! Staying with a program in the foreground: signals and the terminal are passed on until it ends.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use runtime_core::{Container, ExecProcess, ExitStatus};

use crate::relay::Relay;
use crate::terminal::Terminal;

/// A program to stay with: the container's first, or another.
pub trait Attended {
    /// Readable once it has ended.
    fn end(&self) -> Option<BorrowedFd<'_>>;
    /// Its pid.
    fn pid(&self) -> Option<i32>;
    /// Sends it a signal.
    fn kill(&self, signal: i32) -> runtime_core::Result<()>;
    /// Reaps it.
    fn wait(&self) -> runtime_core::Result<ExitStatus>;
    /// The master side of its terminal.
    fn take_console(&self) -> Option<OwnedFd>;
}

impl Attended for Container {
    fn end(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd()
    }
    fn pid(&self) -> Option<i32> {
        self.pid()
    }
    fn kill(&self, signal: i32) -> runtime_core::Result<()> {
        self.kill(signal)
    }
    fn wait(&self) -> runtime_core::Result<ExitStatus> {
        self.wait()
    }
    fn take_console(&self) -> Option<OwnedFd> {
        self.take_console()
    }
}

impl Attended for ExecProcess {
    fn end(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pidfd())
    }
    fn pid(&self) -> Option<i32> {
        Some(self.pid())
    }
    fn kill(&self, signal: i32) -> runtime_core::Result<()> {
        self.kill(signal)
    }
    fn wait(&self) -> runtime_core::Result<ExitStatus> {
        self.wait()
    }
    fn take_console(&self) -> Option<OwnedFd> {
        self.take_console()
    }
}

/// A failed call, in words.
pub fn failed(call: &str, errno: Errno) -> String {
    format!("{call}: {}", runtime_core::describe(errno as i32))
}

/// Holds signals back until they are read.
pub fn block_signals() -> Result<SignalFd, Errno> {
    let all = SigSet::all();
    all.thread_block()?;
    SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Serves the program until it ends, and returns its exit status, 128 plus the signal if one killed it. The terminal is
/// as it was when this returns, whatever happens.
pub fn attend(program: &impl Attended, signals: &SignalFd) -> Result<i32, String> {
    let status = watch(program, signals);
    if status.is_err() {
        // We cannot watch over it, and nobody else knows of it.
        let _ = program.kill(libc::SIGKILL);
        let _ = program.wait();
    }
    status
}

fn watch(program: &impl Attended, signals: &SignalFd) -> Result<i32, String> {
    let mut relay = Relay::new(program.take_console()).map_err(|errno| failed("terminal", errno))?;
    let terminal = if relay.has_console() { Terminal::raw() } else { None };
    if let Some(terminal) = &terminal {
        // It may have changed since the program was given its size.
        relay.resize(terminal);
    }
    serve(program, signals, &mut relay, terminal.as_ref()).map_err(|errno| failed("poll", errno))?;
    drop(terminal);
    program.wait().map(runtime_core::ExitStatus::code).map_err(|error| error.to_string())
}

fn serve(c: &impl Attended, signals: &SignalFd, relay: &mut Relay, terminal: Option<&Terminal>) -> Result<(), Errno> {
    let Some(end) = c.end() else { return drain(signals, relay) };
    loop {
        let woken = relay.step(signals.as_fd(), Some(end), PollTimeout::NONE)?;
        if woken.ended {
            return drain(signals, relay);
        }
        while let Some(signal) = woken.signal.then(|| next(signals)).flatten() {
            match signal {
                libc::SIGCHLD => reap(c.pid()),
                libc::SIGWINCH => terminal.into_iter().for_each(|terminal| relay.resize(terminal)),
                // The kernel sends these for what our own descriptors do.
                libc::SIGURG | libc::SIGPIPE => {}
                // It may have just ended, which the next round finds out.
                _ => drop(c.kill(signal)),
            }
        }
    }
}

/// Carries the rest of the output. A signal that asks us to go ends it: there is no container any more to tell.
fn drain(signals: &SignalFd, relay: &mut Relay) -> Result<(), Errno> {
    relay.finish();
    while let Some(timeout) = relay.patience() {
        let woken = relay.step(signals.as_fd(), None, timeout)?;
        let silent = !woken.signal && !woken.moved;
        let go = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];
        if silent || (woken.signal && std::iter::from_fn(|| next(signals)).any(|signal| go.contains(&signal))) {
            break;
        }
    }
    Ok(())
}

fn next(signals: &SignalFd) -> Option<i32> {
    signals.read_signal().ok().flatten().and_then(|info| i32::try_from(info.ssi_signo).ok())
}

/// Reaps every dead child but the program, whose status is still to be read.
fn reap(init: Option<i32>) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    while let Ok(status) = waitid(Id::All, flags) {
        // Without knowing which one it is, none can be touched. Init keeps its place in front of those that die
        // later; that it is dead ends the loop of `serve` next.
        let (Some(child), Some(init)) = (status.pid(), init) else { return };
        if child.as_raw() == init || waitpid(child, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}
