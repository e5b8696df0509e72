//! `run` in the foreground: start, pass signals and the terminal on, wait, clean up.
//!
//! Without a terminal the program has our own standard streams. runc puts pipes in between; as we stay until the
//! program ends, inheriting shows the program and the caller the same, without copying.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::PollTimeout;
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use runtime_core::{Container, Runtime};

use crate::launch::Launch;
use crate::log::{Level, Logger};
use crate::relay::Relay;
use crate::terminal::{self, Terminal};

/// What to do besides waiting.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Do not delete the container.
    pub keep: bool,
    /// Adopt and reap what the container orphans.
    pub subreaper: bool,
}

/// Runs a container and returns its exit status, 128 plus the signal if one killed it.
pub fn foreground(runtime: &Runtime, launch: &Launch, manner: Manner, log: &Logger) -> Result<i32, String> {
    if launch.has_console_socket() {
        return Err("cannot use console socket if runc will not detach or allocate tty".to_owned());
    }
    if manner.subreaper {
        nix::sys::prctl::set_child_subreaper(true).map_err(|errno| failed("prctl(PR_SET_CHILD_SUBREAPER)", errno))?;
    }
    // Blocked before there is a container, so that no signal can kill us and leave it behind; the launch gives the
    // program an empty mask.
    let signals = block_signals().map_err(|errno| failed("signalfd4", errno))?;
    let mut request = launch.attached();
    request.console_size = terminal::size();
    let container = runtime.run(&request).map_err(|error| error.to_string())?;
    let status = attend(&container, &signals);
    if status.is_err() {
        // We cannot watch over it, and nobody else knows of it.
        let _ = container.kill(libc::SIGKILL);
        let _ = container.wait();
    }
    if !manner.keep
        && let Err(error) = container.delete(status.is_err())
    {
        log.log(Level::Warning, &error.to_string());
    }
    status
}

fn failed(call: &str, errno: Errno) -> String {
    format!("{call}: {}", runtime_core::describe(errno as i32))
}

fn block_signals() -> Result<SignalFd, Errno> {
    let all = SigSet::all();
    all.thread_block()?;
    SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Serves the container until its first process ends. The terminal is as it was when this returns, whatever happens.
fn attend(container: &Container, signals: &SignalFd) -> Result<i32, String> {
    let mut relay = Relay::new(container.take_console()).map_err(|errno| failed("terminal", errno))?;
    let terminal = if relay.has_console() { Terminal::raw() } else { None };
    if let Some(terminal) = &terminal {
        // It may have changed since the container was given its size.
        relay.resize(terminal);
    }
    serve(container, signals, &mut relay, terminal.as_ref()).map_err(|errno| failed("poll", errno))?;
    drop(terminal);
    container.wait().map(runtime_core::ExitStatus::code).map_err(|error| error.to_string())
}

fn serve(c: &Container, signals: &SignalFd, relay: &mut Relay, terminal: Option<&Terminal>) -> Result<(), Errno> {
    let Some(end) = c.pidfd() else { return drain(signals, relay) };
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

/// Reaps every dead child but the container's first process, whose status is still to be read.
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
