//! Control groups, versions 1, 2 and both at once (hybrid), through their file systems.
//!
//! Computed first, without touching the host: [`place`] (where the container goes), [`writes`] (its limits) and
//! [`devices`] (its device rules). Then [`Cgroup::create`] makes the directories and carries out the rest, before
//! any process is inside, so that no process ever runs without its limits. The container's first process enters
//! through [`Entry`]: version 2 with CLONE_INTO_CGROUP, version 1 by writing `0` to each `tasks` file while it is
//! single-threaded (both avoid an RCU grace period of 6 to 20 ms).
//!
//! Every directory and file is opened beneath a descriptor of the hierarchy's mount point, never through a
//! symbolic link, and only what the [`Placement`] names is ever written to, killed or removed.

mod apply;
mod bpf;
mod change;
mod delegate;
mod device;
mod dir;
mod enable;
mod entry;
mod file;
mod freeze;
mod kill;
mod layout;
mod merge;
mod place;
mod shortage;
pub mod stats;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod walk;
mod write;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

pub use change::difference;
pub use device::{Devices, devices};
pub(crate) use entry::not_added;
pub use entry::{Below, Entry};
pub(crate) use freeze::Freezer;
pub use layout::{Hierarchy, Layout, Mode};
pub use merge::merge;
pub use place::{Place, Placement, place};
pub use stats::Stats;
pub use v2::{cpu_weight, io_weight};
pub use write::{Rule, Write, writes};

use crate::{Error, ErrorKind, Result};
use dir::Dir;

/// The cgroup of one container: a directory in each hierarchy.
#[derive(Debug)]
pub struct Cgroup {
    /// One for each directory of the placement; `None` if it is gone.
    dirs: Vec<Option<Dir>>,
    /// What [`Cgroup::create`] made, by directory of the placement, as paths beneath the mount point.
    made: Vec<Vec<String>>,
}

impl Cgroup {
    /// Makes the directories, writes the limits and puts the device rules in force. What was there must be empty
    /// and not frozen. On failure everything that was made is removed again.
    pub fn create(placement: &Placement, writes: &[Write], devices: &Devices) -> Result<Cgroup> {
        Self::make(placement, writes, devices, false, None)
    }

    /// As [`Cgroup::create`], but leaves out the directories the caller has no right to make or to enter, unless a
    /// limit needs one: what an unprivileged caller can do.
    pub fn create_forgiving(placement: &Placement, writes: &[Write], devices: &Devices) -> Result<Cgroup> {
        Self::make(placement, writes, devices, true, None)
    }

    /// As [`Cgroup::create`], in directories that systemd has made around the process `resident`.
    pub fn create_around(
        placement: &Placement,
        writes: &[Write],
        devices: &Devices,
        resident: Option<i32>,
    ) -> Result<Cgroup> {
        Self::make(placement, writes, devices, false, resident)
    }

