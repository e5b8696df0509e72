//! `mounts`: every entry made detached, attached by descriptor, then dressed with its attributes.

use crate::attribute::{self, propagate};
use crate::copy;
use crate::fail::{Fail, Refusal, Result, Step};
use crate::io::{Io, message};
use crate::path;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, AT_SYMLINK_NOFOLLOW, MOUNT_ATTR_RDONLY, OPEN_TREE_CLONE, PROC_MAGIC,
    Stat, errno, ms,
};
use crate::target::{self, Cover, Target};
use crate::wire::{FsOption, List, Mount, NO_SLOT, Plan, Z, flag, mount_flag, mount_kind};

/// Inode of the root of every procfs.
const PROC_ROOT: u64 = 1;

/// Mounts that become read-only later, by index: their descriptors, so that no name has to be resolved a second time.
pub struct Late {
    mounts: [(u32, i32); 16],
    count: usize,
    any: bool,
}

impl Late {
    /// Whether there is one.
    pub fn is_any(&self) -> bool {
        self.any
    }

    /// False: there is no room.
    fn keep(&mut self, index: u32, fd: i32) -> bool {
        let Some(room) = self.mounts.get_mut(self.count) else { return false };
        *room = (index, fd);
        self.count += 1;
        true
    }

    fn of(&self, index: u32) -> Option<i32> {
        self.mounts.iter().take(self.count).find(|(kept, _)| *kept == index).map(|(_, fd)| *fd)
    }
}

/// Carries out the list, in order. `folder` may be of use to who comes next.
pub fn all<'a>(plan: &Plan<'a>, io: &Io, root: i32, folder: &mut path::Folder<'a>) -> Result<Late> {
    let mut late = Late { mounts: [(0, -1); 16], count: 0, any: false };
    for (index, mount) in plan.items(plan.header.mounts) {
        io.enter(Step::Mount, index);
        let mount: Mount = mount?;
        let target = plan.text(mount.target)?;
        folder.make_way(target);
        late.any |= mount.flags & mount_flag::READONLY_LATE != 0;
        match mount.kind {
            mount_kind::BIND => bind(plan, io, root, folder, (index, &mount))?,
            mount_kind::REMOUNT => remount(plan, io, root, &mount)?,
            mount_kind::LINK => make_link(root, target, plan.text(mount.source)?)?,
            _ => {
                let (made, plainly) = filesystem(plan, io, root, folder, &mount)?;
                let is_late = made >= 0 && mount.flags & mount_flag::READONLY_LATE != 0;
                if made < 0 || is_late && late.keep(index, made) {
                    continue;
                }
                match plan.text(mount.fstype)?.bytes() {
                    b"tmpfs" if plainly => folder.keep_mount(target, made),
                    _ => sys::close(made),
                }
            }
        }
    }
    Ok(late)
}

/// Makes read-only what had to stay writable until everything below it was made.
pub fn seal(plan: &Plan<'_>, io: &Io, root: i32, late: &Late) -> Result<()> {
    for (index, mount) in plan.items(plan.header.mounts) {
        let mount: Mount = mount?;
        if mount.flags & mount_flag::READONLY_LATE != 0 {
            io.enter(Step::SealMount, index);
            let target = match late.of(index) {
                Some(made) => made,
                None => path::open(root, plan.text(mount.target)?, 0)?,
            };
            attribute::set(io, target, 0, MOUNT_ATTR_RDONLY, 0)?;
            sys::close(target);
        }
    }
    Ok(())
}

/// The clone the parent made, or one made here where the parent has not the right to.
pub fn host_tree(io: &Io, slot: u32, path: Z<'_>, flags: u32) -> Result<i32> {
    if slot != NO_SLOT {
        return io.slot(slot);
    }
    sys::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | flags)
}

/// A clone of what is in the container's own tree by now. Ids are the parent's to map, who has the right to.
fn inner_tree(plan: &Plan<'_>, io: &Io, root: i32, (index, mount): (u32, &Mount), recursive: u32) -> Result<i32> {
    let there = path::open(root, plan.text(mount.fstype)?, 0)?;
    let tree = sys::open_tree(there, Z::EMPTY, AT_EMPTY_PATH | OPEN_TREE_CLONE | recursive);
    sys::close(there);
    let tree = tree?;
    if mount.flags & mount_flag::MAP_IDS != 0 {
        io.hand_over(message::MAP_MOUNT, u64::from(index), tree)?;
        io.wait()?;
    }
    Ok(tree)
}

