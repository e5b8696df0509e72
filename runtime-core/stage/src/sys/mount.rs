//! Mounts, and the root.

use super::{AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, O_CLOEXEC, errno, nr};
use crate::arch;
use crate::fail::{Fail, Result};
use crate::wire::Z;

/// Clone a mount.
pub const OPEN_TREE_CLONE: u32 = 1;
/// Close on exec.
pub const OPEN_TREE_CLOEXEC: u32 = O_CLOEXEC as u32;
/// move_mount: the source is the descriptor itself.
pub const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
/// move_mount: the target is the descriptor itself.
pub const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
/// MOUNT_ATTR_RDONLY.
pub const MOUNT_ATTR_RDONLY: u64 = 1;
/// fsconfig: a flag option.
pub const FSCONFIG_SET_FLAG: u32 = 0;
/// fsconfig: a string option.
pub const FSCONFIG_SET_STRING: u32 = 1;
/// fsconfig: make the superblock.
pub const FSCONFIG_CMD_CREATE: u32 = 6;

/// mount(2) flags used by the stage itself.
#[allow(missing_docs)]
pub mod ms {
    pub const RDONLY: u64 = 1;
    pub const NOSUID: u64 = 2;
    pub const NODEV: u64 = 4;
    pub const NOEXEC: u64 = 8;
    pub const REMOUNT: u64 = 32;
    pub const NOSYMFOLLOW: u64 = 256;
    pub const NOATIME: u64 = 1024;
    pub const NODIRATIME: u64 = 2048;
    pub const BIND: u64 = 4096;
    pub const REC: u64 = 16384;
    pub const UNBINDABLE: u64 = 1 << 17;
    pub const PRIVATE: u64 = 1 << 18;
    pub const SLAVE: u64 = 1 << 19;
    pub const SHARED: u64 = 1 << 20;
    pub const RELATIME: u64 = 1 << 21;
    pub const STRICTATIME: u64 = 1 << 24;
}

/// open_tree(2).
pub fn open_tree(dir: i32, path: Z<'_>, flags: u32) -> Result<i32> {
    call!(nr::OPEN_TREE, dir, path.as_ptr(), flags | OPEN_TREE_CLOEXEC).map(|fd| fd as i32)
}

/// move_mount(2) of one descriptor onto another.
pub fn move_mount(from: i32, to: i32) -> Result<()> {
    move_mount_to(from, to, Z::EMPTY)
}

/// move_mount(2) onto what a path of the host leads to.
pub fn move_mount_over(from: i32, path: Z<'_>) -> Result<()> {
    const MOVE_MOUNT_T_SYMLINKS: u32 = 0x10;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS;
    call!(nr::MOVE_MOUNT, from, Z::EMPTY.as_ptr(), AT_FDCWD, path.as_ptr(), flags).map(drop)
}

/// move_mount(2) onto what is called `name` in a directory, unless that is a link; an empty name is the directory.
pub fn move_mount_to(from: i32, directory: i32, name: Z<'_>) -> Result<()> {
    let itself = if name.is_empty() { MOVE_MOUNT_T_EMPTY_PATH } else { 0 };
    call!(nr::MOVE_MOUNT, from, Z::EMPTY.as_ptr(), directory, name.as_ptr(), MOVE_MOUNT_F_EMPTY_PATH | itself).map(drop)
}

/// fsopen(2).
pub fn fsopen(fstype: Z<'_>) -> Result<i32> {
    const FSOPEN_CLOEXEC: u32 = 1;
    call!(nr::FSOPEN, fstype.as_ptr(), FSOPEN_CLOEXEC).map(|fd| fd as i32)
}

/// fsconfig(2) with a flag (empty value) or a string.
pub fn fsconfig(fs: i32, key: Z<'_>, value: Z<'_>) -> Result<()> {
    if value.is_empty() {
        return call!(nr::FSCONFIG, fs, FSCONFIG_SET_FLAG, key.as_ptr(), 0, 0).map(drop);
    }
    call!(nr::FSCONFIG, fs, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0).map(drop)
}

/// fsconfig(2), FSCONFIG_CMD_CREATE.
pub fn fsconfig_create(fs: i32) -> Result<()> {
    call!(nr::FSCONFIG, fs, FSCONFIG_CMD_CREATE, 0, 0, 0).map(drop)
}

/// fsconfig(2), FSCONFIG_CMD_RECONFIGURE.
pub fn fsconfig_reconfigure(fs: i32) -> Result<()> {
    const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
    call!(nr::FSCONFIG, fs, FSCONFIG_CMD_RECONFIGURE, 0, 0, 0).map(drop)
}

/// fspick(2) of the descriptor's own mount.
pub fn fspick(mount: i32) -> Result<i32> {
    const FSPICK_CLOEXEC: u32 = 1;
    const FSPICK_EMPTY_PATH: u32 = 8;
    call!(nr::FSPICK, mount, Z::EMPTY.as_ptr(), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH).map(|fd| fd as i32)
}

/// fsmount(2).
pub fn fsmount(fs: i32, attributes: u64) -> Result<i32> {
    const FSMOUNT_CLOEXEC: u32 = 1;
    call!(nr::FSMOUNT, fs, FSMOUNT_CLOEXEC, attributes).map(|fd| fd as i32)
}

#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// mount_setattr(2) of the descriptor's mount.
pub fn mount_setattr(fd: i32, flags: u32, set: u64, clear: u64, propagation: u64) -> Result<()> {
    let attr = MountAttr { set, clear, propagation, userns: 0 };
    call!(nr::MOUNT_SETATTR, fd, Z::EMPTY.as_ptr(), AT_EMPTY_PATH | flags, &raw const attr, size_of::<MountAttr>())
        .map(drop)
}

/// open_tree_attr(2): a clone of what is below the descriptor, made read-only before anybody sees it.
pub fn clone_read_only(fd: i32) -> Result<i32> {
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns: 0 };
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE;
    call!(nr::OPEN_TREE_ATTR, fd, Z::EMPTY.as_ptr(), flags, &raw const attr, size_of::<MountAttr>()).map(|fd| fd as i32)
}

/// What [`mount_setattr`] fails with on attributes that are locked.
pub fn refused_attributes() -> Fail {
    Fail { call: nr::MOUNT_SETATTR as u32, errno: errno::EPERM, detail: 0 }
}

/// mount(2) without source, type and data: remounts and propagation only.
pub fn mount_flags(target: Z<'_>, flags: u64) -> Result<()> {
    call!(arch::SYS_MOUNT, Z::EMPTY.as_ptr(), target.as_ptr(), Z::EMPTY.as_ptr(), flags, 0).map(drop)
}

/// mount(2) of a filesystem.
pub fn mount(source: Z<'_>, target: Z<'_>, fstype: Z<'_>, flags: u64, data: Z<'_>) -> Result<()> {
    call!(arch::SYS_MOUNT, source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr()).map(drop)
}

/// pivot_root(".", ".").
pub fn pivot_root_here() -> Result<()> {
    let here = Z::new(b".\0");
    call!(arch::SYS_PIVOT_ROOT, here.as_ptr(), here.as_ptr()).map(drop)
}

/// umount2(path, MNT_DETACH).
pub fn detach(path: Z<'_>) -> Result<()> {
    const MNT_DETACH: u32 = 2;
    call!(arch::SYS_UMOUNT2, path.as_ptr(), MNT_DETACH).map(drop)
}

/// chroot(".").
pub fn chroot_here() -> Result<()> {
    call!(arch::SYS_CHROOT, Z::new(b".\0").as_ptr()).map(drop)
}
