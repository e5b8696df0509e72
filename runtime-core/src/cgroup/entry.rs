//! How a process gets into the container's cgroups.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::dir::{self, Dir};
use super::{Cgroup, Place, file};
use crate::{Error, ErrorKind, Result};

/// How a process enters. The descriptors are close-on-exec.
#[derive(Debug)]
pub struct Entry<'a> {
    /// Directory for CLONE_INTO_CGROUP.
    pub v2: Option<BorrowedFd<'a>>,
    /// Files into which a single-threaded process writes `0`.
    pub v1_tasks: Vec<BorrowedFd<'a>>,
}

/// Ways into cgroups below the container's own, for `exec --cgroup`.
#[derive(Debug)]
pub struct Below {
    v2: Option<OwnedFd>,
    v1_tasks: Vec<File>,
}

impl Below {
    /// How a process enters.
    pub fn entry(&self) -> Entry<'_> {
        Entry { v2: self.v2.as_ref().map(AsFd::as_fd), v1_tasks: self.v1_tasks.iter().map(AsFd::as_fd).collect() }
    }
}

impl Cgroup {
    /// How a process enters. Files are opened on first use.
    pub fn entry(&mut self) -> Result<Entry<'_>> {
        for dir in self.dirs.iter_mut().flatten().filter(|dir| !dir.place.v2 && dir.entry.is_none()) {
            dir.open_entry()?;
        }
        let v2 = self.dirs().find(|dir| dir.place.v2).map(|dir| dir.fd.as_fd());
        let v1_tasks = self.dirs().filter_map(|dir| Some(dir.entry.as_ref()?.as_fd())).collect();
        Ok(Entry { v2, v1_tasks })
    }

    /// Write-only `cgroup.procs` of the version 2 directory, for a process that CLONE_INTO_CGROUP cannot put there.
    pub fn unified_procs(&self) -> Result<Option<File>> {
        let Some(dir) = self.dirs().find(|dir| dir.place.v2) else { return Ok(None) };
        match file::open(&dir.fd, "cgroup.procs", OFlag::O_WRONLY) {
            Ok(file) => Ok(Some(file)),
            Err(errno) => Err(dir::failed(&dir.place, "open", "openat", "cgroup.procs", errno)),
        }
    }

    /// The version 2 cgroup that process `pid` is in by now, where processes may enter that the container's own does
    /// not take any more: an init system inside has moved itself to a leaf and given controllers to what is below.
    pub fn of_process(&self, pid: i32) -> Result<Option<Below>> {
        let Some(dir) = self.dirs().find(|dir| dir.place.v2) else { return Ok(None) };
        let file = format!("/proc/{pid}/cgroup");
        let text = std::fs::read_to_string(&file).map_err(|error| {
            Error::system(
                "cannot find the cgroup",
                format!("read({file:?})"),
                error.raw_os_error().unwrap_or(libc::EIO),
            )
        })?;
        let path = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
        let place = Place { path: path.to_owned(), ..dir.place.clone() };
        Ok(Dir::open(&place)?.map(|dir| Below { v2: Some(dir.fd), v1_tasks: Vec::new() }))
    }

    /// Ways into existing cgroups below the container's: pairs of a version 1 controller (empty: every hierarchy)
    /// and a path beneath the container's cgroup. Hierarchies that no pair names lead to the container's own. The
    /// kernel resolves the path beneath the container's descriptor, so no `..` leads out (runc compares text).
    pub fn below(&self, paths: &[(&str, &str)]) -> Result<Below> {
        let unknown = paths.iter().find(|(name, _)| !name.is_empty() && !self.dirs().any(|dir| has(dir, name)));
        if let Some((name, _)) = unknown {
            let message = format!("unknown controller {name:?}: the container has no cgroup of it");
            return Err(Error::new(ErrorKind::InvalidConfig, message));
        }
        let mut below = Below { v2: None, v1_tasks: Vec::new() };
        for dir in self.dirs() {
            let named = paths.iter().find(|(name, _)| has(dir, name));
            let path = named.or_else(|| paths.iter().find(|(name, _)| name.is_empty())).map_or("", |(_, path)| path);
            let path = path.trim_matches('/');
            let fail = |call: &str, errno| match errno {
                Errno::EXDEV => Error::new(ErrorKind::InvalidConfig, format!("bad sub cgroup path: {path}")),
                errno => not_added(format!("{call}({:?})", format!("{}/{path}", dir.place.absolute())), errno as i32),
            };
            let path = if path.is_empty() { "." } else { path };
            let fd = file::beneath(&dir.fd, path, OFlag::O_RDONLY).map_err(|errno| fail("openat2", errno))?;
            if dir.place.v2 {
                below.v2 = Some(fd);
            } else {
                below.v1_tasks.push(file::open(&fd, "tasks", OFlag::O_WRONLY).map_err(|errno| fail("openat", errno))?);
            }
        }
        Ok(below)
    }
}

/// In runc's words, which callers match.
pub(crate) fn not_added(call: impl Into<String>, errno: i32) -> Error {
    Error::system("error adding pid (of a new process) to cgroups", call, errno)
}

fn has(dir: &Dir, controller: &str) -> bool {
    dir.place.controllers.iter().any(|name| name == controller)
}
