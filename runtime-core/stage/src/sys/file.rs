//! Files and directories.

use super::{errno, nr};
use crate::arch;
pub use crate::arch::{O_DIRECTORY, O_NOFOLLOW};
use crate::fail::Result;
use crate::wire::Z;

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

/// f_type of procfs.
pub const PROC_MAGIC: u64 = 0x9fa0;

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

/// fchown(2), the group left as it is.
pub fn fchown(fd: i32, uid: u32) -> Result<()> {
    call!(arch::SYS_FCHOWN, fd, uid, u32::MAX).map(drop)
}