fn bind<'a>(
    plan: &Plan<'a>,
    io: &Io,
    root: i32,
    folder: &mut path::Folder<'a>,
    (index, mount): (u32, &Mount),
) -> Result<()> {
    let recursive = if mount.flags & mount_flag::RECURSIVE != 0 { AT_RECURSIVE } else { 0 };
    let itself = if mount.flags & mount_flag::SOURCE_ITSELF != 0 { AT_SYMLINK_NOFOLLOW } else { 0 };
    let tree = if mount.flags & mount_flag::INNER != 0 {
        inner_tree(plan, io, root, (index, mount), recursive)?
    } else if mount.flags & mount_flag::ASK != 0 {
        io.ask_for(message::BIND, index.into())?
    } else {
        host_tree(io, mount.slot, plan.text(mount.fstype)?, recursive | itself)?
    };
    if mount.flags & mount_flag::COPY_LINK != 0 && sys::stat(tree, Z::EMPTY)?.is(Stat::LINK) {
        return copy_link(root, plan.text(mount.target)?, tree);
    }
    if mount.flags & mount_flag::PROCFS_ROOT != 0
        && !(sys::stat(tree, Z::EMPTY)?.inode == PROC_ROOT && sys::filesystem_magic(tree)? == PROC_MAGIC)
    {
        return Err(Fail::refuse(Refusal::NotProcfs));
    }
    target::find(plan, root, mount, &Cover::Clone(tree), folder)?.cover(tree)?;
    dress(plan, io, mount, tree)?;
    if mount.slot == NO_SLOT {
        sys::close(tree);
    }
    Ok(())
}

/// The descriptor of the mount comes back, or -1 where it is another one's or closed; and whether the target's name led
/// through no link.
fn filesystem<'a>(
    plan: &Plan<'a>,
    io: &Io,
    root: i32,
    folder: &mut path::Folder<'a>,
    mount: &Mount,
) -> Result<(i32, bool)> {
    let target = target::find(plan, root, mount, &Cover::Filesystem, folder)?;
    let plain = target.plain;
    if mount.flags & mount_flag::BY_MOUNT != 0 {
        return by_mount(plan, io, root, mount, target.open()?).map(|()| (-1, plain));
    }
    let covered = target.place.existed.then_some(target.place.fd);
    let made = match make_filesystem(plan, mount, covered) {
        Err(fail) if (fail.is(errno::EPERM) || fail.is(errno::EBUSY)) && or_bind(mount) => {
            return bind_instead(plan, io, mount, &target).map(|()| (-1, plain));
        }
        result => result?,
    };
    label(plan, mount, made)?;
    if let Some(covered) = covered.filter(|_| mount.flags & mount_flag::COPY_UP != 0) {
        copy::tree(covered, made)?;
    }
    target.cover(made)?;
    if mount.flags & mount_flag::COPY_UP != 0 && mount.attr_set & MOUNT_ATTR_RDONLY != 0 {
        attribute::set(io, made, 0, MOUNT_ATTR_RDONLY, 0)?;
    }
    propagate(plan, io, made, mount.propagation)?;
    for_the_tree(mount, made).map(|()| (made, plain))
}

/// With an option that is longer than fsconfig(2) takes (255 bytes), as overlay's have.
fn by_mount(plan: &Plan<'_>, io: &Io, root: i32, mount: &Mount, target: i32) -> Result<()> {
    let covered = sys::stat(target, Z::EMPTY)?;
    let (source, fstype) = (plan.text(mount.source)?, plan.text(mount.fstype)?);
    attribute::mount_on(io, target, source, fstype, mount.attr_set, plan.text(mount.data)?)?;
    sys::close(target);
    let made = path::open(root, plan.text(mount.target)?, 0)?;
    if sys::stat(made, Z::EMPTY)?.mount == covered.mount {
        return Err(Fail::refuse(Refusal::Moved));
    }
    propagate(plan, io, made, mount.propagation)?;
    for_the_tree(mount, made)?;
    sys::close(made);
    Ok(())
}

fn or_bind(mount: &Mount) -> bool {
    mount.flags & mount_flag::BIND_ON_EPERM != 0
}

