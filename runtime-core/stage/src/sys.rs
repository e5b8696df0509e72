//! System calls, one thin safe wrapper each. Together with `arch` the only place of `unsafe` in the stage.
//!
//! Every wrapper takes descriptors as numbers and strings as [`Z`]; the kernel checks both. Nothing here
//! retries, logs or allocates.
#![allow(unsafe_code)]

use crate::arch::{self, syscall};
use crate::fail::{Fail, Result};
use crate::wire::{Scheduler, Z};

/// An error number.
pub type Errno = u32;

/// Error numbers the stage looks at (the same on both architectures).
#[allow(missing_docs)]
pub mod errno {
    use super::Errno;
    pub const EPERM: Errno = 1;
    pub const ENOENT: Errno = 2;
    pub const EINTR: Errno = 4;
    pub const EAGAIN: Errno = 11;
    pub const EACCES: Errno = 13;
    pub const EBUSY: Errno = 16;
    pub const EEXIST: Errno = 17;
    pub const ENOTDIR: Errno = 20;
    pub const EISDIR: Errno = 21;
    pub const EINVAL: Errno = 22;
    pub const EROFS: Errno = 30;
    pub const ERANGE: Errno = 34;
    pub const ENOSYS: Errno = 38;
    pub const ELOOP: Errno = 40;
}

/// Numbers from 424 on are the same on every architecture.
mod nr {
    pub const OPEN_TREE: usize = 428;
    pub const MOVE_MOUNT: usize = 429;
    pub const FSOPEN: usize = 430;
    pub const FSCONFIG: usize = 431;
    pub const FSMOUNT: usize = 432;
    pub const FSPICK: usize = 433;
    pub const CLOSE_RANGE: usize = 436;
    pub const OPENAT2: usize = 437;
    pub const FACCESSAT2: usize = 439;
    pub const MOUNT_SETATTR: usize = 442;
    pub const OPEN_TREE_ATTR: usize = 467;
}

/// The caller's working directory, as a directory descriptor.
pub const AT_FDCWD: i32 = -100;
/// The call is about the descriptor itself.
pub const AT_EMPTY_PATH: u32 = 0x1000;
/// The last component is not followed.
pub const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
/// A whole tree of mounts.
pub const AT_RECURSIVE: u32 = 0x8000;
/// Check access with the effective ids.
pub const AT_EACCESS: u32 = 0x200;

pub use arch::{O_DIRECTORY, O_NOFOLLOW};
/// Close on exec.
pub const O_CLOEXEC: i32 = 0o2_000_000;
/// A descriptor that only names a file.
pub const O_PATH: i32 = 0o10_000_000;
/// Create.
pub const O_CREAT: i32 = 0o100;
/// Must not exist.
pub const O_EXCL: i32 = 0o200;
/// Write only.
pub const O_WRONLY: i32 = 1;
/// Read and write.
pub const O_RDWR: i32 = 2;
/// Never the controlling terminal.
pub const O_NOCTTY: i32 = 0o400;
/// Do not wait.
pub const O_NONBLOCK: i32 = 0o4000;

/// No mount is crossed.
pub const RESOLVE_NO_XDEV: u64 = 0x01;
/// Magic links (`/proc/self/fd/N`) are not followed.
pub const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
/// No link at all is followed.
pub const RESOLVE_NO_SYMLINKS: u64 = 0x04;
/// The path stays below the directory.
pub const RESOLVE_BENEATH: u64 = 0x08;
/// The directory is the root for links and "..".
pub const RESOLVE_IN_ROOT: u64 = 0x10;

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

