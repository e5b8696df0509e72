//! `readonlyPaths` and `maskedPaths`, applied to descriptors.
//!
//! A name is resolved once; what is covered is the object found then. Only a target that is not there is
//! skipped; everything else that goes wrong stops the container (CVE-2025-31133).

use crate::fail::{Fail, Refusal, Result, Step};
use crate::io::Io;
use crate::path;
use crate::sys::{self, AT_RECURSIVE, MOUNT_ATTR_RDONLY, O_DIRECTORY, OPEN_TREE_CLONE, Stat, errno};
use crate::wire::{Plan, Z};
use crate::{attribute, mount};

/// nosuid, nodev, noexec.
const INERT: u64 = 0x2 | 0x4 | 0x8;

/// Read-only paths first, then masks, so that a mask inside a read-only tree is on top.
pub fn all(plan: &Plan<'_>, io: &Io, root: i32) -> Result<()> {
    for (index, path) in plan.items(plan.header.readonly_paths) {
        io.enter(Step::ReadonlyPath, index);
        if let Some(target) = existing(root, plan.text(path?)?)? {
            read_only(io, target)?;
        }
    }
    let mut covers = Covers { null: None, empty: None };
    for (index, path) in plan.items(plan.header.masked_paths) {
        io.enter(Step::MaskedPath, index);
        let path = plan.text(path?)?;
        match path::open(root, path, O_DIRECTORY) {
            Err(fail) if fail.is(errno::ENOENT) => {}
            // What has become a directory by now cannot be covered by the null device: an error.
            Err(fail) if fail.is(errno::ENOTDIR) => {
                if let Some(target) = existing(root, path)? {
                    covers.hide(plan, io, target, false)?;
                }
            }
            directory => covers.hide(plan, io, directory?, true)?,
        }
    }
    for cover in [covers.null, covers.empty].into_iter().flatten() {
        sys::close(cover);
    }
    Ok(())
}

fn existing(root: i32, path: Z<'_>) -> Result<Option<i32>> {
    match path::open(root, path, 0) {
        Err(fail) if fail.is(errno::ENOENT) || fail.is(errno::ENOTDIR) => Ok(None),
        result => result.map(Some),
    }
}

/// Mounts the object over itself, read-only, its other attributes kept.
fn read_only(io: &Io, target: i32) -> Result<()> {
    let (tree, sealed) = match sys::clone_read_only(target) {
        Err(fail) if fail.is_forbidden() => {
            (sys::open_tree(target, Z::EMPTY, OPEN_TREE_CLONE | sys::AT_EMPTY_PATH | AT_RECURSIVE)?, false)
        }
        tree => (tree?, true),
    };
    sys::move_mount(tree, target)?;
    // Before 6.15 attributes want a call of their own, and before 5.12 an attached mount.
    if !sealed {
        attribute::set(io, tree, AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0)?;
    }
    sys::close(tree);
    sys::close(target);
    Ok(())
}

/// What masks are made of: the host's /dev/null, and one empty read-only directory, both cloned from their
/// first use (a detached mount cannot be cloned on older kernels).
struct Covers {
    null: Option<i32>,
    empty: Option<i32>,
}

impl Covers {
    fn hide(&mut self, plan: &Plan<'_>, io: &Io, target: i32, directory: bool) -> Result<()> {
        let cover = if directory { &mut self.empty } else { &mut self.null };
        let tree = match *cover {
            Some(attached) => sys::open_tree(attached, Z::EMPTY, OPEN_TREE_CLONE | sys::AT_EMPTY_PATH)?,
            None if directory => empty_directory(plan)?,
            None => null(plan, io)?,
        };
        sys::move_mount(tree, target)?;
        sys::close(target);
        match cover {
            Some(_) => sys::close(tree),
            None => {
                *cover = Some(tree);
                if !directory {
                    attribute::cut_loose(io, tree)?;
                }
            }
        }
        Ok(())
    }
}

/// The host's null device, and nothing else that is called so.
fn null(plan: &Plan<'_>, io: &Io) -> Result<i32> {
    let tree = mount::host_tree(io, plan.header.null_slot, Z::new(b"/dev/null\0"), 0)?;
    let file = sys::stat(tree, Z::EMPTY)?;
    if file.is(Stat::CHARACTER) && file.device == (1, 3) {
        return Ok(tree);
    }
    Err(Fail::refuse(Refusal::NotNull))
}

fn empty_directory(plan: &Plan<'_>) -> Result<i32> {
    match tmpfs(plan, Z::new(b"1\0")) {
        // Some kernels count the root directory's inode twice.
        Err(fail) if !fail.is(errno::EPERM) => tmpfs(plan, Z::new(b"2\0")),
        result => result,
    }
}

fn tmpfs(plan: &Plan<'_>, inodes: Z<'_>) -> Result<i32> {
    let fs = sys::fsopen(Z::new(b"tmpfs\0"))?;
    let options = [(b"nr_blocks\0".as_slice(), Z::new(b"1\0")), (b"nr_inodes\0", inodes)];
    for (key, value) in options {
        sys::fsconfig(fs, Z::new(key), value)?;
    }
    let context = plan.text(plan.header.mask_context)?;
    if !context.is_empty() {
        sys::fsconfig(fs, Z::new(b"context\0"), context)?;
    }
    sys::fsconfig_create(fs)?;
    let tree = sys::fsmount(fs, MOUNT_ATTR_RDONLY | INERT)?;
    sys::close(fs);
    Ok(tree)
}
