//! flock(2) on a borrowed descriptor; nix only offers it on one that it owns.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// What to do with the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    /// LOCK_EX|LOCK_NB.
    TryExclusive,
    /// LOCK_SH|LOCK_NB.
    TryShared,
    /// LOCK_UN.
    Unlock,
}

/// Applies `op`. EWOULDBLOCK: another open file description holds a conflicting lock.
pub(crate) fn flock(fd: BorrowedFd<'_>, op: Op) -> io::Result<()> {
    let op = match op {
        Op::TryExclusive => libc::LOCK_EX | libc::LOCK_NB,
        Op::TryShared => libc::LOCK_SH | libc::LOCK_NB,
        Op::Unlock => libc::LOCK_UN,
    };
    loop {
        // SAFETY: flock reads no memory of ours; the borrow keeps the descriptor open for the whole call.
        if unsafe { libc::flock(fd.as_raw_fd(), op) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