/// CLONE_NEW* bits and clone flags.
#[allow(missing_docs)]
pub mod clone {
    pub const NEWTIME: u64 = 0x80;
    pub const VM: u64 = 0x100;
    pub const PIDFD: u64 = 0x1000;
    pub const VFORK: u64 = 0x4000;
    pub const PARENT: u64 = 0x8000;
    pub const NEWNS: u64 = 0x2_0000;
    pub const NEWCGROUP: u64 = 0x200_0000;
    pub const NEWUTS: u64 = 0x400_0000;
    pub const NEWIPC: u64 = 0x800_0000;
    pub const NEWUSER: u64 = 0x1000_0000;
    pub const NEWPID: u64 = 0x2000_0000;
    pub const NEWNET: u64 = 0x4000_0000;
    pub const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    pub const INTO_CGROUP: u64 = 0x2_0000_0000;
}

fn check(nr: usize, result: isize) -> Result<usize> {
    if (-4095..0).contains(&result) {
        return Err(Fail { call: nr as u32, errno: result.unsigned_abs() as u32, detail: 0 });
    }
    Ok(result as usize)
}

/// Calls `nr` with arguments that are numbers or point to memory valid for the call.
macro_rules! call {
    ($nr:expr $(, $arg:expr)*) => { call!(@ $nr; $($arg as usize,)* 0, 0, 0, 0, 0, 0) };
    (@ $nr:expr; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr, $($rest:tt)*) => {
        // SAFETY: every pointer comes from a live reference or a NUL-terminated `Z` of this call's scope,
        // with the length the kernel is told; descriptors and flags are plain numbers the kernel checks.
        check($nr, unsafe { syscall($nr, $a, $b, $c, $d, $e, $f) })
    };
    (@ $nr:expr; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr, $f:expr) => { call!(@ $nr; $a, $b, $c, $d, $e, $f,) };
}

/// exit_group(2).
pub fn exit(code: i32) -> ! {
    loop {
        let _ = call!(arch::SYS_EXIT_GROUP, code);
    }
}

/// read(2).
pub fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(arch::SYS_READ, fd, buffer.as_mut_ptr(), buffer.len())
}

/// write(2).
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    call!(arch::SYS_WRITE, fd, bytes.as_ptr(), bytes.len())
}

/// Descriptors below this stay open when they are given up.
const LEFT_OPEN: i32 = 96;

/// Gives a descriptor up. What is not needed any more is closed by one close_range(2) before the program begins, not by
/// a close(2) each: a launch makes some fifty. The kernel hands out the lowest free number, so a launch that makes
/// more than [`LEFT_OPEN`] closes the rest at once, and no list of mounts can run into RLIMIT_NOFILE.
pub fn close(fd: i32) {
    if fd >= LEFT_OPEN {
        close_now(fd);
    }
}

/// close(2), where others must see at once that it is closed; there is nothing to do about an error.
pub fn close_now(fd: i32) {
    let _ = call!(arch::SYS_CLOSE, fd);
}

/// close_range(2), for real.
pub fn close_range(first: u32, last: u32) -> Result<()> {
    call!(nr::CLOSE_RANGE, first, last, 0).map(drop)
}

/// dup3(2).
pub fn dup3(from: i32, to: i32, flags: i32) -> Result<()> {
    call!(arch::SYS_DUP3, from, to, flags).map(drop)
}

