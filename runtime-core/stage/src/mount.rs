//! `mounts`: every entry made detached, dressed with its attributes, then attached by descriptor.

use crate::fail::{Result, Step};
use crate::io::{Io, message};
use crate::path::{self, Make};
use crate::sys::{self, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE, Stat, errno, ms};
use crate::wire::{FsOption, Mount, NO_SLOT, Plan, Z, mount_flag, mount_kind};

/// Carries out the list, in order.
pub fn all(plan: &Plan<'_>, io: &Io, root: i32) -> Result<()> {
    for (index, mount) in plan.items(plan.header.mounts) {
        io.enter(Step::Mount, index);
        one(plan, io, root, &mount?)?;
    }
    Ok(())
}

/// Makes read-only what had to stay writable until everything below it was made.
pub fn seal(plan: &Plan<'_>, io: &Io, root: i32) -> Result<()> {
    for (index, mount) in plan.items(plan.header.mounts) {
        let mount: Mount = mount?;
        if mount.flags & mount_flag::READONLY_LATE != 0 {
            io.enter(Step::SealMount, index);
            let target = path::open(root, plan.text(mount.target)?, 0)?;
            set_attributes(io, target, 0, MOUNT_ATTR_RDONLY, 0)?;
            sys::close(target);
        }
    }
    Ok(())
}

fn one(plan: &Plan<'_>, io: &Io, root: i32, mount: &Mount) -> Result<()> {
    let path = plan.text(mount.target)?;
    match mount.kind {
        mount_kind::LINK => return link(plan, root, mount),
        mount_kind::REMOUNT => {
            let target = path::open(root, path, 0)?;
            set_attributes(io, target, 0, mount.attr_set, mount.attr_clear)?;
            return dress(plan, io, mount, target);
        }
        _ => {}
    }
    let (source, target) = if mount.kind == mount_kind::BIND {
        let source = bind_source(plan, io, mount)?;
        let shape = if is_directory(mount, source)? { Make::Directory } else { Make::File };
        (source, path::make(root, path, shape)?)
    } else {
        let (target, existed) = directory(root, path, mount)?;
        (filesystem(plan, io, mount, existed.then_some(target))?, target)
    };
    sys::move_mount(source, target)?;
    sys::close(target);
    dress(plan, io, mount, source)?;
    if mount.slot == NO_SLOT || mount.kind != mount_kind::BIND {
        sys::close(source);
    }
    Ok(())
}

/// The directory to mount on, and whether it was there already.
fn directory(root: i32, path: Z<'_>, mount: &Mount) -> Result<(i32, bool)> {
    let ordinary = mount.flags & mount_flag::ORDINARY_DIRECTORY != 0;
    let found = if ordinary { path::open_ordinary(root, path) } else { path::open(root, path, 0) };
    match found {
        Err(fail) if fail.is(errno::ENOENT) => {}
        result => return result.map(|fd| (fd, true)),
    }
    let made = path::make_missing(root, path, Make::Directory)?;
    if !ordinary {
        return Ok((made, false));
    }
    sys::close(made);
    path::open_ordinary(root, path).map(|fd| (fd, false))
}

/// A new filesystem, not attached yet.
fn filesystem(plan: &Plan<'_>, io: &Io, mount: &Mount, covered: Option<i32>) -> Result<i32> {
    match make_filesystem(plan, mount, covered) {
        Err(fail) if fail.is(errno::EPERM) && mount.flags & mount_flag::BIND_ON_EPERM != 0 => {
            let tree = host_tree(io, mount.slot, plan.text(mount.source)?, AT_RECURSIVE)?;
            set_attributes(io, tree, AT_RECURSIVE, mount.attr_set, mount.attr_clear)?;
            Ok(tree)
        }
        result => result,
    }
}

fn make_filesystem(plan: &Plan<'_>, mount: &Mount, covered: Option<i32>) -> Result<i32> {
    let fs = sys::fsopen(plan.text(mount.fstype)?)?;
    let made = configure(plan, mount, covered, fs).and_then(|()| sys::fsmount(fs, mount.attr_set));
    sys::close(fs);
    made
}

fn configure(plan: &Plan<'_>, mount: &Mount, covered: Option<i32>, fs: i32) -> Result<()> {
    let source = plan.text(mount.source)?;
    if !source.is_empty() && mount.flags & mount_flag::BIND_ON_EPERM == 0 {
        sys::fsconfig(fs, Z::new(b"source\0"), source)?;
    }
    if let Some(directory) = covered.filter(|_| mount.flags & mount_flag::KEEP_MODE != 0) {
        keep_mode(fs, directory)?;
    }
    for (index, option) in plan.items(mount.options) {
        let option: FsOption = option?;
        sys::fsconfig(fs, plan.text(option.key)?, plan.text(option.value)?).map_err(|fail| fail.detail(index + 1))?;
    }
    sys::fsconfig_create(fs)
}

/// A tmpfs takes the mode of the directory it covers, as if it had been copied up.
fn keep_mode(fs: i32, target: i32) -> Result<()> {
    let mode = sys::stat(target, Z::EMPTY)?.mode & 0o7777;
    let digit = |shift: u32| b'0' + ((mode >> shift) & 7) as u8;
    let text = [digit(9), digit(6), digit(3), digit(0), 0];
    sys::fsconfig(fs, Z::new(b"mode\0"), Z::new(&text))
}

