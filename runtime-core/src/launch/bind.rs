//! Binding: everything the plan names on the host is opened, before anything of the container runs.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use runtime_stage::fail::Step;

use super::idmount::Mappings;
use super::node::Nodes;
use super::shared;
use crate::cgroup::Cgroup;
use crate::plan::{MountKind, Plan, Propagation, SlotSource, Source};
use crate::spec::Problem;
use crate::sys::{fd, mount};
use crate::{Error, ErrorKind, Result};

/// Descriptors by slot. What is opened here is closed with it; the rest is the caller's.
pub(super) struct Table {
    numbers: Vec<RawFd>,
    opened: Vec<OwnedFd>,
    lowest: RawFd,
    /// The mounts of the root's tree are slaves already.
    pub(super) root_is_slave: bool,
}

/// What the caller of a launch has open already.
pub(super) struct Held<'a> {
    /// The container's first process.
    pub(super) init: Option<BorrowedFd<'a>>,
    /// The root of a container without a mount namespace of its own.
    pub(super) root: Option<BorrowedFd<'a>>,
}

impl Table {
    /// Opens the plan's slots. No descriptor is numbered below `lowest`, where the program's own will be.
    pub(super) fn open(plan: &Plan, cgroup: Option<&Cgroup>, held: &Held<'_>, lowest: RawFd) -> Result<Self> {
        let mut table = Self {
            numbers: Vec::with_capacity(plan.slots.len() + 8),
            opened: Vec::new(),
            lowest,
            root_is_slave: false,
        };
        let (mut mappings, nodes) = (Mappings::default(), Nodes::default());
        for (index, source) in plan.slots.iter().enumerate() {
            let known = match source {
                SlotSource::Init => held.init,
                SlotSource::Root => held.root,
                _ => None,
            };
            if let Some(known) = known {
                table.borrow(known)?;
                continue;
            }
            let root = matches!(&plan.root.source, Source::Slot(slot) if usize::from(slot.0) == index);
            let opened = match source {
                SlotSource::Clone { path, recursive, .. } if root => {
                    open_root(plan, path, *recursive).map(|(tree, slave)| {
                        table.root_is_slave = slave;
                        tree
                    })
                }
                _ => open(source, cgroup, &nodes),
            };
            let opened = opened.map_err(|error| explain(plan, index, source, error))?;
            if let SlotSource::Clone { path, idmap: Some(idmap), .. } = source {
                mappings.apply(&opened, idmap, path).map_err(|error| error.or_at(pointer(plan, index)))?;
            }
            if let SlotSource::Namespace { path, kind } = source {
                shared::check(plan, *kind, path, &opened).map_err(|error| error.or_at(pointer(plan, index)))?;
            }
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
        .map_err(|error| Error::io("cannot arrange descriptors", "fcntl(F_DUPFD_CLOEXEC)", error))
}

/// The clone that the bind with this number waits for.
pub(super) fn asked(plan: &Plan, number: u64) -> Result<OwnedFd> {
    let step = usize::try_from(number).ok().and_then(|number| plan.mounts.get(number)).map(|step| &step.kind);
    let Some(MountKind::Bind { source: Source::Asked(path), recursive }) = step else {
        return Err(Error::new(ErrorKind::Init, format!("the stage asks for mount {number}, which is no such bind")));
    };
    let name = CString::new(path.as_str()).map_err(io::Error::from);
    let tree = name.and_then(|name| mount::clone_tree(None, &name, *recursive));
    tree.map_err(|error| not_cloned(path, error).at(step_pointer(plan, Step::Mount, number as usize)))
}

/// Clones the root of the file system, which must be a directory: a slash at the end asks the kernel to check. True: as
/// slaves, where that is what they are to be first.
fn open_root(plan: &Plan, path: &str, recursive: bool) -> io::Result<(OwnedFd, bool)> {
    let path = CString::new(format!("{path}/"))?;
    if recursive && plan.root.tree.first() == Some(&Propagation::RSLAVE) {
        match mount::clone_slaves(&path) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {}
            result => return result.map(|tree| (tree, true)),
        }
    }
    mount::clone_tree(None, &path, recursive).map(|tree| (tree, false))
}

/// Opens one slot.
fn open(source: &SlotSource, cgroup: Option<&Cgroup>, nodes: &Nodes) -> io::Result<OwnedFd> {
    match source {
        SlotSource::Node { path, mode, number, owner } => nodes.make(path, *mode, *number, *owner),
        SlotSource::Init | SlotSource::Root => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        SlotSource::Clone { path, recursive, itself: true, .. } => {
            mount::clone_itself(&CString::new(path.as_str())?, *recursive)
        }
        SlotSource::Clone { path, recursive, .. } => mount::clone_tree(None, &CString::new(path.as_str())?, *recursive),
        SlotSource::CgroupClone { hierarchy, own } => match cgroup.and_then(|cgroup| cgroup.dir_fd(*hierarchy)) {
            Some(dir) => mount::clone_tree(Some(&dir), c"", false),
            None => mount::clone_tree(None, &CString::new(own.as_str())?, false),
        },
        SlotSource::Proc => mount::private_proc(),
        SlotSource::Namespace { path, kind } => {
            let file = File::open(path)?;
            let found = fd::namespace_kind(file.as_fd())?;
            if found == kind.flag() { Ok(file.into()) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
        }
    }
}

fn explain(plan: &Plan, index: usize, source: &SlotSource, error: io::Error) -> Error {
    let at = pointer(plan, index);
    let error = match source {
        SlotSource::Clone { path, .. } => not_cloned(path, error),
        SlotSource::Node { path, .. } if error.raw_os_error() == Some(libc::ENOENT) => not_cloned(path, error)
            .with_hint("in a user namespace a device the host has not needs Linux 6.15 and CAP_MKNOD"),
        SlotSource::Node { path, .. } => not_cloned(path, error),
        SlotSource::CgroupClone { .. } => {
            Error::io("cannot bind the container's cgroup", "open_tree(OPEN_TREE_CLONE)", error)
        }
        SlotSource::Init | SlotSource::Root => Error::io("cannot join the container", "pidfd_open()", error),
        SlotSource::Proc => Error::io("cannot get a procfs to write to", "fsopen(\"proc\")", error)
            .with_hint("the caller's /proc must be a procfs, with nothing mounted over the files written to"),
        SlotSource::Namespace { path, kind } if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY)) => {
            Error::new(ErrorKind::InvalidConfig, format!("{path} is not a {} namespace", kind.name()))
        }
        SlotSource::Namespace { path, .. } => Error::io("cannot join the namespace", format!("open({path:?})"), error),
    };
    error.at(at)
}

