//! The listener of a seccomp filter that notifies (seccomp_unotify(2)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// `SECCOMP_IOCTL_NOTIF_RECV` and `SECCOMP_IOCTL_NOTIF_SEND` of linux/seccomp.h: 80 bytes both ways, 24 bytes both ways.
const RECEIVE: u32 = 0xc050_2100;
const SEND: u32 = 0xc018_2101;

/// What a notification says of the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) nr: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

/// Waits for the next call that waits for an answer. `None`: no process is under the filter any more.
pub(crate) fn next(listener: BorrowedFd<'_>) -> io::Result<Option<(u64, Call)>> {
    loop {
        let mut poll_fd = [PollFd::new(listener, PollFlags::POLLIN)];
        match poll(&mut poll_fd, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
        let events = poll_fd[0].revents().unwrap_or(PollFlags::empty());
        if !events.contains(PollFlags::POLLIN) {
            return Ok(None);
        }
        // SAFETY: all zeroes is a valid seccomp_notif, and what the kernel wants to see.
        let mut notification: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one seccomp_notif; the borrow keeps the descriptor open.
        let done = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as libc::Ioctl, &raw mut notification) };
        if done == 0 {
            let data = notification.data;
            return Ok(Some((notification.id, Call { nr: data.nr as u32, arch: data.arch, args: data.args })));
        }
        match io::Error::last_os_error().raw_os_error() {
            // The process was killed meanwhile, or a signal came.
            Some(libc::ENOENT | libc::EINTR) => {}
            _ => return Err(io::Error::last_os_error()),
        }
    }
}

/// Answers a call with an errno. One whose process is gone needs no answer.
pub(crate) fn deny(listener: BorrowedFd<'_>, id: u64, errno: u32) -> io::Result<()> {
    let error = i32::try_from(errno).map_or(-libc::EPERM, |errno| -errno);
    let response = libc::seccomp_notif_resp { id, val: 0, error, flags: 0 };
    // SAFETY: the kernel reads one seccomp_notif_resp; the borrow keeps the descriptor open.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), SEND as libc::Ioctl, &raw const response) };
    if done == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        gone if gone.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        error => Err(error),
    }
}
