//! The container's directory in one hierarchy: made, or opened again.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};

use super::{Place, file};
use crate::{Error, Result};

/// How often making starts over when others remove what it stands on.
const ATTEMPTS: usize = 16;

/// An open directory of the container.
#[derive(Debug)]
pub(super) struct Dir {
    pub place: Place,
    /// The directory above, from which this one can be removed.
    pub parent: OwnedFd,
    /// The directory itself, readable.
    pub fd: OwnedFd,
    /// It was there before.
    pub existed: bool,
    /// Write-only `tasks` or `cgroup.procs`, for the child to enter through.
    pub entry: Option<File>,
}

/// A failed call on something of a place.
pub(super) fn failed(place: &Place, what: &str, call: &str, name: &str, errno: Errno) -> Error {
    let name = if name.is_empty() { place.absolute() } else { format!("{}/{name}", place.absolute()) };
    Error::system(format!("cannot {what} cgroup"), format!("{call}({name:?})"), errno as i32)
}

/// Opens the mount point, of which the caller knows that it is one.
fn known_mount_point(place: &Place) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(place.mount.as_str(), flags, Mode::empty()).map_err(|errno| unusable(place, "open", errno))
}

fn unusable(place: &Place, call: &str, errno: Errno) -> Error {
    Error::system("cannot use control groups", format!("{call}({:?})", place.mount), errno as i32)
}

/// Opens the mount point, and makes sure that it is one: what a record names may be something else by now.
pub(super) fn mount_point(place: &Place) -> Result<OwnedFd> {
    let fail = |call: &str, errno: Errno| unusable(place, call, errno);
    let root = known_mount_point(place)?;
    let magic = if place.v2 { CGROUP2_SUPER_MAGIC } else { CGROUP_SUPER_MAGIC };
    match fstatfs(&root) {
        Ok(fs) if fs.filesystem_type() == magic => Ok(root),
        Ok(_) => Err(fail("fstatfs", Errno::ENODEV).with_hint("another file system is mounted there")),
        Err(errno) => Err(fail("fstatfs", errno)),
    }
}

impl Dir {
    /// Opens what is there; `None` if the directory is gone.
    pub(super) fn open(place: &Place) -> Result<Option<Dir>> {
        let Some(parent) = Self::parent(place)? else { return Ok(None) };
        let fail = |errno| failed(place, "open", "openat2", "", errno);
        let Some(fd) = file::child(&parent, place.split().1).map_err(fail)? else { return Ok(None) };
        Ok(Some(Dir { place: place.clone(), parent, fd, existed: true, entry: None }))
    }

    /// Opens the directory above; `None` if it is gone.
    pub(super) fn parent(place: &Place) -> Result<Option<OwnedFd>> {
        let root = mount_point(place)?;
        match place.split().0 {
            "" => Ok(Some(root)),
            above => match file::beneath(&root, above, OFlag::O_PATH) {
                Ok(fd) => Ok(Some(fd)),
                Err(errno) if file::is_gone(errno) => Ok(None),
                Err(errno) => Err(failed(place, "open", "openat2", "", errno)),
            },
        }
    }

    /// Makes the directory, and those above it where they are missing. What was made is added to `made`, as paths
    /// beneath the mount point, also on failure.
    pub(super) fn make(place: &Place, made: &mut Vec<String>) -> Result<Dir> {
        for _ in 1..ATTEMPTS {
            match Self::make_once(place, made) {
                // A neighbour that ends removes the parent we found, or a namesake the directory itself.
                Err(error) if error.errno().map(Errno::from_raw).is_some_and(file::is_gone) => {}
                result => return result,
            }
        }
        Self::make_once(place, made)
    }

    fn make_once(place: &Place, made: &mut Vec<String>) -> Result<Dir> {
        // The host was looked at just before.
        let root = known_mount_point(place)?;
        let (above, name) = place.split();
        let parent = match above {
            "" => root,
            _ => match file::beneath(&root, above, OFlag::O_PATH) {
                Ok(fd) => fd,
                Err(Errno::ENOENT) => parents(place, root, above, made)?,
                Err(errno) => return Err(failed(place, "open the parent of", "openat2", "", errno)),
            },
        };
        let existed = make_one(place, &parent, name)?;
        if !existed {
            made.push(place.path.clone());
        }
        let fd = file::beneath(&parent, name, OFlag::O_RDONLY)
            .map_err(|errno| failed(place, "open", "openat2", "", errno))?;
        Ok(Dir { place: place.clone(), parent, fd, existed, entry: None })
    }

