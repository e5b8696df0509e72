//! Mounts by descriptor.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// open_tree(2) with OPEN_TREE_CLONE: a detached clone of what `path` names, relative to `dir`. An empty path is
/// `dir` itself.
pub(crate) fn clone_tree(dir: Option<&dyn AsFd>, path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    clone(dir, path, if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// As [`clone_tree`], but a link at the end of the path is not followed.
pub(crate) fn clone_itself(path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    clone(None, path, libc::AT_SYMLINK_NOFOLLOW | if recursive { libc::AT_RECURSIVE } else { 0 })
}

/// As [`clone_tree`] of a tree, every mount of which is a slave from the beginning. Error ENOSYS: before Linux 6.15.
pub(crate) fn clone_slaves(path: &CStr) -> io::Result<OwnedFd> {
    const OPEN_TREE_ATTR: libc::c_long = 467;
    let attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_SLAVE, userns_fd: 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as u32;
    let size = size_of::<libc::mount_attr>();
    // SAFETY: path and attributes outlive the call, the size is theirs; the result is a new descriptor or an error.
    unsafe {
        descriptor(libc::syscall(OPEN_TREE_ATTR, libc::AT_FDCWD, path.as_ptr(), flags, &raw const attributes, size))
    }
}

fn clone(dir: Option<&dyn AsFd>, path: &CStr, more: i32) -> io::Result<OwnedFd> {
    let dir = dir.map_or(libc::AT_FDCWD, |dir| dir.as_fd().as_raw_fd());
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | more as u32;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as u32;
    }
    // SAFETY: the path is NUL-terminated and outlives the call; the result is a new descriptor or an error.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// mount_setattr(2) with MOUNT_ATTR_IDMAP: the ids of a detached mount are those of a user namespace.
pub(crate) fn map_ids(tree: BorrowedFd<'_>, namespace: BorrowedFd<'_>, recursive: bool) -> io::Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if recursive {
        flags |= libc::AT_RECURSIVE;
    }
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP,
        attr_clr: 0,
        propagation: 0,
        userns_fd: namespace.as_raw_fd() as u64,
    };
    // SAFETY: the path is empty and NUL-terminated, the attributes outlive the call and have the size that is told.
    let result = unsafe {
        let size = size_of::<libc::mount_attr>();
        libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Which mount a descriptor is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its number, which the kernel gives to another mount when it is gone.
    pub(crate) mount: u64,
    /// Its number for ever, since Linux 6.8; 0 before.
    pub(crate) unique: u64,
    /// Of the file.
    pub(crate) inode: u64,
    /// Whether the file is the mount's root.
    pub(crate) is_root: bool,
}

/// Where a descriptor is, by statx(2). Error EOPNOTSUPP: the kernel does not tell (before 5.8).
pub(crate) fn place(fd: BorrowedFd<'_>) -> io::Result<Place> {
    const MNT_ID: u32 = 0x1000;
    const MNT_ID_UNIQUE: u32 = 0x4000;
    const MOUNT_ROOT: u64 = 0x2000;
    let by_number = statx(fd, libc::STATX_INO | MNT_ID)?;
    let for_ever = statx(fd, MNT_ID_UNIQUE)?;
    if by_number.stx_mask & MNT_ID == 0 || by_number.stx_attributes_mask & MOUNT_ROOT == 0 {
        return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    }
    Ok(Place {
        mount: by_number.stx_mnt_id,
        unique: if for_ever.stx_mask & MNT_ID_UNIQUE != 0 { for_ever.stx_mnt_id } else { 0 },
        inode: by_number.stx_ino,
        is_root: by_number.stx_attributes & MOUNT_ROOT != 0,
    })
}

fn statx(fd: BorrowedFd<'_>, mask: u32) -> io::Result<libc::statx> {
    let mut found = std::mem::MaybeUninit::<libc::statx>::zeroed();
    let flags = libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
    // SAFETY: the path is empty and NUL-terminated; the result has room for the structure.
    let done = unsafe { libc::statx(fd.as_raw_fd(), c"".as_ptr(), flags, mask, found.as_mut_ptr()) };
    // SAFETY: zeros are a valid structure, and the kernel wrote nothing but numbers over them.
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { found.assume_init() }) }
}

/// move_mount(2): attaches a detached tree over a directory.
pub(crate) fn attach(tree: BorrowedFd<'_>, over: BorrowedFd<'_>) -> io::Result<()> {
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    let (from, to, empty) = (tree.as_raw_fd(), over.as_raw_fd(), c"".as_ptr());
    // SAFETY: both paths are empty and NUL-terminated.
    let done = unsafe { libc::syscall(libc::SYS_move_mount, from, empty, to, empty, flags) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Cuts a tree of mounts off: nothing that happens in it is seen elsewhere, and the other way round.
pub(crate) fn make_private(tree: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path is empty and NUL-terminated, the attributes outlive the call and have the size that is told.
    let done = unsafe {
        let size = size_of::<libc::mount_attr>();
        libc::syscall(libc::SYS_mount_setattr, tree.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size)
    };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// umount2(2) with MNT_DETACH of the mount whose root the descriptor is, with all that is mounted in it.
pub(crate) fn detach(root: BorrowedFd<'_>) -> io::Result<()> {
    let name = std::ffi::CString::new(format!("/proc/self/fd/{}", root.as_raw_fd()))?;
    // SAFETY: the path is NUL-terminated and outlives the call.
    let done = unsafe { libc::umount2(name.as_ptr(), libc::MNT_DETACH) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The root of a new procfs that is mounted nowhere; where the caller may not make one, that of the host's.
pub(crate) fn private_proc() -> io::Result<OwnedFd> {
    match new(c"proc") {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => host_proc(),
        result => result,
    }
}

/// The root of a new tmpfs that is mounted nowhere.
pub(crate) fn private_tmpfs() -> io::Result<OwnedFd> {
    new(c"tmpfs")
}

fn new(fstype: &CStr) -> io::Result<OwnedFd> {
    const FSCONFIG_CMD_CREATE: libc::c_uint = 6;
    const CLOEXEC: libc::c_uint = 1;
    // SAFETY: the name is NUL-terminated and outlives the call; the result is a new descriptor or an error.
    let fs = unsafe { descriptor(libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), CLOEXEC)) }?;
    // SAFETY: this command takes no key and no value.
    let made = unsafe {
        let null = std::ptr::null::<libc::c_void>();
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), FSCONFIG_CMD_CREATE, null, null, 0)
    };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: only numbers; the result is a new descriptor or an error.
    unsafe { descriptor(libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), CLOEXEC, 0)) }
}

/// The root of the procfs on /proc, and nothing that only pretends to be one.
fn host_proc() -> io::Result<OwnedFd> {
    const ROOT_INODE: u64 = 1;
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
    let root = nix::fcntl::open(c"/proc", flags, nix::sys::stat::Mode::empty())?;
    let genuine = nix::sys::statfs::fstatfs(&root)?.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC
        && nix::sys::stat::fstat(&root)?.st_ino == ROOT_INODE;
    if genuine { Ok(root) } else { Err(io::Error::from_raw_os_error(libc::EXDEV)) }
}

/// # Safety
/// `result` is that of a system call that makes a descriptor nobody else knows yet.
unsafe fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: by the caller's promise.
    Ok(unsafe { OwnedFd::from_raw_fd(result as i32) })
}