/// fcntl(2) with a number as argument.
pub fn fcntl(fd: i32, command: i32, argument: u32) -> Result<usize> {
    call!(arch::SYS_FCNTL, fd, command, argument)
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

/// openat2(2), close-on-exec, retried for a bounded number of EAGAINs (renames elsewhere in the tree).
pub fn openat2(dir: i32, path: Z<'_>, flags: i32, mode: u32, resolve: u64) -> Result<i32> {
    let how = OpenHow { flags: (flags | O_CLOEXEC) as u64, mode: u64::from(mode), resolve };
    let mut tries = 0;
    loop {
        match call!(nr::OPENAT2, dir, path.as_ptr(), &raw const how, size_of::<OpenHow>()) {
            Err(fail) if fail.is(errno::EAGAIN) && tries < 4096 => tries += 1,
            result => return result.map(|fd| fd as i32),
        }
    }
}

/// openat(2), close-on-exec. Only for names without a slash below a directory that is ours.
pub fn openat(dir: i32, name: Z<'_>, flags: i32, mode: u32) -> Result<i32> {
    call!(arch::SYS_OPENAT, dir, name.as_ptr(), flags | O_CLOEXEC, mode).map(|fd| fd as i32)
}

/// mkdirat(2).
pub fn mkdirat(dir: i32, name: Z<'_>, mode: u32) -> Result<()> {
    call!(arch::SYS_MKDIRAT, dir, name.as_ptr(), mode).map(drop)
}

/// mknodat(2).
pub fn mknodat(dir: i32, name: Z<'_>, mode: u32, device: u64) -> Result<()> {
    call!(arch::SYS_MKNODAT, dir, name.as_ptr(), mode, device).map(drop)
}

/// A device number as mknod(2) takes it.
pub fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (major & 0xfff) << 8 | (major & !0xfff) << 32 | (minor & 0xff) | (minor & !0xff) << 12
}

/// fchmodat(2); a last component that is a link would be followed.
pub fn chmod(dir: i32, name: Z<'_>, mode: u32) -> Result<()> {
    call!(arch::SYS_FCHMODAT, dir, name.as_ptr(), mode).map(drop)
}

/// unlinkat(2) of a file.
pub fn unlinkat(dir: i32, name: Z<'_>) -> Result<()> {
    call!(arch::SYS_UNLINKAT, dir, name.as_ptr(), 0).map(drop)
}

/// getdents64(2): bytes written; 0 at the end.
pub fn getdents(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(arch::SYS_GETDENTS64, fd, buffer.as_mut_ptr(), buffer.len())
}

/// sendfile(2) from and to the descriptors' own positions: bytes moved; 0 at the end.
pub fn sendfile(to: i32, from: i32, count: usize) -> Result<usize> {
    call!(arch::SYS_SENDFILE, to, from, 0, count)
}

/// fsetxattr(2) of a text, its NUL included.
pub fn fsetxattr(fd: i32, name: Z<'_>, value: Z<'_>) -> Result<()> {
    call!(arch::SYS_FSETXATTR, fd, name.as_ptr(), value.as_ptr(), value.with_nul().len(), 0).map(drop)
}

/// symlinkat(2).
pub fn symlinkat(target: Z<'_>, dir: i32, name: Z<'_>) -> Result<()> {
    call!(arch::SYS_SYMLINKAT, target.as_ptr(), dir, name.as_ptr()).map(drop)
}

/// readlinkat(2).
pub fn readlinkat(dir: i32, name: Z<'_>, buffer: &mut [u8]) -> Result<usize> {
    call!(arch::SYS_READLINKAT, dir, name.as_ptr(), buffer.as_mut_ptr(), buffer.len())
}

/// fchownat(2) of the descriptor's own file.
pub fn chown(fd: i32, uid: u32, gid: u32) -> Result<()> {
    call!(arch::SYS_FCHOWNAT, fd, Z::EMPTY.as_ptr(), uid, gid, AT_EMPTY_PATH).map(drop)
}

/// What statx(2) says of a file, as far as the stage asks.
#[derive(Clone, Copy, Default)]
pub struct Stat {
    /// File type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Device it represents: major, minor.
    pub device: (u32, u32),
    /// The mount it is on.
    pub mount: u64,
}

#[allow(missing_docs)]
impl Stat {
    pub const TYPE: u32 = 0o170_000;
    pub const DIRECTORY: u32 = 0o040_000;
    pub const REGULAR: u32 = 0o100_000;
    pub const CHARACTER: u32 = 0o020_000;
    pub const BLOCK: u32 = 0o060_000;
    pub const FIFO: u32 = 0o010_000;
    pub const LINK: u32 = 0o120_000;

    pub fn is(&self, kind: u32) -> bool {
        self.mode & Self::TYPE == kind
    }
}

