//! The container's processes: list them all, kill them all, remove what they leave.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::NixPath;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, UnlinkatFlags, getpid, unlinkat};

use super::dir::{self, Dir};
use super::freeze::Backoff;
use super::walk::walk;
use super::{Cgroup, Place, Placement, file};
use crate::{Error, ErrorKind, Result};

/// How often killing starts over when processes fork faster than they are found, and how long a freeze may take
/// before killing goes on without it.
const ROUNDS: usize = 64;
const FREEZE: Duration = Duration::from_millis(500);
/// Most pids an error lists.
const LISTED: usize = 20;

/// Adds the processes of a directory and all below it. What vanishes meanwhile is left out.
pub(super) fn collect(dir: BorrowedFd<'_>, pids: &mut BTreeSet<i32>) -> Result<(), Errno> {
    let visit = |dir: BorrowedFd<'_>| match file::read(dir, "cgroup.procs") {
        Ok(text) => {
            pids.extend(file::parse_pids(&text));
            Ok(())
        }
        // A threaded cgroup: its processes are listed by the domain above it.
        Err(Errno::EOPNOTSUPP) => Ok(()),
        Err(errno) if file::is_gone(errno) => Ok(()),
        Err(errno) => Err(errno),
    };
    walk(dir, visit, |_, _| Ok(()))
}

impl Cgroup {
    /// Every process of the container, in any of its cgroups and those below, sorted. Zombies that were not
    /// collected yet may be among them on version 1.
    pub fn pids(&self) -> Result<Vec<i32>> {
        let mut pids = BTreeSet::new();
        for dir in self.dirs() {
            collect(dir.fd.as_fd(), &mut pids)
                .map_err(|errno| dir::failed(&dir.place, "list the processes of", "read", "cgroup.procs", errno))?;
        }
        Ok(pids.into_iter().collect())
    }

    /// Sends SIGKILL to every process of the container, frozen or not, forking or not. Does not wait for the end of
    /// them: [`Cgroup::remove`] does. Refuses if the caller itself is among them.
    pub fn kill_all(&self) -> Result<()> {
        if self.pids_but_not_own()?.is_empty() {
            return Ok(());
        }
        let mut at_once = false;
        for dir in self.dirs().filter(|dir| dir.place.v2) {
            match file::write(&dir.fd, "cgroup.kill", "1") {
                Ok(()) => at_once = true,
                // Linux before 5.14, or a threaded cgroup: one by one below.
                Err(errno) if file::is_gone(errno) || errno == Errno::EOPNOTSUPP => {}
                Err(errno) => return Err(dir::failed(&dir.place, "kill", "write", "cgroup.kill", errno)),
            }
        }
        let result = self.kill_each(at_once);
        self.thaw_all();
        result
    }

