//! Freezing: version 2 `cgroup.freeze`, version 1 `freezer.state`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::dir::{self, Dir};
use super::walk::walk;
use super::{Cgroup, Place, Placement, check_sound, file};
use crate::{Error, ErrorKind, Result};

/// First and longest pause between two looks.
const PAUSES: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(5));

/// Room for each value of such a file.
const WORD: usize = 16;

/// Waits that grow, up to a deadline.
pub(super) struct Backoff {
    pause: Duration,
    end: Instant,
}

impl Backoff {
    pub(super) fn until(deadline: Duration) -> Self {
        Self { pause: PAUSES.0, end: Instant::now() + deadline }
    }

    /// Sleeps; false once the deadline has passed.
    pub(super) fn wait(&mut self) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        std::thread::sleep(self.pause.min(left));
        self.pause = (self.pause * 2).min(PAUSES.1);
        true
    }
}

/// True if nothing in the directory runs: it, or one above it, is frozen or about to be.
pub(super) fn is_frozen(dir: &Dir) -> Result<bool, Errno> {
    if dir.place.v2 {
        return file::read(&dir.fd, "cgroup.events").map(|events| has(&events, "frozen 1"));
    }
    file::read(&dir.fd, "freezer.state").map(|state| state.trim() != "THAWED")
}

fn has(events: &str, line: &str) -> bool {
    events.lines().any(|have| have == line)
}

/// A look at whether containers are frozen, and at nothing else of their cgroups. The mount point stays open: `list` looks
/// at every container.
#[derive(Debug, Default)]
pub(crate) struct Freezer(OnceLock<(String, OwnedFd)>);

impl Freezer {
    /// As [`Cgroup::is_frozen`].
    pub(crate) fn is_frozen(&self, placement: &Placement) -> Result<bool> {
        check_sound(placement)?;
        let Some(place) = placement.of("freezer").and_then(|at| placement.dirs.get(at)) else { return Ok(false) };
        let own;
        let mount = match self.0.get() {
            Some((path, mount)) if *path == place.mount => mount,
            Some(_) => {
                own = dir::mount_point(place)?;
                &own
            }
            None => {
                let opened = (place.mount.clone(), dir::mount_point(place)?);
                &self.0.get_or_init(|| opened).1
            }
        };
        let name = asked_in(place);
        match file::peek_beneath(mount, &[place.path.as_str(), "/", name].concat(), &mut [0; WORD]) {
            Ok(value) => Ok(asks(place, value)),
            Err(errno) if file::is_gone(errno) => Ok(false),
            Err(errno) => Err(dir::failed(place, "read the state of", "read", name, errno)),
        }
    }
}

/// The file that says whether the container is to be frozen: `cgroup.events` follows only once the last task has
/// stopped.
fn asked_in(place: &Place) -> &'static str {
    if place.v2 { "cgroup.freeze" } else { "freezer.state" }
}

fn asks(place: &Place, value: &[u8]) -> bool {
    if place.v2 { value.trim_ascii() == b"1" } else { value.trim_ascii() != b"THAWED" }
}

impl Cgroup {
    /// The directory that can freeze the container.
    fn freezer(&self) -> Option<&Dir> {
        let freezes = |dir: &&Dir| dir.place.controllers.iter().any(|name| name == "freezer");
        self.dirs().find(freezes).or_else(|| self.dirs().find(|dir| dir.place.v2))
    }

    fn freezer_or_error(&self) -> Result<&Dir> {
        self.freezer().ok_or_else(|| Error::new(ErrorKind::Unsupported, "the container has no cgroup that can freeze"))
    }

    /// True if the container is frozen, or being frozen. A cgroup that is gone is not frozen.
    pub fn is_frozen(&self) -> Result<bool> {
        let Some(dir) = self.freezer() else { return Ok(false) };
        match file::read(&dir.fd, asked_in(&dir.place)).map(|value| asks(&dir.place, value.as_bytes())) {
            Err(errno) if file::is_gone(errno) => Ok(false),
            other => other.map_err(|errno| dir::failed(&dir.place, "read the state of", "read", "", errno)),
        }
    }