#[repr(C)]
#[derive(Default)]
struct Statx {
    mask: u32,
    blksize: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    spare0: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    times: [u64; 8],
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    mount: u64,
    spare: [u64; 13],
}

/// statx(2) of the descriptor's own file, or of `name` below it without following a link.
pub fn stat(fd: i32, name: Z<'_>) -> Result<Stat> {
    let mut buffer = Statx::default();
    const BASIC: u32 = 0x7ff;
    const MNT_ID: u32 = 0x1000;
    call!(arch::SYS_STATX, fd, name.as_ptr(), AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, BASIC | MNT_ID, &raw mut buffer)?;
    Ok(Stat {
        mode: u32::from(buffer.mode),
        uid: buffer.uid,
        gid: buffer.gid,
        inode: buffer.ino,
        size: buffer.size,
        device: (buffer.rdev_major, buffer.rdev_minor),
        mount: buffer.mount,
    })
}

/// f_type and f_flags of fstatfs(2).
pub fn filesystem(fd: i32) -> Result<(u64, u64)> {
    let mut buffer = [0_u64; 15];
    call!(arch::SYS_FSTATFS, fd, buffer.as_mut_ptr())?;
    Ok((buffer[0], buffer[10]))
}

/// f_type of fstatfs(2).
pub fn filesystem_magic(fd: i32) -> Result<u64> {
    filesystem(fd).map(|(magic, _)| magic)
}

/// faccessat2(2): may the effective user execute what the name leads to?
pub fn may_execute(path: Z<'_>) -> Result<()> {
    const X_OK: u32 = 1;
    call!(nr::FACCESSAT2, AT_FDCWD, path.as_ptr(), X_OK, AT_EACCESS).map(drop)
}

/// faccessat(2): may the real user?
pub fn may_really_execute(path: Z<'_>) -> Result<()> {
    const X_OK: u32 = 1;
    call!(arch::SYS_FACCESSAT, AT_FDCWD, path.as_ptr(), X_OK).map(drop)
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

/// chdir(2).
pub fn chdir(path: Z<'_>) -> Result<()> {
    call!(arch::SYS_CHDIR, path.as_ptr()).map(drop)
}

/// fchdir(2).
pub fn fchdir(fd: i32) -> Result<()> {
    call!(arch::SYS_FCHDIR, fd).map(drop)
}

/// getcwd(2): bytes written, the NUL included.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize> {
    call!(arch::SYS_GETCWD, buffer.as_mut_ptr(), buffer.len())
}

/// umask(2).
pub fn umask(mask: u32) {
    let _ = call!(arch::SYS_UMASK, mask);
}

/// setns(2).
pub fn setns(fd: i32, kind: u32) -> Result<()> {
    call!(arch::SYS_SETNS, fd, kind).map(drop)
}

/// unshare(2).
pub fn unshare(flags: u32) -> Result<()> {
    call!(arch::SYS_UNSHARE, flags).map(drop)
}

/// setsid(2).
pub fn setsid() -> Result<()> {
    call!(arch::SYS_SETSID).map(drop)
}

/// sethostname(2).
pub fn sethostname(name: Z<'_>) -> Result<()> {
    call!(arch::SYS_SETHOSTNAME, name.as_ptr(), name.bytes().len()).map(drop)
}

/// setdomainname(2).
pub fn setdomainname(name: Z<'_>) -> Result<()> {
    call!(arch::SYS_SETDOMAINNAME, name.as_ptr(), name.bytes().len()).map(drop)
}

/// setgroups(2) of group ids as they stand in memory.
pub fn setgroups(groups: &[u8]) -> Result<()> {
    call!(arch::SYS_SETGROUPS, groups.len() / 4, groups.as_ptr()).map(drop)
}

/// setresuid(2) to one id.
pub fn setresuid(id: u32) -> Result<()> {
    call!(arch::SYS_SETRESUID, id, id, id).map(drop)
}

