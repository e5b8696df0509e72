//! Whether the recorded first process is the one that has its pid now.
//!
//! A pid comes back, after a while or a reboot. Pid, start time and boot together do not, nor do the boot and the inode
//! number of a pidfd, where the kernel gives each process one of its own (Linux 6.9). So nothing is ever signalled by
//! pid: a pidfd is opened first, then it is seen whether it is the process of the record, and only then is the pidfd
//! used. Opened the other way round, the process could be replaced in between.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Brief, Record, Root};
use crate::sys::{pidfd, proc};
use crate::{Error, Result};

/// The first process of a container.
pub(crate) enum Init {
    /// There.
    Alive(OwnedFd),
    /// Ended, and its parent has not reaped it.
    Zombie(OwnedFd),
    /// Gone, or never was.
    Gone,
}

impl Record {
    /// The first process, held by a pidfd.
    pub(crate) fn init(&self, root: &Root) -> Result<Init> {
        let brief = self.brief();
        if !brief.names_process(root.boot_id()?) {
            return Ok(Init::Gone);
        }
        let pidfd = match pidfd::open(self.init_process_pid) {
            Ok(pidfd) => pidfd,
            Err(e) if is_gone(&e) => return Ok(Init::Gone),
            Err(e) => return Err(failed(format!("pidfd_open({})", self.init_process_pid), e)),
        };
        Ok(match brief.lives(pidfd.as_fd(), root)? {
            Some(true) => Init::Alive(pidfd),
            Some(false) => Init::Zombie(pidfd),
            None => Init::Gone,
        })
    }
}

impl Brief<'_> {
    /// Whether the first process is there and has not ended; as cheaply as possible, for `list` asks it of each.
    pub(crate) fn is_alive(&self, root: &Root) -> Result<bool> {
        if !self.names_process(root.boot_id()?) {
            return Ok(false);
        }
        // Without a number of its own a pidfd is of no use here.
        let numbered = self.init_process_inode != 0 && root.pidfs().get() != Some(&false);
        let lives = match numbered.then(|| pidfd::open(self.init_process_pid)) {
            Some(Ok(pidfd)) => self.lives(pidfd.as_fd(), root)?,
            Some(Err(e)) if is_gone(&e) => None,
            _ => self.stat()?.map(|stat| stat.is_alive()),
        };
        Ok(lives == Some(true))
    }

    /// Whether the record can name a process of this boot at all. A record without a start time names none.
    fn names_process(&self, boot_id: &str) -> bool {
        self.init_process_pid > 0 && self.init_process_start != 0 && self.boot_id == boot_id && !boot_id.is_empty()
    }

    /// Whether the process of this pidfd, which has the pid on record, lives; `None`: it is not ours. By the inode number
    /// that takes less than procfs does, but a record may lack it, and the kernel may not tell processes apart by it.
    fn lives(&self, pidfd: BorrowedFd<'_>, root: &Root) -> Result<Option<bool>> {
        if self.init_process_inode == 0 || !root.pidfs().get_or_init(|| pidfd::is_unique(pidfd)) {
            return Ok(self.stat()?.map(|stat| stat.is_alive()));
        }
        let number = pidfd::inode(pidfd).map_err(|e| failed("fstat(pidfd)".into(), e))?;
        if number != self.init_process_inode {
            return Ok(None);
        }
        let ended = pidfd::has_ended(pidfd).map_err(|e| failed("poll(pidfd)".into(), e))?;
        Ok(Some(!ended))
    }

    /// What procfs says about the pid, if it started when ours did.
    fn stat(&self) -> Result<Option<proc::Stat>> {
        match proc::stat(self.init_process_pid) {
            Ok(stat) => Ok(Some(stat).filter(|stat| stat.start == self.init_process_start)),
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(e) => Err(failed(format!("read(\"/proc/{}/stat\")", self.init_process_pid), e)),
        }
    }
}

/// Whether pidfd_open(2) says that no process has the pid. EINVAL, ENOENT on newer kernels: the number now belongs
/// to a thread, so to another process than ours.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ESRCH | libc::EINVAL | libc::ENOENT))
}

fn failed(call: String, error: io::Error) -> Error {
    Error::io("find the container's first process", call, error)
}