    fn make(
        placement: &Placement,
        writes: &[Write],
        devices: &Devices,
        forgiving: bool,
        resident: Option<i32>,
    ) -> Result<Cgroup> {
        check_sound(placement)?;
        let mut cgroup = Cgroup { dirs: Vec::new(), made: vec![Vec::new(); placement.dirs.len()] };
        let made = cgroup.set_up(placement, writes, forgiving).and_then(|()| {
            cgroup.check_fit(resident)?;
            apply::apply(&cgroup.dirs, writes)?;
            cgroup.put_devices_in_force(devices)
        });
        match made {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.undo(placement);
                Err(error)
            }
        }
    }

    /// The directories, ready to be limited.
    fn set_up(&mut self, placement: &Placement, writes: &[Write], forgiving: bool) -> Result<()> {
        for (index, place) in placement.dirs.iter().enumerate() {
            let made = self.set_up_one(placement.mode, index, place, writes).and_then(|mut dir| {
                if forgiving {
                    dir.check_entry()?;
                }
                Ok(dir)
            });
            match made {
                Ok(dir) => self.dirs.push(Some(dir)),
                Err(error) if forgiving && is_lack_of_rights(&error) => {
                    if let Some(write) = writes.iter().find(|write| write.place == index) {
                        return Err(no_rights(write, &error));
                    }
                    dir::unmake(place, &std::mem::take(&mut self.made[index]));
                    self.dirs.push(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn set_up_one(&mut self, mode: Mode, index: usize, place: &Place, writes: &[Write]) -> Result<Dir> {
        let needed = if place.v2 { write::controllers(writes, index) } else { Vec::new() };
        let dir = Dir::make(place, &mut self.made[index])?;
        if place.v2 {
            let new_parent = self.made[index].len() > 1;
            let domain = enable::controllers(&dir, &needed, new_parent, mode == Mode::Hybrid)?;
            if dir.existed || !domain {
                enable::check_type(&dir, &needed)?;
            }
        } else if place.controllers.iter().any(|name| name == "cpuset") {
            let given: Vec<&str> =
                writes.iter().filter(|w| w.place == index).map(|write| write.file.as_str()).collect();
            enable::cpuset(&dir, &given)?;
        }
        Ok(dir)
    }

    /// What is there of the cgroup, before anything is made, has nobody inside and is not frozen.
    pub fn check_unused(placement: &Placement) -> Result<()> {
        check_sound(placement)?;
        Self::open(placement)?.check_fit(None)
    }

    /// Nobody inside, not frozen (config-linux.md, "Cgroups Path").
    fn check_fit(&self, resident: Option<i32>) -> Result<()> {
        let mut pids = BTreeSet::new();
        for dir in self.dirs() {
            let fail = |errno| dir::failed(&dir.place, "inspect", "read", "", errno);
            if dir.existed {
                kill::collect(dir.fd.as_fd(), &mut pids).map_err(fail)?;
            }
            let freezes = dir.place.v2 || dir.place.controllers.iter().any(|name| name == "freezer");
            if freezes && freeze::is_frozen(dir).map_err(fail)? {
                let message = "container's cgroup unexpectedly frozen";
                return Err(Error::new(ErrorKind::WrongState, message).at("/linux/cgroupsPath"));
            }
        }
        if let Some(resident) = resident {
            pids.remove(&resident);
        }
        if pids.is_empty() {
            return Ok(());
        }
        let message = format!("container's cgroup is not empty: {} process(es) found", pids.len());
        Err(Error::new(ErrorKind::Busy, message).at("/linux/cgroupsPath"))
    }

    fn put_devices_in_force(&self, devices: &Devices) -> Result<()> {
        let (place, code) = match devices {
            Devices::None => return Ok(()),
            Devices::Writes(writes) => return apply::apply(&self.dirs, writes),
            Devices::Program { place, code } => (*place, code),
        };
        let fail = |call: &str, errno: Errno| {
            let error = Error::system("cannot enforce device rules", call, errno as i32);
            let error = error.at("/linux/resources/devices");
            if errno == Errno::EPERM {
                error.with_hint("needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN")
            } else {
                error
            }
        };
        let dir = self.dirs.get(place).and_then(Option::as_ref);
        let dir = dir.ok_or_else(|| fail("bpf(BPF_PROG_ATTACH)", Errno::ENOENT))?;
        let program = crate::sys::bpf::load_device(code).map_err(|e| fail("bpf(BPF_PROG_LOAD, CGROUP_DEVICE)", e))?;
        // No query for older programs: all that are attached must allow an access, so an older one only forbids.
        crate::sys::bpf::attach_device(dir.fd.as_fd(), program.as_fd()).map_err(|e| fail("bpf(BPF_PROG_ATTACH)", e))
    }

    /// Opens the cgroup of an existing container. Directories that are gone are left out.
    pub fn open(placement: &Placement) -> Result<Cgroup> {
        check_sound(placement)?;
        let dirs = placement.dirs.iter().map(Dir::open).collect::<Result<_>>()?;
        Ok(Cgroup { dirs, made: vec![Vec::new(); placement.dirs.len()] })
    }

    /// Takes back [`Cgroup::create`]: removes the directories it made, as far as they are empty.
    pub fn undo(self, placement: &Placement) {
        drop(self.dirs);
        for (place, made) in placement.dirs.iter().zip(&self.made).filter(|(_, made)| !made.is_empty()) {
            dir::unmake(place, made);
        }
    }

    /// True if none of the directories is left.
    pub fn is_gone(&self) -> bool {
        self.dirs().next().is_none()
    }

    /// Which directories of the placement are there.
    pub fn present(&self) -> Vec<bool> {
        self.dirs.iter().map(Option::is_some).collect()
    }

    /// The part of `placement`, with which this was made, that is there; `None`: nothing of it.
    pub fn placement(&self, placement: &Placement) -> Option<Placement> {
        let dirs: Vec<Place> = self.dirs().map(|dir| dir.place.clone()).collect();
        (!dirs.is_empty()).then_some(Placement { mode: placement.mode, dirs })
    }

    /// The container's directory in one hierarchy, by index of the placement: the source of a bind mount.
    pub fn dir_fd(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.dirs.get(index)?.as_ref().map(|dir| dir.fd.as_fd())
    }

    fn dirs(&self) -> impl Iterator<Item = &Dir> {
        self.dirs.iter().flatten()
    }
}

/// What callers and engines match when an unprivileged user asks for limits.
pub(crate) const NO_RIGHTS: &str = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";

fn is_lack_of_rights(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS))
}

/// The error for a limit in a cgroup that may not be made.
fn no_rights(write: &Write, cause: &Error) -> Error {
    let controller = write.file.split('.').next().unwrap_or_default();
    let message = format!("{NO_RIGHTS}: cannot set {controller} limit: container could not join or create cgroup");
    Error::system(message, cause.call().unwrap_or_default(), cause.errno().unwrap_or(libc::EACCES))
        .at(&write.pointer)
        .with_hint("leave the limit out, or have the cgroup delegated to this user")
}

fn check_sound(placement: &Placement) -> Result<()> {
    if placement.is_sound() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::BadState, "the recorded cgroup paths are not plain paths beneath a mount point"))
}