/// setresgid(2) to one id.
pub fn setresgid(id: u32) -> Result<()> {
    call!(arch::SYS_SETRESGID, id, id, id).map(drop)
}

/// prctl(2).
pub fn prctl(option: u32, a: u64, b: u64) -> Result<usize> {
    call!(arch::SYS_PRCTL, option, a, b, 0, 0)
}

/// prctl(PR_SET_NAME).
pub fn set_name(name: Z<'_>) {
    const PR_SET_NAME: u32 = 15;
    let _ = call!(arch::SYS_PRCTL, PR_SET_NAME, name.as_ptr());
}

/// capset(2), all of version 3.
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let header = [0x2008_0522_u32, 0];
    let data = [
        effective as u32,
        permitted as u32,
        inheritable as u32,
        (effective >> 32) as u32,
        (permitted >> 32) as u32,
        (inheritable >> 32) as u32,
    ];
    call!(arch::SYS_CAPSET, header.as_ptr(), data.as_ptr()).map(drop)
}

/// capget(2): effective, permitted, inheritable of the caller.
pub fn capget() -> Result<(u64, u64, u64)> {
    let header = [0x2008_0522_u32, 0];
    let mut data = [0_u32; 6];
    call!(arch::SYS_CAPGET, header.as_ptr(), data.as_mut_ptr())?;
    let [e, p, i, eh, ph, ih] = data.map(u64::from);
    Ok((e | eh << 32, p | ph << 32, i | ih << 32))
}

/// prlimit(2) of the caller.
pub fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    call!(arch::SYS_PRLIMIT64, 0, resource, limit.as_ptr(), 0).map(drop)
}

/// struct sched_attr (sched(7)), with the utilisation bounds the kernel wants to see once their flags are set.
#[repr(C)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

/// sched_setaffinity(2) of the caller, with a mask of CPUs as it stands in memory.
pub fn sched_setaffinity(cpus: &[u8]) -> Result<()> {
    call!(arch::SYS_SCHED_SETAFFINITY, 0, cpus.len(), cpus.as_ptr()).map(drop)
}

/// sched_setattr(2) of the caller.
pub fn sched_setattr(how: &Scheduler) -> Result<()> {
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: how.policy,
        flags: how.flags,
        nice: how.nice,
        priority: how.priority,
        runtime: how.runtime,
        deadline: how.deadline,
        period: how.period,
        util_min: 0,
        util_max: 0,
    };
    call!(arch::SYS_SCHED_SETATTR, 0, &raw const attr, 0).map(drop)
}

/// ioprio_set(2) of the caller.
pub fn ioprio_set(priority: u32) -> Result<()> {
    const IOPRIO_WHO_PROCESS: u32 = 1;
    call!(arch::SYS_IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, priority).map(drop)
}

/// personality(2).
pub fn personality(domain: u32) -> Result<()> {
    call!(arch::SYS_PERSONALITY, domain).map(drop)
}

/// set_mempolicy(2) with a mask of nodes as it stands in memory.
pub fn set_mempolicy(mode: u32, nodes: &[u8]) -> Result<()> {
    // The kernel counts one bit more than it reads.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 8 + 1 };
    let mask = if nodes.is_empty() { core::ptr::null() } else { nodes.as_ptr() };
    call!(arch::SYS_SET_MEMPOLICY, mode, mask, bits).map(drop)
}

/// keyctl(KEYCTL_JOIN_SESSION_KEYRING): the keyring's serial number.
pub fn join_session_keyring(name: Z<'_>) -> Result<u32> {
    call!(arch::SYS_KEYCTL, 1, name.as_ptr()).map(|serial| serial as u32)
}

/// keyctl(KEYCTL_SETPERM).
pub fn set_key_permissions(serial: u32, permissions: u32) -> Result<()> {
    call!(arch::SYS_KEYCTL, 5, serial, permissions).map(drop)
}