/// A clone of a host directory, with all below, where the kernel refuses the filesystem.
fn bind_instead(plan: &Plan<'_>, io: &Io, mount: &Mount, target: &Target) -> Result<()> {
    let tree = host_tree(io, mount.slot, plan.text(mount.source)?, AT_RECURSIVE)?;
    target.cover(tree)?;
    attribute::one_propagation(io, tree, ms::SLAVE | ms::REC)?;
    propagate(plan, io, tree, mount.propagation)?;
    attribute::set(io, tree, AT_RECURSIVE, mount.attr_set, mount.attr_clear)?;
    for_the_tree(mount, tree)
}

fn make_filesystem(plan: &Plan<'_>, mount: &Mount, covered: Option<i32>) -> Result<i32> {
    let fs = sys::fsopen(plan.text(mount.fstype)?)?;
    // A copy could not be written to a read-only mount.
    let later = if mount.flags & mount_flag::COPY_UP != 0 { MOUNT_ATTR_RDONLY } else { 0 };
    let made = configure(plan, mount, covered, fs).and_then(|()| sys::fsmount(fs, mount.attr_set & !later));
    sys::close(fs);
    made
}

fn configure(plan: &Plan<'_>, mount: &Mount, covered: Option<i32>, fs: i32) -> Result<()> {
    let source = plan.text(mount.source)?;
    if !source.is_empty() && !or_bind(mount) {
        sys::fsconfig(fs, Z::new(b"source\0"), source)?;
    }
    if let Some(directory) = covered.filter(|_| mount.flags & mount_flag::KEEP_MODE != 0) {
        keep_mode(fs, directory)?;
    }
    settings(plan, fs, mount.options)?;
    sys::fsconfig_create(fs)
}

fn settings(plan: &Plan<'_>, fs: i32, options: List<FsOption>) -> Result<()> {
    for (index, option) in plan.items(options) {
        let option: FsOption = option?;
        sys::fsconfig(fs, plan.text(option.key)?, plan.text(option.value)?).map_err(|fail| fail.detail(index + 1))?;
    }
    Ok(())
}

/// A tmpfs takes the mode of the directory it covers, as if it had been copied up.
fn keep_mode(fs: i32, target: i32) -> Result<()> {
    let mode = sys::stat(target, Z::EMPTY)?.mode & 0o7777;
    let digit = |shift: u32| b'0' + ((mode >> shift) & 7) as u8;
    let text = [digit(9), digit(6), digit(3), digit(0), 0];
    sys::fsconfig(fs, Z::new(b"mode\0"), Z::new(&text))
}

/// The SELinux context of filesystems that take none as an option.
fn label(plan: &Plan<'_>, mount: &Mount, made: i32) -> Result<()> {
    let label = plan.text(mount.label)?;
    if label.is_empty() {
        return Ok(());
    }
    let directory = sys::openat(made, Z::new(b".\0"), sys::O_DIRECTORY, 0)?;
    let done = sys::fsetxattr(directory, Z::new(b"security.selinux\0"), label);
    sys::close(directory);
    done
}

/// Changes the mount that is at the target, and its filesystem if there are options for it.
fn remount(plan: &Plan<'_>, io: &Io, root: i32, mount: &Mount) -> Result<()> {
    let target = path::open(root, plan.text(mount.target)?, 0)?;
    if mount.options.count > 0 {
        let fs = sys::fspick(target)?;
        let done = settings(plan, fs, mount.options).and_then(|()| sys::fsconfig_reconfigure(fs));
        sys::close(fs);
        done?;
    }
    dress(plan, io, mount, target)?;
    sys::close(target);
    Ok(())
}

/// What comes after attaching: propagation, one call each as mount(8) does, then attributes, the recursive ones last.
fn dress(plan: &Plan<'_>, io: &Io, mount: &Mount, fd: i32) -> Result<()> {
    let with = one_propagation(plan, mount)?;
    if with == 0 || mount.attr_set | mount.attr_clear | mount.attr_relax == 0 {
        propagate(plan, io, fd, mount.propagation)?;
    }
    if mount.attr_set | mount.attr_clear | mount.attr_relax != 0 {
        let cloned_outside = mount.slot != NO_SLOT || mount.flags & mount_flag::ASK != 0;
        let from_outside = cloned_outside && plan.header.flags & flag::BECOME_ROOT != 0;
        let locked = if from_outside { locked(fd, mount)? } else { 0 };
        relax(io, fd, mount, mount.attr_relax & !locked, with)?;
    }
    for_the_tree(mount, fd)
}

