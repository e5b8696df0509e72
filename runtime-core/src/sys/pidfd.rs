//! pidfd_open(2), pidfd_send_signal(2), waiting on a pidfd, and waitid(2) with P_PIDFD.
//!
//! A pidfd names one process for good, where a pid may come to name another.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use nix::sys::statfs::{FsType, fstatfs};

use crate::ExitStatus;

/// A descriptor of process `pid`, close-on-exec, also while it is an unreaped zombie. ESRCH: no such process.
pub(crate) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nothing else in the process knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether pidfds are files of a file system of their own (Linux 6.9), and no two processes of a boot share an inode
/// number there. Else all have the same.
pub(crate) fn is_unique(pidfd: BorrowedFd<'_>) -> bool {
    const PID_FS_MAGIC: FsType = FsType(0x5049_4446);
    fstatfs(pidfd).is_ok_and(|found| found.filesystem_type() == PID_FS_MAGIC)
}

/// The inode number of a pidfd, see [`is_unique`].
pub(crate) fn inode(pidfd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(fstat(pidfd)?.st_ino)
}

/// Whether the process has ended: every thread of it, reaped or not.
pub(crate) fn has_ended(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    loop {
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], PollTimeout::ZERO) {
            Err(Errno::EINTR) => {}
            ready => return Ok(ready? != 0),
        }
    }
}

/// Sends `signal` to the process; 0 only asks whether it is there. ESRCH: it is gone.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo tells the kernel to fill in that of kill(2), so no memory of ours is read; the
    // borrow keeps the descriptor open.
    let done = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The pid the descriptor names, in our pid namespace (fdinfo of proc_pid_fdinfo(5)). ESRCH: it ended, or is not
/// visible from here.
pub(crate) fn pid(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    // A few short lines, which the kernel gives in one read.
    let mut text = [0; 1024];
    let length = File::open(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))?.read(&mut text)?;
    String::from_utf8_lossy(&text[..length])
        .lines()
        .find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok())
        .filter(|pid| *pid > 0)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
}

/// A copy of the process's descriptor `number`, close-on-exec (pidfd_getfd(2)). EPERM: we may not trace it.
pub(crate) fn get_fd(pidfd: BorrowedFd<'_>, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: three integers, no memory of ours; the borrow keeps the descriptor open.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd.as_raw_fd(), number, 0) };
    let fd = i32::try_from(fd).unwrap_or(-1);
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us; nothing else in the process knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until the process has ended, whoever its parent is. False: it had not by `deadline`.
pub(crate) fn wait_end(pidfd: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // One millisecond more than what is left, for poll(2) does not take parts of one.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(pidfd, PollFlags::POLLIN)], timeout) {
            Ok(0) if Instant::now() >= deadline => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Reaps the process, which must be a child of the calling one (ECHILD otherwise).
///
/// nix's waitid cannot tell of a death by a real-time signal, after it has taken the child away.
pub(crate) fn reap(pidfd: BorrowedFd<'_>) -> io::Result<ExitStatus> {
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        let id = pidfd.as_raw_fd() as libc::id_t;
        // SAFETY: the kernel writes one siginfo_t into `info`, which has room for exactly that; the borrow keeps
        // the descriptor open.
        if unsafe { libc::waitid(libc::P_PIDFD, id, info.as_mut_ptr(), libc::WEXITED) } != 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error);
        }
        // SAFETY: all zeroes is a valid siginfo_t, so it is initialised whatever the kernel wrote; without WNOHANG
        // a success describes a child, for which si_status is the member in use.
        let (how, status) = unsafe {
            let info = info.assume_init();
            (info.si_code, info.si_status())
        };
        return Ok(if how == libc::CLD_EXITED { ExitStatus::Code(status) } else { ExitStatus::Signal(status) });
    }
}
