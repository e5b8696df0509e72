//! The root filesystem: attached, entered, and everything of the host let go.

use crate::fail::Result;
use crate::io::Io;
use crate::sys::{self, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY, O_DIRECTORY, O_PATH, errno};
use crate::wire::{Plan, Z, flag};
use crate::{attribute, mount};

/// Cuts propagation to the host, then attaches the root filesystem over "/", where nobody can see it but us, or, for
/// hooks that look for it, where it comes from. The descriptor returned is the root of everything that follows.
pub fn prepare(plan: &Plan<'_>, io: &Io) -> Result<i32> {
    if plan.header.flags & flag::CALLERS_MOUNTS != 0 {
        return io.slot(plan.header.root_slot);
    }
    let slash = Z::new(b"/\0");
    sys::mount_flags(slash, u64::from(plan.header.root_propagation))?;
    let root = mount::host_tree(io, plan.header.root_slot, plan.text(plan.header.root_path)?, AT_RECURSIVE)?;
    let at = plan.text(plan.header.root_at)?;
    let wanted = if at.is_empty() { slash } else { at };
    match sys::move_mount_over(root, wanted) {
        // The root of a user namespace may have no way there.
        Err(fail) if fail.is(errno::EACCES) => sys::move_mount_over(root, slash)?,
        result => result?,
    }
    // The parent cloned it from the host's mounts: while it is their peer, what is mounted on it shows there.
    attribute::propagate(plan, io, root, plan.header.tree_propagation)?;
    Ok(root)
}

/// Makes `root` the "/" of this mount namespace and detaches the host's tree.
pub fn enter(plan: &Plan<'_>, io: &Io, root: i32) -> Result<()> {
    for (_, path) in plan.items(plan.header.hidden) {
        hide(plan.text(path?)?)?;
    }
    sys::fchdir(root)?;
    if plan.header.flags & flag::CALLERS_MOUNTS != 0 {
        // The tree around it is the caller's, and stays as it is.
        sys::chroot_here()?;
    } else if plan.header.flags & flag::NO_PIVOT == 0 {
        sys::pivot_root_here()?;
        // The old root is now mounted over the new one, at "."; it goes with everything below it, and "/" is where we are.
        sys::detach(Z::new(b".\0"))?;
    } else {
        if plan.header.root_at.len != 0 {
            let slash = sys::openat(AT_FDCWD, Z::new(b"/\0"), O_PATH | O_DIRECTORY, 0)?;
            sys::move_mount(root, slash)?;
            sys::close(slash);
        }
        sys::chroot_here()?;
    }
    if plan.header.final_propagation != 0 {
        attribute::one_propagation(io, root, u64::from(plan.header.final_propagation))?;
    }
    Ok(())
}

/// Takes a mount of the host away; one that is locked in a user namespace is covered.
fn hide(path: Z<'_>) -> Result<()> {
    match sys::detach(path) {
        Err(fail) if fail.is(errno::EINVAL) || fail.is(errno::EPERM) => {}
        result => return result,
    }
    let fs = sys::fsopen(Z::new(b"tmpfs\0"))?;
    sys::fsconfig_create(fs)?;
    let cover = sys::fsmount(fs, MOUNT_ATTR_RDONLY)?;
    let place = sys::openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0)?;
    sys::move_mount(cover, place)?;
    for fd in [fs, cover, place] {
        sys::close(fd);
    }
    Ok(())
}

/// Remounts "/" read-only if asked.
pub fn seal(plan: &Plan<'_>, io: &Io, root: i32) -> Result<()> {
    if plan.header.flags & flag::READONLY_ROOT == 0 {
        return Ok(());
    }
    attribute::set(io, root, 0, MOUNT_ATTR_RDONLY, 0)
}
