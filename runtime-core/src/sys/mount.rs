//! Detached mounts.

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