/// A detached clone of the host's file or directory.
fn bind_source(plan: &Plan<'_>, io: &Io, mount: &Mount) -> Result<i32> {
    let recursive = if mount.flags & mount_flag::RECURSIVE != 0 { AT_RECURSIVE } else { 0 };
    let tree = host_tree(io, mount.slot, plan.text(mount.fstype)?, recursive)?;
    if mount.attr_set | mount.attr_clear | mount.attr_relax != 0 {
        relax(io, tree, mount)?;
    }
    Ok(tree)
}

/// A bind with options loses the attributes it does not name, as with mount(8); those that are locked in a user
/// namespace stay, unless the config asked to clear them.
fn relax(io: &Io, tree: i32, mount: &Mount) -> Result<()> {
    match set_attributes(io, tree, 0, mount.attr_set, mount.attr_clear | mount.attr_relax) {
        Err(fail) if fail.is(errno::EPERM) && mount.attr_relax != 0 => {
            set_attributes(io, tree, 0, mount.attr_set, mount.attr_clear)
        }
        result => result,
    }
}

/// The clone the parent made, or one made here where the parent has not the right to.
pub fn host_tree(io: &Io, slot: u32, path: Z<'_>, recursive: u32) -> Result<i32> {
    if slot != NO_SLOT {
        return io.slot(slot);
    }
    sys::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | recursive)
}

fn is_directory(mount: &Mount, source: i32) -> Result<bool> {
    Ok(mount.flags & mount_flag::SOURCE_IS_DIRECTORY != 0 || sys::stat(source, Z::EMPTY)?.is(Stat::DIRECTORY))
}

/// What comes after attaching: recursive attributes, then propagation, one call each as mount(8) does.
fn dress(plan: &Plan<'_>, io: &Io, mount: &Mount, fd: i32) -> Result<()> {
    for (_, propagation) in plan.items(mount.propagation) {
        let propagation = u64::from(propagation?);
        let recursive = if propagation & ms::REC != 0 { AT_RECURSIVE } else { 0 };
        set_propagation(io, fd, recursive, propagation & !ms::REC)?;
    }
    if mount.all_set | mount.all_clear != 0 {
        sys::mount_setattr(fd, AT_RECURSIVE, mount.all_set, mount.all_clear, 0)?;
    }
    Ok(())
}

/// Changes the attributes of a mount; before kernel 5.12 by remounting it.
pub fn set_attributes(io: &Io, fd: i32, recursive: u32, set: u64, clear: u64) -> Result<()> {
    match sys::mount_setattr(fd, recursive, set, clear, 0) {
        Err(fail) if fail.is(errno::ENOSYS) => by_mount(io, fd, ms::REMOUNT | ms::BIND | legacy(set)),
        result => result,
    }
}

/// Changes the propagation of a mount; before kernel 5.12 with mount(2).
pub fn set_propagation(io: &Io, fd: i32, recursive: u32, propagation: u64) -> Result<()> {
    let rec = if recursive != 0 { ms::REC } else { 0 };
    match sys::mount_setattr(fd, recursive, 0, 0, propagation) {
        Err(fail) if fail.is(errno::ENOSYS) => by_mount(io, fd, propagation | rec),
        result => result,
    }
}

/// mount(2) wants a name: the descriptor's own, below the host's /proc, which the parent hands us.
fn by_mount(io: &Io, fd: i32, flags: u64) -> Result<()> {
    let proc = io.ask(message::PROC)?;
    let mut name = Name::new(*b"self/fd/");
    name.push(fd as u32);
    let done = sys::fchdir(proc).and_then(|()| sys::mount_flags(name.z(), flags));
    sys::close(proc);
    done
}

/// "self/fd/N".
struct Name {
    bytes: [u8; 20],
    length: usize,
}

impl Name {
    fn new(prefix: [u8; 8]) -> Self {
        let mut bytes = [0; 20];
        bytes.iter_mut().zip(prefix).for_each(|(room, byte)| *room = byte);
        Self { bytes, length: prefix.len() }
    }

    fn push(&mut self, number: u32) {
        let mut digits = [0; 10];
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        for digit in digits.into_iter().skip_while(|digit| *digit == b'0') {
            if let Some(room) = self.bytes.get_mut(self.length) {
                *room = digit;
                self.length += 1;
            }
        }
    }

    fn z(&self) -> Z<'_> {
        Z::new(self.bytes.get(..=self.length).unwrap_or(b"\0"))
    }
}

/// MOUNT_ATTR_* as MS_*.
fn legacy(attributes: u64) -> u64 {
    const PAIRS: [(u64, u64); 6] = [
        (MOUNT_ATTR_RDONLY, ms::RDONLY),
        (0x2, ms::NOSUID),
        (0x4, ms::NODEV),
        (0x8, ms::NOEXEC),
        (0x80, ms::NODIRATIME),
        (0x20_0000, ms::NOSYMFOLLOW),
    ];
    let time = match attributes & 0x70 {
        0x10 => ms::NOATIME,
        0x20 => ms::STRICTATIME,
        _ => ms::RELATIME,
    };
    PAIRS.iter().filter(|(attribute, _)| attributes & attribute != 0).fold(time, |flags, (_, flag)| flags | flag)
}

fn link(plan: &Plan<'_>, root: i32, mount: &Mount) -> Result<()> {
    make_link(root, plan.text(mount.target)?, plan.text(mount.source)?)
}

/// A symbolic link; one that is there already stays.
pub fn make_link(root: i32, at: Z<'_>, target: Z<'_>) -> Result<()> {
    let mut name = path::Name::new();
    let parent = path::parent(root, &at, &mut name)?;
    let made = sys::symlinkat(target, parent, name.z());
    sys::close(parent);
    match made {
        Err(fail) if !fail.is(errno::EEXIST) => Err(fail),
        _ => Ok(()),
    }
}