    /// Stops every process of the container; waits until all have stopped. Past the deadline the container is
    /// thawed again, and that is an error.
    pub fn freeze(&self, deadline: Duration) -> Result<()> {
        let dir = self.freezer_or_error()?;
        let fail = |errno| dir::failed(&dir.place, "freeze", "write", "", errno);
        let (name, on) = switch(dir, true);
        let mut backoff = Backoff::until(deadline);
        loop {
            // Version 1 misses tasks that fork meanwhile, and needs to be told again.
            file::write(&dir.fd, name, on).map_err(fail)?;
            if settled(dir, true).map_err(fail)? {
                return Ok(());
            }
            if !backoff.wait() {
                let _ = file::write(&dir.fd, name, switch(dir, false).1);
                let message = format!("cannot freeze {:?}: not every process stopped in time", dir.place.absolute());
                return Err(Error::new(ErrorKind::Busy, message));
            }
        }
    }

    /// Lets the processes run again; waits until the kernel says so.
    pub fn thaw(&self, deadline: Duration) -> Result<()> {
        let dir = self.freezer_or_error()?;
        let fail = |errno| dir::failed(&dir.place, "thaw", "write", "", errno);
        let (name, off) = switch(dir, false);
        file::write(&dir.fd, name, off).map_err(fail)?;
        let mut backoff = Backoff::until(deadline);
        while !settled(dir, false).map_err(fail)? {
            if !backoff.wait() {
                let message = format!("cannot thaw {:?}: is a cgroup above it frozen?", dir.place.absolute());
                return Err(Error::new(ErrorKind::Busy, message));
            }
        }
        Ok(())
    }

    /// Takes a process back that somebody has moved into another cgroup of the version 1 freezer: in a frozen one it
    /// does not even die.
    pub(crate) fn take_back(&self, pid: i32) {
        if let Some(dir) = self.freezer().filter(|dir| !dir.place.v2) {
            let _ = file::write(&dir.fd, "cgroup.procs", &pid.to_string());
        }
    }

    /// Thaws the container and every version 1 cgroup in it, frozen on its own: SIGKILL reaches nothing else.
    pub(super) fn thaw_all(&self) {
        for dir in self.dirs().filter(|dir| !dir.place.v2 && self.freezer().is_some_and(|f| f.place == dir.place)) {
            thaw_below(dir.fd.as_fd());
        }
        if let Some(dir) = self.freezer().filter(|dir| dir.place.v2) {
            let _ = file::write(&dir.fd, "cgroup.freeze", "0");
        }
    }
}

/// From the top down: a group below a frozen one cannot thaw. Vanished ones do not matter.
fn thaw_below(dir: BorrowedFd<'_>) {
    let visit = |dir: BorrowedFd<'_>| {
        let _ = file::write(dir, "freezer.state", "THAWED");
        Ok(())
    };
    let _ = walk(dir, visit, |_, _| Ok(()));
}

/// File and value that freeze or thaw.
fn switch(dir: &Dir, on: bool) -> (&'static str, &'static str) {
    match (dir.place.v2, on) {
        (true, true) => ("cgroup.freeze", "1"),
        (true, false) => ("cgroup.freeze", "0"),
        (false, true) => ("freezer.state", "FROZEN"),
        (false, false) => ("freezer.state", "THAWED"),
    }
}

/// True once the kernel is done freezing or thawing.
fn settled(dir: &Dir, frozen: bool) -> Result<bool, Errno> {
    if dir.place.v2 {
        let line = if frozen { "frozen 1" } else { "frozen 0" };
        return file::read(&dir.fd, "cgroup.events").map(|events| has(&events, line));
    }
    file::read(&dir.fd, "freezer.state").map(|state| state.trim() == if frozen { "FROZEN" } else { "THAWED" })
}
