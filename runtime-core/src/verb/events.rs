//! ps and events: who is in the container, and what happens to it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::cgroup::{Cgroup, Placement};
use crate::state::Init;
use crate::{Container, Error, ErrorKind, Result};

/// Host pids of every process of the container, in any of its cgroups and those below, sorted; a container that has
/// ended has none.
pub(crate) fn processes(container: &Container) -> Result<Vec<i32>> {
    let record = container.root.read(container.id())?;
    match record.own_cgroup(container.root.boot_id()?) {
        Some(placement) => Cgroup::open(placement)?.pids(),
        None => Err(Error::new(ErrorKind::Unsupported, "the container has no cgroup, so its processes are not known")),
    }
}

/// What [`Watch::next`] saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Memory ran out; a process was killed for it, or waits.
    OutOfMemory,
    /// The first process has ended: the last event.
    Ended,
    /// Nothing happened for as long as was waited.
    Nothing,
}

/// A watch over a container: the end of its first process, and memory that runs out.
#[derive(Debug)]
pub struct Watch {
    init: OwnedFd,
    memory: Option<Memory>,
    ended: bool,
}

/// How a cgroup tells that memory ran out.
#[derive(Debug)]
enum Memory {
    /// Version 2: a file that can be polled, the count it had, and the container's cgroup again for the count.
    Counted(File, u64),
    /// Version 1: an event descriptor, and the directory, whose removal is told the same way.
    Told(EventFd, PathBuf),
}

/// Begins to watch.
pub(crate) fn watch(container: &Container) -> Result<Watch> {
    let record = container.root.read(container.id())?;
    let boot_id = container.root.boot_id()?;
    let Init::Alive(init) = record.init(&container.root)? else {
        let message = format!("container with id {} is not running", record.id);
        return Err(Error::new(ErrorKind::WrongState, message));
    };
    let memory = record.own_cgroup(boot_id).and_then(Memory::of).transpose()?;
    Ok(Watch { init, memory, ended: false })
}

impl Memory {
    /// `None`: the host does not tell, for it has no memory controller.
    fn of(placement: &Placement) -> Option<Result<Self>> {
        let (path, v2) = Cgroup::oom_file(placement)?;
        match if v2 { Self::counted(&path) } else { Self::told(&path) } {
            Err(error) if error.errno() == Some(libc::ENOENT) => None,
            result => Some(result),
        }
    }

    fn counted(path: &str) -> Result<Self> {
        let file = open(path, false)?;
        let count = count(&file);
        Ok(Self::Counted(file, count))
    }

    fn told(path: &str) -> Result<Self> {
        let fail = |call: &str, errno: Errno| Error::system("cannot watch the memory", call, errno as i32);
        let directory = PathBuf::from(path.rsplit_once('/').map_or("", |(directory, _)| directory));
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
            .map_err(|errno| fail("eventfd2()", errno))?;
        let watched = open(path, false)?;
        let control = open(&format!("{}/cgroup.event_control", directory.display()), true)?;
        use std::os::fd::AsRawFd;
        let line = format!("{} {}", event.as_fd().as_raw_fd(), watched.as_raw_fd());
        nix::unistd::write(&control, line.as_bytes()).map_err(|errno| fail("write(cgroup.event_control)", errno))?;
        Ok(Self::Told(event, directory))
    }

    fn poll_fd(&self) -> PollFd<'_> {
        match self {
            // A change of a cgroup file is urgent data to poll(2).
            Self::Counted(file, _) => PollFd::new(file.as_fd(), PollFlags::POLLPRI),
            Self::Told(event, _) => PollFd::new(event.as_fd(), PollFlags::POLLIN),
        }
    }

    /// True if memory ran out since the last look.
    fn look(&mut self) -> bool {
        match self {
            Self::Counted(file, before) => {
                let now = count(file);
                std::mem::replace(before, now) < now
            }
            Self::Told(event, directory) => event.read().is_ok() && directory.is_dir(),
        }
    }
}

fn open(path: &str, write: bool) -> Result<File> {
    File::options()
        .read(!write)
        .write(write)
        .open(path)
        .map_err(|error| Error::io("cannot watch the memory", format!("open({path:?})"), error))
}

/// `oom_kill` of `memory.events`.
fn count(file: &File) -> u64 {
    use std::os::unix::fs::FileExt;
    let mut text = [0; 1024];
    let length = file.read_at(&mut text, 0).unwrap_or(0);
    let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

impl Watch {
    /// Waits for the next event, at most for `patience`. After [`Event::Ended`] there is no other.
    pub fn next(&mut self, patience: Duration) -> Result<Event> {
        let deadline = Instant::now() + patience;
        loop {
            if self.ended {
                return Ok(Event::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let mut fds = vec![PollFd::new(self.init.as_fd(), PollFlags::POLLIN)];
            fds.extend(self.memory.as_ref().map(Memory::poll_fd));
            match poll(&mut fds, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::system("cannot watch the container", "poll()", errno as i32)),
            }
            self.ended = fds.first().is_some_and(|fd| fd.any() == Some(true));
            drop(fds);
            if self.memory.as_mut().is_some_and(Memory::look) {
                return Ok(Event::OutOfMemory);
            }
            if !self.ended && Instant::now() >= deadline {
                return Ok(Event::Nothing);
            }
        }
    }
}