    /// Kills pid by pid. Frozen processes cannot fork, so one round is enough if freezing works; if not, rounds
    /// go on until one finds nobody new.
    fn kill_each(&self, at_once: bool) -> Result<()> {
        let mut killed = BTreeSet::new();
        if self.pids_but_not_own()?.is_empty() {
            return Ok(());
        }
        // The processes cgroup.kill has hit are already dying and need no freeze.
        let atomic = at_once || self.freeze(FREEZE).is_ok();
        for _ in 0..ROUNDS {
            let pids = self.pids_but_not_own()?;
            let new: Vec<i32> = pids.into_iter().filter(|pid| !killed.contains(pid)).collect();
            if new.is_empty() {
                break;
            }
            for pid in new {
                match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => killed.insert(pid),
                    Err(errno) => {
                        let call = format!("kill({pid}, SIGKILL)");
                        return Err(Error::system("cannot kill a process of the container", call, errno as i32));
                    }
                };
            }
            if !atomic {
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    /// Waits until nobody is left, but no longer than `patience`.
    pub(crate) fn wait_empty(&self, patience: Duration) -> Result<()> {
        let mut backoff = Backoff::until(patience);
        while !self.pids()?.is_empty() && backoff.wait() {}
        Ok(())
    }

    fn pids_but_not_own(&self) -> Result<Vec<i32>> {
        let pids = self.pids()?;
        if pids.contains(&getpid().as_raw()) {
            return Err(Error::new(ErrorKind::Busy, "the runtime itself is in the container's cgroup"));
        }
        Ok(pids)
    }

    /// Removes the container's directories and all below them, and waits for dying processes up to `deadline`.
    /// Nothing there is fine. The directories above stay.
    pub fn remove(&self, deadline: Duration) -> Result<()> {
        let mut backoff = Backoff::until(deadline);
        let mut left: Vec<&Dir> = self.dirs().collect();
        loop {
            let mut refusal = None;
            for dir in std::mem::take(&mut left) {
                match remove_dir(dir.parent.as_fd(), dir.place.split().1) {
                    Ok(()) => {}
                    Err(Errno::EBUSY) => left.push(dir),
                    Err(errno) => {
                        refusal.get_or_insert_with(|| dir::failed(&dir.place, "remove", "unlinkat", "", errno));
                    }
                }
            }
            if let Some(error) = refusal {
                return Err(error);
            }
            if left.is_empty() {
                return Ok(());
            }
            if !backoff.wait() {
                return Err(self.survivors(left[0]));
            }
        }
    }

    /// Removes the container's directories if nobody is in them and nothing below them, without opening them first: the
    /// usual end, for four system calls. False: something is left, and nothing is known of it.
    pub fn remove_if_idle(placement: &Placement) -> Result<bool> {
        super::check_sound(placement)?;
        let idle = |place: &Place| {
            Dir::parent(place).is_ok_and(|parent| match parent {
                Some(parent) => match unlinkat(&parent, place.split().1, UnlinkatFlags::RemoveDir) {
                    Err(errno) => file::is_gone(errno),
                    Ok(()) => true,
                },
                None => true,
            })
        };
        // Each of them, also after one that is not.
        Ok(placement.dirs.iter().filter(|place| !idle(place)).count() == 0)
    }

    /// Removes those of the container's directories that are empty, or become so within `patience`. What is in use
    /// stays: it may be somebody else's.
    pub fn remove_empty(&self, patience: Duration) -> Result<()> {
        let mut backoff = Backoff::until(patience);
        let mut left: Vec<&Dir> = self.dirs().collect();
        loop {
            let mut busy = Vec::new();
            for dir in left {
                match unlinkat(&dir.parent, dir.place.split().1, UnlinkatFlags::RemoveDir) {
                    Err(Errno::EBUSY | Errno::ENOTEMPTY) => busy.push(dir),
                    Err(errno) if !file::is_gone(errno) => {
                        return Err(dir::failed(&dir.place, "remove", "unlinkat", "", errno));
                    }
                    _ => {}
                }
            }
            if busy.is_empty() || !backoff.wait() {
                return Ok(());
            }
            left = busy;
        }
    }

    fn survivors(&self, dir: &Dir) -> Error {
        let pids = self.pids().unwrap_or_default();
        let mut list = pids.iter().take(LISTED).map(i32::to_string).collect::<Vec<_>>().join(", ");
        if pids.len() > LISTED {
            list.push_str(", …");
        }
        let message = match pids.len() {
            0 => "cannot remove cgroup: it stays busy".into(),
            count => format!("cannot remove cgroup: {count} process(es) refuse to die: {list}"),
        };
        let call = format!("unlinkat({:?})", dir.place.absolute());
        Error::new(ErrorKind::Busy, message).with_call(call, Errno::EBUSY as i32)
    }
}

/// Removes one directory; on EBUSY, those in it first. Gone already is fine.
fn remove_dir(parent: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    let first = remove_one(parent, name);
    if first != Err(Errno::EBUSY) {
        return first;
    }
    let Some(dir) = file::child(parent, name)? else { return Ok(()) };
    // One that is in use does not keep the others.
    let mut below = Ok(());
    let leave = |parent: BorrowedFd<'_>, name: &CStr| match remove_one(parent, name) {
        Err(Errno::EBUSY) => {
            below = Err(Errno::EBUSY);
            Ok(())
        }
        result => result,
    };
    walk(dir.as_fd(), |_| Ok(()), leave)?;
    below.and_then(|()| remove_one(parent, name))
}

/// Removes an empty directory; EBUSY: it is not.
fn remove_one<P: ?Sized + NixPath>(parent: BorrowedFd<'_>, name: &P) -> Result<(), Errno> {
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Err(errno) if file::is_gone(errno) => Ok(()),
        // Version 1 says EBUSY as well, but file systems may say ENOTEMPTY.
        Err(Errno::ENOTEMPTY) => Err(Errno::EBUSY),
        result => result,
    }
}