fn not_cloned(path: &str, error: io::Error) -> Error {
    let errno = error.raw_os_error();
    let failed = Error::io("cannot bind", format!("open_tree({path:?}, OPEN_TREE_CLONE)"), error);
    match errno {
        Some(libc::EMFILE) => failed.with_hint("a descriptor is needed for each bind: raise RLIMIT_NOFILE (ulimit -n)"),
        Some(libc::EINVAL) => {
            failed.with_hint("the source is on an unbindable mount, or has mounts below it that are locked")
        }
        _ => failed,
    }
}

/// What the plan names on the host and is not there.
pub(crate) fn missing(plan: &Plan) -> Vec<Problem> {
    let path = |source: &'_ SlotSource| match source {
        SlotSource::Clone { path, itself, .. } => Some((path.clone(), *itself)),
        SlotSource::Namespace { path, .. } => Some((path.clone(), false)),
        SlotSource::Root => Some((plan.root.path.clone(), false)),
        SlotSource::Node { .. } | SlotSource::CgroupClone { .. } | SlotSource::Init | SlotSource::Proc => None,
    };
    let look = |path: &str, itself: bool, pointer: String| {
        let found = if itself { std::fs::symlink_metadata(path) } else { std::fs::metadata(path) };
        let error = found.err()?;
        let cause = crate::describe(error.raw_os_error().unwrap_or(libc::EIO));
        Some(Problem::new(pointer, format!("{path:?}: {cause}")))
    };
    let slots = plan.slots.iter().enumerate().filter_map(|(index, source)| {
        let (path, itself) = path(source)?;
        look(&path, itself, pointer(plan, index))
    });
    let asked = plan.mounts.iter().enumerate().filter_map(|(index, step)| match &step.kind {
        MountKind::Bind { source: Source::Asked(path), .. } => {
            look(path, false, step_pointer(plan, Step::Mount, index))
        }
        _ => None,
    });
    slots.chain(asked).collect()
}

/// Which property asked for a slot.
fn pointer(plan: &Plan, index: usize) -> String {
    let here = |source: &Source| matches!(source, Source::Slot(slot) if usize::from(slot.0) == index);
    if here(&plan.root.source) {
        return "/root/path".to_owned();
    }
    let mount = plan.mounts.iter().position(|mount| match &mount.kind {
        MountKind::Bind { source, .. } => here(source),
        MountKind::Filesystem { or_bind: Some(source), .. } => here(source),
        _ => false,
    });
    let join = plan.namespaces.join.iter().position(|join| usize::from(join.slot.0) == index);
    let (step, index) = match (mount, join) {
        (Some(mount), _) => (Step::Mount, mount),
        (_, Some(join)) => (Step::JoinNamespace, join),
        _ if plan.masks.null.as_ref().is_some_and(here) => return "/linux/maskedPaths".to_owned(),
        _ if plan.proc.is_some_and(|slot| usize::from(slot.0) == index) => return String::new(),
        _ => return "/linux/devices".to_owned(),
    };
    step_pointer(plan, step, index)
}

fn step_pointer(plan: &Plan, step: Step, index: usize) -> String {
    plan.origins.of(step, index as u32).map(|origin| origin.pointer.to_string()).unwrap_or_default()
}
