//! Who may change a container: a flock(2) on its directory's own descriptor.
//!
//! There is no lock file to leave behind, and a full or read-only file system does not stand in the way. The
//! lock belongs to the open file description, so two threads of one process exclude each other too. The
//! descriptor is close-on-exec, so neither hooks nor containers hold the lock; and it is released by name, not
//! only by closing, so that a clone which has not executed anything yet does not hold it either.

use std::io;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::{Dir, not_found};
use crate::sys::flock::{Op, flock};
use crate::{Error, ErrorKind, Result};

/// How long a verb waits for another one.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

impl Dir {
    /// Takes the lock within a few seconds. Errors: Busy; NotFound when the directory was deleted meanwhile.
    pub(crate) fn lock(&mut self) -> Result<()> {
        self.lock_within(PATIENCE)
    }

    /// Takes the lock, waiting at most `patience`.
    pub(crate) fn lock_within(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        while !self.try_op(Op::TryExclusive)? {
            if Instant::now() >= deadline {
                let message = format!("container {} is busy: another operation holds it", self.id());
                return Err(Error::new(ErrorKind::Busy, message));
            }
            sleep(pause);
            pause = (pause * 2).min(PAUSE);
        }
        self.locked = true;
        // The one before us may have deleted the directory, and someone else made a new one of the same name.
        if self.is_current()? {
            return Ok(());
        }
        self.unlock();
        Err(not_found())
    }

    /// Gives the lock up; dropping the handle does too.
    pub(crate) fn unlock(&mut self) {
        if std::mem::take(&mut self.locked) {
            // Unlocking an open descriptor has no error to report.
            let _ = flock(self.as_fd(), Op::Unlock);
        }
    }

    /// Closes a directory that was removed, which nobody can find and lock any more.
    pub(crate) fn let_go(mut self) {
        self.locked = false;
    }

    /// Whether someone else holds the lock. Asked with a shared one, so that two who ask do not see each other.
    pub(crate) fn is_held(&self) -> Result<bool> {
        let free = self.try_op(Op::TryShared)?;
        if free {
            let _ = flock(self.as_fd(), Op::Unlock);
        }
        Ok(!free)
    }

    fn try_op(&self, op: Op) -> Result<bool> {
        match flock(self.as_fd(), op) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(Error::io("lock the container", format!("flock({:?}, {op:?})", self.path()), error)),
        }
    }

    /// Whether `<root>/<id>` still is the directory of this handle.
    pub(crate) fn is_current(&mut self) -> Result<bool> {
        let fail = |e| Error::io("lock the container", format!("fstatat({:?})", self.path()), e);
        match fstatat(self.root().as_fd(), self.id(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(there) => {
                self.links = Some(there.st_nlink);
                Ok((there.st_dev, there.st_ino) == self.identity)
            }
            Err(nix::errno::Errno::ENOENT) => Ok(false),
            Err(errno) => Err(fail(errno)),
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        self.unlock();
    }
}