    /// Makes sure that a process of the caller's may enter. For version 2 the kernel asks for the right to write
    /// `cgroup.procs` of the directory above, which both the caller's cgroup and this one are in, too.
    pub(super) fn check_entry(&mut self) -> Result<()> {
        if !self.place.v2 {
            return self.open_entry();
        }
        for (dir, name) in [(&self.fd, "cgroup.procs"), (&self.parent, "cgroup.procs")] {
            faccessat(dir, name, AccessFlags::W_OK, AtFlags::AT_EACCESS)
                .map_err(|errno| failed(&self.place, "enter", "faccessat", name, errno))?;
        }
        Ok(())
    }

    /// Opens the file through which a process enters.
    pub(super) fn open_entry(&mut self) -> Result<()> {
        // A single-threaded process that writes "0" to `tasks` moves without waiting for an RCU grace period
        // (6 to 20 ms), which `cgroup.procs` costs. Version 2 has no `tasks`.
        let name = if self.place.v2 { "cgroup.procs" } else { "tasks" };
        let opened = match file::open(&self.fd, name, OFlag::O_WRONLY) {
            Err(Errno::ENOENT) => file::open(&self.fd, "cgroup.procs", OFlag::O_WRONLY),
            other => other,
        };
        self.entry = Some(opened.map_err(|errno| failed(&self.place, "open", "openat", name, errno))?);
        Ok(())
    }
}

/// mkdirat; true if it was there already.
fn make_one(place: &Place, parent: impl AsFd, name: &str) -> Result<bool> {
    match mkdirat(parent, name, Mode::from_bits_truncate(0o755)) {
        Ok(()) => Ok(false),
        Err(Errno::EEXIST) => Ok(true),
        Err(errno) => {
            // In runc's words, which callers match.
            let what = "unable to apply cgroup configuration: cannot create cgroup";
            let error = Error::system(what, format!("mkdirat({:?})", place.absolute()), errno as i32);
            Err(match errno {
                Errno::EAGAIN => error.with_hint("cgroup.max.descendants or cgroup.max.depth of a parent is reached"),
                Errno::EROFS => error.with_hint("the cgroup file system is mounted read-only"),
                Errno::EACCES | Errno::EPERM => error.with_hint("the parent cgroup is not delegated to this user"),
                _ => error,
            })
        }
    }
}

/// Makes the missing directories of `above`, from the mount point down.
fn parents(place: &Place, root: OwnedFd, above: &str, made: &mut Vec<String>) -> Result<OwnedFd> {
    let mut dir = root;
    let mut path = String::new();
    for part in above.split('/') {
        path = if path.is_empty() { part.to_owned() } else { format!("{path}/{part}") };
        if !make_one(place, &dir, part)? {
            made.push(path.clone());
        }
        dir = file::beneath(&dir, part, OFlag::O_PATH)
            .map_err(|errno| failed(place, "open the parent of", "openat2", "", errno))?;
    }
    Ok(dir)
}

/// Removes directories made by [`Dir::make`], last first; what is in use by now stays.
pub(super) fn unmake(place: &Place, made: &[String]) {
    let Ok(root) = mount_point(place) else { return };
    for path in made.iter().rev() {
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        // A failure is no news: another container may live below it now.
        let _ = match above {
            "" => unlinkat(&root, name, UnlinkatFlags::RemoveDir),
            _ => file::beneath(&root, above, OFlag::O_PATH)
                .and_then(|parent| unlinkat(&parent, name, UnlinkatFlags::RemoveDir)),
        };
    }
}

/// Every directory from the mount point down to the parent of the place.
pub(super) fn ancestors(place: &Place) -> Result<Vec<OwnedFd>> {
    let mut chain = vec![mount_point(place)?];
    let (above, _) = place.split();
    for part in above.split('/').filter(|part| !part.is_empty()) {
        let last = chain.last().map(AsFd::as_fd);
        let Some(last) = last else { break };
        let next = file::beneath(last, part, OFlag::O_PATH)
            .map_err(|errno| failed(place, "open a parent of", "openat2", "", errno))?;
        chain.push(next);
    }
    Ok(chain)
}
