//! start: opens the gate, then listens for what execve(2) said.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};
use runtime_stage::io::RECORD;

use super::hook;
use crate::launch::Report;
use crate::plan::Hook;
use crate::state::{Dir, FIFO, Record, STATUS, Status};
use crate::{Container, Error, ErrorKind, Result};

/// How long nothing may be heard before the process is looked at, in milliseconds.
const LOOK: u16 = 1000;
/// What the stage calls itself.
const STAGE: &[u8] = b"runtime:stage\n";

/// Starts a created container.
pub(crate) fn start(container: &Container) -> Result<()> {
    let mut dir = Dir::open_at(container.root.clone(), container.id())?;
    dir.lock()?;
    permit(&dir, container)?;
    let open = |name: &str, flags: OFlag| {
        openat(dir.as_fd(), name, flags | OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
    };
    let fail = |call: &str, error: io::Error| Error::io("cannot start the container", call, error);
    let status = open(STATUS, OFlag::O_RDONLY).map_err(|e| fail("openat(status.fifo)", e.into()))?;
    let gate = match open(FIFO, OFlag::O_WRONLY) {
        Ok(fd) => fd,
        // Nobody reads: the process that waited is gone.
        Err(Errno::ENXIO) => return Err(Error::new(ErrorKind::WrongState, "container process is already dead")),
        Err(errno) => return Err(fail("openat(exec.fifo)", errno.into())),
    };
    File::from(gate).write_all(b"0").map_err(|e| fail("write(exec.fifo)", e))?;
    for name in [FIFO, STATUS] {
        match unlinkat(&dir, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(fail("unlinkat(exec.fifo)", errno.into())),
        }
    }
    dir.unlock();
    listen(container, File::from(status))?;
    hook::poststart(container, Some(&dir))
}

/// Words of runc's; callers match on them.
fn permit(dir: &Dir, container: &Container) -> Result<()> {
    // The create that was under way when the handle was made has ended by now.
    let now = if container.record.init_process_pid == 0 { dir.read()? } else { None };
    let message = match Status::locked(&container.root, now.as_ref().unwrap_or(&container.record))? {
        Status::Created => return Ok(()),
        Status::Stopped => "cannot start a container that has stopped".to_owned(),
        Status::Running => "cannot start an already running container".to_owned(),
        other => format!("cannot start a container in the {other} state"),
    };
    Err(Error::new(ErrorKind::WrongState, message))
}

/// The fifo has one writer, the stage, whose end closes when the program begins. Should somebody have got hold of it who
/// shares a pid namespace with the container, and keep it open, the process itself tells.
fn listen(container: &Container, mut status: File) -> Result<()> {
    loop {
        match poll(&mut [PollFd::new(status.as_fd(), PollFlags::POLLIN)], LOOK) {
            Ok(0) if is_stage(&container.record) => {}
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::system("cannot see how the container started", "poll()", errno as i32)),
        }
    }
    // Without waiting: it was opened so.
    let mut bytes = [0; RECORD];
    let length = status.read(&mut bytes).unwrap_or(0);
    let Some(report) = Report::parse(&bytes[..length]) else { return Ok(()) };
    let spec = crate::spec::parse(&container.record.config).unwrap_or_default();
    if let Some((kind, index)) = report.hook() {
        let hooks = spec.hooks.unwrap_or_default();
        return Err(report.hook_error(kind, &kind.of(&hooks).get(index).map(Hook::new).unwrap_or_default()));
    }
    let program = spec.process.and_then(|process| process.args?.into_iter().next()).unwrap_or_default();
    Err(report.exec_error(&program))
}

/// Whether the first process is the stage still, with a hook perhaps; its name is the first thing that execve changes.
fn is_stage(record: &Record) -> bool {
    let name = std::fs::read(format!("/proc/{}/comm", record.init_process_pid));
    name.is_ok_and(|name| name == STAGE)
}