/// seccomp(SECCOMP_SET_MODE_FILTER) of a program as it stands in memory, 8 bytes an instruction.
pub fn seccomp_filter(flags: u32, program: &[u8]) -> Result<usize> {
    #[repr(C)]
    struct Program {
        length: u16,
        filter: *const u8,
    }
    let program = Program { length: (program.len() / 8) as u16, filter: program.as_ptr() };
    const SECCOMP_SET_MODE_FILTER: u32 = 1;
    call!(arch::SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const program)
}

/// socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC).
pub fn inet_socket() -> Result<i32> {
    call!(arch::SYS_SOCKET, 2, 2 | O_CLOEXEC, 0).map(|fd| fd as i32)
}

/// ioctl(2) with a number as argument.
pub fn ioctl(fd: i32, request: u32, argument: usize) -> Result<usize> {
    call!(arch::SYS_IOCTL, fd, request, argument)
}

/// ioctl(2) with memory the kernel reads or writes.
pub fn ioctl_bytes<const N: usize>(fd: i32, request: u32, bytes: &mut [u8; N]) -> Result<usize> {
    call!(arch::SYS_IOCTL, fd, request, bytes.as_mut_ptr())
}

/// Empties the signal mask.
pub fn unblock_signals() -> Result<()> {
    const SIG_SETMASK: u32 = 2;
    let none = 0_u64;
    call!(arch::SYS_RT_SIGPROCMASK, SIG_SETMASK, &raw const none, 0, 8).map(drop)
}

/// Sets a signal's disposition to the default.
pub fn default_signal(signal: u32) -> Result<()> {
    let action = [0_u64; 4];
    call!(arch::SYS_RT_SIGACTION, signal, action.as_ptr(), 0, 8).map(drop)
}

/// Ends the process when the signal comes, with what a shell makes of it.
pub fn exit_on_signal(signal: u32) -> Result<()> {
    extern "C" fn end(signal: i32) {
        exit(128 + signal)
    }
    const SA_RESTORER: u64 = 0x0400_0000;
    let end = end as extern "C" fn(i32) as usize as u64;
    // The kernel wants a way back from a handler; this one never takes it.
    let action = [end, SA_RESTORER, end, 0];
    call!(arch::SYS_RT_SIGACTION, signal, action.as_ptr(), 0, 8).map(drop)
}

/// Most arguments plus variables execve(2) is given; more do not fit the kernel's own limit by far.
pub type Vector = [*const u8];

/// execve(2).
pub fn execve(path: Z<'_>, args: &Vector, env: &Vector) -> Fail {
    debug_assert!(args.last().is_some_and(|last| last.is_null()));
    match call!(arch::SYS_EXECVE, path.as_ptr(), args.as_ptr(), env.as_ptr()) {
        Ok(_) => Fail { call: arch::SYS_EXECVE as u32, errno: errno::EINVAL, detail: 0 },
        Err(fail) => fail,
    }
}

/// execveat(2) of the descriptor's own file.
pub fn execveat(fd: i32, args: &Vector, env: &Vector) -> Fail {
    match call!(arch::SYS_EXECVEAT, fd, Z::EMPTY.as_ptr(), args.as_ptr(), env.as_ptr(), AT_EMPTY_PATH) {
        Ok(_) => Fail { call: arch::SYS_EXECVEAT as u32, errno: errno::EINVAL, detail: 0 },
        Err(fail) => fail,
    }
}

#[repr(C)]
struct MessageHeader {
    name: usize,
    name_length: u32,
    vectors: *mut [usize; 2],
    vector_count: usize,
    control: *mut u8,
    control_length: usize,
    flags: u32,
}

#[repr(C, align(8))]
struct OneDescriptor {
    length: usize,
    level: u32,
    kind: u32,
    fd: i32,
    pad: u32,
}

const SOL_SOCKET: u32 = 1;
const SCM_RIGHTS: u32 = 1;
const CMSG_LENGTH: usize = 20;

