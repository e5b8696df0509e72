//! Descriptors that arrive as numbers.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::NixPath;
use nix::errno::Errno;

/// How long openat2(2) may be unsure.
const UNSURE: Duration = Duration::from_millis(100);

/// An openat2(2) that is tried again after EAGAIN: a rename or a mount somewhere on the host made the kernel unsure. Not for
/// ever: whoever renames without end must not hold us.
pub(crate) fn patiently(open: impl Fn() -> Result<OwnedFd, Errno>) -> Result<OwnedFd, Errno> {
    let mut deadline = None;
    loop {
        match open() {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) if Instant::now() < *deadline.get_or_insert_with(|| Instant::now() + UNSURE) => {}
            result => return result,
        }
    }
}

/// A descriptor that came with a message (SCM_RIGHTS).
pub(crate) fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) installed it for the caller, who passes each number here once.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A duplicate numbered `lowest` or above, close-on-exec.
pub(crate) fn duplicate_above(fd: BorrowedFd<'_>, lowest: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(2) with a number; the result is a new descriptor or an error.
    let new = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, lowest) };
    if new < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// NS_GET_NSTYPE: the CLONE_NEW* bit of a namespace file (ioctl_ns(2)); ENOTTY: it is none.
pub(crate) fn namespace_kind(fd: BorrowedFd<'_>) -> io::Result<u32> {
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: this request takes no argument.
    let kind = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_NSTYPE) };
    if kind < 0 { Err(io::Error::last_os_error()) } else { Ok(kind as u32) }
}

/// NS_GET_USERNS: the user namespace that a namespace belongs to (ioctl_ns(2)).
pub(crate) fn owner_of_namespace(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const NS_GET_USERNS: libc::Ioctl = 0xb701;
    // SAFETY: this request takes no argument.
    let owner = unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_USERNS) };
    if owner < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// prlimit(2) of another process.
pub(crate) fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the limit outlives the call; no old one is asked for.
    let result = unsafe { libc::prlimit64(pid, resource as _, &raw const limit, std::ptr::null_mut()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// renameat2(2) within a directory, where nothing is called `to` yet. By number: not every C library has it.
pub(crate) fn rename_new(dir: BorrowedFd<'_>, from: &str, to: &str) -> nix::Result<()> {
    const RENAME_NOREPLACE: libc::c_uint = 1;
    let fd = dir.as_raw_fd();
    let done = from.with_nix_path(|from| {
        to.with_nix_path(|to| {
            // SAFETY: both names are NUL-terminated and outlive the call.
            unsafe { libc::syscall(libc::SYS_renameat2, fd, from.as_ptr(), fd, to.as_ptr(), RENAME_NOREPLACE) }
        })
    })??;
    Errno::result(done).map(drop)
}
