//! `Exec`: another program in a container that is there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::spec::Process;
use crate::{AskSize, Console, ExitStatus, Result, Signal, Stdio, Timeline};

/// A request to run another program in a container.
#[derive(Clone, Default)]
pub struct Exec<'a> {
    /// The program; `None`: that of the bundle's `config.json` as it is now. What it leaves empty (capabilities,
    /// labels, limits, scheduling) is the container's.
    pub process: Option<&'a Process>,
    /// Standard streams.
    pub stdio: Stdio<'a>,
    /// Terminal.
    pub console: Console<'a>,
    /// Size of the terminal where the process names none: rows, columns.
    pub console_size: Option<AskSize<'a>>,
    /// Descriptors the program gets as 3, 4, …, in this order.
    pub preserve_fds: Vec<BorrowedFd<'a>>,
    /// Written with the host pid once the program runs.
    pub pid_file: Option<&'a Path>,
    /// AF_UNIX stream socket that is sent a pidfd of the program.
    pub pidfd_socket: Option<&'a Path>,
    /// Cgroups to run in, below the container's: a version 1 controller (empty: every hierarchy) and a path. Empty:
    /// the container's own, or the one its first process is in.
    pub cgroups: Vec<(&'a str, &'a str)>,
    /// Takes the times of the launch.
    pub timeline: Option<&'a Timeline>,
    /// Go on although the container is paused; the call then blocks until it is resumed.
    pub ignore_paused: bool,
}

/// A program that was started in a container. `Send + Sync`. Dropping it leaves the program alone.
pub struct ExecProcess {
    pid: i32,
    pidfd: Arc<OwnedFd>,
    console: Mutex<Option<OwnedFd>>,
}

impl ExecProcess {
    pub(crate) fn new(pid: i32, pidfd: Arc<OwnedFd>, console: Option<OwnedFd>) -> Self {
        Self { pid, pidfd, console: Mutex::new(console) }
    }

    /// Its host pid.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Becomes readable when it ends (pidfd_open(2)).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends it a signal.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        crate::verb::exec::kill(self, signal)
    }

    /// Waits for its end; it is a child of the calling process. Once.
    pub fn wait(&self) -> Result<ExitStatus> {
        crate::verb::exec::wait(self)
    }

    /// The terminal's master side, once, with [`Console::Keep`].
    pub fn take_console(&self) -> Option<OwnedFd> {
        self.console.lock().ok()?.take()
    }
}