/// sendmsg(2) of bytes and one descriptor.
pub fn send_descriptor(socket: i32, bytes: &[u8], fd: i32) -> Result<()> {
    const MSG_NOSIGNAL: u32 = 0x4000;
    let mut vector = [bytes.as_ptr() as usize, bytes.len()];
    let mut control = OneDescriptor { length: CMSG_LENGTH, level: SOL_SOCKET, kind: SCM_RIGHTS, fd, pad: 0 };
    let header = MessageHeader {
        name: 0,
        name_length: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: (&raw mut control).cast(),
        control_length: size_of::<OneDescriptor>(),
        flags: 0,
    };
    call!(arch::SYS_SENDMSG, socket, &raw const header, MSG_NOSIGNAL).map(drop)
}

/// recvmsg(2) of bytes and at most one descriptor, which arrives close-on-exec; -1: none came.
pub fn receive(socket: i32, bytes: &mut [u8]) -> Result<(usize, i32)> {
    const MSG_CMSG_CLOEXEC: u32 = 0x4000_0000;
    let mut vector = [bytes.as_mut_ptr() as usize, bytes.len()];
    let mut control = OneDescriptor { length: 0, level: 0, kind: 0, fd: -1, pad: 0 };
    let mut header = MessageHeader {
        name: 0,
        name_length: 0,
        vectors: &raw mut vector,
        vector_count: 1,
        control: (&raw mut control).cast(),
        control_length: size_of::<OneDescriptor>(),
        flags: 0,
    };
    let length = call!(arch::SYS_RECVMSG, socket, &raw mut header, MSG_CMSG_CLOEXEC)?;
    let one = control.length >= CMSG_LENGTH && control.level == SOL_SOCKET && control.kind == SCM_RIGHTS;
    Ok((length, if one { control.fd } else { -1 }))
}

/// clone_args of clone3(2).
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[allow(missing_docs)]
pub struct CloneArgs {
    pub flags: u64,
    pub pidfd: u64,
    pub child_tid: u64,
    pub parent_tid: u64,
    pub exit_signal: u64,
    pub stack: u64,
    pub stack_size: u64,
    pub tls: u64,
    pub set_tid: u64,
    pub set_tid_size: u64,
    pub cgroup: u64,
}

/// clone3(2) without a new stack, that is fork(2) with flags: 0 in the child. `pidfd` receives the pidfd.
pub fn fork(mut args: CloneArgs, pidfd: &mut i32) -> Result<usize> {
    args.pidfd = core::ptr::from_mut(pidfd) as u64;
    call!(arch::SYS_CLONE3, &raw const args, size_of::<CloneArgs>())
}

/// clone(2) as fork(2) with a pidfd: 0 in the child. Filters made for containers allow it, unlike clone3(2).
pub fn plain_fork(pidfd: &mut i32) -> Result<usize> {
    const SIGCHLD: u64 = 17;
    call!(arch::SYS_CLONE, clone::PIDFD | SIGCHLD, 0, core::ptr::from_mut(pidfd))
}

/// wait4(2) of a child: its status word.
pub fn wait(pid: i32) -> Result<i32> {
    let mut status = 0_i32;
    loop {
        match call!(arch::SYS_WAIT4, pid, &raw mut status, 0, 0) {
            Err(fail) if fail.is(errno::EINTR) => {}
            result => return result.map(|_| status),
        }
    }
}

/// kill(2).
pub fn kill(pid: i32, signal: u32) -> Result<()> {
    call!(arch::SYS_KILL, pid, signal).map(drop)
}

/// getpid(2).
pub fn getpid() -> u32 {
    call!(arch::SYS_GETPID).unwrap_or(0) as u32
}

/// pipe2(O_CLOEXEC): the end to read, and the one to write.
pub fn pipe() -> Result<(i32, i32)> {
    let mut ends = [-1_i32; 2];
    call!(arch::SYS_PIPE2, ends.as_mut_ptr(), O_CLOEXEC)?;
    let [read, write] = ends;
    Ok((read, write))
}