/// The propagation of a single mount, where it is one alone: it is changed together with the attributes. 0: there is none.
fn one_propagation(plan: &Plan<'_>, mount: &Mount) -> Result<u64> {
    let single = mount.kind == mount_kind::BIND && mount.flags & mount_flag::RECURSIVE == 0;
    match plan.items(mount.propagation).next() {
        Some((_, only)) if single && mount.propagation.count == 1 => Ok(u64::from(only?) & !ms::REC),
        _ => Ok(0),
    }
}

/// What a mount from outside has that the root of a user namespace may not take away. Had we cloned it in here, the
/// kernel would lock it (mount_namespaces(7)); the parent, who can reach more, cloned it before. To clear one of them, or
/// to keep other times, is an error.
fn locked(fd: i32, mount: &Mount) -> Result<u64> {
    // rdonly, nosuid, nodev and noexec have the same numbers as statfs(2) and as MOUNT_ATTR_*.
    const LOCKABLE: u64 = 0xf;
    const TIMES: u64 = 0x400 | 0x800 | 0x1000;
    let (_, now) = sys::filesystem(fd)?;
    let locked = now & LOCKABLE;
    let changes = mount.attr_clear & 0x70 != 0 && now & TIMES != times(mount.attr_set);
    if changes || mount.attr_clear & locked != 0 {
        return Err(sys::refused_attributes());
    }
    Ok(locked)
}

/// The access times that MOUNT_ATTR_* ask for, as statfs(2) shows them.
fn times(set: u64) -> u64 {
    let files = match set & 0x70 {
        0x10 => 0x400,
        0x20 => 0,
        _ => 0x1000,
    };
    if set & 0x80 != 0 { files | 0x800 } else { files }
}

/// A bind with options loses the attributes it does not name, as with mount(8); those that are locked in a user
/// namespace stay, unless the config asked to clear them.
fn relax(io: &Io, fd: i32, mount: &Mount, relax: u64, propagation: u64) -> Result<()> {
    let (set, clear) = (mount.attr_set, mount.attr_clear);
    match attribute::change(io, fd, 0, (set, clear | relax & !set), propagation) {
        Err(fail) if fail.is(errno::EPERM) && relax != 0 => attribute::change(io, fd, 0, (set, clear), propagation),
        result => result,
    }
}

/// Recursive attributes. There is no older way to do it, so an older kernel is an error.
fn for_the_tree(mount: &Mount, fd: i32) -> Result<()> {
    if mount.all_set | mount.all_clear == 0 {
        return Ok(());
    }
    sys::mount_setattr(fd, AT_RECURSIVE, mount.all_set, mount.all_clear, 0)
}

/// The link `tree` anew, in place of a mount. Another file there stays, and is an error.
fn copy_link(root: i32, at: Z<'_>, tree: i32) -> Result<()> {
    let mut said = [0; path::MOST + 1];
    let length = sys::readlinkat(tree, Z::EMPTY, said.get_mut(..path::MOST).unwrap_or_default())?;
    let said = said.get(..=length).unwrap_or_default();
    let mut name = path::Name::new();
    let parent = path::parent(root, &at, &mut name)?;
    let made = match sys::symlinkat(Z::new(said), parent, name.z()) {
        Err(fail) if fail.is(errno::EEXIST) && is_link_to(parent, &name, Z::new(said)) => Ok(()),
        result => result,
    };
    sys::close(parent);
    made
}

fn is_link_to(parent: i32, name: &path::Name, target: Z<'_>) -> bool {
    let mut said = [0; path::MOST];
    sys::readlinkat(parent, name.z(), &mut said).is_ok_and(|length| said.get(..length) == Some(target.bytes()))
}

/// A symbolic link; one that is there already stays.
fn make_link(root: i32, at: Z<'_>, target: Z<'_>) -> Result<()> {
    let mut name = path::Name::new();
    let parent = path::parent(root, &at, &mut name)?;
    let made = sys::symlinkat(target, parent, name.z());
    sys::close(parent);
    match made {
        Err(fail) if !fail.is(errno::EEXIST) => Err(fail),
        _ => Ok(()),
    }
}
