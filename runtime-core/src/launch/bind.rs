//! Binding: everything the plan names on the host is opened, before anything of the container runs.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use runtime_stage::fail::Step;

use crate::cgroup::Cgroup;
use crate::plan::{Plan, SlotSource, Source};
use crate::sys::{fd, mount};
use crate::{Error, ErrorKind, Result};

/// Descriptors by slot. What is opened here is closed with it; the rest is the caller's.
pub(super) struct Table {
    numbers: Vec<RawFd>,
    opened: Vec<OwnedFd>,
    lowest: RawFd,
}

impl Table {
    /// Opens the plan's slots. No descriptor is numbered below `lowest`, where the program's own will be.
    pub(super) fn open(
        plan: &Plan,
        cgroup: Option<&Cgroup>,
        init: Option<BorrowedFd<'_>>,
        lowest: RawFd,
    ) -> Result<Self> {
        let mut table = Self { numbers: Vec::with_capacity(plan.slots.len() + 8), opened: Vec::new(), lowest };
        for (index, source) in plan.slots.iter().enumerate() {
            if let (SlotSource::Init, Some(init)) = (source, init) {
                table.borrow(init)?;
                continue;
            }
            let opened = open(source, cgroup).map_err(|error| explain(plan, index, source, &error))?;
            table.own(opened)?;
        }
        Ok(table)
    }

    /// Adds a descriptor that is closed with the table.
    pub(super) fn own(&mut self, fd: OwnedFd) -> Result<u32> {
        let fd = if fd.as_raw_fd() < self.lowest { above(fd.as_fd(), self.lowest)? } else { fd };
        self.numbers.push(fd.as_raw_fd());
        self.opened.push(fd);
        Ok(self.last())
    }

    /// Adds a descriptor of the caller's, under another number if its own is in the way.
    pub(super) fn borrow(&mut self, fd: BorrowedFd<'_>) -> Result<u32> {
        if fd.as_raw_fd() < self.lowest {
            return self.own(above(fd, self.lowest)?);
        }
        self.numbers.push(fd.as_raw_fd());
        Ok(self.last())
    }

    /// Adds a descriptor of the caller's that has the number it must have.
    pub(super) fn in_place(&mut self, fd: BorrowedFd<'_>) -> u32 {
        self.numbers.push(fd.as_raw_fd());
        self.last()
    }

    /// The numbers, by slot.
    pub(super) fn numbers(&self) -> &[RawFd] {
        &self.numbers
    }

    fn last(&self) -> u32 {
        self.numbers.len() as u32 - 1
    }
}

fn above(fd: BorrowedFd<'_>, lowest: RawFd) -> Result<OwnedFd> {
    fd::duplicate_above(fd, lowest)
        .map_err(|error| system("cannot arrange descriptors", "fcntl(F_DUPFD_CLOEXEC)", &error))
}

/// A failed system call of the host side.
pub(super) fn system(what: &str, call: &str, error: &io::Error) -> Error {
    Error::system(what, call, error.raw_os_error().unwrap_or(libc::EIO))
}

fn open(source: &SlotSource, cgroup: Option<&Cgroup>) -> io::Result<OwnedFd> {
    match source {
        SlotSource::Clone { path, recursive } => mount::clone_tree(None, &CString::new(path.as_str())?, *recursive),
        SlotSource::CgroupClone { hierarchy } => {
            let dir = cgroup
                .and_then(|cgroup| cgroup.dir_fd(*hierarchy))
                .ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))?;
            mount::clone_tree(Some(&dir), c"", false)
        }
        SlotSource::Init => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        SlotSource::Namespace { path, kind } => {
            let file = File::open(path)?;
            let found = fd::namespace_kind(file.as_fd())?;
            if found == kind.flag() { Ok(file.into()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
        }
    }
}

fn explain(plan: &Plan, index: usize, source: &SlotSource, error: &io::Error) -> Error {
    let errno = error.raw_os_error().unwrap_or(libc::EIO);
    let at = pointer(plan, index);
    let error = match source {
        SlotSource::Clone { path, .. } => {
            Error::system("cannot bind", format!("open_tree({path:?}, OPEN_TREE_CLONE)"), errno)
        }
        SlotSource::CgroupClone { .. } => {
            Error::system("cannot bind the container's cgroup", "open_tree(OPEN_TREE_CLONE)", errno)
        }
        SlotSource::Init => Error::system("cannot join the container", "pidfd_open()", errno),
        SlotSource::Namespace { path, kind } if errno == libc::EINVAL || errno == libc::ENOTTY => {
            Error::new(ErrorKind::InvalidConfig, format!("{path} is not a {} namespace", kind.name()))
        }
        SlotSource::Namespace { path, .. } => {
            Error::system("cannot join the namespace", format!("open({path:?})"), errno)
        }
    };
    error.at(at)
}

/// Which property asked for a slot.
fn pointer(plan: &Plan, index: usize) -> String {
    let here = |source: &Source| matches!(source, Source::Slot(slot) if usize::from(slot.0) == index);
    if here(&plan.root.source) {
        return "/root/path".to_owned();
    }
    let mount = plan.mounts.iter().position(|mount| match &mount.kind {
        crate::plan::MountKind::Bind { source, .. } => here(source),
        _ => false,
    });
    let join = plan.namespaces.join.iter().position(|join| usize::from(join.slot.0) == index);
    let (step, index) = match (mount, join) {
        (Some(mount), _) => (Step::Mount, mount),
        (_, Some(join)) => (Step::JoinNamespace, join),
        _ => return "/linux/devices".to_owned(),
    };
    plan.origins.of(step, index as u32).map(|origin| origin.pointer.clone()).unwrap_or_default()
}