/// memfd_create(2), close-on-exec.
pub fn memfd(name: Z<'_>) -> Result<i32> {
    const MFD_CLOEXEC: u32 = 1;
    call!(arch::SYS_MEMFD_CREATE, name.as_ptr(), MFD_CLOEXEC).map(|fd| fd as i32)
}

/// lseek(fd, 0, SEEK_SET).
pub fn rewind(fd: i32) -> Result<()> {
    call!(arch::SYS_LSEEK, fd, 0, 0).map(drop)
}

/// Milliseconds of CLOCK_MONOTONIC.
pub fn milliseconds() -> Result<u64> {
    const CLOCK_MONOTONIC: u32 = 1;
    let mut time = [0_u64; 2];
    call!(arch::SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr())?;
    let [seconds, nanoseconds] = time;
    Ok(seconds * 1000 + nanoseconds / 1_000_000)
}

#[repr(C)]
#[derive(Clone, Copy)]
struct PollFd {
    fd: i32,
    events: i16,
    revents: i16,
}

/// ppoll(2) for two descriptors to be readable or at their end, a negative one left out, for at most `timeout`
/// milliseconds: which of them are.
pub fn poll(fds: [i32; 2], timeout: Option<u64>) -> Result<[bool; 2]> {
    const POLLIN: i16 = 1;
    let mut set = fds.map(|fd| PollFd { fd, events: POLLIN, revents: 0 });
    let milliseconds = timeout.unwrap_or(0);
    let mut time = [milliseconds / 1000, milliseconds % 1000 * 1_000_000];
    let time = if timeout.is_some() { time.as_mut_ptr() } else { core::ptr::null_mut() };
    match call!(arch::SYS_PPOLL, set.as_mut_ptr(), 2, time, 0, 8) {
        Err(fail) if !fail.is(errno::EINTR) => Err(fail),
        _ => Ok(set.map(|fd| fd.revents != 0)),
    }
}

/// Maps `length` bytes of a descriptor, shared and writable.
pub fn map_shared(fd: i32, length: usize) -> Result<*mut u8> {
    const PROT_READ_WRITE: u32 = 3;
    const MAP_SHARED: u32 = 1;
    call!(arch::SYS_MMAP, 0, length, PROT_READ_WRITE, MAP_SHARED, fd, 0).map(|at| at as *mut u8)
}

/// The decimal number in `argv[index]` of the kernel's initial stack.
///
/// # Safety
/// `stack` must be the initial stack pointer: argc, then argc pointers to NUL-terminated strings.
pub unsafe fn decimal_argument(stack: *const usize, index: usize) -> Option<i32> {
    // SAFETY: by the caller's promise argc stands first and argv follows it.
    let text = unsafe {
        if index >= *stack {
            return None;
        }
        *stack.add(1 + index) as *const u8
    };
    let mut number: i32 = 0;
    for at in 0..10 {
        // SAFETY: the string is NUL-terminated and the loop stops at the NUL.
        let digit = unsafe { *text.add(at) };
        if digit == 0 {
            return Some(number);
        }
        number = number.checked_mul(10)?.checked_add(i32::from(digit.wrapping_sub(b'0')))?;
    }
    None
}

mod block;
pub use block::{Block, NOTE_MOST, NOTE_ROOM, STAMP, STAMPS, word};

/// fchown(2), the group left as it is.
pub fn fchown(fd: i32, uid: u32) -> Result<()> {
    call!(arch::SYS_FCHOWN, fd, uid, u32::MAX).map(drop)
}

/// Nanoseconds of CLOCK_MONOTONIC; 0 if it cannot be read.
pub fn monotonic() -> u64 {
    const CLOCK_MONOTONIC: u32 = 1;
    let mut time = [0_u64; 2];
    match call!(arch::SYS_CLOCK_GETTIME, CLOCK_MONOTONIC, time.as_mut_ptr()) {
        Ok(_) => time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1]),
        Err(_) => 0,
    }
}
